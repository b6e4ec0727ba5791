"""The points that are asked for: on a line, a plane or in a space, once or for each repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from landscape.errors import BadInput
from landscape.validate import axis_ends, whole

__all__ = ["LETTERS", "Axes", "Ends", "axes_of", "axis", "ends_of", "grid"]

LETTERS = ("x", "y", "z")
MOST_REPEATS = 1000

Ends = tuple[float, float, float]  # from, to, and how many points


class Axes(NamedTuple):
    """The points of a plane.

    Attributes
    ----------
    points : ndarray, shape (rows, number of axes), or one column more: the number of the repeat, last
        See `landscape.engine.grid.grid`.
    dims, coordinates : for `landscape.engine.table.prepare`
    """

    points: np.ndarray
    dims: tuple[str, ...]
    coordinates: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid: lengths over ([repeat,] [z,] [y,] x)."""
        return tuple(len(self.coordinates[name]) for name in self.dims)


def ends_of(x: Ends | str, y: Ends | str | None = None, z: Ends | str | None = None) -> dict[str, Ends]:
    """The axes that are given, by name, x first.

    Raises
    ------
    BadInput
        Something else than three numbers each, or z without y.
    """
    if z is not None and y is None:
        raise BadInput("z is the third axis; give the second one, y, too")
    return {name: axis_ends(name, ends) for name, ends in zip(LETTERS, (x, y, z), strict=True) if ends is not None}


def axes_of(ends: Mapping[str, Ends], repeats: int | None = None) -> Axes:
    """The points of axes, for each of so many repeats.

    Raises
    ------
    BadInput
        Axes that are none.
    """
    coordinates = {name: axis(*each) for name, each in ends.items()}
    points = grid(*coordinates.values())
    dims = tuple(reversed(coordinates))
    if repeats is None:
        return Axes(points, dims, coordinates)
    repeat = np.arange(whole("repeats", repeats, 1, MOST_REPEATS))
    points = np.column_stack([np.tile(points, (len(repeat), 1)), np.repeat(repeat, len(points))])
    return Axes(points, ("repeat", *dims), {"repeat": repeat, **coordinates})


def axis(start: float, stop: float, number: float) -> np.ndarray:
    """Evenly spaced coordinates, both ends included; what is a whole number but for rounding is one, such as 0 and 1.

    Raises
    ------
    BadInput
        No whole positive number of points, ends that are not finite or not in ascending order.
    """
    if not (np.isfinite([start, stop, number]).all() and number == int(number) and number >= 1):
        raise BadInput(
            f"an axis {start:g} {stop:g} {number:g} needs finite ends and a whole number of points, 1 or more"
        )
    if not (start < stop or (start == stop and number == 1)):
        raise BadInput(f"an axis from {start:g} to {stop:g} does not ascend; give the lower end first")
    if number == 1 and start != stop:
        raise BadInput(f"1 point cannot span {start:g} to {stop:g}; give 2 points or more, or equal ends")
    if number == 1:
        return np.array([float(start)])
    # Weighted from both ends alike, so that −1 … 1 is the mirror of itself and 0 is exact.
    i = np.arange(number)
    points = (start * i[::-1] + stop * i) / i[-1]
    points[[0, -1]] = start, stop
    near = np.abs(points - np.rint(points)) <= 4 * np.spacing(np.abs([start, stop]).max())
    near[[0, -1]] = False
    return np.where(near, np.rint(points) + 0.0, points)


def index_of(x: np.ndarray, value: float) -> int | None:
    """Where a coordinate is a value, up to rounding; None if none is."""
    nearest = int(np.argmin(np.abs(x - value)))
    return nearest if abs(x[nearest] - value) <= 1e-9 * np.abs(x).max() else None


def grid(x: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """Points of a grid, rows over (…, y, x) with x fastest; columns are the coordinates x, y, ….

    Returns
    -------
    ndarray, shape (len(x) · len(y) · …, number of axes)
    """
    slowest_first = np.meshgrid(*reversed(others), x, indexing="ij")
    return np.stack([a.ravel() for a in reversed(slowest_first)], axis=1)
