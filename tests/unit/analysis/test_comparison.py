"""Repeats have intervals, two networks have differences, and only what was measured alike is set side by side."""

import math

import numpy as np
import pytest
from analytic import BOWL, XX, YY, X, Y, bowls, lesions, maker, numbers, other, values
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.analysis.comparison import _line, compare
from landscape.analysis.numbers import Row
from landscape.analysis.tables import notes
from landscape.errors import BadInput


@pytest.fixture
def surface(tmp_path):
    return maker(tmp_path)


def test_repeats_in_a_file_and_files_of_other_seeds_are_pooled(surface):
    """Areas πw² below 2, each from a circle on the grid of its own; an interval is Student's."""
    widths = [0.5, 0.6, 0.7, 0.8]
    together = numbers(surface(bowls(*widths)), loss_level=2)
    apart = numbers(*(surface(bowls(w)[0], seed=i) for i, w in enumerate(widths)), loss_level=2)
    mixed = numbers(surface(bowls(*widths[:3])), surface(bowls(*widths[3:]), seed=1), loss_level=2)
    assert repr(together) == repr(apart) == repr(mixed)  # NaN and all
    result = together["basin area around the centre, loss < 2 nats"]
    areas = math.pi * np.square(widths)
    low, high = stats.ttest_1samp(areas, 0).confidence_interval()
    assert result == (
        pytest.approx(areas.mean(), rel=0.01),
        pytest.approx(low, rel=0.05),
        pytest.approx(high, rel=0.01),
        *(4, 0, 0),
    )


def test_largest_losses_have_a_geometric_mean(surface):
    tops = [10.0, 1000.0, 30.0]
    lines = compare([surface(np.stack([top * (1 + BOWL) / 6 for top in tops]))]).lines
    (line,) = (line for line in lines if line.name.startswith("largest"))
    assert line.name == "largest loss, geometric mean" and line.geometric
    low, high = np.exp(stats.ttest_1samp(np.log(tops), 0).confidence_interval())
    assert line.estimates[0][:3] == pytest.approx((math.exp(np.log(tops).mean()), low, high))


def test_without_repeats_there_is_the_number_alone(surface):
    for line in compare([surface(BOWL)]).lines:
        assert np.isnan(line.estimates[0][1:3]).all() and line.difference is None
        assert "geometric" not in line.name
    assert values(surface(7.1 * (1 + BOWL), seed=1))["largest loss"] == 7.1 * 6


def test_the_centre_is_one_point_in_all_repeats_and_no_interval_of_copies(surface):
    by_name = numbers(surface(bowls(0.4, 0.5, 0.7)), surface(bowls(0.6, 0.8), seed=1))
    assert by_name["loss at the centre"] == pytest.approx((1, np.nan, np.nan, 1, 0, 0), nan_ok=True)
    assert by_name["convex part of the slice"] == (100, 100, 100, 5, 0, 0)


def test_intervals_end_where_numbers_do(surface):
    """Shares of 100, 100 and 59 %: Student's interval goes beyond 100 %."""
    rippled = 1 + np.cos(6 * XX) + 0 * YY
    by_name = numbers(surface(np.stack([1 + BOWL, 2 + BOWL, rippled])))
    assert by_name["convex part of the slice"].low < by_name["convex part of the slice"].mean < 100
    assert by_name["convex part of the slice"].high == 100
    assert by_name["minima above the noise, on the rim"].low == 0


def test_what_does_not_exist_is_left_out_of_intervals(surface):
    loss = bowls(0.4, 0.5, 0.7)
    loss[1] = np.nan
    by_name = numbers(surface(loss), loss_level=2)["basin area around the centre, loss < 2 nats"]
    assert by_name.mean == pytest.approx(math.pi * (0.4**2 + 0.7**2) / 2, rel=0.01)
    assert (by_name.repeats, by_name.missing) == (2, 1)


