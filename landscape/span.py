"""The plane that a surface's command line asks for: random directions, or directions to other checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from landscape import checkpoint as checkpoints
from landscape.command import Parser
from landscape.directions import (
    NORMALIZATIONS,
    Weights,
    cosine,
    digest,
    filter_axes,
    normalize,
    random_direction,
    weights_of,
)
from landscape.errors import BadInput
from landscape.plane import Plane, axis, grid
from landscape.statistics import POLICIES, interpolated, norms_of, of_each_batch, recalibrated
from landscape.subject import Subject

__all__ = ["Axes", "Span", "axes_of", "options", "span"]


class Span(NamedTuple):
    """A plane, and what becomes of BatchNorm on it.

    Attributes
    ----------
    plane : Plane
    statistics : gives, for a point, a context in which the network has its statistics there
    settings : provenance; a resumed run must have the same
    """

    plane: Plane
    statistics: Callable
    settings: dict


class Axes(NamedTuple):
    """The points of a plane.

    Attributes
    ----------
    points : ndarray, shape (rows, 1) or (rows, 2), see `landscape.plane.grid`
    dims, coordinates : for `landscape.table.prepare`
    """

    points: np.ndarray
    dims: tuple[str, ...]
    coordinates: dict[str, np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid: (len(y), len(x)) or (len(x),)."""
        return tuple(len(self.coordinates[name]) for name in self.dims)


def options(parser: Parser, points: int) -> None:
    """Give a command the options that `axes_of` and `span` read; `points` is the default number on an axis."""
    g = parser.add_argument_group("the plane")
    ends = ("FROM", "TO", "POINTS")
    x = "first axis; 1 is a network's norm, or the other checkpoint"
    g.add_argument("--x", nargs=3, type=float, metavar=ends, default=(-1, 1, points), help=x)
    g.add_argument("--y", nargs=3, type=float, metavar=ends, help="second axis; without it, a line")
    g = parser.add_argument_group("directions")
    g.add_argument(
        "--to",
        nargs="+",
        type=Path,
        metavar="OTHER.pt",
        help="from CHECKPOINT (0) to another one (1), a line; to two others, a plane; instead of random directions",
    )
    g.add_argument(
        "--normalize", choices=NORMALIZATIONS, help="what of a random direction gets the network's norm (filter)"
    )
    g.add_argument(
        "--move-biases", action="store_true", help="along random directions too: parameters of one dimension"
    )
    g.add_argument(
        "--batchnorm",
        choices=POLICIES,
        default="frozen",
        help="statistics away from the checkpoint: its own, between the checkpoints', measured anew, each batch's",
    )
    g.add_argument("--calibration", type=int, default=1024, metavar="N", help="examples that they are measured on")


def axes_of(arguments) -> Axes:
    """The points that --x and --y name."""
    x = axis(*arguments.x)
    if arguments.y is None:
        return Axes(grid(x), ("x",), {"x": x})
    y = axis(*arguments.y)
    return Axes(grid(x, y), ("y", "x"), {"y": y, "x": x})


def span(arguments, it: Subject) -> Span:
    """The plane through a subject's network, and its settings.

    Raises
    ------
    BadInput
        Options that do not go together, or checkpoints of another network.
    """
    dimensions = 1 if arguments.y is None else 2
    origin = weights_of(it.network)
    if arguments.to:
        ends = _ends(arguments, it, dimensions)
        directions = tuple({name: end[name].to(w) - w for name, w in origin.items()} for end in ends)
        told = {"directions": "to other checkpoints", "to": [path.name for path in arguments.to]}
    else:
        ends, how = [], arguments.normalize or "filter"
        axes = {"axes": filter_axes(it.network), "one_dimensional": arguments.move_biases}
        directions = tuple(
            normalize(random_direction(origin, (arguments.seed, number)), origin, how, **axes)
            for number in range(dimensions)
        )
        moved = "moved too" if arguments.move_biases else "not moved"
        told = {"directions": f"random, {NORMALIZATIONS[how]}; parameters of one dimension {moved}"}
    settings = {**told, "batchnorm": arguments.batchnorm, "direction_digest": digest(*directions)}
    if dimensions == 2:
        settings["cosine"] = cosine(*directions)
    if arguments.batchnorm == "recalibrated":
        settings["calibration"] = arguments.calibration
    return Span(Plane(origin, directions), _statistics(arguments, it, ends), settings)


def _ends(arguments, it: Subject, dimensions: int) -> list[Weights]:
    """The state dicts of the other checkpoints."""
    if len(arguments.to) != dimensions:
        raise BadInput(
            f"--to names {len(arguments.to)} checkpoint(s) for {dimensions} axis/axes; "
            "one other checkpoint gives a line (--x), two give a plane (--x and --y)"
        )
    if arguments.normalize or arguments.move_biases:
        raise BadInput("--normalize and --move-biases are for random directions; leave them out with --to")
    ends = []
    own = it.network.state_dict()
    for path in arguments.to:
        other = checkpoints.load(path, arguments.network or it.checkpoint.network)
        if other.format and it.checkpoint.format and other.title != it.checkpoint.title:
            raise BadInput(
                f"{path} holds another network, {other.title}, than {arguments.checkpoint}, {it.checkpoint.title}; "
                "give checkpoints of one network"
            )
        end = other.weights
        wrong = [name for name, t in own.items() if name not in end or end[name].shape != t.shape]
        if wrong:
            raise BadInput(
                f"{path} is another network than {arguments.checkpoint}: they differ in {wrong[0]}; "
                "give checkpoints of one network"
            )
        ends.append(end)
    return ends


def _statistics(arguments, it: Subject, ends: list[dict[str, Tensor]]) -> Callable:
    policy = arguments.batchnorm
    if policy == "frozen":
        return lambda point: contextlib.nullcontext()
    norms_of(it.network)  # there must be some
    if policy == "interpolated":
        if not ends:
            raise BadInput("--batchnorm interpolated goes between checkpoints; give others with --to")
        return lambda point: interpolated(it.network, ends, point)
    if policy == "batch":
        return lambda point: of_each_batch(it.network)
    size = min(256, arguments.calibration)
    if size < 2:
        raise BadInput(f"--calibration is {arguments.calibration}; give 2 examples or more")
    # Batches of one size only, since each counts alike.
    inputs = [batch for batch in it.calibration(arguments.calibration).split(size) if len(batch) == size]
    return lambda point: recalibrated(it.network, inputs)
