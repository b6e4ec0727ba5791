"""Basins against quadratic bowls, whose shares are known, and against planes and balls walked by hand."""

import copy

import numpy as np
import pytest
import tiny
import torch
from scipy.stats import beta, binomtest
from torch import nn
from torch.nn import functional as F

from landscape.analysis.basins import certified_radius
from landscape.curvature.basin import basin_radius, level_of
from landscape.drawing import draw
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.make_plane import random_plane
from landscape.planes.plane import shift
from landscape.weights import digest

FEW = {"directions": 29, "quiet": True}


def bowl():
    """A linear model at its minimum, where the loss is ½ · ‖ε‖² over 4 of its 10 weights, and none else."""
    torch.manual_seed(0)
    network = nn.Linear(5, 2, bias=False).double()
    inputs = torch.zeros(2, 5, dtype=torch.float64)
    inputs[0, 0] = inputs[1, 1] = 2**0.5
    return network, Evaluator(network, [(inputs, network(inputs).detach())], half)


def half(outputs, targets):
    return 0.5 * (outputs - targets).square().sum(1)


@pytest.mark.slow
def test_the_share_inside_a_bowl_is_a_beta_probability():
    """On the sphere ‖ε‖ = r‖θ‖ the part of ‖ε‖² in 4 of 10 weights is Beta(2, 3)."""
    network, evaluate = bowl()
    size = float(network.weight.detach().norm())
    results = basin_radius(
        evaluate, radius=(0, 1.5, 4), directions=600, ball="weights", level=0.15 * size**2, quiet=True
    )
    count = certified_radius(results).staying
    for radius, number in zip(results.coordinates["radius"][1:], count[1:], strict=True):
        share = beta.cdf(min(0.3 / radius**2, 1), 2, 3)
        assert binomtest(number, 600, share).pvalue > 1e-3
    assert count[0] == 600


def test_the_worst_case_of_a_bowl_is_its_largest_eigenvalue():
    network, evaluate = bowl()
    results = basin_radius(evaluate, radius=(0, 1, 3), directions=2, ball="worst", steps=30, level=0.1, quiet=True)
    size = float(network.weight.detach().norm())
    np.testing.assert_allclose(
        results["loss"], np.tile(0.5 * (results.coordinates["radius"] * size) ** 2, (2, 1)), rtol=1e-3
    )


def test_points_are_those_of_the_planes():
    network = tiny.network(width=4)
    evaluate, data = tiny.with_digits(network, 100), tiny.digits(100)
    before = digest(network.state_dict())
    results = basin_radius(evaluate, radius=(0, 0.5, 3), level="+0.1", seed=7, **FEW)
    assert digest(network.state_dict()) == before
    with torch.no_grad():
        here = F.cross_entropy(network.eval()(data.images), data.labels, reduction="none")
        for direction in (0, 28):
            with shift(network, random_plane(network, 1, seed=7, repeat=direction), [0.25]):
                there = F.cross_entropy(network(data.images), data.labels, reduction="none")
            excess = (there - here - 0.1).double()
            assert results["loss"][direction, 1] == pytest.approx(float(there.mean()), rel=1e-4)
            assert results["excess"][direction, 1] == pytest.approx(float(excess.mean()), rel=1e-3, abs=1e-5)
            assert results["excess_se"][direction, 1] == pytest.approx(float(excess.std() / 10), rel=1e-3)
    np.testing.assert_allclose(results["excess"][:, 0], -0.1, atol=1e-9)
    np.testing.assert_allclose(results["excess_se"][:, 0], 0, atol=1e-9)


@pytest.mark.parametrize("policy", ["recalibrated", "batch"])
def test_statistics_follow_the_weights_where_it_is_asked_for(policy):
    evaluate = tiny.with_digits(tiny.network(width=4), 100)
    frozen, followed = (
        basin_radius(evaluate, radius=(0, 0.8, 2), batchnorm=each, **FEW) for each in ("frozen", policy)
    )
    assert followed.attributes["batchnorm"] == policy
    assert np.median(followed["loss"][:, 1]) < np.median(frozen["loss"][:, 1])


@pytest.mark.parametrize(
    ("level", "quantity", "factor", "plus", "said"),
    [
        (0.5, "loss", 0, 0.5, "below 0.5 nats"),
        ("0.5", "loss", 0, 0.5, "below 0.5 nats"),
        ("2x", "loss", 2, 0, "below 2 times the loss at the weights"),
        ("+0.1", "loss", 1, 0.1, "within 0.1 nats of the loss at the weights"),
        ("10%", "error", 0, 0.1, "below an error of 10 %"),
        ("+5%", "error", 1, 0.05, "within 5 points of the error at the weights"),
        (None, "error", 1, 0.05, "within 5 points of the error at the weights"),
    ],
)
def test_a_level_is_a_loss_or_an_error_absolute_or_not(level, quantity, factor, plus, said):
    with tiny.with_digits(tiny.network()).ready() as evaluation:
        assert level_of(level, evaluation) == (quantity, factor, plus, said)


