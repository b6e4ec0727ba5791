"""Measure many lesions of one network, each from where it departs from one before it.

Until the first block in which they differ, two lesions are the same computation. Trials that come in
`order` are the leaves of a tree of such beginnings, walked depth first: what the trials ahead will
need again is kept, the rest is forgotten. The numbers are, to the bit, those of running every trial
from the input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import NONE, Replacement, Skipped, altered, left_out
from ensemble.lesions.plans import OWN, deletions, intact
from landscape.evaluation.accuracy import Accuracy
from landscape.evaluation.fused import fuse, in_dtype
from landscape.evaluation.measure import Batches, Loss, score
from landscape.evaluation.sampling import Tolerance
from landscape.nested import Nested, leaves
from landscape.networks.block import Block
from landscape.networks.network import Network

__all__ = ["PrefixCache", "branch_points", "order"]


def order(plan: np.ndarray) -> np.ndarray:
    """The order of trials in which neighbours share most: those without the first block, then without the second, …

    Parameters
    ----------
    plan : moves, shape (trials, blocks), see `ensemble.lesions.plans`; or bool, True where a block is left out

    Returns
    -------
    int ndarray, shape (trials,)
        In this order few beginnings are needed at a time: a trial's own, as far as others follow in it.
    """
    plan = deletions(plan) if plan.dtype == bool else plan
    changed = plan != intact(plan.shape[1])
    kinds, kind = np.unique(plan[changed], return_inverse=True)
    codes = np.full(plan.shape, len(kinds))  # what is as it was comes last: all other trials branch off from it
    codes[changed] = kind
    return np.lexsort(codes.T[::-1])


class PrefixCache:
    """A network on batches, measured trial by trial. No trial may pair blocks: they share an input across steps.

    Parameters
    ----------
    network : in evaluation mode; borrowed, not changed
    batches : inputs and targets on the network's device
    loss : gives one number for each example
    tolerance : see `landscape.evaluation.measure.score`
    dtype : what convolutions compute in
    room : bytes of activations to keep at most; with less, more is computed again
    replacement : where trials replace branches, see `ensemble.lesions.context`
    accuracy : of each example, see `landscape.evaluation.measure.score`
    extra : other losses, and metrics, by name, taken from the same outputs
    chosen : the blocks that trials are about; by default all
    """

    def __init__(
        self,
        network: Network,
        batches: Batches,
        loss: Loss,
        tolerance: Tolerance | None = None,
        dtype: torch.dtype = torch.float32,
        room: float = 2**31,
        replacement: Replacement = NONE,
        accuracy: Accuracy | None = None,
        extra: Mapping[str, Loss] = MappingProxyType({}),
        chosen: Mapping[str, Block] | None = None,
    ):
        self._set(batches, loss, tolerance, room, replacement, accuracy, extra)
        self.blocks = cast("list[Block]", list((blocks(network) if chosen is None else chosen).values()))
        self.as_they_are = [in_dtype(block, dtype) for block in self.blocks]
        names = {id(block): number for number, block in enumerate(self.blocks)}
        # The network as steps in a row: (whole, without its block or None, number of the block)
        self.steps: list[tuple[nn.Module, nn.Module | None, int]] = []
        example = batches[0][0][:2]
        with torch.no_grad():
            for part in network.parts():
                number = names.get(id(part), -1)
                whole, _ = fuse(part, example, dtype)
                without = fuse(Skipped(part), example, dtype)[0] if number >= 0 else None
                self.steps.append((whole, without, number))
                example = part(example)
        self.place = [step for step, (_, _, number) in enumerate(self.steps) if number >= 0]  # of each block

    def _set(
        self,
        batches: Batches,
        loss: Loss,
        tolerance: Tolerance | None,
        room: float,
        replacement: Replacement,
        accuracy: Accuracy | None,
        extra: Mapping[str, Loss],
    ) -> None:
        """What a cache of any network has."""
        self.batches, self.loss, self.tolerance, self.room = batches, loss, tolerance, room
        self.replacement, self.accuracy, self.extra = replacement, accuracy, extra
        # Of each batch, what is kept: the trial that it comes from, and activations by the step they go into
        self.kept: dict[int, tuple[np.ndarray, list[tuple[int, Any]]]] = {}

    def measure(self, trial: np.ndarray, again: Iterable[int] = (), examples: int | None = None) -> dict[str, float]:
        """Measure one trial.

        Parameters
        ----------
        trial : moves, shape (blocks,), see `ensemble.lesions.plans`; or bool, True where a block is left out
        again : the blocks before which trials to come will branch off from this one, see `branch_points`
        examples : see `landscape.evaluation.measure.score`
        """
        (trial,) = deletions(trial[None]) if trial.dtype == bool else (trial,)
        steps = {self.place[block] for block in again}
        with torch.no_grad():
            outputs = (self._output(batch, trial, steps) for batch in range(len(self.batches)))
            return score(outputs, self.batches, self.loss, self.tolerance, examples, self.extra, self.accuracy)

    def _output(self, batch: int, trial: np.ndarray, again: set[int]) -> Any:
        first, x, kept = self._resume(batch, trial, again)
        x = self.batches[batch][0] if x is None else x
        for step, (whole, _, number) in enumerate(self.steps[first:], start=first):
            if step in again and step > first and self._room_for(x):
                kept.append((step, x))
            x = self._moved(trial[number], x) if number >= 0 else whole(x)
        return x

    def _resume(self, batch: int, trial: np.ndarray, again: set[int]) -> tuple[int, Any, list[tuple[int, Any]]]:
        """The step at which a trial goes on, what is given to it, None at the first, and what is kept from now on."""
        before, kept = self.kept.get(batch, (trial, []))
        if not np.array_equal(before, trial):
            kept = [(step, x) for step, x in kept if step <= self.place[common(before, trial)]]
        first, x = kept[-1] if kept else (0, None)
        kept = [(step, x) for step, x in kept if step in again]
        self.kept[batch] = trial, kept  # what is not in it is free now
        return first, x, kept

    def _moved(self, move: np.void, x: Tensor) -> Tensor:
        """What comes out where a move is made."""
        number = move["block"]
        whole, without, _ = self.steps[self.place[number]]
        if left_out(move):
            return without(x)
        if move["branch"] != OWN or move["gate"] != 1:  # a branch that is changed is not fused with its sum
            with altered(self.blocks[number], move, self.replacement):
                return self.as_they_are[number](x)
        for _ in range(move["runs"]):
            x = whole(x)
        return x

    def _room_for(self, x: Nested) -> bool:
        used = sum(_bytes(tensor) for _, kept in self.kept.values() for _, tensor in kept)
        return used + _bytes(x) <= self.room


def common(one: np.ndarray, other: np.ndarray) -> int:
    """The first block in which two trials differ."""
    return int((one != other).argmax())


def branch_points(plan: np.ndarray) -> Iterator[list[int]]:
    """For each trial of a plan in `order`: before which blocks later trials branch off from it."""
    ahead: list[int] = []
    points = [ahead]
    for one, other in zip(plan[-2::-1], plan[:0:-1], strict=True):
        fork = common(one, other) if not np.array_equal(one, other) else plan.shape[1] - 1
        ahead = [*(b for b in ahead if b < fork), fork]
        points.append(ahead)
    return reversed(points)


def _bytes(x: Nested) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in leaves(x))
