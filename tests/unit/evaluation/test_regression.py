"""What is known of neighbours makes a mean surer, never less honest: the stated error holds for any losses."""

import numpy as np
import pytest
import torch

from landscape.data import stratified_order
from landscape.evaluation.measure import score
from landscape.evaluation.regression import Regression, covariates
from landscape.evaluation.sampling import Tolerance, stratified_mean


def drawn(n, total, known, seed=0, strata=3, controls=2):
    """Values of the first n of all examples, covariates of the first `known`, and the strata of all."""
    draws = np.random.default_rng(seed)
    stratum = np.arange(total) % strata
    x = draws.normal(size=(controls, total)) + stratum
    y = 2 * x[0] - x[-1] + 5 * stratum + draws.normal(0, 0.5, total)
    return y[:n], x[:, :known], stratum, y


def fitted(values, x, strata):
    """Least squares with an intercept for each stratum, by numpy."""
    design = np.column_stack([np.eye(strata.max() + 1)[strata], x.T])
    return design, np.linalg.lstsq(design, values, rcond=None)[0]


@pytest.mark.parametrize("known", [60, 120])
def test_it_is_least_squares_with_the_errors_of_the_jackknife(known):
    """Every left-out residual by a regression of its own."""
    n, total, strata = 30, 120, 3
    values, x, stratum, _ = drawn(n, total, known)
    design, solution = fitted(values, x[:, :n], stratum[:n])
    weight = np.bincount(stratum) / total
    means = [x[:, :known][:, stratum[:known] == h].mean(axis=1) for h in range(strata)]
    expected = weight @ solution[:strata] + weight @ np.array(means) @ solution[strata:]
    left = []
    for i in range(n):
        rest = np.arange(n) != i
        left.append(values[i] - design[i] @ np.linalg.lstsq(design[rest], values[rest], rcond=None)[0])
    left, variance = np.array(left), 0.0
    for h in range(strata):
        n_h, m_h, size = (int((stratum[:k] == h).sum()) for k in (n, known, total))
        own = np.square(left[stratum[:n] == h]).sum() / n_h * (n_h - 1) / n_h
        variance += weight[h] ** 2 * (1 / n_h - 1 / m_h) * own
        variance += weight[h] ** 2 * (1 / m_h - 1 / size) * values[stratum[:n] == h].var(ddof=1)
    assert Regression(x, stratum).estimate(values) == (pytest.approx(expected), pytest.approx(np.sqrt(variance)))


def test_of_gaussian_losses_one_minus_the_squared_correlation_is_left_of_the_variance():
    total, n, rho = 100_000, 2000, 0.9
    draws = np.random.default_rng(0)
    x = draws.normal(size=total)
    y = 7 + rho * x + np.sqrt(1 - rho**2) * draws.normal(size=total)
    known = Regression(x[None], np.zeros(total, int))
    _, error = known.estimate(y[:n])
    assert error == pytest.approx(np.sqrt((1 - rho**2) * (1 - n / total) / n), rel=0.05)
    few = Regression(x[None, :8000], np.zeros(total, int))
    _, error = few.estimate(y[:n])
    assert error == pytest.approx(np.sqrt((1 - rho**2) * (1 / n - 1 / 8000) + 1 / 8000 - 1 / total), rel=0.05)


def test_without_controls_it_is_the_stratified_mean():
    values, _, stratum, _ = drawn(31, 90, 90)
    plain = stratified_mean(values, stratum[:31], np.bincount(stratum))
    assert Regression(np.zeros((0, 90)), stratum).estimate(values) == pytest.approx(plain)


def test_controls_that_say_nothing_new_change_nothing():
    values, x, stratum, _ = drawn(40, 90, 90)
    once = Regression(x, stratum).estimate(values)
    more = np.vstack([x, x[:1], 3 * x[:1] + x[1:2], np.ones((1, 90)), stratum[None] * 2.0])
    assert Regression(more, stratum).estimate(values) == pytest.approx(once)


def test_a_control_that_overflows_is_left_out():
    each = np.random.default_rng(0).exponential(size=50)
    assert np.array_equal(covariates([np.full(50, np.inf), each]), covariates([each]))
    assert covariates([np.full(50, np.nan)]).shape[0] == 0 and covariates([np.zeros(50)])[0].tolist() == [0] * 50
    torch.manual_seed(0)
    values, labels = torch.rand(2000), torch.arange(2000) % 4
    plain, m = Tolerance(labels, 0.05), scored(values, labels, 0.05, [np.full(2000, np.inf)])
    assert (m["loss"], m["loss_se"]) == plain.estimate(values[: m["examples"]].double().numpy())


