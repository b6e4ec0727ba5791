"""Chains of networks that are not ours: paths through them are those that hooks and hand-written forwards show."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from known_networks import KNOWN, gpt2, known_network, loss, streams
from torch import nn

from ensemble.blocks.blocks import blocks, ends
from ensemble.paths.chain import chain, chains, counts
from ensemble.paths.path_spectrum import path_spectrum
from ensemble.paths.spectrum import components, products, sampled, spectrum
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.nested import mapped
from landscape.networks import build

# What is no chain of blocks, and why.
REFUSED = {"GPT-NeoX": "lie side by side", "DenseNet": "put beside others anew"}


def cast(inputs):
    return mapped(lambda t: t.double() if t.is_floating_point() else t, inputs)


def by_lengths(network, first, by_name, inputs, targets, counted=None):
    """The gradients by paths of each length, from gradients whose ways by branches are multiplied by a number."""
    number = len(counted or by_name)
    points = np.cos(np.pi * (np.arange(number + 1) + 0.5) / (number + 1))
    modules = [(end, counted is None or name in counted) for name, block in by_name.items() for end in ends(block)]
    gradients = [
        streams(network, first, [m for m, _ in modules], inputs, targets, [t if c else 1 for _, c in modules], loss)
        for t in points
    ]
    shape = gradients[0].shape
    sums = np.linalg.solve(np.vander(points, increasing=True), np.stack([g.numpy().ravel() for g in gradients]))
    return sums.reshape(-1, *shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_the_spectrum_of_a_known_network_is_that_of_its_gradient(name):
    network, inputs, targets, description = known_network(name)
    if name in REFUSED:
        with pytest.raises(BadInput, match=REFUSED[name]):
            chain(network, inputs=inputs, blocks=description)
        return
    steps = chain(network, inputs=inputs, blocks=description)
    sums = components(steps, inputs, targets, loss=lambda out, y: loss(getattr(out, "logits", out), y)).numpy()
    other = copy.deepcopy(network).double()
    by_name = blocks(other, description)
    expected = by_lengths(other, KNOWN[name][2], by_name, inputs, targets)
    size = abs(expected.sum(0)).max()
    assert size > 0 and len(sums) == len(by_name) + 1
    assert abs(sums - expected).max() <= 1e-10 * size
    share = spectrum(steps, [(inputs, targets)], lambda out, y: loss(getattr(out, "logits", out), y)).share
    np.testing.assert_allclose(share.sum(0), 1, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_spectrum_of_gpt2_is_the_sum_over_its_256_paths(attention):
    torch.manual_seed(0)
    network = gpt2(4, attention).eval().double()
    inputs, targets = torch.randint(20, (3, 7)), torch.randint(20, (3, 7))
    model, ones = network.transformer, []
    first = (model.wte(inputs) + model.wpe(torch.arange(7))).detach().requires_grad_()
    mask = torch.full((7, 7), -torch.inf, dtype=torch.float64).triu(1)
    for path in product([False, True], repeat=8):
        x, takes = first, iter(path)
        for layer in model.h:
            for branch in (
                lambda x, layer=layer: attend(layer.attn, layer.ln_1(x), mask),
                lambda x, layer=layer: layer.mlp(layer.ln_2(x)),
            ):
                x = x.detach() + branch(x) if next(takes) else x + branch(x).detach()
        out = network.lm_head(model.ln_f(x))
        ones.append((sum(path), *torch.autograd.grad(loss(out, targets).sum(), first)))
    steps = chain(network, inputs=inputs)
    sums = components(steps, inputs, targets)
    share = spectrum(steps, [(inputs, targets)]).share
    whole = sum(gradient for _, gradient in ones)
    assert counts(steps.steps) == [1, 8, 28, 56, 70, 56, 28, 8, 1] and products(steps.steps) == 36
    for length in range(9):
        expected = sum(gradient for size, gradient in ones if size == length)
        torch.testing.assert_close(sums[length], expected, rtol=1e-10, atol=1e-10 * float(whole.abs().max()))
        part = (expected * whole).sum((1, 2)) / (whole * whole).sum((1, 2))
        np.testing.assert_allclose(share[length], part, rtol=1e-10, atol=1e-12)
        norms = [gradient.flatten(1).norm(dim=1) for size, gradient in ones if size == length]
        one = sampled(steps, [(inputs, targets)], length, 1000, 0)
        np.testing.assert_allclose(one.norm, float(sum(norms).mean()), rtol=1e-10)
    np.testing.assert_allclose(share.sum(0), 1, rtol=1e-10)


def attend(attention, x, mask):
    """GPT-2's attention by hand."""
    q, k, v = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in attention.c_attn(x).chunk(3, -1))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask
    return attention.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Wrapped(nn.Module):
    """One of our networks as somebody's own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


OURS = {
    "after": {"depth": 14},
    "before": {"depth": 14, "order": "pre"},
    "projection": {"shortcut": "projection"},
    "projection everywhere": {"shortcut": "projection-everywhere", "order": "pre"},
    "average": {"shortcut": "zero-pad-average"},
    "bottlenecks": {"depth": 11, "block": "bottleneck"},
    "constants": {"join": "scale", "scales": (0.5, 1.5)},
    "gates": {"join": "channel-gate"},
    "stochastic depth": {"survival": 0.5},
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.slow
def test_a_resnet_has_the_spectrum_of_ours_with_its_weights(name):
    torch.manual_seed(0)
    network = build("resnet", **{"depth": 8, "width": 4, "channels": 1, "classes": 4, **OURS[name]}).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    x, y = torch.randn(3, 1, 8, 8), torch.arange(3)
    for image in (False, True):
        ours = chain(network, image=image)
        theirs = chain(Wrapped(network), inputs=x, image=image)
        assert counts(ours.steps) == counts(theirs.steps)
        one, other = spectrum(ours, [(x, y)]), spectrum(theirs, [(x, y)])
        np.testing.assert_allclose(other.norm, one.norm, rtol=1e-10)
        np.testing.assert_allclose(other.share, one.share, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("arguments", [{"join": "pooled-gate"}, {"join": "exclusive-gate"}])
def test_what_gates_a_branch_by_the_stream_is_refused(arguments):
    network = Wrapped(build("resnet", depth=8, width=4, channels=1, classes=4, **arguments)).eval()
    with pytest.raises(BadInput, match="by mul, and not by a sum"):
        chain(network, inputs=torch.randn(2, 1, 8, 8))


def scored(out, targets):
    return loss(getattr(out, "logits", out), targets)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "BERT", "ViT", "Swin"])
@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_paths_through_one_part_alone_pass_the_other_both_ways(name, part):
    network, inputs, targets, _ = known_network(name)
    steps = chain(network, inputs=inputs, part=part)
    sums = components(steps, inputs, targets, scored).numpy()
    other = copy.deepcopy(network).double()
    by_name = blocks(other)
    counted = [block for block in by_name if block.endswith(part)]
    expected = by_lengths(other, KNOWN[name][2], by_name, inputs, targets, counted)
    assert len(sums) == len(counted) + 1 == len(by_name) // 2 + 1
    assert abs(sums - expected).max() <= 1e-10 * abs(expected.sum(0)).max()
    whole = components(chain(network, inputs=inputs), inputs, targets, scored).numpy()
    np.testing.assert_allclose(sums.sum(0), whole.sum(0), rtol=1e-8, atol=1e-10 * abs(whole).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "BERT", "GPT-NeoX"])
def test_a_layer_is_one_step_of_all_ways_through_it(name):
    """By inclusion and exclusion: paths around a layer have all its branches' gradients multiplied by 0."""
    network, inputs, targets, _ = known_network(name)
    steps = chain(network, inputs=inputs, layers=True)
    sums = components(steps, inputs, targets, scored).numpy()
    other = copy.deepcopy(network).double()
    layers = [ends(block) for block in blocks(other, layers=True).values()]
    modules = [end for layer in layers for end in layer]
    around = {}
    for there in product([0, 1], repeat=2):
        factors = [factor for factor, layer in zip(there, layers, strict=True) for _ in layer]
        around[there] = streams(other, KNOWN[name][2], modules, inputs, targets, factors, loss).numpy()
    expected = [
        around[0, 0],
        around[0, 1] + around[1, 0] - 2 * around[0, 0],
        around[1, 1] - around[0, 1] - around[1, 0] + around[0, 0],
    ]
    assert counts(steps.steps) == [1, 2, 1]
    for one, right in zip(sums, expected, strict=True):
        assert abs(one - right).max() <= 1e-10 * abs(around[1, 1]).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "Llama", "ResNet"])
