"""One experiment: its results are planned on rank 0 and filled on all ranks, in memory or in a file to go on with."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from landscape import __version__
from landscape.engine.attributes import plain_attributes
from landscape.engine.dry_run import foretell
from landscape.engine.lock import Lock, acquire
from landscape.engine.progress import Progress
from landscape.engine.ranks import Communicator, collective_errors, communicator, describe_ranks, require_same
from landscape.engine.results import Results
from landscape.engine.sweep import Function, sweep
from landscape.engine.table import Table, prepare, read, results_of
from landscape.errors import COMMAND, BadInput, stopped
from landscape.log import ANSWER, Report, say, wanted

__all__ = ["provenance", "run"]


def run(
    function: Function,
    rows: np.ndarray,
    *,
    dims: Sequence[str],
    coordinates: Mapping[str, ArrayLike],
    measured: Mapping[str, tuple] | None = None,
    kind: str = "experiment",
    label: str = "rows",
    given: Mapping[str, tuple] | None = None,
    derived: Mapping[str, tuple] | None = None,
    attributes: Mapping[str, object] | None = None,
    choose: Callable[[Table], np.ndarray] = Table.remaining,
    begin: Callable[[], object] | None = None,
    finish: Callable[[Table], Iterable[str]] | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure a function of rows. Collective.

    Parameters
    ----------
    function : callable
        ``function(rows)`` takes some of the rows and yields for each, in order, a dict of what is measured there:
        numbers by name, or arrays. See `landscape.engine.sweep.sweep`.
    rows : array, shape (n,) or (n, k)
        One row for each cell of the grid over `dims`, the last dimension fastest.
    dims : sequence of str
        Names of the dimensions that are measured over, slowest first.
    coordinates : dict
        A 1-D array, or list of numbers or names, for each dimension of the results.
    measured : dict, optional
        What the function gives, name -> (dtype, value before it is measured, {"long_name": …, "units": …}), and
        then the names of an array's dimensions. By default numbers, named as in the first row, which is measured for
        that beforehand.
    kind : str
        What to call such results; drawings go by it.
    label : str
        What a row is called, in the plural.
    given : dict, optional
        Variables that are known beforehand, name -> (their dimensions, values).
    derived : dict, optional
        Variables that follow from what is measured, in the same form as `measured`; see `finish`.
    attributes : dict, optional
        Provenance: texts, numbers, and lists of one of them; a run that goes on must have the same.
    choose : callable, optional
        Says which rows to measure next, in which order, from what the table holds; asked again when they are measured,
        until there are none
    begin : callable, optional
        Called on every rank before the first row is measured, unless nothing is left to measure.
    finish : callable, optional
        Called on rank 0 with the filled table, to derive what follows; returns lines to log.
    out : path, optional
        Results file, which the same call goes on with; by default results are kept in memory.
    comm : communicator, optional
        By default all ranks that mpiexec has started.
    quiet : bool
        Whether to show no progress.
    dry_run : bool
        Whether to measure no more than a few rows, keep nothing, and tell how long it would take.

    Returns
    -------
    Results
        On every rank. With `dry_run` a text.

    Raises
    ------
    BadInput
        Another job is writing the file; or see `landscape.engine.table.prepare`.

    Examples
    --------
    >>> def parabola(rows):
    ...     for (x,) in rows:
    ...         yield {"height": x**2}
    >>> x = np.linspace(-1, 1, 3)
    >>> run(parabola, x[:, None], dims=["x"], coordinates={"x": x}, quiet=True)["height"]
    array([1., 0., 1.])
    """
    comm = communicator(comm)
    rows = np.asarray(rows)
    rows = rows[:, None] if rows.ndim == 1 and rows.dtype.names is None else rows
    path = None if out is None else Path(out)
    coordinates = {name: np.asarray(values) for name, values in coordinates.items()}
    with collective_errors(comm):
        attributes = provenance(attributes or {})
    require_same(comm, attributes)
    if measured is None:
        function, measured = _named_by_first(function, rows, path, [*(given or {}), *(derived or {})], comm)
    plan = {
        "kind": kind,
        "dims": tuple(dims),
        "coordinates": coordinates,
        "given": given,
        "measured": measured,
        "derived": derived,
        "attributes": attributes,
    }
    if wanted(comm, logging.DEBUG):
        settings = (f"{name}: {value}" for name, value in attributes.items() if name not in _versions())
        say(comm, *settings, *describe_ranks(comm), level=logging.DEBUG)
    if dry_run:
        device = attributes.get("device")
        lines = foretell(function, rows, path, comm, label=label, choose=choose, begin=begin, device=device, **plan)
        say(comm, *lines, level=ANSWER)
        return Report("\n".join(lines))
    table = _filled(function, rows, path, comm, label, choose, begin, finish, quiet, plan)
    with collective_errors(comm):
        results = results_of(table) if table is not None else None  # a file is read once, whatever the number of ranks
    return comm.bcast(results)


