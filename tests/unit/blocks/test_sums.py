"""Blocks of networks that nobody has described, found by the sums of a pass."""

import numpy as np
import pytest
import skipscape as ss
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from ensemble.blocks.architectures import known
from ensemble.blocks.blocks import blocks, layers_of
from ensemble.blocks.sums import branches
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator


class Block(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def branch(self, x):
        return self.b(torch.relu(self.a(x)))

    def forward(self, x):
        return x + self.branch(x)


class Projected(nn.Module):
    """y = ReLU(P x + F(x)), in place."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.short = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Sequential(nn.Linear(6, 6))

    def forward(self, x):
        y = self.b(torch.relu(self.a(x)))
        y += self.short(x)
        return torch.relu(y)


class Layer(nn.Module):
    """A transformer's, its branches one after the other or side by side."""

    def __init__(self, together=False):
        super().__init__()
        self.norm, self.attention, self.up, self.down = nn.LayerNorm(6), Attention(), nn.Linear(6, 12), nn.Linear(12, 6)
        self.dropout, self.together = nn.Dropout(0.5), together  # one dropout for both branches

    def forward(self, x):
        if self.together:
            return self.attention(self.norm(x))[0] + self.down(F.gelu(self.up(self.norm(x)))) + x
        x = x + self.dropout(self.attention(self.norm(x))[0])
        x += self.dropout(self.down(F.gelu(self.up(self.norm(x)))))
        return x


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 6)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v)), None


class Adapted(nn.Module):
    """A linear layer with a low-rank one beside it, which is no shortcut."""

    def __init__(self, base):
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(6, 2), nn.Linear(2, base.out_features)

    def forward(self, x):
        return self.base(x) + 2 * self.up(self.down(x))


class Outside(nn.Module):
    """The network itself takes the sums."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(4, 6), nn.Linear(6, 3)
        self.f = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(3))

    def forward(self, x, order=(0, 1, 2), seen=None):
        x = self.stem(x)
        for n in order:
            y = x + 0.5 * self.f[n](x)
            if seen is not None:
                seen.append((x, y))
            x = y
        return self.head(x)


class Again(nn.Module):
    """One block, three times: none can be left out alone."""

    def __init__(self):
        super().__init__()
        self.block = Block()

    def forward(self, x):
        return self.block(self.block(self.block(x)))


class Long(nn.Module):
    """A shortcut around blocks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(), Block(), nn.Linear(6, 6))

    def forward(self, x):
        return x + self.body(x)


class Tokens(nn.Module):
    """Two embeddings of the same tokens are no branch and its shortcut."""

    def __init__(self):
        super().__init__()
        self.token, self.place, self.layer = nn.Embedding(9, 6), nn.Embedding(20, 6), Layer()

    def forward(self, ids):
        return self.layer(self.token(ids) + self.place((ids >= 0).long().cumsum(1)))


def adapted():
    layer = Layer()
    layer.down, layer.attention.qkv = nn.Linear(12, 6), Adapted(layer.attention.qkv)
    return nn.Sequential(layer)


def ends(network, inputs):
    names = {module: name for name, module in network.named_modules()}
    return {
        f"{layer}.{part}".rstrip("."): names[end]
        for layer, parts in branches(network, inputs).items()
        for part, end in parts.items()
    }


ROWS, SEQUENCES = torch.randn(3, 6), torch.randn(2, 5, 6)


