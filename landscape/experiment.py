"""One experiment as a command runs it: plan the results file on rank 0, fill it on all ranks."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np

from landscape.command import provenance, quietly, say
from landscape.dry import foretell
from landscape.errors import BadInput
from landscape.lock import Lock, acquire
from landscape.place import whereabouts
from landscape.progress import Rounds
from landscape.ranks import agreed, alike
from landscape.sweep import Function, sweep
from landscape.table import Table, prepare

__all__ = ["experiment", "options"]


def options(parser) -> None:
    """Give a command, or a group of its options, those that `experiment` reads."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="measure no more than a few rows, keep nothing; tell how many there are, the time, memory and file needed",
    )
    told = parser.add_mutually_exclusive_group()
    told.add_argument("-v", "--verbose", action="store_true", help="tell what is measured, with which settings, where")
    told.add_argument("--quiet", action="store_true", help="print nothing but errors")


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
    arguments : of the command; `out` is read, and those of `options`
    label : what a row is called, in the plural
    attributes : what a resumed run must have in common with the first
    choose : which rows to measure next, in which order, from what the table holds; asked again when
        they are measured, until there are none
    **plan : for `landscape.table.prepare`

    Returns
    -------
    Table
        On rank 0, complete. As long as there is one, no other job may write the file. None where nothing was to be
        measured, with ``--dry-run``.

    Raises
    ------
    BadInput
        Another job is writing the file; or see `landscape.table.prepare`.
    """
    how = {"label": label, "attributes": attributes, "choose": choose}
    with quietly(arguments.quiet):
        return _experiment(function, points, arguments, comm, **how, **plan)


def _experiment(function: Function, points: np.ndarray, arguments, comm, *, label, attributes, choose, **plan):
    """The same, which prints or does not."""
    told = provenance(attributes)
    alike(comm, told)
    if arguments.verbose:
        say(comm, *(f"{name}: {value}" for name, value in attributes.items()), *whereabouts(comm))
    if arguments.dry_run:
        how = {"label": label, "choose": choose, "device": attributes.get("device"), **plan}
        say(comm, *foretell(function, points, arguments.out, comm, attributes=told, **how), asked=True)
        return None
    table, rows, before = None, None, 0
    with contextlib.ExitStack() as held:
        with agreed(comm):
            if comm.rank == 0:
                lock, notes, obstacle = _acquired(arguments.out)
                if lock is not None:
                    held.callback(lock.release)
                table, warnings = prepare(arguments.out, points, attributes=told, **plan)
                table.lock = lock
                rows, before = choose(table), table.done.sum()
                if len(rows) and obstacle:  # who has nothing to write needs no lock
                    raise BadInput(obstacle)
                say(comm, *notes, *warnings)
        with Rounds(label, arguments.quiet) as progress:
            while comm.bcast(len(rows) if table else None):
                sweep(function, table, comm, rows=rows, progress=progress)
                rows = choose(table) if table else None
        if table:
            # The command may have more to write: what follows from the rows.
            weakref.finalize(table, held.pop_all().close)
    if table and table.done.sum() == before:
        say(comm, f"{arguments.out} is complete already: {len(points)} {label}")
    elif table:
        count = "" if table.done.all() else f"{table.done.sum()} of "  # the rest needed no measurement
        say(comm, f"{arguments.out}: {count}{len(points)} {label} of {attributes['network']}")
    return table


def _acquired(out: Path) -> tuple[Lock | None, list[str], str]:
    """This job's lock on its output, what is to be said of it, and why there can be none."""
    try:
        return *acquire(out), ""
    except OSError as error:
        cure = "mend that, or give another output file"
        return None, [], f"cannot write beside {out}, where a running job leaves its marker: {error.strerror}; {cure}"
