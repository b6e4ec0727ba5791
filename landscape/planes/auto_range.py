"""Choose axis limits at which the loss first reaches a level."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from landscape.engine.grid import Ends
from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.prepared import Evaluation
from landscape.planes.build_plane import PlaneWithStatistics
from landscape.validate import real

__all__ = ["auto_range", "first_crossing"]

FARTHEST, NEAREST = 64, 1 / 64  # of the ends that were given
BISECTIONS = 6


def auto_range(
    ends: Mapping[str, Ends],
    level: float,
    evaluation: Evaluation,
    plane: PlaneWithStatistics,
    out: Path | None,
    comm: Communicator,
) -> dict[str, Ends]:
    """Move the ends of axes, along their own sides, to where the loss first reaches a level. Collective.

    Parameters
    ----------
    ends : of each axis, see `landscape.engine.grid.ends_of`
    level : of the loss
    evaluation, plane : what is measured, and where; of several repeats the first counts
    out : the results file. Where it exists already, its own ends are taken, so that a resumed run has the same points
        wherever it goes on.

    Raises
    ------
    BadInput
        The level is not above the loss at the centre, or is nowhere reached.
    """
    limits = None
    with collective_errors(comm):
        level = real("auto_range", level)
        if comm.rank == 0:
            there = read(out) if out is not None and out.exists() else None
            if there is not None and there.attributes.get("auto_range") == level and {*ends} <= {*there.coordinates}:
                limits = [tuple(there.coordinates[name][[0, -1]]) for name in ends]
            else:
                limits = _search(ends, level, evaluation, plane)
    return {name: (*limit, ends[name][2]) for name, limit in zip(ends, comm.bcast(limits), strict=True)}


def _search(
    ends: Mapping[str, Ends], level: float, evaluation: Evaluation, plane: PlaneWithStatistics
) -> list[tuple[float, float]]:
    def loss(*point):
        with plane.at(evaluation.network, [*point, 0] if plane.repeated else point):
            return evaluation.measure()["loss"]

    centre = loss(*np.zeros(len(ends)))
    if not centre < level:
        raise BadInput(f"--auto-range {level:g} is not above the loss at the centre, {centre:.4g}; give a higher level")
    limits: list[tuple[float, float]] = []
    for number, (low, high, _) in enumerate(ends.values()):
        reached = []
        for end in (low, high):

            def along(distance, number=number, end=end):
                return loss(*(math.copysign(distance, end) * (np.arange(len(ends)) == number)))

            reached.append(math.copysign(first_crossing(along, level, abs(end)), end) if end else 0.0)
        if low == -high:  # asked for with the centre in the middle
            reached = [-max(map(abs, reached)), max(map(abs, reached))]
        low, high = reached
        limits.append((low, high))
    return limits


def first_crossing(loss: Callable, level: float, scale: float) -> float:
    """The first distance, from `scale`/64 to 64·`scale` by factors of 2, at which a loss is `level` or more.

    Refined by bisection and rounded up to two digits. A loss that is not finite is above every level.

    Raises
    ------
    BadInput
        It stays below.
    """

    def above(distance: float) -> bool:
        return not loss(distance) < level

    far = NEAREST * scale
    while not above(far):
        far *= 2
        if far > FARTHEST * scale:
            raise BadInput(
                f"the loss stays below {level:g} out to {FARTHEST * scale:g} along an axis; give a lower --auto-range"
            )
    near = far / 2 if far > NEAREST * scale else 0.0
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        near, far = (near, middle) if above(middle) else (middle, far)
    digits = 1 - math.floor(math.log10(far))
    return round(math.ceil(round(far * 10**digits, 6)) / 10**digits, digits)
