"""--dry-run tells what a run would take, and leaves nothing behind."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from processes import command

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
        found = estimate(probes, 2000, 1)
        held += abs(found.seconds - costs.sum()) < 2 * found.se
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


GRID = ("--x", -1, 1, 5, "--y", -1, 1, 3, "--examples", 50)


@pytest.mark.mpi
def test_a_dry_run_on_two_ranks_tells_rows_time_memory_and_file(trained, tmp_path):
    told = command("surface", trained / "resnet.pt", tmp_path / "a.h5", *GRID, "--dry-run", "-v", ranks=2).stdout
    for part in ("15 points, 0 of them measured already", "15 points on 2 ranks: about", "rank 1 of 2: ", "2 ranks)"):
        assert part in told
    assert "seed: 0\n" in told and "nothing was written" in told and not any(tmp_path.iterdir())


@pytest.mark.mpi
def test_what_a_run_would_refuse_a_dry_run_refuses_in_one_line_on_any_number_of_ranks(trained, tmp_path):
    out = tmp_path / "none" / "a.h5"
    done = command("surface", trained / "resnet.pt", out, *GRID, "--dry-run", ranks=3, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "mkdir -p" in done.stderr


def test_a_dry_run_counts_what_is_measured_and_refuses_what_differs(trained, tmp_path):
    out = tmp_path / "a.h5"
    command("surface", trained / "resnet.pt", out, *GRID, "--quiet")
    before = out.read_bytes()
    assert "nothing is left to measure" in command("surface", trained / "resnet.pt", out, *GRID, "--dry-run").stdout
    other = command("surface", trained / "resnet.pt", out, *GRID, "--dry-run", "--seed", 1, check=False)
    assert other.returncode == 2 and "seed" in other.stderr
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with net.pt and the snapshots of its training."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "snapshots").mkdir()
    small = ("--depth", 8, "--width", 4, "--epochs", 2, "--examples", 300, "--quiet")
    command("train", folder / "net.pt", *small, "--snapshots", folder / "snapshots")
    return folder


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("surface", ("--x", -1, 1, 9, "--adaptive", "--tolerance", 0.1)),
        ("lesion", ("--delete", 1, 2)),
        ("lesion", ("--shapley", 20)),
        ("curvature", ("--top", 2, "--precision", 0.1)),
        ("sharpness", ("--rho", 0.01)),
        ("redundancy", ()),
        ("trajectory", ("--snapshots", "PLAIN")),
    ],
)
def test_no_command_writes_in_a_dry_run(run, tmp_path, script, more):
    more = [run / "snapshots" if word == "PLAIN" else word for word in more]
    before = sorted(run.rglob("*"))
    told = command(script, run / "net.pt", run / "a.h5", *more, "--examples", 40, "--dry-run", cwd=tmp_path).stdout
    assert "nothing was written" in told and sorted(run.rglob("*")) == before and not any(tmp_path.iterdir())
