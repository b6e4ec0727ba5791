"""Maps of the Hessian's extreme eigenvalues: of the points they claim, from any number of ranks, drawn."""

import inspect

import numpy as np
import pytest
import tiny
import torch

from landscape.analysis.geometry import convex
from landscape.analysis.hessian_files import ratio
from landscape.curvature.maps import OF_PLANES, curvature
from landscape.drawing.curvature import curvature as drawn
from landscape.errors import BadInput
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.make_plane import plane_along
from landscape.planes.plane import Plane, shift
from landscape.planes.surface import surface
from landscape.weights import weights_of

PLANE = {"x": (-1, 1, 2), "y": (0, 1, 2), "quiet": True}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network())


@pytest.fixture(scope="module")
def results(evaluate, tmp_path_factory):
    return curvature(evaluate, **PLANE, out=tmp_path_factory.mktemp("map") / "a.h5")


def extremes(network, point, **which):
    """Both ends of the dense Hessian's spectrum at a point of the plane."""
    origin = weights_of(network)
    plane = Plane(origin, tuple(filter_normalize(random_direction(origin, (0, i)), origin) for i in range(2)))
    with shift(network, plane, point):
        values = np.linalg.eigvalsh(tiny.dense(network, **which)[0])
    return values[0], values[-1]


@pytest.mark.slow
def test_the_map_is_of_its_points_against_dense_hessians(evaluate, results):
    assert results["converged"].all()
    for row, y in enumerate(results.coordinates["y"]):
        for column, x in enumerate(results.coordinates["x"]):
            least, most = extremes(evaluate.network, (x, y))
            scale = max(abs(least), abs(most))
            assert results["lambda_min"][row, column] == pytest.approx(least, abs=2e-3 * scale)
            assert results["lambda_max"][row, column] == pytest.approx(most, abs=2e-3 * scale)


def test_in_memory_the_map_is_that_of_the_file(evaluate, results):
    memory = curvature(evaluate, **PLANE)
    assert memory.path is None
    assert memory.attributes == {n: v for n, v in results.attributes.items() if n not in ("format", "seal")}
    for name in results:
        np.testing.assert_array_equal(memory[name], results[name], err_msg=name)


def test_its_losses_are_those_of_the_surface(evaluate, results):
    there = surface(evaluate, **PLANE)
    np.testing.assert_array_equal(results["loss"], there["loss"])
    assert results.attributes["direction_digest"] == there.attributes["direction_digest"]


@pytest.mark.slow
def test_all_parameters_and_few_steps_are_what_they_say(evaluate):
    point = {"x": (0, 0, 1), "quiet": True}
    whole = curvature(evaluate, **point, all_parameters=True)
    part = curvature(evaluate, **point, steps=1)
    least, most = extremes(evaluate.network, (0, 0), which=lambda name, p: True)
    scale = max(abs(least), abs(most))
    assert whole["lambda_max"][0] == pytest.approx(most, abs=2e-3 * scale)
    assert whole["lambda_min"][0] == pytest.approx(least, abs=2e-3 * scale)
    assert whole.attributes["hessian_parameters"] == "all"
    assert not part["converged"][0] and part["products"][0] == 1


def test_where_the_loss_is_not_finite_so_are_the_eigenvalues(evaluate):
    far = curvature(evaluate, x=(-1e30, 1e30, 3), quiet=True)
    assert far["done"].all()
    assert np.isnan(far["lambda_max"][[0, 2]]).all() and np.isfinite(far["lambda_max"][1])
    assert far["converged"].tolist() == [False, True, False]


@pytest.mark.slow
def test_between_networks_the_hessian_has_the_statistics_of_the_point(evaluate):
    other = tiny.network(seed=1)
    line = curvature(evaluate, x=(0, 1, 2), to=other, quiet=True)
    values = np.linalg.eigvalsh(tiny.dense(other)[0])
    assert line["lambda_max"][1] == pytest.approx(values[-1], rel=2e-3)


