"""One experiment as a command runs it: plan the results file on rank 0, fill it on all ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from landscape.command import provenance, say
from landscape.ranks import agreed
from landscape.sweep import Function, sweep
from landscape.table import Table, prepare

__all__ = ["experiment"]


def experiment(
    function: Function,
    points: np.ndarray,
    arguments,
    comm,
    *,
    label: str,
    attributes: dict,
    choose: Callable[[Table], np.ndarray] = Table.remaining,
    **plan,
) -> Table | None:
    """Measure a function at points into ``arguments.out``; every rank must call it.

    Parameters
    ----------
    function, points : see `landscape.sweep.sweep` and `landscape.table.prepare`
    arguments : of the command; `out` and `quiet` are read
    label : what a row is called, in the plural
    attributes : what a resumed run must have in common with the first
    choose : which rows to measure next, in which order, from what the table holds; asked again when
        they are measured, until there are none
    **plan : for `landscape.table.prepare`

    Returns
    -------
    Table
        On rank 0, complete.
    """
    table = None
    with agreed(comm):
        if comm.rank == 0:
            table, warnings = prepare(arguments.out, points, attributes=provenance(attributes), **plan)
            say(comm, *warnings)
    before = table.done.sum() if table else 0
    while comm.bcast(len(rows := choose(table)) if table else None):
        sweep(function, table, comm, rows=rows if table else None, label=label, quiet=arguments.quiet)
    if table and table.done.sum() == before:
        say(comm, f"{arguments.out} is complete already: {len(points)} {label}")
    elif table:
        say(comm, f"{arguments.out}: {len(points)} {label} of {attributes['network']}")
    return table
