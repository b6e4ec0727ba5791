"""What a run would take, told without it: rows, time from a short probe, memory, and the file it would write."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.sweep import CHUNK, Function
from landscape.engine.table import Table, prepare

__all__ = ["Estimate", "Probe", "estimate", "foretell", "planned", "probe"]

BUDGET = 4.0  # seconds of a probe
PATIENCE = 30.0  # seconds after which a probe ends within a row
PIECES = 8  # places of the plan that a rank's probe looks at


class Probe(NamedTuple):
    """What measuring a few neighbouring rows took."""

    rows: int
    seconds: float


class Estimate(NamedTuple):
    """Seconds for a number of rows, with the standard error that the probes' scatter gives it; NaN from one probe."""

    seconds: float
    se: float


def planned(out: Path | None, points: np.ndarray, **plan: Any) -> tuple[Table, list[str], int]:
    """The table of a run, its warnings and the size of its file in bytes; nothing is left behind.

    Raises
    ------
    BadInput
        As the run would, see `landscape.engine.table.prepare`.
    """
    if out is None:
        return *prepare(None, points, **plan), 0
    if out.exists() or not out.parent.is_dir():
        table, warnings = prepare(out, points, **plan)
        return table, warnings, out.stat().st_size
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / out.name
        table, warnings = prepare(path, points, **plan)
        return table, warnings, path.stat().st_size


def probe(function: Function, points: np.ndarray, rank: int = 0, ranks: int = 1) -> list[Probe]:
    """Measure a few rows of those that a run would, in pieces as a run hands them out, all over the plan.

    Parameters
    ----------
    function, points : see `landscape.engine.sweep.sweep`; the points in the order of the run
    rank, ranks : so that each rank looks at other rows

    Returns
    -------
    list of Probe
        Empty if not even one row was measured within `PATIENCE`.
    """
    places = PIECES * ranks
    starts = np.unique(((np.arange(rank, places, ranks) + 0.5) / places * len(points)).astype(int))
    starts = np.random.default_rng(0).permutation(starts)  # should time be short, still from all over
    probes: list[Probe] = []
    with _patience(PATIENCE), contextlib.suppress(_TimeUp):
        begun = time.monotonic()
        next(iter(function(points[starts[:1]])))  # what only the first row takes: memory, compilation
        if (first := time.monotonic() - begun) > BUDGET:
            return [Probe(1, first)]
        until = time.monotonic() + BUDGET
        for start in starts:
            number, last = 0, time.monotonic()
            begun, end = last, min(last + CHUNK, until)
            for _ in function(points[start:]):
                number, last = number + 1, time.monotonic()
                if last > end:
                    break
            probes.append(Probe(number, last - begun))
            if last > until:
                break
    return probes


def estimate(probes: list[Probe], rows: int, ranks: int) -> Estimate:
    """How long so many rows take on so many ranks.

    The ratio estimator of the time per row; its standard error is that of pieces drawn at random (Cochran,
    *Sampling Techniques*, §6.4).
    """
    number, seconds = np.array(probes, float).T
    each, pieces = seconds.sum() / number.sum(), len(probes)
    scatter = ((seconds - each * number) ** 2).sum() * pieces / max(pieces - 1, 1)
    se = np.sqrt(scatter) / number.sum() if pieces > 1 else np.nan
    return Estimate(each * rows / ranks, se * rows / ranks)


def foretell(
    function: Function,
    points: np.ndarray,
    out: Path | None,
    comm: Communicator,
    *,
    label: str,
    choose: Callable[[Table], np.ndarray],
    begin: Callable[[], object] | None = None,
    device: str | None = "cpu",
    **plan: Any,
) -> list[str]:
    """Tell what a run would take; every rank must call it.

    Parameters
    ----------
    function, points, out, label, choose, begin, plan : see `landscape.engine.run.run`
    device : "cuda" if memory of GPUs is to be told

    Returns
    -------
    list of str
        Lines for people, the same on all ranks.

    Raises
    ------
    BadInput
        As the run would, on all ranks.
    """
    queue, head = None, None
    with collective_errors(comm):
        if comm.rank == 0:
            table, warnings, size = planned(out, points, **plan)
            queue, left = choose(table), len(table.remaining())
            done = len(points) - left
            head = [
                *warnings,
                f"{len(points)} {label} in memory"
                if out is None
                else f"{out}: {len(points)} {label}, {done} of them measured already; a file of {_bytes(size)}",
            ]
            if len(queue) < left:
                head.append(f"{len(queue)} {label} to begin with, then as many others as it takes, at most {left}")
    queue, head = comm.bcast(queue), comm.bcast(head)
    if not len(queue):
        return [*head, "nothing is left to measure"]
    begun = time.monotonic()
    if begin is not None:
        begin()
    before = time.monotonic() - begun
    mine = probe(function, points[queue], comm.rank, comm.size)
    probes = [piece for pieces in comm.allgather(mine) for piece in pieces]
    memory = comm.allgather(_memory(device))
    ranks = f"{comm.size} rank{'s' * (comm.size > 1)}"
    if probes:
        number, seconds = sum(p.rows for p in probes), max(sum(p.seconds for p in mine), 1e-3)
        rows = estimate(probes, len(queue), comm.size)
        time_needed = _time(rows._replace(seconds=rows.seconds + before))
        head.append(f"{len(queue)} {label} on {ranks}: {time_needed}, judged by {number} of them in {seconds:.1f} s")
    else:
        head.append(f"one of the {label} takes more than {PATIENCE:g} s; there are {len(queue)}, on {ranks}")
    if all(held for _, held, _ in memory):
        head.append(f"memory so far: {', '.join(_machines(memory))}")
    return [*head, "nothing was written: this was a dry run"]


class _TimeUp(BaseException):
    """Not an Exception: nothing between here and there is to take it for a result."""


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Raise `_TimeUp` in the body when it has taken so long."""

    main = threading.current_thread() is threading.main_thread()
    if not (main and hasattr(signal, "setitimer")):  # it alone may set an alarm, and none on Windows
        yield
        return

    def up(number, frame):
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _memory(device: str | None) -> tuple[str, int, int]:
    """This machine's name, and the most that this rank has held of its memory and of its GPU's, in bytes."""
    held = 0
    with contextlib.suppress(ImportError):
        import resource  # which Windows lacks

        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    on_gpu = 0
    if device == "cuda":
        import torch  # which not every experiment needs

        on_gpu = torch.cuda.max_memory_reserved()
    return socket.gethostname(), held, on_gpu


def _machines(memory: list[tuple[str, int, int]]) -> Iterator[str]:
    for machine in sorted({name for name, *_ in memory}):
        held = [(own, on_gpu) for name, own, on_gpu in memory if name == machine]
        gpu = max(on_gpu for _, on_gpu in held)
        more = f" and {_bytes(gpu)} of a GPU each" if gpu else ""
        yield f"{_bytes(sum(own for own, _ in held))} on {machine} ({len(held)} rank{'s' * (len(held) > 1)}){more}"


def _time(estimate: Estimate) -> str:
    low, high = estimate.seconds - 2 * estimate.se, estimate.seconds + 2 * estimate.se
    if np.isnan(estimate.se):
        return f"about {_seconds(estimate.seconds)}"
    return f"about {_seconds(estimate.seconds)} ({_seconds(max(low, 0))} to {_seconds(high)})"


def _seconds(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _bytes(number: int) -> str:
    return tqdm.format_sizeof(number, "B")
