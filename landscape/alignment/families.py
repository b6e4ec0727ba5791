"""Families: units of a network that can trade places, and nothing that it computes changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.alignment.operations import Follower, Reading
from landscape.alignment.units import Place, Units
from landscape.evaluation.calling import evaluating, functional
from landscape.nested import Nested, leaves

DEEPEST = 8  # units in units

__all__ = ["Axis", "Family", "Symmetry", "called", "members", "outputs_in", "symmetry", "tensors_of"]


class Family(NamedTuple):
    """Units that are interchangeable, such as the channels of a layer, or of all layers along a stream.

    Attributes
    ----------
    units : tuple of int
    inner : for each unit the families within it, such as the dimensions of a head; those of two units correspond
    kind : one number for all units that have been through the same
    """

    units: tuple[int, ...]
    inner: tuple[tuple[Family, ...], ...]
    kind: int


class Axis(NamedTuple):
    """An axis of a parameter or a buffer, or several axes of a tensor laid out in a row.

    Attributes
    ----------
    size : int
    where : dict
        The indices of each unit that can move; those of two units of a kind correspond.
    """

    size: int
    where: dict[int, list[int]]

    def source(self, moved: Mapping[int, int]) -> np.ndarray:
        """Which index comes to each index, where these units come in the place of others."""
        source = np.arange(self.size)
        for unit, other in moved.items():
            if unit in self.where:
                source[self.where[unit]] = self.where[other]
        return source


class Symmetry(NamedTuple):
    """What can be permuted in a network.

    Attributes
    ----------
    families : list of Family
    axes : dict
        By the name of a parameter or buffer, and the number of its axis.
    readings : list of Reading
        Where units are read, with axes in place of nodes.
    unknown : names of operations that are not known
    """

    families: list[Family]
    axes: dict[tuple[str, int], Axis]
    readings: list[tuple[Reading, Axis]]
    unknown: list[str]


def members(family: Family) -> Iterator[Family]:
    """A family, and those within its units."""
    yield family
    for inner in family.inner:
        for each in inner:
            yield from members(each)


def symmetry(network: nn.Module, inputs: Nested) -> Symmetry:
    """Which units of a network can trade places, from one forward pass.

    Parameters
    ----------
    network : nn.Module
        Called in evaluation mode, and left as it is.
    inputs : tensor, or a structure of tensors
        A few examples.

    Returns
    -------
    Symmetry
        Without families where nothing can be permuted.
    """
    units = Units()
    state = {name: tensor.detach() for name, tensor in tensors_of(network).items()}
    labels = {name: units.fresh(tensor.shape) for name, tensor in state.items()}
    known = {id(tensor): labels[name] for name, tensor in state.items()}
    follower = Follower(units, known, leaves(inputs))
    outputs = called(network, state, inputs, follower)
    first = {id(tensor): name for name, tensor in tensors_of(network).items()}
    own = network.state_dict(keep_vars=True).items()  # with all names of what is tied
    named = {name: labels[first[id(tensor)]] for name, tensor in own if id(tensor) in first}
    for tensor in outputs_in(outputs):
        for block in follower.of(tensor):
            units.fix(block.ids.flat)
    seen = [ids for _, ids in units.events] + [parents for parents, _ in units.within]
    used = {units.find(node)[0] for ids in seen for node in ids.flat}
    for name, label in named.items():
        units.events += [((name, axis), ids) for (axis,), ids in label]
    _settle(units)
    families = _families(units, used)
    axes = {(name, axis): _axis(units, ids) for name, label in named.items() for (axis,), ids in label}
    readings = [(reading, _axis(units, reading.block.ids)) for reading in follower.readings]
    return Symmetry(families, axes, readings, [*follower.unknown])


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers that a network saves, each once."""
    saved = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    own = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor for name, tensor in own if id(tensor) in saved}


