"""A plane's points are exact, its grids keep their orientation, and the network comes back to the bit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.engine.grid import axis, grid, index_of
from landscape.errors import BadInput
from landscape.evaluation.measure import LOSSES, measure
from landscape.networks import build
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.plane import Plane, shift
from landscape.weights import digest, weights_of


def plane_of(network, axes=2):
    origin = weights_of(network)
    return Plane(origin, tuple(filter_normalize(random_direction(origin, (5, i)), origin) for i in range(axes)))


def test_a_linear_model_gives_its_exact_quadratic():
    """MSE of x ↦ Wx + b along W + αD + βE is quadratic in (α, β): its six coefficients in closed form."""
    torch.manual_seed(1)
    network = nn.Linear(7, 3).double()
    plane = plane_of(network)
    inputs, targets = torch.randn(50, 7).double(), torch.randn(50, 3).double()
    r = (network(inputs) - targets).detach()
    d, e = (inputs @ direction["weight"].T for direction in plane.directions)
    points = grid(np.linspace(-1, 1, 7), np.linspace(-2, 3, 4))
    for a, b in points:
        exact = sum(
            coefficient * (u * v).sum() / r.numel()
            for coefficient, u, v in
            [(1, r, r), (a * a, d, d), (b * b, e, e), (2 * a, r, d), (2 * b, r, e), (2 * a * b, d, e)]
        )  # fmt: skip
        with shift(network, plane, (a, b)):
            measured = measure(network, [(inputs, targets)], LOSSES["mse"])["loss"]
        assert measured == pytest.approx(exact.item(), rel=1e-10)


@pytest.mark.parametrize("failing", [False, True])
def test_the_network_comes_back_to_the_bit(failing):
    network = build("resnet", depth=8, width=4)
    before = digest(dict(network.state_dict()))
    plane = plane_of(network)
    for point in [(0.3, -0.7), (1e3, 1e-3), (0, 0)]:
        try:
            with shift(network, plane, point):
                moved = digest(dict(network.state_dict())) != before
                if failing:
                    raise RuntimeError
        except RuntimeError:
            assert failing
        assert moved == (point != (0, 0))
        assert digest(dict(network.state_dict())) == before


def test_a_point_does_not_depend_on_where_the_network_was_before():
    network = build("plain", depth=8, width=4)
    plane = plane_of(network)
    with shift(network, plane, (0.5, 0.25)):
        first = weights_of(network)
    for point in np.random.default_rng(0).normal(size=(20, 2)):
        with shift(network, plane, point):
            pass
    with torch.no_grad():  # somebody else's doing
        for parameter in network.parameters():
            parameter.add_(1.0)
    with shift(network, plane, (0.5, 0.25)):
        moved = weights_of(network)
    assert plane.moved and all(torch.equal(moved[name], first[name]) for name in plane.moved)


def test_the_row_y_0_is_the_line():
    network = build("plain", depth=8, width=4)
    plane = plane_of(network)
    line = Plane(plane.origin, plane.directions[:1])
    for x in np.linspace(-1, 1, 5):
        with shift(network, plane, (x, 0.0)):
            in_plane = digest(weights_of(network))
        with shift(network, line, (x,)):
            assert digest(weights_of(network)) == in_plane


def test_a_direction_of_another_network_is_refused():
    small, large = build("resnet", depth=8, width=4), build("resnet", depth=8, width=8)
    with pytest.raises(BadInput, match="does not fit"):
        Plane(weights_of(small), (weights_of(large),))


@given(st.floats(0.01, 1e3), st.integers(2, 300))
def test_a_symmetric_axis_is_its_own_mirror_and_has_an_exact_middle(end, n):
    a = axis(-end, end, n)
    np.testing.assert_array_equal(a, -a[::-1])
    assert len(a) == n
    assert a[0] == -end
    assert a[-1] == end
    if n % 2:
        assert a[n // 2] == 0


@pytest.mark.parametrize("ends", [(-0.2, 1.2, 15), (-0.1, 1.1, 13), (-0.3, 0.6, 10), (-2.3, 1.4, 38), (-0.7, 1.9, 27)])
def test_an_axis_over_0_and_1_holds_them_to_the_bit(ends):
    a = axis(*ends)
    whole = [n for n in (-2, -1, 0, 1) if ends[0] <= n <= ends[1]]
    assert set(whole) <= set(a.tolist())
    np.testing.assert_allclose(a, np.linspace(*ends), rtol=0, atol=1e-15)
    assert [index_of(np.linspace(*ends), n) for n in whole] == [a.tolist().index(n) for n in whole]


def test_an_axis_of_tiny_steps_keeps_what_is_near_0():
    assert axis(-1e-18, 2e-18, 4).tolist() == pytest.approx([-1e-18, 0, 1e-18, 2e-18], abs=1e-33)
    assert index_of(axis(-1e-18, 2e-18, 4), 1) is None


@pytest.mark.parametrize(
    "wrong", [(1, -1, 5), (-1, 1, 0), (-1, 1, 2.5), (-1, 1, -3), (0, 0, 2), (-1, 1, 1), (np.nan, 1, 3), (0, np.inf, 3)]
)
def test_an_impossible_axis_is_refused(wrong):
    with pytest.raises(BadInput):
        axis(*wrong)


def test_a_3_by_2_grid_keeps_its_orientation():
    points = grid(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0]))
    cells = points.reshape(2, 3, 2)  # (y, x, coordinates)
    np.testing.assert_array_equal(cells[..., 0], [[1, 2, 3], [1, 2, 3]])
    np.testing.assert_array_equal(cells[..., 1], [[10, 10, 10], [20, 20, 20]])
