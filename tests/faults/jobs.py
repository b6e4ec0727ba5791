"""What all faults share: small runs of every kind, started, watched, and compared with undisturbed ones."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from landscape.checkpoints import checkpoint as checkpoints
from landscape.engine.table import read

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
NOTED = Path(__file__).with_name("noted.py")
FORKED = str(ROOT / "tests/warm.py")
STARTED: list[Job] = []
FORKS: list[str] = []  # the folder of the process that ranks are forked of, if they are


class Kind(NamedTuple):
    """A kind of run.

    Attributes
    ----------
    script : its name, in scripts/
    nap : seconds after each row or epoch
    more : arguments, behind those that name files
    net : the checkpoint; empty where it takes none
    command : whether it is one, which answers signals, or a script of one's own
    """

    script: str
    nap: float
    more: tuple
    net: str = "net.pt"
    command: bool = True


SMALL_STREAM = ("--depth", 8, "--width", 4, "--seeds", 8, "--batches", 1, "--batch-size", 16, "--data", "digits")
KINDS = {
    "surface": Kind("surface", 0.08, ("--x", -1, 1, 15, "--y", -1, 1, 15, "--examples", 200)),
    "lesion": Kind("lesion", 0.12, ("--delete", 1, 3, "--examples", 100), "deep.pt"),
    "curvature": Kind("curvature", 0.6, ("--x", -1, 1, 5, "--y", -1, 1, 5, "--examples", 40, "--steps", 8)),
    "trajectory": Kind("trajectory", 0.9, ("--snapshots", "every", "--examples", 200)),
    "training": Kind(
        "train", 0.15, ("--depth", 8, "--width", 4, "--epochs", 60, "--examples", 200, "--save-every", 1), net=""
    ),
    "language lesion": Kind("lesion", 0.3, ("--delete", 1, 2, "--examples", 20), "text.pt"),
    "stream": Kind("stream", 0.5, ("plain", "resnet", *SMALL_STREAM), net=""),
    "call": Kind("../tests/faults/call", 0.08, (), command=False),
}


def prepared(folder: Path) -> None:
    """Put net.pt, other.pt, deep.pt, text.pt and every/, the path to the first, into a folder."""
    script = [sys.executable, str(ROOT / "scripts/train.py")]
    nets = {"net.pt": (8, 0, ["--snapshots", "every"]), "other.pt": (8, 1, []), "deep.pt": (20, 0, [])}
    for name, (depth, seed, more) in nets.items():
        epochs = 16 if more else 2
        call = [*script, name, "--depth", str(depth), "--width", "4", "--epochs", str(epochs), "--seed", str(seed)]
        call += ["--examples", "200", "--quiet", *more]
        subprocess.run(call, check=True, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    call = [*script, "text.pt", "--network", "transformer", "--data", "stdlib", "--depth", "4", "--width", "16"]
    call += ["--window", "32", "--epochs", "1", "--examples", "100", "--quiet"]
    subprocess.run(call, check=True, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)


def words(kind: Kind, out: Path, net: str | None = None) -> list[str]:
    """The arguments of a run."""
    return [*([net or kind.net] if kind.net else []), str(out), *map(str, kind.more)]


@dataclass
class Job:
    """A run under way.

    Attributes
    ----------
    folder : where it runs, with net.pt in it
    out : the file that it writes
    ranks : how many; 0 without mpiexec
    """

    folder: Path
    out: Path
    ranks: int
    process: subprocess.Popen
    said: Path
    notes: Path

    @classmethod
    def start(cls, kind: Kind, folder: Path, out: Path, ranks: int = 0, *, call=None, env=None, nap=None) -> Job:
        """Start a run; with a call, that instead of the usual one."""
        notes = Path(tempfile.mkdtemp(prefix="notes-", dir=folder))
        notes.chmod(0o777)
        said = notes / "said.log"
        if call is None:
            run = rank(kind, out, mpi=ranks > 0)
            call = ["mpiexec", "-n", str(ranks), *run] if ranks else run
        env = {**ENVIRONMENT, "NOTES": str(notes), "NAP": str(kind.nap if nap is None else nap), **(env or {})}
        with open(said, "w") as log:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process = subprocess.Popen(call, **pipes, cwd=folder, env=env, start_new_session=True)
        STARTED.append(cls(folder, out, ranks, process, said, notes))
        return STARTED[-1]

    @property
    def status(self) -> int | None:
        """How it has ended, as a shell has it; None if it has not."""
        code = self.process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, seconds: float) -> bool:
        """Whether all of its processes end in that time."""
        until, family = time.monotonic() + seconds, self.family()
        while time.monotonic() < until:
            if self.process.poll() is not None and not any(map(runs, family)):
                return True
            time.sleep(0.02)
        return False

    def finish(self, seconds: float = 300) -> None:
        """Let it end by itself, as it should."""
        if not self.wait(seconds) or self.status:
            self.kill(self.family())
            raise Failure(f"a run that nobody disturbed ended with status {self.status}: {self.complaint}")

    @property
    def complaint(self) -> str:
        """What it said, in one line."""
        return " / ".join(line for line in self.said.read_text(errors="replace").splitlines() if line.strip())

    def family(self) -> list[int]:
        """The process and all that it has started."""
        each = [self.process.pid]
        for pid in each:
            with contextlib.suppress(OSError):
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    each += map(int, (thread / "children").read_text().split())
        return each + [fork for pid in each if (fork := fork_of(pid))]

    def members(self) -> list[int]:
        """The processes that measure, rank 0 first."""
        pids = sorted(pid for pid in self.family() if name_of(pid).startswith("python"))
        return [fork_of(pid) or pid for pid in pids if pid not in map(fork_of, pids)]

    @staticmethod
    def kill(victims: list[int], number: int = signal.SIGKILL) -> None:
        for pid in victims:
            try_kill(pid, number)

    def noted(self) -> dict[str, float]:
        """What was measured, and when at first; "begun" if anything was to be."""
        first: dict[str, float] = {}
        for path in sorted(self.notes.iterdir()):
            if path.suffix == ".txt":
                for line in path.read_text().splitlines():
                    when, what = line.split()
                    first.setdefault(what, float(when))
        return first


@contextlib.contextmanager
def all_ended():
    """At the end of this context nothing that was started runs on."""
    try:
        yield
    finally:
        for job in STARTED:
            if job.process.poll() is None:
                job.kill(job.family())


class Failure(Exception):
    """Something that should not have happened."""


class Skipped(Exception):
    """What cannot be tried here."""


def rank(kind: Kind, out: Path, *, mpi: bool = True, net: str | None = None, plain: bool = False) -> list[str]:
    """The command of one rank; `plain`: not as a fork."""
    python = [sys.executable, "-S", FORKED, FORKS[0], "run"] if FORKS and not plain else [sys.executable]
    runner = ["-m", "mpi4py"] if mpi else []
    script = (ROOT / "scripts" / f"{kind.script}.py").resolve()
    return [*python, *runner, str(NOTED), str(script), *words(kind, out, net)]


def starts(job: Job, rows: int) -> None:
    """Wait until so many rows are measured."""
    while len(job.noted()) <= rows:
        if job.process.poll() is not None:
            raise Failure(f"the run ended with status {job.status}: {job.complaint}")
        time.sleep(0.02)


def refused(job: Job, status: int, *words: str) -> str:
    """The one line with which a job has ended, which must have these words in it."""
    if job.status != status or not all(word in job.complaint for word in words) or "Traceback" in job.complaint:
        raise Failure(f"it ended with status {job.status}: {job.complaint or 'nothing said'}")
    return next(line for line in job.complaint.split(" / ") if "error: " in line)


def whole(folder: Path, out: Path) -> None:
    """See that a file is what an undisturbed run makes."""
    name = "surface" if out.suffix == ".h5" else "training"
    undisturbed = folder / f"undisturbed{out.suffix}"
    if not undisturbed.exists():
        Job.start(KINDS[name], folder, undisturbed, 0, nap=0).finish()
    if finished(out) != finished(undisturbed):
        raise Failure(f"{out.name} differs from an undisturbed one")


def held(out: Path) -> dict:
    """What is finished in a file: the bits of each row that is done, or of each epoch. Fails if it cannot be read."""
    if not out.exists():
        return {}
    if out.suffix == ".pt":
        history = {name: values for name, values in checkpoints.load(out).history.items() if name != "seconds"}
        return {str(epoch): repr([v[n] for v in history.values()]) for n, epoch in enumerate(history["epoch"])}
    read(out)  # which sees whether anything in it is damaged
    with h5py.File(out, "r", locking=False) as file:
        names, done = [*file["crc"].attrs["of"], "crc"], file["done"][...]
        rows = [file[name][...].reshape(done.size, -1) for name in names]
        return {int(row): b"".join(values[row].tobytes() for values in rows) for row in np.flatnonzero(done)}


def finished(out: Path) -> dict:
    """All that is in a finished file."""
    if out.suffix == ".pt":
        return held(out) | {name: value.numpy().tobytes() for name, value in checkpoints.load(out).weights.items()}
    return {name: repr(v.tolist()) if v.dtype == object else v.tobytes() for name, v in contents(out).items()}


@contextlib.contextmanager
def forks(folder: Path):
    """Until the end of this context ranks are forks, see tests/warm.py."""
    folder.mkdir()
    serve = [sys.executable, FORKED, str(folder), "serve"]
    process = subprocess.Popen(serve, stdin=subprocess.PIPE, env=ENVIRONMENT, cwd=folder)
    while not (folder / "socket").exists():
        if process.poll() is not None:
            raise Failure("the process that is to be forked did not start")
        time.sleep(0.05)
    FORKS.append(str(folder))
    try:
        yield
    finally:
        FORKS.clear()
        process.kill()
        process.wait()


def try_kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def runs(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def fork_of(pid: int) -> int | None:
    """The rank that a process stands for, if ranks are forks."""
    with contextlib.suppress(OSError):
        return int(Path(FORKS[0], str(pid)).read_text()) if FORKS else None


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0])).name
    return ""


def done(path: Path) -> float:
    """The part of the rows that is on disk."""
    return float(contents(path)["done"].mean()) if path.exists() else 0.0


def contents(path: Path) -> dict[str, np.ndarray]:
    """All values of a results file."""
    with h5py.File(path, "r", locking=False) as file:
        return {name: file[name][...] for name in file}
