"""How far to look: ends of the axes where the loss reaches a level."""

from __future__ import annotations

import math

import numpy as np

from landscape.axes import LETTERS
from landscape.errors import BadInput
from landscape.ranks import agreed
from landscape.span import Span
from landscape.subject import Subject
from landscape.table import read

__all__ = ["reach", "window"]

FARTHEST, NEAREST = 64, 1 / 64  # of the ends that were given
BISECTIONS = 6


def window(arguments, it: Subject, plane: Span, comm) -> dict:
    """Move the ends of --x, --y, --z to where the loss first reaches --auto-range; every rank must call it.

    Parameters
    ----------
    arguments : of the command; the axes are changed in place
    it, plane : what is measured, and where; of several repeats the first counts

    Returns
    -------
    dict
        Provenance; nothing without --auto-range. Where the results file exists already, its own ends are taken,
        so that a resumed run has the same points wherever it goes on.

    Raises
    ------
    BadInput
        The level is not above the loss at the centre, or is nowhere reached.
    """
    level = arguments.auto_range
    if level is None:
        return {}
    names = [name for name in LETTERS if getattr(arguments, name) is not None]
    found = None
    with agreed(comm):
        if comm.rank == 0:
            there = read(arguments.out) if arguments.out.exists() else None
            if there is not None and there.attributes.get("auto_range") == level and set(names) <= {*there.coordinates}:
                found = [tuple(there.coordinates[name][[0, -1]]) for name in names]
            else:
                found = _search(arguments, it, plane, names, level)
    for name, (low, high) in zip(names, comm.bcast(found), strict=True):
        setattr(arguments, name, (low, high, getattr(arguments, name)[2]))
    return {"auto_range": level}


def _search(arguments, it: Subject, plane: Span, names: list[str], level: float) -> list[tuple[float, float]]:
    def loss(*point):
        with plane.at(it.network, [*point, 0] if arguments.repeats else point):
            return it.measure()["loss"]

    centre = loss(*np.zeros(len(names)))
    if not centre < level:
        raise BadInput(f"--auto-range {level:g} is not above the loss at the centre, {centre:.4g}; give a higher level")
    found = []
    for number, name in enumerate(names):
        ends = []
        for end in getattr(arguments, name)[:2]:

            def along(distance, number=number, end=end):
                return loss(*(math.copysign(distance, end) * (np.arange(len(names)) == number)))

            ends.append(math.copysign(reach(along, level, abs(end)), end) if end else 0.0)
        low, high = getattr(arguments, name)[:2]
        if low == -high:  # asked for with the centre in the middle
            ends = [-max(map(abs, ends)), max(map(abs, ends))]
        found.append(tuple(ends))
    return found


def reach(loss, level: float, scale: float) -> float:
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
