"""Which unit of one network takes the place of which unit of another, so that the two are nearest.

By weights, the inner product of all parameters is made large, family by family while the others stand still, until none
gains (Ainsworth et al. 2023, 2209.04836, §3.2). By activations it is the correlation of units on the same examples, for
each family by itself (ibid. §3.1; Jordan et al. 2023, 2211.08403, §2). A family is a linear assignment; where there are
families within its units, one for each pair of units, and one over them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.alignment.families import Axis, Family, Symmetry, called, members
from landscape.nested import Nested

__all__ = ["Similarity", "correlations_of", "identity_of", "matched", "nearest_by_weights", "permuted"]

STEPS = 2**40  # of similarities: their last bits depend on the number of threads
SWEEPS = 100  # over all families, at most
LEAST = 1e-9  # of the inner product: what counts as a gain

Moved = dict[int, int]  # which unit comes to the place of each
Similarity = Callable[[Sequence[int], Sequence[int]], np.ndarray]  # of units of two networks


def identity_of(symmetry: Symmetry) -> Moved:
    """Every unit in its own place."""
    return {unit: unit for family in symmetry.families for each in members(family) for unit in each.units}


def permuted(state: Mapping[str, Tensor], symmetry: Symmetry, moved: Mapping[int, int]) -> dict[str, Tensor]:
    """A state dict with its units moved: the same network, to rounding."""
    made = dict(state)
    for (name, axis), along in symmetry.axes.items():
        source = along.source(moved)
        if (source != np.arange(along.size)).any():
            made[name] = made[name].index_select(axis, torch.from_numpy(source).to(made[name].device))
    return made


def matched(family: Family, other: Family, similarity: Similarity) -> tuple[float, Moved]:
    """The assignment of one family's units to another's with the largest sum of similarities.

    Parameters
    ----------
    family, other : Family
        Of the same kind; one family, or families within two units.
    similarity : callable
        Of two tuples of units, an array.

    Returns
    -------
    float
        The sum.
    dict
        Which unit comes to the place of each unit of `family`, of those within them too.
    """
    value = similarity(family.units, other.units)
    below: dict[tuple[int, int], Moved] = {}
    for inside, outside in zip(zip(*family.inner, strict=True), zip(*other.inner, strict=True), strict=True):
        if len(inside[0].units) == 1 and not inside[0].inner[0]:  # nothing to choose, as of a query's dimension
            ones, others = ([each.units[0] for each in families] for families in (inside, outside))
            value += similarity(ones, others)
            below |= {
                (i, j): below.get((i, j), {}) | {one: another}
                for (i, one), (j, another) in itertools.product(enumerate(ones), enumerate(others))
            }
            continue
        for (i, one), (j, another) in itertools.product(enumerate(inside), enumerate(outside)):
            more, moved = matched(one, another, similarity)
            value[i, j] += more
            below[i, j] = below.get((i, j), {}) | moved
    rows, columns = scipy.optimize.linear_sum_assignment(value, maximize=True)
    moved = {}
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        moved |= {family.units[i]: other.units[j]} | below.get((i, j), {})
    return float(value[rows, columns].sum()), moved


def nearest_by_weights(
    symmetry: Symmetry, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], seed: int
) -> Moved:
    """The order of another network's units in which its weights are nearest to those of one, as far as steps lead.

    They lead to an order that no family can improve by itself, the better one of two: from every unit in its own place,
    and from families matched one after the other, from the inputs on, by the weights between what is matched already.

    Parameters
    ----------
    symmetry : Symmetry
    one, other : dict of float64 ndarray
        Parameters by name; those of `other` are permuted.
    seed : int
        Random seed of the order of families.
    """
    starts = identity_of(symmetry), _from_inputs(symmetry, one, other)
    ends = [_ascended(symmetry, one, other, start, np.random.default_rng(seed)) for start in starts]
    products = [
        math.fsum(_product(one[name], _permuted(symmetry, name, other[name], end)) for name in one) for end in ends
    ]
    return ends[int(products[1] > products[0] + LEAST * abs(products[0]))]


def _from_inputs(symmetry: Symmetry, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Moved:
    """Families matched one after the other, as they are made, by what leads to them from those before."""
    moved, later = identity_of(symmetry), set(identity_of(symmetry))
    for family in symmetry.families:
        later -= {unit for each in members(family) for unit in each.units}
        moved |= matched(family, family, _of_weights(symmetry, family, one, other, moved, later))[1]
    return moved


def _ascended(
    symmetry: Symmetry,
    one: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    moved: Moved,
    generator: np.random.Generator,
) -> Moved:
    """Families matched while the others stand still, until none gains."""
    names = [_names(symmetry, family, one) for family in symmetry.families]
    for _ in range(SWEEPS):
        gained = False
        for number in generator.permutation(len(names)).tolist():
            family = symmetry.families[number]
            here = moved | matched(family, family, _of_weights(symmetry, family, one, other, moved))[1]
            if here == moved:
                continue
            # Where both axes of a weight are of one family, the assignment is right for one of them at a time.
            before, after = (
                math.fsum(_product(one[name], _permuted(symmetry, name, other[name], each)) for name in names[number])
                for each in (moved, here)
            )
            if after > before + LEAST * abs(before):
                moved, gained = here, True
        if not gained:
            break
    return moved


def _product(one: np.ndarray, other: np.ndarray) -> float:
    """The inner product of two weights, the same for any number of threads."""
    return float(np.einsum("i,i->", one.ravel(), other.ravel()))


def _names(symmetry: Symmetry, family: Family, weights: Mapping[str, object]) -> list[str]:
    """The weights that a family's units are in."""
    units = {unit for each in members(family) for unit in each.units}
    there = {name for (name, _), along in symmetry.axes.items() if units & along.where.keys()}
    return [name for name in weights if name in there]


