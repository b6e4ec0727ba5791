"""A surface of SIDE × SIDE points of a small network, by a library call that tells how it fares: million.py OUT SIDE

In the folder NOTES each process writes, now and then, when it had measured how many points and how much memory it
held; rank 0 also how long each flush took. Each point takes NAP seconds longer than it needs.
"""

import os
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import landscape.engine.table as tables
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface

OFTEN = 0.2  # seconds between two notes


def evaluator(nap: float, note=lambda: None) -> Evaluator:
    """A network of two layers on sixteen points, whose loss takes its time."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    data = [(torch.randn(16, 8, generator=generator), torch.randint(0, 3, (16,), generator=generator))]

    def loss(outputs, targets):
        note()
        time.sleep(nap)
        return functional.cross_entropy(outputs, targets, reduction="none")

    return Evaluator(network, data, loss=loss)


def main(out: str, side: int) -> None:
    notes = open(Path(os.environ["NOTES"], f"{os.getpid()}.txt"), "a", buffering=1)  # noqa: SIM115 - until the end
    count, last = 0, 0.0

    def note():
        nonlocal count, last
        count += 1
        if time.time() - last > OFTEN:
            last = time.time()
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            notes.write(f"{last:.3f} points {count}\n{last:.3f} memory {memory}\n")

    def timed(self, flush=tables.Table.flush):
        begun = time.monotonic()
        flush(self)
        notes.write(f"{time.time():.3f} flush {time.monotonic() - begun:.6f}\n")

    tables.Table.flush = timed
    torch.set_num_threads(1)
    surface(evaluator(float(os.environ["NAP"]), note), x=(-1, 1, side), y=(-1, 1, side), out=out, quiet=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
