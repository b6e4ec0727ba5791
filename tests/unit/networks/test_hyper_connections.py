"""Hyper-connections are what their papers write, and at initialisation the ordinary residual network."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.flow.redundancy import redundancy
from ensemble.flow.stream import stream
from ensemble.lesions.context import lesion
from ensemble.lesions.trials import lesions
from ensemble.paths.chain import chain
from ensemble.paths.spectrum import components
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.fused import fuse
from landscape.networks import build, summary
from landscape.networks.hyper_connections import HYPER, sinkhorn
from landscape.networks.residual import ZeroScale
from landscape.planes.filters import conventions

N = 3
RESNET = {"depth": 8, "width": 4, "channels": 1}
TEXT = {"depth": 2, "width": 12, "heads": 3, "vocabulary": 17, "context": 9}
VIT = {"depth": 2, "width": 8, "heads": 2, "size": 8, "channels": 1}
KINDS = [(kind, dynamic) for kind in HYPER for dynamic in (False, True)]


def made(name="resnet", seed=0, scale=0.3, **arguments):
    """A network in which nothing is 0, 1 or the identity by accident."""
    torch.manual_seed(0)
    network = build(name, **(RESNET if name == "resnet" else TEXT) | arguments).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    return network


def inputs(name="resnet", n=N):
    generator = torch.Generator().manual_seed(1)
    if name == "resnet":
        return torch.randn(n, 1, 8, 8, generator=generator)
    return torch.randint(17, (n, 9), generator=generator)


def numbers_by_hand(module, x, shape, bound):
    """r, M or w of every example and position, written as in the papers: x is (n, C) there."""
    raw = module.weight.detach().double().numpy()
    if not module.dynamic:
        return bound(raw)
    weight, scale = module.map.weight.detach().double().numpy(), float(module.scale.detach())
    if module.kind == "mhc":
        flat = x.reshape(-1)
        more = (weight @ (flat / np.sqrt(np.mean(flat**2) + 1e-5))).reshape(shape)
    else:
        rows = [(row - row.mean()) / np.sqrt(np.var(row) + 1e-5) for row in x]
        more = np.array([np.tanh(weight @ row) for row in rows])  # (n, outputs): what stream i says
        more = more.T if len(shape) == 2 else more[:, 0]
    return bound(raw + scale * more)


def sinkhorn_by_hand(numbers, iterations=20):
    """Divisions in turn, and what sums lack spread over rows and columns that lack it, element by element."""
    n = len(numbers)
    matrix = [[np.exp(number) for number in row] for row in numbers]
    for _ in range(iterations):
        columns = [sum(row[j] for row in matrix) for j in range(n)]
        matrix = [[row[j] / columns[j] for j in range(n)] for row in matrix]
        matrix = [[number / sum(row) for number in row] for row in matrix]
    columns = [max(1, sum(row[j] for row in matrix)) for j in range(n)]
    matrix = [[row[j] / columns[j] for j in range(n)] for row in matrix]
    rows, columns = [1 - sum(row) for row in matrix], [1 - sum(row[j] for row in matrix) for j in range(n)]
    return np.array([[matrix[i][j] + rows[i] * columns[j] / max(sum(rows), 1e-6) for j in range(n)] for i in range(n)])


def bounds(kind):
    if kind == "hyper":
        return (lambda a: a,) * 3
    return (lambda a: 1 / (1 + np.exp(-a))), sinkhorn_by_hand, (lambda a: 2 / (1 + np.exp(-a)))


# Each against its formula


@pytest.mark.parametrize("kind, dynamic", KINDS)
@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_a_block_is_the_formula_stream_by_stream(name, kind, dynamic):
    network = made(name, shortcut=kind, dynamic=dynamic, streams=3).double()
    block = network.stages[1][0] if name == "resnet" else network.layers[1].mlp
    x = torch.randn(2, 3, 4, 8, 8) if name == "resnet" else torch.randn(2, 3, 5, 12)
    x = x.double()
    images = name == "resnet"
    read, mix, write = bounds(kind)
    y = block(x).detach().numpy()
    for example, (given, out) in enumerate(zip(x, y, strict=True)):
        tokens = [slice(None)] if images else range(5)
        for token in tokens:
            seen = given.mean((2, 3)).numpy() if images else given[:, token].numpy()
            r = numbers_by_hand(block.branch.read, seen, (3,), read)
            m = numbers_by_hand(block.shortcut, seen, (3, 3), mix)
            w = numbers_by_hand(block.branch.write, seen, (3,), write)
            if images:
                f = block.branch.branch(sum(r[i] * given[i] for i in range(3))[None])[0]
                carried = [block.shortcut.shortcut.module(row[None])[0] for row in given]
                for i in range(3):
                    total = sum(m[i, j] * carried[j] for j in range(3)) + w[i] * f
                    expected = block.after.module(total[None])[0].detach().numpy()
                    np.testing.assert_allclose(out[i], expected, rtol=1e-5, atol=1e-7, err_msg=str(example))
            else:
                f = block.branch.branch(sum(r[i] * given[i, token] for i in range(3)))
                for i in range(3):
                    expected = sum(m[i, j] * given[j, token] for j in range(3)) + w[i] * f
                    np.testing.assert_allclose(out[i, token], expected.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_streams_are_copies_before_and_a_mean_behind():
    network = made(shortcut="hyper", streams=3)
    first = network.stem(inputs())
    assert first.shape == (N, 3, 4, 8, 8) and all(torch.equal(first[:, 0], first[:, i]) for i in range(3))
    x = torch.randn(2, 3, 16, 2, 2)
    torch.testing.assert_close(network.head(x), network.head(x.mean(1, keepdim=True).expand(-1, 3, -1, -1, -1)))


# At initialisation


def seeded(name, **arguments):
    """A seed gives the same weights whatever the shortcut; branches that end in a 0 do not."""
    torch.manual_seed(0)
    network = build(name, **arguments).double().eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ZeroScale):
                module.scale.fill_(0.7)
    return network


@pytest.mark.parametrize("kind, dynamic", KINDS)
@pytest.mark.parametrize(
    "name, arguments",
    [
        ("resnet", {"order": "post"}),
        ("resnet", {"order": "pre", "depth": 20}),
        ("resnet", {"order": "bn-after-add"}),
        ("resnet", {"norm": "none"}),
        ("transformer", {"norm": "pre", "depth": 4}),
        ("transformer", {"norm": "post"}),
        ("vit", {"norm": "pre"}),
    ],
)
@pytest.mark.parametrize("streams", [2, 4])
def test_at_initialisation_it_is_the_residual_network_with_its_weights(name, arguments, kind, dynamic, streams):
    base = {"resnet": RESNET, "transformer": TEXT, "vit": VIT}
    one, other = (
        seeded(name, **base[name] | arguments | more)
        for more in ({}, {"shortcut": kind, "streams": streams, "dynamic": dynamic})
    )
    x = inputs("resnet" if name != "transformer" else name)
    x = x.double() if x.is_floating_point() else x
    near = {"rtol": 1e-5, "atol": 1e-6} if kind == "mhc" else {"rtol": 1e-9, "atol": 1e-11}  # 0.9 is none of float32
    torch.testing.assert_close(other(x), one(x), **near)
    for module in (one, other):
        module.train()
    torch.testing.assert_close(other(x), one(x), **near)  # with the statistics of the batch too


def test_with_two_streams_it_is_that_to_the_bit():
    one, other = (seeded("transformer", **TEXT, **more).float() for more in ({}, {"shortcut": "hyper", "streams": 2}))
    assert torch.equal(other(inputs("text")), one(inputs("text")))


@pytest.mark.parametrize("kind", HYPER)
def test_blocks_start_reading_streams_in_turn(kind):
    network = build("resnet", depth=20, width=2, shortcut=kind, streams=4)
    read = [block.branch.read.numbers(None).argmax().item() for block in network.parts()[1:-1]]
    assert read == [n % 4 for n in range(9)]


# Doubly stochastic


@pytest.mark.parametrize("size", [1e-3, 1.0, 10.0, 30.0])
def test_sums_of_rows_and_columns_are_1_however_far_off_sinkhorn_is(size):
    numbers = size * torch.randn(200, 4, 4, generator=torch.Generator().manual_seed(0))
    matrix = sinkhorn(numbers)
    assert (matrix >= 0).all()
    for axis in (-1, -2):
        torch.testing.assert_close(matrix.sum(axis), torch.ones(200, 4), rtol=0, atol=1e-5)


def test_where_it_has_converged_it_is_sinkhorns_matrix():
    numbers = 0.5 * torch.randn(20, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = np.stack([sinkhorn_by_hand(each, 1000) for each in numbers.numpy()])
    np.testing.assert_allclose(sinkhorn(numbers).numpy(), expected, atol=1e-9)


def test_its_slope_is_that_of_differences():
    numbers = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sinkhorn, (numbers,))


def trained(kind, dynamic):
    """A few steps, of an optimizer that takes long ones also where streams are still much alike."""
    torch.manual_seed(0)
    network = build("resnet", depth=14, width=4, channels=1, shortcut=kind, dynamic=dynamic)
    images, labels = torch.randn(64, 1, 8, 8), torch.randint(10, (64,))
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.eval(), images


@pytest.mark.parametrize("dynamic", [False, True])
def test_mixing_is_doubly_stochastic_before_and_after_training_and_its_products_have_the_gain_1(dynamic):
    network, images = trained("mhc", dynamic)
    fresh = build("resnet", depth=14, width=4, channels=1, shortcut="mhc", dynamic=dynamic).eval()
    for each in (fresh, network):
        x, product = each.stem(images), torch.eye(4)
        for block in each.parts()[1:-1]:
            m = block.shortcut.numbers(x)
            product = m @ product
            for matrix, axis in itertools.product((m, product), (-1, -2)):
                torch.testing.assert_close(matrix.sum(axis), torch.ones(matrix.shape[:-1]), rtol=0, atol=1e-5)
            assert (m >= 0).all() and (torch.linalg.matrix_norm(product, 2) <= 1 + 1e-5).all()
            x = block(x)
    moved = network.stages[1][0].shortcut.weight - fresh.stages[1][0].shortcut.weight
    assert moved.abs().max() > 1e-4
    free, _ = trained("hyper", False)
    sums = torch.stack([block.shortcut.weight.sum(-1) for block in free.parts()[1:-1]])
    assert (sums - 1).abs().max() > 1e-3  # nothing holds those


# Lesions, paths, stream


@pytest.mark.parametrize("kind, dynamic", KINDS)
@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_without_a_block_its_branch_is_0_and_the_mixing_stays(name, kind, dynamic):
    network, x = made(name, shortcut=kind, dynamic=dynamic), inputs(name)
    names = list(blocks(network))
    assert len(names) == (3 if name == "resnet" else 4)
    block = network.get_submodule(names[1])
    with lesion(network, [names[1]]) as without:
        measured = without(x)
    handle = block.branch.branch.register_forward_hook(lambda *args: torch.zeros_like(args[-1]))
    assert torch.equal(network(x), measured)
    handle.remove()
    assert not torch.allclose(network(x), measured)


STATES = [{"shortcut": kind, "dynamic": dynamic} for kind, dynamic in KINDS]
STATES += [{"shortcut": "delta"}, {"shortcut": "depth-attention"}, {"values": "residual"}]


@pytest.mark.parametrize("arguments", STATES, ids=str)
def test_without_a_layer_both_of_its_blocks_are_left_out(arguments):
    evaluate = evaluator("transformer", **arguments)
    study = lesions(evaluate, delete=1, layers=True, quiet=True)
    both = lesions(evaluate, delete=2, quiet=True)
    rows = [np.flatnonzero((both["deleted"] == pair).all(axis=1))[0] for pair in ([1, 1, 0, 0], [0, 0, 1, 1])]
    np.testing.assert_allclose(study["loss"][1:], both["loss"][rows], rtol=1e-6)
    assert abs(study["loss"][1:] - study["loss"][0]).min() > 1e-4


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kind, dynamic", KINDS)
def test_the_spectrum_of_a_transformer_is_the_sum_over_all_paths(norm, kind, dynamic):
    network = made("transformer", norm=norm, shortcut=kind, dynamic=dynamic, streams=3).double()
    tokens = inputs("transformer")
    targets = torch.arange(N) % 17

    def loss(outputs, targets):
        return nn.functional.cross_entropy(outputs[:, -1], targets, reduction="none")

    sums = components(chain(network), tokens, targets, loss).numpy()
    stem, *parts, head = network.parts()
    first = stem(tokens).detach().requires_grad_()
    expected = np.zeros_like(sums)
    for path in itertools.product([False, True], repeat=4):
        x = first
        for part, through in zip(parts, path, strict=True):
            carried, branched = part.shortcut(x), part.branch(x)
            x = part.after(carried.detach() + branched if through else carried + branched.detach())
        expected[sum(path)] += torch.autograd.grad(loss(head(x), targets).sum(), first)[0].numpy()
    np.testing.assert_allclose(sums, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())


def evaluator(name="resnet", **arguments):
    network, x = made(name, **arguments), inputs(name, 8)
    targets = torch.arange(8) % 10 if name == "resnet" else x
    return Evaluator(network, [(x, targets)])


@pytest.mark.parametrize("kind, dynamic", KINDS)
def test_the_gain_of_mixing_is_that_of_the_product_of_all_matrices(kind, dynamic):
    evaluate = evaluator(shortcut=kind, dynamic=dynamic, depth=14)
    file = stream(evaluate, batchnorm="frozen", batches=1, batch_size=8, quiet=True)
    network, (x, _) = evaluate.network, evaluate.sources[0].batches[0]
    products, forward, backward = np.eye(4)[None], [], []
    x = network.stem(x)
    for block in network.parts()[1:-1]:
        products = block.shortcut.numbers(x).detach().double().numpy() @ products
        forward.append(abs(products).sum(2).max(1))
        backward.append(abs(products).sum(1).max(1))
        x = block(x)
    for name, expected in {"forward": forward, "backward": backward}.items():
        for suffix, of in {"": np.median, "_min": np.min, "_max": np.max}.items():
            measured = file[f"{name}_mixing{suffix}"][0, 0, 1:]
            np.testing.assert_allclose(measured, [of(each) for each in expected], rtol=1e-4)
    assert file["forward_mixing"][0, 0, 0] == 1 and np.isnan(file["forward_mixing"][0, 1, 0])
    if kind == "mhc":
        np.testing.assert_allclose(file["forward_mixing"][0, 0], 1, atol=1e-5)


def test_one_stream_is_not_mixed():
    file = stream(evaluator(), batches=1, batch_size=8, quiet=True)
    assert np.isnan(file["forward_mixing"]).all() and np.isfinite(file["forward_gain"][0, 0]).all()


def test_blocks_that_mix_cannot_share_their_input():
    with pytest.raises(BadInput, match="more than add"):
        lesions(evaluator(shortcut="hyper", depth=20), parallel=True, quiet=True)


@pytest.mark.parametrize("name", ["resnet", "transformer"])
def test_scores_see_channels_and_not_streams(name):
    evaluate = evaluator(name, shortcut="hyper", **{"order": "pre"} if name == "resnet" else {})  # no vector is 0
    influence = redundancy(evaluate, quiet=True)["influence"]
    network, (x, _) = evaluate.network, evaluate.sources[0].batches[0]
    before = network.stem(x)
    block = network.parts()[1]
    axis = 2 if name == "resnet" else -1
    with torch.no_grad():
        cosine = nn.functional.cosine_similarity(before.double(), block(before).double(), dim=axis)
    assert influence[0] == pytest.approx(float(1 - cosine.mean()), rel=1e-4)


# What they are, and what they cost


def test_what_connects_streams_has_no_filters_and_what_maps_to_it_has():
    known = conventions(made(shortcut="mhc", dynamic=True))
    assert all(convention.known for convention in known.values())
    for name, convention in known.items():
        if ".read." in name or ".write." in name or ".shortcut." in name:
            assert bool(convention.axes) == name.endswith("map.weight"), name


def test_what_connections_cost_is_counted():
    counted, one = (summary(build("resnet", **RESNET, **more), (1, 8, 8)) for more in ({"shortcut": "hyper"}, {}))
    assert counted.shortcut_parameters == 3 * (4 + 16 + 4) == counted.parameters - one.parameters
    # Each block reads n, writes n, mixes n² times what there is of a stream: in and out differ in blocks with a stride.
    reads = 4 * (4 * 64 + 4 * 64 + 8 * 16)
    writes_and_mixes = (4 + 16) * (4 * 64 + 8 * 16 + 16 * 4)
    assert counted.shortcut_multiply_adds == reads + writes_and_mixes
    assert counted.multiply_adds - counted.shortcut_multiply_adds == one.multiply_adds
    dynamic = summary(build("resnet", **RESNET, shortcut="hyper", dynamic=True), (1, 8, 8))
    each = sum(width + width * 4 + width + 3 for width in (4, 4, 8))
    assert dynamic.shortcut_parameters == counted.shortcut_parameters + each


@pytest.mark.parametrize("kind, dynamic", KINDS)
def test_fused_it_gives_the_same(kind, dynamic):
    network, x = made(shortcut=kind, dynamic=dynamic), inputs()
    quick, why = fuse(network, x)
    assert why == ""
    torch.testing.assert_close(quick(x), network(x), rtol=1e-4, atol=1e-5)


# What there cannot be


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("resnet", {"shortcut": "mhc", "streams": 1}, "streams is 1; it must be a whole number, 2 or more"),
        ("resnet", {"shortcut": "hyper", "join": "scale"}, "leave out join='scale'"),
        ("resnet", {"dynamic": True}, "dynamic is of hyper-connections"),
        ("transformer", {"shortcut": ("hyper", "identity")}, "have the same shortcuts"),
        ("transformer", {"shortcut": "mhc", "join": ("add", "scale")}, "leave out join='scale'"),
        ("vit", {"shortcut": "hyperr"}, "must be one of 'identity', None, 'hyper', 'mhc'"),
    ],
)
def test_what_cannot_be_is_refused(name, arguments, message):
    with pytest.raises(BadInput, match=message):
        build(name, **arguments)
