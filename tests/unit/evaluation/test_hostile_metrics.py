"""A loss or a metric of the user's own gives a number for each example, or is refused by its name."""

import sys

import numpy as np
import pytest
import torch
from hostile import complaint, ran, refused
from torch import nn
from torch.nn import functional as F

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build

pytestmark = pytest.mark.filterwarnings("ignore")
X, Y = torch.linspace(-1, 1, 24 * 8).view(24, 8).sin(), torch.arange(24) % 3
BATCHES = [(X[i : i + 6], Y[i : i + 6]) for i in range(0, 24, 6)]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))


def measured(function, as_loss):
    given = {"loss": {"mine": function}} if as_loss else {"metrics": {"mine": function}}
    return Evaluator(network(), BATCHES, **given)()["loss" if as_loss else "mine"]


def ends(outputs, targets):
    sys.exit(0)


def fails(outputs, targets):
    raise RuntimeError("a\nb\x1b[31m")


class Late:
    """Does well a few times: as the two examples are tried, and on the first batch."""

    def __init__(self, then):
        self.calls, self.then = 0, then

    def __call__(self, outputs, targets):
        self.calls += len(outputs) == 6
        return outputs[:, 0] if self.calls < 2 else self.then(outputs, targets)


def in_numpy(outputs, targets):
    scores = outputs.numpy()
    scores -= scores.max(1, keepdims=True)
    return torch.from_numpy(scores[:, 0].copy())


def changing(name):
    return lambda o, y: ({"outputs": o, "targets": y}[name].zero_(), o[:, 0])[1]


# What a function does, and words of the refusal.
WRONG = {
    "number": ("gives a float", lambda o, y: 0.5),
    "nothing": ("gives a NoneType", lambda o, y: None),
    "word": ("gives a str", lambda o, y: "good"),
    "dict": ("gives a dict", lambda o, y: {"mine": o[:, 0]}),
    "array of NumPy": ("gives a ndarray", lambda o, y: o[:, 0].numpy()),
    "list": ("gives a list", lambda o, y: [0.5] * len(o)),
    "mean": ("shape ()", lambda o, y: o.mean()),
    "mean as a vector": ("shape (1,)", lambda o, y: o.mean()[None]),
    "a row too few": ("shape (1,)", lambda o, y: o[1:, 0]),
    "a row too many": ("shape (3,)", lambda o, y: torch.cat([o[:, 0], o[:1, 0]])),
    "all scores": ("shape (2, 3)", lambda o, y: o),
    "other way round": ("shape (1, 2)", lambda o, y: o[None, :, 0]),
    "no rows": ("shape (0,)", lambda o, y: o[:0, 0]),
    "every target": ("shape (2, 2)", lambda o, y: o[:, :1] - y),
    "every target, and the mean": ("are broadcast", lambda o, y: (o[:, :1] - y).square().mean(1)),
    "complex": ("complex", lambda o, y: o[:, 0] * 1j),
    "sparse": ("sparse", lambda o, y: o[:, 0].to_sparse()),
    "without values": ("without values", lambda o, y: o[:, 0].to("meta")),
    "fails": ("RuntimeError: a b", fails),
    "fails without a word": ("AssertionError", lambda o, y: (_ for _ in ()).throw(AssertionError)),
    "ends": ("SystemExit: 0", ends),
    "another number of arguments": ("argument", lambda o: o[:, 0]),
    "class": ("fails", nn.CrossEntropyLoss),
    "changes outputs": ("in place", changing("outputs")),
    "changes targets": ("in place", changing("targets")),
    "changes outputs by NumPy": ("in place", in_numpy),
    "makes them smaller": ("in place", lambda o, y: (o.resize_(1), y * 1.0)[1]),
    "at random": ("other numbers", lambda o, y: torch.rand(len(o))),
    "at random by NumPy": ("other numbers", lambda o, y: torch.from_numpy(np.random.random(len(o)))),  # noqa: NPY002
    "late mean": ("shape ()", Late(lambda o, y: o.mean())),
    "late nothing": ("gives a NoneType", Late(lambda o, y: None)),
    "late failure": ("RuntimeError: a b", Late(fails)),
    "late end": ("SystemExit: 0", Late(ends)),
}


@pytest.mark.parametrize("noun", ["loss", "metric"])
@pytest.mark.parametrize("case", WRONG)
def test_what_gives_no_number_for_each_example_is_refused_by_its_name(case, noun):
    words, function = WRONG[case]
    if isinstance(function, Late):
        function = Late(function.then)
    said = complaint(measured, function, noun == "loss")
    assert words in said and f"the {noun} mine" in said
    assert torch.equal(Y, torch.arange(24) % 3)


NAN = float("nan")
# What it gives, and what is made of it.
RIGHT = {
    "NaN": (lambda o, y: o[:, 0] * NAN, NAN),
    "infinity": (lambda o, y: o[:, 0].abs() / 0, float("inf")),
    "one NaN": (lambda o, y: torch.where(y == 1, NAN, o[:, 0]), NAN),
    "whole numbers": (lambda o, y: y, 1.0),
    "bytes": (lambda o, y: y.to(torch.uint8), 1.0),
    "truth values": (lambda o, y: y == 1, 1 / 3),
    "bfloat16": (lambda o, y: y.bfloat16(), 1.0),
    "a column": (lambda o, y: y[:, None] * 1.0, 1.0),
    "with a gradient": (lambda o, y: (y * 1.0).requires_grad_(), 1.0),
}


@pytest.mark.parametrize("as_loss", [True, False])
@pytest.mark.parametrize("case", RIGHT)
def test_numbers_of_any_type_are_taken_as_they_are(case, as_loss):
    function, value = RIGHT[case]
    assert measured(function, as_loss) == pytest.approx(value, nan_ok=True)


