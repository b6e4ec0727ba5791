"""Interpolation is where it does no harm, says how far off it is, and decides the same after an interruption."""

import numpy as np
import pytest
import torch
from files import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import surface

from landscape.engine.run import run
from landscape.engine.table import MEASURED, Table, read
from landscape.evaluation.sampling import Tolerance
from landscape.planes.adaptive import ALLOWED, AUDIT, INTERPOLATED, decide, fill, interpolate, remaining


def bowl(x, y):
    return 0.05 + 5 * (x**2 + 0.5 * y**2 + 0.3 * x * y)


def cliffs(x, y):
    return np.exp(4 * np.random.default_rng(0).standard_normal(np.shape(x)))


def losses(function, ny, nx):
    x, y = np.meshgrid(np.linspace(-1, 1, nx), np.linspace(-1, 1, ny))
    return function(x, y)


def measured(loss, tolerance=0.02, seed=0, at_once=None):
    """Measure what is asked for, all of it or only some rows at a time; returns where, and the last decision."""
    done = np.zeros(loss.shape, bool)
    while True:
        seen = np.where(done, loss, np.nan)
        decision = decide(seen, done, tolerance, seed)
        if not len(decision.rows):
            return done, decision
        assert not done.flat[decision.rows].any()
        done.flat[decision.rows[:at_once]] = True


def off(loss, done):
    """How far the points that are not measured are off, relative to what would have been measured there."""
    guess = interpolate(np.where(done, loss, np.nan), done, logarithm=True)
    scale = loss if (loss > 0).all() else np.ptp(loss)
    return np.abs((guess - loss) / scale)[~done]


def waves(x, y):
    """Sums of sines of four lengths, the shortest of which few grids resolve."""
    generator, total = np.random.default_rng(0), 0
    for frequency, height in ((3, 0.3), (6, 0.2), (12, 0.1), (25, 0.05)):
        for _ in range(4):
            (a, b), phase = frequency * generator.standard_normal(2), generator.uniform(0, 2 * np.pi)
            total = total + height * np.sin(a * x + b * y + phase)
    return total


SURFACES = {
    "bowl": bowl,
    "banana": lambda x, y: 0.1 + (1 - 2 * x) ** 2 / 4 + 10 * (y - x**2) ** 2,
    "rough": lambda x, y: np.exp(1 + 1.5 * (x**2 + y**2) + waves(x, y)),
    "chaotic": lambda x, y: np.exp(1 + x**2 + y**2 + 3 * waves(2 * x, 2 * y)),
    "ripples of 3 %": lambda x, y: bowl(x, y) * np.exp(0.03 * np.sin(40 * x) * np.sin(37 * y)),
    "saturated": lambda x, y: np.minimum(0.05 + 20 * (x**2 + 0.6 * y**2), np.log(10)),
    "saturating": lambda x, y: 0.05 + 2.3 / (1 + np.exp(-12 * (np.hypot(x, y) - 0.5))),
    "cliff": lambda x, y: bowl(x, y) * np.where(x + y > 0.35, 30.0, 1.0),
    "orders of magnitude": lambda x, y: np.exp(-8 + 22 * np.hypot(x, 0.8 * y) ** 1.3),
    "kinks": lambda x, y: 0.2 + np.abs(x - 0.13) + 2 * np.abs(y + 0.37),
    "ridge": lambda x, y: 1 + x**2 + 3 * np.exp(-(((x - 0.3 * y - 0.21) / 0.04) ** 2)),
    "negative": lambda x, y: x**2 + y**2 - 0.5 + 0.2 * np.sin(9 * x * y),
    "0 in the middle": lambda x, y: x**2 + y**2,
    "flat": lambda x, y: np.full(np.shape(x), 2.3),
}


@pytest.mark.parametrize("shape", [(11, 11), (25, 25), (1, 201)], ids=str)
@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.slow
def test_what_is_interpolated_is_as_near_as_asked_at_95_of_100_points(name, shape):
    loss = losses(SURFACES[name], *shape)
    far = off(loss, measured(loss)[0])
    assert far.size == 0 or (far > 0.02).mean() <= ALLOWED


