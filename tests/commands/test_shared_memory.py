"""Large arrays are once in a machine's memory, and every rank sees them."""

import subprocess
import sys

import numpy as np
import pytest
from patience import patient
from processes import BIN, command

from landscape.engine.table import read

PROGRAM = r"""
import os, sys
import numpy as np
from mpi4py import MPI
from landscape.errors import BadInput
from landscape.engine.ranks import collective_errors
from landscape.engine.shared_memory import load_once_per_node

comm = MPI.COMM_WORLD

def make():
    if "fail" in sys.argv:
        raise BadInput("nothing there")
    return os.getpid(), [np.arange(10.0).reshape(2, 5), np.arange(3)]

try:
    with collective_errors(comm):
        pid, (a, b) = load_once_per_node(comm, make, large=int(sys.argv[1]))
except BadInput as error:
    sys.stdout.write(f"said {error}\n")
    sys.exit()
assert (a == np.arange(10.0).reshape(2, 5)).all() and (b == np.arange(3)).all()
assert b.dtype == np.arange(3).dtype
comm.Barrier()
if comm.rank == 1:
    a[1, 4] = -1  # only to see whose memory it is
comm.Barrier()
sys.stdout.write(f"made by {pid} {'shared' if a[1, 4] == -1 else 'own'}\n")  # whole lines, not mixed up
"""


def ranks(tmp_path, *arguments):
    (tmp_path / "program.py").write_text(PROGRAM)
    call = [BIN / "mpiexec", "-n", "3", sys.executable, "-m", "mpi4py", tmp_path / "program.py", *arguments]
    return subprocess.run(
        [*map(str, call)], capture_output=True, text=True, timeout=patient(60), check=True
    ).stdout.splitlines()


@pytest.mark.mpi
def test_large_arrays_are_one_memory_for_all_ranks(tmp_path):
    said = ranks(tmp_path, "0")
    assert len(said) == 3 and len({*said}) == 1
    assert said[0].endswith("shared")


@pytest.mark.mpi
def test_small_ones_every_rank_makes_for_itself(tmp_path):
    said = ranks(tmp_path, "1000")
    assert len({*said}) == 3
    assert sorted(line.split()[-1] for line in said) == ["own", "own", "shared"]  # rank 1 has written to its own


@pytest.mark.mpi
def test_what_is_wrong_on_one_rank_all_ranks_say(tmp_path):
    assert ranks(tmp_path, "0", "fail") == ["said nothing there"] * 3


@pytest.mark.mpi
def test_a_surface_over_shared_data_is_that_of_one_process(trained, tmp_path, monkeypatch):
    """20 MB of images: 9,000 of 24×24 pixels, in an .npz file."""
    draws = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 9000), ("test", 20)):
        arrays[f"{split}_images"] = draws.integers(256, size=(n, 24, 24), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n) % 10
    np.savez(tmp_path / "a.npz", **arrays)
    how = ("--data", tmp_path / "a.npz", "--x", -1, 1, 3, "--quiet", "--tolerance", 0.01)
    for out, n in (("one", None), ("two", 2)):
        command("surface", trained / "resnet.pt", tmp_path / f"{out}.h5", *how, ranks=n)
    one, two = read(tmp_path / "one.h5"), read(tmp_path / "two.h5")
    for name in one.variables:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