def _permuted(
    symmetry: Symmetry, name: str, weights: np.ndarray, moved: Mapping[int, int], but: int | None = None
) -> np.ndarray:
    """A weight with the units along its axes moved, but for one axis."""
    for axis in range(weights.ndim):
        if axis != but and (along := symmetry.axes.get((name, axis))) is not None:
            weights = weights.take(along.source(moved), axis=axis)
    return weights


def _of_weights(
    symmetry: Symmetry,
    family: Family,
    one: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    moved: Mapping[int, int],
    but: Set[int] = frozenset(),
) -> Similarity:
    """Inner products of two units' slices of all weights; `but` those along whose other axes are units of these."""
    pairs = []
    for name in _names(symmetry, family, one):
        for axis in range(one[name].ndim):
            along = symmetry.axes.get((name, axis))
            rest = [symmetry.axes[name, each].where for each in range(one[name].ndim) if (name, each) in symmetry.axes]
            if any(each.keys() & but for each in rest if along is None or each is not along.where):
                continue
            if along is not None and any(each.units[0] in along.where for each in members(family)):
                slices = [one[name], _permuted(symmetry, name, other[name], moved, but=axis)]
                pairs.append((along, [np.moveaxis(each, axis, 0) for each in slices]))

    def similarity(units: Sequence[int], others: Sequence[int]) -> np.ndarray:
        value = np.zeros((len(units), len(others)))
        for along, (first, second) in pairs:
            if units[0] in along.where:
                value += _rows(along, units, first) @ _rows(along, others, second).T
        return _rounded(value)

    return similarity


def _rows(along: Axis, units: Sequence[int], values: np.ndarray) -> np.ndarray:
    """All that there is of each unit, in a row."""
    return values[np.array([along.where[unit] for unit in units])].reshape(len(units), -1)


def _rounded(value: np.ndarray) -> np.ndarray:
    """Without the last bits, so that ties are broken alike everywhere."""
    size = np.abs(value).max(initial=0)
    return value if not (size > 0 and np.isfinite(size)) else np.rint(value / size * STEPS) / STEPS * size