@pytest.mark.parametrize("network", ["plain", "resnet"])
@pytest.mark.parametrize("tolerance", [0.02, 0.1])
def test_surfaces_of_trained_networks_are_as_near_as_asked(network, tolerance):
    loss = read(ROOT / "results" / "gallery" / f"plane-{network}.h5")["loss"]
    done, _ = measured(loss, tolerance)
    assert (off(loss, done) > tolerance).mean() <= ALLOWED
    assert done.mean() < 0.95


@pytest.mark.slow
def test_an_audit_seldom_passes_where_more_are_off_than_allowed():
    """Points far off strewn over a plane, which no neighbour tells of, 10 % of all."""
    passed = 0
    for seed in range(5):
        strewn = np.random.default_rng(seed).random((25, 25)) < 0.1
        strewn[::4, ::4] = False  # what is measured first
        loss = np.where(strewn, 1.5, 1.0)
        done, _ = measured(loss, seed=seed)
        passed += not done.all() and (off(loss, done) > 0.02).mean() > ALLOWED
    assert passed <= 1


def test_few_points_get_no_verdict_but_are_measured():
    """Of 60 points or less, an audit takes all, and has none to speak of."""
    for shape in ((7, 7), (8, 8), (60,), (3, 17)):
        loss = losses(bowl, *np.atleast_2d(np.zeros(shape)).shape).reshape(shape)
        done, decision = measured(loss)
        assert done.all() and np.isnan(decision.miss).all()
    done, decision = measured(losses(lambda x, y: 1 + 0.1 * x, 11, 11))
    assert not done.all() and np.isfinite(decision.miss).sum() == AUDIT


def test_a_smooth_surface_takes_a_fraction_of_the_points():
    loss = losses(bowl, 51, 51)
    done, _ = measured(loss)
    assert done.mean() < 0.15
    guess = interpolate(np.where(done, loss, np.nan), done, logarithm=True)
    np.testing.assert_array_equal(guess[done], loss[done])


def test_a_wild_surface_takes_all():
    done, _ = measured(losses(cliffs, 31, 21))
    assert done.all()


def test_a_narrow_cliff_in_a_smooth_surface_is_followed():
    def step(x, y):
        return bowl(x, y) * np.where(x + y > 0.35, 30.0, 1.0)

    loss = losses(step, 51, 51)
    done, decision = measured(loss)
    assert done.mean() < 0.5
    assert (off(loss, done) > 0.02).mean() <= ALLOWED
    assert np.isfinite(decision.miss).sum() >= AUDIT


def test_bumps_and_dips_are_followed_alike():
    def bump(x, y):
        return np.exp(-((x - 0.3) ** 2 + (y - 0.2) ** 2) / 0.05)

    up, down = (measured(losses(lambda x, y, s=s: np.exp(s * bump(x, y)), 41, 41))[0] for s in (1, -1))
    np.testing.assert_array_equal(up, down)
    assert 0.1 < up.mean() < 0.9


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3))
def test_any_grid_comes_to_an_end_with_its_corners_measured(ny, nx, seed):
    done, _ = measured(losses(bowl, ny, nx), seed=seed)
    assert done[[0, 0, -1, -1], [0, -1, 0, -1]].all()


def test_a_line_is_a_grid_too():
    loss = losses(bowl, 1, 201)[0]
    done, _ = measured(loss)
    assert done.shape == (201,)
    assert done.mean() < 0.6
    guess = interpolate(np.where(done, loss, np.nan), done, True)
    np.testing.assert_allclose(guess, loss, rtol=0.02)


@pytest.mark.slow
def test_an_interruption_changes_no_decision():
    """Rows measured a few at a time, deciding anew each time, are the rows of whole rounds."""
    loss = losses(lambda x, y: bowl(x, y) * np.exp(0.3 * np.sin(9 * x)), 27, 33)
    whole, last = measured(loss)
    parts, also = measured(loss, at_once=7)
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(last.miss, also.miss)