def scored(losses, labels, tolerance, controls, extra=None, size=256):
    """What is measured where the losses are these, and those of neighbours are known."""
    batches = [(part, part) for part in labels.split(size)]
    known = Tolerance(labels, tolerance).knowing(controls)
    outputs = losses[:, None] if extra is None else torch.stack([losses, extra], 1)
    also = None if extra is None else {"other": lambda outputs, _: outputs[:, 1]}
    return score(outputs.split(size), batches, lambda outputs, _: outputs[:, 0], known, extra=also)


def test_all_examples_give_the_exact_mean_and_no_error():
    torch.manual_seed(0)
    losses, labels = torch.rand(1500).exp() ** 9, torch.randint(3, (1500,))
    m = scored(losses, labels, 1e-9, [torch.rand(1500).double().numpy()])
    assert (m["examples"], m["loss_se"]) == (1500, 0.0)
    assert m["loss"] == losses.double().numpy().mean()


def test_more_examples_than_the_controls_are_known_on_are_a_plain_sample():
    torch.manual_seed(0)
    losses, labels = torch.rand(6000).double().exp() ** 3, torch.arange(6000) % 3
    m = scored(losses, labels, 0.02, [losses[:768].numpy()])
    assert 768 < m["examples"] < 6000
    plain = stratified_mean(losses[: m["examples"]].numpy(), labels[: m["examples"]].numpy(), np.full(3, 2000))
    assert (m["loss"], m["loss_se"]) == plain


def test_what_is_not_finite_stops_at_the_first_look():
    values = torch.rand(5000)
    values[300] = torch.inf
    m = scored(values, torch.arange(5000) % 4, 0.001, [np.random.default_rng(0).random(5000)], size=250)
    assert m["loss"] == np.inf and np.isnan(m["loss_se"]) and m["examples"] == 500


def population(kind, n=10_000):
    """Losses of n examples, those of two neighbours, and classes."""
    draws = np.random.default_rng(0)
    labels, hard = draws.integers(10, size=n), draws.normal(size=n)
    near, far = hard + 0.5 * draws.normal(size=n), hard + draws.normal(size=n)
    if kind == "gaussian":
        return 5 + hard, [5 + near, 5 + far], labels
    if kind == "heavy tails":  # most are right, a few are very wrong, and not the same ones
        return np.exp(hard - 1), [np.exp(near - 1), np.exp(1.2 * far - 2)], labels
    if kind == "unlike":
        return draws.exponential(size=n), [np.exp(1.3 * near), draws.exponential(size=n)], labels
    # of a class
    return 3.0 * (labels + 1) + draws.exponential(2, n), [labels + draws.exponential(2, n)], labels


@pytest.mark.parametrize("kind", ["gaussian", "heavy tails", "unlike", "of a class"])
@pytest.mark.parametrize("known", [10_000, 5000])
@pytest.mark.slow
def test_the_interval_holds_the_truth_in_95_of_100_cases(kind, known):
    """Over seeds of the order, with the order's own stopping."""
    losses, controls, labels = population(kind)
    covered, used, plain = [], [], []
    for seed in range(200):
        order = stratified_order(torch.from_numpy(labels), seed).numpy()
        values, classes = torch.from_numpy(losses[order]), torch.from_numpy(labels[order])
        m = scored(values, classes, 0.03, [each[order][:known] for each in controls])
        covered.append(abs(m["loss"] - losses.mean()) <= 1.96 * m["loss_se"])
        used.append(m["examples"])
        assert m["loss_se"] <= 0.03 * m["loss"]
        sample = losses[order[:1000]]
        plain.append((sample.std() / sample.mean() / 0.03) ** 2)
    assert 0.91 <= np.mean(covered) <= 0.985  # 200 draws around 0.95: ± 2.6 standard errors
    if kind == "heavy tails" and known == 10_000:
        assert np.mean(used) < 0.6 * np.mean(plain)
    if kind == "unlike":
        assert np.mean(used) < 1.1 * max(512, np.mean(plain)) + 64


def test_a_metric_and_the_accuracy_have_errors_of_their_own():
    """By the same regression: a metric that goes with the controls is known well, one that does not, like a mean."""
    losses, controls, labels = (torch.from_numpy(np.asarray(part)) for part in population("gaussian"))
    torch.manual_seed(0)
    order = stratified_order(labels, 0)
    values, noise, known = losses[order], torch.randn(10_000).double(), [each.numpy() for each in controls[:, order]]
    m = scored(values, labels[order], 0.01, known, extra=noise)
    n = m["examples"]
    assert m["other_se"] == pytest.approx(np.sqrt((1 - n / 10_000) / n), rel=0.1)
    assert m["loss_se"] < 0.6 * values.std().item() * np.sqrt((1 - n / 10_000) / n)
    assert abs(m["other"] - noise.mean().item()) < 3.5 * m["other_se"]
