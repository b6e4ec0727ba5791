"""What two deletions do beyond the sum of both: against losses measured apart, and what is told from 0."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from analytic import file_of
from small import trained_like

from ensemble.attribution.interaction import INTERACTION, interaction, interactions, summary
from ensemble.lesions.trials import lesions
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import cross_entropy
from landscape.networks import build


def test_the_interaction_is_the_mean_over_examples_and_its_error_is_paired():
    rng = np.random.default_rng(0)
    both, one, other, intact = rng.standard_normal((4, 2, 50))
    effect = interaction(both, one, other, intact, None)
    beyond = both - one - other + intact
    for name, each in zip(("interaction", "error_interaction"), beyond, strict=True):
        assert effect[name] == pytest.approx(each.mean(), abs=1e-15)
        assert effect[f"{name}_se"] == pytest.approx(each.std(ddof=1) / np.sqrt(50), abs=1e-15)
    alone = interaction(both[:, :20], one, other, intact, None)["interaction"]
    assert alone == pytest.approx(beyond[0, :20].mean(), abs=1e-15)  # the first examples of those compared with


def test_a_pair_is_significant_where_the_false_discovery_rate_allows_it():
    matrix = interactions(file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01]))
    np.testing.assert_array_equal(matrix.significant, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(matrix.value, [[0.1, 0.1, -0.2], [0.1, 0.2, 0.01], [-0.2, 0.01, 0.0]], atol=1e-15)
    # p = 0.04, 0.03, 0.9: each would pass alone, together they do not
    z = [2.0537489, 2.1700904, 0.1256613]
    assert not interactions(file_of(np.array(z) * 0.01, [0.01] * 3)).significant.any()


def many(z, number=10):
    """A file of many blocks, whose pairs interact by so many standard errors."""
    one = np.eye(number, dtype=bool)
    deleted = np.array([np.zeros(number, bool), *one, *(a | b for a, b in combinations(one, 2))])
    nothing = np.full(number + 1, np.nan)
    file = file_of([0.0] * 3, [0.01] * 3)
    variables = {"deleted": deleted, "done": np.ones(len(deleted), bool), "accuracy": np.full(len(deleted), 0.5)}
    for name, values in {"error_interaction": 0.01 * z, "error_interaction_se": np.full(len(z), 0.01)}.items():
        variables[name] = np.append(nothing, values)
    return replace(file, coordinates={"block": np.arange(number).astype(str)}, variables=variables)


def test_q_is_the_rate_at_which_a_pair_would_just_be_significant():
    """By the step-up rule as it was published: the largest k of which p(k) ≤ k q / m."""
    z = np.random.default_rng(0).standard_normal(45) * 2
    matrix = interactions(many(z))
    upper = np.triu_indices(10, 1)
    q, p = matrix.q[upper], np.array([math.erfc(abs(each) / math.sqrt(2)) for each in z])
    for level in (0.01, 0.05, 0.1, 0.3):
        below = np.flatnonzero(np.sort(p) <= level * np.arange(1, 46) / 45)
        rejected = p <= (np.sort(p)[below.max()] if below.size else -1)
        np.testing.assert_array_equal(q <= level, rejected)
    np.testing.assert_array_equal(matrix.q, matrix.q.T)
    np.testing.assert_array_equal(matrix.significant, matrix.q <= 0.05)
    assert np.isnan(np.diag(matrix.q)).all()


def test_among_the_pairs_that_are_called_significant_at_most_one_in_twenty_is_not():
    """Games of which a third of the pairs interact, measured with noise: the mean over games, with its own error."""
    rng, share, power = np.random.default_rng(1), [], []
    for _ in range(300):
        real = rng.permutation(45) < 15
        z = rng.standard_normal(45) + np.where(real, 4.0, 0.0)
        called = interactions(many(z)).significant[np.triu_indices(10, 1)]
        share.append((called & ~real).sum() / max(1, called.sum()))
        power.append((called & real).sum() / 15)
    assert np.mean(share) <= 0.05 + 2 * np.std(share) / np.sqrt(300)
    assert np.mean(share) > 0.02 and np.mean(power) > 0.8  # (Benjamini–Hochberg holds 5 % of two thirds)


def test_a_pair_without_any_spread_is_not_significant():
    matrix = interactions(file_of([0.0, 0.1, 0.1], [0.0, np.nan, 0.001]))
    np.testing.assert_array_equal(matrix.significant, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])
    matrix = interactions(file_of([0.3, 0.1, 0.1], [0.0, 0.1, 0.001]))  # the same at every example, whatever it is
    np.testing.assert_array_equal(matrix.significant, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_the_summary_counts_and_compares():
    said = summary(file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01]))
    assert (
        said.startswith("2 of 3 interactions differ from 0") and "10 points of error in the median, 20 at most" in said
    )
    # together: 0.1 + 0.2 + 0.1, 0.1 - 0.2, 0.2 + 0.01
    assert said.endswith("where both deletions together cost 21 in the median")
    file = file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01])
    said = summary(replace(file, variables=file.variables | {"accuracy": np.full(7, np.nan)}))
    assert "3 of 3" in said and "2 nats in the median" in said


@pytest.fixture(scope="module")
def evaluate():
    """A network of six blocks on images."""
    torch.manual_seed(0)
    network = trained_like(build("resnet", depth=14, width=4, channels=1)).eval()
    return Evaluator(network, [(torch.randn(120, 1, 8, 8), torch.arange(120) % 10)])


def test_all_pairs_of_a_network_are_compared_with_each_alone(evaluate, caplog):
    with caplog.at_level("INFO", "skipscape"):
        study = lesions(evaluate, delete=[1, 2], quiet=True)
    assert summary(study) in caplog.text
    number = study["deleted"].sum(axis=1)
    assert (np.isfinite(study["interaction"]) == (number == 2)).all() and (number == 2).sum() == 15
    for loss, measured in ((True, study["loss"]), (False, 1 - study["accuracy"])):
        at = {frozenset(np.flatnonzero(d)): m for d, m in zip(study["deleted"], measured, strict=True)}
        matrix = interactions(study, loss)
        for i in range(6):
            one = at[frozenset({i})] - at[frozenset()]
            assert matrix.value[i, i] == pytest.approx(one, abs=1e-6)
            for j in range(i):
                expected = at[frozenset({i, j})] - at[frozenset({j})] - one
                assert matrix.value[i, j] == matrix.value[j, i] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    np.testing.assert_array_equal(interactions(study).value, interactions(study, False).value)


def test_the_error_of_an_interaction_is_that_of_losses_taken_by_hand(evaluate):
    study, network = lesions(evaluate, delete=2, quiet=True), evaluate.network
    ((images, labels),) = evaluate.sources[0].batches

    def losses(*deleted):
        norms = [network.get_submodule(str(study.coordinates["block"][n])).branch[-1] for n in deleted]
        saved = [(norm.weight.data.clone(), norm.bias.data.clone()) for norm in norms]
        for norm in norms:  # the last BatchNorm of the branch gives 0
            norm.weight.data.zero_()
            norm.bias.data.zero_()
        with torch.no_grad():
            each = cross_entropy(network(images), labels).double().numpy()
        for norm, (weight, bias) in zip(norms, saved, strict=True):
            norm.weight.data, norm.bias.data = weight, bias
        return each

    trial = int(np.flatnonzero(study["deleted"][:, [1, 4]].all(axis=1))[0])
    beyond = losses(1, 4) - losses(1) - losses(4) + losses()
    assert study["interaction"][trial] == pytest.approx(beyond.mean(), rel=1e-3, abs=1e-5)
    assert study["interaction_se"][trial] == pytest.approx(beyond.std(ddof=1) / np.sqrt(len(beyond)), rel=1e-3)
    assert interactions(study, loss=True).se[1, 4] == study["interaction_se"][trial]


@pytest.mark.slow
def test_random_or_replaced_pairs_have_no_interactions(evaluate):
    for options in ({"delete": [1, 2], "trials": 3}, {"delete": 2, "replace": "mean"}):
        study = lesions(evaluate, **options, quiet=True)
        assert not INTERACTION.keys() & study.keys()
        with pytest.raises(BadInput, match="has no interactions"):
            interactions(study)


@pytest.mark.slow
def test_with_a_tolerance_pairs_are_compared_over_their_own_examples(evaluate):
    torch.manual_seed(1)
    batches = [(torch.randn(1500, 1, 8, 8), torch.arange(1500) % 10)]
    study = lesions(Evaluator(evaluate.network, batches, tolerance=0.1, batch_size=100), delete=[1, 2], quiet=True)
    pairs = study["deleted"].sum(axis=1) == 2
    assert study["examples"].min() < 1500
    assert np.isfinite(study["interaction"][pairs]).all() and (study["interaction_se"][pairs] >= 0).all()
