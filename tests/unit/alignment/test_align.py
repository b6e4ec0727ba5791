"""Lines to a network whose units are aligned first: in the library, in files, and in what is said."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape.checkpoints.checkpoint import load
from landscape.engine.ranks import SerialComm
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.align import align, said
from landscape.planes.make_plane import plane_to
from landscape.planes.surface import surface
from landscape.training.train import train

SMALL = {"depth": 8, "width": 4, "examples": 600, "quiet": True, "comm": SerialComm()}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for seed in range(2):
        train(folder / f"{seed}.pt", epochs=3, seed=seed, **SMALL)
    return folder


def evaluator(folder, number=0):
    return Evaluator.from_checkpoint(folder / f"{number}.pt", examples=300)


def line(folder, **how):
    return surface(evaluator(folder), to=folder / "1.pt", x=(0, 1, 5), quiet=True, **how)


@pytest.mark.parametrize("by", ["weights", "activations"])
def test_both_ends_are_the_two_networks(two, by):
    results, plain = line(two, align=by), line(two)
    assert results["loss"][0] == plain["loss"][0]
    assert results["loss"][-1] == pytest.approx(plain["loss"][-1], rel=1e-4)  # the other one, with its statistics
    assert (results["loss"][1:-1] != plain["loss"][1:-1]).all()
    a = results.attributes
    assert (a["align"], a["align_units"]) == (by, 28) and 0 < a["align_moved"] <= 28
    assert (a["align_after"] < a["align_before"]) == (by == "weights")
    assert "align" not in plain.attributes


def test_two_independent_trainings_are_nearer_by_weights(two):
    made = align(evaluator(two), two / "1.pt")
    one, other = (load(two / f"{n}.pt").weights for n in (0, 1))
    names = [name for name, _ in evaluator(two).network.named_parameters()]

    def distance(state):
        return sum(float(((one[name] - state[name]).double() ** 2).sum()) for name in names) ** 0.5

    assert distance(other) == pytest.approx(made.before, rel=1e-5)
    assert distance(made.weights) == pytest.approx(made.after, rel=1e-5)
    assert made.after < made.before


def test_the_call_with_aligned_weights_gives_the_numbers_of_the_option(two):
    evaluate = evaluator(two)
    plane = plane_to(evaluate.network, align(evaluate, two / "1.pt").weights)
    same = surface(evaluate, plane, x=(0, 1, 5), quiet=True)
    np.testing.assert_array_equal(same["loss"], line(two, align="weights")["loss"])


def test_an_aligned_network_can_be_kept_and_measures_what_it_did(two, tmp_path):
    align(evaluator(two), two / "1.pt", out=tmp_path / "1.pt")
    kept = load(tmp_path / "1.pt")
    assert kept.title == load(two / "1.pt").title
    assert evaluator(tmp_path, 1)()["loss"] == pytest.approx(evaluator(two, 1)()["loss"], rel=1e-5)
    again = surface(evaluator(two), to=tmp_path / "1.pt", x=(0, 1, 5), quiet=True)
    np.testing.assert_array_equal(again["loss"], line(two, align="weights")["loss"])


def test_networks_in_memory_are_aligned_and_given_back_to_the_bit(tmp_path):
    one, other = (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) for _ in range(2))
    before = [{name: t.clone() for name, t in network.state_dict().items()} for network in (one, other)]
    evaluate = Evaluator(one, [(torch.randn(32, 4), torch.arange(32) % 3)])
    made = align(evaluate, other, "activations", out=tmp_path / "other.pt")
    assert torch.equal(torch.load(tmp_path / "other.pt")["0.weight"], made.weights["0.weight"])
    for network, kept in zip((one, other), before, strict=True):
        assert all(torch.equal(kept[name], t) for name, t in network.state_dict().items())


def test_a_plane_has_both_others_aligned(two):
    evaluate = evaluator(two)
    to = [two / "1.pt", two / "1.pt"]
    results = surface(evaluate, to=to, align="weights", x=(0, 1, 2), y=(0, 1, 2), quiet=True)
    assert results["loss"][0, 1] == results["loss"][1, 0]
    assert np.array_equal(results.attributes["align_moved"], [results.attributes["align_moved"][0]] * 2)
    assert said(results.attributes).count("units moved, distance of the weights") == 2


def test_a_run_that_goes_on_must_be_aligned_alike(two, tmp_path):
    line(two, align="weights", out=tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    line(two, align="weights", out=tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before
    assert read(tmp_path / "a.h5").attributes["align"] == "weights"
    with pytest.raises(BadInput, match="align"):
        line(two, align="activations", out=tmp_path / "a.h5")


def test_what_does_not_go_together_is_refused(two):
    evaluate = evaluator(two)
    for how, message in [
        ({"align": "weights"}, "name one with to"),
        ({"align": "biases", "to": two / "1.pt"}, "biases"),
        ({"align": "weights", "plane": plane_to(evaluate.network, two / "1.pt")}, "name one with to"),
    ]:
        with pytest.raises(BadInput, match=message):
            surface(evaluate, x=(0, 1, 2), quiet=True, **how)
