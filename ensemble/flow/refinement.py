"""Whether residual blocks refine what they are given, a little at a time and downhill.

What a block adds is what its branch contributes to the join: F for a sum, αF for a gate; of a gate that reads the
branch, also what it thereby changes of the shortcut. Greff et al. 2017 (1612.07771 §3) see in it an estimate that is
refined from block to block; to first order it changes the loss by
⟨F(x), ∂L/∂x⟩ (Jastrzębski et al. 2018, 1710.04773 §3), which should then be negative. Boundaries, and the
statistics of BatchNorm, are those of `ensemble.flow.gradients`; by default those of all batches are measured and held.
With each batch's own, the loss does not change when the examples of a batch are scaled or moved together, gradients
have no part that way, and the cosine may even change its sign.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.flow.gradients import normalised, norms, passes
from ensemble.flow.parts import At, Part, parts
from landscape.evaluation.measure import LOSSES, Batches, Loss, score

__all__ = ["Refinement", "deviations", "exits", "refinement", "variance"]


class Refinement(NamedTuple):
    """What the block behind each boundary does; NaN where there is none, or none with a shortcut.

    Attributes
    ----------
    cosine : float64 ndarray, shape (boundaries, examples)
        Between what the block adds and the gradient at its input; NaN where their shapes differ, or one is 0.
    residual : float64 ndarray, shape (boundaries, examples)
        Norm of what the block adds, as a part of that of what the shortcut carries.
    share : float64 ndarray, shape (boundaries,)
        Variance of what the block adds, as a part of its variance and that of what is carried. Variances are over
        examples and positions, summed over channels. Where both have variance 1 at the first block
        and nothing shrinks, that of block l = 1, 2, … is 1/(l+1) (De & Smith 2020, 2002.10444 §2).
    """

    cosine: np.ndarray
    residual: np.ndarray
    share: np.ndarray


def refinement(
    network: nn.Module,
    batches: Batches,
    loss: Loss = LOSSES["cross_entropy"],
    batchnorm: str = "recalibrated",
    at: At | None = None,
) -> Refinement:
    """Measure what each block adds to the stream, and whether it points downhill.

    Parameters
    ----------
    network : nn.Module
        Of `landscape.networks`, or any that is a chain of blocks. Borrowed, as in `ensemble.flow.gradients.flow`.
    batches : sequence of (inputs, targets)
        On the network's device.
    loss : callable
        Gives one number for each example.
    batchnorm : {"batch", "recalibrated", "frozen"}
        Which statistics are used, see `ensemble.flow.gradients.flow`.
    at : callable, optional
        The network's parts, see `ensemble.flow.parts.parts`.

    Returns
    -------
    Refinement
        Cosines, relative norms and shares of variance, at each boundary.
    """
    cosines, residuals, variances, sizes = [], [], [], []
    with normalised(network, batches, batchnorm):
        for one in passes(network, batches, loss, at):
            behind = [*one.row.between, one.row.head]
            sums = [_of(*three) for three in zip(behind, one.activations, one.gradients, strict=True)]
            cosine, residual, variance = (np.stack(values) for values in zip(*sums, strict=True))
            cosines.append(cosine)
            residuals.append(residual)
            variances.append(variance)
            sizes.append(cosine.shape[1])
    own, carried = np.average(variances, axis=0, weights=sizes).T
    with np.errstate(invalid="ignore"):
        share = own / (own + carried)
    return Refinement(np.concatenate(cosines, axis=1), np.concatenate(residuals, axis=1), share)


def exits(
    network: nn.Module,
    batches: Batches,
    loss: Loss = LOSSES["cross_entropy"],
    batchnorm: str = "recalibrated",
    at: At | None = None,
) -> list[dict[str, float] | None]:
    """Measure the classifier on what has come to each boundary: all the blocks from there on are left out.

    Within the last stage that is the head itself, applied early. Before it, shortcuts make the shapes that it needs.

    Returns
    -------
    list, one a boundary
        As `landscape.evaluation.measure.score`; None where a block that cannot be left out follows. The last is the
        whole network.
    """
    outputs: list[list[Any]] = []
    with normalised(network, batches, batchnorm), torch.no_grad():
        at = at or parts(network)
        for inputs, _ in batches:
            row = at(inputs)
            x = row.stem(inputs)
            outputs = outputs or [[] for _ in range(len(row.between) + 1)]
            for place in range(len(row.between) + 1):
                rest = row.between[place:]
                if all(part.skip is not None for part in rest):
                    outputs[place].append(_leaving_out(rest, row.head, x))
                if rest:
                    x = rest[0].run(x)
        return [score(out, batches, loss) if out else None for out in outputs]


def _leaving_out(rest: list[Part], head: Part, x: Tensor) -> Any:
    for part in rest:
        assert part.skip is not None
        x = part.skip(x)
    return head.run(x)


def _of(part: Part, x: Tensor, gradient: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine and relative size for each example, and the variances of what is added and of what is carried."""
    nothing = np.full(len(x), np.nan)
    if part.added is None:
        return nothing, nothing, np.full(2, np.nan)
    with torch.no_grad():
        carried, more = part.added(x)
        variances = np.array([variance(more, part.channels), variance(carried, part.channels)])
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            residual = norms(more) / norms(carried)
            if more.shape != x.shape:
                return nothing, residual, variances
            product = (more.double() * gradient.double()).cpu().flatten(1).numpy().sum(axis=1)
            return product / (norms(more) * norms(gradient)), residual, variances


def variance(x: Tensor, channels: int | None = None) -> float:
    """Over examples and positions, summed over channels: (N, C, H, W), (N, T, C), (N, C).

    Parameters
    ----------
    x : Tensor
        Of a batch.
    channels : int, optional
        Their dimension; by default the second of four, or else the last.
    """
    axes, x64 = _others(x, channels)
    return float(x64.var(axis=axes).sum())


def deviations(x: Tensor, channels: int | None = None) -> np.ndarray:
    """What each example has of `variance`, which is their mean: float64 (N,)."""
    axes, x64 = _others(x, channels)
    squares = (x64 - x64.mean(axis=axes, keepdims=True)) ** 2
    return squares.mean(axis=axes[1:], keepdims=True).reshape(len(x), -1).sum(axis=1)


def _others(x: Tensor, channels: int | None) -> tuple[tuple[int, ...], np.ndarray]:
    """The axes that are not that of the channels, examples first; and the numbers in float64."""
    channels = (1 if x.ndim == 4 else -1) if channels is None else channels
    return tuple(axis for axis in range(x.ndim) if axis != channels % x.ndim), x.cpu().double().numpy()
