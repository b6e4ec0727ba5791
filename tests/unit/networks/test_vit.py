"""Our vision transformer is the one that others write, and each of its skip connections can go."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from ensemble.blocks.blocks import blocks
from ensemble.lesions.trials import lesions
from ensemble.paths.chain import chain
from landscape.data import Data
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import Block, build, summary, titled
from landscape.networks.arguments import with_data_defaults
from landscape.planes.filters import conventions

DEPTH, WIDTH, HEADS, CLASSES, CHANNELS, SIZE, PATCH = 2, 12, 3, 5, 2, (6, 8), 2
SMALL = {"depth": DEPTH, "width": WIDTH, "heads": HEADS, "classes": CLASSES, "channels": CHANNELS}
SMALL |= {"size": SIZE, "patch": PATCH}
NAMES = [f"layers.{i}.{part}" for i in range(DEPTH) for part in ("attention", "mlp")]


def made(seed=0, scale=0.3, **arguments):
    """A network in which nothing is 0, 1 or the identity by accident."""
    network = build("vit", **SMALL | arguments).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def images(n=3, seed=0):
    return torch.randn(n, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(seed))


def by_hand(w, x, norm="pre", around=(True, True), without=()):
    """The same network in functions of torch, from its weights alone: patch by patch, head by head."""

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def layer_norm(x, name):
        return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"])

    def attention(x, name):
        heads = []
        qkv = linear(x, f"{name}.qkv").chunk(3, -1)
        for q, k, v in zip(*(each.split(WIDTH // HEADS, -1) for each in qkv), strict=True):
            heads.append((q @ k.transpose(1, 2) * (WIDTH // HEADS) ** -0.5).softmax(-1) @ v)
        return linear(torch.cat(heads, -1), f"{name}.out")

    rows, columns = (range(0, side, PATCH) for side in SIZE)
    kernel = w["stem.patch.weight"].flatten(1)
    patches = [x[:, :, r : r + PATCH, c : c + PATCH].flatten(1) @ kernel.T for r, c in product(rows, columns)]
    x = torch.stack(patches, 1) + w["stem.patch.bias"] + w["stem.position.weight"]
    pre = int(norm == "pre")
    for name, skip in zip(NAMES, around * DEPTH, strict=True):
        f = layer_norm(x, f"{name}.branch.0") if pre else x
        if name.endswith("attention"):
            f = attention(f, f"{name}.branch.{pre}")
        else:
            f = linear(F.gelu(linear(f, f"{name}.branch.{pre}")), f"{name}.branch.{pre + 2}")
        f = torch.zeros_like(f) if name in without else f
        x = x + f if skip else f
        x = x if pre else layer_norm(x, f"{name}.after")
    return linear(layer_norm(x, "head.0").mean(1), "head.2") if pre else linear(x.mean(1), "head.1")


# Someone else's arithmetic


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("shortcut", list(product(["identity", None], repeat=2)))
def test_it_is_the_vision_transformer_of_the_textbook_with_and_without_each_skip(norm, shortcut):
    network, x = made(norm=norm, shortcut=shortcut).double(), images().double()
    around = tuple(name is not None for name in shortcut)
    logits = network(x)
    assert logits.shape == (3, CLASSES)
    torch.testing.assert_close(logits, by_hand(network.state_dict(), x, norm, around), rtol=1e-6, atol=1e-10)
    with_both = by_hand(network.state_dict(), x, norm)
    assert (around == (True, True)) == torch.allclose(logits, with_both)


@pytest.mark.parametrize("part, other", [("attention", "mlp"), ("mlp", "attention")])
def test_without_its_skip_nothing_but_the_branch_is_left(part, other):
    network = made(shortcut=tuple("identity" if p == other else None for p in ("attention", "mlp")))
    block, kept = (getattr(network.layers[1], name) for name in (part, other))
    x = torch.randn(2, 12, WIDTH)
    assert block.shortcut is None and torch.equal(block(x), block.branch(x)) and block.skip(x) is x
    torch.testing.assert_close(kept(x), x + kept.branch(x))


def test_every_patch_sees_every_other():
    network, x = made(), images(1)
    stem = network.stem(x).detach().requires_grad_()
    y = network.layers[0].attention(stem)
    for place in range(12):
        (gradient,) = torch.autograd.grad(y[0, place].sum(), stem, retain_graph=True)
        assert (gradient[0].abs().amax(1) > 0).all()


def test_without_positions_the_order_of_patches_is_nothing():
    network, x = made().double(), images().double()
    turned = x.flip(2).unflatten(2, (3, 2)).flip(3).flatten(2, 3)  # rows of patches upside down, each as it was
    assert not torch.allclose(network(turned), network(x))
    with torch.no_grad():
        network.stem.position.weight.zero_()
    torch.testing.assert_close(network(turned), network(x))


def test_positions_count_as_much_as_patches_in_the_beginning():
    torch.manual_seed(0)
    for channels, patch in ((1, 2), (3, 4)):
        stem = build("vit", width=1024, channels=channels, size=32, patch=patch).stem
        x = stem.patch(torch.randn(8, channels, 32, 32))
        assert float(x.detach().std()) == pytest.approx(0.02, rel=0.1)
        assert float(stem.position.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


# What it is made of


def test_blocks_tell_attention_from_mlp_and_come_in_the_order_of_the_pass():
    network = made()
    named = {name: module for name, module in network.named_modules() if isinstance(module, Block)}
    assert list(named) == NAMES and list(blocks(network)) == NAMES
    assert network.parts()[1:-1] == list(named.values())
    assert list(blocks(network, layers=True)) == ["layers.0", "layers.1"]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_what_it_costs_is_counted(norm):
    counted = summary(made(norm=norm), (CHANNELS, *SIZE))
    layer = WIDTH * 3 * WIDTH + 3 * WIDTH + WIDTH * WIDTH + WIDTH + 2 * 4 * WIDTH * WIDTH + 5 * WIDTH + 4 * WIDTH
    tokens = 3 * 4
    stem = WIDTH * CHANNELS * PATCH**2 + WIDTH + tokens * WIDTH
    head = WIDTH * CLASSES + CLASSES + 2 * WIDTH * (norm == "pre")
    assert counted.parameters == DEPTH * layer + stem + head
    products = tokens * (WIDTH * CHANNELS * PATCH**2 + DEPTH * 12 * WIDTH**2) + WIDTH * CLASSES
    assert (counted.multiply_adds, counted.blocks, counted.shortcut_parameters) == (products, 2 * DEPTH, 0)


def test_filters_are_the_rows_of_linear_layers_the_patches_map_and_positions():
    for name, convention in conventions(made()).items():
        of_filters = name.endswith("weight") and "branch.0" not in name and name != "head.0.weight"
        assert convention.known and convention.axes == ((0,) if of_filters else ())


def test_the_data_settle_the_size_and_the_title_does_not_tell():
    def data(*shape):
        return Data("some", "train", torch.zeros(4, *shape), torch.tensor([0, 1, 2, 2]), 3, (0.0,), (1.0,), "")

    assert with_data_defaults("vit", {}, data(1, 8, 8)) == {"classes": 3, "channels": 1, "size": 8}
    assert with_data_defaults("vit", {}, data(2, 6, 8)) == {"classes": 3, "channels": 2, "size": [6, 8]}
    assert "size" not in with_data_defaults("resnet", {}, data(1, 8, 8))
    with pytest.raises(BadInput, match="a vit takes images, and some has other inputs"):
        with_data_defaults("vit", {}, data(8))
    assert titled("vit", {"depth": 4, "classes": 3, "size": 8, "patch": 2}) == "vit-4:patch=2"


@pytest.mark.parametrize(("size", "patch"), [(8, 2), (14, 2), (16, 4), (32, 4), ((8, 32), 2)])
def test_small_images_get_small_patches(size, patch):
    assert build("vit", size=size).stem.patch.kernel_size == (patch, patch)


# Measured like every network of ours


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("layers", [False, True])
def test_a_deleted_block_is_the_network_without_it(norm, layers):
    network, x, targets = made(norm=norm), images(6), torch.arange(6) % CLASSES
    study = lesions(Evaluator(network, [(x, targets)]), delete=[1], layers=layers, quiet=True)
    names = [f"layers.{i}" for i in range(DEPTH)] if layers else NAMES
    for deleted, loss in zip([None, *names], study["loss"], strict=True):
        gone = [part for part in NAMES if deleted and part.startswith(deleted)]
        logits = by_hand(network.state_dict(), x, norm, without=gone)  # a LayerNorm behind the join stays
        assert loss == pytest.approx(float(F.cross_entropy(logits, targets).detach()), rel=1e-5)


@pytest.mark.parametrize("arguments", [{}, {"norm": "post"}, {"shortcut": (None, "identity")}, {"join": "scale"}])
@pytest.mark.parametrize("image", [False, True])
def test_the_chain_is_the_network(arguments, image):
    network = made(**arguments)
    stem, steps, head, _ = chain(network, image=image)
    x = stem(images())
    for step in steps:
        x = step.after(*(way(x) for way in step[:2] if way is not None))
    torch.testing.assert_close(head(x), network.double()(images().double()), rtol=1e-12, atol=1e-12)


# What is refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"patch": 4}, "patch is 4, and images are 6×8; give a patch that divides both: 1, 2"),
        ({"size": 30, "patch": None}, "patch is 4, and images are 30×30; give a patch that divides both: 1, 2, 3, 5"),
        ({"size": (8, 8, 8)}, "it must be one number of pixels for height and width, or two"),
        ({"size": 0}, "size is 0; it must be a whole number, 1 or more"),
        ({"patch": 0}, "patch is 0; it must be a whole number, 1 or more"),
        ({"heads": 5}, "width is 12, and heads is 5; give a width that the number of heads divides"),
        ({"join": "pooled-gate"}, "join is 'pooled-gate'; it must be one of 'add', 'scale'"),
        ({"shortcut": None, "zero_init": True}, "leave it out"),
        ({"classes": 0}, "classes is 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, said):
    with pytest.raises(BadInput, match=said):
        build("vit", **SMALL | arguments)


def test_images_of_another_size_are_refused_and_none_is_cut_off():
    with pytest.raises(
        BadInput, match=r"does not take inputs of shape \(2, 7, 9\): positions are those of images of 6×8"
    ):
        Evaluator(made(), [(torch.zeros(2, CHANNELS, 7, 9), torch.tensor([0, 1]))])
    with pytest.raises(AssertionError, match="positions are those of images of 6×8"):
        made()(torch.zeros(2, CHANNELS, 8, 6))
