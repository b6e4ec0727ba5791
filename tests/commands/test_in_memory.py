"""A network in memory gives the numbers of the command, and is left as it was."""

import copy

import numpy as np
import pytest
import torch
from measured import lesions, surface
from processes import command

from landscape import data as datasets
from landscape.checkpoints import checkpoint
from landscape.engine.table import read


@pytest.fixture(scope="module")
def resnet(trained):
    loaded = checkpoint.load(trained / "resnet.pt")
    network = loaded.restore()

    def batches(split, seed=0):
        how = {"mean": loaded.data["mean"], "std": loaded.data["std"], "examples": 60, "seed": seed}
        data = datasets.load("digits", split, **how)
        return datasets.batches(data, 20)

    return network, batches


def test_a_surface_is_the_commands_to_the_bit_and_the_network_untouched(trained, resnet, tmp_path):
    network, batches = resnet
    network.train()
    before = copy.deepcopy(network.state_dict())
    results = surface(
        network, batches("train", seed=3), tmp_path / "a.h5", x=(-1, 1, 3), y=(-0.5, 1, 4), seed=3, quiet=True
    )
    assert network.training and all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    typed = ("--x", -1, 1, 3, "--y", -0.5, 1, 4, "--seed", 3, "--examples", 60, "--batch-size", 20, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "b.h5", *typed)
    for name in ("loss", "loss_se", "accuracy", "examples"):
        np.testing.assert_array_equal(results[name], read(tmp_path / "b.h5")[name])


def test_lesions_are_the_commands_to_the_bit(trained, resnet, tmp_path, caplog):
    network, batches = resnet
    results = lesions(network, batches("test"), tmp_path / "a.h5", delete=[1, 2], quiet=True)
    typed = ("--delete", 1, 2, "--examples", 60, "--batch-size", 20, "--quiet")
    command("lesion", trained / "resnet.pt", tmp_path / "b.h5", *typed)
    for name in ("loss", "accuracy", "rise", "rise_se", "interaction", "error_interaction_se"):
        np.testing.assert_array_equal(results[name], read(tmp_path / "b.h5")[name])
    with caplog.at_level("INFO", "skipscape"):
        lesions(network, batches("test"), tmp_path / "a.h5", delete=[1, 2])
    assert "complete already" in caplog.text
