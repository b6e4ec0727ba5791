"""The paths that a residual network unravels into, and how long they are.

A network of n blocks y = after(carry(x), branch(x)), n of them residual, is a sum over 2ⁿ paths, each of which takes
either the branch or the way around it in every block (Veit et al. 2016, 1605.06431 §3). The length of a path is the
number of branches it goes through.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.blocks.blocks import blocks as blocks_of
from ensemble.blocks.blocks import of_part
from ensemble.paths.links import links, same
from landscape.errors import BadInput
from landscape.nested import Nested, leaves, mapped, take
from landscape.networks import Block
from landscape.networks.network import Network
from landscape.networks.transformer_layers import Layer

__all__ = ["Chain", "Step", "chain", "chains", "counts", "effective", "mean_length"]


class Step(NamedTuple):
    """y = after(carry(x), branch(x)), of which `after` is given what there is, in this order.

    Attributes
    ----------
    carry : the way around the branch; None in a plain block, where every path goes through the branch
    branch : None in what is no block, such as a pooling, through which every path goes without being longer for it
    after : joins the two, and whatever follows; of one argument where one of the two is None
    """

    carry: Callable[[Tensor], Tensor] | None
    branch: Callable[[Tensor], Tensor] | None
    after: Callable[..., Tensor]


class Chain(NamedTuple):
    """A network as steps in a row: what comes before the first, the steps, what makes outputs of the last.

    The steps must be functions of each example alone, and give the same again: BatchNorm with stored
    statistics, no dropout.

    Attributes
    ----------
    stem, steps, head : as above; the stem is given a batch's inputs
    inputs : of a chain that was cut from a run, the inputs of that run, which are the only ones it is for
    """

    stem: Callable[[Nested], Tensor]
    steps: list[Step]
    head: Callable[[Tensor], Any]
    inputs: Nested = None


def chain(
    network: nn.Module,
    dtype: torch.dtype = torch.float64,
    image: bool = False,
    *,
    inputs: Nested = None,
    blocks: Callable[[nn.Module], Mapping] | None = None,
    layers: bool = False,
    part: str | None = None,
) -> Chain:
    """A network's blocks as steps.

    Parameters
    ----------
    network : of `landscape.networks`, or any whose blocks can be found. It is copied, and the copy is in evaluation
        mode.
    dtype : of the copy; the stem casts its input to it
    image : let the stem be the first step, so that paths begin at the image and not at the first block
    inputs : of a network that is not of `landscape.networks`, whose chain is cut from a run: for these inputs alone
    blocks, layers : see `ensemble.blocks.blocks.blocks`
    part : of the blocks of a transformer, such as "attention": the others are steps that every path goes through,
        around their branches and by them, without being longer for it

    Raises
    ------
    BadInput
        The network is not made of blocks, or not a chain of them: its message says which block, and why.

    Notes
    -----
    What a join computes from the shortcut belongs to the carry, the gate of a gated join too; the scale
    of a branch, by a constant, a gate or stochastic depth, belongs to the branch, as does a gate that reads it.
    A block of several branches, with `layers` for example, is one step: its branch is all ways through it but that
    around all its branches. What a network that is not ours does in float32 whatever its type, as Llama's norms, the
    chain does in `dtype`.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> x = torch.randn(2, 3, 32, 32)
    >>> network = resnet18().eval()
    >>> steps = chain(network, inputs=x)
    >>> counts(steps.steps)
    [1, 8, 28, 56, 70, 56, 28, 8, 1]
    """
    return chains(network, dtype, image, blocks=blocks, layers=layers, part=part)(inputs)


def chains(
    network: nn.Module,
    dtype: torch.dtype = torch.float64,
    image: bool = False,
    *,
    blocks: Callable[[nn.Module], Mapping] | None = None,
    layers: bool = False,
    part: str | None = None,
) -> Callable[[Nested], Chain]:
    """The chain of a network at each inputs, as `chain`; of inputs that are still the same it is kept."""
    ours = isinstance(network, Network) and any(isinstance(module, Block) for module in network.parts())
    joined = layers and any(isinstance(module, Layer) for module in network.modules())
    if isinstance(network, Network) and ours and not (blocks or joined):
        own = _own(network, dtype, image, part)
        return lambda inputs: own
    copied = copy.deepcopy(network).to(dtype).eval().requires_grad_(False)
    for module in copied.modules():
        choose: Any = getattr(module, "set_experts_implementation", None)
        if choose is not None:  # mixtures of transformers, of which no other way takes float64
            choose("eager")
    made: dict[tuple, tuple[Nested, Chain]] = {}

    def at(inputs: Nested) -> Chain:
        if inputs is None:
            raise BadInput(
                f"a {type(network).__name__} is not of landscape.networks, so its chain is cut from a run; give inputs"
            )
        key = same(inputs)
        if key not in made:
            chosen = blocks_of(copied, blocks, layers, take(_cast(inputs, dtype), slice(3)))
            counted = chosen if part is None else of_part(chosen, part)
            made[key] = inputs, _cut(copied, inputs, chosen, image, counted)
        return made[key][1]

    return at


def _cut(network: nn.Module, inputs: Nested, chosen: Mapping, image: bool, counted: Collection[str]) -> Chain:
    """The chain of a network that is not ours, from a run."""
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    row = links(network, _cast(inputs, dtype), chosen)
    steps = [
        Step(link.carry, link.branch, link.after) if link.name in counted else Step(link.whole, None, nn.Identity())
        for link in row.blocks
    ]

    def start(given: Nested) -> Tensor:
        if any(not torch.equal(one, other) for one, other in zip(leaves(given), leaves(inputs), strict=True)):
            raise BadInput("this chain was cut from a run with other inputs; make one for these")
        return row.start

    if not image:
        return Chain(start, steps, row.head, inputs)
    if row.stem is None:
        raise BadInput("the gradient at an image is that of one tensor of real numbers; leave out image")
    return Chain(lambda given: _cast(given, dtype), [Step(row.stem, None, nn.Identity()), *steps], row.head, inputs)


def _cast(inputs: Nested, dtype: torch.dtype) -> Nested:
    return mapped(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor, inputs)


def _own(network: Network, dtype: torch.dtype, image: bool, part: str | None) -> Chain:
    network = copy.deepcopy(network).to(dtype).eval()
    named = {name: module for name, module in network.named_modules() if isinstance(module, Block)}
    counted = {*(named if part is None else of_part(named, part)).values()}
    stem, *modules, head = network.parts()
    steps = [_step(m) if m in counted else Step(m, None, nn.Identity()) for m in modules]

    def cast(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x  # tokens are numbers of rows

    if image:
        return Chain(cast, [_step(stem), *steps], head)
    return Chain(lambda x: stem(cast(x)), steps, head)


def _step(module: nn.Module) -> Step:
    if not isinstance(module, Block):
        return Step(module, None, nn.Identity())

    def branch(x: Tensor) -> Tensor:
        return module.survival * module.branch(x)

    if module.shortcut is None:
        return Step(None, branch, module.after)
    return Step(module.shortcut, branch, lambda carried, branched: module.after(module.join(carried, branched)))


def counts(steps: Sequence[Step]) -> list[int]:
    """How many paths there are of each length from 0 to n, the number of blocks.

    Exact: C(n, k) where all blocks are residual. Every path goes through all p plain blocks, so with them it is
    C(n − p, k − p); a plain network has one path, of length n.
    """
    n = sum(step.branch is not None for step in steps)
    plain = sum(step.carry is None for step in steps)
    return [comb(n - plain, k - plain) if k >= plain else 0 for k in range(n + 1)]


def effective(weight: Sequence[float] | np.ndarray, part: float = 0.95) -> tuple[int, int]:
    """The fewest neighbouring lengths that hold a part of the weight.

    Parameters
    ----------
    weight : of each length, 0 or more: |share|, norm, or number of paths
    part : of their sum, in (0, 1]

    Returns
    -------
    first, last : int
        Both included; of several such ranges the one that holds most.

    Examples
    --------
    >>> effective([0, 1, 8, 1, 0], 0.9)
    (1, 2)
    """
    weight = np.asarray(weight, float)
    sums = np.concatenate([[0.0], np.cumsum(weight)])
    if not (sums[-1] > 0 and np.isfinite(sums[-1]) and (weight >= 0).all()):
        raise BadInput(f"weights that sum to {sums[-1]:g} have no range; give finite ones, 0 or more, and not all 0")
    for size in range(1, len(weight) + 1):
        held = sums[size:] - sums[:-size]
        if held.max() >= part * sums[-1] * (1 - 1e-12):  # rounding must not add a length
            return int(held.argmax()), int(held.argmax()) + size - 1
    raise BadInput(f"no range holds {part:g} of the weight; give a part of it, up to 1")


def mean_length(weight: Sequence[float] | np.ndarray) -> float:
    """The mean of the lengths, each with its weight."""
    return float(np.average(np.arange(len(weight)), weights=weight))
