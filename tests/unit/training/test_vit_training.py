"""A vision transformer is trained by a recipe of its own, and says so."""

import pytest
import torch
from torch.nn import functional as F

from ensemble.flow.gradient_flow import gradient_flow
from landscape import data as datasets
from landscape.errors import BadInput
from landscape.networks import build
from landscape.training import loop as training
from landscape.training.train import train
from landscape.training.trainings import trainings

TINY = {"data": "digits", "examples": 40, "epochs": 1, "batch_size": 40, "quiet": True}
FEW = TINY | {"depth": 1, "width": 8, "seeds": 1}


def test_a_step_is_that_of_plain_pytorch_with_the_recipe_of_patches():
    done = train(network="vit", depth=1, width=8, **TINY)
    assert (done.training["recipe"], done.training["optimizer"]) == ("patches", "adamw")
    assert done.arguments == {"depth": 1, "width": 8, "classes": 10, "channels": 1, "size": 8}
    torch.manual_seed(0)
    network = build("vit", **done.arguments)
    (data, _) = datasets.load_for_training("digits", examples=40, standardize=True)
    steps = torch.optim.AdamW(network.parameters(), 1e-3 * training.one_cycle(0), weight_decay=0.05)
    F.cross_entropy(network(data.images), data.labels).backward()
    steps.step()
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(done.weights[name], weight, rtol=1e-5, atol=1e-6)


def test_the_recipe_is_that_of_the_networks_unless_one_is_named():
    results = trainings(["vit", "vit:shortcut=None"], **FEW)
    assert results.attributes["recipe"] == "patches" and results.attributes["learning_rate"] == 1e-3
    assert trainings("vit", **FEW, recipe="fast").attributes["recipe"] == "fast"


def test_a_depth_that_was_not_typed_is_that_of_the_family(tmp_path):
    train(tmp_path / "vit.pt", network="vit", width=8, **TINY)
    flow = gradient_flow(checkpoints=[tmp_path / "vit.pt"], batches=1, batch_size=8, quiet=True)
    errors = trainings(checkpoints=[tmp_path / "vit.pt"], quiet=True)
    assert flow["depth"].tolist() == errors.coordinates["depth"].tolist() == [4]
    assert flow["boundaries"].tolist() == [4 * 2 + 1]


def test_networks_of_two_recipes_are_trained_by_one_that_is_named():
    both = ["plain", "vit"]
    with pytest.raises(BadInput, match="fast for plain, patches for vit; name one: recipe"):
        trainings(both, **FEW | {"depth": 8})
    results = trainings(both, **FEW | {"depth": 8, "recipe": "patches"})
    assert results.attributes["recipe"] == "patches"
    untrained = FEW | {"depth": 8, "epochs": 0, "batches": 1, "batch_size": 8}
    assert gradient_flow(both, **untrained)["gradient"].shape[0] == 2  # nothing is trained, so no recipe is needed
