"""Directions are Gaussian, independent of everything, and normalised filter by filter."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput
from landscape.networks import build
from landscape.planes.directions import cosine, filter_normalize, normalize, orthogonalize, random_direction, redrawn
from landscape.weights import digest, squared_norm, weights_of


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return weights_of(build("resnet", depth=8, width=4))


def test_a_seed_gives_the_same_direction_and_another_seed_another(weights):
    one, again, other = (random_direction(weights, seed) for seed in (1, 1, 2))
    assert digest(one) == digest(again) != digest(other)


def test_elements_are_standard_normal():
    direction = random_direction({"w": torch.zeros(200, 500)}, 0)["w"].double()
    n = direction.numel()
    assert abs(direction.mean()) < 4 / n**0.5
    assert abs(direction.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((direction**4).mean() - 3) < 4 * (96 / n) ** 0.5  # uniform numbers would give 1.8


def test_a_direction_has_nothing_in_common_with_an_initialisation_of_the_same_seed():
    torch.manual_seed(7)
    initial = weights_of(nn.Linear(300, 300))
    nn.init.normal_(initial["weight"], generator=torch.Generator().manual_seed(7))
    direction = random_direction(initial, 7)
    assert abs(cosine({"w": direction["weight"]}, {"w": initial["weight"]})) < 4 / 300


def test_each_filter_gets_the_norm_of_the_networks_filter(weights):
    direction = filter_normalize(random_direction(weights, 3), weights)
    for name, w in weights.items():
        for filter_, direction_ in zip(w, direction[name], strict=True):  # one at a time: brute force
            if w.ndim >= 2:
                assert direction_.norm().item() == pytest.approx(filter_.norm().item(), rel=1e-5)


def test_biases_and_batchnorm_do_not_move(weights):
    direction = filter_normalize(random_direction(weights, 3), weights)
    still = [name for name, d in direction.items() if not d.any()]
    assert still == [name for name, w in weights.items() if w.ndim < 2]
    assert still


def norms(tensor, axis=0):
    """Of each slice along an axis, one at a time: brute force."""
    return [slice_.norm().item() for slice_ in tensor.unbind(axis)]


def test_each_layer_gets_the_norm_of_the_networks_layer(weights):
    direction = normalize(random_direction(weights, 3), weights, "layer")
    raw = random_direction(weights, 3)
    for name, w in weights.items():
        if w.ndim > 1:
            assert direction[name].norm().item() == pytest.approx(w.norm().item(), rel=1e-5)
            assert cosine({"": direction[name]}, {"": raw[name]}) == pytest.approx(1)  # one factor for all of it


def test_each_weight_gets_the_size_of_the_networks_weight(weights):
    direction, raw = normalize(random_direction(weights, 3), weights, "weight"), random_direction(weights, 3)
    for name, w in weights.items():
        torch.testing.assert_close(direction[name], raw[name] * w.abs() * (w.ndim > 1))


def test_without_normalisation_only_parameters_of_one_dimension_change(weights):
    direction, raw = normalize(random_direction(weights, 3), weights, "none"), random_direction(weights, 3)
    assert all(torch.equal(direction[name], raw[name] * (w.ndim > 1)) for name, w in weights.items())


@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_parameters_of_one_dimension_can_move_and_are_normalised_never_copied(weights, how):
    """The weights themselves as a direction, as elsewhere, would be the same in both axes."""
    one, other = (normalize(random_direction(weights, seed), weights, how, one_dimensional=True) for seed in (1, 2))
    flat = {name: w for name, w in weights.items() if w.ndim < 2 and w.any()}
    assert flat
    for name, w in flat.items():
        assert not torch.equal(one[name], w) and not torch.equal(one[name], other[name])
        if how in ("filter", "layer"):
            assert one[name].norm().item() == pytest.approx(w.norm().item(), rel=1e-5)


def test_an_unknown_normalisation_is_refused(weights):
    with pytest.raises(BadInput, match="filter, layer, weight, none"):
        normalize(random_direction(weights, 0), weights, "tensor")


def test_a_filter_of_zeros_does_not_move():
    weights = {"w": torch.tensor([[0.0, 0.0], [3.0, 4.0]])}
    direction = filter_normalize(random_direction(weights, 0), weights)
    assert not direction["w"][0].any()
    assert direction["w"][1].norm().item() == pytest.approx(5)


@given(st.floats(0.1, 10), st.floats(-10, -0.1))
def test_cosine_is_that_of_the_angle(a, b):
    one = {"p": torch.tensor([[1.0, 0.0]]), "q": torch.tensor([2.0])}
    assert cosine(one, {n: a * t for n, t in one.items()}) == pytest.approx(1)
    assert cosine(one, {n: b * t for n, t in one.items()}) == pytest.approx(-1)
    other = {"p": torch.tensor([[3.0, 4.0]]), "q": torch.tensor([0.0])}
    assert cosine(one, other) == pytest.approx(3 / (np.sqrt(5) * 5))


def test_a_digest_sees_names_shapes_types_and_single_bits():
    base = {"w": torch.zeros(2, 3)}
    others = [{"v": torch.zeros(2, 3)}, {"w": torch.zeros(3, 2)}, {"w": torch.zeros(2, 3).double()}]
    flipped = {"w": torch.zeros(2, 3)}
    flipped["w"][1, 2] = -0.0
    assert len({digest(w) for w in [base, *others, flipped]}) == 5


def test_threads_do_not_change_a_bit():
    weights = {"w": torch.randn(2, 300_000), "b": torch.randn(400_000)}
    before, each = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        one, other = (filter_normalize(random_direction(weights, seed), weights) for seed in (1, 2))
        each.append((digest(one), cosine(one, other), cosine(weights, one)))
    torch.set_num_threads(before)
    assert each[0] == each[1]


def test_what_is_taken_away_leaves_orthogonal_directions():
    weights = {"a": torch.ones(30, 20), "b": torch.ones(7)}
    drawn = [random_direction(weights, (0, i)) for i in range(3)]
    drawn[1] = {name: d + 1e-3 * drawn[1][name] for name, d in drawn[0].items()}  # nearly parallel to the first
    before = [digest(d) for d in drawn]
    done = orthogonalize(drawn)
    assert [digest(d) for d in drawn] == before  # copies
    assert digest(done[0]) == before[0]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(cosine(done[i], done[j])) < 1e-6
    flat = [np.concatenate([d[name].double().numpy().ravel() for name in d]) for d in drawn]
    q, r = np.linalg.qr(np.stack(flat, axis=1))
    last = np.concatenate([done[2][name].double().numpy().ravel() for name in done[2]])
    np.testing.assert_allclose(last, q[:, 2] * r[2, 2], atol=1e-5)
    with pytest.raises(BadInput, match="lies along those before it"):
        orthogonalize([drawn[0], {name: 2 * d for name, d in drawn[0].items()}])


def test_the_squared_norm_is_over_all_parameters():
    assert squared_norm({"a": torch.full((2, 3), 2.0), "b": torch.tensor(3.0)}) == 33


def test_a_direction_drawn_anew_is_the_same_in_any_order_and_any_number_of_times(weights):
    kept, anew = normalize(random_direction(weights, 5), weights), redrawn(weights, 5)
    for names in (list(weights), list(weights)[::-1], list(weights)):
        assert all(torch.equal(anew[name], kept[name]) for name in names)
