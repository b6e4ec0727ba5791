"""Paths and their planes against other people's linear algebra."""

import numpy as np
import pytest
import torch

from landscape.errors import BadInput
from landscape.planes import principal_components as module
from landscape.planes.principal_components import (
    components,
    explained,
    gram,
    padded_limits,
    path_in_plane,
    project,
    random_walk,
    step_lengths,
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
    for component, theirs in zip(components(points, final, products, 3), v, strict=False):
        assert {name: tuple(w.shape) for name, w in component.items()} == SHAPES
        assert np.linalg.norm(flat(component)) == pytest.approx(1, abs=1e-6)
        assert abs(flat(component) @ theirs) == pytest.approx(1, abs=1e-6)
        assert flat(component) @ d[0] > 0  # the start is on the positive side


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
    inside = path_in_plane({str(mix): mixed(*mix) for mix in mixes}, precise)
    assert inside.captured == pytest.approx(1, abs=1e-12)
    assert inside.explained[:2].sum() == pytest.approx(1, abs=1e-12)
    assert (inside.projection.off_plane < 1e-6 * inside.projection.distance[0]).all()
    other = path_in_plane({str(mix): mixed(*mix) for mix in mixes}, precise, [rays[0], random_path(1, 5)[1]])
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
    path = path_in_plane(points, part)
    d = np.stack([flat(point(), part) - flat(final, part) for point in points.values()])
    np.testing.assert_allclose(path.projection.distance[:-1], np.linalg.norm(d, axis=1), rtol=1e-6)
    assert all(direction.keys() == part.keys() for direction in path.directions)


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
            path_in_plane(where, final, *directions)
        assert "\n" not in str(caught.value)


def test_a_window_holds_the_path_with_a_margin_and_has_two_digits():
    coordinates = np.array([[12.3, 0.7], [3.1, -2.4], [0, 0]])
    (left, right), (low, high) = padded_limits(coordinates, margin=0.1)
    assert left < -1.2 and right > 13.5
    assert low < -3.1 and high > 1.4
    assert right - left == pytest.approx(high - low, abs=1.5)  # one scale for both
    assert [left, right, low, high] == [round(end) for end in (left, right, low, high)]
