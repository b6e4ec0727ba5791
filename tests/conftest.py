"""What several test files share: tiny trained networks, and running the real commands."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from warm import Warm

from landscape.engine import checksum
from landscape.errors import COMMAND

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# One thread each: a test machine is busy, and threads that wait for each other on busy cores are slow.
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
torch.set_num_threads(1)
WARM = Warm({**os.environ, **ENVIRONMENT})

# The test files that take longest, longest first: who starts one of them last keeps the others waiting.
LONGEST = ("commands", "public_networks", "kinds", "html", "training", "quick", "many", "hostile_commands")
LONGEST += ("benchmark", "trajectory", "drawing", "hostile_data", "hdf5", "dry", "curvature_map", "own")
LONGEST += ("hostile_checkpoints", "walk", "formats", "spectrum", "trainings", "adaptive", "check", "study", "paths")


def pytest_configure(config):
    config.option.loadscopereorder = False  # files are handed out as they are collected, not by their number of tests


def pytest_collection_modifyitems(items):
    place = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(autouse=True)
def called():
    """Errors name arguments, as to who calls from Python, until a test parses a command line."""
    COMMAND.set(False)


def command(script, *arguments, ranks=None, check=True, fresh=False, env=None, cwd=None):
    """Run scripts/NAME.py, on so many ranks, and return the finished process.

    In forks of a process that has torch imported, see `warm`; with ``fresh``, in interpreters of their own.
    """
    call = [str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
    environment, cwd = {**os.environ, **ENVIRONMENT, **(env or {})}, str(cwd or os.getcwd())
    if not ranks and not fresh:
        done = WARM.run(call, cwd, environment, timeout=300)
    else:
        python = [sys.executable] if fresh else [sys.executable, "-S", *WARM.rank()]
        call = ["mpiexec", "-n", str(ranks), *python, "-m", "mpi4py", *call] if ranks else [*python, *call]
        done = subprocess.run(call, capture_output=True, text=True, timeout=300, env=environment, cwd=cwd)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with resnet.pt and plain.pt: depth 8, width 4, two epochs on digits."""
    base = tmp_path_factory.getbasetemp()
    once = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained-once"
    once.mkdir(exist_ok=True)
    with open(once / "lock", "w") as lock:  # one of the processes that share the tests trains for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        for network in ("resnet", "plain"):
            if not (once / f"{network}.pt").exists():
                small = ["--depth", 8, "--width", 4, "--epochs", 2, "--quiet"]
                command("train", once / f"{network}.draft", "--network", network, *small)
                os.rename(once / f"{network}.draft", once / f"{network}.pt")
    folder = tmp_path_factory.mktemp("trained")
    for network in ("resnet", "plain"):
        shutil.copy(once / f"{network}.pt", folder)
    return folder


def resealed(path):
    """Give a results file that a test has changed a seal that fits."""
    found = checksum.SEAL.search(path.read_bytes())
    places = [tuple(int(n, 16) for n in place.split(b"+")) for place in found[2].split()]
    with open(path, "r+b") as file:
        digest = checksum._digest(file, [(found.start(1), 64), *places])
        file.seek(found.start(1))
        file.write(digest.encode())


def contents(path):
    with h5py.File(path) as file:
        return {name: file[name][...] for name in file}


def same(one, other):
    """Assert that two files hold the same values, to the bit."""
    one, other = contents(one), contents(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
