"""The rise of the loss and its standard error, against the differences written out."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from small import trained_like

from ensemble.attribution.paired import PerExampleLoss, rise
from ensemble.blocks.blocks import blocks
from ensemble.drawing.measure import wilson
from ensemble.lesions.context import arranged
from ensemble.lesions.measure import can_share_prefix, lesion_function
from ensemble.lesions.plans import deletions, every, gates, pairs
from landscape.data import batches, load
from landscape.evaluation.accuracy import accuracy_for
from landscape.evaluation.losses import cross_entropy, mse
from landscape.evaluation.prepared import Evaluation
from landscape.evaluation.sampling import Tolerance
from landscape.networks import build


def evaluation(examples=200, tolerance=None, dtype=torch.float32, size=50):
    torch.manual_seed(0)
    network = trained_like(build("resnet", depth=14, width=4, channels=1))
    data = batches(load("digits", "train", examples=examples), size)
    targets = torch.cat([targets for _, targets in data])
    if tolerance is not None:
        tolerance = Tolerance(targets, tolerance)
    return Evaluation(
        None, network, network, network, data, cross_entropy, torch.device("cpu"), dtype, tolerance, {"seed": 0}
    )


def each_loss(it, by_name, trial, n):
    with torch.no_grad(), arranged(it.network, by_name, trial):
        return torch.cat([cross_entropy(it.network(x), t) for x, t in it.batches]).double().numpy()[:n]


@pytest.mark.parametrize("kind", ["walk", "hooks"])
def test_the_rise_is_the_mean_difference_over_the_same_examples(kind):
    it = evaluation()
    by_name = blocks(it.network)
    plan = deletions(every(6, [1])) if kind == "walk" else pairs(np.eye(6, dtype=bool)[[0]])
    plan = plan if kind == "walk" else np.concatenate([deletions(np.zeros((1, 6), bool)), plan])
    assert can_share_prefix(it, by_name, plan) == (kind == "walk")
    function, rows = lesion_function(it, by_name, plan, room=2**30)
    measured = dict(zip(rows, function(plan[rows]), strict=True))
    intact = each_loss(it, by_name, plan[0], 200)
    assert measured[0]["rise"] == measured[0]["rise_se"] == 0
    for row in range(1, len(plan)):
        difference = each_loss(it, by_name, plan[row], 200) - intact
        assert measured[row]["rise"] == pytest.approx(difference.mean(), rel=1e-3, abs=1e-5)
        assert measured[row]["rise_se"] == pytest.approx(difference.std(ddof=1) / np.sqrt(200), rel=1e-3)
        assert measured[row]["rise"] == pytest.approx(measured[row]["loss"] - measured[0]["loss"], rel=1e-9)
        assert measured[row]["examples"] == 200


@pytest.mark.slow
def test_trials_in_any_order_and_alone_are_the_same_bits():
    it = evaluation()
    by_name = blocks(it.network)
    plan = deletions(every(6, [1, 2]))
    function, rows = lesion_function(it, by_name, plan, room=2**30)
    together = dict(zip(rows, function(plan[rows]), strict=True))
    for row in (0, 3, 11, 20):
        function, _ = lesion_function(it, by_name, plan, room=2**30)
        (alone,) = function(plan[[row]])
        assert alone == together[row]


@pytest.mark.slow
def test_with_a_tolerance_the_first_examples_are_compared():
    """Trials take different numbers of examples; the error is the stratified one against all of them."""
    it = evaluation(examples=1201, tolerance=0.04)
    by_name = blocks(it.network)
    plan = deletions(every(6, [1]))
    function, rows = lesion_function(it, by_name, plan, room=2**30)
    measured = dict(zip(rows, function(plan[rows]), strict=True))
    took = [measured[row]["examples"] for row in range(7)]
    assert min(took) < 1201
    for row, n in enumerate(took):
        difference = each_loss(it, by_name, plan[row], n) - each_loss(it, by_name, plan[0], n)
        mean, error = it.tolerance.estimate(difference)
        assert measured[row]["rise"] == pytest.approx(mean, rel=1e-3, abs=1e-5)
        assert measured[row]["rise_se"] == pytest.approx(error if n < 1201 else 0, rel=1e-3, abs=1e-9)


def test_pairing_takes_out_what_two_networks_share():
    rng = np.random.default_rng(0)
    shared = rng.gamma(1, 2, 4000)
    one, other = shared + rng.normal(0, 0.1, 4000) + 0.05, shared + rng.normal(0, 0.1, 4000)
    paired = rise(one, other)
    unpaired = np.hypot(one.std(ddof=1), other.std(ddof=1)) / np.sqrt(4000)
    assert paired["rise_se"] < unpaired / 10
    held = 0
    for seed in range(400):
        draw = np.random.default_rng(seed).integers(4000, size=500)
        difference = rise(one[draw], other[draw])
        held += abs(difference["rise"] - paired["rise"]) <= 1.96 * difference["rise_se"]
    assert 0.91 < held / 400 < 0.98


def test_one_example_has_a_rise_without_an_error_and_infinities_are_results():
    assert rise(np.array([2.0]), np.array([0.5]))["rise"] == 1.5
    assert np.isnan(rise(np.array([2.0]), np.array([0.5]))["rise_se"])
    assert rise(np.array([np.inf, 1.0]), np.ones(2))["rise"] == np.inf
    assert np.isnan(rise(np.array([np.inf, 1.0]), np.array([np.inf, 1.0]))["rise"])


def test_a_recorder_gives_each_loss_once():
    outputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    recorder = PerExampleLoss(cross_entropy, accuracy_for(outputs, targets))
    parts = [recorder(outputs[:2], targets[:2]), recorder(outputs[2:], targets[2:])]
    each, wrong = recorder.taken()
    np.testing.assert_array_equal(each, torch.cat(parts).double().numpy())
    np.testing.assert_array_equal(wrong, (outputs.argmax(1) != targets).double().numpy())
    recorder(outputs, targets)
    assert recorder.taken().shape == (2, 5)


def test_where_targets_are_not_classes_nothing_is_wrong_or_right():
    recorder = PerExampleLoss(mse)
    recorder(torch.randn(4, 3), torch.randn(4, 3))
    assert np.isnan(recorder.taken()[1]).all()


@pytest.mark.slow
def test_a_reduced_type_is_compared_with_itself_and_with_float32():
    it = evaluation(dtype=torch.bfloat16)
    by_name = blocks(it.network)
    plan = gates(6, [1], np.linspace(0, 1, 5)[:, None])
    function, rows = lesion_function(it, by_name, plan, room=2**30)
    measured = dict(zip(rows, function(plan[rows]), strict=True))
    assert measured[4]["rise"] == 0  # a gate of 1, in the same type
    assert sum(np.isfinite(m["loss_float32"]) for m in measured.values()) == 2


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 10), (590, 596), (1, 10_000)])
def test_wilsons_interval_is_scipys(hits, n):
    low, high = wilson(hits / n, n)
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    np.testing.assert_allclose((low, high), expected, rtol=1e-9, atol=1e-12)
