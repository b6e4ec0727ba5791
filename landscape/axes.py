"""The points that are asked for: on a line, a plane or in a space, once or for each repeat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from landscape.errors import BadInput
from landscape.plane import axis, grid
from landscape.validate import axis_ends, whole

__all__ = ["LETTERS", "Axes", "Ends", "axes_of", "ends_of"]

LETTERS = ("x", "y", "z")
MOST_REPEATS = 1000

Ends = tuple[float, float, float]  # from, to, and how many points


class Axes(NamedTuple):
    """The points of a plane.

    Attributes
    ----------
    points : ndarray, shape (rows, number of axes), or one column more: the number of the repeat, last
        See `landscape.plane.grid`.
    dims, coordinates : for `landscape.table.prepare`
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
