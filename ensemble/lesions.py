"""Lesions: which blocks are left out in each trial, and a network without them.

A plan is a bool array (trials, blocks), True where a block is deleted.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from itertools import chain, combinations

import numpy as np
from torch import Tensor, nn

from ensemble.blocks import blocks
from landscape.errors import BadInput
from landscape.networks import Block

__all__ = ["Skipped", "every", "lesion", "sampled"]

MOST = 100_000  # trials in one plan


class Skipped(nn.Module):
    """A block with its branch left out."""

    def __init__(self, block: Block):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block.skip(x)


@contextlib.contextmanager
def lesion(network: nn.Module, deleted: Iterable[str]) -> Iterator[nn.Module]:
    """The network without some blocks, for the length of a ``with``.

    Parameters
    ----------
    network : borrowed; unchanged afterwards, whatever happens inside
    deleted : names of blocks, as `ensemble.blocks.blocks` gives them

    Notes
    -----
    A deleted residual block becomes its shortcut, y = x + F(x) → y = x (Veit et al. 2016, §4.1); at
    a stage's first block the projection or padding stays. A block without a shortcut is taken out.
    """
    found = blocks(network)
    names = list(deleted)
    if unknown := [name for name in names if name not in found]:
        raise BadInput(f"no removable block is called {', '.join(unknown)}; there are {', '.join(found)}")
    try:
        for name in names:
            _put(network, name, Skipped(found[name]))
        yield network
    finally:
        for name in names:
            _put(network, name, found[name])


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def every(number: int, counts: Iterable[int]) -> np.ndarray:
    """A plan of the intact network and then every set of `counts` out of `number` blocks.

    Raises
    ------
    BadInput
        There are more than 100,000 such sets.
    """
    counts = _checked(number, counts)
    trials = sum(math.comb(number, k) for k in counts)
    if trials > MOST:
        raise BadInput(f"{number} blocks have {trials:,} such sets; draw some of them with --trials")
    sets = chain.from_iterable(combinations(range(number), k) for k in counts)
    return _plan(number, sets)


def sampled(number: int, counts: Iterable[int], trials: int, seed: int) -> np.ndarray:
    """A plan of the intact network and then, for each count, `trials` sets of blocks drawn at random.

    Each trial has its own generator: adding counts or trials changes no other trial.
    """
    counts = _checked(number, counts)
    if not 1 <= trials <= MOST:
        raise BadInput(f"--trials is {trials}; give 1 to {MOST:,}")
    draws = (
        np.random.default_rng([seed, k, trial]).choice(number, k, replace=False)
        for k in counts
        for trial in range(trials)
    )
    return _plan(number, draws)


def _checked(number: int, counts: Iterable[int]) -> list[int]:
    counts = list(counts)
    if not counts or min(counts) < 1 or max(counts) > number:
        raise BadInput(f"this network has {number} removable blocks; --delete takes numbers from 1 to {number}")
    return counts


def _plan(number: int, sets: Iterable[Iterable[int]]) -> np.ndarray:
    rows = [np.zeros(number, bool)]  # the intact network, which every damage is measured against
    for chosen in sets:
        row = np.zeros(number, bool)
        row[list(chosen)] = True
        rows.append(row)
    return np.array(rows)
