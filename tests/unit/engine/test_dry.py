"""--dry-run tells what a run would take, and leaves nothing behind."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from landscape.engine import dry_run as dry
from landscape.engine.dry_run import Probe, estimate, planned, probe
from landscape.engine.table import prepare

POINTS = np.arange(60.0)[:, None]
PLAN = {"kind": "surface", "dims": ("x",), "coordinates": {"x": POINTS[:, 0]}}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only measured rows move, by their own cost."""
    now = SimpleNamespace(time=0.0, rows=0)
    monkeypatch.setattr(dry.time, "monotonic", lambda: now.time)

    def measuring(cost):
        def function(points):
            for (x,) in points:
                now.time += cost(x)
                now.rows += 1
                yield {"loss": x}

        return function

    now.measuring = measuring
    return now


def test_the_time_of_rows_that_cost_the_same_is_exact(clock):
    probes = probe(clock.measuring(lambda x: 0.125), POINTS)
    assert sum(p.seconds for p in probes) == clock.time - 0.125 and sum(p.rows for p in probes) == clock.rows - 1
    assert estimate(probes, rows=60, ranks=1) == (7.5, 0.0)
    assert estimate(probes, rows=60, ranks=3) == (2.5, 0.0)


def test_a_probe_of_many_ranks_looks_at_other_rows_on_each():
    seen = []
    for rank in range(3):
        mine = []

        def function(points, mine=mine):
            for (x,) in points[:1]:
                mine.append(x)
                yield {"loss": x}

        probe(function, POINTS, rank, 3)
        seen.append(set(mine))
    assert all(len(mine) == dry.PIECES for mine in seen) and len(set.union(*seen)) == 3 * dry.PIECES


def test_a_probe_ends_in_time_however_many_rows_there_are(clock):
    probe(clock.measuring(lambda x: 0.001), np.arange(100_000.0)[:, None])
    assert dry.BUDGET <= clock.time < dry.BUDGET + 0.1
    clock.time = 0.0
    assert probe(clock.measuring(lambda x: 100.0), POINTS) == [Probe(1, 100.0)]  # the first row has said it


def test_two_standard_errors_hold_the_time_of_most_plans(clock):
    held = 0
    for seed in range(100):
        costs = np.random.default_rng(seed).gamma(2, 0.1, 2000)
        probes = probe(clock.measuring(lambda x, costs=costs: costs[int(x)]), np.arange(2000.0)[:, None])
        estimated = estimate(probes, 2000, 1)
        held += abs(estimated.seconds - costs.sum()) < 2 * estimated.se
    assert held >= 85  # few pieces: a little less than 95 %


def test_one_piece_has_no_error():
    assert np.isnan(estimate([Probe(3, 1.5)], 10, 2).se) and estimate([Probe(3, 1.5)], 10, 2).seconds == 2.5


def test_a_row_without_end_ends_the_probe(monkeypatch):
    monkeypatch.setattr(dry, "PATIENCE", 0.2)

    def forever(points):
        while True:
            time.sleep(0.01)
        yield

    assert probe(forever, POINTS) == []


def test_a_plan_is_as_large_as_its_file_and_leaves_nothing(tmp_path):
    table, warnings, size = planned(tmp_path / "a.h5", POINTS, **PLAN)
    assert len(table) == 60 and not warnings and not any(tmp_path.iterdir())
    prepare(tmp_path / "a.h5", POINTS, **PLAN)
    assert size == (tmp_path / "a.h5").stat().st_size
    assert planned(tmp_path / "a.h5", POINTS, **PLAN)[2] == size
