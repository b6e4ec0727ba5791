"""Many trainings in one file: the same from any number of ranks, and drawn from the file alone."""

import numpy as np
import pytest
from conftest import command

from landscape import checkpoint
from landscape.table import read

SMALL = ("--depth", 8, 14, "--width", 4, "--seeds", 2, "--epochs", 2, "--examples", 300)
VARIANTS = ("plain", "resnet:order=pre,shortcut=projection")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("trainings") / "a.h5"
    command("trainings", path, *VARIANTS, *SMALL)
    return path


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_trainings(file, tmp_path):
    command("trainings", tmp_path / "a.h5", *VARIANTS, *SMALL, ranks=2)
    one, two = read(file), read(tmp_path / "a.h5")
    for name in one.variables:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_each_network_and_seed_has_its_row(file):
    results = read(file)
    assert results.dims["loss"] == ("variant", "depth", "seed")
    assert results.coordinates["variant"].tolist() == list(VARIANTS)
    assert results["loss"].shape == (2, 2, 2)
    assert len(np.unique(results["loss"])) == 8  # no two trainings are the same
    assert (results["test_accuracy"] > 0).all()


def test_a_training_is_the_one_of_train_py(file, tmp_path):
    """One row by the other command; on several threads the last digits may differ."""
    arguments = ("--network", "plain", "--depth", 8, "--width", 4, "--epochs", 2, "--examples", 300, "--seed", 0)
    said = command("train", tmp_path / "a.pt", *arguments).stdout
    assert f"loss {read(file)['loss'][0, 0, 0]:.4f}" in said


def test_a_diverged_training_is_a_result(tmp_path):
    few = ("--seeds", 1, "--epochs", 2, "--width", 4, "--depth", 8, "--examples", 300, "--quiet")
    command("trainings", tmp_path / "a.h5", "resnet", *few, "--learning-rate", 1e20)
    results = read(tmp_path / "a.h5")
    assert results["done"].all()
    assert not np.isfinite(results["loss"]).any()
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")


def test_figures_are_drawn_by_depth_or_by_variant(file, tmp_path):
    command("figure", tmp_path / "depth.png", file)
    command("trainings", tmp_path / "b.h5", *VARIANTS, "--seeds", 1, "--epochs", 1, "--width", 4, "--depth", 8)
    command("figure", tmp_path / "variant.pdf", tmp_path / "b.h5", "--titles", "without", "with")
    assert (tmp_path / "depth.png").stat().st_size > 10_000
    assert (tmp_path / "variant.pdf").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("last", "said"), [("resnet:order=sideways", "sideways"), ("resnet:classes=5", "5 outputs"), ("plain", "twice")]
)
def test_a_mistake_in_the_last_variant_shows_before_the_first_training(tmp_path, last, said):
    done = command("trainings", tmp_path / "a.h5", "plain", last, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "a.h5").exists()


def test_trainings_are_not_compared_as_if_they_were_surfaces(file):
    done = command("compare", file, check=False)
    assert done.returncode == 2
    assert "is of kind trainings" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variant_may_have_a_pair_for_a_value(tmp_path):
    one = ("--depth", 8, "--width", 4, "--seeds", 1, "--epochs", 1, "--examples", 100)
    command("trainings", tmp_path / "a.h5", "resnet", "resnet:join=scale,scales=(1,1),order=post", *one)
    assert np.ptp(read(tmp_path / "a.h5")["loss"]) == 0  # 1·s + 1·f is the sum


def test_checkpoints_that_are_trained_already_are_rows_and_what_is_not_there_is_told(trained, tmp_path):
    deep = ("--depth", 14, "--width", 4, "--epochs", 2, "--seed", 1)
    command("train", tmp_path / "deep.pt", "--network", "plain", *deep)
    files = [trained / "plain.pt", tmp_path / "deep.pt", trained / "resnet.pt"]
    told = command("trainings", tmp_path / "a.h5", "--checkpoints", *files).stdout
    assert told.endswith("a.h5: 3 of 8 rows of plain, resnet\n")
    results = read(tmp_path / "a.h5")
    variants, depths, seeds = (results.coordinates[dim].tolist() for dim in ("variant", "depth", "seed"))
    assert (variants, depths, seeds) == (["plain", "resnet"], [8, 14], [0, 1])
    there = results["done"]
    assert results.known.all() and np.isnan(results["accuracy"][~there]).all()
    assert "is whole" in command("check", tmp_path / "a.h5").stdout
    assert "complete already" in command("trainings", tmp_path / "a.h5", "--checkpoints", *files).stdout
    assert np.argwhere(there).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    for row, path in zip(np.argwhere(there), files, strict=True):
        final = checkpoint.load(path).final
        assert results["test_loss"][tuple(row)] == final["test"]["loss"]
        assert results["accuracy"][tuple(row)] == final["train"]["accuracy"]
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")


def test_checkpoints_that_do_not_go_together_are_refused(trained, tmp_path):
    begun = checkpoint.load(trained / "plain.pt")
    begun.final = {}
    checkpoint.save(begun, tmp_path / "begun.pt")
    other = checkpoint.load(trained / "plain.pt")
    other.data["digest"] = "0"
    checkpoint.save(other, tmp_path / "other.pt")
    for files, reason in (
        ([trained / "plain.pt"] * 2, "are both plain of depth 8, seed 0"),
        ([tmp_path / "begun.pt"], "does not tell its errors"),
        ([trained / "resnet.pt", tmp_path / "other.pt"], "trained on other data"),
    ):
        done = command("trainings", tmp_path / "a.h5", "--checkpoints", *files, check=False)
        assert done.returncode == 2 and reason in done.stderr
    told = command("trainings", tmp_path / "a.h5", "--checkpoints", trained / "plain.pt", "--epochs", 3, check=False)
    assert told.returncode == 2 and "--epochs is for variants" in told.stderr
    for words in ([], ["plain", "--checkpoints", trained / "plain.pt"]):
        assert "not both" in command("trainings", tmp_path / "a.h5", *words, check=False).stderr


def test_checkpoints_of_another_training_are_not_taken_for_those_in_the_file(trained, tmp_path):
    command("trainings", tmp_path / "a.h5", "--checkpoints", trained / "plain.pt")
    again = checkpoint.load(trained / "plain.pt")
    again.final["test"]["loss"] += 1
    checkpoint.save(again, tmp_path / "plain.pt")
    done = command("trainings", tmp_path / "a.h5", "--checkpoints", tmp_path / "plain.pt", check=False)
    assert done.returncode == 2 and "checkpoint" in done.stderr


def test_a_checkpoint_that_tells_the_least_is_a_row_too(trained, tmp_path):
    few = checkpoint.load(trained / "plain.pt")
    few.final = {split: {"loss": 1.5, "accuracy": 0.5, "more": 1} for split in ("train", "test")}
    few.training = {"epochs": [1, 2], "recipe": {}}
    checkpoint.save(few, tmp_path / "few.pt")
    command("trainings", tmp_path / "a.h5", "--checkpoints", tmp_path / "few.pt")
    results = read(tmp_path / "a.h5")
    assert results["loss"].item() == 1.5 and np.isnan(results["loss_se"]).all() and results["examples"].item() == 0
