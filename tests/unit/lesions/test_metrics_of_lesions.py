"""Metrics in every trial of a lesion study, against brute force in plain PyTorch."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ensemble.drawing.lesions import lesions as drawn
from ensemble.drawing.page import lesion_page, trials
from ensemble.flow.redundancy import redundancy
from ensemble.lesions.trials import lesions
from landscape.analysis.numbers import Levels, lesion
from landscape.drawing.html import line_page, surface_page
from landscape.drawing.views import metrics_of
from landscape.errors import BadInput
from landscape.evaluation import sampling
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build
from landscape.planes.surface import surface

METRICS = ["agreement", "kl"]


def shaken(network):
    """Away from initial values, where branches are small or 0."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return network.eval()


@contextlib.contextmanager
def zeros(module):
    """The module with weights and biases of 0, so that it adds nothing."""
    kept = [parameter.clone() for parameter in module.parameters()]
    for parameter in module.parameters():
        parameter.data.zero_()
    yield
    for parameter, before in zip(module.parameters(), kept, strict=True):
        parameter.data.copy_(before)


def last_norm(network, name):
    """What ends the branch of a residual block, of ours or torchvision's."""
    block = network.get_submodule(name)
    return block.bn2 if hasattr(block, "bn2") else block.branch[-1]


def last_linear(network, name):
    """What ends a part of an encoder's layer."""
    layer, part = name.rpartition(".")[::2]
    module = network.get_submodule(layer)
    return {"attention": module.self_attn.out_proj, "mlp": module.linear2}[part]


def by_hand(network, batches, names, last):
    """Agreement and KL of each example for the intact network and each single deletion: (trials, examples)."""
    with torch.no_grad():
        intact = [network(x) for x, _ in batches]
    agreement, kl = [], []
    for name in [None, *names]:
        with zeros(last(network, name)) if name else contextlib.nullcontext(), torch.no_grad():
            changed = [network(x) for x, _ in batches]
        a, b = torch.cat(changed), torch.cat(intact)  # (N, classes), or of tokens (N, classes, T)
        same = (a.argmax(1) == b.argmax(1)).double()
        terms = F.kl_div(a.log_softmax(1), b.log_softmax(1), log_target=True, reduction="none").sum(1).double()
        agreement.append(same.reshape(len(same), -1).mean(1).numpy())
        kl.append(terms.reshape(len(terms), -1).mean(1).numpy())
    return {"agreement": np.array(agreement), "kl": np.array(kl)}


def equal(study, expected):
    for name, each in expected.items():
        np.testing.assert_allclose(study[name], each.mean(1), atol=1e-6, rtol=1e-5, err_msg=name)
        error = each.std(1, ddof=1) / np.sqrt(each.shape[1])
        np.testing.assert_allclose(study[f"{name}_se"], error, atol=1e-6, rtol=1e-4, err_msg=name)
    assert study["agreement"][0] == 1 and abs(study["kl"][0]) < 1e-6
    assert (study["kl"][1:] > 1e-6).any()


@pytest.fixture
def small():
    """A tiny residual network of ours, whose trials share their beginnings, and its batches."""
    torch.manual_seed(0)
    network = shaken(build("resnet", depth=20, width=4, channels=1))
    return network, [(torch.randn(10, 1, 8, 8), torch.arange(10)) for _ in range(3)]


def test_metrics_of_a_residual_network_are_those_of_brute_force(small):
    network, batches = small
    study = lesions(Evaluator(network, batches, metrics=METRICS), delete=1, quiet=True)
    equal(study, by_hand(network, batches, study.coordinates["block"].tolist(), last_norm))
    assert study.attributes["metrics"].tolist() == METRICS


@pytest.mark.slow
def test_metrics_of_torchvisions_resnet18_are_those_of_brute_force():
    models = pytest.importorskip("torchvision").models
    torch.manual_seed(0)
    network = models.resnet18(num_classes=7).eval()
    batches = [(torch.randn(6, 3, 32, 32), torch.arange(6)) for _ in range(2)]
    study = lesions(Evaluator(network, batches, metrics=METRICS), delete=1, quiet=True)
    assert len(study["done"]) == 9
    equal(study, by_hand(network, batches, study.coordinates["block"].tolist(), last_norm))


