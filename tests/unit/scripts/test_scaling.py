"""The simulated scheduling agrees with what can be worked out by hand."""

import importlib.util

import numpy as np
import pytest
from files import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.engine.sweep import CHUNK, FLUSH

spec = importlib.util.spec_from_file_location("scaling", ROOT / "scripts" / "development" / "scaling.py")
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)
simulate, Costs = scaling.simulate, scaling.Costs

seconds = st.floats(1e-6, 1e-2)
some_costs = st.builds(Costs, *[seconds] * 8)
some_rows = st.lists(st.floats(1e-3, 20), min_size=1, max_size=80).map(np.array)
some_speeds = st.lists(st.sampled_from([0.2, 0.5, 1.0, 3.0]), min_size=1, max_size=12).map(np.array)


@pytest.mark.parametrize("cost", [0.001, 0.3, 40.0])
def test_one_rank_without_overhead_is_never_idle(cost):
    it = simulate(np.full(500, cost), np.ones(1))
    assert it.efficiency == pytest.approx(1)
    assert it.makespan == pytest.approx(500 * cost)


@settings(deadline=None)
@given(ranks=st.integers(1, 40), each=st.integers(1, 60), cost=st.sampled_from([1 / 1024, 1 / 32, 0.25, 0.5, 4.0]))
def test_equal_rows_that_divide_evenly_end_together(ranks, each, cost):
    it = simulate(np.full(ranks * each, cost), np.ones(ranks))
    assert it.makespan == pytest.approx(each * cost)


@settings(deadline=None)
@given(rows=st.integers(1, 300), ranks=st.integers(1, 40))
def test_equal_rows_that_do_not_divide_evenly_end_within_one_row(rows, ranks):
    it = simulate(np.full(rows, 0.125), np.ones(ranks))
    assert it.makespan == pytest.approx(-(-rows // ranks) * 0.125)


@settings(deadline=None)
@given(some_rows, some_speeds, some_costs)
def test_every_row_is_recorded_once_and_no_time_is_lost_sight_of(rows, speeds, costs):
    it = simulate(rows, speeds, costs, width=7)
    assert (it.times == 1).all()
    assert it.efficiency + it.waiting + it.tail == pytest.approx(1)
    assert it.makespan >= max(rows.sum() / speeds.sum(), rows.max() / speeds.max()) * (1 - 1e-12)
    assert min(it.waiting, it.tail, it.load) >= 0
    assert it.load <= 1 + 1e-12


@settings(deadline=None)
@given(some_rows, some_speeds, some_costs)
def test_the_keeper_is_busy_for_what_it_was_paid(rows, speeds, costs):
    it = simulate(rows, speeds, costs)
    assert it.load * it.makespan == pytest.approx(sum(times * getattr(costs, what) for what, times in it.paid.items()))


@pytest.mark.parametrize("ranks", [2, 5, 64])
def test_the_keeper_load_of_long_rows_follows_from_their_number(ranks):
    """A row longer than a chunk: asked for, told when measured, and told once more at the end of its chunk."""
    costs = Costs(ask=1e-3, row_out=2e-4, give=5e-4, row_in=3e-4)
    it = simulate(np.full(ranks * 20, 3.0), np.ones(ranks), costs)
    remote = it.paid["row_in"]
    assert abs(remote - 20 * (ranks - 1)) <= ranks
    # Every other rank also asks once in vain.
    expected = remote * (1e-3 + 2e-4 + 2 * 5e-4 + 3e-4) + (ranks - 1) * 1e-3
    assert it.load * it.makespan == pytest.approx(expected)


def test_ranks_that_ask_at_once_are_answered_one_after_the_other():
    ranks = 1000
    it = simulate(np.full(3 * ranks, 2.0), np.ones(ranks), Costs(ask=1e-3, latency=0.25))
    assert it.start == pytest.approx(0.25 + (ranks - 1) * 1e-3 + 0.25)


def test_a_keeper_that_cannot_follow_is_the_bottleneck():
    ranks, ask = 200, 0.01
    it = simulate(np.full(5_000, CHUNK), np.ones(ranks), Costs(ask=ask, flush=1e-3))
    assert it.load > 0.95
    assert it.waiting > it.tail
    remote = it.paid["row_out"]
    assert it.makespan == pytest.approx(remote * ask, rel=0.05)
    assert scaling.reason(it, np.full(5_000, CHUNK), np.ones(ranks)) == "keeper saturated"


def test_rows_are_on_the_disk_soon_while_the_keeper_has_time():
    it = simulate(np.full(4000, 0.1), np.ones(8), Costs(ask=1e-5, flush=0.02, line=1e-4), width=50)
    assert it.unsaved <= FLUSH + 0.02 + 1e-4 * 80 + CHUNK
    assert it.paid["flush"] == pytest.approx(it.makespan / FLUSH, abs=3)


def test_the_slow_rank_delays_the_end_and_the_reason_names_it():
    rows, speeds = np.full(60, 1.0), np.array([1.0, 1.0, 1.0, 0.01])
    it = simulate(rows, speeds)
    assert it.makespan == pytest.approx(100)
    assert "speed 0.01" in scaling.reason(it, rows, speeds)


def test_a_message_is_noticed_at_the_next_look():
    rows, speeds = np.full(2, 1.0), np.array([0.1, 1.0])
    it = simulate(rows, speeds, Costs(latency=0.003, poll=0.002))
    assert it.start == pytest.approx(0.008)  # asked at 0, taken up at 0.004, back at 0.007, seen at 0.008


def test_the_spreads_have_mean_1():
    for draw in scaling.SPREADS.values():
        assert draw(np.random.default_rng(0), 300_000).mean() == pytest.approx(1, abs=0.02)


def test_the_costs_are_timed_on_the_engine():
    arguments = scaling.parser().parse_args(["--latency", "0.5", "--message", "0.25"])
    costs = scaling.costs_of(arguments, 9)
    assert 0.5 <= costs.ask < 0.6 and 0.25 <= costs.give < 0.35 and costs.latency == 0.5
    assert 0 < costs.flush < 5 and costs.row_in > 0


@settings(deadline=None)
@given(some_rows, some_speeds)
def test_who_knows_all_costs_is_within_the_bounds_of_any_schedule(rows, speeds):
    last, even = scaling.longest_first(rows, speeds), rows.sum() / speeds.sum()
    assert last >= max(even, rows.max() / speeds.max()) * (1 - 1e-12)
    assert last <= (even + rows.max() / speeds.min()) * (1 + 1e-12)


def test_who_knows_all_costs_spreads_equal_rows_evenly_and_begins_with_the_long_one():
    assert scaling.longest_first(np.ones(10), np.ones(4)) == 3
    assert scaling.longest_first(np.ones(14), np.array([1.0, 0.5, 0.25])) == 8
    assert scaling.longest_first(np.array([1.0] * 6 + [6.0]), np.ones(2)) == 6
