"""One experiment as a command runs it: plan the results file on rank 0, fill it on all ranks."""

from __future__ import annotations

import numpy as np

from landscape.command import provenance, say
from landscape.ranks import agreed
from landscape.sweep import Function, sweep
from landscape.table import prepare

__all__ = ["experiment"]


def experiment(
    function: Function, points: np.ndarray, arguments, comm, *, label: str, attributes: dict, **plan
) -> None:
    """Measure a function at points into ``arguments.out``; every rank must call it.

    Parameters
    ----------
    function, points : see `landscape.sweep.sweep` and `landscape.table.prepare`
    arguments : of the command; `out` and `quiet` are read
    label : what a row is called, in the plural
    attributes : what a resumed run must have in common with the first
    **plan : for `landscape.table.prepare`
    """
    table = None
    with agreed(comm):
        if comm.rank == 0:
            table, warnings = prepare(arguments.out, points, attributes=provenance(attributes), **plan)
            say(comm, *warnings)
    if not comm.bcast(len(table.remaining()) if table else None):
        say(comm, f"{arguments.out} is complete already: {len(points)} {label}")
        return
    sweep(function, table, comm, label=label, quiet=arguments.quiet)
    say(comm, f"{arguments.out}: {len(points)} {label} of {attributes['network']}")
