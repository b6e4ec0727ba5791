"""More than one plane, one loss, one split: repeats, spaces, saved and orthogonal directions, weight decay."""

import numpy as np
import pytest
import torch
import xarray

from landscape.checkpoints import checkpoint as checkpoints
from landscape.drawing import draw, save
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes import direction_files as saved
from landscape.planes import surface as surfaces
from landscape.planes.adaptive import decide
from landscape.planes.directions import cosine, filter_normalize, random_direction
from landscape.weights import weights_of

PLANE = {"x": (-1, 1, 3), "y": (-0.5, 1, 2)}


def surface(trained, out=None, *, split="train", loss=None, examples=60, **how):
    evaluate = Evaluator.from_checkpoint(trained / "resnet.pt", split=split, loss=loss, examples=examples)
    return surfaces.surface(evaluate, out=out, quiet=True, **how)


def refused(trained, **how):
    """Why a surface is not measured."""
    with pytest.raises(BadInput) as refusal:
        surface(trained, **how)
    return str(refusal.value)


def test_repeats_are_planes_of_independent_directions_the_first_that_of_the_seed(trained):
    alone = surface(trained, **PLANE)
    three = surface(trained, **PLANE, repeats=3)
    assert three.dims["loss"] == ("repeat", "y", "x") and three["loss"].shape == (3, 2, 3)
    np.testing.assert_array_equal(three["loss"][0], alone["loss"])
    assert len(np.unique(three["loss"])) == three["loss"].size  # no point lies at the centre, no repeat repeats
    assert len(set(three.attributes["direction_digest"])) == 3
    assert (np.abs(three.attributes["cosine"]) < 0.1).all()


def test_a_space_holds_the_plane(trained, tmp_path):
    plane = surface(trained, **PLANE)
    space = surface(trained, tmp_path / "b.h5", **PLANE, z=(-1, 1, 3))
    assert space.dims["loss"] == ("z", "y", "x")
    np.testing.assert_array_equal(space["loss"][1], plane["loss"])
    with xarray.open_dataset(tmp_path / "b.h5", engine="h5netcdf") as dataset:
        assert dict(dataset.sizes) == {"z": 3, "y": 2, "x": 3}
    assert len(space.attributes["cosine"]) == 3
    assert "give the second one" in refused(trained, z=(-1, 1, 3))


def test_saved_directions_lead_where_they_say(trained, tmp_path):
    origin = weights_of(checkpoints.load(trained / "resnet.pt").restore())
    drawn = [filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)]
    saved.save(drawn, tmp_path / "both.pt")
    saved.save(drawn[1:], tmp_path / "second.pt")
    alone = surface(trained, **PLANE)
    along = surface(trained, **PLANE, along=tmp_path / "both.pt")
    np.testing.assert_array_equal(along["loss"], alone["loss"])
    assert along.attributes["direction_digest"] == alone.attributes["direction_digest"]
    turned = surface(trained, x=(-0.5, 1, 2), along=tmp_path / "second.pt")
    assert turned.dims["loss"] == ("x",)
    axis = surface(trained, x=(0, 0, 1), y=(-0.5, 1, 2))
    np.testing.assert_array_equal(turned["loss"], axis["loss"][:, 0])
    # normalised, a direction of another length is the same
    saved.save([{name: 3 * d for name, d in drawn[1].items()}], tmp_path / "long.pt")
    again = surface(trained, x=(-0.5, 1, 2), along=tmp_path / "long.pt", normalize="filter")
    np.testing.assert_allclose(again["loss"], turned["loss"], rtol=1e-4)


def test_a_saved_direction_may_name_some_of_the_parameters_and_none_that_there_are_not(trained, tmp_path):
    origin = weights_of(checkpoints.load(trained / "resnet.pt").restore())
    bias = {"head.2.bias": torch.tensor([1.0] + [0.0] * 9)}
    saved.save([bias], tmp_path / "bias.pt")
    line = surface(trained, x=(0, 1000, 2), along=tmp_path / "bias.pt")
    assert line["accuracy"][1] == pytest.approx(0.1, abs=0.01)  # all are taken for the first class
    name = next(iter(origin))
    for content, said in (
        ({"elsewhere": torch.ones(1)}, "which"),
        ({name: torch.ones(1)}, "has shape (1,)"),
    ):
        saved.save([content], tmp_path / "wrong.pt")
        assert said in refused(trained, x=(0, 1, 2), along=tmp_path / "wrong.pt")
    both = {"along": tmp_path / "bias.pt", "x": (0, 1, 2), "y": (0, 1, 2)}
    assert "names 1 direction(s) for 2" in refused(trained, **both)


