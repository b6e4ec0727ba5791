"""Ranks that hang, from the start to the end, and ranks that are not alike: that is noticed, said, and the end.

What was measured is kept.

Each case is a function of the folder with the networks, a folder of its own, and whether there is little time.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

from jobs import KINDS, ROOT, Failure, Job, rank, refused, starts, whole

KIND = KINDS["surface"]


def stopped(number: int, seconds: float, short: int, nap: float, who: str):
    """A rank is stopped (SIGSTOP) in the midst of its work; it neither works nor answers."""

    def case(nets: Path, folder: Path, quick: bool) -> str:
        faster = short * (6 if quick else 1)
        job = Job.start(KIND, nets, folder / "a.h5", 3, nap=nap, env={"SHORT": str(faster)})
        starts(job, 5)
        members, begun = job.members(), time.monotonic()
        job.kill([members[number]], signal.SIGSTOP)
        if not job.wait(2 * seconds / faster + 20):
            job.kill(job.family())
            raise Failure("the job did not end")
        took = time.monotonic() - begun
        line = refused(job, 2, who, "has been silent for")
        goes_on(nets, folder / "a.h5", env=None)
        return f"after {took:.0f} s{f' (times {faster})' * (faster > 1)}: {line}"

    return case


def stopped_at(number: int, moment: str, seconds: float, short: int, *said: str):
    """A rank is stopped while none measures: others wait for it in MPI, which itself would wait for ever."""

    def case(nets: Path, folder: Path, quick: bool) -> str:
        faster = short * (6 if quick else 1)
        begun, out = time.monotonic(), folder / "a.h5"
        job = Job.start(KIND, nets, out, 3, nap=0, env={"SHORT": str(faster), "STOP": f"{number}:{moment}"})
        if not job.wait(2 * seconds / faster + 60):
            job.kill(job.family())
            raise Failure("the job did not end")
        took = time.monotonic() - begun
        line = refused(job, 2, *said)
        goes_on(nets, out)
        return f"after {took:.0f} s{f' (times {faster})' * (faster > 1)}: {line}"

    return case


def frozen(nets: Path, folder: Path, quick: bool) -> str:
    """The whole job is stopped for longer than a silence may last, and goes on."""
    job = Job.start(KIND, nets, folder / "a.h5", 2, env={"SHORT": "30"})
    starts(job, 5)
    job.kill(job.members(), signal.SIGSTOP)
    time.sleep(12)
    job.kill(job.members(), signal.SIGCONT)
    job.finish()
    whole(nets, folder / "a.h5")
    return "it went on, and nobody was taken for lost"


def goes_on(nets: Path, out: Path, **options) -> None:
    """The same command ends well, with the file that it should have been."""
    Job.start(KIND, nets, out, 2, nap=0, **options).finish()
    whole(nets, out)


def other_code(change: tuple[str, str, str], *said: str):
    """One rank runs a copy of the package in which a file is another one."""

    def case(nets: Path, folder: Path, quick: bool) -> str:
        name, there, here = change
        for wing in ("landscape", "ensemble", "scripts"):
            for path in (ROOT / wing).rglob("*.py"):
                copy = folder / "code" / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        changed = folder / "code" / name
        text = changed.read_text()
        if there not in text:
            raise Failure(f"{name} has no {there!r}")
        changed.write_text(text.replace(there, here))
        return unlike(nets, folder, ("-env", "PYTHONPATH", str(folder / "code")), said)

    return case


def other_checkpoint(nets: Path, folder: Path, quick: bool) -> str:
    """One rank is given another checkpoint."""
    return unlike(nets, folder, (), ("the command of rank 1", "other.pt"), net="other.pt")


def other_content(nets: Path, folder: Path, quick: bool) -> str:
    """One rank finds another checkpoint under the same name, as on a host of its own."""
    there = folder / "there"
    there.mkdir()
    (there / "net.pt").symlink_to(nets / "other.pt")
    return unlike(nets, folder, ("-wdir", str(there)), ("the checkpoint of rank 1",))


def other_arguments(nets: Path, folder: Path, quick: bool) -> str:
    """One rank is given another seed."""
    return unlike(nets, folder, (), ("the command of rank 1", "--seed 1"), more=("--seed", "1"))


def unlike(nets: Path, folder: Path, how: tuple, said: tuple, *, net=None, more: tuple = ()) -> str:
    """Start a job in which rank 1 is another; it must be refused, with one line, and leave no file."""
    out = folder / "a.h5"
    first, second = rank(KIND, out, plain=True), rank(KIND, out, net=net, plain=True)
    call = ["mpiexec", "-n", "1", *first, ":", "-n", "1", *how, *second, *more]
    job = Job.start(KIND, nets, out, 2, call=call)
    if not job.wait(120):
        job.kill(job.family())
        raise Failure("the job did not end")
    line = refused(job, 2, *said)
    if job.complaint.count("error: ") > 1:
        raise Failure(f"it is said more than once: {job.complaint}")
    if out.exists():
        raise Failure(f"{line}, and yet there is a file")
    return line


CASES = {
    "a rank is stopped": stopped(1, 60, 1, 1.0, "rank "),
    "rank 0 is stopped": stopped(0, 300, 10, 1.0, "rank 0"),
    "a rank is stopped at its start": stopped_at(1, "start", 900, 30, "rank 1 of 3 has not started", "waiting"),
    "rank 0 is stopped at its start": stopped_at(0, "start", 900, 30, "rank 0 of 3 has not started"),
    "a rank is stopped when it has read its data": stopped_at(1, "loaded", 90, 3, "rank 1 on", "has been silent for"),
    "rank 0 is stopped when it has read its data": stopped_at(0, "loaded", 360, 12, "rank 0 on", "has been silent for"),
    "a rank is stopped when all is measured": stopped_at(2, "measured", 90, 3, "rank 2 on", "has been silent for"),
    "rank 0 is stopped when all is measured": stopped_at(0, "measured", 360, 12, "rank 0", "has been silent for"),
    "all ranks are stopped for a while": frozen,
    "a rank runs another version": other_code(
        ("landscape/__init__.py", "__version__ = ", "__version__ = '0.0.1'  # "), "the version of skipscape of rank 1"
    ),
    "a rank runs other code of the same version": other_code(
        ("landscape/evaluation/measure.py", "\n", "\n\n"), "the code of skipscape of rank 1"
    ),
    "a rank is given another checkpoint": other_checkpoint,
    "a rank finds another checkpoint under the same name": other_content,
    "a rank is given other arguments": other_arguments,
}
