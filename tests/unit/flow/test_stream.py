"""The stream from block to block: closed forms of linear blocks, lesions by hand, theory of wide networks."""

import math
from contextlib import ExitStack
from functools import partial

import numpy as np
import pytest
import torch
from known_networks import InFloat64, known_network
from known_networks import loss as known_loss
from torch import nn
from torch.func import jacrev, vmap

from ensemble.blocks.blocks import blocks
from ensemble.drawing.draw import draw
from ensemble.drawing.stream import REPORT
from ensemble.flow.effects import effects
from ensemble.flow.gains import gains
from ensemble.flow.gradients import flow, passes
from ensemble.flow.parts import parts
from ensemble.flow.profile import PROFILE, profile
from ensemble.flow.refinement import deviations, variance
from ensemble.flow.shattering import LAGS, along_lines, autocorrelation, correlation, pairs
from ensemble.flow.stream import stream
from ensemble.flow.stream_profile import STREAM, stream_profile
from ensemble.lesions.context import lesion
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import spectrum
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import LOSSES
from landscape.networks import Block, build
from landscape.networks.joins import Add, Scale
from landscape.networks.network import Network

loss = LOSSES["cross_entropy"]
SMALL = {"width": 4, "batches": 2, "batch_size": 16, "quiet": True}


class Times(nn.Module):
    """x times one number, or one number a channel."""

    def __init__(self, *factors):
        super().__init__()
        self.factor = torch.tensor(factors, dtype=torch.float64).reshape(-1, 1, 1)

    def forward(self, x):
        return self.factor * x


