"""What is fused follows the network wherever its weights go; a layer whose weight is computed is not fused."""

import copy
import random

import numpy as np
import pytest
import torch
from measured import surface
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune

from landscape.evaluation.agreement import agree
from landscape.evaluation.fused import Fused, fuse, fused_graph
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.plane import Plane, shift
from landscape.weights import weights_of


def stack(first, *middle):
    """Four classes from (N, 3, 8, 8); the first layer puts out (N, 4, 6, 6)."""
    return nn.Sequential(first, *middle, nn.ReLU(), nn.Flatten(), nn.Linear(144, 4))


def conv():
    return nn.Conv2d(3, 4, 3)


class Sum(nn.Module):
    """relu(first(x) + other(x)), then classes."""

    def __init__(self, first):
        super().__init__()
        self.first, self.other, self.head = first, conv(), nn.Linear(144, 4)

    def forward(self, x):
        return self.head(F.relu(self.first(x) + self.other(x)).flatten(1))


class ByKeyword(Sum):
    def forward(self, x):
        return self.head(F.relu(input=self.first(input=x) + self.other(input=x)).flatten(1))


class Standardised(nn.Conv2d):
    """Weight standardisation, as timm's StdConv2d has it."""

    def forward(self, x):
        w = self.weight
        mean, std = w.mean((1, 2, 3), keepdim=True), w.std((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (w - mean) / (std + 1e-5), self.bias)


class Equalised(nn.Conv2d):
    """Equalised learning rate: the weight is a property that scales a parameter."""

    def __init__(self, *how):
        super().__init__(*how)
        self.raw = nn.Parameter(self.weight.detach().clone())
        del self.weight

    @property
    def weight(self):
        return self.raw * 0.7


class LowRank(nn.Conv2d):
    """A weight with a trainable low-rank part, as LoRA's."""

    def __init__(self, *how):
        super().__init__(*how)
        self.a, self.b = nn.Parameter(torch.randn(2, 27)), nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        return self._conv_forward(x, self.weight + (self.b @ self.a).view_as(self.weight), self.bias)


class LeakyRelu(nn.ReLU):
    def forward(self, x):
        return F.leaky_relu(x, 0.3)


class Halved(nn.BatchNorm2d):
    def forward(self, x):
        return 0.5 * super().forward(x)


class DoublingIdentity(nn.Identity):
    def forward(self, x):
        return 2 * x


class Named(nn.Module):
    """Its `relu` is another activation."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.head = conv(), nn.LeakyReLU(0.3), nn.Linear(144, 4)

    def forward(self, x):
        return self.head(self.relu(self.conv(x)).flatten(1))


class Twice(nn.Module):
    """One convolution before BatchNorm, before ReLU, and before a sum in place."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Linear(192, 4)

    def forward(self, x):
        y = self.norm(self.conv(x))
        z = F.relu(self.conv(y))
        y += self.conv(z)
        return self.head((y + z).flatten(1))


def hooked(module, hook, **how):
    module.register_forward_hook(hook, **how)
    return module


def pre_hooked(module, hook):
    module.register_forward_pre_hook(hook)
    return module


def scaled_weight():
    """A convolution whose weight a user's hook makes from another parameter before each call."""
    module = conv()
    module.raw = nn.Parameter(module.weight.detach().clone())
    del module.weight
    module.weight = module.raw.detach()
    return pre_hooked(module, lambda m, inputs: setattr(m, "weight", 3 * m.raw.tanh()))


def patched():
    module = conv()
    module.forward = lambda x: F.conv2d(x, module.weight.abs(), module.bias)
    return module


def patched_inside():
    module = conv()
    inner = module._conv_forward
    module._conv_forward = lambda x, weight, bias: inner(x, weight.abs(), bias)
    return module


def pruned():
    module = conv()
    prune.l1_unstructured(module, "weight", 0.5)
    return module


def from_buffer():
    module = conv()
    weight = module.weight.detach().clone()
    del module.weight
    module.register_buffer("weight", weight)
    return module


class Exponential(nn.Module):
    def forward(self, x):
        return x.exp()


def exponential_norm():
    norm = nn.BatchNorm2d(4)
    parametrize.register_parametrization(norm, "weight", Exponential())
    return norm


def fixed(network):
    for parameter in network[0].parameters():
        parameter.requires_grad_(False)
    return network


# Networks with layers that may not be fused as if they were torch's own.
COMPUTED = {
    "weight_norm before ReLU": lambda: stack(nn.utils.weight_norm(conv())),
    "weight_norm before BatchNorm": lambda: stack(nn.utils.weight_norm(conv()), nn.BatchNorm2d(4)),
    "weight_norm before a sum": lambda: Sum(nn.utils.weight_norm(conv())),
    "weight_norm in one dimension": lambda: nn.Sequential(
        nn.Flatten(2), nn.utils.weight_norm(nn.Conv1d(3, 4, 3, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(124, 4)
    ),
    "weight_norm of the last layer": lambda: stack(conv())[:-1].append(nn.utils.weight_norm(nn.Linear(144, 4))),
    "spectral_norm": lambda: stack(nn.utils.spectral_norm(conv())),
    "parametrized weight_norm": lambda: stack(parametrizations.weight_norm(conv()), nn.BatchNorm2d(4)),
    "parametrized orthogonal": lambda: stack(parametrizations.orthogonal(conv())),
    "parametrized spectral_norm before a sum": lambda: Sum(parametrizations.spectral_norm(conv())),
    "parametrized BatchNorm": lambda: stack(conv(), exponential_norm()),
    "pruning": lambda: stack(pruned(), nn.BatchNorm2d(4)),
    "a weight made by a user's hook": lambda: stack(scaled_weight()),
    "weight standardisation": lambda: stack(Standardised(3, 4, 3), nn.BatchNorm2d(4)),
    "equalised learning rate": lambda: stack(Equalised(3, 4, 3)),
    "low-rank adaptation": lambda: stack(LowRank(3, 4, 3)),
    "a weight in a buffer": lambda: stack(from_buffer()),
    "a hook that changes a convolution's input": lambda: stack(pre_hooked(conv(), lambda m, x: (x[0].abs(),))),
    "a hook that changes a convolution's output": lambda: stack(hooked(conv(), lambda m, x, y: y.abs() - 1)),
    "a hook on BatchNorm": lambda: stack(conv(), hooked(nn.BatchNorm2d(4), lambda m, x, y: y - y.mean())),
    "a hook on ReLU": lambda: stack(conv())[:1].extend([hooked(nn.ReLU(), lambda m, x, y: y**2), *stack(conv())[2:]]),
    "a hook on a Sequential": lambda: stack(hooked(nn.Sequential(conv(), nn.ReLU()), lambda m, x, y: 1 - y)),
    "a hook on a block": lambda: nn.Sequential(hooked(Sum(conv()), lambda m, x, y: y.tanh())),
    "a hook on an Identity": lambda: stack(conv(), hooked(nn.Identity(), lambda m, x, y: 2 * y)),
    "a hook on the network": lambda: hooked(stack(conv()), lambda m, x, y: y.softmax(1)),
    "a hook with keywords": lambda: stack(hooked(conv(), lambda m, x, words, y: 1 - y, with_kwargs=True)),
    "a convolution called by keyword": lambda: ByKeyword(conv()),
    "a patched forward": lambda: stack(patched(), nn.BatchNorm2d(4)),
    "a patched method": lambda: stack(patched_inside()),
    "a subclass of ReLU": lambda: nn.Sequential(conv(), LeakyRelu(), nn.Flatten(), nn.Linear(144, 4)),
    "a subclass of BatchNorm": lambda: stack(conv(), Halved(4)),
    "a subclass of Identity": lambda: stack(conv(), DoublingIdentity()),
    "an activation that is called relu": Named,
    "a lazy convolution": lambda: stack(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d()),
    "one convolution called three times": Twice,
    "a frozen convolution": lambda: fixed(stack(conv(), nn.BatchNorm2d(4))),
}


def made(case):
    torch.manual_seed(0)
    network = COMPUTED[case]()
    with torch.no_grad():
        network(torch.randn(16, 3, 8, 8))  # statistics of its own, and no lazy layer
    return network.eval()


def images(number=64):
    return torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def state(network):
    """All that a network holds, by name: bits of tensors, and its modules' other attributes."""
    tensors = {name: t.detach().clone() for name, t in (*network.named_parameters(), *network.named_buffers())}
    others = {name: {n: id(v) for n, v in vars(m).items()} for name, m in network.named_modules()}
    return tensors, others


def same(one, other):
    return one[1] == other[1] and all(torch.equal(tensor, other[0][name]) for name, tensor in one[0].items())


def moved(network, size):
    """The network's weights moved at random, all of them."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += size * (parameter.std() + 0.1) * torch.randn(parameter.shape, generator=generator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", COMPUTED)
def test_a_forward_follows_layers_whose_weights_are_computed(case):
    network = made(case)
    before = state(network)
    quick, _ = fuse(network, images(2))
    assert same(before, state(network))
    for size in (0, 0.2, 0.5):
        moved(network, size)
        with torch.no_grad():
            torch.testing.assert_close(quick(images()), network(images()), rtol=1e-5, atol=1e-5)
    assert {id(p) for p in quick.parameters()} == {id(p) for p in network.parameters()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", COMPUTED)
@pytest.mark.slow
def test_in_bfloat16_too(case):
    network = made(case)
    quick, _ = fuse(network, images(2), torch.bfloat16)
    for size in (0, 0.5):
        moved(network, size)
        with torch.no_grad():
            there = network(images())
            assert (quick(images()) - there).abs().max() < 0.1 * there.abs().max()


def line(network, batches, xs):
    """Mean cross-entropy along a filter-normalised random direction, in plain PyTorch."""
    network = copy.deepcopy(network)
    origin = {name: p.detach().clone() for name, p in network.named_parameters()}
    generator = np.random.default_rng((0, 0, 0))
    direction = {}
    for name, w in origin.items():
        d = torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32))
        for one, filter in zip(d, w, strict=True):
            one *= filter.norm() / one.norm()
        direction[name] = d if w.ndim > 1 else torch.zeros_like(w)
    losses = []
    for x in xs:
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(origin[name] + float(x) * direction[name])
            losses.append(
                float(torch.cat([F.cross_entropy(network(i), t, reduction="none") for i, t in batches]).mean())
            )
    return np.array(losses)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", [case for case in COMPUTED if "weight_norm" in case and "parametrized" not in case])
def test_a_surface_is_that_of_plain_pytorch(case, tmp_path):
    network = made(case)
    batches = [(images(), torch.arange(64) % 4)]
    results = surface(network, batches, tmp_path / "line.h5", x=(-1, 1, 5), quiet=True)
    np.testing.assert_allclose(results.variables["loss"], line(network, batches, np.linspace(-1, 1, 5)), rtol=1e-6)
    assert np.ptp(results.variables["loss"]) > 0.01


@pytest.mark.filterwarnings("ignore")
def test_layers_of_torch_beside_others_are_fused_still():
    for case, steps in {
        "weight_norm before ReLU": 0,
        "weight_norm before a sum": 1,  # the other term's convolution does the sum
        "a hook on BatchNorm": 0,
        "a frozen convolution": 1,
        "a lazy convolution": 1,
        "one convolution called three times": 3,
        "a hook on an Identity": 0,
    }.items():
        quick, why = fuse(made(case), images(2))
        assert not why, case
        assert sum(isinstance(module, Fused) for module in quick.modules()) == steps, case


class Stateful(nn.Module):
    """A convolution and a ReLU, and something in Python that differs from call to call."""

    def __init__(self, kind):
        super().__init__()
        self.conv, self.head, self.kind = conv(), nn.Linear(144, 4), kind
        self.calls, self.log, self.last, self.settings = 0, [], None, {"calls": 0}
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        x = F.relu(self.conv(x))
        match self.kind:
            case "a counter":
                self.calls += 1
                x = x * (1 + self.calls % 2)
            case "a list":
                self.log.append(x)
            case "a dict":
                self.settings["calls"] += 1
            case "an attribute":
                self.last = x
            case "a random number":
                x = x * (1 + 1e-6 * random.random())
            case "a random choice":
                x = x if random.random() < 2 else -x
            case "a random tensor":
                x = x + 1e-6 * torch.rand(6)
            case "a buffer":
                self.seen += 1
                x = x * self.seen
            case "a buffer, past the graph":
                self._buffers["seen"].add_(1)
                x = x * float(self._buffers["seen"])
            case "autocast":
                with torch.autocast("cpu", torch.bfloat16):
                    x = self.conv(x.repeat(1, 3, 1, 1)[:, :3])
                x = x.float().repeat(1, 1, 2, 2)[:, :, :6, :6]
            case "an in-place change of the input":
                x = x.abs_()
        return self.head(x.flatten(1))


KINDS = ["counter", "list", "dict", "attribute", "random number", "random choice", "random tensor", "buffer"]


@pytest.mark.parametrize("kind", [*(f"{'an' if k[0] == 'a' else 'a'} {k}" for k in KINDS), "autocast"])
def test_what_a_forward_remembers_or_draws_is_not_fused(kind):
    network = Stateful(kind).eval()
    before = state(network)
    quick, why = fuse(network, images(2))
    assert quick is network
    assert "as it is, without fusion" in why
    assert same(before, state(network))
    assert network.log == []
    assert network.settings == {"calls": 0}


def test_buffers_are_given_back_even_if_they_are_reached_past_the_graph():
    network = Stateful("a buffer, past the graph").eval()
    fuse(network, images(2))
    assert network.seen == 0


def test_a_network_that_changes_its_input_gets_a_copy():
    class Changing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = stack(conv())

        def forward(self, x):
            return self.inner(x.neg_())

    network, example = Changing().eval(), images(2)
    quick, why = fuse(network, example)
    assert not why
    assert torch.equal(example, images(2))
    torch.testing.assert_close(quick(images()), network(images()))


def test_hooks_for_all_modules_are_respected():
    network = stack(conv()).eval()
    handle = nn.modules.module.register_module_forward_hook(lambda m, x, y: y + 1 if type(m) is nn.Conv2d else y)
    try:
        quick, why = fuse(network, images(2))
        assert quick is network
        assert "hooks for all modules" in why
    finally:
        handle.remove()


def test_a_class_of_torch_that_is_patched_is_not_fused(monkeypatch):
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: F.conv2d(x, self.weight.abs(), self.bias))
    network = stack(conv()).eval()
    quick, _ = fuse(network, images(2))
    assert not any(isinstance(module, Fused) for module in quick.modules())
    torch.testing.assert_close(quick(images()), network(images()))


@pytest.mark.parametrize(
    ("network", "example", "why"),
    [
        (nn.LSTM(3, 4), torch.randn(2, 5, 3), "its output is not one tensor"),
        (nn.Bilinear(3, 3, 4), (torch.randn(2, 3), torch.randn(2, 3)), "its input is not one tensor"),
        (nn.Linear(3, 4), {"x": torch.randn(2, 3)}, "its input is not one tensor"),
        (hooked(nn.Sequential(nn.Linear(3, 4)), lambda m, x, y: None), torch.randn(2, 3), "has hooks"),
    ],
)
def test_other_networks_are_taken_as_they_are_and_the_reason_is_given(network, example, why):
    quick, given = fuse(network.eval(), example)
    assert quick is network
    assert why in given


class Stale(nn.Module):
    """Gives the network's outputs as they were when it was made, but for one layer that moves."""

    def __init__(self, network, follows):
        super().__init__()
        self.network, self.copy, self.follows = network, copy.deepcopy(network), follows

    def forward(self, x):
        if self.follows == "weights":  # but not the statistics
            self.copy.load_state_dict(dict(self.network.named_parameters()), strict=False)
        return self.copy(x)


@pytest.mark.parametrize("follows", ["weights", "nothing"])
def test_what_agrees_at_the_origin_alone_is_not_trusted(follows):
    torch.manual_seed(0)
    network = stack(conv(), nn.BatchNorm2d(4)).eval()
    before = state(network)
    with torch.no_grad():
        stale = Stale(network, follows)
        assert torch.equal(stale(images()), network(images()))
        assert not agree(network, stale, images(2), 1e-4)
        assert agree(network, fused_graph(network), images(2), 1e-4)
    assert same(before, state(network))


def test_a_failure_at_a_moved_point_gives_the_weights_back():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = stack(conv(), nn.BatchNorm2d(4))
            self.first = self.inner[0].weight.detach().clone()

        def forward(self, x):
            if not torch.equal(self.inner[0].weight, self.first):
                raise RuntimeError("moved")
            return self.inner(x)

    network = Fails().eval()
    before = state(network)
    with torch.no_grad(), pytest.raises(RuntimeError, match="moved"):
        agree(network, network, images(2), 1e-4)
    assert same(before, state(network))


def test_random_numbers_of_the_caller_go_on_as_if_nothing_had_been_tried():
    network = stack(conv(), nn.Dropout()).eval()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    fuse(network, images(2))
    assert torch.equal(torch.rand(3), expected)


def test_it_can_be_called_where_nothing_is_differentiated():
    network = stack(conv(), nn.BatchNorm2d(4)).eval()
    with torch.inference_mode():
        quick, why = fuse(network, images(2) + 0)
    assert not why
    origin = weights_of(network)
    plane = Plane(origin, (filter_normalize(random_direction(origin, 0), origin),))
    with shift(network, plane, [0.5]), torch.no_grad():
        torch.testing.assert_close(quick(images()), network(images()))


def test_a_network_that_ends_in_a_convolution_is_fused():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    quick, why = fuse(network, images(2))
    assert not why and [type(module) for module in quick.modules()].count(Fused) == 1


def test_a_variance_near_0_is_kept_from_it_as_the_layer_does():
    """Where a channel hardly varies, ε is what counts."""
    norm = nn.BatchNorm2d(4).eval()
    with torch.no_grad():
        norm.running_var.copy_(torch.tensor([0.0, 1e-6, 1e-5, 1.0]))
    network, inputs = stack(conv(), norm).eval(), torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(Fused(network[0], norm)(inputs), norm(network[0](inputs)), rtol=1e-4, atol=1e-2)


class Standardized(nn.Module):
    """Of each image its own mean and deviation are taken; of an image of one colour that is 0/0."""

    def __init__(self, late):
        super().__init__()
        self.late, self.head = late, nn.Linear(4, 3)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.rest = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())

    def forward(self, x):
        if self.late:
            x = self.body(x)
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        if not self.late:
            x = self.body(x)
        return self.head(self.rest(x).mean((2, 3)))


@pytest.mark.parametrize("late", [False, True])
def test_what_is_not_finite_at_one_example_stays_so_wherever_it_is_in_the_batch(late):
    torch.manual_seed(0)
    network = Standardized(late).eval()
    with torch.no_grad():
        network.body[1].running_mean += 0.1  # so that an image of zeros is of one colour behind the layers too
    quick, why = fuse(network, torch.randn(4, 3, 12, 12))
    assert not why and any(isinstance(module, Fused) for module in quick.modules())
    x = torch.randn(16, 3, 12, 12)
    x[10] = 0.25
    with torch.no_grad():
        right, fast = network(x), quick(x)
    assert right[10].isnan().all() and right.isfinite().all(1).sum() == 15
    torch.testing.assert_close(fast, right, equal_nan=True)
