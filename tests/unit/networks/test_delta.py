"""A delta shortcut is the rank-one update of its paper, written out element by element."""

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import lesion
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import spectrum
from landscape.errors import BadInput
from landscape.networks import build, summary
from landscape.networks.delta import Delta, StreamDelta
from landscape.planes.filters import conventions

RESNET = {"depth": 8, "width": 4, "channels": 1, "shortcut": "delta"}
TEXT = {"depth": 2, "width": 12, "heads": 3, "vocabulary": 17, "context": 9, "shortcut": "delta"}


def made(name="resnet", **arguments):
    """A network in which nothing is 0, 1 or the identity by accident."""
    torch.manual_seed(0)
    network = build(name, **(RESNET if name == "resnet" else TEXT) | arguments).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def inputs(name="resnet"):
    generator = torch.Generator().manual_seed(1)
    if name == "resnet":
        return torch.randn(3, 1, 8, 8, generator=generator, dtype=torch.float64)
    return torch.randint(17, (3, 9), generator=generator)


def by_hand(delta, given, f, u):
    """The streams of one position, rows of `given`, after what a branch f with the sum u says of them."""
    k = f / np.sqrt((f**2).sum() + 1e-6)
    scaled = u / np.sqrt(np.mean(u**2) + 1e-5)
    weights = {name: tensor.numpy() for name, tensor in delta.state_dict().items()}
    beta = 2 / (1 + np.exp(-(weights["gate.weight"][0] @ scaled + weights["gate.bias"][0])))
    v = 4 / (1 + np.exp(-(weights["value.weight"] @ u + weights["value.bias"])))
    householder = np.eye(len(k)) - beta * np.outer(k, k)
    return (householder @ given.T + beta * np.outer(k, v)).T


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("place", [0, 1])
def test_a_block_of_images_is_the_formula_pixel_by_pixel(streams, place):
    network = made(streams=streams)
    block = network.stages[place][0]
    x = torch.randn(2, streams, 4, 6, 6, dtype=torch.float64)
    y = block(x).detach().numpy()
    delta = block.branch
    with torch.no_grad():
        u = sum(delta.read.weight[i] * x[:, i] for i in range(streams))
        f, u = delta.branch(u).numpy(), delta.shortcut(u).numpy()
        carried = torch.stack([delta.shortcut(x[:, i]) for i in range(streams)], 1).numpy()
    for n in range(2):
        for i, j in np.ndindex(y.shape[-2:]):
            expected = np.maximum(by_hand(delta, carried[n, :, :, i, j], f[n, :, i, j], u[n, :, i, j]), 0)  # a ReLU
            np.testing.assert_allclose(y[n, :, :, i, j], expected, rtol=1e-9, atol=1e-12)


def test_a_block_of_tokens_is_the_formula_token_by_token():
    block = made("transformer", streams=3).layers[1].mlp
    x = torch.randn(2, 3, 5, 12, dtype=torch.float64)
    y = block(x).detach().numpy()
    with torch.no_grad():
        u = sum(block.branch.read.weight[i] * x[:, i] for i in range(3))
        f, u, x = block.branch.branch(u).numpy(), u.numpy(), x.numpy()
    for n, t in np.ndindex(2, 5):
        np.testing.assert_allclose(y[n, :, t], by_hand(block.branch, x[n, :, t], f[n, t], u[n, t]), rtol=1e-9)


@pytest.mark.parametrize("bias, gain", [(-50.0, 1.0), (0.0, 0.0), (50.0, -1.0)])
def test_the_gate_keeps_erases_or_reflects_what_streams_have_along_the_direction(bias, gain):
    delta = StreamDelta(Delta(1, images=False), nn.Identity(), nn.Identity(), 5).double()
    with torch.no_grad():
        delta.gate.bias.fill_(bias)
        delta.value.weight.zero_()
        delta.value.bias.fill_(-50.0)  # a value of 0
    x = torch.randn(2, 1, 3, 5, dtype=torch.float64)  # whose direction is its own, F being the identity
    torch.testing.assert_close(x + delta(x), gain * x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_a_block_without_its_branch_changes_nothing(name):
    network, x = made(name), inputs(name)
    names = list(blocks(network))
    block = network.get_submodule(names[0])
    seen = network.stem(x)
    assert torch.equal(block.skip(seen), block.after(seen))
    with lesion(network, names[:1]) as without:
        measured = without(x)
    block.branch.branch.register_forward_hook(lambda *args: torch.zeros_like(args[-1]))
    torch.testing.assert_close(network(x), measured, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_shares_of_paths_sum_to_1(name):
    loss = lambda out, targets: nn.functional.cross_entropy(out.flatten(1)[:, :10], targets, reduction="none")  # noqa: E731
    _, share = spectrum(chain(made(name)), [(inputs(name), torch.arange(3))], loss)
    np.testing.assert_allclose(share.sum(0), 1, atol=1e-9)
    assert len(share) == (4 if name == "resnet" else 5)


def test_what_it_costs_is_counted_and_its_sums_have_no_filters():
    counted, one = (
        summary(build("resnet", **RESNET | {"shortcut": name}), (1, 8, 8)) for name in ("delta", "zero-pad")
    )
    each = sum(4 + width + 1 + 4 * width + 4 for width in (4, 8, 16))
    assert counted.parameters - one.parameters == counted.shortcut_parameters + 4 == each + 4  # the head's sum
    assert counted.multiply_adds - one.multiply_adds == counted.shortcut_multiply_adds
    known = conventions(made())
    assert all(convention.known for convention in known.values())
    assert not any(known[name].axes for name in known if name.endswith("read.weight"))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dynamic": True}, "dynamic is of hyper-connections"),
        ({"zero_init": True}, "has no direction"),
        ({"norm": "none"}, "has no direction"),
        ({"streams": 0}, "streams is 0; it must be a whole number, 1 or more"),
        ({"join": "scale"}, "leave out join='scale'"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        build("resnet", **RESNET | arguments)