class Wrapped(nn.Module):
    """One of our networks as somebody's own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)


def row_of(*blocks):
    return Network(nn.Identity(), [[*blocks]], nn.Flatten())


def images(n=6, channels=1, side=8):
    torch.manual_seed(1)
    return torch.randn(n, channels, side, side, dtype=torch.float64), torch.arange(n) % 10


def a(name="resnet", **arguments):
    """A network in float64 whose BatchNorms and gates are not at their initial values."""
    torch.manual_seed(0)
    network = build(name, depth=8, width=4, channels=1, **arguments).double().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_()
                module.running_var.uniform_(0.5, 2)
    return network


def passed(network, x, y, loss=loss):
    (one,) = passes(network, [(x, y)], loss)
    return one


def gains_of(network, x, y, loss=loss):
    one = passed(network, x, y, loss)
    return gains(one.row.between, one.activations, one.gradients)


def first_output(out, _):
    return out.sum(dim=1)


# Norm, variance, and what is added


@pytest.mark.parametrize("weights", [(0.5, -0.25, 2.0), (1.0, 1.0, 1.0)])
def test_in_a_linear_row_norm_and_variance_grow_by_the_factors_of_the_blocks(weights):
    x, _ = images()
    network = row_of(*[Block(Times(w), nn.Identity(), Add()) for w in weights])
    measured = stream_profile(network, [(x, x)], 4, first_output, "frozen")
    factors = np.cumprod([1.0, *[1 + w for w in weights]])
    norms = np.quantile(x.flatten(1).norm(dim=1), [0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(measured["norm"], np.outer(norms, np.abs(factors)), rtol=1e-12)
    np.testing.assert_allclose(measured["variance"], float(x.var(correction=0)) * factors**2, rtol=1e-12)
    np.testing.assert_allclose(measured["residual"][2, :3], np.abs(weights), rtol=1e-12)
    np.testing.assert_allclose(measured["share"][:3], [w * w / (1 + w * w) for w in weights], rtol=1e-12)


@pytest.mark.parametrize("shape", [(8, 3, 4, 4), (8, 5, 3), (8, 7)])
def test_the_variance_is_the_mean_of_what_each_example_has_of_it(shape):
    x = torch.randn(shape, dtype=torch.float64) + torch.arange(8.0).reshape(-1, *[1] * (len(shape) - 1))
    channels = x.movedim(1 if x.ndim == 4 else -1, 0).flatten(1)
    np.testing.assert_allclose(variance(x), float(channels.var(dim=1, correction=0).sum()), rtol=1e-12)
    np.testing.assert_allclose(deviations(x).mean(), variance(x), rtol=1e-12)


def test_what_flow_measures_too_has_its_numbers():
    network, batches = a(), [images(), images()]
    own, other = stream_profile(network, batches, 4), profile(network, batches, 4, batchnorm="recalibrated")
    for name in STREAM.keys() & PROFILE.keys():
        np.testing.assert_array_equal(own[name], other[name], err_msg=name)


# What the shortcuts alone carry


@pytest.mark.parametrize("on_shortcut", [1.0, 0.5, 2.0, -0.25])
def test_n_scaled_shortcuts_have_a_gain_of_exactly_the_nth_power(on_shortcut):
    network = row_of(*[Block(Times(0.3), nn.Identity(), Scale(on_shortcut, 1.0)) for _ in range(3)])
    x, _ = images()
    measured = gains_of(network, x, x, first_output)
    for start in range(4):
        for end in range(4):
            for gain in (measured.forward[start, end], measured.backward[start, end]):
                if end < start:
                    assert np.isnan(gain).all()
                else:
                    assert (gain == abs(on_shortcut) ** (end - start)).all()


def test_identities_around_real_branches_have_a_gain_of_exactly_1():
    tokens = torch.randint(20, (4, 6))
    network = build("transformer", depth=2, width=8, heads=2, vocabulary=20, context=6).eval()
    gain = gains_of(network, tokens, tokens)
    later = np.triu_indices(5)
    assert (gain.forward[later] == 1).all() and (gain.backward[later] == 1).all()


def test_a_mixing_shortcut_has_the_range_of_its_factors():
    """Examples that live in one channel each have the factor of that channel."""
    mixing = [Times(0.5, 2.0), Times(3.0, 0.125)]
    network = row_of(*[Block(Times(1.0), shortcut, Add()) for shortcut in mixing])
    x = torch.zeros(3, 2, 2, 2, dtype=torch.float64)
    x[0, 0], x[1, 1], x[2] = 1, 1, 1
    measured = stream_profile(network, [(x, x)], 3, lambda out, _: out[:, :4].sum(dim=1), "frozen")  # one channel
    both = math.sqrt((1.5**2 + 0.25**2) / 2)
    expected = {"_min": 0.25, "": both, "_max": 1.5}
    for suffix, value in expected.items():
        np.testing.assert_allclose(measured[f"forward_gain{suffix}"][0, 2], value, rtol=1e-14)
        np.testing.assert_allclose(measured[f"backward_gain{suffix}"][0, 2], 1.5, rtol=1e-14)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"shortcut": "projection"}, {"order": "bn-after-add"}, {"join": "channel-gate", "gate_bias": -1.0}],
)
def test_the_gain_of_all_shortcuts_is_that_of_the_path_through_no_branch(arguments):
    network, (x, y) = a(**arguments), images()
    shortest = spectrum(chain(network), [(x, y)]).norm[0]
    at_head = flow(network, [(x, y)], batchnorm="frozen").gradient[-1]
    np.testing.assert_allclose(gains_of(network, x, y).backward[0, -1], shortest / at_head, rtol=1e-9)


def test_a_relu_behind_the_sum_lets_through_what_it_lets_through_where_the_network_runs():
    network, (x, y) = a(), images()
    block = network.stages[0][0]
    stem = network.stem(x).detach()
    mask = (block.branch(stem) + stem > 0).double()
    expected = (mask * stem).flatten(1).norm(dim=1) / stem.flatten(1).norm(dim=1)
    np.testing.assert_allclose(gains_of(network, x, y).forward[0, 1], expected.detach(), rtol=1e-12)
    assert (expected < 1).all()


def test_forward_and_backward_gains_are_of_one_jacobian():
    network, (x, y) = a(shortcut="projection"), images(3)
    one = passed(network, x, y)
    measured = gains(one.row.between, one.activations, one.gradients)

    for number in range(3):
        start = one.activations[1][number]
        jacobian = jacrev(partial(_frozen, network, one.activations, number))(start).reshape(-1, start.numel())
        forward = (jacobian @ start.flatten()).norm() / start.norm()
        gradient = one.gradients[3][number].flatten()
        backward = (jacobian.T @ gradient).norm() / gradient.norm()
        np.testing.assert_allclose(measured.forward[1, 3, number], forward.detach(), rtol=1e-9)
        np.testing.assert_allclose(measured.backward[1, 3, number], backward.detach(), rtol=1e-9)


def _frozen(network, activations, number, z):
    """The shortcuts of the last two blocks, with the slopes of their ReLUs at the activations of one example."""
    for (block,), base in zip(list(network.stages)[1:], activations[1:3], strict=True):
        base = base[number : number + 1]
        mask = (block.branch(base) + block.shortcut(base) > 0).double().detach()
        # of an affine shortcut the difference to that of 0 is linear
        z = (mask * (block.shortcut(z[None]) - block.shortcut(torch.zeros_like(z[None]))))[0]
    return z


def test_across_a_block_without_a_shortcut_there_is_no_gain():
    measured = gains_of(a("plain"), *images())
    assert np.isnan(measured.forward[np.triu_indices(4, 1)]).all()
    assert np.isnan(measured.backward[np.triu_indices(4, 1)]).all()
    assert (measured.forward[np.diag_indices(4)] == 1).all()


# What later blocks add without an earlier one


def added_by(network, names, x):
    """What each branch gives, by hooks."""
    given = []
    with ExitStack() as stack:
        for name in names:
            branch = network.get_submodule(name).branch
            stack.callback(branch.register_forward_hook(lambda _, __, out: given.append(out)).remove)
        network(x)
    return [out.flatten(1) for out in given]


@pytest.mark.parametrize("arguments", [{}, {"order": "pre"}, {"shortcut": "projection"}])
def test_effects_are_those_of_lesions_and_hooks(arguments):
    network, (x, y) = a(**arguments), images()
    names = [*blocks(network)]
    intact = added_by(network, names, x)
    one = passed(network, x, y)
    measured = effects(one.row.between, one.activations)
    for number, name in enumerate(names):
        with lesion(network, [name]) as without:
            after = added_by(without, names[number + 1 :], x)
        for later, out in enumerate(after, start=number + 1):
            change = (out - intact[later]).norm(dim=1) / intact[later].norm(dim=1)
            np.testing.assert_allclose(measured[number, later], change.detach(), rtol=1e-9)
    assert np.isnan(measured[np.tril_indices(3)]).all() and np.isfinite(measured[np.triu_indices(3, 1)]).all()


def test_blocks_of_a_plain_network_add_all_that_they_give_and_only_those_that_keep_the_shape_are_left_out():
    network, (x, y) = a("plain"), images()
    one = passed(network, x, y)
    measured = effects(one.row.between, one.activations)
    with lesion(network, ["stages.0.0"]) as without:
        given = without.stages[1](without.stages[0](without.stem(x)))
    change = (given - one.activations[2]).flatten(1).norm(dim=1) / one.activations[2].flatten(1).norm(dim=1)
    np.testing.assert_allclose(measured[0, 1], change.detach(), rtol=1e-9)
    assert np.isnan(measured[1:]).all()


def test_in_a_linear_row_a_block_left_out_divides_what_later_ones_add_by_its_factor():
    weights = (0.5, -0.25, 2.0)
    x, _ = images()
    network = row_of(*[Block(Times(w), nn.Identity(), Add()) for w in weights])
    one = passed(network, x, x, first_output)
    measured = effects(one.row.between, one.activations)
    for number, weight in enumerate(weights):
        np.testing.assert_allclose(measured[number, number + 1 :], abs(1 / (1 + weight) - 1), rtol=1e-12)


# How alike gradients are


def mlp(depth, width, activation, generator, inputs=256):
    """Weights of variance 2/n (He et al. 2015), without biases."""
    layers = []
    for before in [inputs, *[width] * (depth - 1)]:
        layer = nn.Linear(before, width, bias=False)
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / before), generator=generator)
        layers += [layer, activation]
    return nn.Sequential(*layers, nn.Linear(width, 1, bias=False)).double()


class Centred(nn.Module):
    """A rectifier less its mean, scaled to the variance that it is given: units of two orthogonal inputs stay
    independent in every layer, as the theory has it."""

    def forward(self, z):
        return (torch.relu(z) - 1 / math.sqrt(math.pi)) / math.sqrt(1 - 1 / math.pi)  # of a z of variance 2


def at_the_input(network, x):
    """Of a network that is one block without a shortcut."""
    row = Network(nn.Identity(), [[Block(network, keeps_shape=False)]], nn.Identity())
    return correlation(row, [(x, x)], parts(row))[0]


def orthogonal(n, size):
    return math.sqrt(size) * torch.linalg.qr(torch.randn(size, n, dtype=torch.float64))[0].T


def test_gradients_of_a_linear_network_are_the_same_everywhere():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.Linear(30, 5)).double()
    x, _ = images()
    row = Network(nn.Identity(), [[Block(network, keeps_shape=False)]], nn.Identity())
    for place in correlation(row, [(x, x)], parts(row))[:2]:
        np.testing.assert_allclose([place.mean, place.absolute], 1, rtol=1e-12)
        np.testing.assert_allclose([place.mean_se, place.absolute_se], 0, atol=1e-12)
    np.testing.assert_allclose(along_lines(network, x), 1, rtol=1e-12)


def test_of_white_noise_nothing_is_left():
    torch.manual_seed(0)
    noise = torch.randn(256, 400, dtype=torch.float64)
    assert (np.abs(autocorrelation(noise)) < 4 / np.sqrt(400 * (256 - np.array(LAGS)))).all()
    unit = noise / noise.norm(dim=1, keepdim=True)
    white = pairs([(unit @ unit.T).numpy()])
    assert abs(white.mean) < 4 / math.sqrt(400 * 256 * 255 / 2)
    np.testing.assert_allclose(white.absolute, math.sqrt(2 / math.pi / 400), rtol=0.02)  # of a normal variable


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_in_a_wide_rectifier_network_the_correlation_is_that_of_the_arc_cosine_kernel(depth):
    """Π(1 − θ/π) with the angle of the activations, cos θ ← (sin θ + (π − θ) cos θ)/π, from orthogonal inputs."""
    torch.manual_seed(depth)
    x = orthogonal(6, 256)
    expected, theta = 1.0, math.pi / 2
    for _ in range(depth):
        expected *= 1 - theta / math.pi
        theta = math.acos((math.sin(theta) + (math.pi - theta) * math.cos(theta)) / math.pi)
    draws = [at_the_input(mlp(depth, 1024, nn.ReLU(), None), x).mean for _ in range(4)]
    error = np.std(draws, ddof=1) / 2
    assert abs(np.mean(draws) - expected) < 4 * error + 0.01, (np.mean(draws), expected, error)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_where_units_are_on_independently_for_two_inputs_the_correlation_is_halved_by_every_layer(depth):
    """Balduzzi et al. 2017 (1702.08591), Theorem 1."""
    torch.manual_seed(depth)
    x = orthogonal(6, 256)
    draws = [at_the_input(mlp(depth, 1024, Centred(), None), x).mean for _ in range(4)]
    error = np.std(draws, ddof=1) / 2
    assert abs(np.mean(draws) - 0.5**depth) < 4 * error + 0.005, (np.mean(draws), 0.5**depth, error)


def test_correlations_are_cosines_of_jacobians():
    network, (x, y) = a(), images(5)
    jacobians = vmap(jacrev(lambda one: network(one[None])[0]))(x).flatten(1)
    cosines = (jacobians / jacobians.norm(dim=1, keepdim=True)) @ (jacobians / jacobians.norm(dim=1, keepdim=True)).T
    others = cosines[~torch.eye(5, dtype=torch.bool)].detach()
    measured = correlation(network, [(x, y)], parts(network))
    np.testing.assert_allclose(measured[0].mean, others.mean(), rtol=1e-9)
    np.testing.assert_allclose(measured[0].absolute, others.abs().mean(), rtol=1e-9)


def test_the_gradient_on_a_line_is_that_of_a_small_step():
    """Gradients of one random output at 256 points, by jacobians."""
    network, (x, _) = a(), images(2)
    part = torch.linspace(0, 1, 256, dtype=torch.float64).reshape(-1, 1, 1, 1)
    direction = torch.randn(1, 10, generator=torch.Generator().manual_seed(0))[0].double()
    points = x[0] + part * (x[1] - x[0])
    g = vmap(jacrev(lambda one: network(one[None])[0] @ direction))(points).flatten(1)
    at_lag = [(g[:-k] * g[k:]).sum() / ((g[:-k] ** 2).sum() * (g[k:] ** 2).sum()).sqrt() for k in LAGS]
    np.testing.assert_allclose(along_lines(network, x)[:, 0], torch.stack(at_lag).detach(), rtol=1e-9)


def test_the_error_of_a_mean_over_pairs_is_what_other_examples_would_give():
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(400):
        x = rng.standard_normal((24, 3)) + 1
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        measured = pairs([unit @ unit.T])
        means.append(measured.mean)
        errors.append(measured.mean_se)
    np.testing.assert_allclose(np.mean(errors), np.std(means), rtol=0.15)


# The whole


def test_a_network_of_somebody_else_has_the_numbers_of_ours():
    network, batches = a(order="pre"), [images()]
    ours, theirs = stream_profile(network, batches, 4), stream_profile(Wrapped(network), batches, 4)
    assert ours.keys() == theirs.keys()
    for name, numbers in ours.items():
        np.testing.assert_allclose(theirs[name], numbers, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GPT-2", "Llama", "T5's encoder", "Mamba", "ViT", "ResNet"])
def test_in_known_networks_shortcuts_carry_all_and_effects_are_those_of_lesions(name):
    network, inputs, targets, description = known_network(name)
    network = network.double().eval()
    inputs = inputs.double() if isinstance(inputs, torch.Tensor) and inputs.is_floating_point() else inputs
    by_name = blocks(network, description)
    at = parts(network, by_name)
    (one,) = passes(network, [(inputs, targets)], lambda out, y: known_loss(getattr(out, "logits", out), y), at)
    if name != "ResNet":
        measured = gains(one.row.between, one.activations, one.gradients)
        upper = np.triu_indices(len(by_name) + 1)
        np.testing.assert_allclose(measured.forward[upper], 1, rtol=1e-12)
        np.testing.assert_allclose(measured.backward[upper], 1, rtol=1e-12)
    first, *_, last = by_name.values()
    (end,) = last.branches
    given = []

    def kept(_, __, out):
        given.append((out[0] if isinstance(out, tuple) else out).clone())  # sums are often taken in place

    def nothing(_, __, out):
        return (torch.zeros_like(out[0]), *out[1:]) if isinstance(out, tuple) else torch.zeros_like(out)

    with end.register_forward_hook(kept), torch.no_grad(), InFloat64():
        for ends in ((), first.branches):
            with ExitStack() as stack:
                for branch in ends:
                    stack.callback(branch.register_forward_hook(nothing).remove)
                network(**inputs) if isinstance(inputs, dict) else network(inputs)
    before, after = (out.reshape(len(targets), -1) for out in given)
    change = (after - before).norm(dim=1) / before.norm(dim=1)
    np.testing.assert_allclose(effects(one.row.between, one.activations)[0, -1], change, rtol=1e-6)


def test_networks_of_several_depths_are_in_one_file_and_it_goes_on(tmp_path):
    path = tmp_path / "stream.h5"
    results = stream(["plain", "resnet"], depth=[8, 14], seeds=1, **SMALL, out=path)
    assert results.kind == "stream" and results["boundaries"].tolist() == [4, 7, 4, 7]
    assert results["effect"].shape == (4, 5, 6, 6) and results.dims["forward_gain"] == ("network", "boundary", "end")
    assert results["depth"].tolist() == [8, 14, 8, 14] and set(results["moment"]) == {"initial"}
    for name in STREAM:
        np.testing.assert_array_equal(read(path)[name], results[name])
    again = stream(["plain", "resnet"], depth=[8, 14], seeds=1, **SMALL, out=path)
    np.testing.assert_array_equal(again["norm"], results["norm"])


def test_a_checkpoint_is_measured_as_the_network_in_memory(trained):
    stored = stream(checkpoints=[trained / "resnet.pt"], batches=2, batch_size=16, quiet=True)
    evaluate = Evaluator.from_checkpoint(trained / "resnet.pt", split="train")
    own = stream(evaluate, batches=2, batch_size=16, quiet=True)
    assert stored["moment"].tolist() == ["trained"] and own["moment"].tolist() == ["given"]
    for name in STREAM:
        np.testing.assert_allclose(own[name], stored[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_network_comes_back_as_it_was():
    network, batches = a(), [images()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    stream_profile(network, batches, 4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("factor", [0.0, 1e38, math.nan])
def test_a_network_that_has_diverged_is_a_result(factor, recwarn):
    network = build("resnet", depth=8, width=4, channels=1).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter * factor)
    x, y = images()
    measured = stream_profile(network, [(x.float(), y)], 4, batchnorm="frozen")
    assert measured.keys() == STREAM.keys() and np.isnan(measured["correlation"][0])
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_statistics_of_each_batch_are_refused():
    with pytest.raises(BadInput, match="recalibrated, frozen"):
        stream("resnet", batchnorm="batch")


# Figures


@pytest.fixture(scope="module")
def several():
    return stream(["plain", "resnet:order=pre"], depth=[8, 14], seeds=2, **SMALL)


def test_a_report_has_a_column_for_each_depth_and_a_row_for_each_quantity(several):
    figure = draw(several)
    assert len(figure.axes) == 2 * len(REPORT)
    assert [axes.get_title() for axes in figure.axes[:2]] == [f"depth {depth}, at initialisation" for depth in (8, 14)]
    (line,) = [line for line in figure.axes[1].get_lines() if line.get_label() == "plain"]
    rows = (several["variant"] == "plain") & (several["depth"] == 14)
    np.testing.assert_allclose(line.get_ydata(), np.exp(np.log(several["variance"][rows]).mean(axis=0)), rtol=1e-12)


def test_the_band_of_gains_spans_all_examples(several):
    axes = draw(several, show="forward_gain").axes[0]
    (band,) = axes.collections  # that of plain networks is of nothing
    rows = (several["variant"] != "plain") & (several["depth"] == 8)
    corners = band.get_paths()[0].vertices[:, 1]
    least = several["forward_gain_min"][rows][:, 0, :4].min()
    np.testing.assert_allclose(corners.min(), least, rtol=1e-12)
    assert corners.max() == 1
    assert "all examples (gains)" in figure_note(axes.figure)


def figure_note(figure):
    return " ".join(figure._supxlabel.get_text().split())


def test_a_report_says_what_is_not_there(several):
    note = figure_note(draw(several))
    assert "Without shortcuts nothing is carried and nothing added." in note
    assert "training split of digits" in note


def test_maps_have_the_block_left_out_from_top_to_bottom(several):
    image = draw(several, show="effect").axes[2].images[0]  # depth 8 of the second
    rows = (several["variant"] != "plain") & (several["depth"] == 8)
    np.testing.assert_array_equal(image.get_array().filled(np.nan), several["effect"][rows][:, 2, :3, :3].mean(axis=0))
    assert image.origin == "upper"


def test_of_tokens_there_is_no_panel_of_inputs():
    network = build("transformer", depth=1, width=8, heads=2, vocabulary=20, context=6)
    tokens = torch.randint(20, (16, 6))
    results = stream(Evaluator(network, [(tokens, tokens)]), batches=1, batch_size=16, quiet=True)
    assert np.isnan(results["input_correlation"]).all() and np.isnan(results["autocorrelation"]).all()
    assert len([axes for axes in draw(results).axes if axes.axison]) == len(REPORT) - 1
    with pytest.raises(BadInput, match="has no finite autocorrelation to draw"):
        draw(results, show="autocorrelation")


def test_what_cannot_be_drawn_is_said(several):
    with pytest.raises(BadInput, match="shows one file, got 2"):
        draw([several, several])
    with pytest.raises(BadInput, match="there is no 'gradient' to show of a stream; use report, norm"):
        draw(several, show="gradient")
    with pytest.raises(BadInput, match="1 titles for 2 variants"):
        draw(several, titles=["one"])
