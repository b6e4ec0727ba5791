"""The engine: measure a function at every remaining row of a table, on any number of ranks.

Rank 0 keeps the table in a thread of its own, and every rank computes, rank 0 too. A rank asks for
work when it has none, so ranks of unequal speed stay busy to the end; the answer is a few
neighbouring rows. The engine knows arrays and a callable, nothing of networks.
"""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from landscape.progress import bar
from landscape.ranks import Alone
from landscape.table import Table

__all__ = ["sweep"]

CHUNK = 0.5  # seconds of work handed out at once: far above the cost of asking, far below a flush interval
FLUSH = 2.0  # seconds between two flushes: what can be lost at most, besides the rows under way
POLL = 0.001  # seconds between two looks for a message

Function = Callable[[np.ndarray], Iterable[Mapping[str, float]]]


def sweep(
    function: Function,
    table: Table | None,
    comm=None,
    *,
    rows: np.ndarray | None = None,
    label: str = "points",
    quiet: bool = False,
) -> None:
    """Fill a table, or some rows of it.

    Parameters
    ----------
    function : callable
        Given points, an array of shape (m, k), yields m measurements (mappings from variable name
        to number) in their order. A measurement may depend on its point alone, never on what else
        is in the call: the same numbers must come from any number of ranks.
    table : Table
        On rank 0; the other ranks need none.
    comm : communicator
        An MPI communicator or anything like it; None for this process alone.
    rows : array of int
        On rank 0: what to measure, in this order, so that neighbours may share work; by default
        what is not yet done.
    label : what the progress bar calls a row
    quiet : no progress bar

    Notes
    -----
    An exception of `function` or a signal leaves through this call, on rank 0 after a last flush.
    The caller must then end the job (see `landscape.command.run`), since other ranks may be waiting.
    """
    comm = comm or Alone()
    if comm.rank:
        _work(function, *_remote(comm))
        return
    keeper = _Keeper(table, table.remaining() if rows is None else rows, comm, label, quiet)
    keeper.start()
    try:
        _work(function, keeper.take, keeper.give)
        keeper.join()
    except KeyboardInterrupt:
        if keeper.error is None:
            raise
    finally:
        keeper.stop()
    if keeper.error is not None:
        raise keeper.error


def piece(left: int, ranks: int, seconds_per_row: float) -> int:
    """How many of the rows that are left a rank is given at once, from what a row has lately cost it.

    A piece lasts `CHUNK` seconds; near the end pieces shrink, so that all ranks finish together.
    """
    most = -(-left // (2 * ranks))
    return max(1, min(most, int(CHUNK / max(seconds_per_row, 1e-9))))


def _work(function: Function, take: Callable, give: Callable) -> None:
    """Compute until no work is left. Rows go back at the end of a chunk, or sooner if it takes long."""
    while (work := take()) is not None:
        rows, points = work
        begun = told = time.monotonic()
        unsent: dict[int, dict[str, float]] = {}
        try:
            for row, measurement in zip(rows, function(points), strict=True):
                unsent[int(row)] = dict(measurement)
                if time.monotonic() - told > CHUNK:
                    give(unsent)
                    unsent, told = {}, time.monotonic()
        finally:  # what was measured before an error or a signal counts too
            give(unsent, (time.monotonic() - begun) / len(rows))


def _remote(comm) -> tuple[Callable, Callable]:
    """How a rank other than 0 takes and gives."""

    def take():
        comm.send((comm.rank, None), 0)
        # Asleep rather than in recv: an MPI that waits keeps a core busy that another rank could use.
        while not comm.iprobe(0):
            time.sleep(POLL)
        return comm.recv(source=0)

    def give(measured, seconds_per_row=None):
        comm.send((comm.rank, (measured, seconds_per_row)), 0)

    return take, give


class _Keeper(threading.Thread):
    """Keeps the table on rank 0: hands out rows, takes in measurements, flushes, shows progress.

    A thread of its own, so that the other ranks are answered and the file is written on time
    whatever rank 0 is computing.
    """

    def __init__(self, table: Table, rows: np.ndarray, comm, label: str, quiet: bool):
        super().__init__(daemon=True)
        self.table, self.comm = table, comm
        self.error: BaseException | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._queue = rows  # those not handed out yet are from self._next on
        self._next = 0
        self._missing = len(self._queue)
        self._seconds_per_row = [CHUNK] * comm.size  # of each rank, as it last told
        self._waiting: list[int] = []  # ranks that asked when nothing was left
        begun = int(table.done.sum())
        self._bar = bar(
            begun + self._missing,
            label,
            begun=begun,
            quiet=quiet,
            note=f"{comm.size} rank{'s' * (comm.size > 1)}",
        )

    def take(self, rank: int = 0):
        """The next rows for a rank and their points, or None if none are left."""
        with self._lock:
            if self.error is not None:
                raise self.error
            left = len(self._queue) - self._next
            if not left:
                return None
            size = piece(left, self.comm.size, self._seconds_per_row[rank])
            rows = self._queue[self._next : self._next + size]
            self._next += size
            return rows, self.table.points[rows]

    def give(self, measured: Mapping[int, Mapping], seconds_per_row: float | None = None, rank: int = 0) -> None:
        """Take in what a rank has measured."""
        with self._lock:
            for row, measurement in measured.items():
                self.table.record(row, measurement)
            self._missing -= len(measured)
            self._bar.update(len(measured))
            if seconds_per_row is not None:
                self._seconds_per_row[rank] = seconds_per_row

    def run(self) -> None:
        try:
            flushed = time.monotonic()
            while not self._ended.wait(POLL):
                self._listen()
                if time.monotonic() - flushed > FLUSH:
                    with self._lock:
                        self.table.flush()
                    flushed = time.monotonic()
                if not self._missing and len(self._waiting) == self.comm.size - 1:
                    break
        except BaseException as error:
            self.error = error
            _thread.interrupt_main()  # rank 0 may be deep in a long measurement

    def _listen(self, seconds: float = 0.1) -> None:
        """Answer the ranks that have written; when they never cease, return all the same to flush or to end."""
        until = time.monotonic() + seconds
        while self.comm.iprobe() and time.monotonic() < until:
            rank, message = self.comm.recv()
            if message is not None:
                self.give(*message, rank=rank)
            elif (work := self.take(rank)) is not None:
                self.comm.send(work, rank)
            else:
                self._waiting.append(rank)  # answered when all is measured: it sleeps meanwhile

    def stop(self) -> None:
        """End the thread; flush; let the waiting ranks go if nothing is missing."""
        self._ended.set()
        self.join()
        self._bar.close()
        if self.error is None:
            self.table.flush()
        if not self._missing:
            for rank in self._waiting:
                self.comm.send(None, rank)
