"""One job on one output: a marker beside a results file says who is writing it.

The marker, ``.OUT.h5.running``, is a lease of filelock's: renewed by a thread as long as its job lives, taken over from
a dead one, gone in the end. Locks of an operating system would not do: not every shared file system has them.

Ours are who and since when in the refusal, the check before each write, and `_clear`. For filelock takes over by
exchanging two names in one step or not at all: NFS and SMB cannot, and there a dead job would keep others out forever.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import weakref
import zlib
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from landscape.errors import BadInput

__all__ = ["Lock", "acquire"]

BEAT = 2.0  # seconds between two renewals
SILENCE = 30.0  # seconds without one after which a job is taken for dead; all jobs on an output must have the same

_locks: weakref.WeakValueDictionary[Path, Lock] = weakref.WeakValueDictionary()  # of this process


class Lock:
    """This job's lock on an output; `acquire` makes it."""

    def __init__(self, out: Path, silence: float, beat: float) -> None:
        self.out = out
        self.marker = out.absolute().with_name(f".{out.name}.running")
        self.silence, self.beat = silence, beat
        # Not each thread's own: whatever thread collects the garbage may release it.
        self._lease = SoftFileLease(self.marker, lease_duration=silence, heartbeat_interval=beat, thread_local=False)

    def check(self) -> None:
        """See that the output is still this job's.

        Raises
        ------
        BadInput
            Another job has taken it over.
        """
        for pause in (0, self.beat / 4):  # a second look: who fails to take over moves the marker for a moment
            time.sleep(pause)
            owner = self._lease.owner
            if owner is not None and owner.token == self._lease.token and self._lease.compromise is None:
                return
        self.release()
        try:
            self._attempt(blocking=False)  # somebody may just have tidied up
        except Timeout:
            raise BadInput(
                f"{self.out} was taken over by {_owner(_look(self.marker))}, since this job was silent for "
                f"{self.silence:g} s or more; this one ends"
            ) from None

    def release(self) -> None:
        """Let others write."""
        with contextlib.suppress(OSError):  # the marker will be found dead
            self._lease.release(force=True)

    def _attempt(self, **patience: Any) -> None:
        os.stat(self.marker.parent)  # filelock would make a folder that is missing
        self._lease.acquire(**patience)
        with open(self.marker, "a", encoding="utf-8") as file:  # for people: filelock passes over what it does not know
            file.write(f"since={time.strftime('%Y-%m-%d %H:%M')}\n")


def acquire(out: str | os.PathLike, *, silence: float = SILENCE, beat: float = BEAT) -> tuple[Lock, list[str]]:
    """Lock an output for this job.

    Parameters
    ----------
    out : the file that only this job is to write; it need not be there yet
    silence : seconds without a renewal after which another job is taken for dead
    beat : seconds between two renewals

    Returns
    -------
    Lock, and a line about the silent job that was in the way, if there was one.

    Raises
    ------
    BadInput
        Another job is writing it.
    OSError
        No marker can be made there: the folder is gone, may not be written, or is full.
    """
    lock = Lock(Path(out), silence, beat)
    if (earlier := _locks.get(lock.marker)) is not None:
        earlier.release()  # of our own, the last one counts
    before, end = _look(lock.marker), time.monotonic() + silence
    try:
        # Who is alive renews the marker before long: nobody waits for the end of that job.
        patience = {"timeout": silence + 2 * beat, "poll_interval": beat / 20}
        lock._attempt(**patience, cancel_check=lambda: _look(lock.marker) not in (before, None))
    except Timeout:
        if before is not None and time.monotonic() > end and _look(lock.marker) == before:
            _clear(lock.marker, before)
        try:
            lock._attempt(blocking=False)
        except Timeout:
            owner, cure = _owner(_look(lock.marker)), "wait for it, or give another output file"
            raise BadInput(f"{out} is being written by {owner}; {cure}") from None
    _locks[lock.marker] = lock
    if before is None or time.monotonic() < end:
        return lock, []
    silent = f"which has been silent for {silence:g} s or more"
    return lock, [f"{out} was being written by {_owner(before)}, {silent}; going on in its place"]


def _look(marker: Path) -> tuple[str, int] | None:
    """What a marker says, and when it was renewed; opened, for a network's file system then asks its server."""
    try:
        with open(marker, encoding="utf-8", errors="replace") as file:
            return file.read(4096), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _owner(seen: tuple[str, int] | None) -> str:
    """Who made a marker, to tell people."""
    said = dict(re.findall(r"^(pid|host|since)=([ -~]+)$", seen[0] if seen else "", re.M))
    if not said.keys() >= {"pid", "host"}:
        return "another process"
    host, _, _ = said["host"].partition("?")  # what follows is a container's number
    return f"process {said['pid']} on host {host}" + (f" since {said['since']}" if "since" in said else "")


def _clear(marker: Path, dead: tuple[str, int]) -> None:
    """Remove a dead job's marker that filelock leaves where it is.

    A link under a name that belongs to the dead one alone is had by one job at a time; and who comes late finds under
    it that the marker is another's by now.
    """
    turn = marker.with_name(f"{marker.name}.{zlib.crc32(dead[0].encode()):08x}")
    with contextlib.suppress(FileExistsError, FileNotFoundError):  # another's turn, or it has had it
        os.link(marker, turn)
        try:
            if _look(turn) == dead:
                marker.unlink()
        finally:
            turn.unlink()