def test_where_there_are_no_errors_the_level_is_twice_the_loss():
    _, evaluate = bowl()
    with evaluate.ready() as evaluation:
        assert level_of(None, evaluation)[:3] == ("loss", 2, 0)
        with pytest.raises(BadInput, match="accuracy is not defined here; give a loss"):
            level_of("+5%", evaluation)


def test_errors_are_what_is_compared_with_a_level_of_errors():
    results = basin_radius(tiny.with_digits(tiny.network(width=4), 100), radius=(0, 1, 3), level="30%", **FEW)
    np.testing.assert_allclose(results["excess"], 1 - results.accuracy() - 0.3, atol=1e-12)


def test_noise_of_the_examples_makes_the_certificate_smaller():
    results = basin_radius(tiny.with_digits(tiny.network(width=4), 100), radius=(0, 0.5, 6), level="+5%", **FEW)
    own, noisy = certified_radius(results, share=0.5), certified_radius(results, share=0.5, noise=True)
    assert (noisy.staying <= own.staying).all() and (noisy.staying < own.staying).any()
    assert not own.radius < noisy.radius


def test_a_file_is_gone_on_with_and_has_the_numbers_of_the_call(tmp_path):
    evaluate = tiny.with_digits(tiny.network(width=4))
    how = {"radius": (0, 1, 3), "level": "2x", **FEW}
    memory, results = basin_radius(evaluate, **how), basin_radius(evaluate, out=tmp_path / "a.h5", **how)
    for name in ("excess", "excess_se", "loss"):
        np.testing.assert_array_equal(memory[name], results[name])
    before = results.path.read_bytes()
    basin_radius(copy.deepcopy(evaluate), out=tmp_path / "a.h5", **how)
    assert results.path.read_bytes() == before and read(results.path).attributes["level"].startswith("below 2 times")
    with pytest.raises(BadInput, match="level"):
        basin_radius(evaluate, out=tmp_path / "a.h5", **{**how, "level": "3x"})


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"radius": (1, 0, 5)}, "radius is 1 0 5; give 0 or more, a larger end"),
        ({"radius": (0, 1, 1)}, "2 radii or more"),
        ({"directions": 28}, "28 directions cannot certify a share of 0.9 with a confidence of 0.95.*give 29 or more"),
        ({"share": 1.0}, "share is 1; give a part of all"),
        ({"ball": "round"}, "there is no ball 'round'; use filter, weights, worst"),
        ({"ball": "weights", "batchnorm": "batch"}, "ball weights is with stored statistics"),
        ({"level": "much"}, "level is 'much'; give a loss, 0.5, 2x or"),
        ({"level": "+2x"}, "level is '[+]2x'; give a loss"),
    ],
)
def test_what_cannot_be_meant_is_refused(how, words):
    with pytest.raises(BadInput, match=words):
        basin_radius(tiny.with_digits(tiny.network()), **{**FEW, **how})


def test_the_certificate_is_said_in_a_sentence(caplog):
    caplog.set_level("INFO", "skipscape")
    basin_radius(tiny.with_digits(tiny.network()), radius=(0, 1e-3, 2), level="9x", **FEW)
    said = [record.message for record in caplog.records]
    assert (
        "with 95 % confidence at least 90 % of directions stay below 9 times the loss at the weights up to a radius of "
        "0.001, the largest that was measured"
    ) in said


@pytest.mark.parametrize("level", ["+10%", "2x"])
@pytest.mark.parametrize("width", [5.5, 3.25])
def test_figures_show_the_share_and_the_certified_radius(level, width):
    evaluate = tiny.with_digits(tiny.network(width=4), 100)
    results = basin_radius(evaluate, radius=(0, 1, 6), level=level, **FEW)
    figure = draw([results, results], titles=["ours", "theirs"], width=width)
    left, right = figure.axes
    certified = certified_radius(results)
    drawn = [line.get_ydata() for line in left.lines]
    assert any(np.array_equal(np.atleast_1d(values), 100 * certified.staying / 29) for values in drawn)
    marks = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "v"]
    assert marks == ([] if np.isnan(certified.radius) else [certified.radius] * 2)
    assert ("error" if level == "+10%" else "loss") in right.get_ylabel()
