"""Fewer points: measure where the loss is hard to guess, and interpolate where it is not.

The grid is covered with coarse cells. A cell's middle is measured and compared with what the points
measured so far would have said. If the two are close, the cell is left as it is; if not, it becomes
four cells with middles of their own. In the end a random sample of the points that are not
measured yet is measured, too: it tells how far off the rest is. As long as more than 5 % of them may be further off
than allowed, the cells where they lie are refined, and a larger sample is drawn.

Losses are compared as logarithms, so that a miss is relative. Nothing is allowed for the standard errors of the
losses: all points share their examples, or take the first of the same ones, so a loss of some examples is a surface
as smooth as that of all, and what is interpolated is what would have been measured there.

Everything here follows from the values of a table and the seed alone: a run that was interrupted decides as it would
have.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy  # whose parts are imported where they are first used: they take as long as a small measurement

from landscape.engine.table import Table

__all__ = ["INTERPOLATED", "Decision", "decide", "fill", "interpolate", "remaining"]

# What a results file holds besides: name -> (dtype, value at first, what readers show)
INTERPOLATED = {
    "interpolated": ("?", False, {"long_name": "whether loss and accuracy are interpolated, not measured"}),
    "miss": ("f8", np.nan, {"long_name": "log of measured over interpolated loss, at points of the last audit"}),
}

COARSE = 8  # steps of the grid along the side of a first cell
AUDIT = 60  # points of the first audit: none of so many is off with a chance of 5 % if 5 % of all are
ALLOWED = 0.05  # share of the interpolated points that may be off by more than the tolerance
DOUBT = 0.05  # chance of an audit to pass although more are
NEIGHBOURS = 60  # measured points that an interpolated one is taken from

Cell = tuple[int, int, int, int]  # first and last row, first and last column


class Decision(NamedTuple):
    """What to do next.

    Attributes
    ----------
    rows : int ndarray
        To measure; empty when all is known well enough.
    miss : ndarray, of the grid's shape
        log(measured loss / interpolated loss) of the points of the last audit, else NaN.
    """

    rows: np.ndarray
    miss: np.ndarray


def decide(loss: np.ndarray, done: np.ndarray, tolerance: float, seed: int) -> Decision:
    """Choose the points to measure next.

    Parameters
    ----------
    loss : ndarray, shape (ny, nx) or (nx,)
        Measured losses.
    done : bool ndarray, of the same shape
        Where.
    tolerance : how far an interpolated loss may be off, relative to the measured one
    seed : of the audited points
    """
    grid = np.atleast_2d(done).shape
    done, value = done.reshape(grid), np.where(done, loss, np.nan).reshape(grid)
    known = np.zeros(grid, bool)  # what has been asked for so far: decisions rest on nothing else
    miss = np.full(grid, np.nan)
    cells, settled = _coarse(grid), []
    _ask(known, cells)
    cells = [cell for cell in cells if not _whole(cell)]
    generator, size = np.random.default_rng(seed), AUDIT
    while True:
        while cells:
            middles = [_middle(cell) for cell in cells]
            asked = known.copy()
            asked[tuple(np.array(middles).T)] = True
            if (asked & ~done).any():
                return Decision(np.flatnonzero(asked & ~done), miss.reshape(loss.shape))
            _, near = _misses(value, known, middles, tolerance)
            known = asked
            finer = []
            for cell, middle, good in zip(cells, middles, near, strict=True):
                if good:
                    settled.append(cell)
                else:
                    finer += _split(cell, middle)
            _ask(known, finer)
            cells = [cell for cell in finer if not _whole(cell)]
        if (known & ~done).any():
            return Decision(np.flatnonzero(known & ~done), miss.reshape(loss.shape))
        miss = np.full(grid, np.nan)
        rest = np.flatnonzero(~known)
        if not len(rest):
            break
        sample = np.sort(generator.choice(rest, min(size, len(rest)), replace=False))
        if not done.flat[sample].all():
            return Decision(sample[~done.flat[sample]], miss.reshape(loss.shape))
        places = list(zip(*np.unravel_index(sample, grid), strict=True))
        off, near = _misses(value, known, places, tolerance)
        known.flat[sample] = True
        if known.all():
            break  # nothing is left to judge
        miss.flat[sample] = off
        if scipy.special.bdtr((~near).sum(), len(sample), ALLOWED) <= DOUBT:
            break
        size = max(AUDIT, len(rest) // 10)  # so that a large surface takes few audits
        wrong = [place for place, good in zip(places, near, strict=True) if not good]
        coarse = [cell for cell in settled if any(_inside(place, cell) for place in wrong)]
        settled = [cell for cell in settled if cell not in coarse]
        cells = [part for cell in coarse for part in _split(cell, _middle(cell))]
        _ask(known, cells)
        cells = [cell for cell in cells if not _whole(cell)]
    return Decision(np.zeros(0, int), miss.reshape(loss.shape))


def remaining(table: Table, tolerance: float, seed: int, repeats: bool = False) -> np.ndarray:
    """The rows of a table to measure next; with `repeats`, its first dimension counts surfaces that share nothing."""
    rows = []
    for number, (loss, done) in enumerate(_surfaces(table, repeats)):
        rows.append(number * done.size + decide(loss, done, tolerance, seed).rows)
    return np.concatenate(rows)


def fill(table: Table, tolerance: float, seed: int, repeats: bool = False) -> str:
    """Fill in what is not measured, and say in a line how far off it is."""
    surfaces = _surfaces(table, repeats)
    miss = [decide(*surface, tolerance, seed).miss for surface in surfaces]
    filled = {"miss": miss, "loss": [interpolate(loss, done, logarithm=True) for loss, done in surfaces]}
    if "accuracy" in table.values:  # not every kind of target has one
        accuracy = table.values["accuracy"].reshape(len(surfaces), *surfaces[0][1].shape)
        pairs = zip(accuracy, surfaces, strict=True)
        filled["accuracy"] = [interpolate(values, done).clip(0, 1) for values, (_, done) in pairs]
    done = table.done
    table.derive(interpolated=~done, **{name: np.reshape(array, done.shape) for name, array in filled.items()})
    table.flush()
    said = f"measured {done.sum()} of {done.size} points, interpolated {(~done).sum()}"
    off = np.abs(np.ravel(miss)[np.isfinite(np.ravel(miss))])
    if not off.size:
        return said
    if positive := all((loss[done & np.isfinite(loss)] > 0).all() for loss, done in surfaces):
        off = np.expm1(off)
    return (
        f"{said}; at {off.size} points drawn at random, the interpolated loss missed the measured one by "
        f"{100 * np.median(off):.2g} % {'' if positive else 'of its range '}in the median, "
        f"{100 * np.quantile(off, 0.95):.2g} % at the 95th percentile"
    )


def _surfaces(table: Table, repeats: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Loss, and what is done, of each surface of a table."""
    arrays = table.values["loss"], table.done
    return list(zip(*arrays, strict=True)) if repeats else [arrays]


