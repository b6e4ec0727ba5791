"""What blocks do, against closed forms: downhill or not, how much, what layers share, whether nothing can be learnt."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ensemble.drawing import reuse as reuse_drawing
from ensemble.flow.parts import stages
from ensemble.flow.refinement import exits, refinement
from ensemble.flow.reuse import reuse
from ensemble.flow.similarity import alignment, covariances, similarity, source_weights
from ensemble.identity import KINDS, _inputs, best, identity, identity_network, regress
from landscape.data import load
from landscape.errors import BadInput
from landscape.evaluation.measure import measure
from landscape.networks import Block, build
from landscape.networks.joins import Add, ChannelGate, Concatenate, Scale
from landscape.networks.network import Network
from landscape.training.train import train
from landscape.training.variants import variant


class Matrix(nn.Module):
    """(N, 2, 1, 1), each example times a matrix."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = torch.tensor(matrix, dtype=torch.float64)

    def forward(self, x):
        return torch.einsum("ij,njhw->nihw", self.matrix, x)


def half_square(out, _):
    return out.square().sum(1) / 2


def one_block(branch, join, survival=1.0):
    return Network(nn.Identity(), [[Block(branch, nn.Identity(), join, survival=survival)]], nn.Flatten())


def points(n=5):
    x = torch.randn(n, 2, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return [(x, torch.zeros(n))]


# Refinement


@pytest.mark.parametrize("matrix, cosine", [([[-0.3, 0], [0, -0.3]], -1), ([[0.3, 0], [0, 0.3]], 1)])
def test_a_step_of_gradient_descent_has_cosine_minus_one(matrix, cosine):
    refined = refinement(one_block(Matrix(matrix), Add()), points(), half_square)
    np.testing.assert_allclose(refined.cosine[0], cosine, rtol=1e-12)
    np.testing.assert_allclose(refined.residual[0], 0.3, rtol=1e-12)
    assert np.isnan(refined.cosine[1]).all()  # the head adds nothing


def test_a_step_along_a_level_has_cosine_zero():
    # the gradient of |x + Rx|²/2 = (1 + 0.25)|x|²/2 is along x, and Rx is at a right angle to it
    refined = refinement(one_block(Matrix([[0, -0.5], [0.5, 0]]), Add()), points(), half_square)
    np.testing.assert_allclose(refined.cosine[0], 0, atol=1e-12)


def test_what_a_block_adds_is_what_its_join_takes_of_the_branch():
    branch, (x, y) = Matrix([[2.0, 0], [0, 2.0]]), points()[0]
    gate = ChannelGate(2, -1.0).double()
    alpha = 1 / (1 + math.exp(1))
    for join, survival, expected in [
        (Add(), 0.5, 1.0),
        (Scale(0.25, 0.5), 1.0, 4.0),
        (gate, 1.0, 2 * alpha / (1 - alpha)),
        (Concatenate(2), 1.0, 2.0),
    ]:
        refined = refinement(one_block(branch, join, survival), [(x, y)], half_square)
        np.testing.assert_allclose(refined.residual[0], expected, rtol=1e-12)
        np.testing.assert_allclose(refined.share[0], expected**2 / (1 + expected**2), rtol=1e-12)
        assert np.isnan(refined.cosine[0]).all() == isinstance(join, Concatenate)  # its shape is not the input's


def test_a_plain_network_adds_nothing_to_anything():
    torch.manual_seed(0)
    network = build("plain", depth=8, width=4, channels=1)
    refined = refinement(network, [(torch.randn(8, 1, 8, 8), torch.arange(8))])
    assert all(np.isnan(values).all() for values in refined)


def test_each_branch_of_variance_one_has_a_share_of_what_has_come_together():
    """Variances 1/share of blocks l and l + 1 differ by that of one branch (De & Smith 2020), at initialisation."""
    torch.manual_seed(0)
    network = build("resnet", depth=38, width=64, order="pre")
    x = torch.randn(4, 3, 16, 16)
    share = refinement(network, [(x, torch.arange(4))]).share[:6]  # the first stage
    np.testing.assert_allclose(np.diff(1 / share), 1, atol=0.2)


# Early exits


def test_early_exits_are_the_head_on_what_has_come_so_far():
    torch.manual_seed(0)
    network = build("resnet", depth=14, width=4, channels=1)
    x, y = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    outputs = exits(network.train(), [(x[:9], y[:9]), (x[9:], y[9:])], batchnorm="frozen")
    assert network.training
    network.eval()
    with torch.no_grad():
        at = [network.stem(x)]
        for part in stages(network):
            at.append(part(at[-1]))
        for place, h in enumerate(at):
            for _ in range({0: 2, 1: 2, 2: 2, 3: 1, 4: 1}.get(place, 0)):  # what He et al. do to shapes
                h = F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, 0, h.shape[1]))
            each = F.cross_entropy(network.head(h), y, reduction="none")
            np.testing.assert_allclose(outputs[place]["loss"], each.mean(), rtol=1e-6)
            assert outputs[place]["examples"] == 16
    assert outputs[-1] == measure(network, [(x[:9], y[:9]), (x[9:], y[9:])])


