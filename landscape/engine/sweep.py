"""The engine: measure a function at every remaining row of a table, on any number of ranks.

Rank 0 keeps the table in a thread of its own, and every rank computes, rank 0 too. A rank asks for
work when it has none, so ranks of unequal speed stay busy to the end; the answer is a few
neighbouring rows. The engine knows arrays and a callable, nothing of networks.

No rank waits for ever for one that hangs, or whose host is gone. A rank that computes says now and then that it
is there; one that has nothing to compute asks again for work whenever it is told to wait. So rank 0 hears of
every rank, and every rank that waits hears of rank 0, every `BEAT` seconds or so. Whoever hears nothing for `SILENCE`
seconds, of rank 0 for `STALL` seconds, says who is silent and ends the job. (Before and after: `heartbeat`.)
"""

from __future__ import annotations

import _thread
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from landscape.engine.heartbeat import Watchdog, silence
from landscape.engine.progress import Progress
from landscape.engine.ranks import Communicator, SerialComm
from landscape.engine.table import Table
from landscape.errors import BadInput

__all__ = ["sweep"]

CHUNK = 0.5  # seconds of work handed out at once: far above the cost of asking, far below a flush interval
FLUSH = 2.0  # seconds between two flushes: what can be lost at most, besides the rows under way
POLL = 0.001  # seconds between two looks for a message
BEAT = 5.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one after which a rank counts as lost
LAST = 2.0  # seconds that rank 0, told to end, waits for what the others send in the end
STALL = 300.0  # the same for rank 0, which may have to wait for a file system that is being repaired

LATER = "later"  # rank 0's answer when nothing is left for now, but may come back or end
END = ()  # its answer when all is measured
GONE = ""  # the last message of a rank that ends before that; other strings say where a rank lives

Function = Callable[[np.ndarray], Iterable[Mapping[str, float]]]