def interpolate(values: np.ndarray, done: np.ndarray, logarithm: bool = False) -> np.ndarray:
    """Values everywhere from those that are measured, which stay as they are.

    Parameters
    ----------
    values : ndarray, shape (ny, nx) or (nx,)
    done : bool ndarray, of the same shape
    logarithm : interpolate that, if all values are positive
    """
    grid = np.atleast_2d(done).shape
    finite = values[done & np.isfinite(values)]
    logarithm = logarithm and bool((finite > 0).all())
    flat = np.log(values, where=done, out=np.full(values.shape, np.nan)) if logarithm else values
    missing = list(zip(*np.nonzero(~done.reshape(grid)), strict=True))
    filled = values.copy()
    if missing:
        guess = _guess(flat.reshape(grid), done.reshape(grid), missing)
        filled[~done] = np.exp(guess) if logarithm else guess
    return filled


def _misses(value: np.ndarray, known: np.ndarray, places: Any, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Measured minus guessed, where the guess does not know the places, and whether that is near enough."""
    at = tuple(np.array(places).T)
    others, seen = known.copy(), known.copy()
    others[at], seen[at] = False, True
    value, allowed = _comparable(value, seen, tolerance)
    off = value[at] - _guess(value, others, places)
    return off, np.abs(off) <= allowed  # never true of what is not finite


def _comparable(value: np.ndarray, seen: np.ndarray, tolerance: float) -> tuple[np.ndarray, float]:
    """Values whose differences are relative ones, and how large these may be."""
    value = np.where(seen, value, np.nan)
    finite = value[np.isfinite(value)]
    if (finite > 0).all():
        with np.errstate(invalid="ignore"):  # of −∞
            return np.log(value), np.log1p(tolerance)
    # A loss that can be 0 or negative has no relative error; its range serves instead.
    return value / (np.ptp(finite) or 1.0), tolerance


def _guess(value: np.ndarray, known: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    """Interpolate at places: piecewise cubic radial functions and a plane, through the nearest points."""
    usable = known & np.isfinite(value)
    points = np.argwhere(usable).astype(float)
    if len(points) < 4 or len(places) == 0:
        return np.full(len(places), np.nan)
    flat = np.ptp(points, axis=0) > 0  # a line has no second axis
    near = {"neighbors": min(NEIGHBOURS, len(points)), "kernel": "cubic", "degree": 1}
    try:
        return scipy.interpolate.RBFInterpolator(points[:, flat], value[usable], **near)(
            np.array(places, float)[:, flat]
        )
    except np.linalg.LinAlgError:  # the nearest points are all on one line: nothing can be said beside it
        return np.full(len(places), np.nan)


def _coarse(grid: tuple[int, int]) -> list[Cell]:
    rows, columns = (
        np.unique(np.linspace(0, n - 1, -(-(n - 1) // COARSE) + 1).round().astype(int)).tolist() for n in grid
    )
    first, second = ([*pairwise(a)] or [(0, 0)] for a in (rows, columns))
    return [(*r, *c) for r in first for c in second]


def _ask(known: np.ndarray, cells: list[Cell]) -> None:
    """Mark the corners of cells."""
    for cell in cells:
        known[np.ix_(cell[:2], cell[2:])] = True


def _middle(cell: Cell) -> tuple[int, int]:
    return (cell[0] + cell[1]) // 2, (cell[2] + cell[3]) // 2


def _split(cell: Cell, middle: tuple[int, int]) -> list[Cell]:
    def halves(a, m, b):
        return [(a, m), (m, b)] if a < m < b else [(a, b)]

    return [
        (*rows, *columns)
        for rows in halves(cell[0], middle[0], cell[1])
        for columns in halves(cell[2], middle[1], cell[3])
    ]


def _whole(cell: Cell) -> bool:
    """Whether a cell has no point besides its corners."""
    return cell[1] - cell[0] <= 1 and cell[3] - cell[2] <= 1


def _inside(place: tuple[int, int], cell: Cell) -> bool:
    return cell[0] <= place[0] <= cell[1] and cell[2] <= place[1] <= cell[3]
