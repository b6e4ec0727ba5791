"""Numbers of analytic surfaces are the analytic numbers."""

import numpy as np
import pytest

from landscape.geometry import centre, convex_fraction, loss_range

X, Y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 11)
XX, YY = np.meshgrid(X, Y)


@pytest.mark.parametrize(
    ("name", "loss", "fraction"),
    [
        ("bowl", XX**2 + YY**2, 1),
        ("tilted bowl", XX**2 + YY**2 + 1.9 * XX * YY, 1),
        ("saddle", XX**2 - YY**2, 0),
        ("saddle along the diagonals", XX * YY, 0),
        ("hill", -(XX**2) - YY**2, 0),
        ("plateau", np.full(XX.shape, 3.7), 1),
        ("slope", 1e6 * XX + 3 * YY, 1),
    ],
)
def test_convexity_is_known(name, loss, fraction):
    assert convex_fraction(loss, X, Y) == fraction


def test_a_double_well_is_convex_outside_its_inflections():
    """(x² − ¼)² has its inflections at |x| = 1/√12: the points inside are concave, h² aside."""
    x = np.linspace(-1, 1, 201)
    loss = np.broadcast_to((x**2 - 0.25) ** 2, (5, 201))
    assert convex_fraction(loss, x, np.linspace(0, 1, 5)) == pytest.approx(1 - 1 / 12**0.5, abs=0.01)


def test_points_that_are_not_finite_are_left_out():
    loss = XX**2 + YY**2
    loss[0, :] = np.inf
    loss[5, 5] = np.nan
    assert convex_fraction(loss, X, Y) == 1
    assert np.isnan(convex_fraction(np.full((3, 3), np.nan), np.arange(3.0), np.arange(3.0)))
    assert np.isnan(convex_fraction(np.zeros((2, 3)), np.arange(3.0), np.arange(2.0)))
    assert all(np.isnan(loss_range(np.array([np.nan, np.inf]))))


def test_the_centre_is_found_by_its_coordinates():
    assert centre(10 * YY + XX, X, Y) == 0
    assert centre(X + 5, X) == 5
    assert np.isnan(centre(X[:4], X[:4]))


def test_the_range_is_of_finite_losses():
    assert loss_range(np.array([[3.0, np.nan], [-1.0, np.inf]])) == (-1, 3)
