"""What can be permuted in a network is found, and only that: permuted at random, it computes the same in float64."""

import numpy as np
import pytest
import torch
from known_networks import IDS, LAYERS, language
from torch import nn
from torch.nn import functional as F

from landscape.alignment.aligned import departure
from landscape.alignment.families import members, symmetry
from landscape.alignment.matching import matched, nearest_by_weights, permuted
from landscape.networks import build

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
COLOURS = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 20, (4, 7), generator=torch.Generator().manual_seed(1))
RESNET = {"depth": 8, "width": 4, "channels": 1}
TRANSFORMER = {"depth": 2, "width": 16, "heads": 2, "vocabulary": 20, "context": 7}


class Branching(nn.Module):
    """A layer whose first channels go another way than the others."""

    def __init__(self, cut=4):
        super().__init__()
        self.first, self.last, self.cut = nn.Linear(64, 12), nn.Linear(12, 3), cut

    def forward(self, x):
        y = self.first(x.flatten(1))
        return self.last(torch.cat([F.relu(y[:, : self.cut]), torch.tanh(y[:, self.cut :])], 1))


class Tied(nn.Module):
    """Tokens are read out by what embeds them."""

    def __init__(self):
        super().__init__()
        self.embedding, self.hidden = nn.Embedding(20, 8), nn.Linear(8, 8)
        self.readout = nn.Linear(8, 20, bias=False)
        self.readout.weight = self.embedding.weight

    def forward(self, x):
        y = self.embedding(x)
        return self.readout(y + F.gelu(self.hidden(y)))


class Encoder(nn.Module):
    """Layers of torch."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, dropout=0)
        self.embedding = nn.Embedding(20, 16)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.last = nn.Linear(16, 3)

    def forward(self, x):
        return self.last(self.layers(self.embedding(x)).mean(1))


def grouped():
    """Groups of channels, depthwise convolutions with one and two outputs a channel, GroupNorm."""
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, groups=3), nn.ReLU()),
        *(nn.Conv2d(12, 8, 1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8)),
        *(nn.Conv2d(8, 16, 3, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)),
    )


def flattened():
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.PReLU(6), nn.MaxPool2d(4), nn.Flatten()),
        *(nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 5)),
    )


# What makes it, its inputs, and how many units can move at least: all that are not inputs or outputs.
NETWORKS = {
    "resnet": (lambda: build("resnet", **RESNET), IMAGES, 44),
    "resnet, wide stages of the narrow one's channels": (lambda: build("resnet", **RESNET, norm="none"), IMAGES, 44),
    "plain": (lambda: build("plain", **RESNET), IMAGES, 60),
    "bottlenecks": (lambda: build("resnet", block="bottleneck", **RESNET | {"depth": 11}), IMAGES, 120),
    **{
        f"resnet, {name}={value}": (lambda n=name, v=value: build("resnet", **RESNET, **{n: v}), IMAGES, 44)
        for name, values in {
            "order": ("pre", "bn-after-add", "relu-before-add", "relu-only-pre"),
            "shortcut": ("projection", "projection-everywhere", "zero-pad-average"),
            "join": ("scale", "channel-gate", "pooled-gate", "exclusive-gate", "shortcut-gate", "dropout"),
        }.items()
        for value in values
    },
    "densenet": (lambda: build("densenet", depth=10, growth=4, channels=1), IMAGES, 96),
    "vgg": (lambda: build("vgg", depth=9, width=4, channels=1), IMAGES, 172),
    "vit": (lambda: build("vit", depth=2, width=16, heads=2, channels=1, size=8), IMAGES, 240),
    "transformer": (lambda: build("transformer", **TRANSFORMER), TOKENS, 240),
    "transformer, post-norm": (lambda: build("transformer", norm="post", **TRANSFORMER), TOKENS, 240),
    "transformer, plain": (lambda: build("transformer", shortcut=None, **TRANSFORMER), TOKENS, 240),
    "GPT-2": (lambda: language("GPT2", attn_implementation="sdpa", **LAYERS), IDS, 2 * (48 + 24) + 16),
    "GPT-2, eager": (lambda: language("GPT2", attn_implementation="eager", **LAYERS), IDS, 2 * (48 + 24) + 16),
    "Llama": (lambda: language("Llama", **LAYERS), IDS, 16 + 2 * 24),
    "layers of torch": (Encoder, TOKENS, 2 * (48 + 24) + 16),
    "tied": (Tied, TOKENS, 8),
    "channels in a row": (flattened, COLOURS, 18),
    "groups": (grouped, COLOURS, 40),
    "branching": (Branching, IMAGES, 12),
}


def perturbed(network):
    """With statistics and scales that are not all the same."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise + 0.5 if "running_var" in name else tensor + 0.3 * (noise - 0.5))
    return network.eval()


def shuffled(can, seed=0):
    """A permutation of all that can be permuted, heads and groups with what is in them."""
    generator, moved = np.random.default_rng(seed), {}

    def assign(family, other):
        for i, j in enumerate(generator.permutation(len(family.units)).tolist()):
            moved[family.units[i]] = other.units[j]
            for inner in zip(family.inner[i], other.inner[j], strict=True):
                assign(*inner)

    for family in can.families:
        assign(family, family)
    return moved


