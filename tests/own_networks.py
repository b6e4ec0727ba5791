"""A module, images and a folder of images as users have them, and what is wrong with arguments about them."""

import sys

import numpy as np
import pytest
from PIL import Image

from landscape.commands.cli import Parser, chosen
from landscape.commands.options import evaluator_options
from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator

MINE = """
import torch
from torch import nn
from torch.nn import functional as F
import neighbour

class Net(nn.Sequential):
    def __init__(self, hidden=8, act="relu"):
        acts = {"relu": nn.ReLU, "tanh": nn.Tanh}
        super().__init__(nn.Flatten(), nn.Linear(64, hidden), acts[act](), nn.Linear(hidden, 10))

    def forward(self, x):
        return super().forward(x) + torch.zeros(len(x), 10)  # on the processor, whatever x is on

def doubled(outputs, targets):
    return 2 * F.cross_entropy(outputs, targets, reduction="none")

def mean(outputs, targets):
    return F.cross_entropy(outputs, targets)

def pair(outputs, targets):
    return outputs, targets

class Pair(Net):
    def forward(self, x):
        return super().forward(x), x

class Unusual(Net):
    def forward(self, x):
        return "odd"

class Few(Net):
    def forward(self, x):
        return super().forward(x)[:, :5]

class Blocks(nn.Module):
    # ours inside of another network: its blocks can be left out, but it is not known to be a row of parts

    def __init__(self):
        super().__init__()
        from landscape.networks import build
        self.inner = build("resnet", depth=8, width=4, channels=1)

    def forward(self, x):
        return self.inner(x)

def noise(split):
    return torch.rand(40, 1, 8, 8).numpy(), torch.arange(40) % 10

NUMBER = 3
"""


def mine(tmp_path, monkeypatch):
    """The current folder, with a module of one's own in it."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "neighbour.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else a command within this process would settle its threads
    yield tmp_path
    for name in ("mine", "neighbour"):
        sys.modules.pop(name, None)


def npz(tmp_path):
    """Eight colour images for training and four for testing, as one file."""
    draws = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 8), ("test", 4)):
        arrays[f"{split}_images"] = draws.integers(0, 256, (n, 32, 32, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(n) % 4
    np.savez(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


def folder(tmp_path):
    """Ten classes of one image a split, of unequal sizes."""
    draws = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(10):
            place = tmp_path / "images" / split / f"class{label}"
            place.mkdir(parents=True)
            Image.fromarray(draws.integers(0, 256, (30 + label, 32, 3), np.uint8)).save(place / "a.png")
    return tmp_path / "images"


def refused(*arguments):
    """What a command answers to these, said in this process."""
    parser = Parser()
    evaluator_options(parser, "train")
    with pytest.raises(BadInput) as caught:
        given = chosen(parser.parse_args(list(map(str, arguments))), Evaluator.from_checkpoint)
        with Evaluator.from_checkpoint(**given, comm=SerialComm()).ready():
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def wrong(folder):
    """Bad input: the arguments after CHECKPOINT OUT, and words of the answer."""
    own = ["--network", "mine:Net"]
    digits = ["--data", "digits"]
    return {
        "no network": ([], "with --network package.module:factory, --argument NAME=VALUE … and --data"),
        "no data": (own, "add --data"),
        "no module": (["--network", "nine:Net", *digits], "cannot import nine:Net: No module named 'nine'"),
        "no attribute": (["--network", "mine:Nets", *digits], f"there is no Nets in {folder / 'mine.py'}"),
        "no callable": ([*own, "--data", "mine:NUMBER"], "mine:NUMBER is a int; it must be a callable"),
        "no name": ([*own, *digits, "--loss", ".mine:mean"], "form package.module:function"),
        "no such argument": ([*own, *digits, "--argument", "wide=3"], "no argument wide; it has hidden, act"),
        "no value": ([*own, *digits, "--argument", "hidden"], "takes NAME=VALUE, got 'hidden'"),
        "other weights": ([*own, *digits, "--argument", "hidden=9"], "the weights are not those of Net (size mismatch"),
        "mean loss": ([*own, *digits, "--loss", "mine:mean"], "gives a tensor of shape () for 2 examples"),
        "odd loss": ([*own, *digits, "--loss", "mine:pair"], "gives a tuple for 2 examples"),
        "odd network": (["--network", "mine:Unusual", *digits], "the network gives a str; choose a tensor in it"),
        "odd choice": (["--network", "mine:Pair", *digits, "--outputs", "scores"], "there is no 'scores' in what the"),
        "few outputs": (["--network", "mine:Few", *digits], "Few has 5 outputs, digits 10 classes"),
        "other images": ([*own, "--data", folder / "images.npz"], "does not take inputs of shape (3, 32, 32)"),
    }
