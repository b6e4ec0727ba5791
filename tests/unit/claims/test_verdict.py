"""Verdicts: intervals against scipy, and where they lie."""

import math

import numpy as np
import pytest
from scipy import stats

from ensemble.claims.verdict import Number, contrast, estimate, of_ranks, overall, verdict
from landscape.analysis.geometry import Interval

A = [Number(1.0), Number(2.5), Number(1.5), Number(2.2)]
B = [Number(3.0), Number(4.5), Number(3.1), Number(5.0)]


def values(numbers):
    return [number.value for number in numbers]


def test_the_interval_over_trainings_is_that_of_students_t():
    low, high = stats.t.interval(0.95, 3, np.mean(values(A)), stats.sem(values(A)))
    assert estimate(A) == pytest.approx((np.mean(values(A)), low, high, 4))


def test_the_interval_of_one_training_is_that_of_its_standard_error():
    low, high = stats.norm.interval(0.95, 5.0, 0.5)
    assert estimate([Number(5.0, 0.5, "images")]) == pytest.approx((5.0, low, high, 1))


def test_one_training_without_an_error_has_no_interval():
    assert np.isnan(estimate([Number(5.0)]).low)


def test_no_interval_reaches_beyond_what_the_number_can_be():
    shares = [Number(95.0, least=0, most=100), Number(99.0, least=0, most=100), Number(91.0, least=0, most=100)]
    assert estimate(shares).high == 100 and estimate(shares).low > 0
    assert estimate([Number(2.0, 5.0, "images", 0, 100)]).low == 0
    assert np.isnan(estimate([Number(2.0, math.nan, "", 0, 100)]).low)


def test_networks_that_were_trained_apart_are_compared_by_welch():
    theirs = stats.ttest_ind(values(A), values(B), equal_var=False).confidence_interval()
    ours = contrast(A, B, ratio=False, paired=False)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_numbers_of_the_same_trainings_are_compared_in_pairs():
    theirs = stats.ttest_rel(values(A), values(B)).confidence_interval()
    ours = contrast(A, B, ratio=False, paired=True)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_a_ratio_is_one_of_geometric_means():
    ours = contrast(A, B, ratio=True, paired=True)
    assert ours.mean == pytest.approx(stats.gmean(values(A)) / stats.gmean(values(B)))
    assert ours.low < ours.mean < ours.high


def test_a_ratio_with_what_is_not_positive_keeps_it_and_has_no_interval():
    """Two of three barriers are gone: left out, the third alone would say that a tenth is not reached."""
    aligned, plain = [Number(v, 0.01) for v in (0.0, 0.0, 0.2)], [Number(1.0, 0.01)] * 3
    ratio = contrast(aligned, plain, ratio=True, paired=True)
    assert ratio.mean == pytest.approx(0.2 / 3) and ratio.number == 3
    assert verdict(ratio, (-math.inf, 0.1)) == "cannot tell"
    assert math.isnan(contrast(plain, [Number(0.0)] * 3, ratio=True, paired=True).mean)


def test_of_several_trainings_one_that_is_left_has_no_interval():
    one = estimate([Number(1.0, 0.1), Number(math.nan), Number(math.nan)])
    assert one.mean == 1 and math.isnan(one.low) and math.isnan(one.high)


def test_a_training_that_diverged_is_left_out():
    assert estimate([*A, Number(math.nan)]) == estimate(A)


def test_the_errors_of_one_training_of_each_add_in_quadrature():
    ours = contrast([Number(5.0, 3.0)], [Number(1.0, 4.0)], ratio=False, paired=False)
    assert ours.high - ours.mean == pytest.approx(1.959964 * 5)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (1, 2, "holds"),
        (-2, -1, "does not hold"),
        (-1, 1, "cannot tell"),
        (0, 1, "holds"),
        (math.nan, math.nan, "cannot tell"),
    ],
)
def test_a_claim_of_more_than_0_holds_where_the_whole_interval_is_above(low, high, says):
    assert verdict(Interval((low + high) / 2, low, high, 3), (0, math.inf)) == says


def test_a_claim_of_a_range_needs_the_whole_interval_within():
    inside, across, beyond = (Interval(0, low, high, 3) for low, high in ((1, 2), (1, 4), (3.5, 4)))
    assert [verdict(each, (0, 3)) for each in (inside, across, beyond)] == ["holds", "cannot tell", "does not hold"]


def test_verdicts_are_right_as_often_as_they_say():
    """Of a claim on the edge of being true, 2.5 % of the verdicts say that it holds, and as many the reverse."""
    draws = np.random.default_rng(0).standard_normal((4000, 3))
    said = [verdict(estimate([Number(x) for x in each]), (0, math.inf)) for each in draws]
    for word in ("holds", "does not hold"):
        assert said.count(word) / len(said) == pytest.approx(0.025, abs=0.008)


def test_all_criteria_decide():
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "cannot tell"]) == "in part"
    assert overall(["does not hold", "holds"]) == "in part"
    assert overall(["cannot tell", "does not hold"]) == "does not hold"
    assert overall(["cannot tell"]) == "cannot tell"


def test_the_error_of_a_rank_correlation_is_what_draws_show():
    draws, correlations = np.random.default_rng(1), []
    for _ in range(2000):
        x = draws.standard_normal(40)
        correlations.append(stats.spearmanr(x, x + draws.standard_normal(40)).statistic)
    assert of_ranks(float(np.mean(correlations)), 40, "").se == pytest.approx(np.std(correlations), rel=0.1)


def test_errors_of_two_measurements_of_one_training_add_as_squares():
    """3-4-5: an interval of 1.96 times 0.5 around the difference."""
    low, high = stats.norm.interval(0.95, 1.0, 0.5)
    both = [Number(3.0, 0.3, "images")], [Number(2.0, 0.4, "images")]
    assert contrast(*both, ratio=False, paired=True) == pytest.approx((1.0, low, high, 1))
    assert contrast(*both, ratio=False, paired=False) == pytest.approx((1.0, low, high, 1))


def test_the_error_of_a_rank_correlation_is_bonetts_and_wrights():
    """√((1 + ρ²/2)/(n − 3)) on Fisher's scale, which is narrower by 1 − ρ² on ρ's own."""
    assert of_ranks(0.0, 12, "trials").se == pytest.approx(1 / 3)
    assert of_ranks(-0.8, 36, "trials").se == pytest.approx(0.36 * math.sqrt(1.32 / 33))


def test_the_error_of_a_ratio_is_relative_to_each_number():
    """12 % and 5 % of them: 13 % of the ratio."""
    low, high = np.exp(stats.norm.interval(0.95, math.log(2), 0.13))
    both = [Number(8.0, 0.96, "images")], [Number(4.0, 0.2, "images")]
    assert contrast(*both, ratio=True, paired=True) == pytest.approx((2.0, low, high, 1))
