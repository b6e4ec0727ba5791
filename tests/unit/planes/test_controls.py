"""A plane that is regressed on control points takes fewer examples, and says rightly how far off it may be."""

import h5py
import numpy as np
import pytest
import torch
from measured import surface
from torch import nn

from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.evaluation.sampling import LEAST
from landscape.planes.controls import _shared_out, affordable, control_points

PLANE = {"x": (-1, 1, 15), "y": (-1, 1, 13), "quiet": True}


@pytest.fixture(scope="module")
def problem():
    """A network that is right about most examples, and 8,000 of these."""
    torch.manual_seed(0)
    inputs, network = torch.randn(8000, 6), nn.Linear(6, 3)
    with torch.no_grad():
        network.weight.mul_(4)
    targets = (network(inputs) + 0.5 * torch.randn(8000, 3)).argmax(1)
    return network, [(inputs, targets)]


@pytest.fixture(scope="module")
def surfaces(problem):
    how = {"mean": {"tolerance": 0.04}, "regression": {"tolerance": 0.04, "estimator": "regression"}, "exact": {}}
    return {name: surface(*problem, batch_size=100, **PLANE, **options) for name, options in how.items()}


def test_fewer_examples_say_as_much(surfaces):
    mean, regression, exact = (surfaces[name] for name in ("mean", "regression", "exact"))
    assert regression["examples"].mean() < 0.85 * mean["examples"].mean()
    assert (regression["loss_se"] <= 0.04 * regression["loss"]).all()
    off = (regression["loss"] - exact["loss"]) / np.maximum(regression["loss_se"], 1e-9 * exact["loss"])
    assert np.mean(np.abs(off) < 1.96) > 0.85 and np.abs(off).max() < 4.5  # points share their examples
    assert np.abs(regression["accuracy"] - exact["accuracy"]).max() < 0.06
    assert (regression.attributes["estimator"], mean.attributes["estimator"]) == ("regression", "mean")
    assert "estimator" not in exact.attributes


def test_controls_lie_around_the_origin():
    assert control_points({"x": (-2, 1, 9)}) == [(0.0,), (-0.5,), (0.25,)]
    assert control_points({"x": (0, 1, 9), "y": (-1, 1, 5), "z": (0, 0, 1)}) == [
        (0.0, 0.0, 0.0),
        (0.25, 0.0, 0.0),
        (0.0, -0.25, 0.0),
        (0.0, 0.25, 0.0),
    ]


def test_controls_take_a_quarter_of_the_plane_at_most_or_are_not_measured():
    for points in (10, 50, 100, 441, 2601):
        for examples in (1000, 10_000, 50_000, 10**6):
            most = affordable(points, 5, examples)
            assert 5 * most <= points * LEAST / 4
            assert most == 0 or most >= min(4000, examples)
    assert affordable(441, 5, 10**6) > 20_000 and affordable(2601, 5, 50_000) == 50_000


def test_a_small_plane_is_measured_as_without(problem):
    few = {"x": (-1, 1, 5), "y": (-1, 1, 3), "quiet": True, "tolerance": 0.04, "batch_size": 100}
    asked, plain = (surface(*problem, **few, estimator=estimator) for estimator in ("regression", "mean"))
    assert all(np.array_equal(asked[name], plain[name]) for name in plain)
    assert asked.attributes["estimator"] == "mean"


def test_repeats_and_a_second_split_have_controls_of_their_own(problem):
    network, [(inputs, targets)] = problem
    how = {"tolerance": 0.04, "estimator": "regression", "batch_size": 100, "x": (-1, 1, 151), "quiet": True}
    test = [(inputs[:3000], targets[:3000])]
    both = surface(network, [(inputs, targets)], **how, test=test, repeats=2)
    alone = surface(network, [(inputs, targets)], **how)
    for name in ("loss", "loss_se", "examples"):
        assert np.array_equal(both[name][0], alone[name])
    exact = surface(network, test, x=how["x"], quiet=True, repeats=2, seed=0)["loss"]
    off = (both["test_loss"] - exact) / np.maximum(both["test_loss_se"], 1e-9 * exact)
    assert np.abs(off).max() < 4.5  # of all points one sample
    assert both["test_examples"].min() < 1000


def test_a_file_goes_on_with_the_estimator_it_was_begun_with(problem, surfaces, tmp_path):
    path, how = tmp_path / "a.h5", {**PLANE, "tolerance": 0.04, "batch_size": 100}
    surface(*problem, path, **how, estimator="regression")
    with pytest.raises(BadInput, match="its estimator is regression, this command's is mean"):
        surface(*problem, path, **how)
    with h5py.File(path, "r+") as file:
        file["done"][4:] = False
        file["loss"][4:] = np.nan
    surface(*problem, path, **how, estimator="regression")
    assert np.array_equal(read(path)["loss"], surfaces["regression"]["loss"])
    assert "centre: the loss there is" in surface(*problem, path, **how, estimator="regression", diagnose=True)
    assert "estimator is regression" in surface(*problem, path, **how, diagnose=True)


def test_a_file_that_names_no_estimator_has_the_mean(tmp_path):
    """As those that were begun before there was a choice."""
    x = np.linspace(-1, 1, 3)
    plan = {"kind": "surface", "dims": ("x",), "coordinates": {"x": x}}
    prepare(tmp_path / "a.h5", x[:, None], **plan)
    prepare(tmp_path / "a.h5", x[:, None], **plan, attributes={"estimator": "mean"})
    with pytest.raises(BadInput, match="its estimator is mean, this command's is regression"):
        prepare(tmp_path / "a.h5", x[:, None], **plan, attributes={"estimator": "regression"})


def test_without_a_tolerance_there_is_nothing_to_estimate(problem):
    with pytest.raises(BadInput, match="give tolerance too"):
        surface(*problem, **PLANE, estimator="regression")
    with pytest.raises(BadInput, match="median"):
        surface(*problem, **PLANE, tolerance=0.02, estimator="median")


def test_ranks_share_out_the_controls_and_each_has_them_all():
    items = [((0.0,), batch) for batch in range(5)]
    gathered = {}

    class Rank:
        size = 2

        def __init__(self, rank):
            self.rank = rank

        def allgather(self, mine):
            if mine is None:  # nothing to complain of
                return [None, None]
            gathered[self.rank] = mine
            return [gathered.get(rank, []) for rank in range(self.size)]

    measured = lambda some: (np.array([batch]) for _, batch in some)  # noqa: E731
    _shared_out(items, measured, Rank(0))
    assert np.concatenate(_shared_out(items, measured, Rank(1))).tolist() == [0, 1, 2, 3, 4]
    assert {rank: len(parts) for rank, parts in gathered.items()} == {0: 3, 1: 2}
