"""How much of the gradient comes by paths of each length, exactly and as it was first estimated.

At the activations of an example every block is linear: it carries the gradient back by S + J, of which S is the way
around the branch and J the branch, and what follows the join, a ReLU's mask say, belongs to both. So the gradient
at the first block is g = Π(Sᵢ + Jᵢ)ᵀ g_L, a sum over paths, and G_k is what those of length k add to it: g = Σ G_k.

Conventions: gradients are those of each example's own loss, at the input of the first step. The norm is ‖G_k‖. The
share is ⟨G_k, g⟩/‖g‖², signed; shares sum to 1. Means over examples count each example once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ensemble.paths.chain import Chain, Step, counts
from landscape.evaluation.measure import LOSSES, Batches, Loss
from landscape.nested import Nested, mapped, split, take
from landscape.nested import length as examples

__all__ = ["Sampled", "Spectrum", "components", "drawn", "products", "sampled", "spectrum"]

ROOM = 2**28  # bytes of gradients to hold at once

Chains = Chain | Callable[[Nested], Chain]  # a chain, or the chain at a batch's inputs, see `chain.chains`


class Spectrum(NamedTuple):
    """ndarrays of shape (lengths, examples), from length 0; `share` is NaN for an example without gradient."""

    norm: np.ndarray
    share: np.ndarray


class Sampled(NamedTuple):
    """An estimate and its standard error over draws, 0 where every path was taken."""

    norm: float
    se: float


class _Frozen(NamedTuple):
    """A step at the activations of a batch, as a function of two inputs, the carry's and the branch's."""

    out: Tensor
    carried: Any  # Tensor, None where there is no such way
    branched: Any


def components(chain: Chain, inputs: Nested, targets: Nested, loss: Loss = LOSSES["cross_entropy"]) -> Tensor:
    """The G_k of a batch: tensor (lengths, N, …), each of the shape of the first step's input.

    From the last block to the first, G_k ← Sᵀ G_k + Jᵀ G_{k−1}: `products` products instead of one for each of 2ⁿ
    paths, and no approximation but rounding.
    """
    steps, gradient = _frozen(chain, inputs, targets, loss)
    sums = gradient[None]  # (lengths so far, N, C, H, W)
    for step in reversed(steps):
        leaves = [leaf for leaf in step[1:] if leaf is not None]
        parts = torch.autograd.grad(step.out, leaves, sums, is_grads_batched=True)
        if len(parts) == 1:
            (sums,) = parts
        else:
            carried, branched = parts
            sums = torch.cat([carried, torch.zeros_like(carried[:1])])
            sums[1:] += branched
    shorter = sums.new_zeros(len(counts(chain.steps)) - len(sums), *sums.shape[1:])  # than all plain blocks
    return torch.cat([shorter, sums])


def products(steps: Sequence[Step]) -> int:
    """How many products with a block's Jacobian `components` takes; a backward pass takes one a block.

    With n residual blocks n(n + 1)/2, as many as (n + 1)/2 backward passes.
    """
    total, lengths = 0, 1
    for step in reversed(steps):
        total += lengths * (step.branch is not None)
        lengths += step.carry is not None and step.branch is not None
    return total


def spectrum(chain: Chains, batches: Batches, loss: Loss = LOSSES["cross_entropy"]) -> Spectrum:
    """Norm and share of every length, for every example.

    The g of the shares is autograd's gradient of the whole chain, not the sum of the G_k: that shares sum to 1 says
    how well the two agree.

    Parameters
    ----------
    chain : Chain, or callable
        Of a network in float64, unless rounding may show in the shares where paths cancel; or a function of a
        batch's inputs that gives it.
    batches : sequence of (inputs, targets)
        On the chain's device.
    loss : callable
        Gives one number for each example.

    Returns
    -------
    Spectrum
        ``norm`` and ``share``, each float64 of shape (lengths, examples).
    """
    norms, shares = [], []
    for here, inputs, targets in _pieces(chain, batches):
        sums = _rows(components(here, inputs, targets, loss), 2)
        whole = _rows(_gradient(here, inputs, targets, loss), 1)
        norms.append(_norm(sums))
        with np.errstate(invalid="ignore", divide="ignore"):
            shares.append((sums * whole).sum(-1) / (whole * whole).sum(-1))
    return Spectrum(np.concatenate(norms, 1), np.concatenate(shares, 1))


def sampled(
    chain: Chains, batches: Batches, length: int, draws: int, seed: int, loss: Loss = LOSSES["cross_entropy"]
) -> Sampled:
    """The gradient by paths of one length, as published: number of paths × mean norm of one (Veit et al. 2016, §5).

    Parameters
    ----------
    chain : Chain, or callable
        As for `spectrum`.
    batches : sequence of (inputs, targets)
        On the chain's device.
    loss : callable
        Gives one number for each example.
    length : int
        Number of branches on the paths.
    draws : int
        Number of paths drawn at random, each by a generator of its own. Where there are no more paths than that, all
        are taken once.
    seed : int
        Random seed of the draws.

    Returns
    -------
    Sampled
        The estimate, in the unit of a gradient's norm, and its standard error.

    Notes
    -----
    Norms have no direction. Their sum, which this estimates, is never less than the norm of the sum, ‖G_k‖. The two
    are equal only where all paths of this length agree. Where paths cancel the estimate is larger, by a factor that
    grows with their number: m vectors of one norm in random directions sum to √m times it, not m. The mean of the
    gradients themselves does estimate G_k / number of paths, but after the cancellation little is left of it beside
    its noise; and the exact sum costs no more than one draw of each length.
    """
    first = at(chain, take(batches[0][0], slice(1)))
    sets = drawn(first.steps, length, draws, seed)
    paths = counts(first.steps)[length]
    if not len(sets):
        return Sampled(0.0, 0.0)
    each = []  # batches of (draws, N)
    for here, inputs, targets in _pieces(chain, batches):
        norms = np.empty((len(sets), examples(inputs)))
        for rows, gradient in _walk(*_frozen(here, inputs, targets, loss), sets):
            norms[rows] = _norm(_rows(gradient, 1))
        each.append(norms)
    values = paths * np.concatenate(each, 1).mean(1)
    every = paths <= draws
    error = 0.0 if every else values.std(ddof=1) / np.sqrt(draws) if draws > 1 else np.nan
    return Sampled(float(values.mean()), float(error))


def drawn(steps: Sequence[Step], length: int, draws: int, seed: int) -> np.ndarray:
    """Paths of one length: bool ndarray (paths, steps), True where a path goes through the branch.

    All of them where there are no more than `draws`, else so many, drawn independently and evenly.
    """
    free = [i for i, step in enumerate(steps) if step.carry is not None and step.branch is not None]
    plain = [i for i, step in enumerate(steps) if step.carry is None]
    paths, size = counts(steps)[length], length - len(plain)
    if paths <= draws:
        chosen: list = [list(places) for places in combinations(free, size)] if paths else []
    else:
        generators = (np.random.default_rng([seed, length, draw]) for draw in range(draws))
        chosen = [generator.choice(free, size, replace=False) for generator in generators]
    sets = np.zeros((len(chosen), len(steps)), bool)
    for row, places in zip(sets, chosen, strict=True):
        row[places] = row[plain] = True
    return sets


def _walk(steps: Sequence[_Frozen], gradient: Tensor, sets: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The gradient by each path, as (rows of `sets`, gradient); from the last block on paths share what they can."""
    ahead = [(len(steps), gradient, np.arange(len(sets)))]
    while ahead:
        place, gradient, rows = ahead.pop()
        if not place:
            yield rows, gradient
            continue
        step = steps[place - 1]
        through = sets[rows, place - 1]
        for leaf, some in ((step.carried, rows[~through]), (step.branched, rows[through])):
            if len(some):
                (before,) = torch.autograd.grad(step.out, leaf, gradient, retain_graph=True)
                ahead.append((place - 1, before, some))


