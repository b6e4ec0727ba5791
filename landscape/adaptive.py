"""Fewer points: measure where the loss is hard to guess, and interpolate where it is not.

The grid is covered with coarse cells. A cell's middle is measured and compared with what the points
measured so far would have said. If the two are close, the cell is left as it is; if not, it becomes
four cells with middles of their own. In the end a random sample of the points that nobody has
measured is measured, too: it tells how far off the rest is, and what it finds wrong is refined as well.

Losses are compared as logarithms, so that a miss is relative. Everything here follows from the values
of a table and the seed alone: a run that was interrupted decides as it would have.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.interpolate import RBFInterpolator

from landscape.table import Table

__all__ = ["INTERPOLATED", "Decision", "decide", "fill", "interpolate", "remaining"]

# What a results file holds besides: name -> (dtype, value at first, what readers show)
INTERPOLATED = {
    "interpolated": ("?", False, {"long_name": "whether loss and accuracy are interpolated, not measured"}),
    "miss": ("f8", np.nan, {"long_name": "log of measured over interpolated loss, at points of the last audit"}),
}

COARSE = 8  # steps of the grid along the side of a first cell
AUDIT = 40  # points measured to see how far off the others are
ALLOWED = 0.05  # share of them that may be off by more than the tolerance
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


def decide(loss: np.ndarray, error: np.ndarray, done: np.ndarray, tolerance: float, seed: int) -> Decision:
    """Choose the points to measure next.

    Parameters
    ----------
    loss, error : ndarray, shape (ny, nx) or (nx,)
        Measured losses and their standard errors.
    done : bool ndarray, of the same shape
        Where.
    tolerance : how far a guess may be off, relative to the loss; what a measurement may itself be
        off by (two standard errors) is allowed on top of that
    seed : of the sample in the end
    """
    grid = np.atleast_2d(done).shape
    done = done.reshape(grid)
    value, allowed = _comparable(loss.reshape(grid), error.reshape(grid), done, tolerance)
    known = np.zeros(grid, bool)  # what has been asked for so far: decisions rest on nothing else
    miss = np.full(grid, np.nan)
    cells, settled = _coarse(grid), []
    _ask(known, cells)
    cells = [cell for cell in cells if not _whole(cell)]
    generator = np.random.default_rng(seed)
    while True:
        while cells:
            middles = [_middle(cell) for cell in cells]
            asked = known.copy()
            asked[tuple(np.array(middles).T)] = True
            if (asked & ~done).any():
                return Decision(np.flatnonzero(asked & ~done), miss.reshape(loss.shape))
            off = _misses(value, known, middles)
            known = asked
            finer = []
            for cell, middle, far in zip(cells, middles, off, strict=True):
                if np.abs(far) <= allowed[middle]:  # never true of what is not finite
                    settled.append(cell)
                else:
                    finer += _split(cell, middle)
            _ask(known, finer)
            cells = [cell for cell in finer if not _whole(cell)]
        if (known & ~done).any():
            return Decision(np.flatnonzero(known & ~done), miss.reshape(loss.shape))
        rest = np.flatnonzero(~known)
        if not len(rest):
            break
        sample = np.sort(generator.choice(rest, min(AUDIT, len(rest)), replace=False))
        if not done.flat[sample].all():
            return Decision(sample[~done.flat[sample]], miss.reshape(loss.shape))
        places = list(zip(*np.unravel_index(sample, grid), strict=True))
        off = _misses(value, known, places)
        wrong = [place for place, far in zip(places, off, strict=True) if not np.abs(far) <= allowed[place]]
        known.flat[sample] = True
        miss = np.full(grid, np.nan)
        miss.flat[sample] = off
        if len(wrong) <= ALLOWED * len(sample):
            break
        coarse = [cell for cell in settled if any(_inside(place, cell) for place in wrong)]
        settled = [cell for cell in settled if cell not in coarse]
        cells = [part for cell in coarse for part in _split(cell, _middle(cell))]
        _ask(known, cells)
        cells = [cell for cell in cells if not _whole(cell)]
    return Decision(np.zeros(0, int), miss.reshape(loss.shape))


def remaining(table: Table, tolerance: float, seed: int, repeats: bool = False) -> np.ndarray:
    """The rows of a table to measure next; with `repeats`, its first dimension counts surfaces that share nothing."""
    values, rows = _surfaces(table, repeats), []
    for number, (loss, error, done) in enumerate(values):
        rows.append(number * done.size + decide(loss, error, done, tolerance, seed).rows)
    return np.concatenate(rows)


def fill(table: Table, tolerance: float, seed: int, repeats: bool = False) -> str:
    """Fill in what is not measured, and say in a line how far off it is."""
    surfaces = _surfaces(table, repeats)
    miss = [decide(*values, tolerance, seed).miss for values in surfaces]
    loss = [interpolate(loss, done, logarithm=True) for loss, _, done in surfaces]
    accuracy = table.values["accuracy"].reshape(len(surfaces), *surfaces[0][2].shape)
    accuracy = [interpolate(a, done).clip(0, 1) for a, (_, _, done) in zip(accuracy, surfaces, strict=True)]
    done = table.done
    table.derive(
        interpolated=~done,
        **{
            name: np.reshape(array, done.shape)
            for name, array in {"loss": loss, "accuracy": accuracy, "miss": miss}.items()
        },
    )
    table.flush()
    off = np.abs(np.ravel(miss)[np.isfinite(np.ravel(miss))])
    said = f"measured {done.sum()} of {done.size} points, interpolated {(~done).sum()}"
    if not off.size:
        return said
    return (
        f"{said}; at {off.size} points drawn at random, the interpolated loss missed the measured one by "
        f"{100 * np.median(off):.2g} % in the median, {100 * np.quantile(off, 0.95):.2g} % at the 95th percentile"
    )


def _surfaces(table: Table, repeats: bool) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Loss, its error, and what is done, of each surface of a table."""
    arrays = table.values["loss"], table.values["loss_se"], table.done
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


def _comparable(loss, error, done, tolerance) -> tuple[np.ndarray, np.ndarray]:
    """Values whose differences are relative ones, and how large each may be."""
    finite = loss[done & np.isfinite(loss)]
    with np.errstate(divide="ignore", invalid="ignore"):
        if (finite > 0).all():
            own = 2 * np.nan_to_num(error / loss, nan=0.0, posinf=0.0)
            return np.log(np.where(done, loss, np.nan)), np.hypot(tolerance, own)
    # A loss that can be 0 or negative has no relative error; its range serves instead.
    scale = np.ptp(finite) or 1.0
    return np.where(done, loss, np.nan) / scale, np.hypot(tolerance, 2 * np.nan_to_num(error) / scale)


def _misses(value: np.ndarray, known: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    """Measured minus guessed, where the guess does not know the places themselves."""
    others = known.copy()
    others[tuple(np.array(places).T)] = False
    return value[tuple(np.array(places).T)] - _guess(value, others, places)


def _guess(value: np.ndarray, known: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    """Interpolate at places: piecewise cubic radial functions and a plane, through the nearest points."""
    usable = known & np.isfinite(value)
    points = np.argwhere(usable).astype(float)
    if len(points) < 4 or len(places) == 0:
        return np.full(len(places), np.nan)
    flat = np.ptp(points, axis=0) > 0  # a line has no second axis
    near = {"neighbors": min(NEIGHBOURS, len(points)), "kernel": "cubic", "degree": 1}
    try:
        return RBFInterpolator(points[:, flat], value[usable], **near)(np.array(places, float)[:, flat])
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
