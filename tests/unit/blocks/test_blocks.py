"""The blocks of networks that are not ours: a lesion is the forward that one would write by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

from ensemble.blocks.blocks import Foreign, blocks, check, ends, stages
from ensemble.lesions.context import arranged, lesion
from ensemble.lesions.plans import AVERAGE, LOOP, deletions, gates, intact, orders, pairs, repetitions, together
from landscape.errors import BadInput
from landscape.networks import build


def random_statistics(network):
    """A network whose every parameter and statistic matters, in evaluation."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
            if hasattr(module, "layer_scale"):
                module.layer_scale.normal_(generator=generator)
            if isinstance(module, nn.LayerNorm):
                module.weight.normal_(generator=generator)
                module.bias.normal_(generator=generator)
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.3, generator=generator)
    return network.eval()


def images(size=32, n=3):
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


# By hand: every network's forward, in which `f(name, branch)` says what becomes of a branch's output


def by_hand_resnet(network, x, f):
    x = network.maxpool(network.relu(network.bn1(network.conv1(x))))
    for stage in (1, 2, 3, 4):
        for i, b in enumerate(getattr(network, f"layer{stage}")):
            out = b.relu(b.bn1(b.conv1(x)))
            out = b.bn2(b.conv2(out))
            if hasattr(b, "conv3"):
                out = b.bn3(b.conv3(b.relu(out)))
            shortcut = x if b.downsample is None else b.downsample(x)
            x = F.relu(f(f"layer{stage}.{i}", out) + shortcut)
    return network.fc(network.avgpool(x).flatten(1))


def by_hand_vit(network, x, f):
    x = network._process_input(x)
    x = torch.cat([network.class_token.expand(len(x), -1, -1), x], dim=1) + network.encoder.pos_embedding
    for name, b in network.encoder.layers.named_children():
        y = b.ln_1(x)
        x = f(f"encoder.layers.{name}.attention", b.self_attention(y, y, y, need_weights=False)[0]) + x
        x = x + f(f"encoder.layers.{name}.mlp", b.mlp(b.ln_2(x)))
    return network.heads(network.encoder.ln(x)[:, 0])


def by_hand_swin(network, x, f):
    for stage, part in enumerate(network.features):
        if isinstance(part, nn.Sequential) and hasattr(part[0], "attn"):
            for i, b in enumerate(part):
                name = f"features.{stage}.{i}"
                if isinstance(b, SwinTransformerBlockV2):
                    x = x + f(f"{name}.attention", b.norm1(b.attn(x)))
                    x = x + f(f"{name}.mlp", b.norm2(b.mlp(x)))
                else:
                    x = x + f(f"{name}.attention", b.attn(b.norm1(x)))
                    x = x + f(f"{name}.mlp", b.mlp(b.norm2(x)))
        else:
            x = part(x)
    return network.head(network.flatten(network.avgpool(network.permute(network.norm(x)))))


def by_hand_convnext(network, x, f):
    for stage, part in enumerate(network.features):
        if hasattr(part[0], "layer_scale"):
            for i, b in enumerate(part):
                x = x + f(f"features.{stage}.{i}", b.layer_scale * b.block(x))
        else:
            x = part(x)
    return network.classifier(network.avgpool(x))


def by_hand_encoder(network, x, f):
    x = x.flatten(2).transpose(1, 2)[:, :, :2].repeat(1, 1, 4)
    for i, b in enumerate(network.layers):
        norm = b.norm_first
        y = b.norm1(x) if norm else x
        x = x + f(f"layers.{i}.attention", b.self_attn(y, y, y, need_weights=False)[0])
        x = x if norm else b.norm1(x)
        x = x + f(f"layers.{i}.mlp", b.linear2(F.relu(b.linear1(b.norm2(x) if norm else x))))
        x = x if norm else b.norm2(x)
    return x.mean(1)


class Encoder(nn.Module):
    """Layers of torch itself, which have a shortcut of their own in evaluation that runs no submodule."""

    def __init__(self, norm_first):
        super().__init__()
        make = {"dim_feedforward": 16, "dropout": 0.1, "batch_first": True, "norm_first": norm_first}
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, **make) for _ in range(3))

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)[:, :, :2].repeat(1, 1, 4)
        for layer in self.layers:
            x = layer(x)
        return x.mean(1)