class Tagger(nn.Module):
    """A class for every token."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)

    def forward(self, tokens):
        return self.head(self.encoder(self.embed(tokens))).movedim(-1, 1)  # (N, classes, T)


def ends(network):
    return {
        f"encoder.layers.{i}.{part}": f"encoder.layers.{i}.{end}"
        for i in range(2)
        for part, end in (("attention", "dropout1"), ("mlp", "dropout2"))
    }


def test_metrics_of_tokens_are_means_over_the_positions_of_an_example():
    torch.manual_seed(0)
    network = shaken(Tagger())
    batches = [(torch.randint(11, (5, 6)), torch.randint(5, (5, 6))) for _ in range(2)]
    evaluate = Evaluator(network, batches, metrics=METRICS)
    study = lesions(evaluate, delete=1, blocks=ends, quiet=True)
    equal(study, by_hand(network, batches, study.coordinates["block"].tolist(), last_linear))


@pytest.mark.slow
def test_every_way_to_measure_a_trial_measures_the_metrics(small):
    network, batches = small
    evaluate = Evaluator(network, batches, metrics=METRICS)
    for options in (
        {"parallel": True},
        {"batchnorm": "recalibrated"},
        {"replace": "mean"},
        {"gate": "stages.1.1", "alpha": (0, 1, 3)},
        {"shapley": 4},
    ):
        study = lesions(evaluate, **options, quiet=True)
        done = study["done"]
        for name in METRICS:
            assert np.isfinite(study[name][done]).all() and np.isfinite(study[f"{name}_se"][done]).all()
    shared = lesions(evaluate, delete=1, quiet=True)
    gate = lesions(evaluate, gate=str(shared.coordinates["block"][3]), alpha=(0, 1, 2), quiet=True)
    assert gate["kl"][0] == shared["kl"][4] and abs(gate["kl"][1]) < 1e-6


@pytest.mark.slow
def test_with_a_tolerance_metrics_are_of_the_examples_that_were_taken(small, monkeypatch):
    network, _ = small
    monkeypatch.setattr(sampling, "LEAST", 50)
    batches = [(torch.randn(600, 1, 8, 8), torch.arange(600) % 10)]
    evaluate = Evaluator(network, batches, metrics=METRICS, tolerance=0.05, batch_size=50)
    study = lesions(evaluate, delete=1, quiet=True)
    assert study["examples"].min() < 600
    assert study["agreement"][0] == pytest.approx(1) and abs(study["kl"][0]) < 1e-6 and (study["kl_se"][1:] > 0).all()
    whole = lesions(Evaluator(network, batches, metrics=METRICS), delete=1, quiet=True)
    assert (np.abs(study["kl"] - whole["kl"]) <= 4 * study["kl_se"] + 1e-6).all()


@pytest.mark.slow
def test_several_losses_are_measured_in_every_trial(small):
    network, batches = small
    both = lesions(Evaluator(network, batches, ["cross_entropy", "mse"]), quiet=True)
    alone = lesions(Evaluator(network, batches, "mse"), quiet=True)
    np.testing.assert_array_equal(both["mse"], alone["loss"])
    np.testing.assert_array_equal(both["mse_se"], alone["loss_se"])
    np.testing.assert_array_equal(both["loss"], lesions(Evaluator(network, batches), quiet=True)["loss"])


@pytest.mark.slow
def test_metrics_stand_beside_the_scores_of_redundancy(small):
    network, batches = small
    evaluate = Evaluator(network, batches, metrics=METRICS)
    scored, study = redundancy(evaluate, quiet=True), lesions(evaluate, quiet=True)
    for name in ("rise", "rise_se", "loss", "kl", "kl_se", "agreement"):
        np.testing.assert_array_equal(scored[name], study[name][1:], err_msg=name)


def test_tables_and_figures_show_the_metrics(small):
    network, batches = small
    study = lesions(Evaluator(network, batches, metrics=METRICS), quiet=True)
    rows = {row.name: (row.unit, row.values[0]) for row in lesion(study, Levels())}
    assert rows["median kl, 1 deleted"] == ("nats", pytest.approx(np.median(study["kl"][1:])))
    assert rows["agreement, intact"] == ("1", 1.0)
    axes = drawn([study], variable="kl").axes[0]
    assert axes.get_ylabel().replace("\n", " ") == "KL divergence (nats)"
    heights = np.concatenate([line.get_ydata() for line in axes.lines if line.get_marker() in ("o", "D")])
    np.testing.assert_allclose(np.sort(heights), np.sort(study["kl"][1:]))
    assert drawn([study], variable="agreement").axes[0].get_ylabel() == "agreement"
    assert "loss" in drawn([study], variable="loss").axes[0].get_ylabel()
    with pytest.raises(BadInput, match="has no loss 'ece'"):
        drawn([study], variable="ece")


def test_pages_show_the_metrics(small, tmp_path):
    network, batches = small
    evaluate = Evaluator(network, batches, metrics=METRICS)
    study = lesions(evaluate, quiet=True)
    table = trials([study])
    for name in METRICS:
        np.testing.assert_array_equal(table[f"metric {name}"], study[name])
        np.testing.assert_array_equal(table[f"metric {name}_se"], study[f"{name}_se"])
    assert '"metrics": ["agreement", "kl"]' in lesion_page([study])
    plane = surface(evaluate, x=(-1, 1, 3), y=(0, 1, 2), quiet=True)
    for variable, names in {"loss": METRICS, "kl": ["agreement"]}.items():
        metrics = metrics_of(plane, variable)
        assert [*metrics] == names and metrics["agreement"][0] is plane["agreement"]
        assert f'"metrics": [{{"{names[0]}": [{{' in surface_page([plane], variable=variable)
    line = surface(evaluate, x=(-1, 1, 3), quiet=True)
    assert "kl %{customdata[" in line_page([line])


def test_panels_of_one_metric_have_one_scale(small):
    network, batches = small
    evaluate = Evaluator(network, batches, metrics=METRICS)
    one, many = (lesions(evaluate, delete=number, trials=4, quiet=True) for number in (1, 2))
    for variable in ("kl", "loss"):
        left, right = drawn([one, many], variable=variable).axes
        assert left.get_ylim() == right.get_ylim() and left.get_yscale() == right.get_yscale()


def test_a_bar_alone_is_no_thicker_than_one_of_three(small):
    network, batches = small
    study = lesions(Evaluator(network, batches, metrics=METRICS), replace="mean", quiet=True)
    (axes,) = drawn([study], variable="kl").axes
    (bar,) = axes.patches
    assert bar.get_height() / abs(np.diff(axes.get_ylim())[0]) < 0.1
