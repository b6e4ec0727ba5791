"""A folder of checkpoints and data, in which the same measurement is made again."""

from unittest import mock

import numpy as np
import torch
from hostile import ran

import landscape.engine.run
from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.networks import build

FEW = ("--examples", 20, "--device", "cpu")
MADE = {
    "surface": ("resnet.pt", "surface.h5", "--x", -1, 1, 3, "--y", -1, 1, 2, "--data", "some.npz", *FEW),
    "line": ("resnet.pt", "line.h5", "--to", "other.pt", "--x", 0, 1, 3, *FEW),
    "lesion": ("resnet.pt", "lesion.h5", "--delete", 1, 2, "--trials", 2, *FEW),
    "curvature": ("resnet.pt", "curvature.h5", "--x", -1, 1, 2, "--y", -1, 1, 2, "--precision", 0.5, *FEW),
    "trajectory": ("other.pt", "trajectory.h5", "--snapshots", "a.pt", "b.pt", *FEW),
}
SCRIPT = {"line": "surface"}


def pictures(seed):
    """Digits' shapes and classes, of noise."""
    rng = np.random.default_rng(seed)
    return {
        f"{split}_{what}": value
        for split in ("train", "test")
        for what, value in {
            "images": rng.integers(0, 256, (40, 8, 8), np.uint8),
            "labels": np.arange(40) % 10,
        }.items()
    }


def folder(tmp_path_factory):
    """Networks of equal shape, two files of data of one name, and what each command made of them."""
    path = tmp_path_factory.mktemp("provenance")
    for number, name in enumerate(("resnet", "other", "a", "b", "plain")):
        network = "plain" if name == "plain" else "resnet"
        small = {"depth": 8, "width": 2, "channels": 1}
        torch.manual_seed(number)
        made = build(network, **small)
        save(Checkpoint(network, small, made.state_dict(), data={"name": "digits"}), path / f"{name}.pt")
    (path / "again").mkdir()
    for number, name in enumerate(("some.npz", "else.npz", "again/some.npz")):
        np.savez(path / name, **pictures(number))
    with mock.patch.object(landscape.engine.run, "__version__", "0.0.1"):
        for name, typed in MADE.items():
            assert ran(SCRIPT.get(name, name), *typed, folder=path)[0] == 0
    return path
