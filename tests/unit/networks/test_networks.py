import copy
import io
import math
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.networks import NETWORKS, Block, build, summary
from landscape.networks.joins import JOINS, ChannelGate, Gate, PooledGate, Scale
from landscape.networks.network import draw
from landscape.networks.residual import ORDERS
from landscape.networks.shortcuts import SHORTCUTS, ZeroPad

SMALL = {"depth": 8, "width": 4}
SHAPES = [(1, 8, 8), (3, 9, 9)]
MIXED = [
    ("resnet", SMALL),
    ("resnet", {"depth": 11, "width": 4, "block": "bottleneck", "order": "pre"}),
    ("plain", SMALL),
    ("plain", {**SMALL, "order": "pre", "norm": "none"}),
    ("densenet", {"depth": 7, "growth": 4}),
    ("densenet", {"depth": 10, "growth": 4, "bottleneck": True, "compression": 0.5}),
    ("vgg", {"width": 4}),
    ("vgg", {"width": 4, "depth": 15, "constant": True}),
    ("vgg", {"width": 4, "norm": "none"}),
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def blocks_of(network):
    return [module for module in network.modules() if isinstance(module, Block)]


def parameters(name, **arguments):
    with torch.device("meta"):
        return sum(p.numel() for p in build(name, **arguments).parameters())


def trained_a_little(network, shape=(3, 8, 8)):
    """Random BatchNorm weights and statistics, so that nothing is the identity by accident."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def backward(network, x):
    loss = F.cross_entropy(network(x), torch.arange(len(x)) % 10)
    loss.backward()
    return {name: p.grad for name, p in network.named_parameters()}


# Counts


@pytest.mark.parametrize(
    "depth, count",
    [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962), (1202, 19_421_274)],
)
@pytest.mark.slow
def test_resnets_with_zero_padding_have_the_published_sizes(depth, count):
    assert parameters("resnet", depth=depth) == count
    if depth < 1000:
        assert parameters("plain", depth=depth) == count  # a shortcut without weights costs nothing


def test_densenets_have_the_published_sizes():
    assert round(parameters("densenet") / 1e6, 1) == 1.0
    assert round(parameters("densenet", depth=100) / 1e6, 1) == 7.0
    assert round(parameters("densenet", depth=100, bottleneck=True, compression=0.5) / 1e6, 1) == 0.8


def test_a_bottleneck_164_is_as_large_as_a_basic_110():
    bottleneck = parameters("resnet", depth=164, block="bottleneck", order="pre", shortcut="projection")
    assert round(bottleneck / 1e6, 1) == round(parameters("resnet", depth=110) / 1e6, 1) == 1.7


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_has_the_same_layers(order):
    # A BatchNorm and a ReLU a convolution; only their places differ.
    network = build("resnet", depth=20, order=order)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 19 and sum(isinstance(m, nn.ReLU) for m in network.modules()) == 19


# Every combination


@pytest.mark.parametrize("place, order, join", [(n, *two) for n, two in enumerate(product(ORDERS, JOINS))])
@pytest.mark.slow
def test_every_residual_network_gives_logits_and_finite_gradients(place, order, join):
    """Every order, join and shortcut; norms and shapes in turn, so that each meets all of every kind."""
    ways = [*product(["batch", "none"], SHAPES)]
    for n, shortcut in enumerate(SHORTCUTS[1:], place):
        norm, (channels, *size) = ways[n % len(ways)]
        network = build("resnet", **SMALL, channels=channels, order=order, join=join, shortcut=shortcut, norm=norm)
        x = torch.randn(4, channels, *size)
        assert network(x).shape == (4, 10)
        assert all(g is not None and g.isfinite().all() for g in backward(network, x).values())


@pytest.mark.parametrize("name, arguments", MIXED)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_gives_logits_and_finite_gradients(name, arguments, shape):
    network = build(name, **arguments, channels=shape[0], classes=7)
    x = torch.randn(4, *shape)
    assert network(x).shape == (4, 7)
    assert all(g is not None and g.isfinite().all() for g in backward(network, x).values())


@pytest.mark.parametrize("name, arguments", MIXED)
def test_networks_copy_and_save(name, arguments):
    network = build(name, **arguments).eval()
    x = torch.randn(2, 3, 8, 8)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = build(name, **arguments).eval()
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(network(x), other(x))
    assert torch.equal(network(x), copy.deepcopy(network)(x))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights(name):
    def first():
        torch.manual_seed(3)
        return torch.cat([p.flatten() for p in build(name).parameters()])

    assert torch.equal(first(), first())


# Someone else's arithmetic


def test_resnet_20_is_he_et_al():
    network = trained_a_little(build("resnet", depth=20)).double()
    w = network.state_dict()

    def conv_norm(x, conv, norm, stride):
        x = F.conv2d(x, w[f"{conv}.weight"], stride=stride, padding=1)
        mean, var = (w[f"{norm}.running_{k}"][:, None, None] for k in ("mean", "var"))
        weight, bias = (w[f"{norm}.{k}"][:, None, None] for k in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x = conv_norm(x, "stem.0", "stem.1", 1).relu()
    for stage in range(3):
        for place in range(3):
            name, stride = f"stages.{stage}.{place}.branch", 2 if stage and not place else 1
            f = conv_norm(x, f"{name}.0", f"{name}.1", stride).relu()
            f = conv_norm(f, f"{name}.3", f"{name}.4", 1)
            if stride == 2:
                x = x[:, :, ::2, ::2]
                x = torch.cat([x, torch.zeros_like(x)], dim=1)
            x = (x + f).relu()
    assert x.shape == (2, 64, 8, 8)
    logits = x.mean((2, 3)) @ w["head.2.weight"].T + w["head.2.bias"]
    torch.testing.assert_close(network(images), logits, rtol=1e-6, atol=1e-6)


def test_a_full_preactivation_block_is_identity_plus_branch():
    network = trained_a_little(build("resnet", **SMALL, order="pre"))
    block = network.stages[0][0]
    norm1, _, conv1, norm2, _, conv2 = block.branch
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(block(x), x + conv2(norm2(conv1(norm1(x).relu())).relu()))
    assert len(network.stem) == 1 and isinstance(network.head[0], nn.BatchNorm2d)


def test_a_dense_layer_sees_every_layer_before_it():
    network = trained_a_little(build("densenet", depth=10, growth=4))
    x = features = torch.randn(2, 16, 8, 8)
    for layer in network.stages[0][:2]:
        norm, _, conv = layer.branch
        features = torch.cat([features, conv(norm(features).relu())], dim=1)
    assert torch.equal(network.stages[0][:2](x), features)


# Leaving blocks out


@pytest.mark.parametrize("shortcut, join", list(product(SHORTCUTS[1:], JOINS)))
def test_skipping_a_block_is_zeroing_its_last_batchnorm(shortcut, join):
    network = trained_a_little(build("resnet", **SMALL, shortcut=shortcut, join=join, gate_bias=-1.0))
    x = network.stem(torch.randn(2, 3, 9, 9))
    for block in blocks_of(network):
        assert block.removable and isinstance(block.branch[-1], nn.BatchNorm2d)
        skipped, kept = block.skip(x), block(x)
        assert not torch.equal(skipped, kept)
        nn.init.zeros_(block.branch[-1].weight)
        nn.init.zeros_(block.branch[-1].bias)
        assert torch.equal(block(x), skipped)
        x = kept


@pytest.mark.parametrize("order", ORDERS)
def test_skipping_a_block_is_a_branch_of_zeros(order):
    network = trained_a_little(build("resnet", **SMALL, order=order))
    x = network.stem(torch.randn(2, 3, 9, 9))
    for block in blocks_of(network):
        zeroed = copy.deepcopy(block)
        zeroed.branch.append(Scale(0.0, 0.0))
        assert torch.equal(block.skip(x), zeroed(x))
        x = block(x)


def test_skipping_does_not_run_the_branch():
    block = build("resnet", **SMALL).stages[1][0]
    block.branch = nn.Identity()
    block.branch.register_forward_hook(lambda *_: pytest.fail("the branch ran"))
    block.skip(torch.randn(2, 4, 8, 8))


def test_skipping_a_dense_layer_puts_zeros_in_the_place_of_its_channels():
    network = trained_a_little(build("densenet", depth=7, growth=4))
    layer, x = network.stages[0][0], torch.randn(2, 16, 8, 8)
    skipped = layer.skip(x)
    assert torch.equal(skipped[:, :16], x) and not skipped[:, 16:].any()
    assert skipped.shape == layer(x).shape


def test_a_plain_block_goes_only_where_shapes_stay():
    network = build("plain", depth=14, width=4)
    assert [block.removable for block in blocks_of(network)] == [True, True, False, True, False, True]
    x = torch.randn(2, 4, 8, 8)
    assert network.stages[0][0].skip(x) is x
    with pytest.raises(BadInput, match="removable"):
        network.stages[1][0].skip(x)


def test_any_layer_but_the_first_of_a_constant_vgg_can_go():
    network = build("vgg", depth=15, constant=True, width=4).eval()
    layers = blocks_of(network)
    assert len(layers) == 14
    assert [layer.removable for layer in layers] == [False] + [True] * 13


def test_a_block_may_be_replaced_in_its_stage():
    network = trained_a_little(build("resnet", depth=14, width=4))
    x = torch.randn(2, 3, 8, 8)
    block = network.stages[1][1]
    features = network.stages[1][0](network.stages[0](network.stem(x)))
    expected = network.head(network.stages[2](block.skip(features)))
    network.stages[1][1] = nn.ReLU()
    assert torch.equal(network(x), expected)


def test_blocks_have_readable_names():
    for name in ("resnet", "plain"):
        named = dict(build(name, depth=14, width=4).named_modules())
        each = [key for key, module in named.items() if isinstance(module, Block)]
        assert each == [f"stages.{stage}.{place}" for stage in range(3) for place in range(2)]


# Shortcuts


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("size", [1, 8, 9])
def test_zero_padding_keeps_odd_sizes(average, size):
    x = torch.randn(2, 4, size, size)
    convolved = nn.Conv2d(4, 8, 3, stride=2, padding=1)(x)
    assert ZeroPad(4, 2, average)(x).shape == convolved.shape


def test_zero_padding_subsamples_and_appends_zeros():
    x = torch.randn(2, 4, 9, 9)
    y = ZeroPad(4, 2)(x)
    assert torch.equal(y[:, :4], x[:, :, ::2, ::2]) and not y[:, 4:].any()


def test_averages_count_only_what_exists():
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    expected = torch.tensor([[(0 + 1 + 3 + 4) / 4, (2 + 5) / 2], [(6 + 7) / 2, 8]])
    assert torch.equal(ZeroPad(0, 2, average=True)(x)[0, 0], expected)


def test_projections_are_where_they_are_asked_for():
    def projected(shortcut):
        network = build("resnet", depth=14, width=4, shortcut=shortcut)
        return [any(True for _ in block.shortcut.parameters()) for block in blocks_of(network)]

    assert projected("zero-pad") == [False] * 6
    assert projected("projection") == [False, False, True, False, True, False]
    assert projected("projection-everywhere") == [True] * 6


# Joins


def test_gates_follow_their_formulas():
    s, f = torch.randn(2, 2, 4, 3, 3)
    for exclusive in (True, False):
        join = Gate(4, -0.5, exclusive)
        weight, bias = join.convolution.weight[:, :, 0, 0], join.convolution.bias
        g = 1 / (1 + torch.exp(-(torch.einsum("oc,nchw->nohw", weight, s) + bias[:, None, None])))
        expected = (g * f if exclusive else f) + (1 - g) * s
        torch.testing.assert_close(join(s, f), expected)
        torch.testing.assert_close(join(s), (1 - g) * s)
    join, alpha = ChannelGate(4, -2.0), 1 / (1 + math.exp(2))
    torch.testing.assert_close(join(s, f), alpha * f + (1 - alpha) * s)
    assert torch.equal(Scale(0.5, 0.25)(s, f), 0.5 * s + 0.25 * f)


def test_a_pooled_gate_reads_the_mean_of_the_branch():
    s, f = torch.randn(2, 5, 4, 3, 7)
    join = PooledGate(4, -0.5)
    weight = join.linear.weight.detach()
    assert torch.equal(join.linear.bias, torch.full((4,), -0.5))
    y = join(s, f)
    for n, c in product(range(5), range(4)):
        pooled = [float(f[n, k].sum()) / 21 for k in range(4)]
        alpha = 1 / (1 + math.exp(0.5 - sum(float(weight[c, k]) * pooled[k] for k in range(4))))
        torch.testing.assert_close(y[n, c], alpha * f[n, c] + (1 - alpha) * s[n, c])
    left = 1 - 1 / (1 + math.exp(0.5))
    torch.testing.assert_close(join(s), left * s)
    assert torch.equal(join(s), join(s, torch.zeros_like(f)))
    torch.testing.assert_close(PooledGate(4, -40.0)(s, f), s)


def test_a_very_negative_bias_opens_the_shortcut():
    s, f = torch.randn(2, 2, 4, 3, 3)
    torch.testing.assert_close(Gate(4, -40.0, exclusive=False)(s, f), s + f)
    torch.testing.assert_close(Gate(4, -40.0, exclusive=True)(s, f), s)
    torch.testing.assert_close(ChannelGate(4, -40.0)(s, f), s)


def test_a_dropped_shortcut_keeps_its_mean_and_rests_in_evaluation():
    block = build("resnet", **SMALL, join="dropout", dropout=0.25).stages[0][0]
    s = torch.ones(8, 4, 32, 32)
    dropped = block.join(s)
    assert abs(dropped.mean() - 1) < 0.02 and abs((dropped == 0).float().mean() - 0.25) < 0.02
    assert torch.equal(block.eval().join(s), s)


# Starting points


@pytest.mark.parametrize("arguments", [{"zero_init": True}, {"norm": "none"}])
@pytest.mark.parametrize("order", ["post", "bn-after-add", "relu-only-pre", "pre"])
def test_branches_that_start_at_zero_start_to_learn(order, arguments):
    network = build("resnet", **SMALL, order=order, **arguments)
    x = torch.randn(4, 3, 8, 8)
    features = network.stem(x)
    for block in blocks_of(network):
        assert not block.branch(features).any()
        torch.testing.assert_close(block(features), block.skip(features))
        features = block(features)
    gradients = backward(network, x)
    for name, _ in network.named_parameters():
        if name.endswith((f"branch.{len(block.branch) - 1}.weight", "scale")):
            assert gradients[name].any()


def test_without_batchnorm_hundreds_of_layers_pass_signal():
    x = torch.randn(2, 1, 8, 8)
    arguments = {"depth": 302, "width": 4, "channels": 1, "norm": "none"}
    residual, plain = build("resnet", **arguments), build("plain", **arguments)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in residual.modules())
    assert any(name.endswith("scale") for name, _ in residual.named_parameters())
    assert not any(name.endswith("scale") for name, _ in plain.named_parameters())
    assert backward(residual, x)["stem.0.weight"].norm() > 1e-3


# Random depth


def test_survival_decays_linearly_and_scales_evaluation():
    network = build("resnet", depth=20, width=4, survival=0.1)
    survival = [block.survival for block in blocks_of(network)]
    assert survival == pytest.approx([1 - i * 0.1 for i in range(1, 10)])
    block = trained_a_little(network).stages[2][2]
    x = torch.randn(2, 16, 4, 4)
    torch.testing.assert_close(block(x), F.relu(x + 0.1 * block.branch(x)))


def test_blocks_run_as_often_as_they_survive():
    blocks = blocks_of(build("resnet", depth=20, width=1, survival=0.1))
    modules = [nn.ReLU(), *blocks]
    runs = torch.tensor([draw(modules) for _ in range(4000)]).double().mean(0)
    expected = torch.tensor([1.0] + [block.survival for block in blocks], dtype=torch.float64)
    assert (runs - expected).abs().max() < 0.03
    assert runs[0] == 1


def test_a_dropped_block_is_skipped_in_training():
    network = build("resnet", **SMALL, survival=1e-9)  # the last block never runs
    x = torch.randn(4, 3, 8, 8)
    block = network.stages[2][0]
    block.branch.register_forward_hook(lambda *_: pytest.fail("the branch ran"))
    network(x)


@pytest.mark.parametrize("keep", [1, 4, 9])
def test_keep_runs_exactly_that_many_branches(keep):
    network = build("resnet", depth=20, width=2, keep=keep)
    ran = []
    for block in blocks_of(network):
        block.branch.register_forward_hook(lambda branch, *_: ran.append(branch))
    x, seen = torch.randn(2, 3, 8, 8), set()
    for _ in range(20):
        ran.clear()
        network(x)
        assert len(ran) == keep
        seen.update(ran)
    assert len(seen) > keep or keep == 9  # not always the same
    ran.clear()
    network.eval()(x)
    assert len(ran) == 9
    assert all(block.survival == keep / 9 for block in blocks_of(network))


def test_every_set_of_kept_blocks_is_as_likely():
    blocks = blocks_of(build("resnet", depth=20, width=1))
    runs = torch.tensor([draw(blocks, keep=3) for _ in range(3000)]).double()
    assert (runs.sum(1) == 3).all() and (runs.mean(0) - 1 / 3).abs().max() < 0.04


def test_evaluation_draws_nothing():
    network = build("resnet", **SMALL, survival=0.5).eval()
    before = torch.get_rng_state()
    network(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)


# Checkpointing


@pytest.mark.parametrize("arguments", [{"survival": 0.5}, {"keep": 3}, {"join": "dropout", "order": "pre"}])
def test_checkpointing_changes_neither_gradients_nor_statistics(arguments):
    usual = build("resnet", depth=14, width=4, **arguments)
    saving = build("resnet", depth=14, width=4, **arguments, checkpointing=True)
    saving.load_state_dict(usual.state_dict())
    x = torch.randn(4, 3, 8, 8)
    results = []
    for network in (usual, saving):
        torch.manual_seed(1)
        gradients = backward(network, x)
        results.append((gradients, dict(network.named_buffers())))
    (gradients, buffers), (other_gradients, other_buffers) = results
    for name, gradient in gradients.items():
        if gradient is None:
            assert other_gradients[name] is None
        else:
            assert torch.equal(gradient, other_gradients[name])
    assert all(torch.equal(value, other_buffers[name]) for name, value in buffers.items())
    assert all(m.momentum == 0.1 for m in saving.modules() if isinstance(m, nn.BatchNorm2d))


# What a network costs


def test_multiply_adds_are_those_of_the_definition():
    # He et al. 2015, by hand: 3×3 filters at every position of every stage, then the linear layer.
    stem = 9 * 3 * 16 * 32**2
    stages = [9 * 16 * 16 * 6 * 32**2]
    for width, size in ((32, 16), (64, 8)):
        stages.append((9 * (width // 2) * width + 9 * width * width * 5) * size**2)
    costs = summary(build("resnet", depth=20), (3, 32, 32))
    assert costs.multiply_adds == stem + sum(stages) + 64 * 10
    assert (costs.parameters, costs.blocks) == (269_722, 9)
    assert costs.shortcut_parameters == costs.shortcut_multiply_adds == 0


def test_shortcuts_cost_what_their_projections_and_gates_cost():
    costs = summary(build("resnet", depth=20, shortcut="projection"), (3, 32, 32))
    assert costs.shortcut_parameters == (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert costs.shortcut_multiply_adds == 16 * 32 * 16**2 + 32 * 64 * 8**2
    bare = summary(build("resnet", depth=20), (3, 32, 32))
    assert costs.parameters - costs.shortcut_parameters == bare.parameters
    gated = summary(build("resnet", depth=20, join="shortcut-gate"), (3, 32, 32))
    assert gated.shortcut_parameters == 3 * sum(w * w + w for w in (16, 32, 64))
    pooled = summary(build("resnet", depth=20, join="pooled-gate"), (3, 32, 32))
    assert pooled.shortcut_parameters == gated.shortcut_parameters
    assert pooled.shortcut_multiply_adds == 3 * sum(w * w for w in (16, 32, 64))  # once an image, not at every position
    assert pooled.parameters - pooled.shortcut_parameters == bare.parameters
    assert "269,722   on shortcuts 0 (0.0%)" in str(bare)


def test_a_summary_leaves_the_network_alone():
    network = build("resnet", **SMALL)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    summary(network, (3, 8, 8))
    assert network.training and not any(m._forward_hooks for m in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


# Arguments that do not fit


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("resnet50", {}, "no network 'resnet50'; use one of resnet, plain, densenet, vgg"),
        ("resnt", {}, "package.module:factory; did you mean resnet?"),
        ("resnet", {"deepness": 20}, "no argument deepness; it has depth, width"),
        ("plain", {"shortcut": "projection"}, "no argument shortcut"),
        ("plain", {"survival": 0.5}, "plain network"),
        ("resnet", {"depth": 21}, "6n.2 layers: use 20 or 26"),
        ("resnet", {"depth": 4}, "use 8"),
        ("resnet", {"depth": 26, "block": "bottleneck"}, "9n.2 layers: use 20 or 29"),
        ("resnet", {"depth": "20"}, "depth is '20'; it must be a whole number"),
        ("resnet", {"width": 0}, "width is 0"),
        ("resnet", {"order": "before"}, "order is 'before'; it must be one of 'post'"),
        ("resnet", {"shortcut": "A"}, "one of None, 'zero-pad'"),
        ("resnet", {"join": "multiply"}, "join is 'multiply'"),
        ("resnet", {"norm": "layer"}, "norm is 'layer'"),
        ("resnet", {"join": "scale", "scales": 0.5}, "two numbers"),
        ("resnet", {"keep": 10}, "from 1 to 9"),
        ("resnet", {"keep": 3, "survival": 0.5}, "give one of them"),
        ("resnet", {"survival": 0}, "survival is 0"),
        ("resnet", {"order": "relu-before-add", "zero_init": True}, "never learn"),
        ("densenet", {"depth": 41}, "3n.4 layers: use 40 or 43"),
        ("densenet", {"compression": 2}, "compression is 2"),
        ("vgg", {"depth": 10}, "one of 9, 11"),
        ("vgg", {"depth": 3, "constant": True}, "6 or more"),
        ("no.such:factory", {}, "cannot import no.such:factory"),
        ("torch.nn:NoSuch", {}, "cannot import torch.nn:NoSuch"),
        ("torch.nn:functional", {}, "must be a callable"),
        ("torch.nn:Linear", {"inputs": 3}, "no argument inputs; it has in_features"),
        ("torch.nn:Linear", {"in_features": 3}, "missing a required argument: 'out_features'"),
        ("builtins:print", {}, "made a NoneType"),
    ],
)
def test_arguments_that_do_not_fit_are_answered_in_one_line(name, arguments, message):
    with pytest.raises(BadInput, match=message) as caught:
        build(name, **arguments)
    assert "\n" not in str(caught.value)


def test_a_network_of_ones_own_is_an_import_path():
    network = build("torch.nn:Linear", in_features=3, out_features=2)
    assert isinstance(network, nn.Linear) and summary(network, (3,)).multiply_adds == 6