def in_axes(can):
    """Units that are in parameters or buffers, apart from those that only contain others."""
    return {unit for along in can.axes.values() for unit in along.where} & {
        unit for family in can.families for each in members(family) for unit in each.units
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_permuted_at_random_computes_the_same_and_is_recovered(name):
    torch.manual_seed(0)
    make, inputs, least = NETWORKS[name]
    if name.startswith(("GPT", "Llama")):
        pytest.importorskip("transformers")
    network = perturbed(make())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    can = symmetry(network, inputs)
    assert len(in_axes(can)) >= least
    moved = shuffled(can)
    other = permuted(before, can, moved)
    assert any(not torch.equal(other[name], tensor) for name, tensor in before.items())
    off, rounding = departure(network, before, other, [inputs])
    assert (off < 1e-12 and rounding == 1e-8) or (name == "Llama" and off < 1e-6)  # in float64, which Llama is not
    weights = [{n: state[n].double().numpy() for n, _ in network.named_parameters()} for state in (before, other)]
    back = permuted(other, can, nearest_by_weights(can, *weights, seed=0))
    assert all(torch.equal(back[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_torchvisions_resnet_is_permuted_as_a_whole():
    """Four streams of 64 to 512 channels, of stem and projections, and those within eight blocks."""
    import torchvision

    torch.manual_seed(0)
    network = perturbed(torchvision.models.resnet18(num_classes=5))
    can = symmetry(network, COLOURS)
    assert sorted(len(family.units) for family in can.families) == sorted(3 * [64, 128, 256, 512])
    state = network.state_dict()
    off, _ = departure(network, state, permuted(state, can, shuffled(can)), [COLOURS])
    assert off < 1e-12


def test_what_is_not_known_stays_where_it_is():
    class Summing(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Linear(64, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.last(self.second(torch.cumsum(self.first(x.flatten(1)), 1)).relu())

    can = symmetry(Summing(), IMAGES)
    assert can.unknown == ["cumsum"]
    assert [len(family.units) for family in can.families] == [6]  # of the second layer
    assert not can.axes["first.weight", 0].where and len(can.axes["second.weight", 0].where) == 6


def test_channels_that_go_different_ways_are_not_interchangeable():
    assert sorted(len(family.units) for family in symmetry(Branching(5), IMAGES).families) == [5, 7]


def test_inputs_outputs_and_positions_have_an_order_of_their_own():
    can = symmetry(build("vit", depth=1, width=16, heads=2, channels=1, size=8), IMAGES)
    closed = {place for place, along in can.axes.items() if not along.where}
    assert {("stem.position.weight", 0), ("head.2.weight", 0), ("head.2.bias", 0)} <= closed
    assert not {("stem.position.weight", 1), ("head.2.weight", 1)} & closed


def test_a_stream_is_one_family_over_all_blocks_and_the_wider_one_holds_the_narrower():
    """A stage of width w has w channels of its own, all others are those of the stage before (zero-padding)."""
    can = symmetry(build("resnet", **RESNET | {"depth": 14}), IMAGES)
    second = can.axes["stages.1.1.branch.3.weight", 0].where
    third = can.axes["stages.2.1.branch.3.weight", 0].where
    assert second.keys() < third.keys() and len(second) == 8 and len(third) == 16
    families = [set(family.units) for family in can.families]
    first = set(can.axes["stem.0.weight", 0].where)
    assert [first, second.keys() - first, third.keys() - second.keys()] == [f for f in families if f <= third.keys()]


def test_heads_move_as_wholes_and_queries_with_their_keys():
    can = symmetry(build("transformer", **TRANSFORMER), TOKENS)
    heads = [family for family in can.families if any(family.inner)]
    assert [len(family.units) for family in heads] == [2, 2]
    pairs, values = sorted(heads[0].inner[0], key=lambda family: -len(list(members(family))))
    assert len(pairs.units) == len(values.units) == 8
    (query,), (key,) = ([each.units[0]] for each in pairs.inner[0])
    rows = can.axes["layers.0.attention.branch.1.qkv.weight", 0].where
    assert rows[key][0] - rows[query][0] == 16 and 32 <= rows[values.units[0]][0] < 48  # of 3·16 rows


def test_an_assignment_of_units_within_units_is_the_best_of_all():
    """Two heads of three dimensions: 2! · 3! · 3! orders, each by hand."""
    import itertools

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(64, 6), nn.Linear(6, 3)

        def forward(self, x):
            y = self.first(x.flatten(1)).unflatten(1, (2, 3))
            return self.last((y * y.mean(2, keepdim=True)).flatten(1))

    (family,) = symmetry(Heads(), IMAGES).families
    inner = [family.inner[head][0].units for head in (0, 1)]
    value = np.random.default_rng(3).standard_normal((6, 6))
    place = {unit: 3 * head + n for head in (0, 1) for n, unit in enumerate(inner[head])}

    def similarity(units, others):
        if units[0] not in place:
            return np.zeros((len(units), len(others)))
        return value[np.ix_([place[u] for u in units], [place[u] for u in others])]

    best, _ = matched(family, family, similarity)
    orders = [
        [3 * head[h] + p[h][d] for h in (0, 1) for d in range(3)]
        for head in itertools.permutations(range(2))
        for p in itertools.product(itertools.permutations(range(3)), repeat=2)
    ]
    assert len(orders) == 72
    assert best == pytest.approx(max(value[range(6), order].sum() for order in orders))
