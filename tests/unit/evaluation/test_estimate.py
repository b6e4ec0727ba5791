"""The mean of some examples is as far off as it says, also when its error decides when to stop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.data import stratified_order
from landscape.evaluation.measure import score
from landscape.evaluation.sampling import Tolerance, stratified_mean

SEEDS = 200


def population(kind, n=10_000, classes=10):
    """Losses of n examples and their classes, as networks have them."""
    draws = np.random.default_rng(0)
    labels = draws.integers(classes, size=n)
    if kind == "far from the minimum":  # one class is predicted for all: the loss is the class's
        return 3.0 * (labels + 1) + draws.exponential(2, n), labels
    if kind == "near it":  # most examples are right, a few are very wrong
        return np.where(draws.random(n) < 0.1, draws.exponential(2, n), draws.exponential(0.02, n)), labels
    return draws.normal(5, 1, n), labels


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_it_is_the_textbook_formula(seed, strata):
    draws = np.random.default_rng(seed)
    sizes = draws.integers(4, 12, size=strata)
    n = np.array([draws.integers(2, size + 1) for size in sizes])
    values = [draws.normal(h, 1 + h, n[h]) for h in range(strata)]
    mean, error = stratified_mean(np.concatenate(values), np.repeat(np.arange(strata), n), sizes)
    weight = sizes / sizes.sum()
    assert mean == pytest.approx(sum(w * v.mean() for w, v in zip(weight, values, strict=True)))
    terms = zip(weight, n, sizes, values, strict=True)
    variance = sum(w**2 * (1 - k / size) * v.var(ddof=1) / k for w, k, size, v in terms)
    assert error == pytest.approx(np.sqrt(variance), abs=1e-12)


def test_over_all_samples_there_are_it_is_unbiased():
    """Every stratified sample of a small population, one by one."""
    from itertools import combinations, product

    strata = [np.array([1.0, 5.0, 2.0]), np.array([10.0, 11.0, 19.0, 0.0])]
    everything = np.concatenate(strata)
    each = []
    for chosen in product(combinations(strata[0], 2), combinations(strata[1], 3)):
        each.append(stratified_mean(np.concatenate(chosen), np.array([0, 0, 1, 1, 1]), np.array([3, 4])))
    means, errors = np.array(each).T
    assert means.mean() == pytest.approx(everything.mean())
    assert np.mean(errors**2) == pytest.approx(means.var())


def test_all_examples_have_no_error_and_one_of_a_class_no_known_one():
    values, strata = np.array([1.0, 2.0, 4.0]), np.array([0, 1, 1])
    assert stratified_mean(values, strata, np.array([1, 2])) == (pytest.approx(7 / 3), 0.0)
    assert np.isnan(stratified_mean(values, strata, np.array([2, 2]))[1])


@pytest.mark.parametrize("kind", ["far from the minimum", "near it", "even"])
@pytest.mark.parametrize("tolerance", [0.02, 0.05])
@pytest.mark.slow
def test_the_interval_holds_the_truth_in_95_of_100_cases(kind, tolerance):
    """Over seeds of the order, with the order's own stopping: what --tolerance states is true."""
    losses, labels = population(kind)
    covered, used = [], []
    for seed in range(SEEDS):
        order = stratified_order(torch.from_numpy(labels), seed)
        m = scored(torch.from_numpy(losses)[order], torch.from_numpy(labels)[order], tolerance)
        covered.append(abs(m["loss"] - losses.mean()) <= 1.96 * m["loss_se"])
        used.append(m["examples"])
        assert m["loss_se"] <= tolerance * m["loss"]
    assert 0.91 <= np.mean(covered) <= 0.985  # 200 draws around 0.95: ± 2.6 standard errors
    assert np.mean(used) < 10_000 or kind == "near it"


def scored(losses, labels, tolerance=None, size=256):
    """What is measured where the losses are these."""
    batches = [(part, part) for part in labels.split(size)]
    tolerance = tolerance and Tolerance(labels, tolerance)
    return score(losses[:, None].split(size), batches, lambda outputs, _: outputs[:, 0], tolerance)


def test_all_are_used_when_they_are_needed_and_then_nothing_is_uncertain():
    torch.manual_seed(0)
    losses, labels = torch.rand(1500).exp() ** 9, torch.randint(3, (1500,))
    m, whole = scored(losses, labels, 1e-6, size=100), scored(losses, labels, size=100)
    assert m["examples"] == 1500
    assert m["loss"] == whole["loss"]
    assert m["loss_se"] == 0


def test_what_is_not_finite_stops_at_the_first_look():
    values = torch.rand(5000)
    values[700] = torch.nan
    m = scored(values, torch.arange(5000) % 4, 0.001, size=250)
    assert np.isnan(m["loss"])
    assert m["examples"] == 1000
