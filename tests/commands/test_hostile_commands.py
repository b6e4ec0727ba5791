"""Whatever is typed, a command does it or refuses it: in one line, with status 2, and with no file changed."""

import os
from pathlib import Path

import pytest
import torch
from hostile import listed, ran
from processes import command as started

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.networks import build

HUGE = "9" * 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with hardly trained networks, results, and what has the name of a file and is none."""
    path = tmp_path_factory.mktemp("folder")
    for network in ("resnet", "plain"):
        small = {"depth": 8, "width": 2, "channels": 1}
        torch.manual_seed(0)
        made = build(network, **small)
        save(Checkpoint(network, small, made.state_dict(), data={"name": "digits"}), path / f"{network}.pt")
    for name, typed in {
        "surface": ("resnet.pt", "surface.h5", "--x", -1, 1, 3, "--y", -1, 1, 3),
        "lesion": ("resnet.pt", "lesion.h5"),
    }.items():
        assert ran(name, *typed, "--examples", 20, "--quiet", folder=path) == (0, "")
    for name in ("pipe", "pipe.pt", "pipe.h5", "pipe.npz", "pipe.png"):
        os.mkfifo(path / name)
    (path / "loop").symlink_to("loop")
    (path / "folder.pt").mkdir()
    (path / "text").write_text("hello\n")
    return path


# In processes of their own


def test_a_command_on_its_own_refuses_too(folder):
    before = listed(folder)
    for typed in (
        ("surface", "pipe.pt", "out.h5"),
        ("surface", "resnet.pt", "out.h5", "--seed", HUGE),
        ("lesion", "a\n\x1b[31mb.pt", "out.h5"),
        ("train", "out.pt", "--data", "x" * 300),
        ("compare", "pipe.h5"),
    ):
        done = started(*typed, check=False, fresh=True, cwd=folder)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr[:-1].isprintable(), done.stderr
        assert not done.stdout
    assert listed(folder) == before
    assert Path(folder / "pipe.pt").is_fifo()
