#!/usr/bin/env python3
"""Kill measuring runs at random moments, resume them, and compare the files with an undisturbed one.

    python tests/faults/kill.py --kills 50 --seed 0

Each run is a surface on one to three ranks. Either every process of it dies at once, as when a
node is lost, or one rank does. Prints a line a kill and a summary; status 1 if any file differs.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--tolerance", "0.03", "--adaptive", "0.03", "--dtype", "bfloat16"]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kills", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true", help="surfaces of fewer points and examples, in bfloat16")
    arguments = p.parse_args()
    more = QUICK if arguments.quick else ["--examples", "600"]
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        script = [sys.executable, ROOT / "scripts/train.py", folder / "net.pt", "--depth", "20", "--epochs", "1"]
        subprocess.run([*script, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        begun = time.monotonic()
        finish(start(folder, "whole.h5", 2, more))
        duration = time.monotonic() - begun
        whole = contents(folder / "whole.h5")
        print(f"an undisturbed run on 2 ranks takes {duration:.1f} s")
        same, slowest, resumed = 0, 0.0, 0
        for kill in range(arguments.kills):
            path = folder / f"{kill}.h5"
            ranks, alone = draw.randint(1, 3), draw.random() < 0.5
            # Some die while they start, most when some part of the rows is on disk, and then at any time
            # between two flushes.
            part, later = draw.uniform(-0.15, 0.9), draw.uniform(0, 2)
            process = start(folder, path.name, ranks, more)
            while part > 0 and process.poll() is None and done(path) < part:
                time.sleep(0.02)
            time.sleep(later)
            died = time.monotonic()
            victims = processes(path)
            for pid in [draw.choice(victims)] if alone and victims else victims:
                try_kill(pid)
            process.wait(timeout=60)
            while processes(path):
                time.sleep(0.01)
            slowest = max(slowest, time.monotonic() - died)
            before = done(path)
            resumed += 0 < before < 1
            finish(start(folder, path.name, draw.randint(1, 3), more))
            now = contents(path)
            equal = now.keys() == whole.keys() and all(np.array_equal(now[n], whole[n], equal_nan=True) for n in whole)
            same += equal
            how = "one process" if alone else "all processes"
            print(
                f"{kill + 1:3} {ranks} ranks, {how} killed at {100 * before:3.0f} % done: "
                f"{'identical' if equal else 'DIFFERENT'}",
                flush=True,
            )
            path.unlink()
    print(
        f"{same} of {arguments.kills} files identical to the undisturbed one; {resumed} were killed part way; "
        f"after a kill the last process ended within {slowest:.1f} s"
    )
    sys.exit(same != arguments.kills)


def start(folder: Path, name: str, ranks: int, more: list[str]) -> subprocess.Popen:
    script = [sys.executable, "-m", "mpi4py", str(ROOT / "scripts/surface.py"), str(folder / "net.pt")]
    grid = ["--x", "-1", "1", "17", "--y", "-1", "1", "17", "--quiet", *more]
    launch = ["mpiexec", "-n", str(ranks), *script, str(folder / name), *grid]
    with open(folder / "complaints", "w") as complaints:
        return subprocess.Popen(launch, stdout=subprocess.DEVNULL, stderr=complaints, env=ENVIRONMENT, cwd=folder)


def finish(process: subprocess.Popen) -> None:
    if status := process.wait(timeout=300):
        complaints = (Path(process.args[8]).parent / "complaints").read_text()
        raise SystemExit(f"a run that nobody killed ended with status {status}:\n{complaints}")


def processes(path: Path) -> list[int]:
    """The launcher and the ranks that write this file."""
    listed = subprocess.run(["pgrep", "-f", f"surface.py.* {path} "], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in listed]


def try_kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def done(path: Path) -> float:
    """The part of the rows that is on disk."""
    return float(contents(path)["done"].mean()) if path.exists() else 0.0


def contents(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        return {name: file[name][...] for name in file}


if __name__ == "__main__":
    main()