class _Reader(TorchDispatchMode):
    """Keeps what units are read by in a forward pass, a row for each node."""

    def __init__(self, symmetry: Symmetry):
        super().__init__()
        self.wanted: dict[int, list[tuple[int, str, tuple[int, ...]]]] = {}
        for number, (reading, _) in enumerate(symmetry.readings):
            self.wanted.setdefault(reading.step, []).append((number, reading.argument, reading.block.axes))
        self.kept: dict[int, np.ndarray] = {}
        self.step = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.step += 1
        for number, argument, axes in self.wanted.get(self.step, ()):
            names = [each.name for each in func._schema.arguments]
            tensor = (dict(zip(names, args, strict=False)) | (kwargs or {}))[argument]
            moved = tensor.detach().movedim(axes, tuple(range(len(axes))))
            self.kept[number] = moved.reshape(math.prod(moved.shape[: len(axes)]), -1).cpu().double().numpy()
        return func(*args, **(kwargs or {}))


def correlations_of(
    network: nn.Module,
    symmetry: Symmetry,
    states: Sequence[Mapping[str, Tensor]],
    inputs: Sequence[Nested],
) -> Similarity:
    """Correlations of the units of two networks over examples, and positions, the mean over where they are read.

    Parameters
    ----------
    network : nn.Module
        Of both.
    symmetry : Symmetry
    states : the two networks' state dicts
    inputs : batches

    Returns
    -------
    callable
        Of two tuples of units, an array; see `matched`.
    """
    sums: dict[int, list] = {}
    rows = {n: _places(along) for n, (reading, along) in enumerate(symmetry.readings) if 0 not in reading.block.axes}
    rows = {number: each for number, each in rows.items() if each}
    for batch in inputs:
        kept = [_read(network, symmetry, state, batch) for state in states]
        for number, where in rows.items():
            index = np.array(list(where.values()))
            one, other = (each[number][index].reshape(len(index), -1) for each in kept)
            parts = [one.shape[1], one.sum(1), other.sum(1), (one**2).sum(1), (other**2).sum(1), one @ other.T]
            sums[number] = [a + b for a, b in zip(sums[number], parts, strict=True)] if number in sums else parts
    values = {
        number: (dict(zip(rows[number], range(len(rows[number])), strict=True)), _correlation(*sums[number]))
        for number in rows
    }

    def similarity(units: Sequence[int], others: Sequence[int]) -> np.ndarray:
        there = [(place, value) for place, value in values.values() if units[0] in place]
        each = [value[np.ix_(*([place[unit] for unit in some] for some in (units, others)))] for place, value in there]
        return _rounded(np.mean(each, axis=0)) if each else np.zeros((len(units), len(others)))

    return similarity


def _places(along: Axis) -> dict[int, list[int]]:
    """Where the units of a tensor are, as often as all of them are."""
    least = min(map(len, along.where.values()), default=0)
    return {unit: where[:least] for unit, where in along.where.items()}


def _correlation(
    number: int, s: np.ndarray, t: np.ndarray, ss: np.ndarray, tt: np.ndarray, st: np.ndarray
) -> np.ndarray:
    """Pearson's, from sums over examples; 0 of a unit that does not vary."""
    covariance = st / number - np.outer(s, t) / number**2
    spreads = [np.sqrt(np.maximum(squares / number - (each / number) ** 2, 0)) for squares, each in ((ss, s), (tt, t))]
    levels = [np.sqrt(squares / number) for squares in (ss, tt)]
    varies = np.outer(*(spread > 1e-6 * level for spread, level in zip(spreads, levels, strict=True)))
    return np.where(varies, covariance / np.where(varies, np.outer(*spreads), 1), 0)


def _read(network: nn.Module, symmetry: Symmetry, state: Mapping[str, Tensor], batch: Nested) -> dict[int, np.ndarray]:
    reader = _Reader(symmetry)
    called(network, state, batch, reader)
    return reader.kept
