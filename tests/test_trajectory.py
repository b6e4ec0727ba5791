"""Paths of trainings: their plane against other people's linear algebra, their losses against the checkpoints' own."""

import dataclasses
import importlib.util
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from conftest import ENVIRONMENT, ROOT, command, resealed, same

from landscape import checkpoint as checkpoints
from landscape import saved
from landscape import trajectory as module
from landscape.data import batches, load
from landscape.directions import digest
from landscape.drawing import trajectories
from landscape.errors import BadInput
from landscape.measure import measure
from landscape.networks import build
from landscape.ranks import Alone
from landscape.table import read
from landscape.trajectory import (
    components,
    explained,
    gram,
    loaded,
    project,
    random_walk,
    snapshots,
    step_lengths,
    trajectory,
    window,
)

SHAPES = {"a": (3, 4, 2, 2), "b": (5,), "c": (4, 3), "d": ()}


def random_path(n, seed=0, scale=1.0):
    """Checkpoints as functions and the final weights; images of weights lie channels-last, as trained ones may."""
    generator = torch.Generator().manual_seed(seed)

    def weights():
        drawn = {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
        return drawn | {"a": drawn["a"].to(memory_format=torch.channels_last)}

    final = weights()
    return {f"{i}.pt": (lambda w: lambda: w)(weights()) for i in range(n)}, final


def flat(weights, names=SHAPES):
    return np.concatenate([weights[name].double().numpy().ravel() for name in names])


def differences(points, final):
    return np.stack([flat(point()) - flat(final) for point in points.values()] + [np.zeros(len(flat(final)))])


@pytest.fixture(params=[None, 3])
def pieces(request, monkeypatch):
    """All at once, or a few parameters at a time."""
    if request.param:
        monkeypatch.setattr(module, "ROOM", 4 * 6 * 7)  # 7 columns of 6 checkpoints
        monkeypatch.setattr(module, "BLOCK", 8 * 6 * request.param)


def test_components_are_the_right_singular_vectors_of_the_centred_points(pieces):
    points, final = random_path(6)
    d = differences(points, final)
    products = gram(points, final)
    np.testing.assert_allclose(products, d @ d.T, rtol=1e-12, atol=1e-12)
    _, s, v = np.linalg.svd(d - d.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(explained(products)[:6], s[:6] ** 2 / (s**2).sum(), rtol=1e-10)
    for found, theirs in zip(components(points, final, products, 3), v, strict=False):
        assert {name: tuple(w.shape) for name, w in found.items()} == SHAPES
        assert np.linalg.norm(flat(found)) == pytest.approx(1, abs=1e-6)
        assert abs(flat(found) @ theirs) == pytest.approx(1, abs=1e-6)
        assert flat(found) @ d[0] > 0  # the start is on the positive side


def test_projection_is_least_squares_on_directions_of_any_length_and_angle(pieces):
    points, final = random_path(6)
    directions = [{name: torch.randn(shape) * (1 + 9 * i) for name, shape in SHAPES.items()} for i in range(2)]
    directions[1] = {name: 0.02 * d + 0.9 * directions[0][name] for name, d in directions[1].items()}
    d, v = differences(points, final), np.stack([flat(direction) for direction in directions], axis=1)
    theirs = np.linalg.lstsq(v, d.T, rcond=None)[0]
    ours = project(points, final, directions)
    np.testing.assert_allclose(ours.coordinates, theirs.T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.off_plane, np.linalg.norm(d - (v @ theirs).T, axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.distance, np.linalg.norm(d, axis=1), rtol=1e-12)
    assert ours.off_plane[-1] == ours.distance[-1] == 0


def test_a_path_in_a_plane_is_captured_by_it_and_one_out_of_it_is_not():
    points, final = random_path(2)
    rays = [{name: w - final[name] for name, w in point().items()} for point in points.values()]
    mixes = [(1, 0.2), (0.7, -0.5), (0.3, 0.4), (0.1, 0.1)]

    def mixed(a, b):
        return lambda: {name: w.double() + a * rays[0][name] + b * rays[1][name] for name, w in final.items()}

    precise = {name: w.double() for name, w in final.items()}
    inside = trajectory({str(mix): mixed(*mix) for mix in mixes}, precise)
    assert inside.captured == pytest.approx(1, abs=1e-12)
    assert inside.explained[:2].sum() == pytest.approx(1, abs=1e-12)
    assert (inside.projection.off_plane < 1e-6 * inside.projection.distance[0]).all()
    other = trajectory({str(mix): mixed(*mix) for mix in mixes}, precise, [rays[0], random_path(1, 5)[1]])
    assert other.captured < 0.99
    assert other.projection.off_plane[0] > 0.1
    np.testing.assert_allclose(other.explained, inside.explained)  # a matter of the path alone


def test_a_long_walk_of_equal_steps_has_the_variance_of_the_published_limit():
    """Antognini and Sohl-Dickstein 2018: component k has 6/(πk)² of it."""
    k = np.arange(1, 6)
    np.testing.assert_allclose(explained(random_walk(np.ones(500)))[:5], 6 / (np.pi * k) ** 2, rtol=1e-3)


def test_the_null_is_what_simulated_walks_in_many_dimensions_have():
    lengths = np.array([5.0, 3, 3, 1, 2, 0.5, 0.1, 0.1, 0.05])
    steps = np.random.default_rng(0).standard_normal((9, 100_000))
    steps *= (lengths / np.linalg.norm(steps, axis=1))[:, None]
    points = np.concatenate([np.zeros((1, 100_000)), np.cumsum(steps, axis=0)])
    d = points - points[-1]
    np.testing.assert_allclose(step_lengths(d @ d.T), lengths, rtol=1e-6)
    np.testing.assert_allclose(explained(random_walk(lengths)), explained(d @ d.T), atol=0.01)


def test_only_the_parameters_that_the_final_weights_name_count():
    points, final = random_path(5)
    part = {name: final[name] for name in ("a", "c")}
    found = trajectory(points, part)
    d = np.stack([flat(point(), part) - flat(final, part) for point in points.values()])
    np.testing.assert_allclose(found.projection.distance[:-1], np.linalg.norm(d, axis=1), rtol=1e-6)
    assert all(direction.keys() == part.keys() for direction in found.directions)


def test_what_is_no_path_is_refused_in_one_line():
    points, final = random_path(3)
    first = points["0.pt"]()
    straight = {str(t): lambda t=t: {n: w + t * (first[n] - w) for n, w in final.items()} for t in (1.0, 0.5, 0.25)}
    wrong = {name: torch.full_like(w, np.nan) for name, w in final.items()}
    cases = {
        "2 checkpoints or more": ({"0.pt": points["0.pt"]},),
        "same weights": (dict.fromkeys(points, lambda: final),),
        "on a line": (straight,),
        "^1.pt.*not finite": (points | {"1.pt": lambda: wrong},),
        "span no plane": (points, [first, {name: -2 * w for name, w in first.items()}]),
        "or zero": (points, [first, {name: 0 * w for name, w in first.items()}]),
    }
    for message, (where, *directions) in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            trajectory(where, final, *directions)
        assert "\n" not in str(caught.value)


def test_a_window_holds_the_path_with_a_margin_and_has_two_digits():
    coordinates = np.array([[12.3, 0.7], [3.1, -2.4], [0, 0]])
    (left, right), (low, high) = window(coordinates, margin=0.1)
    assert left < -1.2 and right > 13.5
    assert low < -3.1 and high > 1.4
    assert right - left == pytest.approx(high - low, abs=1.5)  # one scale for both
    assert [left, right, low, high] == [round(end) for end in (left, right, low, high)]


def test_a_network_has_its_own_weights_and_statistics_back(trained):
    network = checkpoints.load(trained / "resnet.pt").restore()
    state = network.state_dict()
    before, objects = digest(state), [id(p) for p in network.parameters()]
    other = {name: tensor + 1 for name, tensor in state.items()}
    with pytest.raises(KeyError), loaded(network, other):
        assert digest(network.state_dict()) == digest(other)
        raise KeyError
    assert digest(network.state_dict()) == before
    assert [id(p) for p in network.parameters()] == objects


def test_a_folder_is_read_in_the_order_of_its_numbers_without_what_is_not_of_the_path(tmp_path):
    for name in ("e-10.pt", "e-9.pt", "final.pt", "path.directions.pt", ".e-11.pt.123", "notes.txt", "x.safetensors"):
        (tmp_path / name).touch()
    found = snapshots([tmp_path], tmp_path / "final.pt")
    assert [path.name for path in found] == ["e-9.pt", "e-10.pt", "x.safetensors"]
    given = [tmp_path / "e-10.pt", tmp_path / "e-9.pt"]
    assert snapshots(given, tmp_path / "final.pt") == given
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="named twice"):
        snapshots([tmp_path, tmp_path / "e-9.pt"], tmp_path / "final.pt")
    for missing in ("empty", "none"):
        with pytest.raises(BadInput, match="snapshots"):
            snapshots([tmp_path / missing], tmp_path / "final.pt")


@pytest.mark.parametrize("archive", [True, False])
def test_lazily_loaded_weights_are_the_same(tmp_path, archive):
    state = build("resnet", depth=8, width=4).to(memory_format=torch.channels_last).state_dict()
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    lazy = checkpoints.load(tmp_path / "a.pt", "resnet", lazy=True)
    assert digest(lazy.weights) == digest(state)
    assert lazy.sha256 == "" and checkpoints.load(tmp_path / "a.pt", "resnet").sha256


MEMORY = """
import resource, sys, torch
from landscape import checkpoint, trajectory
trajectory.ROOM, trajectory.BLOCK = 2**23, 2**22
paths = [sys.argv[1] + f"/{i}.pt" for i in range(40)]
points = {p: lambda p=p: checkpoint.load(p, "any", lazy=True).weights for p in paths}
final = {name: torch.zeros(1000, 250) for name in "abcd"}
warm = torch.randn(40, 5000, dtype=torch.float64)
(warm @ warm.T).numpy() @ (warm @ warm.T).numpy()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = trajectory.trajectory(points, final)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
def test_a_run_is_not_held_in_memory(tmp_path):
    for i in range(40):  # 160 MB in all, 8 MB of directions
        torch.save({name: torch.randn(1000, 250) for name in "abcd"}, tmp_path / f"{i}.pt")
    call = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT, check=True)
    assert float(done.stdout) < 60


HOW = ("--examples", 100)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with net.pt, run/epoch-0000.pt … 4, path.h5 and what trajectory.py said."""
    folder = tmp_path_factory.mktemp("run")
    small = ("--depth", 8, "--width", 4, "--epochs", 4, "--examples", 300, "--quiet")
    command("train", folder / "net.pt", *small, "--snapshots", folder / "run")
    done = command("trajectory", folder / "net.pt", folder / "path.h5", "--snapshots", folder / "run", *HOW)
    (folder / "said.txt").write_text(done.stdout)
    return folder


def script():
    specification = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "trajectory.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def here(*arguments):
    """The command in this process, which need not start anew."""
    command = script()
    command.main(command.parser().parse_args([str(argument) for argument in arguments]), Alone())


def test_losses_are_those_of_the_checkpoints_themselves(run):
    file = read(run / "path.h5")
    data = load("digits", "train", examples=100, standardize=True)
    names = ["epoch-0000", "epoch-0001", "epoch-0002", "epoch-0003", "net"]  # the last epoch is the final checkpoint
    assert file.coordinates["checkpoint"].tolist() == names
    assert file["epoch"].tolist() == [0, 1, 2, 3, 4]
    for row, path in enumerate([*sorted((run / "run").iterdir())[:4], run / "net.pt"]):
        network = checkpoints.load(path).restore().eval()
        theirs = measure(network, batches(data, 100, torch.device("cpu")))
        assert file["loss"][row] == pytest.approx(theirs["loss"], rel=1e-5)
        assert file["accuracy"][row] == theirs["accuracy"]
    assert file["plane_loss"][-1] == file["loss"][-1]
    assert file["plane_loss_se"][-1] == file["loss_se"][-1]
    assert file.attributes["captured"] == pytest.approx(file["explained"][:2].sum(), abs=1e-6)


def test_a_surface_in_the_plane_has_the_losses_that_the_table_says(run, tmp_path):
    file = read(run / "path.h5")
    alpha, beta = file["alpha"][1], file["beta"][1]
    point = ("--x", alpha, alpha, 1, "--y", beta, beta, 1, "--along", run / "path.directions.pt")
    command("surface", run / "net.pt", tmp_path / "point.h5", *point, *HOW)
    surface = read(tmp_path / "point.h5")
    assert surface["loss"].item() == file["plane_loss"][1]
    assert surface.attributes["direction_digest"] == file.attributes["direction_digest"]


@pytest.fixture(scope="module")
def surface_of_path(run):
    """What the printed command measures, with fewer points."""
    lines = (run / "said.txt").read_text().splitlines()
    (line,) = (shlex.split(line) for line in lines if "surface.py" in line)
    command("surface", *("6" if word == "51" else word for word in line[2:]), "--quiet")
    return read(line[3])


def test_the_printed_commands_work_and_hold_the_path(run, surface_of_path):
    lines = [shlex.split(line) for line in (run / "said.txt").read_text().splitlines() if line.startswith("  python")]
    measured, drawn = ([Path(line[1]).stem, *line[2:]] for line in lines)
    assert measured[0] == "surface" and "--examples" in measured
    axes = {name: measured.index(name) for name in ("--x", "--y")}
    file = read(run / "path.h5")
    for name, place in (("alpha", axes["--x"]), ("beta", axes["--y"])):
        low, high = map(float, measured[place + 1 : place + 3])
        assert low < file[name].min() and file[name].max() < high
    command(*drawn)
    assert (run / "path.pdf").stat().st_size > 10_000


def test_a_figure_matches_surfaces_with_paths_by_their_plane(run, surface_of_path):
    path, surface = read(run / "path.h5"), surface_of_path
    for files in ([path], [path, surface], [surface, path], [path, path]):
        figure = trajectories(files)
        drawn = [axes for axes in figure.axes if axes.get_xlabel() == "α"]
        assert len(drawn) == sum(file.kind == "trajectory" for file in files)
        assert bool(drawn[0].collections) == (surface in files)
        assert f"{100 * path.attributes['captured']:.3g} % of the path's variance" in " ".join(
            drawn[0].get_title().split()
        )
    for changed in ("direction_digest", "checkpoint"):
        other = dataclasses.replace(surface, attributes={**surface.attributes, changed: "other"})
        with pytest.raises(BadInput, match=r"no surface is in the plane of .*path\.h5"):
            trajectories([other, path])
        with pytest.raises(BadInput, match="not in the plane of a path"):
            trajectories([other, path, surface])
    with pytest.raises(BadInput, match="losses of different kinds"):
        trajectories([path, dataclasses.replace(surface, attributes={**surface.attributes, "loss": "mse"})])


def test_it_says_how_far_the_path_leaves_the_plane(run):
    said, file = (run / "said.txt").read_text(), read(run / "path.h5")
    assert f"{100 * file['explained'][:2].sum():.1f} % of the path's variance" in said
    far = file["off_plane"].argmax()
    assert f"{file.coordinates['checkpoint'][far]}: by {file['off_plane'][far]:.3g}" in said


@pytest.mark.mpi
def test_ranks_measure_the_same(run, tmp_path):
    command("trajectory", run / "net.pt", tmp_path / "path.h5", "--snapshots", run / "run", *HOW, ranks=2)
    same(tmp_path / "path.h5", run / "path.h5")
    for there, here in zip(*(saved.load(p / "path.directions.pt") for p in (tmp_path, run)), strict=True):
        assert digest(there) == digest(here)


def test_a_resumed_run_keeps_its_plane_to_the_bit(run, tmp_path, capsys):
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
    again = (run / "net.pt", out, "--snapshots", run / "run", *HOW)
    here(*again)
    after = read(out)
    assert after["alpha"][0] == np.nextafter(before["alpha"][0], 100)
    np.testing.assert_array_equal(after["loss"], before["loss"])
    stamp = out.stat().st_mtime_ns
    capsys.readouterr()
    here(*again)
    assert "complete already" in capsys.readouterr().out and out.stat().st_mtime_ns == stamp
    files = sorted((run / "run").glob("epoch-*.pt"))
    fewer = "of other snapshots: it has 4: epoch-0000 … epoch-0003; given are 3: epoch-0001 … epoch-0003; they differ"
    with pytest.raises(BadInput, match=f"{fewer} from number 1 on; give another output file"):
        here(*again[:3], *files[1:], *HOW)
    same = tmp_path / "same"
    same.mkdir()
    for path, other in zip(files, [files[1], *files[1:]], strict=True):
        (same / path.name).write_bytes(other.read_bytes())
    with pytest.raises(
        BadInput, match="it has 4: epoch-0000 … epoch-0003; given are the same names with other weights"
    ):
        here(*again[:3], same, *HOW)
    with pytest.raises(BadInput, match="its batchnorm is"):
        here(*again, "--batchnorm", "recalibrated", "--calibration", 50)
    saved.save(saved.load(axes)[::-1], axes)
    with pytest.raises(BadInput, match="its direction_digest is"):
        here(*again)
    axes.unlink()
    with pytest.raises(BadInput, match="is gone"):
        here(*again)
    assert out.stat().st_mtime_ns == stamp


def test_along_other_directions_and_with_statistics_measured_anew(run, tmp_path):
    first, second = saved.load(run / "path.directions.pt")
    skewed = [{name: 3 * d for name, d in first.items()}, {name: d + first[name] for name, d in second.items()}]
    saved.save(skewed, tmp_path / "skewed.pt")
    how = ("--snapshots", run / "run", "--batchnorm", "recalibrated", "--calibration", 50, *HOW)
    here(run / "net.pt", tmp_path / "a.h5", "--along", tmp_path / "skewed.pt", *how)
    ours, straight = read(tmp_path / "a.h5"), read(run / "path.h5")
    np.testing.assert_allclose(ours["beta"], straight["beta"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(3 * ours["alpha"] + ours["beta"], straight["alpha"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours["off_plane"], straight["off_plane"], rtol=1e-4, atol=1e-6)
    assert ours.attributes["captured"] == pytest.approx(straight.attributes["captured"], abs=1e-6)
    assert ours.attributes["batchnorm"] == "recalibrated" and ours.attributes["calibration"] == 50
    np.testing.assert_array_equal(ours["loss"], straight["loss"])
    assert (ours["plane_loss"] != straight["plane_loss"]).all()


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
    told = script().height(table, [Path("a.pt"), Path("b.pt"), Path("c.pt")], stale)
    assert len(told) == len(said) and all(part in line for part, line in zip(said, told, strict=True))


def test_the_path_of_filters_leaves_biases_where_they_end(run, tmp_path):
    out = tmp_path / "a.h5"
    here(run / "net.pt", out, "--snapshots", run / "run", "--filters-only", *HOW)
    (first, second), whole = saved.load(tmp_path / "a.directions.pt"), read(run / "path.h5")
    assert all(d.ndim > 1 for d in [*first.values(), *second.values()])
    assert (read(out)["distance"][:-1] < whole["distance"][:-1]).all()
    np.testing.assert_array_equal(read(out)["loss"], whole["loss"])


def test_state_dicts_of_the_network_make_a_path_too(run, tmp_path):
    for path in (run / "run").iterdir():
        torch.save({"state_dict": checkpoints.load(path).weights}, tmp_path / path.name)
    out = tmp_path / "a.h5"
    here(run / "net.pt", out, "--snapshots", tmp_path, *HOW)
    np.testing.assert_array_equal(read(out)["plane_loss"], read(run / "path.h5")["plane_loss"])
    assert "epoch" not in read(out).variables


def test_what_belongs_to_another_training_is_refused_in_one_line(run, tmp_path, trained):
    one, two = run / "run" / "epoch-0001.pt", tmp_path / "two.pt"
    shutil.copy(run / "net.pt", tmp_path / "again.pt")
    shutil.copy(run / "net.pt", two)
    torch.save(build("resnet", depth=8, width=6).state_dict(), tmp_path / "wide.pt")
    cases = {
        "they differ in": (one, tmp_path / "wide.pt"),
        "another network, plain-8": (trained / "plain.pt", one),
        "2 checkpoints or more": (one,),
        "same weights": (tmp_path / "again.pt", two, run / "run" / "epoch-0004.pt"),
        "there is no checkpoint": (tmp_path / "none.pt",),
    }
    for message, files in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            here(run / "net.pt", tmp_path / "a.h5", "--snapshots", *files, *HOW)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "a.h5").exists() and not (tmp_path / "a.directions.pt").exists()
    with pytest.raises(BadInput, match="calibration is 5000"):
        anew = ("--batchnorm", "recalibrated", "--calibration", 5000)
        here(run / "net.pt", tmp_path / "a.h5", "--snapshots", run / "run", *anew, *HOW)
    assert not (tmp_path / "a.directions.pt").exists()
    done = command("trajectory", run / "net.pt", tmp_path / "a.h5", "--snapshots", one, *HOW, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
