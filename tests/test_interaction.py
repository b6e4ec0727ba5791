"""What two deletions do beyond the sum of both: against losses measured apart, and what is told from 0."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import command, same

from ensemble.interaction import INTERACTION, interaction, interactions, summary
from landscape import checkpoint
from landscape import data as datasets
from landscape.measure import cross_entropy
from landscape.table import Results, read

FEW = ("--examples", 120)


def test_the_interaction_is_the_mean_over_examples_and_its_error_is_paired():
    rng = np.random.default_rng(0)
    both, one, other, intact = rng.standard_normal((4, 2, 50))
    found = interaction(both, one, other, intact, None)
    beyond = both - one - other + intact
    for name, each in zip(("interaction", "error_interaction"), beyond, strict=True):
        assert found[name] == pytest.approx(each.mean(), abs=1e-15)
        assert found[f"{name}_se"] == pytest.approx(each.std(ddof=1) / np.sqrt(50), abs=1e-15)
    alone = interaction(both[:, :20], one, other, intact, None)["interaction"]
    assert alone == pytest.approx(beyond[0, :20].mean(), abs=1e-15)  # the first examples of those compared with


def file_of(value, se, alone=(0.1, 0.2, 0.0)):
    """A results file of three blocks, with these interactions of the pairs 01, 02, 12."""
    deleted = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
    nothing, n = [np.nan] * 4, len(deleted)
    error = [0.05, *(0.05 + a for a in alone), 0.5, 0.5, 0.5]
    variables = {
        "deleted": deleted,
        "done": np.ones(n, bool),
        "accuracy": 1 - np.array(error),
        "loss": np.ones(n),
        "error_interaction": np.array(nothing + list(value)),
        "error_interaction_se": np.array(nothing + list(se)),
        "interaction": np.array([*nothing, 1.0, 2.0, 3.0]),
        "interaction_se": np.array([*nothing, 0.1, 0.1, 0.1]),
    }
    return Results(Path("a.h5"), "lesion", {"block": np.array(["a", "b", "c"])}, variables, {}, {})


def test_a_pair_is_significant_where_the_false_discovery_rate_allows_it():
    found = interactions(file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01]))
    np.testing.assert_array_equal(found.significant, [[0, 1, 1], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(found.value, [[0.1, 0.1, -0.2], [0.1, 0.2, 0.01], [-0.2, 0.01, 0.0]], atol=1e-15)
    # p = 0.04, 0.03, 0.9: each would pass alone, together they do not
    z = [2.0537489, 2.1700904, 0.1256613]
    assert not interactions(file_of(np.array(z) * 0.01, [0.01] * 3)).significant.any()


def test_a_pair_without_any_spread_is_not_significant():
    found = interactions(file_of([0.0, 0.1, 0.1], [0.0, np.nan, 0.001]))
    np.testing.assert_array_equal(found.significant, [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_the_summary_counts_and_compares():
    told = summary(file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01]))
    assert (
        told.startswith("2 of 3 interactions differ from 0") and "10 points of error in the median, 20 at most" in told
    )
    # together: 0.1 + 0.2 + 0.1, 0.1 - 0.2, 0.2 + 0.01
    assert told.endswith("where both deletions together cost 21 in the median")
    file = file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01])
    told = summary(replace(file, variables=file.variables | {"accuracy": np.full(7, np.nan)}))
    assert "3 of 3" in told and "2 nats in the median" in told


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A network of six blocks, hardly trained."""
    path = tmp_path_factory.mktemp("deep") / "a.pt"
    command("train", path, *("--depth", 14, "--width", 4, "--epochs", 2, "--examples", 300, "--quiet"))
    return path


@pytest.mark.mpi
def test_all_pairs_of_a_network_are_compared_with_each_alone(deep, tmp_path):
    told = command("lesion", deep, tmp_path / "a.h5", "--delete", 1, 2, *FEW).stdout
    command("lesion", deep, tmp_path / "b.h5", "--delete", 1, 2, *FEW, ranks=3)
    same(tmp_path / "a.h5", tmp_path / "b.h5")
    file = read(tmp_path / "a.h5")
    assert summary(file) in told
    number = file["deleted"].sum(axis=1)
    assert (np.isfinite(file["interaction"]) == (number == 2)).all() and (number == 2).sum() == 15
    for variable, measured in (("interaction", file["loss"]), ("error_interaction", 1 - file["accuracy"])):
        at = {frozenset(np.flatnonzero(d)): m for d, m in zip(file["deleted"], measured, strict=True)}
        for trial in np.flatnonzero(number == 2):
            i, j = (frozenset({b}) for b in np.flatnonzero(file["deleted"][trial]))
            expected = at[i | j] - at[i] - at[j] + at[frozenset()]
            assert file[variable][trial] == pytest.approx(expected, abs=1e-6)


def test_the_error_of_an_interaction_is_that_of_losses_taken_by_hand(deep, tmp_path):
    command("lesion", deep, tmp_path / "a.h5", "--delete", 2, *FEW)
    file = read(tmp_path / "a.h5")
    found = checkpoint.load(deep)
    network = found.restore().eval()
    data = datasets.load("digits", "test", examples=120, **{k: found.data[k] for k in ("mean", "std")})
    names = [name for name, module in network.named_modules() if type(module).__name__ == "Block"]

    def losses(*deleted):
        saved = {}
        for name in deleted:  # the last BatchNorm of the branch gives 0
            norm = [m for m in network.get_submodule(name).branch.modules() if isinstance(m, torch.nn.BatchNorm2d)][-1]
            saved[norm] = norm.weight.data.clone(), norm.bias.data.clone()
            norm.weight.data.zero_()
            norm.bias.data.zero_()
        with torch.no_grad():
            each = cross_entropy(network(data.images), data.labels).double().numpy()
        for norm, (weight, bias) in saved.items():
            norm.weight.data, norm.bias.data = weight, bias
        return each

    trial = int(np.flatnonzero(file["deleted"][:, [1, 4]].all(axis=1))[0])
    beyond = losses(names[1], names[4]) - losses(names[1]) - losses(names[4]) + losses()
    assert file["interaction"][trial] == pytest.approx(beyond.mean(), rel=1e-4)
    assert file["interaction_se"][trial] == pytest.approx(beyond.std(ddof=1) / np.sqrt(len(beyond)), rel=1e-4)


def test_random_or_replaced_pairs_have_no_interactions(deep, tmp_path):
    command("lesion", deep, tmp_path / "a.h5", "--delete", 1, 2, "--trials", 3, *FEW)
    command("lesion", deep, tmp_path / "b.h5", "--delete", 2, "--replace", "mean", *FEW)
    for name in "ab":
        assert not INTERACTION.keys() & read(tmp_path / f"{name}.h5").variables.keys()


def test_with_a_tolerance_pairs_are_compared_over_their_own_examples(deep, tmp_path):
    command("lesion", deep, tmp_path / "a.h5", "--delete", 1, 2, "--split", "train", "--tolerance", 0.2, "--quiet")
    file = read(tmp_path / "a.h5")
    pairs = file["deleted"].sum(axis=1) == 2
    assert np.isfinite(file["interaction"][pairs]).all() and (file["interaction_se"][pairs] >= 0).all()