def sweep(
    function: Function,
    table: Table | None,
    comm: Communicator | None = None,
    *,
    rows: np.ndarray | None = None,
    label: str = "points",
    quiet: bool = False,
    progress: Progress | None = None,
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
    progress : on rank 0: the bar of a run of which this is one round: it stays open, and has its own `label`
        and `quiet`

    Notes
    -----
    An exception of `function` or a signal leaves through this call, on rank 0 after a last flush.
    The caller must then end the job (see `landscape.commands.cli.run`), since other ranks may be waiting.

    Raises
    ------
    BadInput
        A rank is silent: on the rank that noticed, and on it alone.
    """
    comm = comm or SerialComm()
    if comm.rank:
        with _Remote(comm) as remote:
            _work(function, remote.take, remote.give)
        return
    assert table is not None  # on rank 0
    keeper = _Keeper(table, table.remaining() if rows is None else rows, comm, label, quiet, progress)
    keeper.start()
    try:
        _work(function, keeper.take, keeper.give)
        keeper.join()
    except KeyboardInterrupt:
        if keeper.error is None:
            keeper.take_leave()
            raise
    finally:
        keeper.stop()
        if keeper.error is not None:  # whatever the interruption has become on its way here
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
        begun = reported = time.monotonic()
        unsent: dict[int, dict[str, float]] = {}
        try:
            for row, measurement in zip(rows, function(points), strict=True):
                unsent[int(row)] = dict(measurement)
                if time.monotonic() - reported > CHUNK:
                    give(unsent)
                    unsent, reported = {}, time.monotonic()
        finally:  # what was measured before an error or a signal counts too
            give(unsent, (time.monotonic() - begun) / len(rows))


class _Remote:
    """How a rank other than 0 takes and gives.

    Rows may take hours, so a thread gives the signs of life. Only one thread at a time calls MPI, and none of
    this thread's messages comes after a request for work: rank 0 has read all of them when it lets this rank go.
    """

    def __init__(self, comm: Any):  # a communicator that can send and receive as well, as MPI's can
        self._comm = comm
        self._lock = threading.Lock()
        self._computing = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> _Remote:
        self._send(socket.gethostname())
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, *error: Any) -> None:
        self._ended.set()
        if kind is not None:
            with contextlib.suppress(Exception):  # what has ended this rank matters more
                self._send(GONE)
        self._thread.join(CHUNK)  # longer only if rank 0 takes nothing any more

    def take(self):
        patience = Watchdog(STALL + self._comm.rank)  # one second apart: a single rank complains, and all end
        self._send(None)
        while (answer := self._answer()) is None or answer == LATER:
            if answer == LATER:
                patience.heard()
                self._send(None)
            elif patience.over():
                raise BadInput(silence("rank 0", STALL))
            # Asleep rather than in recv: an MPI that waits keeps a core busy that another rank could use.
            time.sleep(POLL)
        return answer or None

    def give(self, measured, seconds_per_row=None):
        self._send((measured, seconds_per_row))

    def _answer(self):
        with self._lock:
            if not self._comm.iprobe(0):
                return None
            answer = self._comm.recv(source=0)
            self._computing = len(answer) == 2  # rows and points
            return answer

    def _send(self, message: Any) -> None:
        with self._lock:
            self._computing = self._computing and message is not None
            self._comm.send((self._comm.rank, message), 0)

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            with self._lock:
                if self._computing:
                    self._comm.send((self._comm.rank, socket.gethostname()), 0)


class _Keeper(threading.Thread):
    """Keeps the table on rank 0: hands out rows, takes in measurements, flushes, shows progress.

    A thread of its own, so that the other ranks are answered and the file is written on time
    whatever rank 0 is computing.
    """

    def __init__(
        self,
        table: Table,
        rows: np.ndarray,
        comm: Any,
        label: str,
        quiet: bool,
        progress: Progress | None = None,
    ):
        super().__init__(daemon=True)
        self.table, self.comm = table, comm
        self.error: BaseException | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._queue = rows  # those not handed out yet are from self._next on
        self._next = 0
        self._missing = len(self._queue)
        self._seconds_per_row = [CHUNK] * comm.size  # of each rank, as it last told
        self._waiting: dict[int, float] = {}  # ranks that asked when nothing was left, and when they did
        self._hosts = dict.fromkeys(range(1, comm.size), "an unknown host")  # of the other ranks, as they tell
        self._patience = {rank: Watchdog(SILENCE) for rank in self._hosts}
        self._gone: set[int] = set()
        note = f"{comm.size} rank{'s' * (comm.size > 1)}"
        self._progress = Progress(label, quiet) if progress is None else progress
        self._progress.begin(int(table.done.sum()), self._missing, table.done.size, note)
        self._last = progress is None

    def take(self, rank: int = 0) -> tuple[np.ndarray, np.ndarray] | None:
        """The next rows for a rank and their points, or None if none are left or all is lost."""
        with self._lock:
            left = len(self._queue) - self._next
            if not left or self.error is not None:
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
            self._progress.update(len(measured))
            if seconds_per_row is not None:
                self._seconds_per_row[rank] = seconds_per_row

    def run(self) -> None:
        try:
            flushed = time.monotonic()
            while not self._ended.wait(POLL):
                self._listen()
                self._look_around()
                if time.monotonic() - flushed > FLUSH:
                    with self._lock:
                        self.table.flush()
                    flushed = time.monotonic()
                if not self._missing and len(self._waiting) == self.comm.size - 1:
                    break
        except BaseException as error:
            self.error = error
            # Though it comes by the way of a Ctrl-C, see `landscape.commands.cli`.
            error.genuine = True  # type: ignore[attr-defined]
            _thread.interrupt_main()  # rank 0 may be deep in a long measurement

    def _listen(self, seconds: float = 0.1) -> None:
        """Answer the ranks that have written; when they never cease, return all the same to flush or to end."""
        until = time.monotonic() + seconds
        while self.comm.iprobe() and time.monotonic() < until:
            rank, message = self.comm.recv()
            self._patience[rank].heard()
            if message == GONE:
                self._gone.add(rank)
            elif isinstance(message, str):  # a sign of life
                self._hosts[rank] = message
            elif message is not None:
                measured, seconds_per_row = message
                self.give(measured, seconds_per_row, rank)
            elif (work := self.take(rank)) is not None:
                self.comm.send(work, rank)
            else:
                self._waiting[rank] = time.monotonic()  # answered when all is measured: it sleeps meanwhile

    def _look_around(self) -> None:
        """Let nobody wait without an answer for too long, and see that nobody has fallen silent."""
        for rank, since in list(self._waiting.items()):
            if time.monotonic() - since > BEAT:
                del self._waiting[rank]
                self.comm.send(LATER, rank)
        for rank, patience in self._patience.items():
            if patience.over():
                with self._lock:
                    self.table.flush()
                raise BadInput(silence(f"rank {rank} on {self._hosts[rank]}", SILENCE))

    def take_leave(self) -> None:
        """Take in what the other ranks send in the end: whoever stops this one has usually stopped them too."""
        until = time.monotonic() + LAST
        while self.is_alive() and len(self._gone) < self.comm.size - 1 and time.monotonic() < until:
            time.sleep(POLL)

    def stop(self) -> None:
        """End the thread; flush; let the waiting ranks go if nothing is missing."""
        self._ended.set()
        self.join()
        if self._last:
            self._progress.close()
        if self.error is None:
            self.table.flush()
        if not self._missing:
            for rank in self._waiting:
                self.comm.send(END, rank)
