"""Certified radii: the bounds against scipy's, the confidence against simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from landscape.analysis.basins import certificate, certified_radius, clopper_pearson, fewest, inside
from landscape.engine.run import run
from landscape.errors import BadInput

RADII = np.linspace(0, 1, 41)


@pytest.mark.parametrize(("count", "number"), [(0, 10), (1, 10), (7, 10), (10, 10), (58, 60), (59, 60)])
def test_bounds_are_those_of_the_exact_binomial_test(count, number):
    low, high = clopper_pearson(np.array(count), number, 0.95)
    assert low == pytest.approx(binomtest(count, number, alternative="greater").proportion_ci(0.95).low)
    assert high == pytest.approx(binomtest(count, number, alternative="less").proportion_ci(0.95).high)


def test_what_has_once_left_the_basin_is_outside_from_there_on():
    excess = np.array([[-1, 1, -1, -1], [-1, -1, np.nan, -1], [-1, -1, 0, np.inf], [-2, -2, -2, -2]])
    assert inside(excess).sum(axis=1).tolist() == [1, 2, 3, 4]


def test_the_certified_radius_is_the_last_whose_bound_reaches_the_share():
    """Of 60 directions 59 must stay inside: then the bound is 0.923, with 58 it is 0.899."""
    reach = np.r_[RADII[[8, 16, 24]], np.ones(57)]
    certified = certificate(reach[:, None] >= RADII, RADII, 0.9, 0.95)
    assert certified.radius == RADII[16] and not certified.is_last
    np.testing.assert_allclose(certified.reach, reach)
    assert certified.staying[0] == 60 and certified.staying[-1] == 57


def test_the_last_radius_and_none_are_told_apart():
    all_, none = (
        certificate(np.ones((29, 3), bool), RADII[:3], 0.9, 0.95),
        certificate(np.zeros((29, 3), bool), RADII[:3], 0.9, 0.95),
    )
    assert all_.is_last and all_.radius == RADII[2]
    assert np.isnan(none.radius) and not none.is_last and np.isnan(none.reach).all()


@pytest.mark.parametrize(("share", "confidence"), [(0.9, 0.95), (0.5, 0.95), (0.9, 0.8), (0.99, 0.99), (0.5, 0.5)])
def test_so_many_directions_are_needed_and_enough(share, confidence):
    least = fewest(share, confidence)
    assert certificate(np.ones((least, 1), bool), RADII[:1], share, confidence).radius == 0
    if least > 1:
        with pytest.raises(BadInput, match=f"give {least} or more"):
            certificate(np.ones((least - 1, 1), bool), RADII[:1], share, confidence)


@pytest.mark.parametrize("radii", [np.array([0.1]), np.linspace(0, 1, 11), np.linspace(0, 1, 401)], ids=len)
def test_certificates_are_wrong_in_one_of_twenty_draws_at_most_however_many_radii_there_are(radii):
    """Directions reach as far as a uniform number: nine of ten as far as 0.1, exactly."""
    draws, wrong = np.random.default_rng(0), 0
    for _ in range(2000):
        certified = certificate(draws.uniform(size=(60, 1)) >= radii, radii, 0.9, 0.95)
        wrong += certified.radius > 0.1 + 1e-12
    assert binomtest(wrong, 2000, 0.05, alternative="greater").pvalue > 1e-3


def test_a_bound_at_each_radius_for_itself_would_hold_at_all_of_them_less_often():
    """What the order of the radii is good for: bounds of what is not nested are wrong somewhere far more often."""
    draws, wrong = np.random.default_rng(0), 0
    for _ in range(500):
        count = draws.binomial(60, 0.899, size=40)  # of 40 radii, none of which is certified rightly
        wrong += bool((clopper_pearson(count, 60, 0.95)[0] >= 0.9).any())
    assert wrong > 150


@pytest.mark.parametrize(("share", "confidence"), [(0, 0.95), (1, 0.95), (0.9, 0), (0.9, 1.5)])
def test_what_is_no_part_of_a_whole_is_refused(share, confidence):
    with pytest.raises(BadInput, match="give a part of all"):
        certificate(np.ones((60, 2), bool), RADII[:2], share, confidence)


def test_beyond_noise_only_what_lies_below_the_level_by_its_standard_errors_stays():
    """Below by 1 standard error is inside, and not beyond the noise; by 3 it is both."""
    excess, error = np.array([[-3.0, -3.0, -1.0]] * 30), np.ones((30, 3))
    axes = {"direction": np.arange(30), "radius": RADII[:3]}
    rows = np.stack(np.meshgrid(np.arange(30), np.arange(3), indexing="ij"), -1).reshape(-1, 2)
    results = run(
        lambda part: ({"excess": excess[d, r], "excess_se": error[d, r]} for d, r in part),
        rows,
        dims=("direction", "radius"),
        coordinates=axes,
        attributes={"share": 0.9, "confidence": 0.95},
        quiet=True,
    )
    assert certified_radius(results).radius == RADII[2]
    assert certified_radius(results, noise=True).radius == RADII[1]
