"""Lesions that share their beginnings are the lesions that do not, for less work."""

import numpy as np
import pytest
import torch
from small import trained_like

from ensemble.blocks.blocks import blocks, stages
from ensemble.lesions.context import Replacement, arranged, every, lesion, means, sampled
from ensemble.lesions.plans import MEAN, OTHER, gates, orders, permuted, repetitions, replacements, swapped
from ensemble.lesions.prefix_cache import PrefixCache, branch_points, order
from landscape.data import batches, load
from landscape.evaluation import sampling
from landscape.evaluation.measure import cross_entropy, measure
from landscape.evaluation.sampling import Tolerance
from landscape.networks import build

EXAMPLES = 20


@pytest.fixture(scope="module")
def data():
    return batches(load("digits", "test", examples=EXAMPLES), 12)


def network(**arguments):
    torch.manual_seed(0)
    return trained_like(build("resnet", **{"depth": 20, "width": 4, "channels": 1, **arguments}))


@pytest.fixture(scope="module")
def fresh(data):
    """A cache that keeps nothing, of the same network."""
    return PrefixCache(network(), data, cross_entropy, room=0)


def walked(it, plan, data, **options):
    """Measurements of a plan by number of trial, and how often each step ran."""
    walk = PrefixCache(it, data, cross_entropy, **options)
    runs = [0]

    def counted(step):
        def run(x):
            runs[0] += len(x)
            return step(x)

        return run

    walk.steps = [(counted(whole), without and counted(without), n) for whole, without, n in walk.steps]
    rows = order(plan)
    by_row = {}
    for row, again in zip(rows, branch_points(plan[rows]), strict=True):
        by_row[row] = walk.measure(plan[row], again)
    return [by_row[row] for row in range(len(plan))], runs[0]


PLANS = {
    "single": every(9, [1]),
    "pairs": every(9, [2]),
    "both": every(9, [1, 2]),
    "random": sampled(9, range(1, 10), 3, seed=0),  # some of them twice
}


STAGES = [[1, 2], [4, 5], [7, 8]]
MOVES = {
    "swaps": orders(swapped(9, STAGES, [1, 2, 3], 4, seed=0)[0]),
    "permutations": orders(permuted(9, STAGES, 8, seed=0)),
    "twice": repetitions(every(9, [1, 2]) & np.isin(np.arange(9), STAGES)),
    "gates": gates(9, [2, 7], np.array([[a, b] for a in (0, 0.3, 1) for b in (0, 0.5, 1)])),
    "mean": replacements(every(9, [1]), MEAN),
    "other": replacements(every(9, [1]), OTHER),
}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, torch.float32) for kind in MOVES), *((kind, torch.bfloat16) for kind in ("swaps", "gates", "mean"))],
)
@pytest.mark.slow
def test_every_kind_of_lesion_shares_its_beginnings_and_is_what_a_lesion_measures(data, kind, dtype):
    it, plan = network(), MOVES[kind]
    by_name = blocks(it)
    assert stages(it, by_name) == STAGES
    replacement = Replacement(means(it, by_name, range(9), [x for x, _ in data]), seed=3)
    shared, runs = walked(it, plan, data, dtype=dtype, replacement=replacement)
    fresh = PrefixCache(it, data, cross_entropy, dtype=dtype, room=0, replacement=replacement)
    assert shared == [fresh.measure(trial) for trial in plan]
    assert runs < len(plan) * EXAMPLES * 12
    for trial, measured in zip(plan, shared, strict=True):
        with arranged(it, by_name, trial, replacement):
            near = 2e-5 if dtype == torch.float32 else 0.05
            assert measured["loss"] == pytest.approx(measure(it, data)["loss"], rel=near)
    intact = fresh.measure(np.zeros(9, bool))
    assert any(measured == intact for measured in shared) and any(measured != intact for measured in shared)
    assert not any(module._forward_hooks for module in it.modules())


@pytest.mark.slow
def test_the_corners_of_two_gates_are_the_lesions_to_the_bit(data, fresh):
    it, plan = network(), MOVES["gates"]
    shared, _ = walked(it, plan, data)
    for gate, measured in zip(plan["gate"][:, [2, 7]].tolist(), shared, strict=True):
        if {*gate} <= {0, 1}:
            deleted = np.zeros(9, bool)
            deleted[[2, 7]] = [g == 0 for g in gate]
            assert measured == fresh.measure(deleted)


