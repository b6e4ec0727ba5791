"""Redundancy: scores of blocks from activations, in networks of ours and of others, and the damage beside them."""

from itertools import permutations

import numpy as np
import pytest
import skipscape as ss
import torch
from scipy.stats import spearmanr
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.drawing.redundancy import redundancies
from ensemble.flow.redundancy import DRAWS, association, summary
from ensemble.flow.scores import SCORES, scores
from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.networks import build
from landscape.weights import digest

SMALL = {"depth": 14, "width": 4, "channels": 1, "classes": 4}


def scored(network, x, description=None, layers=False, size=2):
    by_name = blocks(network, description, layers)
    return scores(network, by_name, [(part, torch.zeros(len(part))) for part in x.split(size)])


def influence(x, y, axis):
    """1 − cos, one position at a time."""
    values = []
    for one, other in zip(x.double(), y.double(), strict=True):
        pairs = zip(one.movedim(axis, -1).flatten(0, -2), other.movedim(axis, -1).flatten(0, -2), strict=True)
        each = [float(a @ b / (a.norm() * b.norm())) for a, b in pairs if a.any() and b.any()]
        values.append(1 - np.mean(each))
    return values


def angle(x, y):
    x, y = x.double().flatten(1), y.double().flatten(1)
    x, y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
    # the angle at the centre of a triangle, which has no cosine in it
    return (2 * torch.atan2((x - y).norm(dim=1), (x + y).norm(dim=1)) / torch.pi).numpy()


def relative(more, carried):
    return (more.double().flatten(1).norm(dim=1) / carried.double().flatten(1).norm(dim=1)).numpy()


def shaken(network, by=0.1):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn(parameter.shape))
    return network.eval()


# Our networks


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"order": "pre"},
        {"shortcut": "projection"},
        {"join": "channel-gate"},
        {"join": "pooled-gate"},
        {"survival": 0.5},
    ],
)
def test_every_block_is_scored_as_by_hand(how):
    network = shaken(build("resnet", **SMALL, **how))
    images = torch.randn(3, 1, 8, 8)
    scores = scored(network, images)
    with torch.no_grad():
        x = network.stem(images)
        for number, block in enumerate(network.parts()[1:-1]):
            y, carried = block(x), block.join(block.shortcut(x))
            more = block.join(block.shortcut(x), block.survival * block.branch(x)) - carried
            np.testing.assert_allclose(scores.relative[number], relative(more, carried), rtol=1e-4)
            if y.shape == x.shape:
                np.testing.assert_allclose(scores.influence[number], influence(x, y, 0), atol=1e-6)
                np.testing.assert_allclose(scores.angle[number], angle(x, y), atol=1e-6)
            else:
                assert np.isnan(scores.influence[number]).all() and np.isnan(scores.angle[number]).all()
            x = y
    assert np.isnan(scores.angle).all(1).tolist() == [False, False, True, False, True, False]


def test_a_plain_block_adds_to_nothing():
    scores = scored(shaken(build("plain", **SMALL)), torch.randn(3, 1, 8, 8))
    assert scores.influence.shape == (4, 3)  # of 6, 2 change the shape and cannot be left out
    assert np.isfinite(scores.influence).all() and np.isfinite(scores.angle).all() and np.isnan(scores.relative).all()


def test_a_dense_layer_appends_and_so_has_a_size_but_no_angle():
    scores = scored(shaken(build("densenet", depth=10, growth=2, channels=1, classes=4)), torch.randn(3, 1, 8, 8))
    assert np.isnan(scores.influence).all() and (scores.relative > 0).all()


# Closed forms


class Layer(nn.Module):
    """x + F(x), or another sum."""

    def __init__(self, *branches, join=sum):
        super().__init__()
        self.branches, self.join = nn.ModuleList(branches), join

    def forward(self, x):
        for branch in self.branches:
            x = self.join([x, branch(x)])
        return x


class Times(nn.Module):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = matrix

    def forward(self, x):
        return x @ torch.as_tensor(self.matrix, dtype=x.dtype).T


def layered(*layers):
    network = nn.Sequential(*layers)
    return network, lambda _: {
        f"{n}.{i}" if len(layer.branches) > 1 else str(n): f"{n}.branches.{i}"
        for n, layer in enumerate(layers)
        for i in range(len(layer.branches))
    }


def test_nothing_a_quarter_turn_and_an_about_face_have_the_scores_of_their_angles():
    turn, none, back = [[0, -1], [1, 0]], np.zeros((2, 2)), -2 * np.eye(2)
    network, description = layered(*(Layer(Times(matrix)) for matrix in (none, turn, back)))
    scores = scored(network, torch.randn(5, 3, 2, dtype=torch.float64), description)
    np.testing.assert_allclose(scores.influence, np.repeat([[0], [1 - 0.5**0.5], [2]], 5, 1), atol=1e-12)
    np.testing.assert_allclose(scores.angle, np.repeat([[0], [1 / 4], [1]], 5, 1), atol=3e-8)
    np.testing.assert_allclose(scores.relative, np.repeat([[0], [1], [2]], 5, 1), atol=1e-12)


