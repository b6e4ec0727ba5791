"""Many trainings in one table: the same from any number of ranks, and drawn from the file alone."""

import numpy as np
import pytest
from files import same
from processes import command

from landscape.checkpoints import checkpoint
from landscape.drawing.trainings import trainings as drawn
from landscape.engine.check import check
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.training.train import train
from landscape.training.trainings import trainings

VARIANTS = ("plain", "resnet:order=pre,shortcut=projection")
SMALL = {"depth": [8, 14], "width": 4, "seeds": 2, "epochs": 1, "examples": 100, "quiet": True}
ONE = SMALL | {"depth": 8, "seeds": 1}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("trainings") / "a.h5"
    trainings(VARIANTS, **SMALL, out=path)
    return path


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_trainings_by_the_command(file, tmp_path):
    words = ("--depth", 8, 14, "--width", 4, "--seeds", 2, "--epochs", 1, "--examples", 100)
    command("trainings", tmp_path / "a.h5", *VARIANTS, *words, ranks=2)
    same(file, tmp_path / "a.h5")
    assert "complete already" in command("trainings", file, *VARIANTS, *words).stdout
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_each_network_and_seed_has_its_row(file):
    results = read(file)
    assert results.dims["loss"] == ("variant", "depth", "seed")
    assert results.coordinates["variant"].tolist() == list(VARIANTS)
    assert results["loss"].shape == (2, 2, 2)
    assert len(np.unique(results["loss"])) == 8  # no two trainings are the same
    assert (results["test_accuracy"] > 0).all()


def test_a_row_is_the_training_of_one_network(file):
    """By the other function; on several threads the last digits may differ."""
    final = train(network="plain", depth=8, width=4, epochs=1, examples=100, seed=0, quiet=True).final
    results = read(file)
    assert results["loss"][0, 0, 0] == pytest.approx(final["train"]["loss"], rel=1e-4)
    assert results["test_loss"][0, 0, 0] == pytest.approx(final["test"]["loss"], rel=1e-4)


def test_a_diverged_training_is_a_result():
    results = trainings("resnet", **ONE | {"epochs": 2}, learning_rate=1e20)
    assert results["done"].all()
    assert not np.isfinite(results["loss"]).any()
    drawn([results])


def test_figures_are_drawn_by_depth_or_by_variant(file):
    by_depth = drawn([read(file)]).axes
    assert [axes.get_xlabel() for axes in by_depth] == ["depth (weight layers)"] * 2
    results = trainings(VARIANTS, **ONE)
    left, right = drawn([results], titles=["without", "with"]).axes
    assert [left.get_xlabel(), right.get_xlabel()] == ["training error (%)", "test error (%)"]
    assert [label.get_text() for label in left.get_yticklabels()] == ["without", "with"]


@pytest.mark.parametrize(
    ("last", "said"), [("resnet:order=sideways", "sideways"), ("resnet:classes=5", "5 outputs"), ("plain", "twice")]
)
def test_a_mistake_in_the_last_variant_shows_before_the_first_training(tmp_path, last, said):
    with pytest.raises(BadInput, match=said):
        trainings(["plain", last], quiet=True, out=tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_trainings_are_not_compared_as_if_they_were_surfaces(file):
    done = command("compare", file, check=False)
    assert done.returncode == 2
    assert "is of kind trainings" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_variant_may_have_a_pair_for_a_value():
    results = trainings(["resnet", "resnet:join=scale,scales=(1,1),order=post"], **ONE)
    assert np.ptp(results["loss"]) == 0  # 1·s + 1·f is the sum


def test_checkpoints_that_are_trained_already_are_rows_and_others_are_known_to_be_absent(trained, tmp_path):
    train(tmp_path / "deep.pt", network="plain", depth=14, width=4, epochs=1, seed=1, quiet=True)
    files = [trained / "plain.pt", tmp_path / "deep.pt", trained / "resnet.pt"]
    printed = command("trainings", tmp_path / "a.h5", "--checkpoints", *files).stdout
    assert printed.endswith("a.h5: 3 of 8 rows of plain, resnet\n")
    before = (tmp_path / "a.h5").read_bytes()
    results = trainings(checkpoints=files, out=tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before  # a finished file is left alone
    variants, depths, seeds = (results.coordinates[dim].tolist() for dim in ("variant", "depth", "seed"))
    assert (variants, depths, seeds) == (["plain", "resnet"], [8, 14], [0, 1])
    there = results["done"]
    assert results.known.all() and np.isnan(results["accuracy"][~there]).all()
    assert check(tmp_path / "a.h5").status == 0
    assert np.argwhere(there).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    for row, path in zip(np.argwhere(there), files, strict=True):
        final = checkpoint.load(path).final
        assert results["test_loss"][tuple(row)] == final["test"]["loss"]
        assert results["accuracy"][tuple(row)] == final["train"]["accuracy"]
    drawn([results])


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
        with pytest.raises(BadInput, match=reason):
            trainings(checkpoints=files, out=tmp_path / "a.h5")
    with pytest.raises(BadInput, match="epochs is for variants"):
        trainings(checkpoints=[trained / "plain.pt"], epochs=3)
    for variants, files in (((), ()), (["plain"], [trained / "plain.pt"])):
        with pytest.raises(BadInput, match="not both"):
            trainings(variants, checkpoints=files)


def test_checkpoints_of_another_training_are_not_taken_for_those_in_the_file(trained, tmp_path):
    trainings(checkpoints=[trained / "plain.pt"], out=tmp_path / "a.h5", quiet=True)
    again = checkpoint.load(trained / "plain.pt")
    again.final["test"]["loss"] += 1
    checkpoint.save(again, tmp_path / "plain.pt")
    with pytest.raises(BadInput, match="its checkpoint is"):
        trainings(checkpoints=[tmp_path / "plain.pt"], out=tmp_path / "a.h5")


def test_a_checkpoint_that_tells_the_least_is_a_row_too(trained, tmp_path):
    few = checkpoint.load(trained / "plain.pt")
    few.final = {split: {"loss": 1.5, "accuracy": 0.5, "more": 1} for split in ("train", "test")}
    few.training = {"epochs": [1, 2], "recipe": {}}
    checkpoint.save(few, tmp_path / "few.pt")
    results = trainings(checkpoints=[tmp_path / "few.pt"], quiet=True)
    assert results["loss"].item() == 1.5 and np.isnan(results["loss_se"]).all() and results["examples"].item() == 0
