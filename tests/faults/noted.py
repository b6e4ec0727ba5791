#!/usr/bin/env python3
"""Run a script, note when each row or epoch of it is measured, and let none come too fast.

    NOTES=FOLDER NAP=SECONDS python tests/faults/noted.py scripts/surface.py net.pt out.h5 …

Each process writes into FOLDER, at once, what it has measured and when: what should be on the disk when it dies.
It naps after each, so that a run lasts long enough to be killed in, at no cost. What the engine calls a long
silence is divided by SHORT, if that is given. With STOP=RANK:MOMENT that rank stops itself at that moment: at its
`start`, when it has `loaded` everything, or when all is `measured`.
"""

import importlib
import os
import runpy
import signal
import sys
import time
from pathlib import Path

import numpy as np

from landscape.engine import heartbeat, run, sweep
from landscape.training import loop as training

folder, seconds, sys.argv = os.environ["NOTES"], os.environ["NAP"], sys.argv[1:]
notes = os.open(Path(folder, f"{os.getpid()}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(what) -> None:
    os.write(notes, f"{time.time():.6f} {what}\n".encode())
    time.sleep(float(seconds))


def stop(moment: str) -> None:
    if os.environ.get("STOP") == f"{os.environ.get('PMI_RANK')}:{moment}":
        os.kill(os.getpid(), signal.SIGSTOP)


def stopped_provenance(*arguments, provenance=run.provenance):
    stop("loaded")
    return provenance(*arguments)


def noted_sweep(function, table, comm=None, **options):
    if table is not None:
        np.save(Path(folder, "points.npy"), table.points)

    def noted(points):
        for point, measurement in zip(points, function(points), strict=True):
            note(np.asarray(point).tobytes().hex())
            yield measurement

    note("begun")
    sweep.sweep(noted, table, comm, **options)
    stop("measured")


def noted_train(*arguments, train=training.train_epochs, **options):
    note("begun")
    for record, state in train(*arguments, **options):
        note(record["epoch"])
        yield record, state


if "SHORT" in os.environ:
    long = {sweep: ("BEAT", "SILENCE", "STALL"), heartbeat: ("BEAT", "SILENCE", "STALL", "LATE", "ABSENT")}
    for module, names in long.items():
        for name in names:
            setattr(module, name, getattr(module, name) / float(os.environ["SHORT"]))
run.sweep, run.provenance = noted_sweep, stopped_provenance
if "STOP" in os.environ:
    importlib.import_module("mpi4py.MPI")  # as the installed command does first
    stop("start")
training.train_epochs = noted_train
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