def test_the_command_measures_known_networks(name, tmp_path):
    """In batches and pieces, of inputs by name too, the sampled norms of all paths as well."""
    network, inputs, targets, _ = known_network(name)
    evaluate = Evaluator(network, [(inputs, targets), (mapped(lambda t: t[:1], inputs), targets[:1])])
    before = copy.deepcopy(network.state_dict())
    results = path_spectrum(evaluate, draws=100, out=tmp_path / "paths.h5", quiet=True)
    exact = chains(network)
    pieces = [(mapped(lambda t, i=i: t[i : i + 1], inputs), targets[i : i + 1]) for i in (0, 1, 0)]
    norm, share = spectrum(exact, pieces, scored)
    order = results.coordinates["example"]
    np.testing.assert_allclose(results["norm_each"], norm[:, order], rtol=1e-6)
    np.testing.assert_allclose(results["share_each"], share[:, order], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(results["share"].sum(), 1, rtol=1e-8)
    assert (results["sampled_norm"] >= results["norm"] * (1 - 1e-3)).all()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with pytest.raises(BadInput, match="real numbers" if name != "ResNet" else "blocks have no parts"):
        path_spectrum(evaluate, image=name != "ResNet", part=None if name != "ResNet" else "mlp", quiet=True)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("part", [None, "attention", "mlp"])
@pytest.mark.slow
def test_our_transformer_has_the_spectrum_of_its_own_cut(norm, part):
    """Of a network whose chain is known, the cut finds the same."""
    torch.manual_seed(0)
    network = build("transformer", depth=2, width=8, heads=2, vocabulary=20, norm=norm).eval()
    x = torch.randint(20, (2, 5))
    ours = chain(network, part=part)
    theirs = chain(Wrapped(network), inputs=x, part=part)
    assert counts(ours.steps) == counts(theirs.steps) == ([1, 4, 6, 4, 1] if part is None else [1, 2, 1])
    one, other = spectrum(ours, [(x, x)]), spectrum(theirs, [(x, x)])
    np.testing.assert_allclose(other.norm, one.norm, rtol=1e-10)
    np.testing.assert_allclose(other.share, one.share, rtol=1e-10, atol=1e-12)


def test_a_chain_of_a_run_is_for_its_inputs():
    network, inputs, targets, _ = known_network("ViT")
    steps = chain(network, inputs=inputs)
    with pytest.raises(BadInput, match="other inputs"):
        components(steps, inputs + 1, targets)
    with pytest.raises(BadInput, match="give inputs"):
        chain(network)


class Unusual(nn.Module):
    """Two blocks, and what else is wrong."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.one, self.two, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        a = self.one(x.tanh())
        y = x + a
        if self.how == "reads twice":
            y = y * x.sigmoid()
        b = self.two(y.tanh())
        z = y + b
        if self.how == "long skip":
            z = z + x
        if self.how == "branch used twice":
            z = z + a
        if self.how == "runs twice":
            z = z + self.two(z.tanh())
        if self.how == "noise":
            z = z + torch.rand(())
        return self.last(z if self.how != "without" else a)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("reads twice", "block one: what follows its sum reads the stream"),
        ("long skip", "goes past|more than one stream"),
        ("branch used twice", "block one: what its branch gives is not only added"),
        ("runs twice", "block two gives a tensor 2 times"),
        ("noise", "does more than these blocks"),
        ("without", "block two changes nothing"),
    ],
)
def test_what_is_no_chain_is_refused_with_the_block_and_the_reason(how, reason):
    with pytest.raises(BadInput, match=reason):
        chain(Unusual(how), inputs=torch.randn(2, 4), blocks=lambda _: {"one": "one", "two": "two"})