@pytest.mark.slow
def test_a_deletion_is_its_steps_in_a_row_to_the_bit(data, fresh):
    it, plan = network(), PLANS["random"]
    shared, _ = walked(it, plan, data)
    for trial, measured in zip(plan, shared, strict=True):
        losses = []
        for x, targets in data:
            with torch.inference_mode():
                for whole, without, number in fresh.steps:
                    x = without(x) if number >= 0 and trial[number] else whole(x)
                losses.append(cross_entropy(x, targets))
        assert measured["loss"] == torch.cat(losses).numpy().astype(np.float64).mean()


@pytest.mark.parametrize(
    ("kind", "room"), [*((kind, 2**31) for kind in PLANS), ("both", 25_000), ("random", 25_000), ("random", 0)]
)
@pytest.mark.slow
def test_sharing_changes_no_bit(data, fresh, kind, room):
    it, plan = network(), PLANS[kind]
    shared, runs = walked(it, plan, data, room=room)
    apart = [fresh.measure(trial) for trial in plan]
    assert shared == apart
    naive = len(plan) * EXAMPLES * 11
    assert runs == naive if room == 0 else runs < naive


@pytest.mark.parametrize("arguments", [{}, {"order": "pre"}, {"shortcut": "projection"}, {"survival": 0.6}])
@pytest.mark.slow
def test_it_is_what_a_lesion_measures(data, arguments):
    it = network(**arguments)
    names = np.array(list(blocks(it)))
    plan = PLANS["random"]
    shared, _ = walked(it, plan, data)
    for trial, measured in zip(plan, shared, strict=True):
        with lesion(it, names[trial]):
            assert measured == pytest.approx(measure(it, data), rel=2e-5)


@pytest.mark.slow
def test_single_deletions_cost_half_and_pairs_a_third():
    """Counted in blocks run, for 27 blocks of equal cost."""
    it = network(depth=56, width=2)
    few = batches(load("digits", "test", examples=4), 4)
    for k, most in ((1, 0.56), (2, 0.40)):
        plan = every(27, [k])
        _, runs = walked(it, plan, few)
        assert runs / (len(plan) * 4 * 29) < most


def test_what_is_kept_is_what_later_trials_need():
    """Against a search through all later trials, for each trial."""
    for plan in (PLANS | MOVES).values():
        rows = plan[order(plan)]
        for i, again in enumerate(branch_points(rows)):
            later = {int((rows[i] != trial).argmax()) for trial in rows[i + 1 :] if (rows[i] != trial).any()}
            equal = any((rows[i] == trial).all() for trial in rows[i + 1 :])
            assert later <= set(again) <= later | ({8} if equal else set())
            assert list(again) == sorted(again)


def test_few_activations_are_kept_at_a_time():
    for k, plan in ((1, PLANS["single"]), (2, PLANS["pairs"])):
        assert max(map(len, branch_points(plan[order(plan)]))) <= k + 1


@pytest.mark.slow
def test_trials_in_any_order_and_with_gaps_are_right(data, fresh):
    """As ranks get them that share the work."""
    it, plan = network(), PLANS["pairs"]
    rows = order(plan)
    ahead = {tuple(plan[row]): again for row, again in zip(rows, branch_points(plan[rows]), strict=True)}
    walk = PrefixCache(it, data, cross_entropy)
    for row in np.random.default_rng(0).permutation(len(plan))[:25]:
        assert walk.measure(plan[row], ahead[tuple(plan[row])]) == fresh.measure(plan[row])


@pytest.mark.slow
def test_a_tolerance_that_stops_early_leaves_the_rest_right(monkeypatch):
    it, plan = network(), PLANS["both"]
    data = batches(load("digits", "test", examples=120), 50)
    monkeypatch.setattr(sampling, "LEAST", 50)
    tolerance = Tolerance(torch.cat([targets for _, targets in data]), 0.02)
    shared, _ = walked(it, plan, data, tolerance=tolerance)
    assert len({m["examples"] for m in shared}) > 1  # some stopped, some did not
    fresh = PrefixCache(it, data, cross_entropy, tolerance, room=0)  # keeps nothing
    assert shared == [fresh.measure(trial) for trial in plan]


@pytest.mark.slow
def test_bfloat16_is_near(data):
    it, plan = network(), PLANS["single"]
    near, _ = walked(it, plan, data, dtype=torch.bfloat16)
    exact, _ = walked(it, plan, data)
    for a, b in zip(near, exact, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=0.03)
        assert a["loss"] != b["loss"]
