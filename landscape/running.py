"""One job on one output: a mark beside a results file says who is writing it.

Locks of an operating system do not reach across every shared file system, and those of a dead job may stay behind.
So a job puts a mark beside its output, ``.OUT.h5.running``, which says where it runs and since when, and renews the
mark's time of modification as long as it lives. A mark appears whole or not at all, and one that is there keeps
others out:

- One made on this machine, in the same boot and among the same processes, counts as long as its process
  lives; a process is its number and when it started, since numbers come back.
- Any other counts as long as it is renewed. It is dead when it was not for `SILENCE` seconds, by the clock
  of the file system that it lies on, which is asked by touching a file of our own; hosts' clocks are not compared.

Whoever finds a mark dead may take its place. Of several who do so at once, one does, see `_take`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from landscape.errors import BadInput

__all__ = ["Mark", "claim"]

BEAT = 2.0  # seconds between two renewals
SILENCE = 30.0  # seconds without one after which a job on another machine is taken for dead
LOOK = 1.0  # seconds between two looks at a mark that may be dead
LONGEST = 4096  # bytes of a mark


class Owner(NamedTuple):
    """Who made a mark.

    Attributes
    ----------
    host, process, since : to tell people: a name, a number, local time
    place : where the process number means something: host, boot and process namespace
    started : when the process did, in the kernel's ticks; empty where that cannot be known
    job : a random word
    """

    host: str = "?"
    process: int = 0
    since: str = "?"
    place: str = ""
    started: str = ""
    job: str = ""

    def __str__(self) -> str:
        return f"process {self.process} on host {self.host} since {self.since}" if self.process else "another process"


class _Found(NamedTuple):
    text: bytes
    renewed: int  # ns, by the file system's clock

    @property
    def owner(self) -> Owner:
        """Whoever made the mark; nobody in particular if it cannot be read."""
        with contextlib.suppress(ValueError, TypeError):
            owner = Owner(**json.loads(self.text))
            words = (owner.host, owner.since, owner.place, owner.started)
            if isinstance(owner.process, int) and all(isinstance(w, str) and w.isprintable() for w in words):
                return owner
        return Owner()


@dataclass
class Mark:
    """This job's mark beside an output.

    Attributes
    ----------
    out : the output
    text : of the mark; no other's is the same
    """

    out: Path
    text: bytes
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        # A thread of its own: choosing the next rows of a large surface may take longer than the silence allowed.
        threading.Thread(target=_renew, args=(_path(self.out), self.text, self._ended), daemon=True).start()

    def check(self) -> None:
        """See that the output is still this job's.

        Raises
        ------
        BadInput
            Another job has taken it over.
        """
        while (found := _look(_path(self.out))) is None:  # somebody has tidied up
            _create(_path(self.out), self.text)
        if found.text != self.text:
            raise BadInput(
                f"{self.out} was taken over by {found.owner}, since this job was silent for {SILENCE:g} s or more; "
                "this one ends"
            )

    def release(self) -> None:
        """Let others write."""
        self._ended.set()
        with contextlib.suppress(OSError):  # it will be found dead
            if (found := _look(_path(self.out))) and found.text == self.text:
                _path(self.out).unlink()


def claim(out: str | os.PathLike) -> tuple[Mark, list[str]]:
    """Put this job's mark beside an output.

    Parameters
    ----------
    out : the file that only this job is to write; it need not be there yet

    Returns
    -------
    Mark, and a line for each dead job on another machine whose mark was in the way.

    Raises
    ------
    BadInput
        Another job is writing it.
    OSError
        No mark can be made there: the folder is gone, may not be written, or is full.
    """
    out = Path(out)
    me = Owner(
        socket.gethostname(),
        os.getpid(),
        time.strftime("%Y-%m-%d %H:%M"),
        _place(),
        _started(os.getpid()) or "",
        secrets.token_hex(8),
    )
    text = json.dumps(me._asdict()).encode()
    dead: list[Owner] = []
    other = _take(_path(out), text, dead)
    if other is not None:
        raise BadInput(f"{out} is being written by {other}; wait for it, or give another output file")
    notes = [
        f"{out} was being written by {owner}, which has been silent for {SILENCE:g} s or more; going on in its place"
        for owner in dead
        if owner.place != me.place
    ]
    return Mark(out, text), notes


def _take(path: Path, text: bytes, dead: list[Owner]) -> Owner | None:
    """Make a mark; None, or the living job that has it. Those that were found dead are added to the list.

    Two that find the same mark dead must not both replace it, nor one the other's. So whoever wants to
    replace a mark first takes its turn: a mark beside it, under a name that belongs to the dead one alone.
    While one has the turn, nobody else replaces that mark; and who gets the turn after it has been replaced
    sees that the dead one is no longer there. A turn is taken as any mark is, should its owner have died.
    """
    while not _create(path, text):
        found = _look(path)
        if found is None:
            continue
        if _lives(path, found):
            return found.owner
        turn = path.with_name(f"{path.name}.{hashlib.sha256(found.text).hexdigest()[:8]}")
        if (other := _take(turn, text, [])) is not None:
            return other
        try:
            if (again := _look(path)) and again.text == found.text:
                os.replace(turn, path)
                dead.append(found.owner)
                return None
        finally:
            with contextlib.suppress(FileNotFoundError):
                turn.unlink()
    return None


def _create(path: Path, text: bytes) -> bool:
    """Make a mark, whole, if there is none; whether that was so."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        draft.write_bytes(text)
        try:
            os.link(draft, path)
        except FileExistsError:
            found = _look(path)  # it may be ours all the same: a network can lose the answer
            return found is not None and found.text == text
        except OSError:  # no links here: for a moment the mark is there without its text, which then means anyone's
            try:
                with open(path, "xb") as file:
                    file.write(text)
            except FileExistsError:
                return False
        return True
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _look(path: Path) -> _Found | None:
    try:
        with open(path, "rb") as file:  # opened, for a network's file system then asks its server
            return _Found(file.read(LONGEST), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


def _lives(path: Path, found: _Found) -> bool:
    """Whether the job that made a mark is alive; takes a while if only its silence can tell."""
    owner = found.owner
    if owner.place == _place():
        started = None if owner.process == os.getpid() else _started(owner.process)  # of our own, the last one counts
        return started is not None and (not (started and owner.started) or started == owner.started)
    silent = max(0.0, (_now(path) - found.renewed) / 1e9)
    while silent < SILENCE:
        time.sleep(LOOK)
        again = _look(path)
        if again is None or again.text != found.text:  # another one's by now
            return False
        if again.renewed != found.renewed:
            return True
        silent += LOOK  # looks are counted, not time: while a file system hangs nobody is heard
    return False


def _now(path: Path) -> int:
    """The time in the file system of a path, in ns."""
    mine = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        mine.touch()
        return mine.stat().st_mtime_ns
    finally:
        with contextlib.suppress(OSError):
            mine.unlink()


def _renew(path: Path, text: bytes, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            if (found := _look(path)) and found.text == text:
                os.utime(path)


def _path(out: Path) -> Path:
    return out.with_name(f".{out.name}.running")


def _place() -> str:
    """Where our process number means something."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):  # only Linux has these
        told += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(told)


def _started(process: int) -> str | None:
    """When a process started, in ticks; empty if that cannot be known, None if it is not running."""
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        pass
    except (OSError, OverflowError):
        return None
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return None if state in "ZX" else fields[18]  # one that has ended may wait there for its parent
