"""Gradients at the boundaries are those of other people's arithmetic, and the network comes back unchanged."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from files import ROOT
from torch import nn
from torch.func import grad, vmap

from ensemble.drawing.flow import SHOWN, flows
from ensemble.flow.gradient_flow import gradient_flow
from ensemble.flow.gradients import BATCHNORM, extremes, flow, relative
from ensemble.flow.parts import stages
from landscape.checkpoints.checkpoint import load as load_checkpoint
from landscape.data import load
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import LOSSES
from landscape.networks import Block, build
from landscape.networks.joins import Add
from landscape.networks.network import Network
from landscape.weights import digest

loss = LOSSES["cross_entropy"]
KINDS = [
    ("plain", {"depth": 8, "width": 4}),
    ("plain", {"depth": 8, "width": 4, "norm": "none"}),
    ("resnet", {"depth": 8, "width": 4, "order": "pre"}),
    ("resnet", {"depth": 8, "width": 4, "join": "channel-gate", "gate_bias": -1.0}),
    ("resnet", {"depth": 8, "width": 4, "join": "pooled-gate", "gate_bias": -1.0}),
    ("densenet", {"depth": 7, "growth": 3}),
]


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(float(factor), dtype=torch.float64))

    def forward(self, x):
        return self.factor * x


def a(name, **arguments):
    """A network in float64 whose BatchNorms and gates are not at their initial values."""
    torch.manual_seed(0)
    network = build(name, channels=1, **arguments).double()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_()
                module.running_var.uniform_(0.5, 2)
        for name, parameter in network.named_parameters():
            if name.endswith("scale"):  # of branches that start at 0
                parameter.fill_(0.5)
    return network


def examples(n=6):
    torch.manual_seed(1)
    return torch.randn(n, 1, 8, 8, dtype=torch.float64), torch.arange(n) % 10


def at_boundaries(network, x):
    each = [network.stem(x)]
    for part in stages(network):
        each.append(part(each[-1]))
    return [x.detach() for x in each]


def from_boundary(network, place, x):
    for part in stages(network)[place:]:
        x = part(x)
    return network.head(x)


def test_in_a_linear_chain_the_gradient_is_a_product():
    weights = [0.5, -0.25, 0.0, -1.5, 2.0]
    network = Network(nn.Identity(), [[Block(Times(w), nn.Identity(), Add()) for w in weights]], nn.Flatten())
    x = torch.tensor([1.0, -3.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    flows = flow(network, [(x, x)], lambda out, _: 7 * out[:, 0])
    factors = np.array([1 + w for w in weights])
    products = np.array([abs(factors[place:].prod()) for place in range(len(weights) + 1)])
    np.testing.assert_allclose(relative(flows.gradient), np.stack([products] * 2, axis=1), rtol=1e-14)
    np.testing.assert_allclose(flows.gradient[-1], 7)
    # d/dw of the mean of 7 x Π(1 + w) is 7 mean(x) Π/(1 + w)
    np.testing.assert_allclose(flows.parameters[:-1], np.abs(7 * -1 * factors.prod() / factors), rtol=1e-14)
    assert flows.parameters[-1] == 0


def test_one_jacobian_of_minus_one_is_enough_for_the_gradient_to_vanish():
    weights = [0.5, -1.0, 0.5]
    network = Network(nn.Identity(), [[Block(Times(w), nn.Identity(), Add()) for w in weights]], nn.Flatten())
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert flow(network, [(x, x)], lambda out, _: out[:, 0]).gradient[:, 0].tolist() == [0, 0, 1.5, 1]


@pytest.mark.parametrize("name, arguments", KINDS)
def test_with_stored_statistics_gradients_are_those_of_each_example_alone(name, arguments):
    network = a(name, **arguments).eval()
    x, y = examples()
    flows = flow(network, [(x[:4], y[:4]), (x[4:], y[4:])], batchnorm="frozen").gradient
    for place, activations in enumerate(at_boundaries(network, x)):

        def one(activation, target, place=place):
            return loss(from_boundary(network, place, activation[None]), target[None])[0]

        expected = vmap(grad(one))(activations, y).flatten(1).norm(dim=1)
        np.testing.assert_allclose(flows[place], expected.detach(), rtol=1e-10)


@pytest.mark.parametrize("name, arguments", KINDS[:3])
def test_with_statistics_of_the_batch_gradients_hold_what_an_example_does_to_the_others(name, arguments):
    network = a(name, **arguments)
    x, y = examples()
    flows = flow(network, [(x, y)]).gradient
    other = copy.deepcopy(network).train()  # its statistics may move
    step = 1e-6
    for place, activations in enumerate(at_boundaries(other, x)):
        # a central difference along the gradient itself
        activations.requires_grad_()
        (along,) = torch.autograd.grad(loss(from_boundary(other, place, activations), y).sum(), activations)
        direction = torch.zeros_like(along)
        direction[2] = along[2] / along[2].norm()
        ends = [
            loss(from_boundary(other, place, activations.detach() + sign * step * direction), y).sum().item()
            for sign in (1, -1)
        ]
        np.testing.assert_allclose(flows[place, 2], (ends[0] - ends[1]) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("name, arguments", KINDS)
def test_parameter_gradients_are_those_of_a_training_step(name, arguments):
    network = a(name, **arguments)
    x, y = examples()
    flows = flow(network, [(x, y)]).parameters
    other = copy.deepcopy(network).train()
    loss(other(x), y).mean().backward()
    for norm, part in zip(flows, [*stages(other), other.head], strict=True):
        expected = torch.cat([p.grad.flatten() for p in part.parameters()]).norm()
        np.testing.assert_allclose(norm, expected, rtol=1e-10)


def test_the_mean_gradient_does_not_depend_on_how_batches_are_cut():
    network, (x, y) = a("resnet", depth=8, width=4), examples()
    whole, cut = (
        flow(network, batches, batchnorm="frozen") for batches in ([(x, y)], [(x[:1], y[:1]), (x[1:], y[1:])])
    )
    np.testing.assert_allclose(whole.parameters, cut.parameters, rtol=1e-12)


def test_statistics_measured_anew_leave_examples_independent():
    network, (x, y) = a("plain", depth=8, width=4), examples()
    other = copy.deepcopy(network)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # what training keeps is then the batch's
    other.train()(x)
    expected = flow(other, [(x, y)], batchnorm="frozen").gradient
    flows = flow(network, [(x, y)], batchnorm="recalibrated").gradient
    np.testing.assert_allclose(flows, expected, rtol=1e-12)
    assert (np.abs(flows / flow(network, [(x, y)], batchnorm="batch").gradient - 1) > 0.01).any()


def test_branches_of_zero_let_the_gradient_through_as_it_is():
    torch.manual_seed(0)
    network = build("resnet", depth=20, width=4, channels=1, order="pre", zero_init=True)
    x, y = examples()
    gradients = relative(flow(network, [(x.float(), y)]).gradient)
    np.testing.assert_array_equal(gradients[7:], 1)  # within the last stage


def test_an_example_without_a_gradient_at_the_head_has_no_ratio():
    assert relative(np.array([[1.0, 0.0, np.nan], [2.0, 0.0, np.nan]])).tolist()[0][0] == 0.5
    assert relative(np.array([[1.0, 0.0, np.nan], [2.0, 0.0, np.nan]])).shape == (2, 2)


@pytest.mark.parametrize("batchnorm", BATCHNORM)
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_before(batchnorm, fails):
    network = a("resnet", depth=8, width=4)
    network.train()
    network.stages[1].eval()
    network.stem[0].weight.requires_grad_(False)
    network.head[-1].weight.grad = torch.ones_like(network.head[-1].weight)
    before, batches = copy.deepcopy(network), [examples()]
    if fails:
        with pytest.raises(BadInput, match="reduce"):
            flow(network, batches, lambda out, y: loss(out, y).mean(), batchnorm)
    else:
        with torch.inference_mode():
            flow(network, batches, loss, batchnorm)
    for (name, one), two in zip(network.state_dict().items(), before.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    graded = [name for name, p in network.named_parameters() if p.grad is not None]
    assert frozen == ["stem.0.weight"] and graded == ["head.2.weight"]
    assert network.head[-1].weight.grad.eq(1).all()
    assert [m.training for m in network.modules()] == [m.training for m in before.modules()]


def test_a_network_that_is_not_made_of_parts_is_refused():
    with pytest.raises(BadInput, match="no block that can be removed"):
        flow(nn.Sequential(nn.Flatten(), nn.Linear(examples()[0][0].numel(), 10).double()), [examples()])
    with pytest.raises(BadInput, match="recalibrated"):
        flow(a("plain", depth=8, width=4), [examples()], batchnorm="yes")


@pytest.mark.parametrize("name, arguments", KINDS)
@pytest.mark.slow
def test_singular_values_are_those_of_the_whole_jacobian(name, arguments):
    network = a(name, **arguments).eval()
    x = at_boundaries(network, examples(1)[0])[0]
    block = stages(network)[0]
    jacobian = torch.autograd.functional.jacobian(block, x).reshape(-1, x.numel())
    values = np.linalg.svd(jacobian.numpy(), compute_uv=False)
    smallest, largest = extremes(block, x)
    np.testing.assert_allclose([smallest, largest], [values[-1], values[0]], rtol=1e-9, atol=1e-12)
    nothing, iterated = extremes(block, x, dense=0)
    assert np.isnan(nothing)
    np.testing.assert_allclose(iterated, values[0], rtol=1e-9)
    if name == "densenet":  # its input is part of what it puts out
        assert smallest > 1 - 1e-12


# The table

SMALL = {"width": 4, "examples": 200, "batches": 2, "batch_size": 32, "quiet": True}
VARIANTS = ("plain", "resnet:order=pre")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("flow") / "a.h5"
    gradient_flow(VARIANTS, depth=[8, 14], seeds=1, epochs=1, **SMALL, out=path)
    return path


def test_a_row_is_a_network_at_a_moment(file):
    results = read(file)
    assert results["done"].all() and len(results["done"]) == 8
    assert results["moment"].tolist() == ["initial", "trained"] * 4
    assert results.dims["gradient"] == ("network", "quantile", "boundary")
    shallow = results["depth"] == 8
    assert (
        np.isnan(results["gradient"][shallow][:, :, 4:]).all() and np.isfinite(results["gradient"]).sum() == 8 * 5 * 5.5
    )
    assert (results["gradient"][~shallow][:, :, -1] == 1).all()
    assert len(np.unique(results["gradient_last"])) == 8
    middle = results["gradient"][:, 2, 0]
    assert (results["gradient"][:, 1, 0] < middle).all() and (middle < results["gradient"][:, 3, 0]).all()


def test_a_checkpoint_is_measured_like_the_network_that_it_holds(trained):
    """The same training by two functions; on several threads the last digits may differ."""
    results = gradient_flow(
        "plain:width=4",
        checkpoints=[trained / "plain.pt"],
        **{"depth": 8, "epochs": 2, "seeds": 1, "batches": 1, "jacobians": True, "quiet": True},
    )
    assert results["variant"].tolist() == ["plain:width=4", "plain:width=4", "plain"]
    for name in ("gradient", "exit_loss", "sigma_max", "similarity"):
        np.testing.assert_allclose(results[name][1], results[name][2], rtol=1e-4, err_msg=name)
    assert (results["sigma_max"][:, :3] > results["sigma_min"][:, :3]).all()
    for show in SHOWN:
        assert flows([results], show=show).axes[0].get_title().split() == ["depth", "8,", "at", "initialisation"]


def test_a_network_in_memory_is_measured_as_the_checkpoint_that_holds_it(trained):
    checkpoint = load_checkpoint(trained / "resnet.pt")
    data = load("digits", "train", **{name: checkpoint.data[name] for name in ("mean", "std")})
    evaluate = Evaluator(checkpoint.restore(), [(data.images, data.labels)], name="mine")
    before = digest(dict(evaluate.network.state_dict()))
    own = gradient_flow(evaluate, batches=2, batch_size=32, quiet=True)
    held = gradient_flow(checkpoints=[trained / "resnet.pt"], batches=2, batch_size=32, quiet=True)
    assert (own["variant"].item(), own["moment"].item(), held["moment"].item()) == ("mine", "given", "trained")
    for name in ("gradient", "parameter_gradient", "share", "exit_loss", "similarity", "loss"):
        np.testing.assert_allclose(own[name], held[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert digest(dict(evaluate.network.state_dict())) == before
    assert "as given" in flows([own]).axes[0].get_title()


def test_what_gradients_do_not_go_with_is_refused():
    batches = [(torch.randn(32, 1, 8, 8), torch.arange(32) % 10)]
    network = build("resnet", depth=8, width=4, channels=1)
    for options, said in (
        ({"tolerance": 0.1}, "leave out dtype and tolerance"),
        ({"metrics": ["agreement"]}, "one loss on one split; leave out agreement"),
        ({"test": batches}, "leave out the test split"),
    ):
        with pytest.raises(BadInput, match=said):
            gradient_flow(Evaluator(network, batches, **options), batches=1, batch_size=32)
    with pytest.raises(BadInput, match="are 64 examples, and there are 32; give fewer batches"):
        gradient_flow(Evaluator(network, batches), batches=2, batch_size=32)


def test_checkpoints_of_a_kind_share_a_name_and_a_colour_unless_two_are_of_one_depth():
    file = read(ROOT / "results" / "study" / "flow-trained.h5")
    lines = [line for axes in flows([file]).axes for line in axes.lines]
    assert {line.get_label() for line in lines} == {"plain", "ResNet", "ResNet, pre-activation"}
    assert len({(line.get_label(), line.get_color()) for line in lines}) == 3
    stored = file["variant"].tolist()
    stored[0] = "resnet-20-1"
    other = replace(file, variables=file.variables | {"variant": np.array(stored)})
    assert {"resnet-20-0", "resnet-20-1"} <= {line.get_label() for axes in flows([other]).axes for line in axes.lines}


@pytest.mark.parametrize(
    ("show", "said"),
    [
        ("cosine", "networks without shortcuts, blocks that change the shape or the head."),
        ("residual", "networks without shortcuts, the head, values that are not finite or values of 0."),
        ("gradient", ""),
    ],
)
def test_a_note_says_why_lines_end(show, said):
    file = read(ROOT / "results" / "study" / "flow-trained.h5")
    sizes = file["residual"].copy()
    sizes[file["depth"] == 110, :, 3:5] = np.array([0, np.inf]) if show == "residual" else 1
    note = " ".join(
        flows([replace(file, variables=file.variables | {"residual": sizes})], show=show).get_supxlabel().split()
    )
    assert said in note and ("Nothing is drawn" in note) == bool(said)


def test_more_networks_than_colours_can_be_told_apart():
    file = read(ROOT / "results" / "study" / "flow-trained.h5")
    axes = flows([file], titles=[f"network {i}" for i in range(8)]).axes
    looks = {line.get_label(): (line.get_color(), line.get_marker()) for each in axes for line in each.lines}
    assert len(looks) == 8 == len(set(looks.values()))


def test_each_depth_has_its_own_scale_and_moments_of_one_depth_share_one():
    file = read(ROOT / "results" / "study" / "flow-new.h5")
    moment = np.where(file["seed"] == 2, "trained", file["moment"]).astype(object)
    figure = flows([replace(file, variables=file.variables | {"moment": moment})])
    panels = np.reshape(figure.axes, (3, 2))
    ends = {tuple(axes.get_ylim()) for axes in panels[:, 0]}
    assert len(ends) == 3 and all(one.get_ylim() == other.get_ylim() for one, other in panels)
    assert "Each depth has a vertical scale of its own." in figure.get_supxlabel().replace("\n", " ")
