"""A results file is plan and result, survives what happens to it, and refuses what it is not."""

import subprocess
import sys

import numpy as np

from landscape.engine.table import prepare, read

ROW = {"loss": 1.5, "loss_se": 0.1, "accuracy": 0.5, "examples": 10}


def surface(path, ny=2, nx=3, **attributes):
    y, x = np.linspace(-1, 1, ny), np.linspace(-1, 1, nx)
    return prepare(
        path,
        np.zeros((ny * nx, 2)),
        kind="surface",
        dims=("y", "x"),
        coordinates={"y": y, "x": x},
        attributes={"seed": 0, "command": "c", **attributes},
    )


def test_a_reader_may_have_the_file_open_while_it_is_written(tmp_path):
    t, _ = surface(tmp_path / "a.h5")
    hold = "import h5py, sys; file = h5py.File(sys.argv[1], 'r'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "a.h5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout.readline() == b"open\n"
        t.record(0, ROW)
        t.flush()
        reader.communicate(b"\n")
    assert reader.returncode == 0
    assert read(tmp_path / "a.h5")["done"][0, 0]
