"""Units: what a permutation of a network moves, followed through its forward pass.

Each index along an axis of a parameter is a node. Nodes that hold the same channel, in whichever tensor, are united
into a unit, at the same place or at several: channel c of C×H×W numbers laid out in a row is at H·W places. A unit may
contain others, as a head of attention contains the dimensions of its queries, which move with it and among each other.

A tensor's label is a list of blocks: some of its axes, and a node for each index along them. Two axes together have
one block where a row was cut in two: heads × dimensions. An axis without a block has an order of its own, such as
examples, positions, inputs and outputs. To fix a unit, so that it stays where it is, is always right, only less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["FIXED", "Block", "Label", "Units"]

FIXED = 0  # the node of what has an order of its own
Place = tuple  # of (index, number of places), from the outermost


class Block(NamedTuple):
    """Some axes of a tensor, the outer before the inner, and the nodes along them."""

    axes: tuple[int, ...]
    ids: np.ndarray


Label = list[Block]


class Units:
    """Nodes, the units that they are of, and what each unit has been through.

    Attributes
    ----------
    fixed : set of units that stay where they are
    over : the node of the unit that contains a unit
    events : what was done, with the nodes that it was done to; units that differ in this are not interchangeable
    within : parents and children of every time that a unit was seen to contain others
    """

    def __init__(self) -> None:
        self.link, self.place = [FIXED], [()]
        self.fixed: set[int] = {FIXED}
        self.over: dict[int, int] = {}
        self.events: list[tuple[object, np.ndarray]] = []
        self.within: list[tuple[np.ndarray, np.ndarray]] = []

    # Nodes

    def new(self, number: int) -> np.ndarray:
        """So many nodes, each a unit."""
        first = len(self.link)
        self.link.extend(range(first, first + number))
        self.place.extend([()] * number)
        return np.arange(first, first + number)

    def at(self, node: int, place: Place) -> int:
        """A node for a place of what another node is at."""
        if not place:
            return node
        self.link.append(int(node))
        self.place.append(place)
        return len(self.link) - 1

    def find(self, node: int) -> tuple[int, Place]:
        """The unit of a node, and at which of its places the node is."""
        way, node = [], int(node)
        while self.link[node] != node:
            way.append(node)
            node = self.link[node]
        place: Place = ()
        for each in reversed(way):
            place += self.place[each]
            self.link[each], self.place[each] = node, place
        return node, place

    def fix(self, ids: Iterable[int]) -> None:
        """Let the units of nodes stay where they are."""
        self.fixed.update(self.find(node)[0] for node in ids)

    def unite(self, some: np.ndarray, others: np.ndarray) -> None:
        """Make one of the units of nodes, pair by pair; where their places do not fit they are fixed."""
        if some is others or np.array_equal(some, others):
            return
        for one, other in zip(some.ravel().tolist(), others.ravel().tolist(), strict=True):
            self._unite(one, other)

    def _unite(self, one: int, other: int) -> None:
        (a, place), (b, elsewhere) = self.find(one), self.find(other)
        if a == b and place == elsewhere:
            return
        if a == b or FIXED in (a, b) or (place and elsewhere and place != elsewhere):
            self.fixed |= {a, b}
            return
        if place and not elsewhere:
            a, b, elsewhere = b, a, place
        elif place:
            elsewhere = ()
        self.link[a], self.place[a] = b, elsewhere  # a is at a place of b
        if a in self.fixed:
            self.fixed.add(b)
        if (parent := self.over.pop(a, None)) is not None:
            if b not in self.over:
                self.over[b] = parent if not elsewhere else int(self.new(1)[0])
            self._unite(self.at(self.over[b], elsewhere), parent)

    # Labels

    def happen(self, what: object, blocks: Iterable[Block]) -> None:
        """Remember what was done to the units of blocks."""
        self.events += [((what, number), block.ids) for number, block in enumerate(blocks)]

    def happen_by_index(self, what: object, block: Block, axes: Iterable[int]) -> None:
        """Remember that something different was done at each index along some axes of a block."""
        places = [block.axes.index(axis) for axis in axes]
        if len(places) == len(block.axes):
            self.fix(block.ids.flat)
            return
        ids = np.moveaxis(block.ids, places, range(len(places)))
        ids = ids.reshape(math.prod(ids.shape[: len(places)]), -1)
        self.events += [((what, "index", index), each) for index, each in enumerate(ids)]

    def fresh(self, shape: Sequence[int]) -> Label:
        """Each axis with units of its own, as of a parameter, or of zeros."""
        return [Block((axis,), self.new(size)) for axis, size in enumerate(shape) if size > 1]

    def contained(self, block: Block, axes: Sequence[int]) -> np.ndarray:
        """Nodes of the units along some axes of a block that contain those along its others."""
        places = [block.axes.index(axis) for axis in axes]
        ids = np.moveaxis(block.ids, places, range(len(places)))
        shape = ids.shape[: len(places)]
        children = ids.reshape(math.prod(shape), -1)
        if children.shape[1] == 1:
            return children.reshape(shape)
        parents = np.empty(len(children), int)
        for row, each in enumerate(children.tolist()):
            units, where = zip(*map(self.find, each), strict=True)
            owner = next((self.over[unit] for unit in units if unit in self.over), None)
            owner = int(self.new(1)[0]) if owner is None else owner
            for unit in units:
                if unit != FIXED:
                    self.over.setdefault(unit, owner)
            common = itertools.takewhile(lambda steps: len(set(steps)) == 1, zip(*where, strict=False))
            parents[row] = self.at(owner, tuple(steps[0] for steps in common))
        self.within.append((parents, children))
        return parents.reshape(shape)

    def paired(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Nodes of units that contain two each, which go together without being one."""
        if np.array_equal(some, others):
            return some
        rows = np.stack([some.ravel(), others.ravel()], axis=1)
        return self.contained(Block((0, 1), rows), [0]).reshape(some.shape)

    def elementwise(
        self, what: object, shape: Sequence[int], arguments: Sequence[tuple[Label, Sequence[int]]]
    ) -> Label:
        """The label of what is computed of tensors of labels and shapes, element by element, as they broadcast."""
        placed, closed = [], []
        for label, own in arguments:
            shift = len(shape) - len(own)
            blocks = [Block(tuple(axis + shift for axis in block.axes), block.ids) for block in label]
            in_order = {axis + shift for axis, size in enumerate(own) if size > 1}
            placed.append(blocks)
            closed.append(in_order.difference(*(block.axes for block in blocks)))
        for number, blocks in enumerate(placed):
            self.happen((what, number), blocks)
            for block, (other, in_order) in itertools.product(blocks, enumerate(closed)):
                if other != number and (ordered := [axis for axis in block.axes if axis in in_order]):
                    self.happen_by_index((what, number, other), block, ordered)
        made: Label = []
        for block in sorted(itertools.chain(*placed), key=lambda block: -len(block.axes)):
            if not any(self._joined(what, block, other) for other in made):
                made.append(block)
        return made

    def _joined(self, what: object, block: Block, other: Block) -> bool:
        """Let a block meet a larger one of the same tensor; whether this one says all that it says."""
        common = [axis for axis in other.axes if axis in block.axes]
        if not common:
            return False
        if len(common) == len(block.axes) == len(other.axes):
            self.unite(np.transpose(block.ids, [block.axes.index(axis) for axis in other.axes]), other.ids)
            return True
        outer = [set(each.axes[: len(common)]) == set(common) for each in (block, other)]
        if all(outer):
            self.unite(*(self.contained(each, common) for each in (block, other)))
        elif len(common) == len(block.axes):  # one for each dimension of all heads
            self.fix(block.ids.flat)
            self.happen_by_index((what, "inner"), other, common)
        else:
            self.fix(itertools.chain(block.ids.flat, other.ids.flat))
        return len(common) == len(block.axes)

    def reduced(self, label: Label, axes: Iterable[int], dropped: bool = True) -> Label:
        """The label of a sum, a mean or a largest over axes, which are gone then, or of size 1."""
        gone, made = set(axes), []
        for block in label:
            kept = [axis for axis in block.axes if axis not in gone]
            if len(kept) == len(block.axes):
                made.append(block)
            elif kept:
                made.append(Block(tuple(kept), self.contained(block, kept)))
        if dropped:
            made = [Block(tuple(a - sum(g < a for g in gone) for a in block.axes), block.ids) for block in made]
        # Of two blocks that shared an axis one may now be a part of the other.
        return [
            block
            for n, block in enumerate(made)
            if not any(set(block.axes) < set(o.axes) or (block.axes == o.axes and m < n) for m, o in enumerate(made))
        ]

    def joined(self, what: object, axis: int, arguments: Sequence[tuple[Label, Sequence[int]]]) -> Label:
        """The label of tensors one behind the other along an axis."""
        made = []
        every = dict.fromkeys(block.axes for label, _ in arguments for block in label)
        for axes in every:
            parts = [next((block for block in label if block.axes == axes), None) for label, _ in arguments]
            ids = [block.ids for block in parts if block is not None]
            if axes == (axis,):
                made.append(
                    Block(
                        axes,
                        np.concatenate(
                            [
                                np.full(own[axis], FIXED) if block is None else block.ids
                                for block, (_, own) in zip(parts, arguments, strict=True)
                            ]
                        ),
                    )
                )
            elif len(ids) < len(parts):
                self.fix(np.concatenate([each.ravel() for each in ids]))
            elif axis in axes:
                made.append(Block(axes, np.concatenate(ids, axis=axes.index(axis))))
            else:
                for other in ids[1:]:
                    self.unite(ids[0], other)
                made.append(Block(axes, ids[0]))
        for block in made:
            if block.axes == (axis,):
                self.happen((what, "ordered"), [block] if (block.ids == FIXED).any() else [])
        return made

    def viewed(self, label: Label, before: Sequence[int], after: Sequence[int]) -> Label | None:
        """The label of the same numbers in another shape; None if axes are cut where none of them ends."""
        atoms: list[int] = []
        of_before: list[list[int]] = [[] for _ in before]
        of_after: list[list[int]] = [[] for _ in after]
        old = [[axis, size] for axis, size in enumerate(before) if size != 1]
        new = [[axis, size] for axis, size in enumerate(after) if size != 1]
        while old and new:
            size = math.gcd(old[0][1], new[0][1])
            if size == 1:
                return None
            for side, parts in ((old, of_before), (new, of_after)):
                parts[side[0][0]].append(len(atoms))
                side[0][1] //= size
                if side[0][1] == 1:
                    side.pop(0)
            atoms.append(size)
        cut = []
        for block in label:
            axes = tuple(atom for axis in block.axes for atom in of_before[axis])
            ids = block.ids.reshape([atoms[atom] for atom in axes])
            for atom in axes:
                if len(axes) > 1 and any(atom in part and len(part) > 1 for part in of_before):
                    axes, ids = self._without_places(axes, ids, atom)
            if axes:
                cut.append(Block(axes, ids))
        return self._merged(cut, atoms, of_after)

    def _without_places(self, axes: tuple, ids: np.ndarray, atom: int) -> tuple[tuple, np.ndarray]:
        """Leave out an axis along which one sees the same units, each at all of its places in order."""
        if atom not in axes:
            return axes, ids
        rows = np.moveaxis(ids, axes.index(atom), 0)
        seen = [[self.find(node) for node in row] for row in rows.reshape(len(rows), -1).tolist()]
        for depth in range(len(seen[0][0][1])):
            rest = [[(unit, place[:depth] + place[depth + 1 :]) for unit, place in row] for row in seen]
            here = [{place[depth : depth + 1] for _, place in row} for row in seen]
            if all(row == rest[0] for row in rest) and here == [{((n, len(rows)),)} for n in range(len(rows))]:
                ids = np.array([self.at(unit, place) for unit, place in rest[0]]).reshape(rows.shape[1:])
                return tuple(each for each in axes if each != atom), ids
        return axes, ids

    def _merged(self, label: Label, atoms: Sequence[int], parts: Sequence[Sequence[int]]) -> Label:
        """Blocks over atoms as blocks over axes that consist of several each."""
        made: Label = []
        for part in parts:
            touched = [block for block in label if set(block.axes) & set(part)]
            if len(part) == 1 or not touched:
                continue
            if len(touched) > 1:
                for block in touched:
                    self.fix(block.ids.flat)
                    label = [each for each in label if each is not block]
                continue
            (block,) = touched
            label = [each for each in label if each is not block]
            axes, ids = block
            for atom in (atom for atom in part if atom not in axes):  # the same units at one place after another
                size = atoms[atom]
                each = [[self.at(node, ((n, size),)) for n in range(size)] for node in ids.ravel().tolist()]
                axes, ids = (*axes, atom), np.array(each).reshape(*ids.shape, size)
            first = min(axes.index(atom) for atom in part)
            order = [atom for atom in axes[:first] if atom not in part] + list(part)
            order += [atom for atom in axes if atom not in order]
            ids = np.transpose(ids, [axes.index(atom) for atom in order])
            start = order.index(part[0])
            ids = ids.reshape(*ids.shape[:start], -1, *ids.shape[start + len(part) :])
            # The first atom stands for the axis from here on; another axis may have to be merged still.
            label.append(Block(tuple(atom for atom in order if atom not in part[1:]), ids))
        place = {part[0]: axis for axis, part in enumerate(parts) if part}
        for axes, ids in label:
            made.append(Block(tuple(place[atom] for atom in axes), ids))
        return made
