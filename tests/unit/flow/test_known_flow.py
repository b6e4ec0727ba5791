"""Flow in networks that are not ours: hooks and hand-made lesions are the oracle, and our own networks rewritten."""

import copy
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from known_networks import KNOWN, InFloat64, known_network, loss, streams
from torch import nn

from ensemble.blocks.blocks import blocks, ends
from ensemble.flow.gradient_flow import gradient_flow
from ensemble.flow.gradients import flow
from ensemble.flow.parts import parts
from ensemble.flow.profile import profile
from ensemble.flow.redundancy import redundancy
from ensemble.flow.refinement import exits, refinement
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.nested import mapped
from landscape.networks import build

REFUSED = {"GPT-NeoX": "lie side by side", "DenseNet": "put beside others anew"}


def scored(out, targets):
    return loss(getattr(out, "logits", out), targets)


class Wrapped(nn.Module):
    """One of our networks as somebody's own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


@pytest.mark.slow
@pytest.mark.parametrize("batchnorm", ["batch", "frozen"])
@pytest.mark.parametrize("arguments", [{}, {"order": "pre"}, {"join": "channel-gate"}, {"shortcut": "projection"}])
def test_a_resnet_has_the_profile_of_ours_with_its_weights(batchnorm, arguments):
    torch.manual_seed(0)
    network = build("resnet", depth=8, width=4, channels=1, classes=4, **arguments).double().eval()
    batches = [(torch.randn(6, 1, 8, 8).double(), torch.arange(6) % 4) for _ in range(2)]
    ours = profile(network, batches, 4, batchnorm=batchnorm, jacobians=True)
    theirs = profile(Wrapped(network), batches, 4, batchnorm=batchnorm, jacobians=True)
    assert ours.keys() == theirs.keys()
    # before a norm, our blocks begin with it, and so may theirs only where both ways do
    for name, numbers in ours.items():
        np.testing.assert_allclose(theirs[name], numbers, rtol=1e-7, atol=1e-10, err_msg=name)


def with_ends(network, modules, inputs, function):
    """The output of a network of which the ends of branches give something else."""
    with ExitStack() as stack:
        for end in modules:

            def hook(_, __, out):
                x = function(out[0] if isinstance(out, tuple) else out)
                return (x, *out[1:]) if isinstance(out, tuple) else x

            stack.callback(end.register_forward_hook(hook).remove)
        if next(network.parameters()).dtype == torch.float64:
            stack.enter_context(InFloat64())
        stack.enter_context(torch.no_grad())
        return network(**inputs) if isinstance(inputs, dict) else network(inputs)


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_gradients_and_exits_of_a_known_network_are_those_of_hooks(name):
    network, inputs, targets, description = known_network(name)
    network = network.double()
    inputs = inputs.double() if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    by_name = blocks(network, description)
    batches = [(inputs, targets)]
    if name in REFUSED:
        with pytest.raises(BadInput, match=REFUSED[name]):
            flow(network, batches, scored, at=parts(network, by_name))
        return
    at = parts(network, by_name)
    gradients = flow(network, batches, scored, "frozen", at).gradient
    whole = [end for block in by_name.values() for end in ends(block)]
    expected = streams(network, KNOWN[name][2], whole, inputs, targets, [1] * len(whole), loss)
    np.testing.assert_allclose(gradients[0], expected.flatten(1).norm(dim=1), rtol=1e-8)
    outs = exits(network, batches, scored, "frozen", at)
    assert len(outs) == len(by_name) + 1 == len(gradients)
    for place in range(len(outs)):
        out = with_ends(network, whole[place:], inputs, torch.zeros_like)
        np.testing.assert_allclose(outs[place]["loss"], float(scored(out, targets).mean()), rtol=1e-8)
    does = refinement(network, batches, scored, "frozen", at)
    added = []
    with_ends(network, whole, inputs, lambda x: (added.append(x.flatten(1).norm(dim=1).numpy()), x)[1])
    assert np.isfinite(does.residual[:-1]).all() and np.isfinite(does.share[:-1]).all()
    assert len(added) == len(by_name)


@pytest.mark.slow
def test_what_blocks_of_gpt2_do_is_what_its_modules_give():
    network, _, targets, _ = known_network("GPT-2")
    network = network.double()
    inputs = torch.randint(20, (2, 6))
    kept, given = [], []
    with ExitStack() as stack:
        for layer in network.transformer.h:
            for norm, branch in ((layer.ln_1, layer.attn), (layer.ln_2, layer.mlp)):
                stack.callback(norm.register_forward_pre_hook(lambda _, args: kept.append(args[0])).remove)
                stack.callback(
                    branch.register_forward_hook(
                        lambda _, __, out: given.append(out[0] if isinstance(out, tuple) else out)
                    ).remove
                )
        stack.callback(network.transformer.ln_f.register_forward_pre_hook(lambda _, args: kept.append(args[0])).remove)
        out = network(inputs).logits
    slopes = torch.autograd.grad(loss(out, targets).sum(), kept)
    kept, given, slopes = ([t.detach().numpy() for t in many] for many in (kept, given, slopes))
    gradients = flow(network, [(inputs, targets)], scored)
    does = refinement(network, [(inputs, targets)], scored)
    for place in range(5):
        size = np.linalg.norm(slopes[place].reshape(2, -1), axis=1)
        np.testing.assert_allclose(gradients.gradient[place], size, rtol=1e-10)
        if place < 4:
            x, f, g = kept[place], given[place], slopes[place]
            norm = np.linalg.norm(f.reshape(2, -1), axis=1)
            np.testing.assert_allclose(
                does.residual[place], norm / np.linalg.norm(x.reshape(2, -1), axis=1), rtol=1e-10
            )
            np.testing.assert_allclose(does.cosine[place], (f * g).sum((1, 2)) / norm / size, rtol=1e-8)
            own, carried = (t.reshape(-1, t.shape[-1]).var(axis=0).sum() for t in (f, x))
            np.testing.assert_allclose(does.share[place], own / (own + carried), rtol=1e-10)
    network.zero_grad()
    loss(network(inputs).logits, targets).mean().backward()
    layer = network.transformer.h[0]
    for place, part in enumerate([(layer.ln_1, layer.attn), (layer.ln_2, layer.mlp)]):
        squares = sum(float(p.grad.square().sum()) for module in part for p in module.parameters())
        np.testing.assert_allclose(gradients.parameters[place], squares**0.5, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "ResNet", "T5's decoder"])
def test_the_command_measures_the_flow_in_known_networks(name, tmp_path):
    """Inputs by name too; the network comes back as it was."""
    network, inputs, targets, description = known_network(name)

    def twice(t):
        return torch.cat([t, t.flip(0)])

    evaluate = Evaluator(network, [(mapped(twice, inputs), twice(targets))])
    before = copy.deepcopy(network.state_dict())
    flags = [p.requires_grad for p in network.parameters()]
    how = {"batches": 1, "batch_size": 4, "quiet": True}
    results = gradient_flow(evaluate, **how, blocks=description, out=tmp_path / "flow.h5", jacobians=name == "GPT-2")
    number = len(blocks(network, description))
    assert results["boundaries"] == [number + 1]
    assert np.isfinite(results["gradient"]).all() and np.isfinite(results["residual"][..., :number]).all()
    np.testing.assert_allclose(results["exit_loss"][0, -1], results["loss"][0], rtol=1e-6)
    np.testing.assert_allclose(np.diag(results["similarity"][0]), 1, rtol=1e-6)
    if name != "ResNet":
        np.testing.assert_allclose(results["loss"][0], evaluate()["loss"], rtol=1e-5)
    if name == "GPT-2":
        layers = gradient_flow(evaluate, **how, layers=True)
        for variable in ("gradient", "exit_loss", "parameter_gradient"):
            one, other = results[variable][..., 0], layers[variable][..., 0]
            if variable == "parameter_gradient":  # of a layer, that of its two parts
                one = np.hypot(one, results[variable][..., 1])
            np.testing.assert_allclose(other, one, rtol=1e-4)
        assert (results["sigma_max"][0, :number] >= results["sigma_min"][0, :number]).all()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert flags == [p.requires_grad for p in network.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("name", KNOWN)
def test_redundancy_of_a_known_network_is_told_block_by_block(name):
    network, inputs, targets, description = known_network(name)
    table = redundancy(Evaluator(network, [(inputs, targets)]), blocks=description, quiet=True)
    by_name = blocks(network, description)
    assert len(table["rise"]) == len(by_name)
    intact = scored(with_ends(network, [], inputs, None), targets).mean()
    for place, block in enumerate(by_name.values()):
        out = with_ends(network, ends(block), inputs, torch.zeros_like)
        rise = float(scored(out, targets).mean() - intact)
        np.testing.assert_allclose(table["rise"][place], rise, rtol=1e-3, atol=1e-5)
