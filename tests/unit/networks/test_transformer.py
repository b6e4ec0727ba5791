"""Our language model is the transformer that others write, and each of its skip connections can go."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ensemble.blocks.blocks import blocks
from ensemble.lesions.trials import lesions
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import components
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import cross_entropy
from landscape.networks import Block, build, summary, titled
from landscape.networks.joins import JOINS
from landscape.planes.filters import conventions

SMALL = {"depth": 2, "width": 12, "heads": 3, "vocabulary": 17, "context": 9}
JOINED = tuple(join for join in JOINS if join != "pooled-gate")


def made(seed=0, scale=0.3, **arguments):
    """A network in which nothing is 0, 1 or the identity by accident."""
    network = build("transformer", **SMALL | arguments).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def tokens(n=3, length=9, seed=0):
    return torch.randint(17, (n, length), generator=torch.Generator().manual_seed(seed))


def by_hand(w, x, norm="pre", around=(True, True), deleted=(), heads=3):
    """The same network in plain PyTorch, from its weights alone: softmax of a masked product, head by head."""

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def layer_norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    def attention(x, name):
        t, width = x.shape[1:]
        y = torch.zeros_like(x)
        q, k, v = linear(x, f"{name}.qkv").split(width, -1)
        size = width // heads
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            scores = q[..., part] @ k[..., part].transpose(1, 2) / size**0.5
            mask = torch.ones(t, t, dtype=torch.bool).tril()
            y[..., part] = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v[..., part]
        return linear(y, f"{name}.out")

    def mlp(x, first, last):
        hidden = linear(x, first)
        return linear(hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)), last)

    x = w["stem.token.weight"][x] + w["stem.position.weight"][: x.shape[1]]
    pre = norm == "pre"
    for layer, (part, skip) in product(range(SMALL["depth"]), zip(("attention", "mlp"), around, strict=True)):
        name = f"layers.{layer}.{part}"
        inner = layer_norm(x, f"{name}.branch.0") if pre else x
        if part == "attention":
            f = attention(inner, f"{name}.branch.{int(pre)}")
        else:
            f = mlp(inner, f"{name}.branch.{int(pre)}", f"{name}.branch.{int(pre) + 2}")
        if name in deleted:
            f = torch.zeros_like(f)
        x = x + f if skip else f
        if not pre:
            x = layer_norm(x, f"{name}.after")
    return linear(layer_norm(x, "head.0"), "head.1") if pre else linear(x, "head.0")


# Someone else's arithmetic


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("shortcut", list(product(["identity", None], repeat=2)))
def test_it_is_the_transformer_of_the_textbook_with_and_without_each_skip(norm, shortcut):
    network = made(norm=norm, shortcut=shortcut).double()
    around = tuple(name is not None for name in shortcut)
    expected = by_hand(network.state_dict(), tokens(), norm, around)
    torch.testing.assert_close(network(tokens()), expected, rtol=1e-6, atol=1e-10)
    with_both = by_hand(network.state_dict(), tokens(), norm)
    assert (around == (True, True)) == torch.allclose(network(tokens()), with_both)


@pytest.mark.parametrize("part, other", [("attention", "mlp"), ("mlp", "attention")])
def test_without_its_skip_nothing_but_the_branch_is_left(part, other):
    network = made(shortcut=tuple("identity" if p == other else None for p in ("attention", "mlp")))
    block, kept = (getattr(network.layers[1], name) for name in (part, other))
    x = torch.randn(2, 5, 12)
    assert block.shortcut is None and torch.equal(block(x), block.branch(x)) and block.skip(x) is x
    torch.testing.assert_close(kept(x), x + kept.branch(x))


@pytest.mark.parametrize("join", JOINED)
def test_joins_of_tokens_are_those_of_images_position_by_position(join):
    torch.manual_seed(0)
    block = build("transformer", **SMALL, join=join, scales=(0.7, 0.2), gate_bias=-1.0).eval().layers[0].mlp
    s, f = torch.randn(2, 3, 5, 12)
    b = block.join.state_dict()
    expected = {
        "add": lambda: (s, f),
        "scale": lambda: (0.7 * s, 0.2 * f),
        "channel-gate": lambda: ((1 - torch.sigmoid(b["bias"])) * s, torch.sigmoid(b["bias"]) * f),
        "exclusive-gate": lambda: ((1 - gate()) * s, gate() * f),
        "shortcut-gate": lambda: ((1 - gate()) * s, f),
        "dropout": lambda: (s, f),
    }

    def gate():
        return torch.sigmoid(s @ b["convolution.weight"].T - 1.0)

    carried, branched = expected[join]()
    torch.testing.assert_close(block.join(s, f), carried + branched)
    torch.testing.assert_close(block.join(s), carried)


def test_attention_and_mlp_may_be_joined_differently():
    network = made(join=("channel-gate", "add"))
    assert [type(b.join).__name__ for b in network.layers[0]] == ["ChannelGate", "Add"]


@pytest.mark.parametrize("arguments", [{}, {"norm": "post"}, {"shortcut": None}, {"join": "exclusive-gate"}])
def test_no_output_sees_a_later_token(arguments):
    network, x = made(**arguments), tokens()
    outputs = network(x)
    for place in range(9):
        changed = x.clone()
        changed[:, place] = (changed[:, place] + 1) % 17
        other = network(changed)
        assert torch.equal(other[:, :place], outputs[:, :place])
        assert not torch.allclose(other[:, place], outputs[:, place])
    torch.testing.assert_close(network(x[:, :4]), outputs[:, :4])  # a window may be shorter


def test_branches_start_small_or_as_nothing():
    torch.manual_seed(0)
    network = build("transformer", depth=8, width=64)
    ends = [network.layers[0].attention.branch[1].out, network.layers[0].mlp.branch[3]]
    for end in ends:
        assert float(end.weight.detach().std()) == pytest.approx(0.02 / 4, rel=0.05)
    x = torch.randint(256, (2, 20))
    zero = build("transformer", depth=3, width=64, zero_init=True)
    assert torch.equal(zero(x), zero.head(zero.stem(x)))
    plain = build("transformer", depth=8, width=64, shortcut=("identity", None))
    assert float(plain.layers[0].mlp.branch[3].weight.detach().std()) == pytest.approx(0.02, rel=0.05)


# What it is made of


def test_blocks_tell_attention_from_mlp_and_come_in_the_order_of_the_pass():
    network = made()
    named = {name: module for name, module in network.named_modules() if isinstance(module, Block)}
    assert list(named) == [f"layers.{i}.{part}" for i in range(2) for part in ("attention", "mlp")]
    assert list(blocks(network)) == list(named) and network.parts()[1:-1] == list(named.values())
    assert list(blocks(network, layers=True)) == ["layers.0", "layers.1"]


def test_filters_are_the_rows_of_embeddings_and_linear_layers():
    for name, convention in conventions(made()).items():
        of_filters = name.endswith("weight") and "branch.0" not in name and name != "head.0.weight"
        assert convention.known and bool(convention.axes) == of_filters
        if of_filters:
            assert convention.axes == (0,)
    assert conventions(made())["stem.token.weight"].filters == 17


def test_what_it_costs_is_counted():
    counted = summary(build("transformer", **SMALL), (9,), torch.int64)
    layer = 12 * (3 * 12) + 3 * 12 + 12 * 12 + 12 + 2 * (12 * 48) + 48 + 12 + 4 * 12
    assert counted.parameters == 2 * layer + (17 + 9) * 12 + 2 * 12 + 12 * 17 + 17
    assert counted.multiply_adds == 9 * (2 * (4 * 12 * 12 + 2 * 12 * 48) + 12 * 17)
    assert (counted.shortcut_parameters, counted.blocks) == (0, 4)


def test_its_name_tells_which_skips_it_has():
    assert titled("transformer", SMALL | {"shortcut": ["identity", None]}) == (
        "transformer-2:width=12,heads=3,shortcut=('identity',None)"
    )


# Measured like every network of ours


def evaluator(network, dtype=torch.float32):
    text = tokens(6, 10)
    targets = text[:, 1:].clone()
    targets[:, -1] = -100
    return Evaluator(network.to(dtype), [(text[:, :-1].contiguous(), targets)])


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layers", [False, True])
def test_a_deleted_block_adds_nothing_by_hand_too(norm, layers):
    network = made(norm=norm)
    evaluate = evaluator(network)
    study = lesions(evaluate, delete=[1], layers=layers, quiet=True)
    (inputs, targets), weights = evaluate.sources[0].batches[0], network.state_dict()
    whole = [f"layers.{i}" for i in range(2)]
    parts = [f"{layer}.{part}" for layer in whole for part in ("attention", "mlp")]
    for deleted, loss in zip([None, *(whole if layers else parts)], study["loss"], strict=True):
        gone = [part for part in parts if deleted is not None and part.startswith(deleted)]
        logits = by_hand(weights, inputs, norm, deleted=gone)[:, :-1]
        expected = F.cross_entropy(logits.flatten(0, 1), targets[:, :-1].flatten())
        assert loss == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("part", ["attention", "mlp"])
def test_lesions_of_one_part_are_those_among_all(part):
    evaluate = evaluator(made())
    every, some = (lesions(evaluate, delete=[1, 2], part=p, quiet=True) for p in (None, part))
    names = [str(name) for name in every.coordinates["block"]]
    of_part = np.array([name.endswith(part) for name in names])
    assert list(some.coordinates["block"]) == [name for name in names if name.endswith(part)]
    among = ~every["deleted"][:, ~of_part].any(axis=1)
    assert np.array_equal(every["deleted"][among][:, of_part], some["deleted"])
    assert np.array_equal(every["loss"][among], some["loss"]) and len({*some["loss"]}) == 4


def test_whole_layers_trade_places():
    network = made()
    study = lesions(evaluate := evaluator(network), swap=1, trials=1, layers=True, quiet=True)
    swapped = {
        name.replace("layers.0", "layers.x").replace("layers.1", "layers.0").replace("layers.x", "layers.1"): weight
        for name, weight in network.state_dict().items()
    }
    inputs, targets = evaluate.sources[0].batches[0]
    expected = F.cross_entropy(by_hand(swapped, inputs)[:, :-1].flatten(0, 1), targets[:, :-1].flatten())
    assert study["loss"][1] == pytest.approx(float(expected.detach()), rel=1e-5)
    with pytest.raises(BadInput, match="whole layers of a transformer may: layers"):
        lesions(evaluate, swap=1, trials=1, quiet=True)


@pytest.mark.parametrize("arguments", [{}, {"norm": "post"}, {"shortcut": (None, "identity")}, {"join": "scale"}])
def test_the_chain_is_the_network(arguments):
    network = made(**arguments)
    stem, steps, head, _ = chain(network)
    x = stem(tokens())
    for step in steps:
        x = step.after(*(way(x) for way in step[:2] if way is not None))
    torch.testing.assert_close(head(x), network.double()(tokens()), rtol=1e-12, atol=1e-12)


def test_the_path_spectrum_is_the_sum_over_all_paths():
    network = made().double()
    x, targets = tokens(2), tokens(2, seed=1)
    exact = components(chain(network), x, targets)
    parts = network.parts()
    stream, points = parts[0](x).detach(), []
    for block in parts[1:-1]:
        points.append(stream.requires_grad_())
        stream = block(stream).detach()
    points.append(stream.requires_grad_())
    (gradient,) = torch.autograd.grad(cross_entropy(parts[-1](points[-1]), targets).sum(), points[-1])
    sums = torch.zeros_like(exact)
    for path in product([False, True], repeat=4):  # all 2⁴, each by itself, from the last block to the first
        g = gradient
        for through, block, point in reversed(list(zip(path, parts[1:-1], points[:-1], strict=True))):
            if through:
                (g,) = torch.autograd.grad(block.branch(point), point, g)
        sums[sum(path)] += g
    torch.testing.assert_close(exact, sums, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"heads": 5}, "width is 12, and heads is 5; give a width that the number of heads divides"),
        ({"norm": "batch"}, "norm is 'batch'; it must be one of 'pre', 'post'"),
        ({"shortcut": "zero-pad"}, "shortcut is 'zero-pad'; it must be one of 'identity', None"),
        ({"shortcut": ("identity",)}, "it must be one for attention and MLP, or two"),
        ({"join": "pooled-gate"}, "join is 'pooled-gate'; it must be one of 'add', 'scale'"),
        ({"shortcut": None, "join": "scale"}, "no shortcut around attention, so nothing is joined by scale"),
        ({"shortcut": ("identity", None), "join": ("add", "scale")}, "no shortcut around mlp"),
        ({"shortcut": None, "zero_init": True}, "leave it out"),
        ({"scales": 0.5}, "it must be two numbers"),
        ({"depth": 0}, "depth is 0; it must be a whole number, 1 or more"),
        ({"context": 0}, "context is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(BadInput, match=said):
        build("transformer", **SMALL | arguments)


def test_a_window_longer_than_the_context_is_refused():
    with pytest.raises(BadInput, match=r"does not take inputs of shape \(10,\)"):
        Evaluator(made(), [(tokens(2, 10), tokens(2, 10))])