def test_influence_is_a_mean_over_tokens_and_the_angle_is_of_the_whole_example():
    x = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]).double()  # (1, 2 tokens, 2 channels)
    network, description = layered(Layer(Times([[0, 0], [0, -2]])))  # turns the second token about
    scores = scored(network, x, description)
    assert scores.influence[0, 0] == pytest.approx((0 + 2) / 2)
    assert scores.angle[0, 0] == pytest.approx(np.arccos((9 - 1) / 10) / np.pi)
    assert scores.relative[0, 0] == pytest.approx(2 / 10**0.5)


def test_vectors_of_0_have_no_direction_and_are_left_out():
    x = torch.tensor([[[1.0, 0], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [1, 0]]]).double()
    network, description = layered(Layer(Times([[0, 0], [1, 0]])))
    scores = scored(network, x, description)
    np.testing.assert_allclose(scores.influence[0], [1 - 0.5**0.5, np.nan, 1 - 0.5**0.5])
    np.testing.assert_allclose(scores.angle[0], [1 / 4, np.nan, 1 / 4])
    np.testing.assert_allclose(scores.relative[0], [1, np.nan, 1])
    of = scores.of(0)
    assert of["influence"] == pytest.approx(1 - 0.5**0.5) and of["influence_se"] == pytest.approx(0)


def test_means_count_examples_once_with_the_error_of_their_mean():
    network = shaken(build("resnet", **SMALL))
    images = torch.randn(7, 1, 8, 8)
    scores, pieces = scored(network, images, size=7), scored(network, images, size=3)
    for one, other in zip(scores, pieces, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-9)
    of = scores.of(1)
    assert of.keys() == SCORES.keys()
    assert of["angle"] == pytest.approx(scores.angle[1].mean())
    assert of["angle_se"] == pytest.approx(scores.angle[1].std(ddof=1) / 7**0.5)
    assert all(np.isnan(scores.of(2)[name]) for name in ("influence", "influence_se", "angle", "angle_se"))


# The stream inside of layers


def heard(network, x, names):
    """What some modules are given and what they give."""
    seen, handles = {}, []
    for name in names:

        def note(_, inputs, out, name=name):
            seen[name] = inputs[0].clone(), (out[0] if isinstance(out, tuple) else out).clone()

        handles.append(network.get_submodule(name).register_forward_hook(note))
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    return seen


def vit():
    from torchvision.models import VisionTransformer

    return shaken(VisionTransformer(16, 8, 2, 2, 16, 24, num_classes=10))


@pytest.mark.parametrize("layers", [False, True])
def test_channels_of_our_own_transformers_are_the_last_dimension(layers):
    network = build("transformer", depth=2, width=8, heads=2, vocabulary=11, context=5).eval()
    x = torch.randint(11, (3, 5))
    names = list(blocks(network, None, layers))
    seen = heard(network, x, names)
    scores = scored(network, x, layers=layers)
    for number, name in enumerate(names):
        np.testing.assert_allclose(scores.influence[number], influence(*seen[name], 1), atol=1e-6)


def test_between_attention_and_mlp_the_stream_is_what_the_second_norm_is_given():
    network, x = vit(), torch.randn(3, 3, 16, 16)
    names = [f"encoder.layers.encoder_layer_{i}{end}" for i in range(2) for end in ("", ".ln_2", ".dropout", ".mlp")]
    seen = heard(network, x, names)
    streams, added = [], []
    for layer, norm, attention, mlp in zip(*[iter(names)] * 4, strict=True):
        before, after = seen[layer]
        between = seen[norm][0]
        streams += [(before, between), (between, after)]
        added += [seen[attention][1], seen[mlp][1]]
    scores = scored(network, x)
    for number, ((before, after), more) in enumerate(zip(streams, added, strict=True)):
        np.testing.assert_allclose(scores.influence[number], influence(before, after, 1), atol=1e-6)
        np.testing.assert_allclose(scores.angle[number], angle(before, after), atol=1e-6)
        np.testing.assert_allclose(scores.relative[number], relative(more, before), rtol=1e-5)
    whole = scored(network, x, layers=True)
    for number, layer in enumerate(names[::4]):
        before, after = seen[layer]
        np.testing.assert_allclose(whole.influence[number], influence(before, after, 1), atol=1e-6)
        np.testing.assert_allclose(whole.relative[number], relative(after - before, before), rtol=1e-4)


