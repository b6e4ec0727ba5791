"""Nobody is given values that are not those that were written: what is wrong with a file is said in one line."""

import subprocess
import sys

import numpy as np
import pytest
from patience import patient

from landscape.engine import results as module
from landscape.engine.table import Table, prepare
from landscape.planes.adaptive import INTERPOLATED

AXES = {"y": np.array([-1.0, 1]), "x": np.array([-0.5, 0, 0.5]), "block": np.array(["a.b", "é"])}
ROW = {"loss_se": 0.1, "accuracy": 0.5, "examples": 10}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0)


def surface(path, rows=(0, 2, 3, 5), **more) -> Table:
    """A surface of 2×3 points with all that a file can hold; some of them measured."""
    table, _ = prepare(
        path,
        np.zeros((6, 2)),
        kind="surface",
        dims=("y", "x"),
        coordinates=AXES,
        given={"deleted": (("y", "block"), np.eye(2, dtype=bool))},
        derived=INTERPOLATED,
        attributes={"network": "resnet-8", "loss": "cross_entropy", "seed": 3, "along": ["a", "b"], "cosine": 0.1},
        **more,
    )
    for row in rows:
        table.record(row, {**ROW, "loss": 1.5 + row})
    table.flush()
    return table


LOOKS = """
import sys
import numpy as np
from landscape.engine.results import read
print("ready", flush=True)
seen = set()
while len(seen) < 2 or max(seen) < 1600:
    results = read(sys.argv[1])
    done = results["done"]
    assert (results["loss"][done] == np.flatnonzero(done)).all()
    seen.add(int(done.sum()))
print(len(seen))
"""


def test_a_file_that_is_being_filled_is_never_called_damaged(tmp_path):
    axes = {"y": np.arange(40.0), "x": np.arange(40.0)}
    table, _ = prepare(tmp_path / "a.h5", np.zeros((1600, 2)), kind="surface", dims=("y", "x"), coordinates=axes)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LOOKS, table.path], **pipes, text=True) as reader:
        assert reader.stdout.readline() == "ready\n"
        for row in range(1600):
            table.record(row, {**ROW, "loss": row})
            if row % 32 == 31:
                table.flush()
        said, wrong = reader.communicate(timeout=patient(60))
    assert reader.returncode == 0, wrong
    assert int(said) > 3
