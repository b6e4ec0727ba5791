"""Convolutions and BatchNorm that are differentiated twice, against PyTorch's own and against finite differences."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from landscape.curvature.hessian import hessian_product
from landscape.curvature.layers import TwiceDifferentiated

HOWS = (
    {},
    {"stride": 2, "padding": 1, "bias": False},
    {"groups": 2, "dilation": 2},
    {"stride": (2,), "padding": (1,)},
)


def random(*shape, seed=0, **how):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **how)


@pytest.mark.parametrize(("dimensions", "how"), itertools.product((1, 2, 3), HOWS))
def test_a_convolution_and_its_first_two_derivatives_are_those_of_differences(dimensions, how):
    how = dict(how)
    bias = random(6, seed=2, requires_grad=True) if how.pop("bias", True) else None
    x = random(2, 4, *[5] * dimensions, requires_grad=True)
    weight = random(6, 4 // how.get("groups", 1), *[2] * dimensions, seed=1, requires_grad=True)
    convolution = getattr(F, f"conv{dimensions}d")

    def function(*inputs):
        with TwiceDifferentiated():
            return convolution(*inputs, **how)

    inputs = (x, weight, bias)
    assert torch.equal(function(*inputs), convolution(*inputs, **how))
    fast = dimensions > 1  # all elements, or one random projection of them
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True, fast_mode=fast)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=fast)


NETWORKS = {
    "along one dimension, with groups": lambda: (nn.Conv1d(4, 4, 3, groups=2), nn.BatchNorm1d(4), nn.Tanh()),
    "in space": lambda: (nn.Unflatten(2, (1, 2, 7)), nn.Conv3d(4, 4, (1, 2, 3)), nn.BatchNorm3d(4), nn.Tanh()),
    "padded by name": lambda: (nn.Conv1d(4, 4, 3, padding="same"), nn.BatchNorm1d(4, affine=False), nn.Tanh()),
    "transposed": lambda: (nn.ConvTranspose1d(4, 4, 3), nn.BatchNorm1d(4), nn.Softplus()),
    "BatchNorm first": lambda: (nn.BatchNorm1d(4), nn.Conv1d(4, 4, 3, padding=1, padding_mode="circular"), nn.Tanh()),
    "statistics of the batch": lambda: (nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4, track_running_stats=False), nn.Tanh()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_products_with_the_hessian_are_those_of_pytorchs_own_derivatives(name):
    torch.manual_seed(0)
    network = nn.Sequential(*NETWORKS[name](), nn.Flatten(), nn.LazyLinear(3)).double()
    for seed in range(3):
        network(1 + 2 * random(16, 4, 14, seed=seed))
    network.eval()
    inputs, targets = random(6, 4, 14, seed=9), torch.arange(6) % 3
    weights = dict(network.named_parameters())
    direction = {key: random(*w.shape, seed=5) for key, w in weights.items()}
    slopes = torch.autograd.grad(F.cross_entropy(network(inputs), targets), weights.values(), create_graph=True)
    true = torch.autograd.grad(slopes, weights.values(), direction.values())
    product = hessian_product(network, [(inputs, targets)], direction)
    largest = max(part.abs().max() for part in true)
    for part, own in zip(product.values(), true, strict=True):
        assert (part - own).abs().max() < 1e-13 * largest


class Kernels(TorchDispatchMode):
    """The largest size of a kernel that anything is convolved with."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            self.largest = max(self.largest, *args[1].shape[2:])
        return function(*args, **(kwargs or {}))


def test_no_product_convolves_with_a_kernel_as_large_as_the_image():
    """As the second derivative of PyTorch's convolution does, which takes most of its time."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 3), nn.Flatten()).double()
    batch = random(2, 1, 12, 12), torch.zeros(2, dtype=torch.long)
    weights = dict(network.named_parameters())
    with Kernels() as ours:
        hessian_product(network, [batch], weights)
    with Kernels() as theirs:
        slopes = torch.autograd.grad(F.cross_entropy(network(batch[0]), batch[1]), weights.values(), create_graph=True)
        torch.autograd.grad(slopes, weights.values(), [w.detach() for w in weights.values()])
    assert ours.largest == 3 and theirs.largest >= 10


def test_what_has_another_form_is_computed_as_ever_to_the_bit():
    x, weight = random(3, 4, 9).float(), random(4, 4, 3, seed=1).float()
    mean, variance = random(4, seed=2).float(), random(4, seed=3).float().square()
    for call in (
        lambda: F.conv1d(x, weight, padding="same"),
        lambda: F.conv1d(x[0], weight),
        lambda: F.conv1d(x.bfloat16(), weight.bfloat16()),
        lambda: F.batch_norm(x, mean.clone(), variance.clone(), training=True),
        lambda: F.batch_norm(x, None, None, training=True),
        lambda: F.batch_norm(x.bfloat16(), mean, variance),
        lambda: F.linear(x, weight[:, :, 0].repeat(1, 3)[:, :9]),
    ):
        own = call()
        with TwiceDifferentiated():
            assert torch.equal(call(), own)


def test_a_network_that_maps_and_differentiates_itself_still_does():
    """With torch.func inside its forward pass."""
    weight = random(2, 1, 3, requires_grad=True)
    x = random(4, 1, 8, seed=1)

    def energy(one):
        return F.conv1d(one[None], weight).tanh().sum()

    def forces():
        return torch.func.vmap(torch.func.grad(energy))(x)

    own = forces()
    with TwiceDifferentiated():
        ours = forces()
    assert ours.detach() == pytest.approx(own.detach(), abs=1e-14)
    (one,), (other,) = (torch.autograd.grad(f.square().sum(), [weight]) for f in (ours, own))
    assert one == pytest.approx(other, abs=1e-12)


class Casting(nn.Conv1d):
    """A network that computes in bfloat16 by itself."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x).tanh().float().mean(2)


def test_a_network_that_casts_by_itself_has_the_products_that_it_had():
    torch.manual_seed(0)
    network, x, targets = Casting(2, 3, 3), random(4, 2, 9).float(), torch.arange(4) % 3
    weights = dict(network.named_parameters())
    slopes = torch.autograd.grad(F.cross_entropy(network(x), targets), weights.values(), create_graph=True)
    true = torch.autograd.grad(slopes, weights.values(), [w.detach() for w in weights.values()])
    for part, own in zip(hessian_product(network, [(x, targets)], weights).values(), true, strict=True):
        assert part.numpy() == pytest.approx(own.numpy(), rel=1e-4, abs=1e-6)


class Recomputing(nn.Sequential):
    """A network that saves memory: activations are computed again where slopes need them."""

    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


def test_a_network_that_computes_activations_again_has_the_products_of_one_that_keeps_them():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Flatten(), nn.Linear(21, 3)).double()
    batch, direction = (random(4, 2, 9), torch.arange(4) % 3), dict(network.named_parameters())
    kept, again = (hessian_product(net, [batch], direction) for net in (network, Recomputing(*network)))
    for name, part in kept.items():
        assert (again[name] - part).abs().max() <= 1e-13 * part.abs().max()
