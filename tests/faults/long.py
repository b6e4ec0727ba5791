"""An hour, a million points, four ranks, killed every few minutes: memory and the time of a flush stay as they are.

python tests/faults long                      an hour
python tests/faults long --quick              two minutes, and ten thousand points
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from jobs import Failure, Job, Kind
from million import evaluator

from landscape.engine.table import read
from landscape.planes.surface import surface

MILLION = Path(__file__).with_name("million.py")
STATED = 3.0  # seconds of measuring that may be lost
RANKS = 4


def killed(nets: Path, folder: Path, quick: bool) -> str:
    """Killed in turn in each way that there is, until it is done."""
    side, nap, minutes = (100, 0.012, 0.25) if quick else (1000, 0.0125, 4.0)
    draw, out, lives, held = random.Random(0), folder / "a.h5", [], None
    ways = ("one rank", "all at once", "SIGTERM", "SIGINT")
    begun = time.monotonic()
    while True:
        call = ["mpiexec", "-n", str(RANKS), sys.executable, "-m", "mpi4py", str(MILLION), str(out), str(side)]
        job = Job.start(Kind("million", nap, (), command=False), folder, out, RANKS, call=call)
        died = None
        if not job.wait(60 * minutes * draw.uniform(0.5, 1.5)):
            way, died = ways[len(lives) % 4], time.time()
            members = job.members()
            if way == "one rank":
                job.kill([draw.choice(members)])
            elif way == "all at once":
                job.kill(job.family())
            else:
                job.kill([job.process.pid, *members], signal.Signals[way])
            if not job.wait(60):
                raise Failure(f"it did not end after {way}")
        elif job.status:
            raise Failure(f"it ended with status {job.status}: {job.complaint}")
        before, held = held, state(out)
        if before is not None and not np.array_equal(held[1][before[0]], before[1][before[0]]):
            raise Failure("what was in the file has changed")
        lives.append(noted(job, 0 if before is None else int(before[0].sum()), int(held[0].sum()), died))
        print(f"  after {(time.monotonic() - begun) / 60:.1f} minutes: {lives[-1]}", flush=True)
        if died is None:
            break
    if not held[0].all():
        raise Failure("it ended, and not all is done")
    took = (time.monotonic() - begun) / 60
    torch.set_num_threads(1)
    whole = surface(evaluator(0.0), x=(-1, 1, side), y=(-1, 1, side), quiet=True)["loss"]
    if not np.array_equal(whole.ravel(), held[1], equal_nan=True):
        raise Failure("the numbers are not those of an undisturbed call")
    flushes = [life["flush"] for life in lives if life["flush"]]
    grown = [life["grown"] for life in lives]
    return (
        f"{side * side:,} points in {took:.0f} minutes, killed {len(lives) - 1} times; "
        f"no point is lost that was measured {STATED:g} s before; a flush takes {1e3 * flushes[0]:.0f} ms "
        f"in the first life, {1e3 * flushes[-1]:.0f} ms in the last; memory of a rank grew within a life by at most "
        f"{max(grown):.1f} %; an undisturbed call gives the same bits"
    )


def state(out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Which points are done, and the losses; fails if anything in the file is damaged."""
    read(out)
    with h5py.File(out, "r", locking=False) as file:
        return file["done"][...].ravel(), file["loss"][...].ravel()


def noted(job: Job, before: int, after: int, died: float | None) -> dict:
    """What became of one life: points lost that had been measured longer ago than is stated, flushes, memory."""
    due, grown, flushes = before, 0.0, []
    for path in job.notes.glob("*.txt"):
        lines = [line.split() for line in path.read_text().splitlines() if line.count(" ") == 2]
        counts = [
            int(n) for when, what, n in lines if what == "points" and died is not None and float(when) < died - STATED
        ]
        due += max(counts, default=0) - 2  # calls before the first point
        memory = [int(n) for _, what, n in lines if what == "memory"]
        if len(memory) > 100:
            grown = max(grown, 100 * (np.median(memory[-20:]) / np.median(memory[40:60]) - 1))
        flushes += [float(n) for _, what, n in lines if what == "flush"]
    lost = max(0, due - after) if died is not None else 0
    if lost:
        raise Failure(f"{lost} points are lost that were measured more than {STATED:g} s before")
    return {"done": after, "lost": lost, "flush": float(np.median(flushes)) if flushes else 0.0, "grown": float(grown)}


CASES = {"an hour of a million points": killed}
