"""What says that unit tests start no process does so."""

import multiprocessing
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "-c", ""]),
        lambda: os.system("true"),
        os.fork,
        lambda: multiprocessing.get_context("fork").Process(target=print).start(),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    ],
    ids=["run", "system", "fork", "forked", "spawned"],
)
def test_a_process_is_refused(start):
    with pytest.raises(AssertionError, match="tests/commands"):
        start()


def test_there_is_no_mpi():
    with pytest.raises(ImportError):
        from mpi4py import MPI  # noqa: F401