def test_points_measured_for_another_reason_change_no_decision():
    loss = losses(bowl, 25, 25)
    whole, _ = measured(loss)
    more = whole.copy()
    more.flat[[5, 77, 300]] = True
    seen = np.where(more, loss, np.nan)
    assert len(decide(seen, more, 0.02, 0).rows) == 0


def test_the_audit_says_how_far_off_the_rest_is():
    """The median miss at audited points is that of all interpolated ones, within what 40 of them can tell."""
    loss = losses(lambda x, y: bowl(x, y) * np.exp(0.02 * np.sin(40 * x) * np.sin(37 * y)), 51, 51)
    done, decision = measured(loss, tolerance=0.06)
    assert done.mean() < 0.9
    said = np.abs(decision.miss[np.isfinite(decision.miss)])
    guess = interpolate(np.where(done, loss, np.nan), done, True)
    true = np.abs(np.log(guess / loss))[~done]
    assert np.median(said) == pytest.approx(np.median(true), rel=0.6)


def test_what_is_not_finite_is_measured_all_around():
    loss = losses(bowl, 33, 33)
    loss[8:17, 8:17] = np.inf
    done, _ = measured(loss)
    assert done[8:17, 8:17].all()
    assert np.isfinite(interpolate(np.where(done, loss, np.nan), done, True)[~done]).all()


def test_losses_that_can_be_negative_are_compared_on_their_range():
    loss = losses(lambda x, y: x**2 + y**2 - 0.5, 33, 33)
    done, _ = measured(loss)
    assert done.mean() < 0.5
    guess = interpolate(np.where(done, loss, np.nan), done, True)
    assert np.abs(guess - loss).max() < 0.02 * np.ptp(loss) * 2


def test_losses_of_both_signs_decide_alike_after_an_interruption():
    """The range that their misses are compared with is that of the points asked for, not of all that are there."""
    loss = losses(lambda x, y: np.sinh(4 * x) + 0.3 * np.sin(9 * x * y), 27, 33)
    np.testing.assert_array_equal(measured(loss)[0], measured(loss, at_once=5)[0])


@pytest.mark.parametrize("error", [0.005, 0.02])
@pytest.mark.slow
def test_points_that_take_the_first_of_the_same_examples_are_one_smooth_surface(error):
    """Losses of 4,000 examples, of which each point takes as many as its error needs, as `--tolerance` does."""
    generator, classes = np.random.default_rng(0), np.tile(np.arange(10), 400)
    start, slope = generator.normal(-3, 3, (4000, 1)), generator.normal(0, 4, (4000, 2))
    bend = generator.gamma(2, 4, (4000, 1))
    enough = Tolerance(torch.as_tensor(classes), error)
    axis = np.linspace(-1, 1, 25)
    loss, taken = np.zeros((25, 25)), np.zeros((25, 25))
    for place in np.ndindex(25, 25):
        point = axis[[*place]]
        each = torch.as_tensor(np.logaddexp(0, start + slope @ point[:, None] + bend * (point @ point))[:, 0])
        n = next((n for n in range(1000, 4000, 100) if enough.met(each[:n])), 4000)
        loss[place], taken[place] = enough.estimate(each[:n].numpy())[0], n
    assert np.ptp(taken) > 0
    done, _ = measured(loss, 0.02)
    assert done.mean() < 0.4
    assert (off(loss, done) > 0.02).mean() <= ALLOWED


