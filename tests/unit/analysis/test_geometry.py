"""Numbers of analytic surfaces are the analytic numbers."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from landscape.analysis.geometry import (
    barrier,
    barrier_between,
    barrier_error,
    basin,
    between,
    centre,
    convex,
    difference,
    interval,
    loss_range,
    roughness,
)

X, Y = np.linspace(-1, 1, 21), np.linspace(-2, 2, 11)
XX, YY = np.meshgrid(X, Y)


def convex_fraction(loss, x, y):
    inner = convex(loss, x, y)
    return float(inner.mean()) if inner.count() else np.nan


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


# Basins


def test_the_area_of_a_bowl_is_that_of_an_ellipse():
    """(x/a)² + (y/b)² < t is an ellipse of area πabt; the spacings of x and y differ, and so do a and b."""
    x, y = np.linspace(-1, 1, 81), np.linspace(-3, 3, 61)
    loss = (x / 0.5) ** 2 + (y[:, None] / 2) ** 2
    for level in (0.3, 1, 2):
        size, censored = basin(loss, level, x, y)
        assert size == pytest.approx(np.pi * 0.5 * 2 * level, rel=0.01)
        assert not censored
    size, censored = basin(loss, 3, x, y)  # its half-axis along y is 2√3 > 3
    assert censored and size < np.pi * 3


def test_the_area_converges_with_the_square_of_the_spacing():
    def off(n):
        x, y = np.linspace(-1, 1, n), np.linspace(-2, 2, n)
        return abs(basin(x**2 + y[:, None] ** 2, 0.7, x, y).size - np.pi * 0.7)

    assert off(81) < off(21) / 8


def test_the_area_is_exact_where_the_surface_is_linear_between_points():
    """|x|/a + |y|/b < t is a rhombus of area 2abt²; half-planes cut a rectangle at every angle."""
    diamond = np.abs(XX) / 0.5 + np.abs(YY) / 1.5
    assert basin(diamond, 1.1, X, Y) == pytest.approx((2 * 0.5 * 1.5 * 1.1**2, False))
    for slope in (0.0, 0.3, -1.0, 7.0):
        # Below y = slope · x through the middle: half of the rectangle.
        assert basin(YY - slope * XX - 1e-12, 0, X, Y) == pytest.approx((4, True))
    assert basin(XX - 0.33, 0, X, Y).size == pytest.approx(1.33 * 4)
    assert basin(YY - 0.33, 0, X, Y).size == pytest.approx(2.33 * 2)


def test_spacing_need_not_be_even_nor_rising():
    x, y = np.array([-1, -0.9, -0.2, 0, 0.5, 0.6, 1.0]), np.array([2, 1.5, 0, -0.1, -2])
    loss = np.abs(x) + 0 * y[:, None]
    assert basin(loss, 0.55, x, y) == pytest.approx((1.1 * 4, True))
    assert basin(loss[::-1, ::-1], 0.55, x[::-1], y[::-1]) == pytest.approx((1.1 * 4, True))


def test_rows_are_y_and_columns_are_x():
    tall = (X / 0.2) ** 2 + (Y[:, None] / 1.5) ** 2
    assert not basin(tall, 1, X, Y).censored
    assert basin(tall.T, 1, Y, X) == pytest.approx(basin(tall, 1, X, Y))
    assert basin(np.abs(YY), 0.7, X, Y) == pytest.approx((2 * 1.4, True))


def test_only_the_connected_region_counts():
    x, y = np.linspace(-2, 2, 161), np.linspace(-1, 1, 81)
    double = np.minimum((x - 1) ** 2, (x + 1) ** 2 + 0.1) + y[:, None] ** 2
    assert basin(double, 0.5, x, y, around="least") == pytest.approx((np.pi * 0.5, False), rel=0.01)
    assert basin(double, 0.5, x, y) == (0, False)  # at the centre the loss is 1
    assert basin(double, 0.5, x + 1, y) == pytest.approx((np.pi * 0.4, False), rel=0.01)  # the shallow one


def test_regions_that_meet_only_in_the_middle_of_a_cell_are_one():
    """Two low corners on a diagonal are joined if the mean of the four is low, as in a bilinear patch."""
    x = np.array([0.0, 1.0])
    assert basin(np.array([[0.0, 1.5], [1.5, 0.0]]), 1, x, x).size > 0.5
    apart = basin(np.array([[0.0, 4.0], [4.0, 0.0]]), 1, x, x).size
    # One corner: two triangles of area ¼ with the values 0, 2 and 4, cut off at ½ and ¼ of their sides.
    assert apart == pytest.approx(2 * (1 / 4) * (1 / 2) * (1 / 4))


def test_a_basin_that_reaches_what_is_not_known_is_censored():
    bowl = XX**2 + YY**2
    holed = bowl.copy()
    holed[[0, -1]], holed[:, [0, -1]] = np.nan, np.inf
    assert basin(holed, 0.5, X, Y) == pytest.approx(basin(bowl, 0.5, X, Y))
    holed[5, 13] = np.nan
    assert basin(holed, 0.5, X, Y).censored
    assert basin(holed, 0.5, X, Y).size < basin(bowl, 0.5, X, Y).size
    corner = np.ones((4, 4))
    corner[1, 1], corner[0, 0] = 0, np.nan  # three of the four cells around the low point are known
    assert basin(corner, 0.5, np.arange(-1, 3), np.arange(-1, 3)) == pytest.approx(
        (3 * 2 * (1 / 4) * (1 / 2) * (2 / 3), True)
    )
    corner[0, 0] = 1
    assert not basin(corner, 0.5, np.arange(-1, 3), np.arange(-1, 3)).censored
    alone = np.full((3, 3), np.nan)
    alone[1, 1] = 0
    assert basin(alone, 1, np.arange(-1, 2), np.arange(-1, 2)) == (0, True)


def test_widths_of_a_line():
    assert basin(np.abs(X) * 2, 0.77, X) == pytest.approx((0.77, False))
    x = np.linspace(-1, 1, 401)
    assert basin(x**2, 0.3, x) == pytest.approx((2 * 0.3**0.5, False), rel=1e-4)
    assert basin(-x, 0.3, x) == pytest.approx((1.3, True))
    loss = np.abs(x)
    loss[250] = np.nan  # at 0.25
    assert basin(loss, 0.5, x) == pytest.approx((0.5 + 0.245, True))
    well = (x**2 - 0.25) ** 2
    assert basin(well, 0.05, x) == (0, False)
    least = basin(well, 0.01, x, around="least")  # 0.15 < x² < 0.35, once
    assert least.size == pytest.approx(0.35**0.5 - 0.15**0.5, rel=1e-3)


def test_basins_without_a_point_to_start_from():
    assert np.isnan(basin(XX[:, :5], 1, X[:5], Y).size)
    assert np.isnan(basin(np.full(XX.shape, np.inf), 1, X, Y).size)
    assert np.isnan(basin(np.full(XX.shape, np.nan), 1, X, Y, around="least").size)
    assert basin(np.full(XX.shape, 3.0), 3, X, Y) == (0, False)
    assert basin(np.full(XX.shape, 3.0), 3.1, X, Y) == pytest.approx((8, True))


# Barriers


def test_barriers_of_a_double_well():
    x = np.linspace(0, 1, 101)
    well = 16 * x**2 * (1 - x) ** 2  # 0 at both ends, 1 in the middle
    assert barrier(well, x) == pytest.approx((1, 1, 1))
    tilted = well + 0.5 * x  # the straight line takes the tilt away, the ends do not
    assert barrier(tilted, x).over_line == pytest.approx(1)
    assert barrier(tilted, x).over_mean == pytest.approx(tilted.max() - 0.25)
    assert barrier(tilted, x).over_larger == pytest.approx(tilted.max() - 0.5)


def test_a_path_without_a_barrier():
    x = np.array([-1.0, -0.7, 0.1, 2.0])
    assert barrier(3 * x + 1, x) == pytest.approx((0, 4.5, 0))
    assert barrier(x**2, x) == pytest.approx((0, 1.5, 0))
    assert barrier(x**2, x).over_line == 0


def test_barriers_of_what_is_not_finite():
    x = np.arange(4.0)
    assert barrier(np.array([0, np.inf, 1, 2]), x) == (np.inf,) * 3
    assert np.isnan(barrier(np.array([0, np.nan, 1, 2]), x)).all()
    assert np.isnan(barrier(np.array([0, 1, 1, np.inf]), x)).all()


def test_the_error_of_a_barrier_is_its_spread_over_independent_noise():
    x = np.linspace(0, 1, 5)
    loss, error = np.array([0.2, 1, 5, 2, 0.6]), np.array([0.02, 0.1, 0.05, 0.1, 0.04])
    generator = np.random.default_rng(0)
    heights = [barrier(loss + error * generator.standard_normal(5), x).over_line for _ in range(4000)]
    assert barrier_error(loss, error, x) == pytest.approx(np.std(heights), rel=0.05)


def test_a_barrier_between_two_networks_is_within_the_line_that_holds_both():
    x = np.linspace(-0.5, 1.5, 9)
    loss = np.where((x < 0) | (x > 1), 99, 16 * x**2 * (1 - x) ** 2)
    assert barrier_between(loss, np.full(9, 0.1), x) == pytest.approx((1, 0.1 * 1.5**0.5))
    assert barrier_between(loss[3:], np.full(6, 0.1), x[3:]) is None


# Roughness


def test_a_quadratic_surface_is_not_rough():
    error = np.full(XX.shape, 0.01)
    assert roughness(XX**2 + YY**2 + XX * YY + 1, error) == pytest.approx((0, 0, 17 * 7))
    assert roughness(X**2 + 1, error[0]) == pytest.approx((0, 0, 17))


@pytest.mark.parametrize("surface", ["bowl", "plateau", "saddle", "softplus"])
def test_noise_as_stated_has_ratio_one(surface):
    x, y = np.linspace(-1, 1, 51), np.linspace(-2, 2, 41)[:, None]
    loss = {
        "bowl": 0.01 + 10 * x**2 + y**2,
        "plateau": 2.3 + 0 * (x + y),
        "saddle": 5 + x**2 - y**2,
        "softplus": np.logaddexp(0, 3 * x + y) + x**2,
    }[surface]
    error = 0.02 * loss
    ratios = [
        roughness(loss + error * np.random.default_rng(seed).standard_normal(loss.shape), error) for seed in range(20)
    ]
    assert np.mean([r.ratio for r in ratios]) == pytest.approx(1, abs=0.02)
    assert max(abs(r.ratio - 1) for r in ratios) < 0.1
    assert max(r.excess for r in ratios) < 0.01


def test_structure_beyond_the_noise_is_found_at_its_size():
    """White structure of 5 % under noise of 2 %: excess 5 %, ratio √(5² + 2²)/2, on any scale of the loss."""
    generator = np.random.default_rng(0)
    x, y = np.linspace(-1, 1, 61), np.linspace(-2, 2, 51)[:, None]
    for scale in (1, 1e6):
        loss = scale * (1 + x**2 + y**2)
        rough = loss * (1 + 0.05 * generator.standard_normal(loss.shape))
        measured = rough + 0.02 * loss * generator.standard_normal(loss.shape)
        ratio, excess, _ = roughness(measured, 0.02 * loss)
        assert excess == pytest.approx(0.05, rel=0.07)
        assert ratio == pytest.approx(np.hypot(5, 2) / 2, rel=0.07)


def test_roughness_grows_with_structure():
    x, y = np.linspace(-1, 1, 51), np.linspace(-1, 1, 51)[:, None]
    error = np.full((51, 51), 0.01)
    ripples = [1 + x**2 + y**2 + a * np.sin(40 * x) * np.sin(40 * y) for a in (0, 0.05, 0.1, 0.2)]
    each = [roughness(loss, error) for loss in ripples]
    assert all(a.ratio < b.ratio and a.excess < b.excess for a, b in pairwise(each))


def test_windows_that_are_not_whole_are_left_out():
    loss, error = XX**2 + YY**2 + 1, np.full(XX.shape, 0.01)
    loss[0], loss[:, -1] = np.nan, np.inf
    assert roughness(loss, error) == pytest.approx((0, 0, 16 * 6))
    error[:, 10] = np.nan  # interpolated: columns 0 to 9 and 11 to 19 are left
    assert roughness(loss, error).windows == (6 + 5) * 6
    assert roughness(loss, np.full(XX.shape, np.nan)).windows == 0
    assert np.isnan(roughness(loss[:4], error[:4]).ratio)
    assert roughness(-loss, np.full(XX.shape, 0.01)).windows == 0  # nothing to be relative to
    assert roughness(1 + XX**4, np.zeros(XX.shape)).ratio == np.inf


# Repeats


def test_an_interval_is_students():
    """Of 1 … 5: mean 3, standard error 1/√2, and t(0.975, 4) = 2.776445."""
    mean, low, high, number = interval([1, 2, np.nan, 3, 4, 5, np.inf])
    assert (mean, number) == (3, 5)
    assert (high - 3, 3 - low) == pytest.approx((2.776445 / 2**0.5,) * 2)


def test_a_difference_is_welchs():
    """At the confidence of scipy's own test, one bound is 0."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(1, 1, 5), generator.normal(0, 4, 12)
    p = stats.ttest_ind(a, b, equal_var=False).pvalue
    mean, *bounds, number = difference(a, [*b, np.nan], confidence=1 - p)
    assert (mean, number) == (pytest.approx(a.mean() - b.mean()), 17)
    assert min(map(abs, bounds)) == pytest.approx(0, abs=1e-9)
    assert np.mean(bounds) == pytest.approx(mean)