def test_basins_at_the_edge_make_the_mean_a_lower_bound(surface):
    by_name = numbers(surface(bowls(0.4, 0.5, 3.0)), loss_level=2)["basin area around the centre, loss < 2 nats"]
    assert by_name.mean == pytest.approx((math.pi * (0.4**2 + 0.5**2) + 8) / 3, rel=0.01)
    assert (by_name.high, by_name.censored, by_name.repeats) == (math.inf, 1, 3)


def test_an_infinite_barrier_is_an_infinite_mean(surface):
    x = np.linspace(0, 1, 11)
    lines = np.stack([1 + x * (1 - x)] * 3)
    lines[1, 5] = np.inf
    by_name = numbers(surface(lines, x, y=None))["barrier over the larger end, x 0 … 1"]
    assert (by_name.mean, by_name.repeats) == (math.inf, 3) and math.isnan(by_name.high)


def test_the_same_directions_twice_are_no_repeats(surface):
    a, b = surface(BOWL), surface(BOWL)
    with pytest.raises(BadInput, match="both have seed 0; leave one out"):
        compare([a, b])
    way = {"directions": "to other checkpoints", "to": ["b.pt"]}
    one, two = (surface(X**2, y=None, direction_digest=digest, **way) for digest in "ab")
    assert numbers(one, two)["roughness, beyond the noise"].repeats == 2
    again = surface(X**2, y=None, direction_digest="b", seed=5, **way)
    with pytest.raises(BadInput, match="both go along the same directions"):
        compare([one, two, again])


def test_the_same_sets_of_blocks_twice_are_no_repeats(tmp_path):
    plan = np.vstack([np.zeros((1, 3), bool), np.eye(3, dtype=bool)])
    files = [lesions(tmp_path / f"{i}.h5", plan, [1, 2, 3, 4], seed=i) for i in range(2)]
    with pytest.raises(BadInput, match="both have the same lesions"):
        compare(files)


@pytest.mark.slow
def test_a_difference_is_welchs(surface):
    a, b = [0.4, 0.5, 0.7, 0.9], [0.3, 0.35, 0.5]
    table = compare([surface(bowls(*a)), other(surface, bowls(*b))], loss_level=2)
    assert table.networks == ("net", "other")
    (line,) = (line for line in table.lines if "loss < 2" in line.name)
    areas = [
        [e.mean for e in (numbers(surface(bowls(w)[0], seed=9), loss_level=2)[line.name] for w in c)] for c in (a, b)
    ]
    welch = stats.ttest_ind(*areas, equal_var=False)
    assert line.difference[:3] == pytest.approx((np.mean(areas[0]) - np.mean(areas[1]), *welch.confidence_interval()))
    assert line.apart == (welch.pvalue < 0.05)
    (line,) = (line for line in table.lines if line.name.startswith("largest loss"))
    tops = [np.log([1 + 5 / w**2 for w in c]) for c in (a, b)]
    welch = stats.ttest_ind(*tops, equal_var=False)
    expected = np.exp([tops[0].mean() - tops[1].mean(), *welch.confidence_interval()])
    assert line.difference[:3] == pytest.approx(tuple(expected))


def test_only_what_was_measured_alike_is_set_against_each_other(surface):
    wide = other(surface, BOWL, 2 * X, Y)
    table = compare([surface(BOWL), surface(X**2, y=None), wide, other(surface, X**2, y=None)])
    assert len({line.part for line in table.lines}) == 3
    compared = {line.part for line in table.lines if line.difference}
    assert compared == {"surface on analytic, training data, x −1 … 1 (41 points), random, filter-normalised"}
    splits = compare([surface(BOWL), other(surface, BOWL, split="test")])
    assert not any(line.difference for line in splits.lines)
    assert notes(splits) == [
        ">, <: at least, at most, since a basin reaches the edge of what is known.",
        "Nothing was measured alike of net and other, so they are not told apart.",
    ]
    assert [line.part for line in splits.lines] == sorted((line.part for line in splits.lines), reverse=True)


