"""Attention over depth, written out block by block from all earlier outputs."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import lesion
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import components
from landscape.errors import BadInput
from landscape.networks import build, summary
from landscape.planes.filters import conventions

RESNET = {"depth": 8, "width": 4, "channels": 1, "order": "pre", "shortcut": "depth-attention"}
TEXT = {"depth": 2, "width": 12, "heads": 3, "vocabulary": 17, "context": 9, "shortcut": "depth-attention"}


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


def attended(query, outputs, axis):
    """The weighted sum of earlier outputs, the softmax written out."""
    query = query.reshape(-1)
    vectors = [v.movedim(axis, -1) for v in outputs]  # (N, …, C)
    scores = [torch.exp((v / torch.sqrt((v * v).mean(-1, keepdim=True) + 1e-5)) @ query) for v in vectors]
    total = sum(scores)
    return sum((s / total).unsqueeze(-1) * v for s, v in zip(scores, vectors, strict=True)).movedim(-1, axis)


def by_hand(network, x, axis, left_out=()):
    """The network from its modules of one stream alone."""
    _, *modules, head = network.parts()
    outputs = [network.stem(x)[:, 0]]
    for number, block in enumerate(modules):
        f = block.branch.branch(attended(block.branch.read.query, outputs, axis))
        outputs = [block.shortcut.shortcut.module(v) for v in outputs]
        outputs.append(torch.zeros_like(f) if number in left_out else f)
    read, *rest = head
    return nn.Sequential(*rest)(attended(read.query, outputs, axis))


@pytest.mark.parametrize("name, axis", [("resnet", 1), ("transformer", -1)])
def test_every_block_and_the_head_read_a_softmax_over_all_earlier_outputs(name, axis):
    network, x = made(name), inputs(name)
    torch.testing.assert_close(network(x), by_hand(network, x, axis), rtol=1e-9, atol=1e-12)
    names = list(blocks(network))
    assert len(names) == (3 if name == "resnet" else 4)
    expected = by_hand(network, x, axis, (0, 2))
    with lesion(network, [names[0], names[2]]) as without:
        torch.testing.assert_close(without(x), expected, rtol=1e-9, atol=1e-12)


def test_a_pre_norm_network_starts_as_the_residual_one():
    torch.manual_seed(0)
    one = build("transformer", **TEXT | {"depth": 3, "shortcut": "identity"}).double().eval()
    torch.manual_seed(0)
    other = build("transformer", **TEXT | {"depth": 3}).double().eval()
    with torch.no_grad():
        for network in (one, other):
            for parameter in network.get_submodule("stem").parameters():
                parameter.mul_(1e4)  # besides which the norm's epsilon is nothing
            for module in network.modules():
                if isinstance(module, nn.Linear):
                    module.weight.mul_(30)
    assert (one.stem(inputs("text")) - one.parts()[1](one.stem(inputs("text")))).abs().max() > 1
    torch.testing.assert_close(other(inputs("text")), one(inputs("text")), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_the_spectrum_is_the_sum_over_all_paths(name):
    network, x = made(name), inputs(name)
    targets = torch.arange(3)

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs.flatten(1)[:, :10], targets, reduction="none")

    sums = components(chain(network), x, targets, loss).numpy()
    stem, *parts, head = network.parts()
    first = stem(x).detach().requires_grad_()
    expected = np.zeros_like(sums)
    for path in product([False, True], repeat=len(parts)):
        y = first
        for part, through in zip(parts, path, strict=True):
            carried, branched = part.shortcut(y), part.branch(y)
            y = part.after(carried.detach() + branched if through else carried + branched.detach())
        expected[sum(path)] += torch.autograd.grad(loss(head(y), targets).sum(), first)[0].numpy()
    np.testing.assert_allclose(sums, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())


def test_queries_are_no_filters_and_cost_what_they_are():
    known = conventions(made())
    assert all(convention.known for convention in known.values())
    assert [name for name in known if name.endswith("query") and known[name].axes] == []
    counted = summary(build("resnet", **RESNET), (1, 8, 8))
    one = summary(build("resnet", **RESNET | {"shortcut": "zero-pad"}), (1, 8, 8))
    assert counted.parameters - one.parameters == 4 + 4 + 8 + 16
    assert counted.shortcut_parameters == 4 + 4 + 8
    # q·v and α v for each of the outputs so far
    assert counted.multiply_adds - one.multiply_adds == 2 * (4 * 64 + 2 * 4 * 64 + 3 * 8 * 16 + 4 * 16 * 4)


@pytest.mark.parametrize("name, arguments", [("resnet", {"order": "bn-after-add"}), ("transformer", {"norm": "post"})])
def test_a_norm_after_the_join_is_refused(name, arguments):
    with pytest.raises(BadInput, match="again and again"):
        made(name, **arguments)
