"""Axes that end where the loss reaches a level."""

import numpy as np
import pytest

from landscape.errors import BadInput
from landscape.planes.auto_range import first_crossing


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
