"""Checkpoints as trainers write them: the right weights are found, or one line says which there are."""

import h5py
import pytest
import torch
from processes import command
from wrapped import AVERAGE, FACTORY, SEVERAL, WEIGHTS, elsewhere, folder, under

from landscape.checkpoints.checkpoint import sha256_of

elsewhere = pytest.fixture(autouse=True)(elsewhere)


# Several sets of weights


# By command


def surface(file, out, *more, check=True):
    data = ["--network", FACTORY, "--data", "trained_elsewhere:data", "--split", "test", "--x", 0, 0, 1]
    return command("surface", file, out, *data, *more, check=check)


def test_a_command_takes_the_entry_that_is_named_and_records_it():
    torch.save(SEVERAL["timm"][0], "a.pt")
    refused = surface("a.pt", "a.h5", check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "state_dict, state_dict_ema; choose one with --entry NAME" in refused.stderr
    done = surface("a.pt", "a.h5", "--entry", "state_dict_ema")
    assert "the averaged ones in state_dict_ema" in done.stdout
    again = surface("a.pt", "a.h5", "--entry", "state_dict", check=False)
    assert again.returncode == 2 and "state_dict" in again.stderr
    torch.save(AVERAGE, "b.pt")
    surface("b.pt", "b.h5")
    with h5py.File("a.h5") as one, h5py.File("b.h5") as other:
        assert one["loss"][0] == other["loss"][0]
        assert one.attrs["entry"] == "state_dict_ema" and "entry" not in other.attrs


def test_a_command_says_what_it_leaves_out():
    torch.save({"state_dict": under("model.") | {"criterion.weight": torch.ones(10)}}, "a.pt")
    assert "left out a tensor that is not the network's: criterion.weight" in surface("a.pt", "a.h5").stdout


def test_a_command_takes_a_folder():
    path = folder(**{"model.safetensors": WEIGHTS})
    surface(path, "a.h5")
    torch.save(WEIGHTS, "b.pt")
    surface("b.pt", "b.h5")
    with h5py.File("a.h5") as one, h5py.File("b.h5") as other:
        assert one["loss"][0] == other["loss"][0]
        assert one.attrs["checkpoint"] == sha256_of(path)