def _filled(
    function: Function,
    rows: np.ndarray,
    path: Path | None,
    comm: Communicator,
    label: str,
    choose: Callable,
    begin: Callable | None,
    finish: Callable | None,
    quiet: bool,
    plan: dict,
) -> Table | None:
    """The table, on rank 0, when all is measured and written."""
    table, missing, before = None, None, 0
    where = "the results" if path is None else path
    with contextlib.ExitStack() as held:
        with collective_errors(comm):
            if comm.rank == 0:
                lock, notes, obstacle = (None, [], "") if path is None else _acquired(path)
                if lock is not None:
                    held.callback(lock.release)
                table, warnings = prepare(path, rows, **plan)
                table.lock = lock
                missing, before = choose(table), table.done.sum()
                if len(missing) and obstacle:  # who has nothing to write needs no lock
                    raise BadInput(obstacle)
                say(comm, *notes, *warnings)
        try:
            with Progress(label, quiet) as progress:
                while comm.bcast(None if missing is None else len(missing)):
                    if begin is not None:
                        begin()
                        begin = None
                    sweep(function, table, comm, rows=missing, progress=progress)
                    missing = choose(table) if table is not None else None
        except KeyboardInterrupt as interrupt:
            if COMMAND.get():  # which says so itself
                raise
            done = f" after {table.done.sum()} of {len(rows)} {label}" if table is not None else ""
            raise stopped(done, path) from interrupt
        with collective_errors(comm):
            if table is not None:
                said = list(finish(table)) if finish else []
                table.flush()
    if table is not None and table.done.sum() == before:
        say(comm, f"{where} is complete already: {len(rows)} {label}")
    elif table is not None:
        count = "" if table.done.all() else f"{table.done.sum()} of "  # the rest needed no measurement
        of = plan["attributes"].get("network")
        say(comm, f"{where}: {count}{len(rows)} {label}" + (f" of {of}" if of else ""))
    if table is not None:
        say(comm, *said)
    return table


def provenance(settings: Mapping) -> dict:
    """The attributes of results: the settings, what was typed, and the versions at work.

    Only the name of the script is kept of its path, so that the same study in another folder is
    the same study.
    """
    script = sys.argv[0].rpartition("/")[2]
    typed = shlex.join([script, *sys.argv[1:]]) if "ipykernel" not in sys.modules else "a notebook"
    return {**plain_attributes(settings), "command": typed, **_versions()}


def _versions() -> dict[str, str]:
    return {"version_skipscape": __version__} | {f"version_{n}": metadata.version(n) for n in ("torch", "numpy")}


def _acquired(out: Path) -> tuple[Lock | None, list[str], str]:
    """This job's lock on its output, what is to be said of it, and why there can be none."""
    try:
        return *acquire(out), ""
    except OSError as error:
        cure = "mend that, or give another output file"
        return None, [], f"cannot write beside {out}, where a running job leaves its marker: {error.strerror}; {cure}"


def _named_by_first(
    function: Function, rows: np.ndarray, path: Path | None, others: Iterable[str], comm: Communicator
) -> tuple[Function, dict]:
    """What is measured, from the file that is there or else from the first row; that row is measured once."""
    first, names = None, None
    with collective_errors(comm):
        if comm.rank == 0:
            if path is not None and path.exists():
                there = read(path)
                over = there.dims["done"]
                own = {n for n in there if n not in (*others, "done") and there.dims[n] == over}
                names = list(there.summed or own)
            else:
                (first,) = itertools.islice(function(rows[:1]), 1)
                names = list(first)
                shapes = {name: np.shape(value) for name, value in first.items()}
                if arrays := [name for name, shape in shapes.items() if shape]:
                    raise BadInput(
                        f"{arrays[0]} is an array of shape {shapes[arrays[0]]}; say with measured= what its dimensions "
                        "are called"
                    )
    names = comm.bcast(names)

    def function_after_first(part: np.ndarray) -> Iterator[Mapping]:
        if first is not None and len(part) and np.array_equal(part[0], rows[0]):
            yield first
            part = part[1:]
        if len(part):
            yield from function(part)

    return function_after_first, {name: ("f8", np.nan, {"long_name": name.replace("_", " ")}) for name in names}