def test_where_a_norm_follows_each_sum_the_stream_is_what_it_gives():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    network, x = shaken(nn.Sequential(layer)), torch.randn(3, 5, 8)
    seen = heard(network, x, ["0", "0.norm1", "0.norm2", "0.dropout1", "0.dropout2"])
    scores = scored(network, x)
    between, after = seen["0.norm1"][1], seen["0"][1]
    for number, (one, other, end) in enumerate([(x, between, "0.dropout1"), (between, after, "0.dropout2")]):
        np.testing.assert_allclose(scores.influence[number], influence(one, other, 1), atol=1e-6)
        np.testing.assert_allclose(scores.relative[number], relative(seen[end][1], one), rtol=1e-5)
    whole = scored(network, x, layers=True)
    np.testing.assert_allclose(whole.angle[0], angle(x, after), atol=1e-6)
    assert np.isnan(whole.relative).all()  # a norm comes between its branches


def test_where_sums_do_not_lead_to_what_comes_out_nothing_is_told():
    halves = Layer(nn.Linear(4, 4), nn.Linear(4, 4), join=lambda terms: terms[0] + 0.5 * terms[1])
    network, description = layered(halves, Layer(nn.Linear(4, 4), nn.Linear(4, 4)))
    scores = scored(network, torch.randn(3, 4), description)
    assert all(np.isnan(score[:2]).all() and np.isfinite(score[2:]).all() for score in scores)


def test_a_layer_of_which_a_part_alone_is_described_is_not_taken_for_that_part():
    network, _ = layered(Layer(nn.Linear(4, 4), nn.Linear(4, 4)))
    scores = scored(network, torch.randn(3, 4), lambda _: {"0.first": "0.branches.0"})
    assert all(np.isnan(score).all() for score in scores)


def test_activations_changed_in_place_are_scored_as_they_were():
    from torchvision.models.resnet import BasicBlock

    network, x = shaken(nn.Sequential(nn.Conv2d(3, 4, 1), BasicBlock(4, 4), BasicBlock(4, 4))), torch.randn(3, 3, 6, 6)
    scores = scored(network, x)
    with torch.no_grad():
        x = network[0](x)
        for number, block in enumerate(network[1:]):
            more = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
            y = (x + more).relu()
            np.testing.assert_allclose(scores.influence[number], influence(x, y, 0), atol=1e-6)
            np.testing.assert_allclose(scores.relative[number], relative(more, x), rtol=1e-4)
            x = y


def test_a_stream_that_is_added_to_in_place_is_scored_as_it_was():
    turn = Times([[0, -1], [1, 0]])
    network, description = layered(Layer(turn, join=lambda terms: terms[0].add_(terms[1])))
    scores = scored(network, torch.randn(3, 2), description)
    np.testing.assert_allclose(np.array(scores)[:, 0], np.repeat([[1 - 0.5**0.5], [1 / 4], [1]], 3, 1), atol=1e-6)


def test_a_projection_of_others_cannot_be_observed():
    from torchvision.models import resnet18

    scores = scored(shaken(resnet18(num_classes=10), 0.01), torch.randn(2, 3, 32, 32))
    for score in scores:
        assert np.isnan(score).all(1).tolist() == [False, False] + [True, False] * 3


def test_channels_are_last_in_a_swin_transformer():
    from torchvision.models import SwinTransformer

    network = shaken(SwinTransformer([4, 4], 12, [2], [2], [3, 3], num_classes=10))
    x = torch.randn(2, 3, 24, 24)
    seen = heard(network, x, ["features.1.0"])
    before, after = seen["features.1.0"]
    assert before.shape == (2, 6, 6, 12)
    scores = scored(network, x, layers=True)
    np.testing.assert_allclose(scores.influence[0], influence(before, after, 2), atol=1e-6)


@pytest.mark.parametrize("failing", [False, True])
def test_the_network_is_left_as_it_was(failing):
    network = vit().train()
    network.encoder.dropout.eval()
    modes = [module.training for module in network.modules()]
    state, x = digest(dict(network.state_dict())), torch.randn(3, 3, 16, 16)
    if failing:
        with pytest.raises(AssertionError):
            scored(network, torch.cat([x, x]), size=3) and scored(network, torch.randn(3, 3, 15, 15))
    else:
        scored(network, x)
    assert modes == [module.training for module in network.modules()]
    assert digest(dict(network.state_dict())) == state
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_scores_are_those_of_evaluation():
    network, x = shaken(build("resnet", **SMALL)), torch.randn(4, 1, 8, 8)
    scores = scored(network, x)
    np.testing.assert_array_equal(scored(network.train(), x), scores)


