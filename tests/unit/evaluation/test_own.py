"""Networks, losses, data and weights that are not ours are measured by the same commands."""

import sys

import numpy as np
import pytest
import torch
from files import ROOT
from PIL import Image
from safetensors.torch import save_file

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load
from landscape.commands.cli import Parser, chosen
from landscape.commands.options import evaluator_options
from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import loss_by_name
from landscape.import_path import import_object
from landscape.networks import build
from landscape.weights import digest

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

class Odd(Net):
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


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The current folder, with a module of one's own in it."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "neighbour.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # else a command within this process would settle its threads
    yield tmp_path
    for name in ("mine", "neighbour"):
        sys.modules.pop(name, None)


@pytest.fixture
def npz(tmp_path):
    """Eight colour images for training and four for testing, as one file."""
    draws = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 8), ("test", 4)):
        arrays[f"{split}_images"] = draws.integers(0, 256, (n, 32, 32, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(n) % 4
    np.savez(tmp_path / "images.npz", **arrays)
    return tmp_path / "images.npz"


@pytest.fixture
def folder(tmp_path):
    """Ten classes of one image a split, of unequal sizes."""
    draws = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in range(10):
            place = tmp_path / "images" / split / f"class{label}"
            place.mkdir(parents=True)
            Image.fromarray(draws.integers(0, 256, (30 + label, 32, 3), np.uint8)).save(place / "a.png")
    return tmp_path / "images"


@pytest.mark.parametrize("wrap", ["state_dict", "model_state_dict", "model", "module.", "_orig_mod.", "safetensors"])
def test_weights_alone_come_in_many_wrappings(tmp_path, wrap):
    weights = build("torch.nn:Linear", in_features=3, out_features=2).state_dict()
    path = tmp_path / ("a.safetensors" if wrap == "safetensors" else "a.pt")
    if wrap == "safetensors":
        save_file(weights, path)
    elif wrap.endswith("."):
        torch.save({wrap + name: value for name, value in weights.items()}, path)
    else:
        torch.save({wrap: weights, "epoch": 3, "optimizer": {"lr": 0.1}}, path)
    checkpoint = load(path, "torch.nn:Linear")
    checkpoint.arguments = {"in_features": 3, "out_features": 2}
    assert digest(dict(checkpoint.restore("torch.nn:Linear").state_dict())) == digest(dict(weights))


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
        "odd network": (["--network", "mine:Odd", *digits], "the network gives a str; choose a tensor in it"),
        "odd choice": (["--network", "mine:Pair", *digits, "--outputs", "scores"], "there is no 'scores' in what the"),
        "few outputs": (["--network", "mine:Few", *digits], "Few has 5 outputs, digits 10 classes"),
        "other images": ([*own, "--data", folder / "images.npz"], "does not take inputs of shape (3, 32, 32)"),
    }


@pytest.mark.parametrize("case", list(wrong(ROOT)))
def test_what_is_missing_or_does_not_fit_is_said_in_one_line(mine, npz, case):
    torch.save(import_object("mine:Net")().state_dict(), "a.pt")
    arguments, said = wrong(mine)[case]
    assert said in refused("a.pt", "a.h5", *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("resnet18", {"num_clases": 10}, "unexpected keyword argument 'num_clases'"),
        ("vit_b_16", {"patch_size": 8}, "multiple values for keyword argument 'patch_size'"),
    ],
)
def test_an_argument_that_a_factory_passes_on_in_vain_is_said_in_one_line(name, arguments, said):
    with pytest.raises(BadInput, match=said):
        build(f"torchvision.models:{name}", **arguments)


def test_every_import_fails_in_the_same_words():
    for use in (build, loss_by_name, lambda name: datasets.load(name, "train")):
        with pytest.raises(BadInput) as caught:
            use("no_such_module:thing")
        assert str(caught.value) == (
            "cannot import no_such_module:thing: No module named 'no_such_module'; "
            "install it, go to its folder, or add that to PYTHONPATH"
        )


def test_the_current_folder_is_searched_last_and_only_while_importing(mine):
    (mine / "colorsys.py").write_text("raise SystemExit")
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    assert import_object("colorsys:rgb_to_hsv").__module__ == "colorsys"
    assert import_object("mine:Net")().__class__.__name__ == "Net"
    assert sys.path == before
    with pytest.raises(BadInput, match="cannot import nothing"):
        import_object("nothing:here")
    assert sys.path == before


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "a.safetensors", "torch.nn:Linear")
    assert "\n" not in str(caught.value)


def test_without_safetensors_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "a.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match="pip install safetensors"):
        load(tmp_path / "a.safetensors", "torch.nn:Linear")
