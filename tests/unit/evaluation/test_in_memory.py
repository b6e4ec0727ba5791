"""A network in memory gives the numbers of the command, and is left as it was."""

import copy

import numpy as np
import pytest
import torch
from measured import lesions, surface
from torch import nn

from landscape import data as datasets
from landscape.checkpoints import checkpoint
from landscape.errors import BadInput
from landscape.evaluation.borrowing import borrowed


@pytest.fixture(scope="module")
def resnet(trained):
    loaded = checkpoint.load(trained / "resnet.pt")
    network = loaded.restore()

    def batches(split, seed=0):
        how = {"mean": loaded.data["mean"], "std": loaded.data["std"], "examples": 60, "seed": seed}
        data = datasets.load("digits", split, **how)
        return datasets.batches(data, 20)

    return network, batches


def test_other_weights_or_data_are_not_taken_for_the_same_measurement(resnet, tmp_path):
    network, batches = resnet
    line = {"x": (0, 0, 1), "quiet": True}
    surface(network, batches("train"), tmp_path / "a.h5", **line)
    with pytest.raises(BadInput, match="data_digest"):
        surface(network, batches("test"), tmp_path / "a.h5", **line)
    other = copy.deepcopy(network)
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(BadInput, match="holds another measurement"):
        surface(other, batches("train"), tmp_path / "a.h5", **line)


def test_any_network_and_loss_will_do(tmp_path):
    """A linear model under the squared error: the surface is the quadratic that it must be."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    inputs, targets = torch.randn(50, 3, 2, 2), torch.randn(50, 1)

    def squared(outputs, targets):
        return (outputs - targets).square().sum(1)

    results = surface(network, [(inputs, targets)], tmp_path / "a.h5", x=(-1, 1, 5), loss=squared, quiet=True)
    assert results.attributes["loss"] == "squared" and "accuracy" not in results.variables
    third = np.diff(results["loss"], 3)
    np.testing.assert_allclose(third, 0, atol=1e-4 * np.ptp(results["loss"]))
    assert results["loss"][2] == pytest.approx(squared(network(inputs), targets).mean().item(), rel=1e-5)


def test_blocks_of_an_unknown_network_are_described(tmp_path):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x):
            for layer in self.layers:
                x = x + layer(x)
            return x

    network = Residual()
    batches = [(torch.randn(10, 4), torch.arange(10) % 4)]
    description = {f"layers.{i}": f"layers.{i}" for i in range(3)}
    results = lesions(network, batches, tmp_path / "a.h5", blocks=lambda _: description, delete=[1], quiet=True)
    with torch.no_grad():
        network.layers[1].weight.zero_()
        network.layers[1].bias.zero_()
        by_hand = nn.functional.cross_entropy(network(batches[0][0]), batches[0][1]).item()
    assert results["loss"][2] == pytest.approx(by_hand, rel=1e-6)


def test_a_network_and_its_data_are_called_what_the_caller_calls_them(resnet, tmp_path):
    network, batches = resnet
    line = {"x": (-1, 1, 3), "name": "ours", "data": "photos", "quiet": True}
    report = surface(network, batches("train"), tmp_path / "a.h5", **line, dry_run=True)
    assert report.startswith(f"{tmp_path / 'a.h5'}: 3 points")
    assert not any(tmp_path.iterdir())
    results = surface(network, batches("train"), tmp_path / "a.h5", **line)
    assert (results.attributes["network"], results.attributes["data"]) == ("ours", "photos")
    results = lesions(network, batches("train"), tmp_path / "b.h5", delete=[1], name="ours", quiet=True)
    assert results.attributes["network"] == "ours" and results.attributes["data"] == "data in memory"


def test_what_cannot_be_is_said(resnet, tmp_path):
    network, batches = resnet
    with pytest.raises(TypeError, match="nonsense"):
        surface(network, batches("train"), tmp_path / "a.h5", nonsense=1)
    with pytest.raises(BadInput, match="no batches"):
        surface(network, [], tmp_path / "a.h5")
    with pytest.raises(BadInput, match="one that does not reduce"):
        surface(network, batches("train"), tmp_path / "a.h5", loss=nn.functional.cross_entropy)
    with pytest.raises(BadInput, match="z is the third axis"):
        surface(network, batches("train"), tmp_path / "a.h5", z=(-1, 1, 3))
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("shape", [(16, 1, 3, 3), (16, 8, 1, 1), (16, 8, 3, 3), (4, 3)])
def test_weights_are_laid_out_as_torch_does_it(shape):
    """The last bits of a convolution depend on the strides of its weights, also of those that are ambiguous."""
    ours, theirs = nn.Module(), nn.Module()
    ours.weight, theirs.weight = (nn.Parameter(torch.randn(shape)) for _ in range(2))
    with borrowed(ours):
        assert ours.weight.stride() == theirs.to(memory_format=torch.channels_last).weight.stride()
    assert ours.weight.is_contiguous()
