"""Tests here start no process and use no MPI, and that is checked."""

import multiprocessing.util
import sys

import matplotlib.font_manager  # noqa: F401  the first import on a machine asks fc-list for its fonts
import pytest

PROCESSES = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
GUARDED = []


def refuse(event, *_):
    raise AssertionError(f"{event} in a unit test; a test that starts a process belongs in tests/commands")


def guard(event, _):
    if GUARDED and event in PROCESSES:
        refuse(event)


sys.addaudithook(guard)


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No process is started, and there is no MPI."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setattr(multiprocessing.util, "spawnv_passfds", refuse)  # which tells no hook
    GUARDED.append(True)
    yield
    GUARDED.clear()