def test_a_plain_network_has_exits_in_its_last_stage_only():
    torch.manual_seed(0)
    network = build("plain", depth=20, width=4, channels=1)
    outputs = exits(network, [(torch.randn(4, 1, 8, 8), torch.arange(4))])
    assert [out is None for out in outputs] == [True] * 7 + [False] * 3


# Similarity


def features(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_similarity_does_not_see_rotations_scales_and_shifts():
    x = features(30, 8)
    rotation = torch.linalg.qr(features(8, 8, 1))[0]
    aligned = alignment(covariances([x, 3 * x @ rotation + 5, x**2]))
    np.testing.assert_allclose(aligned[0, 1], 1, rtol=1e-10)
    np.testing.assert_allclose(aligned[0, 2], aligned[1, 2], rtol=1e-10)
    assert abs(aligned[0, 2]) < 0.5


def test_covariances_are_those_of_doubly_centred_products():
    """The same estimate in the form of Székely & Rizzo 2014 (*Annals of Statistics* 42, §3)."""
    n, x, y = 7, features(7, 3), features(7, 5, 1)

    def centred(z):
        k = (z @ z.T).numpy()
        np.fill_diagonal(k, 0)
        k = k - k.sum(0) / (n - 2) - k.sum(0)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        return k

    expected = [[(centred(a) * centred(b)).sum() / (n * (n - 3)) for b in (x, y)] for a in (x, y)]
    np.testing.assert_allclose(covariances([x, y]), expected, rtol=1e-10)


def test_covariances_are_unbiased_however_few_examples_there_are():
    draws = []
    for seed in range(1000):
        x, z = features(6, 2, 2 * seed), features(6, 2, 2 * seed + 1)
        draws.append(covariances([x, 0.6 * x + 0.8 * z])[0, 1])
    error = np.std(draws) / math.sqrt(len(draws))
    assert abs(np.mean(draws) - 2 * 0.6**2) < 3.5 * error  # the squared norm of the covariance, 0.6 times the identity
    assert error < 0.1


def test_layers_with_nothing_in_common_have_similarity_zero_although_examples_are_few():
    aligned = alignment(covariances([features(64, 2000), features(64, 2000, 1)]))
    assert abs(aligned[0, 1]) < 0.1  # the plain estimate would be 0.97
    assert np.isnan(alignment(covariances([features(9, 2), torch.ones(9, 2)]))[0, 1])


def test_blocks_that_add_nothing_leave_the_features_alike():
    torch.manual_seed(0)
    network = build("resnet", depth=14, width=4, channels=1, order="pre", zero_init=True)
    x = torch.randn(24, 1, 8, 8)
    similar = similarity(network, [(x[:12], None), (x[12:], None)])
    np.testing.assert_allclose(similar[:3, :3], 1, rtol=1e-6)
    assert abs(similar[0, -1]) < 0.999  # subsampled in between
    np.testing.assert_allclose(similar, similar.T, rtol=1e-12)
    with pytest.raises(BadInput, match="4"):
        similarity(network, [(x[:3], None)])


# What a DenseNet uses


@pytest.mark.parametrize("arguments", [{"depth": 10}, {"depth": 16, "bottleneck": True, "compression": 0.5}])
def test_weights_are_told_apart_by_the_layer_that_they_read(arguments):
    network = build("densenet", growth=3, channels=1, **arguments)
    for number, stage in enumerate(network.stages):
        parts = [stage[0].branch, stage[1].branch, stage[2] if number < 2 else network.head]
        for target, part in enumerate(parts):
            weight = next(m.weight for m in part.modules() if isinstance(m, nn.Conv2d | nn.Linear))
            sign = torch.where(torch.rand_like(weight) < 0.5, -1.0, 1.0)
            with torch.no_grad():
                for source in range(target + 1):
                    start = weight.shape[1] - 3 * (target - source + 1) if source else 0
                    weight[:, start:] = sign[:, start:] * (100 * number + 10 * target + source)
    nan = np.nan
    expected = np.array([[0, nan, nan], [10, 11, nan], [20, 21, 22]])
    np.testing.assert_allclose(source_weights(network), [expected, 100 + expected, 200 + expected])
    with pytest.raises(BadInput, match="densenet"):
        source_weights(build("resnet", depth=8, width=4))


# The identity


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_both_kinds_can_represent_the_identity(kind, depth):
    network = identity_network(kind, depth)
    eye = torch.eye(16)
    pair = torch.cat([eye, -eye, torch.zeros(32, 16)])  # whose ReLU is max(x, 0), max(−x, 0), and their difference x
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.stem.weight.copy_(pair)
        network.head.weight.copy_(pair.T / 2)
        if kind == "plain":
            for block in stages(network):
                block.branch[-1].weight.copy_(pair @ pair.T)
        x = torch.randn(9, 16)
        torch.testing.assert_close(network(x), x)


def test_a_network_that_learns_nothing_is_as_far_off_as_it_starts():
    still = regress("residual, BatchNorm", 2, 0.0, 0, steps=1)
    learnt = regress("residual, BatchNorm", 2, 0.01, 0, steps=150)
    assert still["error"] > 0.3 > 0.1 > learnt["error"]
    assert 0 < learnt["error_se"] < learnt["error"] / 5
    one, again, other = (regress("residual, BatchNorm", 2, 0.01, seed, steps=9) for seed in (0, 0, 1))
    assert one == again != other


def test_activations_of_every_kind_stay_of_one_size_through_fifty_blocks():
    for kind in KINDS:
        torch.manual_seed(0)
        network = identity_network(kind, 50)
        with torch.no_grad():
            out = network(torch.randn(256, 16)).std()
        assert 0.01 < out < 100, kind


@pytest.mark.parametrize("name, depth", [("resnet:join=scale,scales=(0.5,1)", 8), ("densenet:growth=4", 7)])
def test_a_variant_names_a_network_with_its_arguments(name, depth):
    network = variant(name, depth, 4, load("digits", "train", examples=20))
    assert name.partition(":")[0] == ("resnet" if isinstance(network.stages[0][0].join, Scale) else "densenet")


def test_the_best_learning_rate_is_that_of_the_least_mean_and_never_one_that_diverged():
    error = np.array([[[3.0, 5.0], [1.0, np.inf], [4.0, 2.0]], [[np.nan] * 2, [9.0, 9.0], [9.0, 8.0]]])
    np.testing.assert_array_equal(best(error), [[4, 2], [9, 8]])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kinds": ["residual", "residal"]}, "there is no kind of network 'residal'.*did you mean residual"),
        ({"kinds": ["plain", "plain"]}, "plain plain: one is there twice"),
        ({"depth": [2, 0]}, "depth is 0; give 1 or more"),
        ({"learning_rate": 0}, r"learning_rate is 0\.0; give more than 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_an_identity_of_nothing_is_refused(wrong, said):
    with pytest.raises(BadInput, match=said):
        identity(**wrong, seeds=1, quiet=True)


def test_a_densenet_need_not_be_in_a_file():
    checkpoint = train(network="densenet", depth=7, epochs=1, examples=50, quiet=True)
    results = reuse(checkpoint, quiet=True)
    np.testing.assert_array_equal(results["weight"], source_weights(checkpoint.restore()))


@pytest.mark.parametrize(("last", "lower"), [(0.1, True), (1.2, False)])
def test_the_last_reader_has_a_part_of_the_scale_where_its_weights_are_less_than_all_others(last, lower):
    weight = np.full((3, 3), np.nan)
    for target, sources in enumerate(([1.0], [1.1, 1.3], [last, last + 0.02, last + 0.01])):
        weight[target, : target + 1] = sources
    norm = reuse_drawing._norm(weight)
    below = norm(1.0) - norm(last + 0.02)
    assert (below > 0 and norm(1.3) - norm(1.0) > 0.5) == lower
    np.testing.assert_allclose(norm(np.nanmin(weight)), 0)
    np.testing.assert_allclose(norm(np.nanmax(weight)), 1)


def test_the_error_of_an_identity_is_known_as_well_as_it_scatters_over_new_examples():
    """Of one network that learns nothing: another length of its only batch gives it other examples to be tested on."""
    each = [regress("residual", 2, 0.0, 0, steps=1, batch=n, tested=200) for n in range(200, 16_200, 200)]
    scatter = np.std([one["error"] for one in each], ddof=1)
    assert np.mean([one["error_se"] for one in each]) == pytest.approx(scatter, rel=0.25)


def test_examples_of_an_identity_are_of_the_seed_alone(monkeypatch):
    drawn = []
    monkeypatch.setattr("ensemble.identity._inputs", lambda *given: drawn.append(_inputs(*given)) or drawn[-1])
    for kind, seed in (("plain, BatchNorm", 0), ("residual, BatchNorm", 0), ("residual, BatchNorm", 1)):
        regress(kind, 2, 0.01, seed, steps=1, batch=4, tested=8)
    (train, test), (train_again, test_again), (train_other, test_other) = zip(drawn[::2], drawn[1::2], strict=True)
    assert torch.equal(train, train_again) and torch.equal(test, test_again)
    assert not torch.equal(train, train_other) and not torch.equal(test, test_other)
    assert not torch.equal(train, test[:4])
