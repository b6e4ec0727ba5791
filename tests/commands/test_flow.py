"""Gradients at the boundaries are those of other people's arithmetic, and the network comes back unchanged."""

import pytest
import torch
from files import same
from processes import command
from torch import nn

from ensemble.drawing.flow import flows
from ensemble.flow.gradient_flow import gradient_flow
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.networks import build


def a(name, **arguments):
    """A network in float64 whose BatchNorms and gates are not at their initial values."""
    torch.manual_seed(0)
    network = build(name, channels=1, **arguments).double()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_()
                module.running_var.uniform_(0.5, 2)
        for name, parameter in network.named_parameters():
            if name.endswith("scale"):  # of branches that start at 0
                parameter.fill_(0.5)
    return network


def examples(n=6):
    torch.manual_seed(1)
    return torch.randn(n, 1, 8, 8, dtype=torch.float64), torch.arange(n) % 10


# The table

SMALL = {"width": 4, "examples": 200, "batches": 2, "batch_size": 32, "quiet": True}
VARIANTS = ("plain", "resnet:order=pre")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("flow") / "a.h5"
    gradient_flow(VARIANTS, depth=[8, 14], seeds=1, epochs=1, **SMALL, out=path)
    return path


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_file_and_a_finished_one_is_left_alone(file, tmp_path):
    words = ("--width", 4, "--examples", 200, "--batches", 2, "--batch-size", 32)
    words = (*VARIANTS, "--depth", 8, 14, "--seeds", 1, "--epochs", 1, *words)
    command("flow", tmp_path / "a.h5", *words, ranks=2)
    same(file, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    assert "complete already" in command("flow", tmp_path / "a.h5", *words).stdout
    assert (tmp_path / "a.h5").read_bytes() == before


def test_a_figure_is_one_command(file, tmp_path):
    command("figure", tmp_path / "a.png", file, "--show", "similarity", "--titles", "without", "with")
    assert (tmp_path / "a.png").stat().st_size > 20_000
    with pytest.raises(BadInput, match="jacobians"):
        flows([read(file)], show="sigma_max")


def test_a_mistake_is_refused_in_one_line(tmp_path):
    done = command("flow", tmp_path / "a.h5", "plain", "--batches", 99, "--quiet", check=False)
    assert done.returncode == 2 and "fewer --batches" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.h5").exists()
    with pytest.raises(BadInput, match="nothing to measure"):
        gradient_flow()