def vit():
    return VisionTransformer(image_size=16, patch_size=8, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=12)


def swin(block=None):
    few = {"patch_size": [4, 4], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": [2, 2]}
    if block is None:
        return SwinTransformer(**few)
    return SwinTransformer(**few, block=block, downsample_layer=PatchMergingV2)


def bottlenecks():
    return ResNet(Bottleneck, [2, 1, 1, 2], num_classes=10)


NETWORKS = {
    "resnet18": (resnet18, by_hand_resnet, 32, 8),
    "bottlenecks": (bottlenecks, by_hand_resnet, 32, 6),
    "vit": (vit, by_hand_vit, 16, 6),
    "swin": (swin, by_hand_swin, 32, 8),
    "swin 2": (lambda: swin(SwinTransformerBlockV2), by_hand_swin, 32, 8),
    "convnext": (
        lambda: ConvNeXt([CNBlockConfig(4, 8, 2), CNBlockConfig(8, None, 3)], num_classes=5),
        by_hand_convnext,
        32,
        5,
    ),
    "torch, pre-norm": (lambda: Encoder(True), by_hand_encoder, 4, 6),
    "torch, post-norm": (lambda: Encoder(False), by_hand_encoder, 4, 6),
}


@pytest.fixture(params=NETWORKS)
def case(request):
    """A network, its blocks, a forward by hand, and images."""
    make, by_hand, size, number = NETWORKS[request.param]
    torch.manual_seed(0)
    network = random_statistics(make())
    by_name = blocks(network)
    assert len(by_name) == number
    assert all(isinstance(block, Foreign) for block in by_name.values())
    return network, by_name, by_hand, images(size)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(b.abs().max()))


def test_a_deleted_branch_is_0_in_the_forward_by_hand(case):
    network, by_name, by_hand, x = case
    names = list(by_name)
    with torch.no_grad():
        whole = network(x)
        close(by_hand(network, x, lambda name, out: out), whole)
        for chosen in [names[:1], names[2:3], names[-1:], names[1:4], names]:
            with lesion(network, chosen):
                lesioned = network(x)
            close(lesioned, by_hand(network, x, lambda name, out, chosen=chosen: (name not in chosen) * out))
            assert not torch.allclose(lesioned, whole, rtol=1e-3)
        assert torch.equal(network(x), whole)


def test_a_gate_multiplies_the_branch_and_its_ends_are_the_lesion_and_the_network(case):
    network, by_name, by_hand, x = case
    names, number = list(by_name), len(by_name)
    both = [1, number - 1]
    outputs = {}
    for levels in [(0, 0), (0, 1), (1, 0), (1, 1), (0.3, 2.5)]:
        (trial,) = gates(number, both, np.array([levels]))
        with torch.no_grad(), arranged(network, by_name, trial):
            outputs[levels] = network(x)
        gate = {names[block]: level for block, level in zip(both, levels, strict=True)}
        with torch.no_grad():
            close(outputs[levels], by_hand(network, x, lambda name, out, gate=gate: gate.get(name, 1.0) * out))
    with torch.no_grad():
        assert torch.equal(outputs[1, 1], network(x))
        for levels, deleted in [((0, 1), both[:1]), ((1, 0), both[1:]), ((0, 0), both)]:
            with lesion(network, [names[block] for block in deleted]):
                assert torch.equal(outputs[levels], network(x))


@pytest.mark.parametrize("failing", [False, True])
def test_the_network_comes_back_unchanged(case, failing):
    network, by_name = case[:2]
    network.train()
    modules = list(network.named_modules())
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trial = intact(len(by_name))
    trial["runs"][0], trial["gate"][1], trial["branch"][2] = 0, 0.5, 2
    try:
        with arranged(network, by_name, trial):
            assert any(module._forward_hooks for module in network.modules())
            if failing:
                raise RuntimeError
    except RuntimeError:
        assert failing
    assert modules == list(network.named_modules())
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


# Layers of transformers, and blocks that stand in for each other


