"""Minima of analytic surfaces, of noise, and against a flood of every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from landscape.analysis.minima import minima, pairs, threshold

X, Y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 21)
XX, YY = np.meshgrid(X, Y)
ERROR = np.full(XX.shape, 1e-3)

# Few distinct values, so that ties are common, and holes.
VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, np.nan, np.inf])
SHAPES = st.one_of(st.tuples(st.integers(1, 12)), st.tuples(st.integers(1, 6), st.integers(1, 6)))


@settings(max_examples=200, deadline=None)
@given(arrays.arrays(float, SHAPES, elements=VALUES))
def test_pairs_are_those_of_a_flood(loss):
    """Lakes at level b that hold a point as low as a: those born by a that have not ended by b."""
    basins = pairs(loss)
    levels = np.unique(loss[np.isfinite(loss)])
    for b in levels:
        lakes, _ = ndimage.label(loss <= b, np.ones((3,) * loss.ndim))
        for a in levels[levels <= b]:
            old = len(set(lakes[loss <= a].tolist()))
            assert old == np.sum((basins.birth <= a) & (basins.death > b))


@settings(max_examples=100, deadline=None)
@given(arrays.arrays(float, SHAPES, elements=VALUES))
def test_pairs_say_where(loss):
    birth, death, minimum, saddle, _ = pairs(loss)
    assert (loss.ravel()[minimum] == birth).all()
    passes = saddle >= 0
    assert (loss.ravel()[saddle[passes]] == death[passes]).all()
    assert np.isinf(death[~passes]).all()
    assert (np.diff(death[passes] - birth[passes]) <= 0).all()
    _, parts = ndimage.label(np.isfinite(loss), np.ones((3,) * loss.ndim))
    assert (~passes).sum() == parts


def test_a_bowl_has_one_minimum():
    assert minima(XX**2 + YY**2, ERROR) == (1, 0, 0)
    assert minima(XX**2 + YY**2, np.zeros(XX.shape)) == (1, 0, 0)
    assert pairs(XX**2 + YY**2).minimum.tolist() == [np.ravel_multi_index((10, 20), XX.shape)]


def test_a_double_well_has_two_as_deep_as_the_barrier_is_high():
    loss = 16 * (XX**2 - 0.25) ** 2 + YY**2 + 0.1 * XX
    basins = pairs(loss)
    barrier = 16 * 0.25**2 - 0.1 * 0.5  # of the shallow well, at x = ½; the tilt moves both by less than a step
    assert basins.birth.size == 2
    assert basins.death[1] - basins.birth[1] == pytest.approx(barrier, rel=0.01)
    assert np.unravel_index(basins.minimum, XX.shape)[1].tolist() == [10, 30]
    assert np.unravel_index(basins.saddle[1], XX.shape) == (10, 20)
    assert minima(loss, ERROR) == pytest.approx((2, 0, barrier), rel=0.01)
    assert minima(loss, np.full(XX.shape, 0.3)) == (1, 0, 0)
    assert minima(loss, np.full(XX.shape, 0.3), k=2) == pytest.approx((2, 0, barrier), rel=0.01)
    assert minima(loss.T, ERROR.T) == minima(loss, ERROR)
    assert minima(loss[10], ERROR[10]) == minima(loss, ERROR)  # along the line through both wells


def test_a_saddle_falls_towards_two_sides_of_the_rim():
    number, on_rim, total = minima(XX**2 - YY**2, ERROR)
    assert (number, on_rim) == (2, 2)
    assert total == pytest.approx(4)
    assert minima(XX + YY, ERROR) == (1, 1, 0)


def test_a_valley_along_the_diagonal_is_one():
    a, b = np.meshgrid(np.arange(20), np.arange(20))
    loss = np.abs(a - b) + 0.01 * a
    assert minima(loss, np.full(loss.shape, 1e-3)).number == 1


def test_points_that_are_not_finite_are_outside():
    loss = XX**2 + YY**2
    loss[[0, -1]], loss[:, [0, -1]] = np.nan, np.inf
    assert minima(loss, ERROR) == (1, 0, 0)
    loss[:, 26] = np.nan  # cut in two: the smaller part falls towards the cut
    assert minima(loss, ERROR) == (2, 1, 0)
    nothing = np.full((3, 3), np.nan)
    assert minima(nothing, nothing) == (0, 0, 0)
    assert pairs(nothing).birth.size == 0


def test_where_the_error_is_unknown_the_nearest_serves():
    loss = 16 * (XX**2 - 0.25) ** 2 + YY**2 + 0.1 * XX
    error = np.where(XX < 0, 1e-3, np.nan)
    assert minima(loss, error).number == 2
    assert minima(loss, error * 300).number == 1
    assert minima(loss, np.full(XX.shape, np.nan)).number == 1


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("bowl", XX**2 + YY**2),
        ("flat bowl", 0.1 * (XX**4 + YY**4)),
        ("plateau", np.zeros(XX.shape)),
        ("plane", 51 * [51 * [0.0]]),
        ("line through a bowl", X**2),
        ("flat line", np.zeros(51)),
        ("long flat line", np.zeros(251)),
    ],
)
@pytest.mark.slow
def test_noise_makes_no_minima(name, loss):
    """With the stated error, none besides the least in at least 95 of 100 seeds; the error varies over the plane."""
    loss = np.asarray(loss)
    error = 0.05 * (1 + np.linspace(0, 2, loss.shape[-1])) * np.ones(loss.shape)
    noise = (np.random.default_rng(seed).standard_normal(loss.shape) for seed in range(100))
    clean = [minima(loss + error * z, error).number == 1 for z in noise]
    assert sum(clean) >= 95


def test_a_well_that_stands_out_is_found_through_the_noise():
    """Barrier 1, noise 0.1: seven standard errors of the difference."""
    loss = 16 * (XX**2 - 0.25) ** 2 + YY**2
    error = np.full(XX.shape, 0.1)
    noise = (np.random.default_rng(seed).standard_normal(loss.shape) for seed in range(50))
    assert sum(minima(loss + 0.1 * z, error).number == 2 for z in noise) >= 48


def test_more_points_on_a_line_ask_for_more():
    assert threshold((51, 51)) == 3
    assert threshold((51,)) == threshold((1, 51)) == pytest.approx(4.11, abs=0.01)
    assert threshold((1001,)) > threshold((51,))
