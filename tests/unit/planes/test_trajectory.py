"""Paths of trainings: their losses against the checkpoints' own, from files and from memory."""

import copy
import dataclasses
import runpy
import shlex
import shutil

import h5py
import numpy as np
import pytest
import tiny
import torch
from files import ROOT, resealed

from landscape.checkpoints import checkpoint as checkpoints
from landscape.drawing import trajectories
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import measure
from landscape.networks import build
from landscape.planes import direction_files as saved
from landscape.planes.make_plane import plane_along
from landscape.planes.surface import surface
from landscape.planes.trajectory import (
    around,
    height,
    loaded,
    principal_directions,
    trajectory,
)
from landscape.weights import digest

NAMES = ["epoch-0000", "epoch-0001", "epoch-0002", "epoch-0003"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with net.pt and run/epoch-0000.pt … 4, of which the last is net.pt, and path.h5 of the call."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "run").mkdir()
    for epoch, network in enumerate(tiny.snapshots(width=4, steps=50)):
        tiny.checkpoint(network, folder / "run" / f"epoch-{epoch:04}.pt", width=4, epoch=epoch)
    tiny.checkpoint(network, folder / "net.pt", width=4, epoch=epoch)
    trajectory(on_digits(folder / "net.pt"), folder / "run", out=folder / "path.h5")
    return folder


def on_digits(path, **how):
    return Evaluator.from_checkpoint(path, examples=100, **how)


@pytest.fixture(scope="module")
def evaluate(run):
    return on_digits(run / "net.pt")


@pytest.fixture(scope="module")
def states(run):
    """The checkpoints' weights, in memory."""
    return [checkpoints.load(run / "run" / f"{name}.pt").weights for name in NAMES]


def test_a_network_has_its_own_weights_and_statistics_back():
    network = tiny.network(steps=2)
    state = network.state_dict()
    before, objects = digest(state), [id(p) for p in network.parameters()]
    other = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.raises(KeyError), loaded(network, other):
        assert digest(network.state_dict()) == digest(other)
        raise KeyError
    assert digest(network.state_dict()) == before
    assert [id(p) for p in network.parameters()] == objects


# The measurement


@pytest.mark.slow
def test_losses_are_those_of_the_checkpoints_themselves(run):
    results, data = read(run / "path.h5"), tiny.digits(100)
    assert results.coordinates["checkpoint"].tolist() == [*NAMES, "net"]  # the last epoch is the network itself
    assert results["epoch"].tolist() == [0, 1, 2, 3, 4]
    for row, path in enumerate([*(run / "run" / f"{name}.pt" for name in NAMES), run / "net.pt"]):
        theirs = measure(checkpoints.load(path).restore().eval(), [(data.images, data.labels)])
        assert results["loss"][row] == pytest.approx(theirs["loss"], rel=1e-5)
        assert results["accuracy"][row] == theirs["accuracy"]
    assert results["plane_loss"][-1] == results["loss"][-1]
    assert results["plane_loss_se"][-1] == results["loss_se"][-1]
    assert results.attributes["captured"] == pytest.approx(results["explained"][:2].sum(), abs=1e-6)


def test_a_surface_in_the_plane_has_the_losses_of_the_nearest_points(run, evaluate):
    path = read(run / "path.h5")
    alpha, beta = path["alpha"][1], path["beta"][1]
    point = {"x": (alpha, alpha, 1), "y": (beta, beta, 1), "quiet": True}
    there = surface(evaluate, **point, along=run / "path.directions.pt")
    assert there["loss"].item() == path["plane_loss"][1]
    assert there.attributes["direction_digest"] == path.attributes["direction_digest"]


@pytest.mark.parametrize("form", ["states", "networks", "names", "evaluator"])
def test_in_memory_the_path_is_that_of_the_files(run, evaluate, states, form):
    def network(state):
        made = copy.deepcopy(evaluate.network)
        made.load_state_dict(state)
        return made

    forms = {
        "states": lambda: states,
        "networks": lambda: [*map(network, states), copy.deepcopy(evaluate.network)],  # the last is the end itself
        "names": lambda: dict(zip(NAMES, states, strict=True)),
        "evaluator": lambda: states,
    }
    if form == "evaluator":
        evaluate = tiny.with_digits(evaluate.network, examples=100)
    path = trajectory(evaluate, forms[form](), quiet=True)
    before = read(run / "path.h5")
    for name in ("alpha", "beta", "off_plane", "distance", "loss", "accuracy", "plane_loss", "explained"):
        np.testing.assert_array_equal(path[name], before[name], err_msg=name)
    assert "epoch" not in path
    names = NAMES if form == "names" else ["0", "1", "2", "3"]
    assert path.coordinates["checkpoint"].tolist() == [*names, "the network" if form == "evaluator" else "net"]


def test_principal_directions_are_those_of_the_file_and_lead_around_the_path(run, evaluate, states):
    directions = principal_directions(evaluate, states)
    for one, other in zip(directions, saved.load(run / "path.directions.pt"), strict=True):
        assert digest(one) == digest(other)
    path = read(run / "path.h5")
    axes = around(path, points=4)
    for name, letter in (("alpha", "x"), ("beta", "y")):
        low, high, points = axes[letter]
        assert low < path[name].min() and path[name].max() < high and points == 4
    there = surface(evaluate, plane_along(*directions), **axes, quiet=True)
    assert there.attributes["direction_digest"] == path.attributes["direction_digest"]


def test_copies_that_are_none_are_said_to_make_no_path(evaluate, tmp_path):
    same = [evaluate.network.state_dict() for _ in range(3)]
    with pytest.raises(BadInput, match=r"the same weights.*a state dict follows its network"):
        trajectory(evaluate, same, out=tmp_path / "a.h5")


def test_a_figure_matches_surfaces_with_paths_by_their_plane(run, evaluate, tmp_path):
    path, along = read(run / "path.h5"), run / "path.directions.pt"
    plane = surface(evaluate, **around(path, points=6), along=along, quiet=True, out=tmp_path / "a.h5")
    for files in ([path], [path, plane], [plane, path], [path, path]):
        figure = trajectories(files)
        drawn = [axes for axes in figure.axes if axes.get_xlabel().startswith("α")]
        assert len(drawn) == sum(file.kind == "trajectory" for file in files)
        assert bool(drawn[0].collections) == (plane in files)
        assert f"{100 * path.attributes['captured']:.3g} % of the path's variance" in " ".join(
            drawn[0].get_title().split()
        )
    for changed in ("direction_digest", "checkpoint"):
        other = dataclasses.replace(plane, attributes={**plane.attributes, changed: "other"})
        with pytest.raises(BadInput, match=r"no surface is in the plane of .*path\.h5"):
            trajectories([other, path])
        with pytest.raises(BadInput, match="not in the plane of a path"):
            trajectories([other, path, plane])
    with pytest.raises(BadInput, match="losses of different kinds"):
        trajectories([path, dataclasses.replace(plane, attributes={**plane.attributes, "loss": "mse"})])


def test_it_says_how_far_the_path_leaves_the_plane(run, evaluate, caplog):
    caplog.set_level("INFO", "skipscape")
    path = trajectory(evaluate, run / "run", out=run / "path.h5")
    assert f"{100 * path['explained'][:2].sum():.1f} % of the path's variance" in caplog.text
    far = path["off_plane"].argmax()
    assert f"{path.coordinates['checkpoint'][far]}: by {path['off_plane'][far]:.3g}" in caplog.text


@pytest.mark.slow
def test_a_resumed_run_keeps_its_plane_to_the_bit(run, evaluate, tmp_path, caplog):
    """The plan comes from the files: here one that this machine would not compute."""
    out, axes = tmp_path / "path.h5", tmp_path / "path.directions.pt"
    out.write_bytes((run / "path.h5").read_bytes())
    axes.write_bytes((run / "path.directions.pt").read_bytes())
    before = read(out)
    with h5py.File(out, "r+") as file:
        file["alpha"][0] = np.nextafter(before["alpha"][0], 100)
        file["done"][2:] = False
        file["loss"][2:] = np.nan
    resealed(out)
    after = trajectory(evaluate, run / "run", out=out)
    assert after["alpha"][0] == np.nextafter(before["alpha"][0], 100)
    np.testing.assert_array_equal(after["loss"], before["loss"])
    stamp = out.stat().st_mtime_ns
    caplog.set_level("INFO", "skipscape")
    trajectory(evaluate, run / "run", out=out)
    assert "complete already" in caplog.text and out.stat().st_mtime_ns == stamp
    files = sorted((run / "run").glob("epoch-*.pt"))
    fewer = "of other snapshots: it has 4: epoch-0000 … epoch-0003; given are 3: epoch-0001 … epoch-0003; they differ"
    with pytest.raises(BadInput, match=f"{fewer} from number 1 on; give another output file"):
        trajectory(evaluate, files[1:], out=out)
    others = tmp_path / "same"
    others.mkdir()
    for path, other in zip(files, [files[1], *files[1:]], strict=True):
        (others / path.name).write_bytes(other.read_bytes())
    with pytest.raises(
        BadInput, match="it has 4: epoch-0000 … epoch-0003; given are the same names with other weights"
    ):
        trajectory(evaluate, others, out=out)
    with pytest.raises(BadInput, match="its batchnorm is"):
        trajectory(evaluate, run / "run", out=out, batchnorm="recalibrated", calibration=50)
    saved.save(saved.load(axes)[::-1], axes)
    with pytest.raises(BadInput, match="its direction_digest is"):
        trajectory(evaluate, run / "run", out=out)
    axes.unlink()
    with pytest.raises(BadInput, match="is gone"):
        trajectory(evaluate, run / "run", out=out)
    assert out.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("form", ["file", "memory"])
def test_along_other_directions_and_with_statistics_measured_anew(run, evaluate, form, tmp_path):
    first, second = saved.load(run / "path.directions.pt")
    skewed = [{name: 3 * d for name, d in first.items()}, {name: d + first[name] for name, d in second.items()}]
    saved.save(skewed, tmp_path / "skewed.pt")
    along = skewed if form == "memory" else tmp_path / "skewed.pt"
    how = {"batchnorm": "recalibrated", "calibration": 50, "quiet": True}
    ours, straight = trajectory(evaluate, run / "run", along=along, **how, out=tmp_path / "a.h5"), read(run / "path.h5")
    np.testing.assert_allclose(ours["beta"], straight["beta"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(3 * ours["alpha"] + ours["beta"], straight["alpha"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours["off_plane"], straight["off_plane"], rtol=1e-4, atol=1e-6)
    assert ours.attributes["captured"] == pytest.approx(straight.attributes["captured"], abs=1e-6)
    assert ours.attributes["batchnorm"] == "recalibrated" and ours.attributes["calibration"] == 50
    np.testing.assert_array_equal(ours["loss"], straight["loss"])
    assert (ours["plane_loss"] != straight["plane_loss"])[:-1].all()
    assert not (tmp_path / "a.directions.pt").exists()


@pytest.mark.parametrize(
    ("plane", "stale", "said"),
    [
        ([2, 1.5, 0.5], True, []),
        ([2, 30, 0.5], False, ["at b it is 1, and 30 in the plane"]),
        ([2, np.nan, 0.5], True, ["in the plane, with BatchNorm's statistics of the end: --batchnorm recalibrated"]),
    ],
)
def test_it_is_said_where_contours_do_not_show_the_loss_on_the_path(plane, stale, said):
    table = {"loss": np.array([3, 1, 0.5]), "plane_loss": np.array(plane)}
    lines = height(table, ["a", "b", "c"], stale)
    assert len(lines) == len(said) and all(part in line for part, line in zip(said, lines, strict=True))


def test_the_path_of_filters_leaves_biases_where_they_end(run, evaluate, tmp_path):
    path, whole = trajectory(evaluate, run / "run", filters_only=True, out=tmp_path / "a.h5"), read(run / "path.h5")
    first, second = saved.load(tmp_path / "a.directions.pt")
    assert all(d.ndim > 1 for d in [*first.values(), *second.values()])
    assert (path["distance"][:-1] < whole["distance"][:-1]).all()
    np.testing.assert_array_equal(path["loss"], whole["loss"])


def test_files_of_state_dicts_make_a_path_too(run, evaluate, tmp_path):
    for path in (run / "run").iterdir():
        torch.save({"state_dict": checkpoints.load(path).weights}, tmp_path / path.name)
    results = trajectory(evaluate, tmp_path, out=tmp_path / "a.h5")
    np.testing.assert_array_equal(results["plane_loss"], read(run / "path.h5")["plane_loss"])
    assert "epoch" not in results


def test_what_belongs_to_another_training_is_refused_in_one_line(run, evaluate, states, tmp_path):
    one, two, plain = (run / "run" / "epoch-0001.pt", tmp_path / "two.pt", tmp_path / "plain.pt")
    shutil.copy(run / "net.pt", tmp_path / "again.pt")
    shutil.copy(run / "net.pt", two)
    wide = build("resnet", depth=8, width=6, channels=1)
    torch.save(wide.state_dict(), tmp_path / "wide.pt")
    made = build("plain", depth=8, width=4, channels=1)
    checkpoints.save(checkpoints.Checkpoint("plain", {"depth": 8, "width": 4, "channels": 1}, made.state_dict()), plain)
    cases = {
        r"wide.pt is of another network than .*net.pt: they differ in": [one, tmp_path / "wide.pt"],
        "checkpoint 1 is of another network than .*: they differ in": [states[0], wide],
        "another network, plain-8": [plain, one],
        "2 checkpoints or more": [one],
        "same weights": [tmp_path / "again.pt", two, run / "run" / "epoch-0004.pt"],
        "there is no checkpoint": [tmp_path / "none.pt"],
    }
    for message, files in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            trajectory(evaluate, files, out=tmp_path / "a.h5")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "a.h5").exists() and not (tmp_path / "a.directions.pt").exists()


def test_options_that_do_not_go_together_are_refused_in_one_line(run, evaluate, tmp_path):
    axes = run / "path.directions.pt"
    cases = {
        "calibration is 5000": {"batchnorm": "recalibrated", "calibration": 5000},
        "there is no batchnorm 'batch'": {"batchnorm": "batch"},
        "directions and filters_only are for principal components": {"along": axes, "filters_only": True},
        "no parameter's name fits": {"parameters": "nothing"},
        "mkdir -p": {"out": tmp_path / "missing" / "a.h5"},
    }
    for message, how in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            trajectory(evaluate, run / "run", **{"out": tmp_path / "a.h5"} | how)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="leave out dtype"):
        trajectory(on_digits(run / "net.pt", dtype="bfloat16"), run / "run", out=tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_nothing_is_kept_of_a_dry_run(run, evaluate, tmp_path):
    assert "5 checkpoints" in trajectory(evaluate, run / "run", out=tmp_path / "a.h5", dry_run=True)
    assert not list(tmp_path.iterdir())


# The command


def test_printed_commands_have_what_was_typed_and_the_limits_of_the_path():
    command = runpy.run_path(str(ROOT / "scripts" / "trajectory.py"))
    typed = ["a.pt", "b.h5", "--snapshots", "run", "--seed", "3", "--argument", "depth=8", "--standardize"]
    arguments = command["parser"]().parse_args([*typed, "--parameters", "a.*", "b"])
    lines = command["commands"](arguments, {"x": (-0.3, 1.7, 51), "y": (0, 1, 51)})
    measured, drawn = map(shlex.split, lines)
    assert measured[2:13] == shlex.split("a.pt b.plane.h5 --along b.directions.pt --x -0.3 1.7 51 --y 0 1")
    rest = " ".join(measured[13:])
    assert rest == "51 --seed 3 --argument depth=8 --standardize --parameters a.* b"
    assert drawn[2:] == ["b.pdf", "b.plane.h5", "b.h5"]
