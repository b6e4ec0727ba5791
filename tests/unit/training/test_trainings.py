"""Many trainings in one table: the same from any number of ranks, and drawn from the file alone."""

import numpy as np
import pytest

from landscape.checkpoints import checkpoint
from landscape.drawing.trainings import trainings as drawn
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


def test_a_variant_may_have_a_pair_for_a_value():
    results = trainings(["resnet", "resnet:join=scale,scales=(1,1),order=post"], **ONE)
    assert np.ptp(results["loss"]) == 0  # 1·s + 1·f is the sum


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