def test_a_filled_table_says_what_is_interpolated(tmp_path):
    loss = losses(bowl, 25, 25)
    done, _ = measured(loss)
    values = {name: np.where(done, array, np.nan) for name, array in (("loss", loss), ("loss_se", 0 * loss))}
    values["accuracy"] = np.where(done, 1.0, np.nan)
    derived = {"interpolated": np.zeros(loss.shape, bool), "miss": np.full(loss.shape, np.nan)}
    table = Table(None, np.zeros((625, 2)), values, done, derived)
    table.flush = lambda: None
    said = fill(table, 0.02, 0)
    assert f"measured {done.sum()} of 625 points, interpolated {(~done).sum()}" in said
    assert (table.derived["interpolated"] == ~done).all()
    assert np.isfinite(table.values["loss"]).all()
    assert np.isnan(table.values["loss_se"][~done]).all()
    assert table.values["accuracy"].max() <= 1


def test_from_python_true_is_the_default_and_false_is_off(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    batches, line = [(torch.randn(64, 3), torch.randint(0, 2, (64,)))], {"x": (-1, 1, 129), "quiet": True}
    asked = {True: 0.02, 0.02: 0.02, False: None, None: None}
    for choice, kept in asked.items():
        results = surface(network, batches, tmp_path / f"{choice}.h5", adaptive=choice, **line)
        assert results.attributes.get("adaptive") == kept and results["done"].all() == (kept is None)


def test_a_table_without_accuracy_is_filled(tmp_path):
    """And one whose loss can be negative says what its percentages are of."""
    loss = losses(lambda x, y: x**2 + y**2 - 0.5, 25, 25)
    done, _ = measured(loss)
    derived = {"interpolated": np.zeros(loss.shape, bool), "miss": np.full(loss.shape, np.nan)}
    table = Table(None, np.zeros((625, 2)), {"loss": np.where(done, loss, np.nan)}, done, derived)
    table.flush = lambda: None
    assert "% of its range in the median" in fill(table, 0.02, 0)
    assert np.isfinite(table.values["loss"]).all()


@pytest.mark.slow
def test_where_all_that_is_near_is_one_line_nothing_is_guessed():
    """Finite on two rows far apart: beside a row of 300 points its nearest 60 say nothing."""
    loss = np.full((81, 300), np.inf)
    loss[0], loss[80] = np.linspace(1, 2, 300), 1.5
    done, _ = measured(loss)
    assert done[1:80].all()


def progress_lines(tmp_path, capsys, choose=None):
    """What a run of 25 × 25 points tells on standard error: a line at its beginning and one at its end."""
    axis = np.linspace(-1, 1, 25)

    def function(points):
        for x, y in points:
            yield {"loss": bowl(x, y), "loss_se": 0.0, "accuracy": 1.0, "examples": 1}

    run(
        function,
        np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2),
        out=tmp_path / "bowl.h5",
        measured=MEASURED,
        label="points",
        attributes={"network": "a bowl"},
        kind="surface",
        dims=("y", "x"),
        coordinates={"y": axis, "x": axis},
        derived=INTERPOLATED,
        **({"choose": choose} if choose else {}),
    )
    return capsys.readouterr().err.strip().split("\n")


def test_progress_counts_on_from_round_to_round_and_promises_no_end(tmp_path, capsys):
    rounds = []

    def choose(table):
        rows = remaining(table, tolerance=0.02, seed=0)
        rounds.append(table.done.sum() + len(rows))
        return rows

    first, last = progress_lines(tmp_path, capsys, choose)
    measured = rounds[-1]
    assert len(rounds) > 3 and measured < 625
    assert first.startswith(f"round 1: 0/{rounds[0]} points of at most 625, ")
    assert last.startswith(f"round {len(rounds) - 1}: {measured}/{measured} points of at most 625, ")
    assert "left" not in first + last


def test_a_run_of_one_round_tells_the_time_left(tmp_path, capsys):
    for line in progress_lines(tmp_path, capsys):
        assert "/625 points, " in line and "left" in line and "round" not in line


def test_a_round_that_measures_all_that_there_is_tells_the_time_left(tmp_path, capsys):
    def halves(table):
        return np.flatnonzero(~table.done)[: 300 if not table.done.any() else None]

    first, last = progress_lines(tmp_path, capsys, halves)
    assert first.startswith("round 1: 0/300 points of at most 625")
    assert last.startswith("625/625 points") and "left" in last