@pytest.mark.slow
def test_what_basins_at_the_edge_leave_open_is_not_told_apart(surface):
    """If the first is at least this, the difference is at least this; of two bounds there is none."""
    name = "basin area around the centre, loss < 2 nats"

    def line(first, second):
        lines = compare([surface(bowls(*first)), other(surface, bowls(*second))], loss_level=2).lines
        return next(line for line in lines if line.name == name)

    small, large, edge = (0.3, 0.31, 0.32), (0.9, 0.91, 0.92), (0.9, 0.91, 3.0)
    assert line(small, large).apart and line(large, small).apart
    larger = line((3.0, 3.1, 3.2), small)
    assert larger.apart and larger.difference.high == math.inf and larger.difference.low > 0
    smaller = line(small, (3.0, 3.1, 3.2))
    assert smaller.apart and smaller.difference.low == -math.inf
    open_ = line((0.3, 0.31, 3.0), large)
    assert open_.difference.high == math.inf and not open_.apart
    both = line(edge, (3.0, 3.1, 3.2))
    assert math.isnan(both.difference.mean) and not both.apart


def test_networks_of_one_name_stay_apart_by_their_checkpoints(surface):
    table = compare([surface(BOWL), surface(BOWL, checkpoint="decaf" * 10)])
    assert table.networks == ("net c0ffee", "net decafde")


def test_three_networks_have_no_differences(surface):
    files = [surface(BOWL), other(surface, BOWL), surface(BOWL, checkpoint="third", network="third")]
    assert all(line.difference is None for line in compare(files).lines)


FINITE = st.floats(-1e3, 1e3).map(lambda v: round(v, 3))


VALUES = st.lists(st.one_of(FINITE, st.just(np.nan)), min_size=1, max_size=5)


@settings(deadline=None)
@given(VALUES, VALUES, st.booleans(), st.data())
def test_swapping_two_networks_turns_differences_round(a, b, geometric, data):
    if geometric:
        a, b = (np.abs(values) + 1e-3 for values in (a, b))
    marks = [data.draw(st.lists(st.booleans(), min_size=len(v), max_size=len(v))) for v in (a, b)]
    rows = {
        name: [Row("n", "u", v, m, least=-math.inf, geometric=geometric)]
        for name, v, m in zip("ab", (a, b), marks, strict=True)
    }
    one, two = _line("p", "n", "u", rows, ["a", "b"]), _line("p", "n", "u", rows, ["b", "a"])
    np.testing.assert_array_equal(one.estimates, two.estimates[::-1])
    mean, low, high, *counts = one.difference
    with np.errstate(divide="ignore"):
        turned = 1 / np.array([mean, high, low]) if geometric else -np.array([mean, high, low])
        np.testing.assert_allclose(two.difference[:3], turned, rtol=1e-9, atol=1e-9)
    assert [*two.difference[3:]] == counts
    assert one.apart == two.apart


def test_of_what_stands_above_an_unknown_noise_nothing_is_said(surface):
    """Imported surfaces have no standard errors: a count of minima would be that of a bowl, whatever the surface."""
    waves = 2 + np.cos(9 * XX) * np.cos(9 * YY)
    ours, imported = values(surface(waves)), values(surface(waves, se=np.nan))
    gone = {name for name in ours if name not in imported}
    assert gone == {name for name in ours if "noise" in name or "these examples" in name} and len(gone) == 11
    assert ours["minima above the noise"] > 1
    for name in imported:
        assert imported[name] == pytest.approx(ours[name], nan_ok=True)
    both = compare([surface(waves), other(surface, waves, se=np.nan)])
    (line,) = (line for line in both.lines if line.name == "minima above the noise")
    assert line.estimates[0].mean == ours["minima above the noise"] and line.estimates[1] is None


def test_a_heading_counts_the_trials_where_few_sets_are_all_there(tmp_path):
    """Of 4 blocks there are 4 sets of one, all of them, and 6 pairs, of which 5 are drawn."""
    singles, pairs = np.eye(4, dtype=bool), np.ones((5, 4), bool)
    pairs[:, 2:] = False
    plan = np.vstack([np.zeros((1, 4), bool), singles, pairs])
    heading = {line.part for line in compare([lesions(tmp_path / "a.h5", plan, 5.0)]).lines}
    assert heading == {"lesion on analytic, test data, 5 trials of each number"}
