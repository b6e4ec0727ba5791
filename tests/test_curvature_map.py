"""Maps of the Hessian's extreme eigenvalues: of the points they claim, from any number of ranks, drawn."""

import h5py
import numpy as np
import pytest
import torch
from conftest import command

from landscape import checkpoint as checkpoints
from landscape.data import load
from landscape.directions import filter_normalize, random_direction, weights_of
from landscape.plane import Plane, shift
from landscape.spectrum import ratio
from landscape.table import read

HOW = ("--x", -1, 1, 3, "--y", -1, 1, 2, "--examples", 60, "--quiet")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network small enough for a dense Hessian."""
    path = tmp_path_factory.mktemp("tiny") / "a.pt"
    command("train", path, "--network", "resnet", "--depth", 8, "--width", 1, "--epochs", 1, "--quiet")
    return path


@pytest.fixture(scope="module")
def file(tiny):
    command("curvature", tiny, tiny.parent / "a.h5", *HOW)
    return tiny.parent / "a.h5"


def dense(path, point, which=lambda name, p: p.ndim >= 2):
    """Both ends of the Hessian's spectrum at a point of the plane, by torch.func in float64."""
    it = checkpoints.load(path)
    network = it.restore().eval()
    origin = weights_of(network)
    plane = Plane(origin, tuple(filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)))
    data = load("digits", "train", examples=60, standardize=True)
    with shift(network, plane, point):
        network = network.double()
        moved = {name: p.detach().clone() for name, p in network.named_parameters() if which(name, p)}
        flat = torch.cat([p.flatten() for p in moved.values()])

        def loss(vector):
            parts = vector.split([p.numel() for p in moved.values()])
            weights = {name: part.view_as(moved[name]) for name, part in zip(moved, parts, strict=True)}
            outputs = torch.func.functional_call(network, weights, (data.images.double(),))
            return torch.nn.functional.cross_entropy(outputs, data.labels)

        values = torch.linalg.eigvalsh(torch.func.hessian(loss)(flat))
    return values[0].item(), values[-1].item()


def test_the_map_is_of_its_points_against_dense_hessians(tiny, file):
    results = read(file)
    assert results["converged"].all()
    for row, y in enumerate(results.coordinates["y"]):
        for column, x in enumerate(results.coordinates["x"]):
            least, most = dense(tiny, (x, y))
            scale = max(abs(least), abs(most))
            assert results["lambda_min"][row, column] == pytest.approx(least, abs=2e-3 * scale)
            assert results["lambda_max"][row, column] == pytest.approx(most, abs=2e-3 * scale)


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_map(tiny, file, tmp_path):
    command("curvature", tiny, tmp_path / "a.h5", *HOW, ranks=2)
    with h5py.File(file) as one, h5py.File(tmp_path / "a.h5") as two:
        for name in one:
            np.testing.assert_array_equal(one[name][...], two[name][...], err_msg=name)


def test_its_losses_are_those_of_the_surface(tiny, file, tmp_path):
    command("surface", tiny, tmp_path / "a.h5", *HOW)
    np.testing.assert_array_equal(read(file)["loss"], read(tmp_path / "a.h5")["loss"])


def test_all_parameters_and_few_steps_are_what_they_say(tiny, file, tmp_path):
    how = ("--x", 0, 0, 1, "--examples", 60, "--quiet")
    command("curvature", tiny, tmp_path / "all.h5", *how, "--all-parameters")
    command("curvature", tiny, tmp_path / "few.h5", *how, "--steps", 1)
    whole, part = read(tmp_path / "all.h5"), read(tmp_path / "few.h5")
    least, most = dense(tiny, (0, 0), which=lambda name, p: True)
    scale = max(abs(least), abs(most))
    assert whole["lambda_max"][0] == pytest.approx(most, abs=2e-3 * scale)
    assert whole["lambda_min"][0] == pytest.approx(least, abs=2e-3 * scale)
    assert not part["converged"][0] and part["products"][0] == 3


def test_where_the_loss_is_not_finite_so_are_the_eigenvalues(tiny, tmp_path):
    far = ("--x", -1e30, 1e30, 3, "--examples", 60, "--quiet")
    command("curvature", tiny, tmp_path / "a.h5", *far)
    results = read(tmp_path / "a.h5")
    assert results["done"].all()
    assert np.isnan(results["lambda_max"][[0, 2]]).all() and np.isfinite(results["lambda_max"][1])
    assert results["converged"].tolist() == [False, True, False]


def test_between_checkpoints_the_hessian_has_the_statistics_of_the_point(tiny, tmp_path):
    command("train", tmp_path / "b.pt", "--depth", 8, "--width", 1, "--epochs", 1, "--seed", 1, "--quiet")
    line = ("--to", tmp_path / "b.pt", "--x", 0, 1, 2, "--examples", 60, "--quiet")
    command("curvature", tiny, tmp_path / "a.h5", *line)
    command("curvature", tmp_path / "b.pt", tmp_path / "b.h5", "--x", 0, 0, 1, "--examples", 60, "--quiet")
    assert read(tmp_path / "a.h5")["lambda_max"][1] == pytest.approx(read(tmp_path / "b.h5")["lambda_max"][0], rel=1e-2)


def test_a_map_is_drawn_and_a_line_is_not(tiny, file, tmp_path):
    command("figure", tmp_path / "a.png", file, file, "--titles", "one", "other")
    assert (tmp_path / "a.png").stat().st_size > 20_000
    command("figure", tmp_path / "alone.png", file)
    command("curvature", tiny, tmp_path / "line.h5", "--x", -1, 1, 2, "--examples", 60, "--quiet")
    done = command("figure", tmp_path / "b.png", tmp_path / "line.h5", check=False)
    assert done.returncode == 2
    assert "not over a plane" in done.stderr


def test_what_second_derivatives_do_not_go_with_is_refused(tiny, tmp_path):
    for how in (("--dtype", "bfloat16"), ("--tolerance", 0.1), ("--batchnorm", "batch"), ("--precision", 0)):
        done = command("curvature", tiny, tmp_path / "a.h5", *HOW, *how, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "a.h5").exists()


def test_the_ratio_has_no_sign_and_no_zero_to_divide_by():
    np.testing.assert_array_equal(ratio(np.array([-1.0, 0.5, np.nan]), np.array([4.0, 2.0, 1.0])), [0.25, 0.25, np.nan])
    assert np.isnan(ratio(np.zeros(1), np.zeros(1))[0])
