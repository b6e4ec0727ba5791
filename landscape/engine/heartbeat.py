"""Signs of life between the ranks of a job, so that none waits for ever for one that hangs or whose host is gone.

MPI's own calls wait without end. So when a job starts, rank 0 calls the roll, and says who has not come. From then on
a thread of rank 0 asks every rank now and then whether it is there, and a thread there answers; whoever hears nothing
for too long says of whom, and ends the job. Who has not answered is asked no more: a message that nobody takes may
stand in the way of others. While rows are measured `landscape.engine.sweep` notices a little sooner, since it can save
what has been measured first.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["Watchdog", "begin", "silence"]

ROLL, POLL = 311, 0.005  # the tag of the roll call, and seconds between two looks for a message of it
LATE = 60.0  # seconds after which rank 0 says for whom it waits at the start
ABSENT = 900.0  # … and after which it waits no longer: a thousand Pythons may take minutes to start from one slow disk
BEAT = 5.0  # seconds between two signs of life
SILENCE = 90.0  # seconds without one after which a rank counts as lost
STALL = 360.0  # the same for rank 0, which may have to wait for a file system that is being repaired
HERE, BYE = "here", "bye"

HEARTS: list[Heart] = []  # this process's, once it has one


class Watchdog:
    """Counts the seconds in which nothing is heard of somebody.

    Only those in which we could have heard something: who was stopped, or had to wait for a disk, has not listened.

    Parameters
    ----------
    seconds : that this lasts
    """

    LOOK = 1.0  # seconds that count at most between two looks

    def __init__(self, seconds: float):
        self._seconds, self._silent, self._looked = seconds, 0.0, time.monotonic()

    def heard(self) -> None:
        self._silent = 0.0

    def over(self) -> bool:
        """Look: whether it is over."""
        now = time.monotonic()
        self._silent += min(now - self._looked, self.LOOK)
        self._looked = now
        return self._silent > self._seconds


def silence(who: str, seconds: float) -> str:
    """What is said of a rank that nothing is heard of."""
    return (
        f"{who} has been silent for {seconds:g} s: it hangs, or its host or the network does; what was measured "
        "before is in the file: end what is left of this job, see to that host, and run the same command again"
    )


def begin(comm: Any, *, threads: bool) -> None:
    """Call the roll, once in a process, and keep watch from then on. Collective.

    Parameters
    ----------
    comm : MPI's communicator of all ranks
    threads : whether several threads may call this MPI at once; else there is a roll call, and no watch
    """
    if HEARTS:
        return
    hosts = _roll(comm)
    HEARTS.append(Heart(comm.Dup(), hosts, comm.Abort))
    if threads:
        from mpi4py import MPI

        HEARTS[0].start()
        # MPI_Finalize begins by deleting these attributes; Python ends before mpi4py calls it by itself.
        MPI.COMM_SELF.Set_attr(MPI.Comm.Create_keyval(delete_fn=lambda *_: _rest()), None)
        atexit.register(_rest)


def _rest() -> None:
    """End the watch, when all have come to their end."""
    if HEARTS and HEARTS[0].is_alive():
        HEARTS[0].rest()


class Heart(threading.Thread):
    """Asks, on rank 0, whether the others are there, or answers; and listens.

    Parameters
    ----------
    comm : MPI's communicator, for this alone
    hosts : where those live that it listens to, by rank
    abort : ends all ranks, with a status
    """

    def __init__(self, comm: Any, hosts: dict[int, str], abort: Callable[[int], object]):
        super().__init__(daemon=True)
        self._comm, self._hosts, self._abort = comm, hosts, abort
        self._limit = STALL if comm.rank else SILENCE
        others = [0] if comm.rank else range(1, comm.size)
        # One second apart: of many that wait for rank 0 a single one complains, and all end.
        self._patience = {rank: Watchdog(self._limit + comm.rank) for rank in others}
        self._free = {rank: True for rank in others}  # whether it has taken the last message
        self._asked = 0.0
        self._resting = threading.Event()

    def run(self) -> None:
        while not self._resting.wait(Watchdog.LOOK / 2):
            self._beat()

    def rest(self) -> None:
        """Say goodbye, and wait for the others' goodbyes."""
        self._resting.set()
        if self.is_alive():
            self.join()
        if self._comm.rank:
            self._speak(0, BYE)
        while self._patience:
            self._beat()
            time.sleep(POLL)
        for rank in [] if self._comm.rank else self._free:
            self._speak(rank, BYE)

    def _beat(self) -> None:
        if self._comm.rank == 0 and time.monotonic() - self._asked > BEAT:
            self._asked = time.monotonic()
            for rank in [rank for rank, free in self._free.items() if free]:
                self._speak(rank, HERE)
        while self._comm.iprobe():
            rank, word = self._comm.recv()
            self._free[rank] = True
            if word == BYE:
                self._patience.pop(rank)
            elif rank in self._patience:
                self._patience[rank].heard()
            if self._comm.rank and word == HERE:
                self._speak(rank, HERE)
        for rank, patience in self._patience.items():
            if patience.over():
                _end(self._abort, silence(f"rank {rank} on {self._hosts[rank]}", self._limit))

    def _speak(self, rank: int, word: str) -> None:
        self._comm.send((self._comm.rank, word), rank)
        self._free[rank] = False


def _roll(comm: Any) -> dict[int, str]:
    """When all have come, the hosts of those that a rank listens to: of all on rank 0, on the others that of rank 0."""
    here, hosts = socket.gethostname(), {}
    if comm.rank:
        comm.send((comm.rank, here), 0, ROLL)
    patience, late = Watchdog(ABSENT + comm.rank), Watchdog(LATE)
    missing = {0} if comm.rank else set(range(1, comm.size))
    while missing:
        while comm.iprobe(tag=ROLL):
            rank, hosts[rank] = comm.recv(tag=ROLL)
            missing.discard(rank)
        if missing and late.over():
            late = Watchdog(float("inf"))
            if comm.rank == 0:
                _tell(f"note: {_named(missing, comm.size)} not started after {LATE:g} s; waiting")
        if missing and patience.over():
            why = "it hangs, or its host, its file system or the network does; see to that, and run the same command"
            _end(comm.Abort, f"{_named(missing, comm.size)} not started after {ABSENT:g} s: {why} again")
        time.sleep(POLL)
    for rank in [] if comm.rank else range(1, comm.size):
        comm.send((0, here), rank, ROLL)
    return hosts


def _named(ranks: set[int], size: int) -> str:
    first = ", ".join(map(str, sorted(ranks)[:5])) + (f" and {len(ranks) - 5} more" if len(ranks) > 5 else "")
    return f"rank {first} of {size} has" if len(ranks) == 1 else f"ranks {first} of {size} have"


def _end(abort: Callable[[int], object], complaint: str) -> NoReturn:
    """End this job, whatever the main thread is waiting for."""
    _tell(f"{os.path.basename(sys.argv[0])}: error: {complaint}")
    time.sleep(0.5)  # the launcher may end before it has passed on what was said
    abort(2)
    os._exit(2)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