def test_too_few_repeats_have_no_bounds():
    assert np.isnan(interval([])[:3]).all()
    assert interval([2.0]).mean == 2 and np.isnan(interval([2.0])[1:3]).all()
    assert difference([2.0], [1, 0]).mean == 1.5 and np.isnan(difference([2.0], [1, 0])[1:3]).all()
    assert interval([2.0, 2.0]) == (2, 2, 2, 2)
    assert difference([2.0, 2.0], [1.0, 1.0]) == (1, 1, 1, 4)
    low, high = difference([2.0, 2.0], [0.0, 2.0])[1:3]  # one group is certain: the other's t with 1 degree
    assert (1 - low, high - 1) == pytest.approx((12.7062,) * 2, rel=1e-5)


def test_intervals_hold_the_mean_as_often_as_they_say():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 1, (1000, 4)), generator.normal(0, 3, (1000, 6))
    held = [low <= 0 <= high for low, high in (interval(row)[1:3] for row in a)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)
    held = [low <= 0 <= high for low, high in (difference(r, s)[1:3] for r, s in zip(a, b, strict=True))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_one_high_corner_makes_nothing_else_convex():
    """Rounding is that of the losses around a point, not that of the largest of all."""
    loss = np.sin(9 * XX) + np.cos(7 * YY) + 3
    inner = convex(loss, X, Y)
    loss[-1, -1] = 1e14
    np.testing.assert_array_equal(convex(loss, X, Y)[:-1, :-1], inner[:-1, :-1])


def test_a_slice_is_as_convex_on_axes_that_descend_or_are_uneven():
    x, y = np.sign(X) * np.abs(X) ** 1.7, np.cumsum(1 + np.arange(11) % 3.0)
    for axes in ((x, y), (x[::-1], y), (x[::-1], y[::-1])):
        at = np.meshgrid(*axes)
        assert convex_fraction(1 + at[0] ** 2 + 3 * at[1] ** 2 + at[0] * at[1], *axes) == 1
        assert convex_fraction(1 + at[0] ** 2 - 0.1 * at[1] ** 2 + at[0] * at[1], *axes) == 0


def test_where_noise_decides_convexity_is_not_known():
    """Of (x² − ¼)² + y², curvatures along x are 12x² − 1, and differences err by √6 σ/h²."""
    random = np.random.default_rng(0)
    x = np.linspace(-1, 1, 41)
    true = (x**2 - 0.25) ** 2 + x[:, None] ** 2
    sigma = 4e-4
    error = np.full(true.shape, sigma)
    curvature = np.broadcast_to(12 * x[1:-1] ** 2 - 1 + 2 * 0.05**2, (39, 39))
    noisy, without = [], []
    for _ in range(20):
        loss = true + random.normal(0, sigma, true.shape)
        inner = convex(loss, x, x, error)
        hidden = np.ma.getmaskarray(inner)
        assert (hidden == (np.abs(curvature) < 2 * 6**0.5 * sigma / 0.05**2)).mean() > 0.8
        noisy.append(np.mean((inner.data != (curvature > 0))[~hidden]))
        without.append(np.mean(convex(loss, x, x).data != (curvature > 0)))
    assert np.mean(noisy) < 0.03 < np.mean(without)


def test_a_line_holds_both_networks_where_its_coordinates_are_rounded():
    x = np.array([-0.2, 3e-17, 0.5, 1 - 2e-16, 1.2])
    assert between(x) == slice(1, 4) == between(x[::-1])
    assert between(x[2:]) is None
    assert centre(np.arange(5.0), x) == 1
    assert barrier_between(np.array([9, 1, 4, 1, 9.0]), np.zeros(5), x) == (3, 0)