def _frozen(chain: Chain, inputs: Nested, targets: Nested, loss: Loss) -> tuple[list[_Frozen], Tensor]:
    """Every step at a batch, and the gradient at the last one's output."""
    with torch.no_grad():
        x = chain.stem(inputs)
    steps = []
    with torch.enable_grad():
        for step in chain.steps:
            leaves: list[Any] = [None if way is None else x.detach().requires_grad_() for way in step[:2]]
            ways = zip(step[:2], leaves, strict=True)
            out = step.after(*(way(leaf) for way, leaf in ways if way is not None))
            steps.append(_Frozen(out, *leaves))
            x = out.detach()
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(_loss(chain, x, targets, loss), x)
    return steps, gradient


def _gradient(chain: Chain, inputs: Nested, targets: Nested, loss: Loss) -> Tensor:
    """Autograd's gradient of the losses at the first step's input."""
    with torch.no_grad():
        first = x = chain.stem(inputs).detach()  # the stem may return its input, which is the caller's
    with torch.enable_grad():
        first.requires_grad_()
        for step in chain.steps:
            x = step.after(*(way(x) for way in step[:2] if way is not None))
        return torch.autograd.grad(_loss(chain, x, targets, loss), first)[0]


def _loss(chain: Chain, x: Tensor, targets: Nested, loss: Loss) -> Tensor:
    """The sum of the examples' own losses, from the last step's output."""
    return loss(chain.head(x), mapped(lambda t: t.to(x.dtype) if t.is_floating_point() else t, targets)).sum()


def at(chain: Chains, inputs: Nested) -> Chain:
    """The chain at a batch."""
    return chain if isinstance(chain, Chain) else chain(inputs)


def _pieces(chain: Chains, batches: Batches) -> Iterator[tuple[Chain, Nested, Nested]]:
    """The batches in pieces for which one gradient for each length has room, each with its chain."""
    if isinstance(chain, Chain) and chain.inputs is not None:  # it is for one batch, whole
        yield from ((chain, inputs, targets) for inputs, targets in batches)
        return
    one = take(batches[0][0], slice(1))
    first = at(chain, one)
    with torch.no_grad():
        x = first.stem(one)
        largest = 0
        for step in first.steps:
            largest = max(largest, x.numel() * x.element_size())
            x = step.after(*(way(x) for way in step[:2] if way is not None))
    size = max(1, ROOM // (largest * len(counts(first.steps))))
    for inputs, targets in batches:
        for piece, aims in zip(split(inputs, size), split(targets, size), strict=True):
            yield at(chain, piece), piece, aims


def _rows(gradients: Tensor, axes: int) -> np.ndarray:
    """float64 ndarray with all but the first axes in one; numpy's sums do not depend on threads."""
    return gradients.detach().flatten(axes).cpu().numpy().astype(np.float64)


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.sqrt((rows * rows).sum(-1))