@pytest.mark.parametrize(
    ("network", "inputs", "expected"),
    [
        (nn.Sequential(Block(), Block()), ROWS, {"0": "0.b", "1": "1.b"}),
        (nn.Sequential(Projected(), Block()), ROWS, {"0": "0.b", "1": "1.b"}),
        (nn.Sequential(Layer()), SEQUENCES, {"0.attention": "0.attention", "0.down": "0.down"}),
        (nn.Sequential(Layer(together=True)), SEQUENCES, {"0.attention": "0.attention", "0.down": "0.down"}),
        (adapted(), SEQUENCES, {"0.attention": "0.attention", "0.down": "0.down"}),
        (Outside(), torch.randn(3, 4), {"f.0": "f.0", "f.1": "f.1", "f.2": "f.2"}),
        (Long(), ROWS, {"body.0": "body.0.b", "body.1": "body.1.b"}),
        (Tokens(), torch.randint(9, (2, 5)), {"layer.attention": "layer.attention", "layer.down": "layer.down"}),
        (Again(), ROWS, {}),
        (nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)), ROWS, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_branches_are_found_by_their_sums(network, inputs, expected):
    assert ends(network.eval(), inputs) == expected


@pytest.mark.parametrize(
    "network",
    [
        models.resnet18(),
        models.resnet.ResNet(models.resnet.Bottleneck, [1, 2, 1, 1]),
        models.mobilenet_v2(),
        models.swin_transformer.SwinTransformer([2, 2], 8, [1, 2], [1, 1], [2, 2]),
        models.densenet.DenseNet(4, (2, 2), 8),
    ],
    ids=lambda network: type(network).__name__,
)
def test_in_networks_whose_classes_are_known_the_same_is_found(network):
    network.eval()
    table = {} if "DenseNet" in type(network).__name__ else known(network)  # which concatenates
    by_sums = branches(network, torch.randn(2, 3, 32, 32))
    assert {layer: [*parts.values()] for layer, parts in by_sums.items()} == {
        layer: [*parts.values()] for layer, parts in table.items()
    }


def test_whole_layers_are_blocks_too():
    network = nn.Sequential(Layer(), Layer())
    assert {name: len(block.branches) for name, block in blocks(network, layers=True, inputs=SEQUENCES).items()} == {
        "0": 2,
        "1": 2,
    }
    with pytest.raises(BadInput, match="its class is not known"):
        blocks(network)


def outside():
    torch.manual_seed(0)
    network, x, y = Outside().double(), torch.randn(12, 4).double(), torch.arange(12) % 3
    return network, x, y, Evaluator(network, [(x, y)])


def test_deletions_of_blocks_found_are_those_by_hand():
    network, x, y, evaluate = outside()
    study = ss.lesions(evaluate, delete=1, quiet=True)
    byhand = [F.cross_entropy(network(x, [m for m in range(3) if m != n]), y) for n in (None, 0, 1, 2)]
    torch.testing.assert_close(torch.tensor(study["loss"]), torch.stack(byhand).detach(), rtol=1e-5, atol=0)


def test_a_block_whose_sum_is_outside_of_it_trades_places_but_does_not_run_again():
    network, x, y, evaluate = outside()
    study = ss.lesions(evaluate, reverse=3, quiet=True)
    assert study["loss"][-1] == pytest.approx(F.cross_entropy(network(x, [2, 1, 0]), y).item(), rel=1e-5)
    for kind in ({"repeat": 1}, {"loop": 2}, {"average": 2}, {"parallel": True}):
        with pytest.raises(BadInput, match=r"the sum that ends block f\.0 is taken outside of f\.0"):
            ss.lesions(evaluate, quiet=True, **kind)


def test_a_block_that_never_runs_as_a_module_does_not_move():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.ModuleDict({"f": nn.Linear(6, 6)}) for _ in range(2))

        def forward(self, x):
            for layer in self.layers:
                x = x + layer["f"](x)
            return x

    evaluate = Evaluator(Parts(), [(ROWS, torch.arange(3))])
    with pytest.raises(BadInput, match=r"layers\.0 itself never runs"):
        ss.lesions(evaluate, reverse=2, quiet=True, blocks=lambda _: {f"layers.{n}": f"layers.{n}.f" for n in (0, 1)})


def test_what_a_block_changes_is_seen_where_the_network_takes_its_sum():
    network, x, _, evaluate = outside()
    assert layers_of(network, blocks(network, inputs=x)) == {}
    seen: list = []
    with torch.no_grad():
        network(x, seen=seen)
    byhand = [float(1 - F.cosine_similarity(before, after).mean()) for before, after in seen]
    relative = [float(((after - before).norm(dim=1) / before.norm(dim=1)).mean()) for before, after in seen]
    measured = ss.redundancy(evaluate, quiet=True)
    assert measured["influence"] == pytest.approx(byhand, rel=1e-4)
    assert measured["relative"] == pytest.approx(relative, rel=1e-4)


