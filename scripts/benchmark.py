#!/usr/bin/env python3
"""Measure the engine: ratios of things timed in one run on this machine.

    python scripts/benchmark.py

Prints, for ranks of one core each: the speed of two ranks against one, the time with one rank five
times slower than the other against the ideal, and what the engine costs for each row of a function
that does nothing. Each is timed several times in turn; medians and ranges are shown.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from landscape.command import Parser, run, say
from landscape.directions import filter_normalize, random_direction, weights_of
from landscape.measure import measure
from landscape.networks import build
from landscape.plane import Plane, axis, grid, shift
from landscape.sweep import sweep
from landscape.table import prepare

POINTS = 15  # a side


def parser() -> Parser:
    p = Parser(prog="benchmark.py", description=__doc__)
    p.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    p.add_argument("--job", choices=["surface", "slow", "nothing"], help="used by the benchmark itself: time one job")
    return p


def main(arguments, comm) -> None:
    if arguments.job:
        job(arguments.job, comm)
        return
    seconds = {name: [] for name in ("one", "two", "slow", "nothing")}
    for _ in range(arguments.rounds):  # in turn, since the machine's speed drifts
        seconds["one"].append(timed("surface", 1))
        seconds["two"].append(timed("surface", 2))
        seconds["slow"].append(timed("slow", 2))
        seconds["nothing"].append(timed("nothing", 2))
    pairs = list(zip(seconds["one"], seconds["two"], seconds["slow"], strict=True))
    say(
        comm,
        f"{POINTS}² points of resnet-20, ranks of one core; {arguments.rounds} rounds, median (range)",
        f"two ranks against one, speed:               {spread([one / two for one, two, _ in pairs])}",
        # Speeds 1 and 1/5 add up to 1.2 of one rank's.
        f"one of two ranks 5× slower, time / ideal:   {spread([slow / (one / 1.2) for one, _, slow in pairs])}",
        f"a row of nothing on two ranks, ms:          {spread([1000 * s / 10_000 for s in seconds['nothing']])}",
    )


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} … {max(values):.3f})"


def timed(name: str, ranks: int) -> float:
    """Seconds of a sweep, without the start of its processes."""
    script = [sys.executable, "-m", "mpi4py", __file__, "--job", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["mpiexec", "-n", str(ranks), *script], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def job(name: str, comm) -> None:
    with tempfile.TemporaryDirectory() as folder:
        points = np.zeros((10_000, 1)) if name == "nothing" else grid(axis(-1, 1, POINTS), axis(-1, 1, POINTS))
        table = None
        if comm.rank == 0:
            table, _ = prepare(
                Path(folder) / "a.h5",
                points,
                kind="benchmark",
                dims=("row",),
                coordinates={"row": np.arange(len(points))},
            )
        function = nothing if name == "nothing" else losses(slow=name == "slow" and comm.rank == 1)
        comm.allgather(None)  # all ranks are ready
        begun = time.perf_counter()
        sweep(function, table, comm, quiet=True)
        comm.allgather(None)
        say(comm, str(time.perf_counter() - begun))


def nothing(points):
    for _ in points:
        yield {"loss": 0.0, "loss_se": 0.0, "accuracy": 0.0, "examples": 0}


def losses(slow: bool):
    """The points of a surface; on a slow rank each takes five times as long."""
    torch.manual_seed(0)
    network = build("resnet", depth=20, channels=1).to(memory_format=torch.channels_last)
    origin = weights_of(network)
    plane = Plane(origin, tuple(filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)))
    batches = [(torch.randn(256, 1, 8, 8), torch.randint(10, (256,))) for _ in range(2)]

    def function(points):
        for point in points:
            begun = time.perf_counter()
            with shift(network, plane, point):
                measured = measure(network, batches)
            if slow:
                time.sleep(4 * (time.perf_counter() - begun))
            yield measured

    return function


if __name__ == "__main__":
    run(main, parser())