def test_orthogonal_axes_are_so_to_rounding_and_keep_the_first(trained):
    alone = surface(trained, **PLANE)
    square = surface(trained, **PLANE, orthogonal=True)
    assert abs(alone.attributes["cosine"]) > 1e-4
    assert abs(square.attributes["cosine"]) < 1e-8
    assert square.attributes["direction_digest"] != alone.attributes["direction_digest"]


@pytest.mark.slow
def test_both_splits_and_several_losses_are_what_each_is_alone(trained, tmp_path):
    test = surface(trained, **PLANE, split="test")
    train = surface(trained, **PLANE)
    squares = surface(trained, **PLANE, loss="mse")
    both = surface(trained, **PLANE, split="both", loss=["cross_entropy", "mse"])
    for name in ("loss", "loss_se", "accuracy", "examples"):
        np.testing.assert_array_equal(both[name], train[name])
        np.testing.assert_array_equal(both[f"test_{name}"], test[name])
    np.testing.assert_array_equal(both["mse"], squares["loss"])
    np.testing.assert_array_equal(both["mse_se"], squares["loss_se"])
    assert both.metadata["test_mse"] == {"long_name": "test split: mse, mean per example", "units": "as the loss"}
    for variable in ("test_loss", "mse", "test_mse"):
        save(draw([both], variable=variable), tmp_path / f"{variable}.png")
    with pytest.raises(BadInput, match="has no loss 'accuracy'; it has"):
        draw([both], variable="accuracy")


def test_losses_of_one_name_are_refused(trained):
    assert "a name of its own" in refused(trained, loss=["mse", "mse"])


def test_weight_decay_is_half_lambda_times_the_squared_norm(trained, tmp_path):
    plain = surface(trained, x=(0, 1, 2))
    decayed = surface(trained, x=(0, 1, 2), weight_decay=0.01)
    network = checkpoints.load(trained / "resnet.pt").restore().double()
    origin = weights_of(network)
    direction = filter_normalize(random_direction(weights_of(network.float()), (0, 0)), weights_of(network.float()))
    for row, alpha in enumerate((0.0, 1.0)):
        squares = sum(((w + alpha * direction[name].double()) ** 2).sum().item() for name, w in origin.items())
        assert decayed["penalty"][row] == pytest.approx(0.005 * squares, rel=1e-6)
    np.testing.assert_array_equal(decayed["loss"], plain["loss"])
    np.testing.assert_array_equal(decayed["objective"], decayed["loss"] + decayed["penalty"])
    save(draw([decayed], variable="objective"), tmp_path / "a.png")


@pytest.mark.slow
def test_repeats_are_refined_each_for_itself(trained):
    how = {"x": (-1, 1, 129), "examples": 100, "adaptive": True}
    alone = surface(trained, **how)
    two = surface(trained, **how, repeats=2)
    for name in ("loss", "done", "interpolated", "miss", "accuracy"):
        np.testing.assert_array_equal(two[name][0], alone[name])
    assert two["done"][0].sum() < 129
    for loss, done in zip(two["loss"], two["done"], strict=True):
        assert not decide(loss, done, 0.02, 0).rows.size


@pytest.mark.slow
def test_repeats_and_spaces_are_drawn(trained, tmp_path):
    measured = {
        "line": surface(trained, x=(-1, 1, 5), repeats=3),
        "plane": surface(trained, x=(-1, 1, 4), y=(-1, 1, 4), repeats=2, examples=100),
        "space": surface(trained, x=(-1, 1, 3), y=(-1, 1, 3), z=(-1, 1, 3), examples=100),
    }
    for name, results in measured.items():
        save(draw([results, results]), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000


def test_what_does_not_go_together_is_refused(trained, tmp_path):
    net = trained / "resnet.pt"
    saved.save([{"head.2.bias": torch.ones(10)}], tmp_path / "d.pt")
    for how, said in (
        ({"repeats": 2, "along": tmp_path / "d.pt"}, "leave it out with to and along"),
        ({"to": net, "along": tmp_path / "d.pt"}, "give one of them"),
        ({"repeats": 0}, "give 1 or more"),
        ({"adaptive": True, "split": "both"}, "leave it out with split both"),
        ({"weight_decay": -1}, "give 0 or more"),
    ):
        assert said in refused(trained, x=(0, 1, 2), out=tmp_path / "a.h5", **how)
        assert not (tmp_path / "a.h5").exists()


def test_the_cosine_of_a_repeat_is_that_of_its_directions(trained):
    two = surface(trained, **PLANE, repeats=2)
    origin = weights_of(checkpoints.load(trained / "resnet.pt").restore())
    pair = [filter_normalize(random_direction(origin, (0, i, 1)), origin) for i in range(2)]
    assert two.attributes["cosine"][1] == cosine(*pair)
