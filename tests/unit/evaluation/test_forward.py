"""A forward gives the network's outputs, wherever its weights are moved, or says why it does not try."""

import copy
import warnings

import pytest
import torch
import torchvision
from small import NETWORKS, trained_like
from torch import nn

from landscape.errors import BadInput
from landscape.evaluation.fused import Fused, fuse, fused_graph, in_dtype, reduced_type
from landscape.networks import build
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.plane import Plane, shift
from landscape.weights import weights_of


def made(case):
    name, arguments = NETWORKS[case]
    torch.manual_seed(1)
    return trained_like(build(name, channels=1, **arguments))


def far(network, other, x):
    """Largest difference of outputs, relative to the largest output."""
    with torch.inference_mode():
        a, b = network(x).double(), other(x).double()
    return float((a - b).abs().max() / b.abs().max())


# Each network has one layout in float32 and the other in bfloat16.
LAYOUTS = [(case, n % 2) for n, case in enumerate(NETWORKS)]
FORMATS = torch.contiguous_format, torch.channels_last


@pytest.mark.parametrize(("case", "layout"), [(case, FORMATS[n]) for case, n in LAYOUTS])
@pytest.mark.slow
def test_every_network_is_fused_and_gives_the_outputs_of_float64(case, layout):
    network = made(case).to(memory_format=layout)
    x = torch.randn(6, 1, 8, 8)
    quick, why = fuse(network, x[:2])
    assert why == ""
    assert any(isinstance(module, Fused) for module in quick.modules()) or case.startswith(("densenet", "vit"))
    exact = copy.deepcopy(network).double()
    assert far(quick, lambda x: exact(x.double()), x) < 2e-6
    assert {id(p) for p in quick.parameters()} <= {id(p) for p in network.parameters()}


THEIRS = {
    "ResNet": lambda models: models.ResNet(models.resnet.BasicBlock, [2, 1, 1, 1], num_classes=10),
    "ViT": lambda models: models.VisionTransformer(32, 16, 2, 2, 24, 48, num_classes=10),
    "DenseNet": lambda models: models.DenseNet(8, (2, 2, 1, 1), 16, num_classes=10),
    "MobileNet V2": lambda models: models.mobilenet_v2(width_mult=0.1, num_classes=10),
    "SqueezeNet": lambda models: models.squeezenet1_1(num_classes=10),
}


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.slow
def test_networks_of_torchvision_are_too(name):
    torch.manual_seed(0)
    network = trained_like(THEIRS[name](torchvision.models))
    if name == "ViT":
        nn.init.normal_(network.heads.head.weight)  # torchvision's is 0
    x = torch.randn(2, 3, 32, 32)
    quick, why = fuse(network, x)
    assert why == ""
    assert far(quick, network, x) < 1e-5
    assert far(fuse(network, x, torch.bfloat16)[0], network, x) < 0.1


def test_a_residual_network_becomes_one_step_a_convolution():
    traced = fused_graph(made("order post"))
    steps = [node for node in traced.graph.nodes if node.op == "call_module" and "fused" in node.target]
    assert len(steps) == 7
    assert not any(
        isinstance(node.target, str) and "branch" in node.target and node not in steps for node in traced.graph.nodes
    )
    assert "relu" not in traced.code and "add" not in traced.code


def test_a_forward_follows_the_network_over_a_plane_and_back():
    network = made("shortcut projection")
    quick, _ = fuse(network, torch.randn(2, 1, 8, 8))
    x = torch.randn(4, 1, 8, 8)
    with torch.inference_mode():
        before = quick(x)
    origin = weights_of(network)
    plane = Plane(origin, (filter_normalize(random_direction(origin, 0), origin),))
    with shift(network, plane, [0.7]):
        assert far(quick, network, x) < 1e-5
        with torch.inference_mode():
            assert not torch.equal(quick(x), before)
    with torch.inference_mode():
        assert torch.equal(quick(x), before)


def test_a_forward_follows_statistics_too():
    network = made("order pre")
    quick, _ = fuse(network, torch.randn(2, 1, 8, 8))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.mul_(3)
    assert far(quick, network, torch.randn(4, 1, 8, 8)) < 1e-5


@pytest.mark.parametrize(("case", "layout"), [(case, FORMATS[1 - n]) for case, n in LAYOUTS])
@pytest.mark.slow
def test_bfloat16_is_near(case, layout):
    network = made(case).to(memory_format=layout)
    x = torch.randn(16, 1, 8, 8)
    quick, why = fuse(network, x[:2], torch.bfloat16)
    assert why == ""
    assert 1e-5 < far(quick, network, x) < 0.03


class Branching(nn.Module):
    """Its path depends on its input, so it cannot be traced."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3)

    def forward(self, x):
        if x.sum() > 0:
            x = -x
        return self.convolution(x).mean((2, 3))


class Twice(nn.Module):
    """Its sum is over shapes that differ, and one convolution is read twice."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 3, 8), nn.BatchNorm2d(3)

    def forward(self, x):
        a = self.one(x)
        return (self.norm(a) + self.other(x) + a).relu().flatten(1)


def test_what_cannot_be_traced_runs_as_it_is_and_says_so():
    network = Branching().eval()
    quick, why = fuse(network, torch.randn(2, 1, 8, 8))
    assert quick is network
    assert "without fusion (TraceError: symbolically traced variables" in why


def test_what_is_read_twice_or_broadcast_stays_right():
    network = trained_like(Twice())
    quick, _ = fuse(network, torch.randn(2, 1, 8, 8))
    assert far(quick, network, torch.randn(3, 1, 8, 8)) < 1e-5


def test_the_type_is_what_it_is_called():
    assert reduced_type("float32", torch.device("cpu")) == torch.float32
    assert reduced_type("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert reduced_type("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    with pytest.raises(BadInput, match="float8"):
        reduced_type("float8", torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_threads_do_not_change_a_bit(dtype):
    torch.manual_seed(0)
    network = trained_like(build("resnet", depth=8, channels=3)).to(memory_format=torch.channels_last)
    x = torch.randn(64, 3, 32, 32)
    quick, _ = fuse(network, x[:2], dtype)
    before = torch.get_num_threads()
    each = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            each.append(quick(x))
    torch.set_num_threads(before)
    assert torch.equal(each[0], each[1]) and torch.equal(each[0], each[2])


SCALES = [1e3, 1e10, 1e30, 1e38]
TYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(
    ("how", "scale", "dtype"),
    [
        (how, scale, TYPES[(i + j) % 2])  # every scale of every network, and both types of each
        for i, how in enumerate([{}, {"order": "pre"}, {"shortcut": None}])
        for j, scale in enumerate(SCALES)
    ],
)
@pytest.mark.slow
def test_activations_that_overflow_are_not_made_finite(how, scale, dtype):
    torch.manual_seed(0)
    network = build("resnet", depth=8, width=4, **how).eval().to(memory_format=torch.channels_last)
    x = torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    quick, why = fuse(network, x[:2], dtype)
    assert not why
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
        there, here = in_dtype(network, dtype)(x), quick(x)
    assert torch.equal(there.isfinite().all(1), here.isfinite().all(1))


def test_asking_whether_activations_may_overflow_warns_of_no_gradient():
    network = build("resnet", depth=8, width=4, channels=1).eval()
    x = torch.randn(2, 1, 8, 8)
    quick, _ = fuse(network, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(x)
