"""Plans hold the lesions that they say, each random one by itself."""

from itertools import pairwise, permutations
from math import comb

import numpy as np
import pytest
from scipy.stats import kendalltau

from ensemble.lesions.plans import (
    FIRST,
    SECOND,
    contiguous,
    deletions,
    gates,
    intact,
    kendall_tau,
    listed,
    neighbours,
    orders,
    pairs,
    permuted,
    repetitions,
    reversals,
    sampled,
    swapped,
)
from landscape.errors import BadInput

STAGES = [[1, 2, 3], [5, 6], [8, 9, 10, 11]]
NAMES = [f"stages.{i}" for i in range(12)]


def test_kendalls_tau_is_scipys():
    orders = np.array([*permutations(range(5)), *([4, 3, 2, 1, 0], [0, 1, 2, 3, 4])])
    expected = [kendalltau(range(5), row).statistic for row in orders]
    np.testing.assert_allclose(kendall_tau(orders), expected, atol=1e-15)
    assert kendall_tau(np.array([[0, 1, 2], [2, 1, 0], [0, 2, 1]])).tolist() == [1, -1, pytest.approx(1 / 3)]
    assert kendall_tau(np.array([[0]])) == 1


def test_swaps_stay_within_stages_and_grow():
    order, swaps = swapped(12, STAGES, [1, 2, 20], 200, seed=0)
    assert swaps.tolist() == [0] + [1] * 200 + [2] * 200 + [20] * 200
    assert (np.sort(order, axis=1) == np.arange(12)).all()
    for stage in STAGES:
        assert (np.sort(order[:, stage], axis=1) == stage).all()
    np.testing.assert_array_equal(order[:, [0, 4, 7]], np.tile([0, 4, 7], (601, 1)))
    moved = (order != np.arange(12)).sum(axis=1)
    assert set(moved[swaps == 1]) == {2} and set(moved[swaps == 2]) <= {0, 3, 4}


def test_more_swaps_are_farther_from_the_order_that_was():
    deep = [[*range(1, 18)], [*range(19, 36)], [*range(37, 54)]]
    order, swaps = swapped(54, deep, [1, 3, 10, 30], 60, seed=0)
    tau = kendall_tau(order)
    medians = [np.median(tau[swaps == k]) for k in (0, 1, 3, 10, 30)]
    assert medians[0] == 1 and all(a > b for a, b in pairwise(medians))


def test_any_two_blocks_of_a_stage_are_swapped_as_often_as_any_others():
    order, _ = swapped(12, STAGES, [1], 4000, seed=1)
    couples = [tuple(np.flatnonzero(row != np.arange(12))) for row in order[1:]]
    number = comb(3, 2) + comb(2, 2) + comb(4, 2)
    counts = np.unique(couples, axis=0, return_counts=True)[1]
    assert len(counts) == number
    assert (abs(counts - 4000 / number) < 5 * np.sqrt(4000 / number)).all()


@pytest.mark.parametrize("draw", [lambda **k: swapped(12, STAGES, **k)[0], lambda **k: repeated(**k)])
def test_more_trials_and_counts_change_no_other_trial(draw):
    few, more = draw(counts=[2], trials=3, seed=4), draw(counts=[1, 2, 3], trials=7, seed=4)
    np.testing.assert_array_equal(few[1:], more[8:11])
    assert not np.array_equal(few, draw(counts=[2], trials=3, seed=5))


def repeated(counts, trials, seed):
    return sampled(12, counts, trials, seed)


def test_permutations_are_random_within_each_stage():
    order = permuted(12, STAGES, 500, seed=0)
    np.testing.assert_array_equal(order[:8], permuted(12, STAGES, 7, seed=0))
    assert order[0].tolist() == list(range(12))
    for stage in STAGES:
        assert (np.sort(order[:, stage], axis=1) == stage).all()
    assert len({tuple(row) for row in order[1:, STAGES[0]]}) == 6
    assert len({tuple(row) for row in order[1:, STAGES[2]]}) == 24


