"""Axes that end where the loss reaches a level."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.auto_range import auto_range, first_crossing
from landscape.planes.build_plane import PlaneWithStatistics
from landscape.planes.plane import Plane
from landscape.weights import weights_of


def test_the_reach_of_a_parabola_is_its_root_rounded_up():
    for level, scale in ((4.0, 1.0), (100.0, 1.0), (4.0, 1e-1), (4.0, 50.0)):
        distance = first_crossing(lambda t: t**2, level, scale)
        assert np.sqrt(level) <= distance < 1.06 * np.sqrt(level)  # a bisection's width, and two digits


def test_the_first_crossing_counts_and_what_is_not_finite_is_above():
    assert first_crossing(lambda t: 5.0 if 1 <= t <= 2 else 0.0, 1.0, 1.0) == pytest.approx(1.0, rel=0.05)
    assert first_crossing(lambda t: np.nan if t >= 3 else 0.0, 1.0, 1.0) == pytest.approx(3.0, rel=0.05)


def test_a_level_that_is_never_reached_is_told():
    with pytest.raises(BadInput, match="stays below 1 out to 64"):
        first_crossing(lambda t: 0.0, 1.0, 1.0)


def test_two_digits_are_never_less_than_the_distance():
    for level in (1.01, 3.3, 7.77, 12.34):
        assert first_crossing(lambda t: t, level, 1.0) >= level


def test_a_range_around_the_centre_reaches_the_farther_of_both_crossings():
    """y = x around x = 0 and the target 1 with squared errors: 4 is reached at −1 and at 3."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    with Evaluator(network, [(torch.ones(4, 1), torch.ones(4, 1))], loss="mse").ready() as evaluation:
        plane = PlaneWithStatistics(
            Plane(weights_of(network), ({"weight": torch.ones(1, 1)},)), lambda *_: nullcontext(), {}
        )
        both = auto_range({"x": (-1, 1, 5)}, 4.0, evaluation, plane, None, SerialComm())["x"]
        one = auto_range({"x": (-1, 2, 5)}, 4.0, evaluation, plane, None, SerialComm())["x"]
    assert both[1] == -both[0] == pytest.approx(3, rel=0.06) and both[1] >= 3
    assert one[0] == pytest.approx(-1, rel=0.06) and one[1] == pytest.approx(3, rel=0.06)
