"""Control points of a plane: few points whose losses, example by example, tell much of the other points' means.

At `landscape.evaluation.regression` every point of a plane is regressed on the losses at its origin and a quarter of
the way to each end of each axis. They are measured before the plane, on the first examples of the order that all points
share: on as many as the origin needs for half of the variance that the tolerance allows. All that depends on nothing
but the settings, so it is the same for any number of ranks and after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from landscape.engine.grid import Ends
from landscape.engine.ranks import Communicator, collective_errors
from landscape.evaluation.measure import Batches, losses_of
from landscape.evaluation.prepared import Evaluation
from landscape.evaluation.sampling import LEAST, Tolerance
from landscape.nested import length
from landscape.planes.build_plane import PlaneWithStatistics

__all__ = ["affordable", "control_points", "with_controls"]

PART = 1 / 4  # of the way from the origin to an end; from 0.2 to 0.4 on trained residual networks it made no difference
SHARE = 4  # all controls take at most so many times fewer examples than the plane does at least
FEWEST = 4 * LEAST  # examples on which controls are of use, unless there are no more
STEP = 1.25  # the origin is next looked at with so many times more examples: all ranks wait for each other there

Point = tuple[float, ...]


def control_points(ends: Mapping[str, Ends]) -> list[Point]:
    """Where the controls of a plane are, the origin first.

    Examples
    --------
    >>> control_points({"x": (-1, 1, 51), "y": (0, 2, 51)})
    [(0.0, 0.0), (-0.25, 0.0), (0.25, 0.0), (0.0, 0.5)]
    """
    unit = np.eye(len(ends))
    steps = [PART * end * unit[axis] for axis, (*both, _) in enumerate(ends.values()) for end in both]
    points = [tuple((step + 0.0).tolist()) for step in (0 * unit[0], *steps)]
    return list(dict.fromkeys(points))


def affordable(points: int, controls: int, examples: int) -> int:
    """On how many examples each control may be measured; 0 where that would not pay.

    Parameters
    ----------
    points : of the plane
    controls : how many there are
    examples : how many there are in all
    """
    most = min(examples, points * LEAST // (SHARE * controls))
    return most if most >= min(examples, FEWEST) else 0


def with_controls(
    evaluation: Evaluation, plane: PlaneWithStatistics, points: Sequence[Point], most: int, comm: Communicator
) -> tuple[Evaluation, int]:
    """An evaluation that regresses on control points. Collective: ranks share them out.

    Parameters
    ----------
    evaluation : with a tolerance
    plane : where the points are
    points : of `control_points`; of several repeats with the number of one
    most : examples of each, see `affordable`

    Returns
    -------
    Evaluation
    int
        How many examples were measured for that, of all points together.
    """
    assert evaluation.tolerance is not None

    def known(batches: Batches, tolerance: Tolerance) -> tuple[Tolerance, int]:
        def measured(items: Sequence[tuple[Point, int]]) -> Iterator[np.ndarray]:
            for point, group in groupby(items, key=lambda item: item[0]):
                with plane.at(evaluation.network, point):  # once for all its batches
                    yield from (losses_of(evaluation.forward, batches[b], evaluation.loss) for _, b in group)

        centre = _centre(points[0], batches, tolerance, most, measured, comm)
        rest = _shared_out([(p, b) for p in points[1:] for b in range(len(centre))], measured, comm)
        each = [np.concatenate(part) for part in (centre, *_parts(rest, len(centre)))]
        return tolerance.knowing(each), sum(map(len, each))

    tolerance, used = known(evaluation.batches, evaluation.tolerance)
    test = evaluation.test
    if test is not None and test.tolerance is not None:
        other, more = known(test.batches, test.tolerance)
        test, used = test._replace(tolerance=other), used + more
    return replace(evaluation, tolerance=tolerance, test=test), used


Measured = Callable[[Sequence[tuple[Point, int]]], Iterator[np.ndarray]]


def _centre(
    point: Point, batches: Batches, tolerance: Tolerance, most: int, measured: Measured, comm: Communicator
) -> list[np.ndarray]:
    """Losses at the origin, batch by batch, of as many examples as it takes, all ranks together."""
    ends = np.cumsum([length(targets) for _, targets in batches])
    last = int(np.searchsorted(ends, most)) + 1  # batches, of which the last may go beyond
    losses: list[np.ndarray] = []
    look = float(LEAST)
    while len(losses) < min(last, len(batches)):
        first, stop = len(losses), min(int(np.searchsorted(ends, look)) + 1, last, len(batches))
        losses += _shared_out([(point, batch) for batch in range(first, max(stop, first + 1))], measured, comm)
        seen = np.concatenate(losses)
        mean, error = tolerance.estimate(seen)
        if error <= tolerance.error * abs(mean) / np.sqrt(2) or not np.isfinite(seen).all():
            break
        look = STEP * ends[len(losses) - 1]
    return losses


def _shared_out(items: list[tuple[Point, int]], measured: Measured, comm: Communicator) -> list[np.ndarray]:
    """What is measured of all items, in their order, neighbours by the same rank."""
    mine = np.array_split(np.arange(len(items)), comm.size)[comm.rank]
    values: list[np.ndarray] = []
    with collective_errors(comm):
        values = list(measured([items[i] for i in mine]))
    return [value for part in comm.allgather(values) for value in part]


def _parts(values: list, size: int) -> list[list]:
    return [values[i : i + size] for i in range(0, len(values), size)]