def test_a_loss_that_compares_examples_on_purpose_is_no_mistake():
    def contrast(outputs, targets):
        return F.cross_entropy(outputs @ outputs.T, torch.arange(len(outputs)), reduction="none")

    assert measured(contrast, as_loss=True) > 0


NAMES = ["", "a/b", ".", "a b", "1a", "a\0b", "\x1b[31m", "<lambda>", 3, ("a",), None]
TAKEN = ["loss", "loss_se", "accuracy", "accuracy_se", "examples", "done", "crc", "interpolated", "test_loss"]


@pytest.mark.parametrize("name", [*NAMES, *TAKEN])
def test_a_metric_without_a_name_of_its_own_is_refused(name):
    both = {"test": BATCHES, "metrics": {name: lambda o, y: o[:, 0]} if name is not None else [lambda o, y: o[:, 0]]}
    assert "is called" in complaint(lambda: Evaluator(network(), BATCHES, **both)())


@pytest.mark.parametrize("names", [("a", "a_se"), ("a_se", "a"), ("a", "test_a")])
def test_a_metric_is_not_called_as_what_comes_with_another(names):
    """Its error, or its value on the other split, in whose place it would be."""
    metrics = {name: lambda o, y: o[:, 0] for name in names}
    assert "as something else is" in complaint(lambda: Evaluator(network(), BATCHES, test=BATCHES, metrics=metrics)())


@pytest.mark.parametrize("name", [*NAMES[:8], "loss", "accuracy"])
def test_a_second_loss_without_a_name_of_its_own_is_refused(name):
    losses = {"cross_entropy": "cross_entropy", name: lambda o, y: o[:, 0]}
    complaint(lambda: Evaluator(network(), BATCHES, loss=losses)())


def test_a_loss_of_ones_own_does_not_pass_for_a_built_in_one():
    assert "is not the built-in one" in complaint(measured_as, "mse", lambda o, y: o[:, 0])


def measured_as(name, function):
    return Evaluator(network(), BATCHES, loss={name: function})()


KINDS = [3, [3], {"a": 3}, {"a": None}, b"kl", {"a": "nothing"}, "a:b", "os:nothing", "agreement,kl", ["kl", "kl"]]


@pytest.mark.parametrize("given", KINDS)
def test_what_is_no_metric_is_refused(given):
    complaint(lambda: Evaluator(network(), BATCHES, metrics=given)())


# Networks of the user's own


class Own(nn.Linear):
    def __init__(self, then):
        super().__init__(8, 3)
        self.then = then

    def forward(self, x):
        return self.then(super().forward(x), x)


NETWORKS = {
    "fails": ("a b", fails),
    "ends": ("does not take inputs", ends),
    "changes its inputs": ("in place", lambda y, x: (x.mul_(0.5), y)[1]),
    "draws at random": ("called again", lambda y, x: y + torch.rand(len(y), 3)),
    "gives a word": ("gives a str", lambda y, x: "a"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be_measured_twice_is_refused(case):
    words, then = NETWORKS[case]
    inputs = X.clone()
    assert words in complaint(lambda: Evaluator(Own(then), [(inputs, Y)])())
    assert torch.equal(inputs, X)


def test_a_function_that_chooses_outputs_and_fails_is_refused():
    assert "outputs fails" in complaint(lambda: Evaluator(network(), BATCHES, outputs=lambda o: o["logits"])())


# Whole commands

MODULES = {
    "syntax": "def f(:\n",
    "no_name": "nothing\n",
    "ends": "import sys\nsys.exit(0)\n",
    "fails": "raise RuntimeError('a\\nb\\x1b[31m')\n",
    "zeros": "\0",
    "mine": """
import sys
import torch
from torch import nn

def scalar(o, y): return o.mean()
def ends(*_): sys.exit(0)
def fails(*_): raise RuntimeError("a\\nb")
def deleted(o, y): return o[:, 0]
def nothing(*_): return None
def word(*_): return "a"
def numbers(*_): return {1: 2}
number = 3
""",
}
OPTIONS = ("--loss", "--metric", "--data", "--blocks", "--network")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("place")
    small = {"depth": 8, "width": 2, "channels": 1}
    torch.manual_seed(0)
    made = build("resnet", **small).state_dict()
    save(Checkpoint("resnet", small, made, data={"name": "digits"}), path / "net.pt")
    torch.save(made, path / "weights.pt")
    for name, text in MODULES.items():
        (path / f"hostile_{name}.py").write_text(text)
    return path


@pytest.mark.parametrize("option", OPTIONS)
def test_a_command_refuses_a_module_or_function_that_fails(place, option):
    first = ("weights.pt", "out.h5", "--data", "digits") if option == "--network" else ("net.pt", "out.h5")
    named = [f"hostile_{name}:f" for name in MODULES if name != "mine"]
    named += [f"hostile_mine:{name}" for name in ("ends", "fails", "nothing", "word", "numbers", "number", "missing")]
    for each in named:
        said = refused("lesion", *first, "--examples", 20, "--quiet", option, each, folder=place)
        assert "hostile_" in said or each.rpartition(":")[2] in said or option == "--blocks"


def test_a_command_refuses_a_metric_with_the_name_of_a_column(place):
    said = refused("lesion", "net.pt", "out.h5", "--examples", 20, "--metric", "hostile_mine:deleted", folder=place)
    assert "two variables are called deleted" in said
    assert ran("surface", "net.pt", "a.h5", "--examples", 20, "--x", 0, 1, 2, "--quiet", folder=place) == (0, "")