def test_a_transformers_layer_is_two_blocks_or_one():
    torch.manual_seed(0)
    network, x = random_statistics(vit()), images(16)
    assert list(blocks(network))[:2] == [
        "encoder.layers.encoder_layer_0.attention",
        "encoder.layers.encoder_layer_0.mlp",
    ]
    layers = blocks(network, layers=True)
    assert list(layers) == [f"encoder.layers.encoder_layer_{i}" for i in range(3)]
    chosen = np.array([[False, True, False]])
    without = list(network.encoder.layers.children())
    with torch.no_grad(), arranged(network, layers, deletions(chosen)[0]):
        lesioned = network(x)
    network.encoder.layers = nn.Sequential(without[0], without[2])
    with torch.no_grad():
        close(lesioned, network(x))


def test_layers_trade_places_run_twice_and_side_by_side():
    torch.manual_seed(0)
    network, x = random_statistics(vit()), images(16)
    by_name = blocks(network, layers=True)
    assert stages(network, by_name) == [[0, 1, 2]]
    check(network, by_name, x, by_name, how="parallel")
    a, b, c = network.encoder.layers
    rows = {
        "order": (orders(np.array([[2, 0, 1]]))[0], lambda h: b(a(c(h)))),
        "twice": (repetitions(np.array([[False, True, False]]))[0], lambda h: c(b(b(a(h))))),
        "pair": (pairs(np.array([[True, False, False]]))[0], lambda h: c(a(h) + b(h) - h)),
        "loop": (run_together([1, 1, 0], 2, LOOP), lambda h: c(b(a(b(a(h)))))),
        "loop to the end": (run_together([0, 1, 1], 3, LOOP), lambda h: c(b(c(b(c(b(a(h)))))))),
        "average": (run_together([1, 1, 0], 1, AVERAGE), lambda h: c((a(h) + b(h)) / 2)),
        "average twice": (run_together([1, 1, 1], 2, AVERAGE), lambda h: mean(mean(h))),
    }

    def mean(h):
        return (a(h) + b(h) + c(h)) / 3

    modules = list(network.named_modules())
    for trial, by_hand in rows.values():
        with torch.no_grad():
            with arranged(network, by_name, trial):
                lesioned = network(x)
            assert modules == list(network.named_modules())
            assert not any(module._forward_hooks for module in network.modules())
            layers, network.encoder.layers = network.encoder.layers, Function(by_hand)
            close(lesioned, network(x))
            network.encoder.layers = layers


def run_together(chosen, times, how):
    return together(np.array([chosen], bool), np.array([times]), how)[0]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_residual_blocks_side_by_side_add_their_branches_under_one_relu():
    torch.manual_seed(0)
    network, x = random_statistics(ResNet(Bottleneck, [3, 1, 1, 1], num_classes=10)), images()
    by_name = blocks(network)
    assert stages(network, by_name) == [[1, 2]]  # the first of a stage stays
    check(network, by_name, x, ["layer1.1", "layer1.2"], how="parallel")
    with torch.no_grad(), arranged(network, by_name, pairs(np.array([[False, True] + [False] * 4]))[0]):
        lesioned = network(x)
    first, second = network.layer1[1], network.layer1[2]

    def branch(b, x):
        return b.bn3(b.conv3(F.relu(b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x))))))))

    network.layer1 = nn.Sequential(
        network.layer1[0], Function(lambda h: F.relu(h + branch(first, h) + branch(second, h)))
    )
    with torch.no_grad():
        close(lesioned, network(x))


def test_what_cannot_be_moved_is_refused_in_one_line():
    network = random_statistics(vit())
    with pytest.raises(BadInput, match="transformer may: layers"):
        stages(network, blocks(network))
    encoder = random_statistics(Encoder(norm_first=False))
    by_name = blocks(encoder, layers=True)
    with pytest.raises(BadInput, match="more than add its branches"):
        check(encoder, by_name, images(4), by_name, how="parallel")
    check(encoder, by_name, images(4), by_name)
    plain = build("plain", depth=8, width=4)
    with pytest.raises(BadInput, match="without a shortcut"):
        ends(blocks(plain)["stages.0.0"])


# A network that its user describes


