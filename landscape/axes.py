"""The points that a command line asks for: on a line, a plane or in a space, once or for each repeat."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from landscape.command import Parser
from landscape.errors import BadInput
from landscape.plane import axis, grid

__all__ = ["Axes", "axes_of", "options"]

LETTERS = ("x", "y", "z")
MOST_REPEATS = 1000


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


def options(parser: Parser, points: int) -> None:
    """Give a command the options that `axes_of` reads; `points` is the default number on an axis."""
    g = parser.add_argument_group("the plane")
    ends = ("FROM", "TO", "POINTS")
    x = "first axis; 1 is a network's norm, or the other checkpoint, or a saved direction"
    g.add_argument("--x", nargs=3, type=float, metavar=ends, default=(-1, 1, points), help=x)
    g.add_argument("--y", nargs=3, type=float, metavar=ends, help="second axis; without it, a line")
    g.add_argument("--z", nargs=3, type=float, metavar=ends, help="third axis: a space instead of a plane")
    g.add_argument(
        "--repeats", type=int, metavar="K", help="so many independent sets of random directions, in one file"
    )
    g.add_argument(
        "--auto-range",
        type=float,
        metavar="LOSS",
        help="move the ends of the axes, along their own sides, to where the loss first reaches this",
    )


def axes_of(arguments) -> Axes:
    """The points that --x, --y, --z and --repeats name.

    Raises
    ------
    BadInput
        Axes that are none, or --z without --y.
    """
    if arguments.z is not None and arguments.y is None:
        raise BadInput("z is the third axis; give the second one, y, too")
    given = {name: getattr(arguments, name) for name in LETTERS if getattr(arguments, name) is not None}
    coordinates = {name: axis(*ends) for name, ends in given.items()}
    points = grid(*coordinates.values())
    dims = tuple(reversed(coordinates))
    if arguments.repeats is None:
        return Axes(points, dims, coordinates)
    if not 1 <= arguments.repeats <= MOST_REPEATS:
        raise BadInput(f"repeats is {arguments.repeats}; give 1 to {MOST_REPEATS}")
    repeat = np.arange(arguments.repeats)
    points = np.column_stack([np.tile(points, (len(repeat), 1)), np.repeat(repeat, len(points))])
    return Axes(points, ("repeat", *dims), {"repeat": repeat, **coordinates})
