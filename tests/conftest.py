"""What several test files share: tiny trained networks, and running the real commands."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from warm import Warm

from landscape import checksum

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

# One thread each: a test machine is busy, and threads that wait for each other on busy cores are slow.
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
torch.set_num_threads(1)
WARM = Warm()


def command(script, *arguments, ranks=None, check=True, **options):
    """Run scripts/NAME.py, on so many ranks, and return the finished process.

    On one, in a fork of a process that has torch imported, see `warm`; in one of its own with an ``env``.
    """
    if not ranks and "env" not in options:
        environment, path = {**os.environ, **ENVIRONMENT}, str(ROOT / "scripts" / f"{script}.py")
        done = WARM.run(path, list(map(str, arguments)), str(options.get("cwd", os.getcwd())), environment, timeout=300)
        if check:
            assert done.returncode == 0, done.stderr
        return done
    call = [sys.executable, *(["-m", "mpi4py"] if ranks else []), str(ROOT / "scripts" / f"{script}.py")]
    if ranks:
        call = ["mpiexec", "-n", str(ranks), *call]
    environment = {**os.environ, **ENVIRONMENT, **options.pop("env", {})}
    done = subprocess.run(
        [*call, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment, **options
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with resnet.pt and plain.pt: depth 8, width 4, two epochs on digits."""
    folder = tmp_path_factory.mktemp("trained")
    for network in ("resnet", "plain"):
        small = ["--depth", 8, "--width", 4, "--epochs", 2, "--quiet"]
        command("train", folder / f"{network}.pt", "--network", network, *small)
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