class GPT(nn.Module):
    """A language model in a few lines, its layers pre-norm; images count as rows of tokens."""

    def __init__(self, layers=3, width=8):
        super().__init__()
        self.h = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm": nn.LayerNorm(width),
                    "attention": nn.MultiheadAttention(width, 2, batch_first=True),
                    "mlp": nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width)),
                }
            )
            for _ in range(layers)
        )
        self.embed = nn.Embedding(11, width)
        self.head = nn.Linear(width, 10)

    def forward(self, x, f=lambda name, out: out):
        x = self.embed((10 * x.flatten(1).sigmoid()).long())
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        for i, b in enumerate(self.h):
            y = b["norm"](x)
            x = x + f(f"{i}.attention", b["attention"](y, y, y, attn_mask=mask, need_weights=False)[0])
            x = x + f(f"{i}.mlp", b["mlp"](x))
        return self.head(x[:, -1])


def of_gpt(network):
    return {f"{i}.{part}": f"h.{i}.{part}" for i in range(len(network.h)) for part in ("attention", "mlp")}


def test_a_network_is_described_in_a_few_lines():
    torch.manual_seed(0)
    network, x = GPT().eval(), images(3)
    with pytest.raises(BadInput, match="end: blocks"):
        blocks(network)
    by_name = blocks(network, of_gpt)
    assert list(by_name)[:3] == ["0.attention", "0.mlp", "1.attention"]
    check(network, by_name, x)
    trial = intact(6)
    trial["runs"][2], trial["gate"][3] = 0, 0.5
    with torch.no_grad(), arranged(network, by_name, trial):
        lesioned = network(x)
    with torch.no_grad():
        gate = {"1.attention": 0.0, "1.mlp": 0.5}
        assert torch.equal(lesioned, network(x, lambda name, out: gate.get(name, 1.0) * out))
        assert not torch.allclose(lesioned, network(x))
    together = blocks(network, lambda network: {"last": ["h.2.attention", "h.2.mlp"]})
    with torch.no_grad(), arranged(network, together, deletions(np.array([[True]]))[0]):
        lesioned = network(x)
    with torch.no_grad():
        assert torch.equal(lesioned, network(x, lambda name, out: (not name.startswith("2.")) * out))


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ({}, "must be a dict"),
        (["h.0"], "is a list; it must be a dict"),
        ({"a": "h.7"}, "no submodule h.7 that block a"),
        ({"a": []}, "no submodule for that block a"),
    ],
)
def test_a_wrong_description_is_refused(description, said):
    with pytest.raises(BadInput, match=said):
        blocks(GPT(), lambda network: description)


def test_a_description_of_what_does_not_run_once_is_refused():
    network, x = GPT().eval(), images(3)
    network.unused = nn.Linear(8, 8)
    for end, said in [("unused", "ran 0 times"), ("h.0.attention.out_proj", "ran 0 times")]:
        with pytest.raises(BadInput, match=said):
            check(network, blocks(network, lambda network, end=end: {"a": end}), x)
    network.h[1]["mlp"] = network.h[0]["mlp"]  # shared
    with pytest.raises(BadInput, match="ran 2 times in a pass, expected once"):
        check(network, blocks(network, lambda network: {"a": "h.0.mlp"}), x)
    turned = Turned()
    with pytest.raises(BadInput, match="a row for each example"):
        check(turned, blocks(turned, lambda network: {"a": "turn"}), x, how="replace")


class Turned(nn.Module):
    """Its branch ends with the examples in columns."""

    def __init__(self):
        super().__init__()
        self.turn = Function(lambda x: x.flatten(1).T)

    def forward(self, x):
        return x.flatten(1) + self.turn(x).T


def test_a_block_that_serves_in_two_places_is_refused():
    network = build("resnet", depth=20, width=2)
    network.stages[0][2] = network.stages[0][1]
    with pytest.raises(BadInput, match=r"stages\.0\.1 and stages\.0\.2 are one block"):
        blocks(network)


def test_blocks_run_as_often_as_they_are_told_however_often():
    plan = together(np.array([[True, True, False], [False, True, True]]), np.array([127, 258]), LOOP)
    assert plan["runs"].max(axis=1).tolist() == [127, 258]
