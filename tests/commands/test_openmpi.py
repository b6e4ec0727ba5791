"""Open MPI, where it is installed (Debian: openmpi-bin), in the place of MPICH: the same files, the same ends."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from files import ROOT
from processes import ENVIRONMENT, command

from landscape.engine.table import read

LIBRARIES = sorted(glob.glob("/usr/lib*/*/libmpi.so.40") + glob.glob("/usr/lib*/openmpi/lib/libmpi.so.40"))
MPIRUN = shutil.which("mpirun.openmpi")
pytestmark = [
    pytest.mark.mpi,
    pytest.mark.skipif(not (LIBRARIES and MPIRUN), reason="Open MPI is not installed: apt install openmpi-bin"),
]


def start(*typed, ranks=3):
    """A command on ranks of Open MPI, which may be root's and more than there are cores."""
    call = [MPIRUN, "--allow-run-as-root", "--oversubscribe", "-n", ranks, sys.executable, "-m", "mpi4py"]
    call += [ROOT / "scripts" / f"{typed[0]}.py", *typed[1:]]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, **ENVIRONMENT, "MPI4PY_LIBMPI": LIBRARIES[0]}
    return subprocess.Popen([*map(str, call)], env=environment, **pipes)


def same(one, other):
    one, other = read(one), read(other)
    return [*one] == [*other] and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


@pytest.mark.parametrize(
    "typed",
    [
        ("surface", "--x", -1, 1, 5, "--y", -1, 1, 3, "--examples", 100, "--quiet"),
        ("lesion", "--delete", 1, 2, "--examples", 100, "--quiet"),
    ],
    ids=lambda typed: typed[0],
)
def test_three_ranks_of_open_mpi_give_the_file_of_one_process_and_of_mpich(trained, tmp_path, typed):
    name, *options = typed
    process = start(name, trained / "resnet.pt", tmp_path / "open.h5", "-v", *options[:-1])
    said, wrong = process.communicate()
    assert process.returncode == 0, wrong
    assert "rank 2 of 3" in said
    command(name, trained / "resnet.pt", tmp_path / "one.h5", *options)
    command(name, trained / "resnet.pt", tmp_path / "mpich.h5", *options, ranks=2)
    assert same(tmp_path / "open.h5", tmp_path / "one.h5") and same(tmp_path / "open.h5", tmp_path / "mpich.h5")


def test_what_is_refused_on_ranks_of_open_mpi_is_one_line_and_status_2(trained, tmp_path):
    process = start("surface", tmp_path / "gone.pt", tmp_path / "a.h5", "--x", -1, 1, 5)
    _, wrong = process.communicate()
    assert process.returncode == 2
    assert wrong.count("error:") == 1 and "there is no checkpoint" in wrong and "Traceback" not in wrong


def test_ranks_of_open_mpi_that_are_stopped_by_sigterm_go_on_to_the_same_file(trained, tmp_path):
    typed = ("surface", trained / "resnet.pt", tmp_path / "a.h5", "--x", -1, 1, 20, "--y", -1, 1, 20, "--quiet")
    process = start(*typed)
    while not ((tmp_path / "a.h5").exists() and read(tmp_path / "a.h5")["done"].any()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() != 0
    process.communicate()
    again = start(*typed)
    assert again.wait() == 0, again.stderr.read()
    again.communicate()
    command(*typed[:2], tmp_path / "one.h5", *typed[3:])
    assert same(tmp_path / "a.h5", tmp_path / "one.h5")
