"""Training is what the recipes say, resumes to the bit, and stops when it diverges."""

import shutil

import pytest
import torch
from torch import nn

from landscape.data import load
from landscape.networks import build
from landscape.training.loop import train_epochs


@pytest.fixture(scope="module")
def digits():
    return load("digits", "train", examples=300), load("digits", "test", examples=100)


def small(**arguments):
    torch.manual_seed(0)
    return build("resnet", depth=8, width=4, channels=1, **arguments)


def run(digits, network=None, state=None, epochs=3, **options):
    network = network or small()
    records = list(train_epochs(network, *digits, epochs=epochs, seed=1, batch_size=64, state=state, **options))
    return network, records


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
def test_compiled_training_is_the_same_training(digits):
    def tiny():  # each kernel takes the compiler seconds
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
        return nn.Sequential(*layers)

    (_, eager), (_, compiled) = run(digits, tiny(), epochs=1), run(digits, tiny(), epochs=1, compiled=True)
    for name in ("train_loss", "test_loss"):
        assert compiled[0][0][name] == pytest.approx(eager[0][0][name], rel=1e-4)