def test_stages_and_runs_are_reversed():
    order = reversals(12, STAGES)
    assert len(order) == 5
    assert order[1].tolist() == [0, 3, 2, 1, *range(4, 12)]
    assert order[-1].tolist() == [0, 3, 2, 1, 4, 6, 5, 7, 11, 10, 9, 8]
    runs = reversals(12, STAGES, [2, 3])
    assert len(runs) == 1 + (2 + 1 + 3) + (1 + 2)
    assert runs[1].tolist() == [0, 2, 1, *range(3, 12)]
    assert runs[-1].tolist() == [*range(9), 11, 10, 9]
    for counts in ([1], [5]):
        with pytest.raises(BadInput, match="2 to 4 blocks"):
            reversals(12, STAGES, counts)


def test_blocks_in_a_row_are_every_run_once():
    chosen = contiguous(6, [1, 3])
    assert chosen.sum(1).tolist() == [0] + [1] * 6 + [3] * 4
    for row in chosen[1:]:
        places = np.flatnonzero(row)
        assert (np.diff(places) == 1).all()
    assert len({tuple(row) for row in chosen}) == 11


def test_sets_are_read_a_line_each():
    chosen = listed(NAMES, [["stages.0", "stages.3"], ["stages.11"]])
    assert [np.flatnonzero(row).tolist() for row in chosen] == [[], [0, 3], [11]]
    with pytest.raises(BadInput, match=r"no removable block is called stages\.12"):
        listed(NAMES, [["stages.1", "stages.12"]])
    with pytest.raises(BadInput, match="empty"):
        listed(NAMES, [])


def test_neighbours_are_in_one_stage_and_follow_each_other():
    plan = pairs(neighbours(12, [[1, 2, 3], [5, 7]]))
    assert len(plan) == 3
    assert [np.flatnonzero(row == FIRST).tolist() for row in plan["pair"]] == [[], [1], [2]]
    assert [np.flatnonzero(row == SECOND).tolist() for row in plan["pair"]] == [[], [2], [3]]


def test_a_plan_says_what_becomes_of_each_block():
    chosen = np.eye(4, dtype=bool)
    assert (deletions(chosen)["runs"] == 1 - np.eye(4)).all()
    assert (repetitions(chosen)["runs"] == 1 + np.eye(4)).all()
    assert orders(np.array([[1, 0, 2]]))["block"].tolist() == [[1, 0, 2]]
    gated = gates(4, [3, 1], np.array([[0.0, 0.5]]))
    assert gated["gate"].tolist() == [[1, 0.5, 1, 0]]
    for plan in (deletions(~np.ones((1, 4), bool)), gates(4, [0], np.ones((1, 1))), orders(np.arange(4)[None])):
        np.testing.assert_array_equal(plan[0], intact(4))


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: swapped(12, STAGES, [0], 5, 0),
        lambda: swapped(12, STAGES, [], 5, 0),
        lambda: swapped(12, STAGES, [1], 0, 0),
        lambda: permuted(12, STAGES, 0, 0),
        lambda: contiguous(12, [13]),
    ],
)
def test_impossible_plans_are_refused(impossible):
    with pytest.raises(BadInput):
        impossible()


def test_sets_of_blocks_are_drawn_apart_and_evenly():
    """Three of ten, 120 sets: of 1,000 draws nearly all come, and each block in three of ten."""
    drawn = sampled(10, [3], 1000, 0, again=True)[1:]
    assert (drawn.sum(axis=1) == 3).all() and len(np.unique(drawn, axis=0)) > 115
    np.testing.assert_allclose(drawn.mean(axis=0), 0.3, atol=4 * np.sqrt(0.3 * 0.7 / 1000))
    np.testing.assert_array_equal(drawn[:50], sampled(10, [3], 50, 0)[1:])  # more trials go on with the same ones
    assert (drawn[:50] != sampled(10, [3], 50, 1)[1:]).any()