def test_the_seed_is_the_calls_the_planes_or_the_evaluators(evaluate):
    point = {"x": (0.5, 0.5, 1), "steps": 3, "quiet": True}
    third = tiny.with_digits(evaluate.network, seed=3)
    one = curvature(evaluate, **point, seed=3)
    two = curvature(third, **point)
    np.testing.assert_array_equal(one["lambda_max"], two["lambda_max"])
    assert one.attributes["seed"] == two.attributes["seed"] == 3


def test_the_network_and_the_number_of_threads_are_given_back():
    network, threads = tiny.network(steps=5).train(), []
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def loss(outputs, targets):
        threads.append(torch.get_num_threads())
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    evaluate = tiny.with_digits(network, loss=loss)
    threads.clear()
    torch.set_num_threads(2)
    try:
        curvature(evaluate, x=(0, 0, 1), steps=2, quiet=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert network.training and all(torch.equal(t, before[n]) for n, t in network.state_dict().items())
    assert threads[-1] == 1  # while it measures


@pytest.mark.slow
def test_where_the_slice_is_convex_the_plane_says_what_the_ratio_is(evaluate, caplog):
    caplog.set_level("INFO", "skipscape")
    plane = curvature(evaluate, x=(-0.2, 0.2, 4), y=(-0.2, 0.2, 3), steps=30)
    share = np.mean(convex(plane["loss"], plane.coordinates["x"], plane.coordinates["y"]))
    assert f"the slice is convex at {100 * share:.0f} % of its 2 inner points" in caplog.text
    assert "|λmin/λmax|" in caplog.text


def test_a_map_is_drawn_and_a_line_is_not(evaluate, results, tmp_path):
    assert len(drawn([results, results], titles=["one", "other"]).axes) >= 4
    line = curvature(evaluate, x=(-1, 1, 2), steps=3, quiet=True, out=tmp_path / "line.h5")
    with pytest.raises(BadInput, match="not over a plane"):
        drawn([line])


def test_what_second_derivatives_do_not_go_with_is_refused(evaluate, tmp_path):
    for how in ({"batchnorm": "batch"}, {"batchnorm": "recalibrated"}, {"precision": 0}, {"steps": 0}):
        with pytest.raises(BadInput) as raised:
            curvature(evaluate, **PLANE | how, out=tmp_path / "a.h5")
        assert "\n" not in str(raised.value)
    for how in ({"dtype": "bfloat16"}, {"tolerance": 0.1}):
        with pytest.raises(BadInput, match="in float32 over all examples; leave out dtype and tolerance"):
            curvature(tiny.with_digits(evaluate.network, **how), **PLANE, out=tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_options_of_another_measurement_are_refused_in_one_line(evaluate, tmp_path):
    refused = {
        "x does not go with top": {"top": 2, "x": (-1, 1, 12)},
        "y does not go with trace": {"trace": 30, "y": (-1, 1, 5)},
        "to does not go with density": {"density": 3, "to": evaluate.network},
        "along does not go with top": {"top": 2, "along": weights_of(evaluate.network)},
        "plane does not go with top": {"top": 2, "plane": plane_along(weights_of(evaluate.network))},
        "normalize does not go with trace": {"trace": 30, "normalize": "layer"},
        "batchnorm does not go with density": {"density": 3, "batchnorm": "interpolated"},
        "steps does not go with top": {"top": 2, "steps": 9},
        "precision does not go with density": {"density": 3, "precision": 0.1},
        "end does not go with a plane": {"end": "smallest"},
        "directions does not go with a plane": {"directions": "a.pt"},
        "top and trace are two measurements": {"top": 2, "trace": 30},
        "there is no end 'middle'": {"top": 2, "end": "middle"},
        "top is 1.5": {"top": 1.5},
    }
    for message, how in refused.items():
        with pytest.raises(BadInput, match=message) as raised:
            curvature(evaluate, **how, out=tmp_path / "a.h5")
        assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
    assert {*inspect.signature(curvature).parameters} > OF_PLANES


def test_the_ratio_has_no_sign_and_no_zero_to_divide_by():
    np.testing.assert_array_equal(ratio(np.array([-1.0, 0.5, np.nan]), np.array([4.0, 2.0, 1.0])), [0.25, 0.25, np.nan])
    assert np.isnan(ratio(np.zeros(1), np.zeros(1))[0])
