"""A claim is killed in its trainings and in its measurements, and ends with the verdicts of an undisturbed one."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from jobs import BIN, ROOT, Failure, Job, Kind, contents

CLAIM = "blocks-can-run-twice"
OPTIONS = ("--seeds", "2", "--epochs", "1")
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def killed(nets: Path, folder: Path, quick: bool) -> str:
    """Some seconds each time, longer and longer, until it is done; then once more, undisturbed, beside it."""
    draw, at, line = random.Random(0), 2.0, []
    while not (job := started(folder / "killed", 2)).wait(at * draw.uniform(0.8, 1.2)):
        number = KILLS[len(line) % len(KILLS)]
        reached = len([*(folder / "killed").rglob("*.pt")]), len([*(folder / "killed").rglob("*.h5")])
        job.kill(job.family() if number == signal.SIGKILL else [job.process.pid, *job.members()], number)
        if not job.wait(30):
            job.kill(job.family())
            raise Failure(f"it did not end after {number.name}")
        begun = reached != (0, 0) or "trainings" in job.complaint  # before, it is still starting up
        if number != signal.SIGKILL and begun and "Traceback" in job.complaint:
            raise Failure(f"after {number.name} it said: {job.complaint}")
        line.append(f"{number.name} at {reached[0]} checkpoints and {reached[1]} files")
        at *= 1.5
        if len(line) > 20:
            raise Failure("it gets no further")
    if job.status:
        raise Failure(f"it ended with status {job.status}: {job.complaint}")
    whole = started(folder / "whole", 0)
    whole.finish(600)
    first, second = (contents(folder / name / f"{CLAIM}.h5") for name in ("killed", "whole"))
    if other := [name for name in first if repr(first[name].tolist()) != repr(second[name].tolist()) and name != "crc"]:
        raise Failure(f"{', '.join(other)} differ from an undisturbed one")
    shutil.rmtree(folder / "killed")
    return "; ".join(line)


def started(out: Path, ranks: int) -> Job:
    call = [str(BIN / "python"), str(ROOT / "scripts/claim.py"), CLAIM, "--out", str(out), *OPTIONS]
    call = ["mpiexec", "-n", str(ranks), call[0], "-m", "mpi4py", *call[1:]] if ranks else call
    out.parent.mkdir(exist_ok=True)
    time.sleep(0.1)
    return Job.start(Kind("claim", 0, ()), out.parent, out, ranks, call=call)


CASES = {"a claim is killed until it is done": killed}
