"""Agreement and KL divergence are what plain PyTorch makes of the outputs before and after."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.make_plane import random_plane
from landscape.planes.plane import shift
from landscape.planes.surface import surface


class Tokens(nn.Module):
    """Scores of 7 classes for each of 4 positions, the classes along the last axis or along the second."""

    def __init__(self, last):
        super().__init__()
        self.embedding, self.head, self.last = nn.Embedding(7, 6), nn.Linear(6, 7), last

    def forward(self, tokens):
        scores = self.head(self.embedding(tokens).tanh())
        return scores if self.last else scores.transpose(1, 2)


def of_classes():
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)), torch.randn(12, 5), torch.randint(0, 3, (12,))


def of_tokens(last):
    tokens = torch.randint(0, 7, (6, 4))
    targets = torch.where(torch.rand(6, 4) < 0.3, -100, tokens.roll(1, 1))
    targets[:, 0] = 2
    return Tokens(last), tokens, targets


CASES = {"classes": of_classes, "tokens": lambda: of_tokens(True), "pixels": lambda: of_tokens(False)}


def by_hand(before, after, targets, axis):
    """Agreement and KL, mean over examples of the mean over positions that count."""
    same = (before.argmax(axis) == after.argmax(axis)).double()
    kl = F.kl_div(after.log_softmax(axis), before.log_softmax(axis), log_target=True, reduction="none").sum(axis)
    if targets.ndim == 1:
        return same, kl
    counts = (targets != -100).double()
    return [(each * counts).sum(1) / counts.sum(1) for each in (same, kl)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [4, 100])
def test_they_are_what_plain_pytorch_says_at_every_point(case, size):
    torch.manual_seed(0)
    network, inputs, targets = CASES[case]()
    axis = 2 if case == "tokens" else 1
    batches = list(zip(inputs.split(size), targets.split(size), strict=True))
    line = surface(Evaluator(network, batches, metrics=["agreement", "kl"]), x=(-2, 2, 3), quiet=True)
    plane = random_plane(network, 1)
    with torch.no_grad():
        before = network(inputs).double()
        for number, x in enumerate((-2, 0, 2)):
            with shift(network, plane, [x]):
                same, kl = by_hand(before, network(inputs).double(), targets, axis)
            assert line["agreement"][number] == pytest.approx(same.mean().item(), rel=1e-6)
            assert line["kl"][number] == pytest.approx(kl.mean().item(), rel=1e-4, abs=1e-7)
            assert line["kl_se"][number] == pytest.approx(kl.std().item() / len(kl) ** 0.5, rel=1e-4, abs=1e-7)
    assert (line["agreement"][1], line["kl"][1]) == (1, 0)
    assert line.metadata["kl"]["units"] == "nats"


def test_the_reference_is_the_network_when_a_measurement_begins():
    torch.manual_seed(0)
    network, inputs, targets = of_classes()
    evaluate = Evaluator(network, [(inputs, targets)], metrics="agreement")
    with torch.no_grad():
        network[2].bias.add_(torch.tensor([100.0, 0, 0]))
    assert evaluate()["agreement"] == 1


def test_a_second_split_has_its_own_reference():
    torch.manual_seed(0)
    network, inputs, targets = of_classes()
    evaluate = Evaluator(network, [(inputs, targets)], test=[(inputs[:5], targets[:5])], metrics=["kl"])
    line = surface(evaluate, x=(0, 1, 2), quiet=True)
    alone = surface(Evaluator(network, [(inputs[:5], targets[:5])], metrics=["kl"]), x=(0, 1, 2), quiet=True)
    assert line["test_kl"] == pytest.approx(alone["kl"], rel=1e-6)


@pytest.mark.parametrize("name", ["agreement", "kl"])
def test_outputs_without_classes_are_refused(name):
    evaluate = Evaluator(nn.Linear(3, 1), [(torch.randn(4, 3), torch.randn(4, 1))], "mse", metrics=[name])
    with pytest.raises(BadInput, match=f"{name} compares distributions over classes"):
        evaluate()


def test_the_network_may_be_copied_after_it_was_measured():
    network, inputs, targets = of_classes()
    Evaluator(network, [(inputs, targets)], metrics="kl")()
    assert torch.equal(copy.deepcopy(network)(inputs), network(inputs))