def test_a_branch_that_runs_twice_is_refused():
    shared = nn.Linear(4, 4)
    network = nn.Sequential(Layer(shared), Layer(shared))
    with pytest.raises(BadInput, match="2 times"):
        scored(network, torch.randn(3, 4), lambda _: {"0": "0.branches.0"})


def test_of_one_part_of_layers_scores_are_those_that_it_has_among_all():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    network = nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(24, 3))
    evaluate = ss.Evaluator(network, [(torch.randn(6, 3, 8), torch.arange(6) % 3)])
    every = ss.redundancy(evaluate, quiet=True)
    for first, part in enumerate(("attention", "mlp")):
        one = ss.redundancy(evaluate, part=part, quiet=True)
        for name in ("influence", "angle", "relative", "loss"):
            np.testing.assert_array_equal(one[name], every[name][first::2])
        assert np.isfinite(one["influence"]).all()


# Scores and damage


def test_the_rank_correlation_is_scipys_and_nan_is_left_out():
    rng = np.random.default_rng(0)
    score, damage = rng.normal(size=20), rng.integers(0, 6, 20).astype(float)  # with ties
    score[[3, 7]], damage[7] = np.nan, np.nan
    finite = np.isfinite(score)
    related = association(score, damage)
    assert related.blocks == 18
    assert related.rho == pytest.approx(spearmanr(score[finite], damage[finite]).statistic, abs=1e-12)
    assert association(score, damage) == related
    assert association(-score, damage).rho == pytest.approx(-related.rho)
    damage[0] = np.inf  # a loss that overflows is a large one
    other = np.where(np.isinf(damage), 100, damage)
    assert association(score, damage) == association(score, other)


def test_the_p_value_is_that_of_all_permutations():
    score, damage = np.array([1.0, 2, 3, 4, 5, 6]), np.array([2.0, 1, 3, 6, 4, 5])
    rho = spearmanr(score, damage).statistic
    every = [spearmanr(score, damage[list(order)]).statistic for order in permutations(range(6))]
    exact = np.mean(np.abs(every) >= abs(rho) - 1e-12)
    related = association(score, damage)
    assert abs(related.p - exact) < 4 * np.sqrt(exact * (1 - exact) / DRAWS)
    assert association(score, damage, seed=1).p != related.p


def test_too_few_blocks_or_blocks_all_alike_have_none():
    nan = np.full(4, np.nan)
    assert association(nan, np.arange(4.0)).blocks == 0
    for score in (nan, np.ones(4), np.array([1, 2, np.nan, np.nan])):
        assert np.isnan(association(score, np.arange(4.0)).rho)
    lines = summary({"influence": nan, "angle": np.ones(4), "relative": np.arange(4.0), "rise": np.arange(4.0)})
    assert "no rank correlation" in lines[0] and "4 without" in lines[0]
    assert "ρ = 1.00" in lines[2] and "left out" not in lines[2]


def table(path, scores, rises):
    rows, _ = prepare(
        path,
        np.zeros((len(rises), 1)),
        kind="redundancy",
        dims=("block",),
        coordinates={"block": np.array([f"stages.0.{i}" for i in range(len(rises))])},
        measured={name: ("f8", np.nan, {}) for name in (*SCORES, "rise", "rise_se")},
        attributes={"network": "resnet-20", "split": "test", "seed": 0},
    )
    for row, (score, rise) in enumerate(zip(scores, rises, strict=True)):
        if rise is not None:
            rows.record(row, {**dict.fromkeys(SCORES, score), "rise": rise, "rise_se": 0.01})
    rows.flush()
    return read(path)


def test_a_p_value_that_no_permutation_reaches_is_a_bound():
    relation = association(np.arange(20.0), np.arange(20.0))
    assert relation.p == 1 / (1 + DRAWS)
    values = {
        "influence": np.arange(20.0),
        "angle": np.arange(20.0),
        "relative": np.arange(20.0),
        "rise": np.arange(20.0),
    }
    assert all("(p ≤ 0.0001)" in line for line in summary(values))
    assert not any("≤" in line for line in summary(values | {"rise": np.arange(20.0) % 7}))


def test_a_file_with_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"a\.h5"):
        redundancies([table(tmp_path / "a.h5", [0.1], [None])])
    assert redundancies([table(tmp_path / "b.h5", [np.nan, np.nan], [1, 2])]).axes


def test_a_row_has_its_networks_name_above_and_every_panel_says_over_how_many_blocks_it_is(tmp_path):
    row = redundancies([table(tmp_path / "a.h5", [0.1, 0.2, 0.3, np.nan], [1, 2, 4, 5])], titles=["a network"]).axes[:3]
    assert [axes.get_title() for axes in row] == ["", "a network", ""]
    assert [text.get_text().endswith("n = 3") for axes in row for text in axes.texts]
