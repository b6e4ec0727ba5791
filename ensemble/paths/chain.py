"""The paths that a residual network unravels into, and how long they are.

A network of n blocks y = after(carry(x), branch(x)), n of them residual, is a sum over 2ⁿ paths, each of which takes
either the branch or the way around it in every block (Veit et al. 2016, 1605.06431 §3). The length of a path is the
number of branches it goes through.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.networks import Block
from landscape.networks.network import Network

__all__ = ["Chain", "Step", "chain", "counts", "effective", "mean_length"]


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
    """

    stem: Callable[[Tensor], Tensor]
    steps: list[Step]
    head: Callable[[Tensor], Tensor]


def chain(network: nn.Module, dtype: torch.dtype = torch.float64, image: bool = False) -> Chain:
    """A network's blocks as steps.

    Parameters
    ----------
    network : of `landscape.networks`. It is copied, and the copy is in evaluation mode.
    dtype : of the copy; the stem casts its input to it
    image : let the stem be the first step, so that paths begin at the image and not at the first block

    Raises
    ------
    BadInput
        The network is not made of blocks.

    Notes
    -----
    What a join computes from the shortcut belongs to the carry, the gate of a gated join too; the scale
    of a branch, by a constant, a gate or stochastic depth, belongs to the branch, as does a gate that reads it.
    """
    if not isinstance(network, Network) or not any(isinstance(part, Block) for part in network.parts()):
        raise BadInput(
            f"{type(network).__name__} is not a chain of blocks; use a network of landscape.networks, "
            "or write its steps down as an ensemble.paths.chain.Chain"
        )
    network = copy.deepcopy(network).to(dtype).eval()
    stem, *parts, head = network.parts()

    def cast(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x  # tokens stay what they are

    if image:
        return Chain(cast, [_step(part) for part in (stem, *parts)], head)
    return Chain(lambda x: stem(cast(x)), [_step(part) for part in parts], head)


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
