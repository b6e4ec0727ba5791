"""Paths: their number, the gradient that comes by each length, and what a sample of them says."""

from itertools import product
from math import comb

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.paths.chain import Chain, Step, chain, counts, effective, mean_length
from ensemble.paths.path_spectrum import path_spectrum
from ensemble.paths.spectrum import _frozen, _walk, components, drawn, products, sampled, spectrum
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import LOSSES
from landscape.networks import Block, build
from landscape.weights import digest

N = 3
SMALL = {"depth": 8, "width": 4, "channels": 1, "classes": 4}
NETWORKS = {
    "post-activation": ("resnet", {**SMALL, "depth": 14}),
    "pre-activation": ("resnet", {**SMALL, "depth": 14, "order": "pre"}),
    "projection": ("resnet", {**SMALL, "shortcut": "projection"}),
    "projection everywhere": ("resnet", {**SMALL, "shortcut": "projection-everywhere", "order": "pre"}),
    "average padding": ("resnet", {**SMALL, "shortcut": "zero-pad-average"}),
    "bottlenecks": ("resnet", {**SMALL, "depth": 11, "block": "bottleneck"}),
    "constants": ("resnet", {**SMALL, "join": "scale", "scales": (0.5, 1.5)}),
    "channel gates": ("resnet", {**SMALL, "join": "channel-gate"}),
    "pooled gates": ("resnet", {**SMALL, "join": "pooled-gate", "gate_bias": -1.0}),
    "exclusive gates": ("resnet", {**SMALL, "join": "exclusive-gate"}),
    "shortcut gates": ("resnet", {**SMALL, "join": "shortcut-gate"}),
    "stochastic depth": ("resnet", {**SMALL, "survival": 0.5}),
    "hyper-connections": ("resnet", {**SMALL, "shortcut": "hyper"}),
    "hyper-connections, dynamic": ("resnet", {**SMALL, "shortcut": "hyper", "streams": 2, "dynamic": True}),
    "manifold-constrained": ("resnet", {**SMALL, "depth": 14, "shortcut": "mhc", "order": "pre"}),
    "no BatchNorm": ("resnet", {**SMALL, "norm": "none"}),
    "dense": ("densenet", {"depth": 10, "growth": 2, "channels": 1, "classes": 4}),
    "plain": ("plain", SMALL),
    "layers and poolings": ("vgg", {"depth": 9, "width": 2, "channels": 1, "classes": 4}),
}


