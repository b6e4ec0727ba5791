"""What all tests share: names of arguments in errors, and two tiny trained networks.

`unit` starts no process; `commands` runs whole commands. Helpers of both are the modules of this folder.
"""

import os
import shutil
from collections import Counter

import pytest
import torch
from filelock import FileLock

from landscape.engine.ranks import SerialComm
from landscape.errors import COMMAND, SCRIPT
from landscape.training.train import train

os.environ.setdefault("OMP_NUM_THREADS", "1")  # what chooses its threads itself
torch.set_num_threads(1)  # as in the processes of tests, see `processes`

SLOW = 10  # a test that is marked slow takes as long as some ten others


def pytest_configure(config):
    config.option.loadscopereorder = False  # files are handed out as they are collected, not by their number of tests


@pytest.hookimpl(trylast=True)  # after what `-m` leaves out
def pytest_collection_modifyitems(items):
    """Files with most to do come first: whoever starts one of them last keeps the others waiting."""
    work = Counter()
    for item in items:
        work[item.path] += SLOW if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -work[item.path])


@pytest.fixture(autouse=True)
def called():
    """Errors name arguments, as to who calls from Python, until a test parses a command line."""
    COMMAND.set(False)
    SCRIPT.set(False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with resnet.pt and plain.pt: depth 8, width 4, two epochs on digits."""
    base = tmp_path_factory.getbasetemp()
    once = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained-once"
    once.mkdir(exist_ok=True)
    with FileLock(once / "lock"):  # one of the processes that share the tests trains for all
        for network in ("resnet", "plain"):
            if not (once / f"{network}.pt").exists():
                draft = once / f"{network}.draft"
                train(draft, network=network, depth=8, width=4, epochs=2, quiet=True, comm=SerialComm())
                os.rename(draft, once / f"{network}.pt")
    folder = tmp_path_factory.mktemp("trained")
    for network in ("resnet", "plain"):
        shutil.copy(once / f"{network}.pt", folder)
    return folder