@pytest.mark.parametrize("network", [Outside(), nn.Sequential(nn.Linear(4, 6), Block(), Projected(), Block())])
def test_gradients_go_by_paths_through_blocks_found(network):
    torch.manual_seed(0)
    evaluate = Evaluator(network, [(torch.randn(12, 4), torch.arange(12) % 3)])
    spectrum = ss.path_spectrum(evaluate, quiet=True)
    assert spectrum["share"].shape[-1] == 4  # of 0 to 3 blocks
    effects = ss.stream(evaluate, batches=1, batch_size=12, quiet=True)["effect"]
    later = np.isfinite(effects).reshape(-1, 3, 3)  # of each block on each later one, in every quantile
    np.testing.assert_array_equal(later, np.broadcast_to(np.triu(np.ones((3, 3), bool), 1), later.shape))
    assert ss.gradient_flow(evaluate, batches=1, batch_size=12, quiet=True)["gradient"].shape[-1] == 4


class Halves(nn.Module):
    """Branches of which a module is only the last part."""

    def __init__(self, norms):
        super().__init__()
        self.first = nn.ModuleList(nn.LayerNorm(6) if norms else nn.Linear(6, 6) for _ in range(3))
        self.last = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        for first, last in zip(self.first, self.last, strict=True):
            x = x + last(torch.tanh(first(x)))
        return x


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("kind", [{"reverse": 2}, {"swap": 1, "trials": 2}, {"permute": True, "trials": 2}])
def test_what_is_only_a_part_of_its_branch_does_not_move(norms, kind):
    evaluate = Evaluator(Halves(norms), [(ROWS, torch.arange(3))])
    with pytest.raises(BadInput, match="which is only a part of its branch"):
        ss.lesions(evaluate, quiet=True, **kind)


def test_of_several_ends_none_moves_alone():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.c = (nn.ModuleList(nn.Linear(6, 6) for _ in range(2)) for _ in range(2))

        def forward(self, x):
            for b, c in zip(self.b, self.c, strict=True):
                x = x + b(x) + c(x)
            return x

    evaluate = Evaluator(Two(), [(ROWS, torch.arange(3))])
    with pytest.raises(BadInput, match="taken outside of b"):
        ss.lesions(evaluate, reverse=2, quiet=True, blocks=lambda _: {f"b.{n}": [f"b.{n}", f"c.{n}"] for n in (0, 1)})


class Mixed(nn.Module):
    """Two branches end in a linear layer, two in a function of it."""

    def __init__(self):
        super().__init__()
        self.f = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x):
        for n, f in enumerate(self.f):
            x = x + (torch.tanh(f(x)) if n % 2 else f(torch.tanh(x)))
        return x


class Excited(Block):
    """y = ReLU(x + s F(x)), with s of F, if it is excited."""

    def __init__(self, excited):
        super().__init__()
        self.gate = nn.Linear(6, 6) if excited else None

    def forward(self, x):
        y = self.branch(x)
        return torch.relu(x + (y if self.gate is None else y * torch.sigmoid(self.gate(y))))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Mixed(), "the Mixed adds what tanh gives"),
        (nn.Sequential(Excited(False), Excited(True), Excited(False)), "1 adds what mul gives"),
    ],
    ids=["Mixed", "Excited"],
)
def test_where_some_branches_have_no_end_none_is_passed_over(network, said):
    with pytest.raises(BadInput, match=said):
        branches(network, ROWS)


def test_a_block_that_is_found_can_be_left_out_by_name():
    network, x, _, _ = outside()
    with torch.no_grad():
        right = network(x, order=(0, 2))
        with ss.lesion(network, ["f.1"], inputs=x[:2]) as without:
            torch.testing.assert_close(without(x), right)
    with pytest.raises(BadInput, match="give a few inputs"), ss.lesion(network, ["f.1"]):
        pass