def made(name, arguments):
    """A network whose BatchNorms, scales and gates are not at their initial values."""
    torch.manual_seed(0)
    network = build(name, **arguments)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
        for parameter in network.parameters():
            if parameter.ndim != 4:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def batch(classes=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(N, 1, 8, 8, generator=generator)
    return images.to(dtype), torch.randint(classes, (N,), generator=generator)


def by_path(network, images, targets):
    """Every path's gradient at the first block's input, as {branches taken: gradient}.

    One backward pass of the whole network for each, in which what the path does not take is detached: the
    activations, and so all masks, are those of the intact network.
    """
    network = network.double().eval()
    stem, *parts, head = network.parts()
    first = stem(images.double()).detach().requires_grad_()
    blocks = [part for part in parts if isinstance(part, Block) and part.shortcut is not None]
    gradients = {}
    for path in product([False, True], repeat=len(blocks)):
        through = dict(zip(map(id, blocks), path, strict=True))
        x = first
        for part in parts:
            if id(part) not in through:
                x = part(x)
                continue
            carried, branched = part.shortcut(x), part.survival * part.branch(x)
            carried, branched = (carried.detach(), branched) if through[id(part)] else (carried, branched.detach())
            x = part.after(part.join(carried, branched))
        loss = nn.functional.cross_entropy(head(x), targets, reduction="sum")
        gradients[path] = torch.autograd.grad(loss, first)[0].numpy()
    return gradients


def plain_blocks(network):
    return sum(isinstance(part, Block) and part.shortcut is None for part in network.parts())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_the_spectrum_is_the_sum_over_all_paths(name):
    network = made(*NETWORKS[name])
    images, targets = batch()
    steps = chain(network)
    sums = components(steps, images, targets).numpy()
    norm, share = spectrum(steps, [(images[:2], targets[:2]), (images[2:], targets[2:])])
    paths = by_path(network, images, targets)
    assert sum(counts(steps.steps)) == len(paths)
    whole = sum(paths.values())
    for length, number in enumerate(counts(steps.steps)):
        ones = [g for path, g in paths.items() if sum(path) + plain_blocks(network) == length]
        assert len(ones) == number
        expected = np.sum(ones, axis=0) if ones else np.zeros_like(whole)
        assert abs(sums[length] - expected).max() <= 1e-12 * abs(whole).max()
        for i in range(N):
            size = np.linalg.norm(whole[i])
            assert norm[length, i] == pytest.approx(np.linalg.norm(expected[i]), rel=1e-10, abs=1e-12 * size)
            assert share[length, i] == pytest.approx((expected[i] * whole[i]).sum() / size**2, rel=1e-10, abs=1e-12)
    np.testing.assert_allclose(share.sum(0), 1, rtol=0, atol=1e-10)


def test_the_sum_over_lengths_is_the_networks_own_gradient_at_the_block_and_at_the_image():
    network = made(*NETWORKS["pre-activation"])
    images, targets = batch()
    block, image = (components(chain(network, image=image), images, targets) for image in (False, True))
    network.double().eval()
    images = images.double().requires_grad_()
    kept = []
    network.stages[0][0].register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    loss = nn.functional.cross_entropy(network(images), targets, reduction="sum")
    at_block, at_image = torch.autograd.grad(loss, [kept[0], images])
    torch.testing.assert_close(block.sum(0), at_block, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(image.sum(0), at_image, rtol=1e-10, atol=1e-14)


@pytest.mark.slow
def test_nine_blocks_have_512_paths():
    network = made("resnet", {**SMALL, "depth": 20, "width": 2})
    images, targets = batch()
    sums = components(chain(network), images, targets).numpy()
    expected = np.zeros_like(sums)
    for path, gradient in by_path(network, images, targets).items():
        expected[sum(path)] += gradient
    np.testing.assert_allclose(sums, expected, rtol=1e-10, atol=1e-12 * abs(expected).max())


def scalars(weights, plain=()):
    """y = x + w x, or y = w x: a chain whose gradient by length is a symmetric polynomial of the weights."""
    steps = [
        Step(None, lambda x, w=w: w * x, nn.Identity())
        if i in plain
        else Step(nn.Identity(), lambda x, w=w: w * x, torch.add)
        for i, w in enumerate(weights)
    ]
    return Chain(nn.Identity(), steps, nn.Identity())


def value(outputs, targets):
    return outputs.flatten(1).sum(1)


def symmetric(weights):
    """Elementary symmetric polynomials e_0 … e_n, the coefficients of Π(1 + wt)."""
    coefficients = np.ones(1)
    for w in weights:
        coefficients = np.convolve(coefficients, [1, w])
    return coefficients


ONE = [(torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.long))]


def test_scalar_blocks_have_elementary_symmetric_polynomials():
    weights = np.random.default_rng(0).standard_normal(40)
    norm, share = spectrum(scalars(weights), ONE, value)
    expected = symmetric(weights)
    np.testing.assert_allclose(norm[:, 0], abs(expected), rtol=1e-9)
    np.testing.assert_allclose(share[:, 0], expected / np.prod(1 + weights), rtol=1e-9)
    np.testing.assert_allclose(spectrum(scalars(np.full(60, 0.1)), ONE, value).norm[7], comb(60, 7) * 1e-7, rtol=1e-12)


def test_a_plain_block_is_on_every_path():
    weights = [2.0, 3.0, 5.0, 7.0]
    steps = scalars(weights, plain=[1, 2])
    assert counts(steps.steps) == [0, 0, 1, 2, 1]
    norm, _ = spectrum(steps, ONE, value)
    np.testing.assert_allclose(norm[:, 0], [0, 0, 15, 15 * (2 + 7), 15 * 14])
    assert counts(scalars(weights, plain=range(4)).steps) == [0, 0, 0, 0, 1]


@pytest.mark.slow
def test_path_lengths_are_binomial_to_the_last_digit():
    network = chain(build("resnet", depth=110, width=1))
    assert counts(network.steps) == [comb(54, k) for k in range(55)]
    assert sum(counts(network.steps)[19:36]) / 2**54 == pytest.approx(0.980, abs=5e-4)  # Veit et al. 2016, §5
    assert counts(chain(build("plain", depth=20, width=1)).steps) == [0] * 9 + [1]


def test_the_products_are_as_many_as_half_the_squared_number_of_blocks():
    assert products(chain(build("resnet", depth=56, width=1)).steps) == 27 * 28 // 2
    assert products(chain(build("plain", depth=20, width=1)).steps) == 9
    assert products(chain(build("densenet", depth=10, growth=1)).steps) == 6 * 7 // 2
    assert products(scalars([1.0] * 4, plain=[1, 2]).steps) == 1 + 2 + 2 + 2


@pytest.mark.parametrize("length", range(7))
@pytest.mark.slow
def test_all_paths_give_the_mean_norm_exactly(length):
    network = made(*NETWORKS["post-activation"])
    images, targets = batch()
    paths = by_path(network, images, targets)
    norms = [np.linalg.norm(g.reshape(N, -1), axis=1).mean() for path, g in paths.items() if sum(path) == length]
    estimated = sampled(chain(network), [(images, targets)], length, draws=20, seed=0)
    assert estimated.norm == pytest.approx(sum(norms), rel=1e-10)
    assert estimated.se == 0


def test_the_mean_of_sampled_gradients_is_the_exact_sum_over_its_paths():
    network = made("resnet", {**SMALL, "depth": 20})
    images, targets = batch()
    steps = chain(network)
    exact = components(steps, images, targets)[4].numpy().reshape(-1) / comb(9, 4)
    sets = drawn(steps.steps, 4, 100, seed=3)
    gradients = np.empty((100, exact.size))
    for rows, gradient in _walk(*_frozen(steps, images, targets, LOSSES["cross_entropy"]), sets):
        gradients[rows] = gradient.numpy().reshape(-1)
    # Along a few fixed directions, so that each is one number with an error of its own.
    directions = np.random.default_rng(4).standard_normal((exact.size, 20))
    along, expected = gradients @ directions, exact @ directions
    deviation = (along.mean(0) - expected) / (along.std(0, ddof=1) / 10)
    assert abs(deviation).max() < 4.5
    assert 0.3 < np.sqrt((deviation**2).mean()) < 2


@pytest.mark.slow
def test_the_sampled_norm_is_within_its_errors_of_the_mean_over_all_paths():
    network = made("resnet", {**SMALL, "depth": 20})
    images, targets = batch()
    steps = chain(network)
    every = sampled(steps, [(images, targets)], 4, draws=comb(9, 4), seed=0)
    some = [sampled(steps, [(images[:2], targets[:2]), (images[2:], targets[2:])], 4, 40, seed) for seed in range(25)]
    deviation = np.array([(one.norm - every.norm) / one.se for one in some])
    assert every.se == 0
    assert 0.5 < np.sqrt((deviation**2).mean()) < 1.7
    # paths cancel: the sum of norms is no less than the norm of the sum
    assert every.norm > spectrum(steps, [(images, targets)]).norm[4].mean()


def test_where_nothing_cancels_the_published_estimate_is_exact():
    steps = scalars(np.linspace(0.1, 1, 12))
    norm = spectrum(steps, ONE, value).norm[:, 0]
    for length in (0, 1, 6, 12):
        assert sampled(steps, ONE, length, comb(12, 6), 0, value).norm == pytest.approx(norm[length], rel=1e-12)
    same_shares = scalars(np.full(12, -0.3))  # every path of a length is the same: one draw would do
    assert sampled(same_shares, ONE, 6, 2, 0, value) == pytest.approx((comb(12, 6) * 0.3**6, 0), abs=1e-15)


def test_where_all_cancels_it_is_not():
    steps = scalars([1.0, -1.0] * 3)  # Π(1 + t)(1 − t): nothing of odd length is left
    np.testing.assert_allclose(spectrum(steps, ONE, value).norm[:, 0], [1, 0, 3, 0, 3, 0, 1], atol=1e-15)
    assert [sampled(steps, ONE, k, 100, 0, value).norm for k in range(7)] == [comb(6, k) for k in range(7)]


def test_draws_are_even_and_seeded_each_by_itself():
    steps = scalars([1.0] * 9, plain=[4]).steps
    sets = drawn(steps, 4, 40, seed=1)
    assert (sets.sum(1) == 4).all() and sets[:, 4].all()
    np.testing.assert_array_equal(drawn(steps, 4, 20, seed=1), sets[:20])
    assert not np.array_equal(drawn(steps, 4, 40, seed=2), sets)
    many = drawn([step for i, step in enumerate(steps) if i != 4] * 2, 8, 3000, seed=0)
    assert abs(many.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(3000)
    every = drawn(steps, 4, comb(8, 3), seed=1)
    assert len({tuple(row) for row in every}) == len(every) == comb(8, 3)
    assert drawn(steps, 0, 10, seed=1).shape == (0, 9)
    assert sampled(scalars([1.0] * 9, plain=[4]), ONE, 0, 10, 0, value) == (0, 0)


def test_an_example_without_a_gradient_has_no_shares():
    steps = Chain(nn.Identity(), scalars([0.5, 0.5]).steps, torch.relu)
    inputs = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    norm, share = spectrum(steps, [(inputs, torch.zeros(2, dtype=torch.long))], value)
    np.testing.assert_array_equal(norm, [[1, 0], [1, 0], [0.25, 0]])
    np.testing.assert_allclose(share[:, 0], np.array([1, 1, 0.25]) / 2.25)
    assert np.isnan(share[:, 1]).all()


def test_the_network_and_the_images_are_left_alone():
    network = made(*NETWORKS["exclusive gates"]).train()
    for parameter in network.stages[1].parameters():
        parameter.requires_grad_(False)
    images, targets = batch(dtype=torch.float64)
    before = digest(dict(network.state_dict())), [p.requires_grad for p in network.parameters()], images.clone()
    for image in (False, True):
        spectrum(chain(network, image=image), [(images, targets)])
        sampled(chain(network, torch.float32, image), [(images, targets)], 1, 2, 0)
    assert digest(dict(network.state_dict())) == before[0]
    assert [p.requires_grad for p in network.parameters()] == before[1]
    assert torch.equal(images, before[2]) and not images.requires_grad
    assert all(p.grad is None and p.dtype == torch.float32 for p in network.parameters())
    assert all(module.training for module in network.modules())


def test_pieces_of_a_batch_change_nothing(monkeypatch):
    network = made(*NETWORKS["pre-activation"])
    images, targets = batch()
    each = []
    for room in (2**28, 1):
        monkeypatch.setattr("ensemble.paths.spectrum.ROOM", room)
        each.append(
            (*spectrum(chain(network), [(images, targets)]), sampled(chain(network), [(images, targets)], 3, 5, 0))
        )
    for one, other in zip(*each, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_regression_is_measured_too_by_a_loss_that_wants_equal_types():
    network = made(*NETWORKS["projection"])
    images, _ = batch()

    def squares(outputs, targets):
        assert outputs.dtype == targets.dtype
        return (outputs - targets).square().mean(1)

    share = spectrum(chain(network), [(images, torch.randn(N, 4))], squares).share
    np.testing.assert_allclose(share.sum(0), 1, rtol=1e-12)


def test_a_network_that_is_no_chain_is_refused():
    with pytest.raises(BadInput, match="no block that can be removed"):
        chain(nn.Linear(2, 2), inputs=torch.ones(3, 2))


def test_effective_lengths_are_the_shortest_range_that_holds_enough():
    assert effective([0, 1, 8, 1, 0], 0.8) == (2, 2)
    assert effective([0, 1, 8, 1, 0], 0.9) == (1, 2)
    assert effective([0, 1, 8, 1, 0], 1) == (1, 3)
    assert effective([1] * 10, 0.3) == (0, 2)
    number = counts(chain(build("resnet", depth=110, width=1)).steps)
    first, last = effective(number, 0.98)
    assert first + last in (53, 54, 55) and last - first == 16
    assert mean_length(number) == pytest.approx(27)
    for weight in ([0, 0], [1, -1, 3], [1, np.nan], [1, np.inf]):
        with pytest.raises(BadInput):
            effective(weight)
    with pytest.raises(BadInput):
        effective([1, 2], 1.5)


HOW = {"examples": 6, "draws": 2, "quiet": True}


@pytest.mark.parametrize(
    ("settings", "how", "said"),
    [
        ({"dtype": "bfloat16"}, {}, "leave out dtype and tolerance"),
        ({"tolerance": 0.1}, {}, "leave out dtype and tolerance"),
        ({"metrics": ["kl"]}, {}, "leave out kl"),
        ({}, {"draws": 1}, "draws is 1; an error needs 2 or more"),
        ({}, {"examples": 0}, "examples is 0"),
    ],
)
def test_what_gradients_do_not_go_with_is_refused(settings, how, said):
    evaluate = Evaluator(made(*NETWORKS["plain"]), [batch()], **settings)
    with pytest.raises(BadInput, match=said):
        path_spectrum(evaluate, **HOW | how)