def called(network: nn.Module, state: Mapping[str, Tensor], inputs: Nested, mode: TorchDispatchMode) -> Any:
    """The outputs of a network with other weights, in evaluation mode; operation by operation the same for any."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operation for all of a layer, which nobody could follow
    try:
        with torch.no_grad(), evaluating(network), mode:
            return functional(network, {name: state[name] for name in tensors_of(network)}, inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def outputs_in(outputs: Any) -> list[Tensor]:
    """Every tensor in what a network gives."""
    if isinstance(outputs, Tensor):
        return [outputs]
    values = outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, list | tuple) else ()
    return [tensor for value in values for tensor in outputs_in(value)]


def _settle(units: Units) -> None:
    """Fix what cannot move after all, until nothing more follows from it."""
    for unit in list(units.over):
        above = unit
        for _ in range(DEEPEST):
            above = units.find(units.over[above])[0] if above in units.over else 0
        if above:  # in itself
            units.fixed.add(unit)
            del units.over[unit]
    number = -1
    while number != len(units.fixed):
        number = len(units.fixed)
        for _, ids in units.events:  # a unit that is twice at one place of a tensor: which is which?
            counts = Counter(map(units.find, ids.ravel().tolist()))
            units.fixed.update(unit for (unit, _), times in counts.items() if times > 1)
        for parents, children in units.within:
            over = [units.find(parent) for parent in parents]
            parted = len(set(over)) == len(over)
            for (parent, _), row in zip(over, children.tolist(), strict=True):
                inside = {units.find(node)[0] for node in row}
                owners = {units.find(units.over[unit])[0] if unit in units.over else None for unit in inside}
                if not parted or owners != {parent}:  # contained in units that overlap
                    units.fixed |= inside | {parent}
                elif inside & units.fixed:
                    units.fixed.add(parent)
        units.fixed = {units.find(unit)[0] for unit in units.fixed}


def _families(units: Units, used: set[int]) -> list[Family]:
    """The families of all units that can move, those within others in them."""
    roots = {units.find(node)[0] for node in range(len(units.link))} - {0}
    been: dict[int, Counter] = defaultdict(Counter)
    for what, ids in units.events:
        for node in ids.flat:
            unit, place = units.find(node)
            been[unit][what, place] += 1
    children: dict[int, list[tuple[Place, int]]] = defaultdict(list)
    top = []
    for unit in sorted(roots):
        parent, place = units.find(units.over[unit]) if unit in units.over else (0, ())
        children[parent].append((place, unit))
    kinds: dict[object, int] = {}

    @cache
    def kind(unit: int) -> int:
        inside = sorted((place, kind(each)) for place, each in children[unit])
        key = (frozenset(been[unit].items()), tuple(inside), unit in units.fixed)
        return kinds.setdefault(key, len(kinds))

    def grouped(inside: list[tuple[Place, int]]) -> tuple[Family, ...]:
        by_kind: dict[tuple, list[int]] = defaultdict(list)
        for place, unit in inside:
            by_kind[place, kind(unit)].append(unit)
        return tuple(
            Family(tuple(each), tuple(grouped(children[unit]) for unit in each), of)
            for (_, of), each in sorted(by_kind.items())
        )

    # Within a unit that stays where it is, others may still move.
    for parent in [0, *(unit for unit in sorted(roots) if unit in units.fixed)]:
        moving = [(place, unit) for place, unit in children[parent] if unit in used - units.fixed]
        top += [family for family in grouped(moving) if any(len(each.units) > 1 for each in members(family))]
    return top


def _axis(units: Units, ids: np.ndarray) -> Axis:
    places: dict[int, list[tuple[Place, int]]] = defaultdict(list)
    for index, node in enumerate(ids.ravel().tolist()):
        unit, place = units.find(node)
        if unit not in units.fixed:
            places[unit].append((place, index))
    return Axis(ids.size, {unit: [index for _, index in sorted(each)] for unit, each in places.items()})
