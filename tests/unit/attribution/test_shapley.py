"""Shapley values: against the sum over all subsets, their intervals, and where the orders end."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
import torch
from small import trained_like

from ensemble.attribution.shapley import orders, payoff, places, remaining, sets, shapley_values, values
from ensemble.lesions.trials import lesions, shapley
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build


def exact(game):
    """Shapley's formula, a sum over all subsets; game maps a frozenset of deleted blocks to its cost."""
    players = max(game, key=len)
    n = len(players)
    return np.array(
        [
            sum(
                factorial(k) * factorial(n - k - 1) / factorial(n) * (game[frozenset(s) | {i}] - game[frozenset(s)])
                for k in range(n)
                for s in combinations(players - {i}, k)
            )
            for i in sorted(players)
        ]
    )


def random_game(seed, n=6):
    rng = np.random.default_rng(seed)
    return {frozenset(s): rng.uniform() * len(s) for k in range(n + 1) for s in combinations(range(n), k)}


def estimate(game, count, seed, n=6):
    ways = orders(n, count, seed)
    deleted = sets(ways)
    costs = np.array([game[frozenset(np.flatnonzero(row))] for row in deleted])
    return values(costs, ways, places(ways, deleted))


def test_an_order_is_followed_by_its_reverse_and_is_the_same_however_many_follow():
    ways = orders(5, 6, seed=3)
    np.testing.assert_array_equal(ways[1::2], ways[::2, ::-1])
    np.testing.assert_array_equal(orders(5, 20, seed=3)[:6], ways)
    assert (np.sort(ways, axis=1) == np.arange(5)).all() and len(np.unique(ways[::2], axis=0)) == 3


def test_every_set_is_there_once_and_each_order_finds_its_own():
    ways = orders(4, 8, seed=0)
    deleted = sets(ways)
    assert len(np.unique(deleted, axis=0)) == len(deleted) and not deleted[0].any()
    for order, row in zip(ways, places(ways, deleted), strict=True):
        for k, trial in enumerate(row):
            assert set(np.flatnonzero(deleted[trial])) == set(order[:k])


def test_values_of_an_additive_game_are_exact():
    worth = np.array([0.3, -0.1, 2.0, 0.0, 0.7, 0.1])
    game = {s: sum(worth[i] for i in s) for s in random_game(0)}
    estimated = estimate(game, 4, seed=1)
    np.testing.assert_allclose(estimated.mean, worth, atol=1e-15)
    np.testing.assert_allclose(estimated.half, 0, atol=1e-14)


def test_intervals_hold_the_exact_values_and_the_values_add_up():
    held = []
    for seed in range(100):
        game = random_game(seed)
        estimated, truth = estimate(game, 60, seed), exact(game)
        held.append(np.abs(estimated.mean - truth) <= estimated.half)
        total = game[frozenset(range(6))] - game[frozenset()]
        assert estimated.mean.sum() == pytest.approx(total, abs=1e-12) and truth.sum() == pytest.approx(
            total, abs=1e-12
        )
    assert 0.92 < np.mean(held) < 0.98


def test_it_ends_at_the_first_look_that_is_precise_enough():
    ways = orders(6, 400, seed=0)
    deleted = sets(ways)
    where = places(ways, deleted)
    costs = np.array([random_game(0)[frozenset(np.flatnonzero(row))] for row in deleted])
    halves = [values(costs, ways[:end], where[:end]).half.max() for end in range(40, 401, 40)]
    precision = halves[4]
    first = next(k for k, half in enumerate(halves) if half <= precision)
    done, rounds = np.zeros(len(deleted), bool), 0
    while len((step := remaining(np.where(done, costs, np.nan), done, ways, where, precision))[0]):
        done[step[0]] = True
        rounds += 1
    assert 2 * step[1].pairs == 40 * (first + 1) and step[1].half.max() == halves[first]
    assert rounds <= first + 1
    assert set(np.flatnonzero(done)) == set(where[: 40 * (first + 1)].ravel())


def test_without_accuracy_the_loss_is_shared_out():
    loss, done = np.array([1.0, 2.0, 3.0]), np.array([True, True, False])
    np.testing.assert_array_equal(payoff(loss, np.full(3, np.nan), done), [1, 2, np.nan])
    np.testing.assert_array_equal(payoff(loss, np.array([0.5, 0.25, np.nan]), done), [0.5, 0.75, np.nan])


def test_a_loss_that_is_not_finite_is_measured_once():
    ways = orders(3, 4, seed=0)
    where = places(ways, sets(ways))
    costs = np.full(len(sets(ways)), np.nan)
    rows, estimated = remaining(costs, np.ones(len(costs), bool), ways, where, 0.1)
    assert not len(rows) and estimated.pairs == 0 and np.isnan(estimated.mean).all()


@pytest.mark.parametrize("count", [3, 2, 0, 10**6])
def test_a_number_of_orders_that_cannot_be_is_refused(count):
    with pytest.raises(BadInput, match="give an even number of orders"):
        orders(5, count, 0)


@pytest.fixture(scope="module")
def evaluate():
    """A network of six blocks."""
    torch.manual_seed(0)
    network = trained_like(build("resnet", depth=14, width=4, channels=1))
    images = torch.randn(120, 1, 8, 8)
    with torch.no_grad():  # it is right about half of them
        labels = torch.where(torch.arange(120) % 2 == 0, network.eval()(images).argmax(1), torch.arange(120) % 10)
    return Evaluator(network, [(images, labels)])


@pytest.mark.slow
def test_values_of_a_network_agree_with_all_its_subsets(evaluate, caplog):
    every = lesions(evaluate, delete=[1, 6], quiet=True)
    game = {
        frozenset(np.flatnonzero(row)): 1 - accuracy
        for row, accuracy in zip(every["deleted"], every["accuracy"], strict=True)
    }
    truth = exact(game)
    with caplog.at_level("INFO", "skipscape"):
        study = shapley(evaluate, 200, quiet=True)
    worths = shapley_values(study)
    assert worths.pairs == 100 and "from 200 orders" in caplog.text
    assert (np.abs(worths.mean - truth) <= 1.5 * worths.half).all()
    assert worths.mean.sum() == pytest.approx(game[frozenset(range(6))] - game[frozenset()], abs=1e-6)
    assert f"{100 * worths.mean.sum():.4g} points of error" in caplog.text
    first = int(worths.mean.argmax())
    assert f"of which blocks {first + 1} (stages." in caplog.text


@pytest.mark.slow
def test_a_precision_ends_early_and_the_same_call_does_nothing_more(evaluate, tmp_path, caplog):
    how = {"precision": 0.1, "out": tmp_path / "a.h5", "quiet": True}
    study = shapley(evaluate, 400, **how)
    before = (tmp_path / "a.h5").read_bytes()
    with caplog.at_level("INFO", "skipscape"):
        shapley(evaluate, 400, **how)
    assert "complete already" in caplog.text and (tmp_path / "a.h5").read_bytes() == before
    assert study.known.all() and study["spared"].any()
    assert shapley_values(study).half.max() <= 0.1 and shapley_values(study).pairs < 200


def test_values_are_of_orders_alone(evaluate):
    with pytest.raises(BadInput, match="no orders of deletion"):
        shapley_values(lesions(evaluate, delete=1, quiet=True))
