"""Runs of every kind are killed at random moments, and go on until they are done: as if nothing had been.

Each file is made by a run that is killed `TIMES` times, on other numbers of ranks each time. How: one rank dies
(SIGKILL); all of them and the launcher die at once, as when a node is lost; all ranks are asked to end as SLURM
asks them, SIGTERM and 30 seconds later SIGKILL; or all processes get SIGINT, as from Ctrl-C.

After each kill the file must be readable, hold all that it held before, only right values, and whatever had been
measured `STATED` seconds before. A signal that can be heard must leave nothing unwritten, a line that says so, and
the status 128 + its number; but for a library call in a script of one's own, whose signals are its author's.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobs import KINDS, Failure, Job, finished, held

TIMES = 2  # that a file is killed
STATED = 3.0  # seconds of measuring that a dying job may lose at most, as README.md says
GRACE = 30.0  # seconds between SLURM's two signals
WAYS = ("one rank", "all at once", "SIGTERM", "SIGINT")


@dataclass
class Toll:
    """What came of the kills of a kind in one way."""

    kills: int = 0
    unreadable: int = 0
    mismatches: int = 0
    late: int = 0  # kills that lost what had been measured longer before than is stated
    rows: int = 0  # lost, at most
    seconds: float = 0.0  # of measuring lost, at most
    slowest: float = 0.0  # seconds until the last process had ended
    wrong: list[str] = field(default_factory=list)  # what was not as it should be

    def add(self, other: Toll) -> None:
        for name in ("kills", "unreadable", "mismatches", "late", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("rows", "seconds", "slowest"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))


def kills(folder: Path, number: int, draw: random.Random, say) -> dict[tuple[str, str], Toll]:
    """So many kills, as even as can be over kinds and ways."""
    plan = [(kind, way) for kind in KINDS for way in WAYS if (kind, way) != ("training", "one rank")]
    left = {each: number // len(plan) + (place < number % len(plan)) for place, each in enumerate(plan)}
    tolls = {each: Toll() for each in plan if left[each]}
    for name in KINDS:
        if any(left[name, way] for way in WAYS if (name, way) in left):
            rows, whole = undisturbed(folder, name)
        while ways := [way for way in WAYS if left.get((name, way))]:
            draw.shuffle(ways)
            one_file(folder, name, rows, whole, [(way, tolls[name, way]) for way in ways][:TIMES], left, draw, say)
    return tolls


def undisturbed(folder: Path, name: str):
    out = path_of(folder, name, "whole")
    Job.start(KINDS[name], folder, out, 0, nap=0).finish()
    return held(out), finished(out)


def one_file(folder, name, rows, whole, ways, left, draw, say) -> None:
    """Kill one file's run in each of these ways, in turn, and let it end."""
    out = path_of(folder, name, "killed")
    for number, (way, toll) in enumerate(ways):
        before = held(out)
        job = Job.start(KINDS[name], folder, out, 0 if name == "training" else draw.choice([0, 1, 2, 2, 3]))
        wait_for_a_moment(job, draw, (len(rows) - len(before)) / (len(ways) - number))
        begun = "begun" in job.noted()
        died = time.time()
        strike(job, way, draw)
        took = time.time() - died
        if job.status == 0:
            break  # it was quicker
        left[name, way] -= 1
        toll.kills += 1
        toll.slowest = max(toll.slowest, took)
        try:
            now = held(out)
        except Exception as error:
            toll.unreadable += 1
            toll.wrong.append(f"{name}, {way}: unreadable: {error}")
            break
        lost = {what: when for what, when in job.noted().items() if when < died and what in missing(job, now)}
        age = max((died - when for when in lost.values()), default=0.0)
        toll.rows, toll.seconds = max(toll.rows, len(lost)), max(toll.seconds, age)
        wrong = []
        if not before.items() <= now.items() or not now.items() <= rows.items():
            toll.mismatches += 1
            wrong.append("what was in the file has changed")
        if age > stated(job):
            toll.late += 1
            wrong.append(f"lost what was measured {age:.1f} s before")
        if took > GRACE:
            wrong.append(f"it did not end in {GRACE:g} s")
        if way.startswith("SIG") and begun and KINDS[name].command:
            wrong += after_signal(job, signal.Signals[way])
        toll.wrong += [f"{name}, {way}: {each}" for each in wrong]
        part = f"{100 * len(now) / len(rows):3.0f} %"
        say(
            f"{name}, {job.ranks} ranks, {way}: {part} done, {len(lost)} lost, oldest {age:.2f} s"
            + "; ".join(["", *wrong])
        )
        shutil.rmtree(job.notes)
    job = Job.start(KINDS[name], folder, out, 0 if name == "training" else draw.choice([0, 2]), nap=0)
    toll = ways[-1][1]
    try:
        job.finish()
        if finished(out) != whole:
            toll.mismatches += 1
            toll.wrong.append(f"{name}: the finished file differs from an undisturbed one")
    except Failure as failure:
        toll.wrong.append(f"{name}: {failure}")
    for path in folder.glob(f"*{out.stem}*"):
        path.unlink()


def wait_for_a_moment(job: Job, draw: random.Random, most: float) -> None:
    """Let a run go on for a while: seldom until a moment of its start, else until some rows are measured."""
    until, enough = time.monotonic() + draw.uniform(0, 2), 0.0
    if draw.random() > 0.15:
        until, enough = float("inf"), draw.random() * most
    while time.monotonic() < until and not 1 + enough < len(job.noted()) and job.status is None:
        time.sleep(0.02)
    time.sleep(draw.uniform(0, 0.5))
    if job.status:
        raise Failure(f"a run ended with status {job.status} before it was killed: {job.complaint}")


def strike(job: Job, way: str, draw: random.Random) -> None:
    """Kill in one of the ways, and wait until nothing of the job is left."""
    family, members = job.family(), job.members()
    if way == "one rank":
        job.kill([draw.choice(members)] if members else family)
    elif way == "all at once":
        job.kill(family)
    else:
        number = signal.Signals[way]
        # Ctrl-C goes to whatever the terminal has in its foreground, SLURM's signal to the ranks alone.
        job.kill(members if way == "SIGTERM" else [job.process.pid, *members], number)
    if not job.wait(GRACE):
        job.kill(job.family())
        job.wait(10)
    if any_left := [pid for pid in family if Path(f"/proc/{pid}").exists() and pid != job.process.pid]:
        job.kill(any_left)


def after_signal(job: Job, number: signal.Signals) -> list[str]:
    """What is wrong with the end of a job that got a signal."""
    wrong = []
    if job.status != 128 + number:
        wrong.append(f"status {job.status} instead of {128 + number}")
    if f"stopped by {number.name}; the same command goes on" not in job.complaint:
        wrong.append(f"it said: {job.complaint or 'nothing'}")
    return wrong


def path_of(folder: Path, name: str, which: str) -> Path:
    return folder / f"{which}-{name}.{'pt' if name == 'training' else 'h5'}"


def missing(job: Job, now: dict) -> set[str]:
    """What of all that was to be measured is not in the file."""
    if job.out.suffix == ".pt":
        return job.noted().keys() - now.keys() - {"begun"}
    points = job.notes / "points.npy"
    rows = enumerate(np.load(points)) if points.exists() else ()
    return {point.tobytes().hex() for row, point in rows if row not in now}


def stated(job: Job) -> float:
    """Seconds of measuring that may be lost."""
    if job.out.suffix == ".h5":
        return STATED
    times = sorted(job.noted().values())
    return 1 + 2 * max(np.diff(times), default=0)  # --save-every 1, and an epoch, and saving it
