"""Whatever is typed, a command does it or refuses it: in one line, with status 2, and with no file changed."""

import os
from pathlib import Path

import pytest
from hostile import listed
from processes import command as started

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.networks import build

HUGE = "9" * 5000
FORK = {"env": {"COLUMNS": "80"}}  # with an environment of its own it is a process, see `processes`


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a network that is hardly trained, and pipes with the names of files."""
    path = tmp_path_factory.mktemp("folder")
    small = {"depth": 8, "width": 2, "channels": 1}
    made = build("resnet", **small)
    save(Checkpoint("resnet", small, made.state_dict(), data={"name": "digits"}), path / "resnet.pt")
    for name in ("pipe.pt", "pipe.h5"):
        os.mkfifo(path / name)
    return path


# In processes of their own


def test_a_command_on_its_own_refuses_too(folder):
    before = listed(folder)
    for typed, how in (
        (("surface", "pipe.pt", "out.h5"), {"fresh": True}),
        (("surface", "resnet.pt", "out.h5", "--seed", HUGE), FORK),
        (("lesion", "a\n\x1b[31mb.pt", "out.h5"), FORK),
        (("train", "out.pt", "--data", "x" * 300), FORK),
        (("compare", "pipe.h5"), FORK),
    ):
        done = started(*typed, check=False, cwd=folder, **how)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr[:-1].isprintable(), done.stderr
        assert not done.stdout
    assert listed(folder) == before
    assert Path(folder / "pipe.pt").is_fifo()
