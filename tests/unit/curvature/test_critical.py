"""Critical sharpness against exact quadratics, scans along the step, and loops written by hand."""

import copy

import numpy as np
import pytest
import tiny
import torch
from files import same
from scipy.optimize import brentq
from torch import nn
from torch.nn import functional as F

from landscape.curvature.critical import critical_sharpness, measures
from landscape.curvature.critical_step import critical_step
from landscape.drawing import draw
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.training.train import train
from landscape.weights import digest

# The search


def searched(rise, start=1.0, **how):
    return critical_step(lambda step: (rise(step), 0.0), start, **how)


@pytest.mark.parametrize("start", [1e-9, 1e-3, 1.0, 1e3, 1e9])
def test_the_step_of_a_parabola_is_exact_wherever_the_search_begins(start):
    assert searched(lambda s: 3 * s**2 - s, start).size == pytest.approx(1 / 3, rel=1e-12)


@pytest.mark.parametrize(
    "rise",
    [lambda s: s**4 - s, lambda s: np.expm1(s) - 2 * s, lambda s: s**3 - 2 * s**2 - s, lambda s: -np.sin(s)],
    ids=["quartic", "exponential", "cubic", "sine"],
)
def test_the_step_is_the_first_root_of_a_scan(rise):
    """The scan knows nothing of brackets: the first of many steps that is higher than where they begin."""
    steps = np.linspace(1e-4, 10, 100_001)
    first = steps[np.argmax(rise(steps) > 0)]
    root = brentq(rise, first - 2e-4, first)
    for precision in (0.1, 0.02):
        assert searched(rise, 0.3, precision=precision).size == pytest.approx(root, rel=precision**2)


def test_a_good_start_needs_few_steps():
    assert searched(lambda s: s**2 - s, 0.7, precision=0.1).passes <= 6


def test_a_loss_that_falls_forever_has_an_infinite_step():
    step = searched(lambda s: np.exp(-s) - 1)
    assert np.isinf(step.size) and step.largest >= 2**40


@pytest.mark.parametrize("rise", [lambda s: s, lambda s: s**2, lambda s: 0.0], ids=["rises", "at a minimum", "flat"])
def test_a_loss_that_does_not_fall_first_has_no_step(rise):
    assert np.isnan(searched(rise).size)


def test_a_fall_within_rounding_is_none():
    assert np.isnan(searched(lambda s: s**2 - 1e-9 * s, rounding=1e-8).size)


@pytest.mark.parametrize("wall", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_has_risen(wall):
    assert searched(lambda s: -s if s < 5 else wall, precision=1e-3).size == pytest.approx(5, rel=1e-3)


def test_the_ends_of_the_interval_are_where_the_bounds_cross():
    """D = η² − η with an error of η/10: the bounds at two errors are 0 at 1 ∓ 0.2."""
    step = critical_step(lambda s: (s**2 - s, s / 10), 3.0, quantile=2.0)
    np.testing.assert_allclose((step.low, step.size, step.high), (0.8, 1, 1.2), rtol=1e-12)


def test_an_interval_may_hold_all_steps():
    step = critical_step(lambda s: (s**2 - s, s), 3.0, quantile=2.0)
    assert step.low == 0 and (step.size, step.high) == pytest.approx((1, 3))
    assert np.isinf(critical_step(lambda s: (s**2 - s, 1.0 * s**2), 3.0, quantile=2.0).high)


# Quadratics: linear models with squared error, in float64


def data(seed, examples=60, noise=1.0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(examples, 5, generator=generator, dtype=torch.float64) * torch.linspace(0.3, 2, 5)
    return inputs, noise * torch.randn(examples, 2, generator=generator, dtype=torch.float64)


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(5, 2, bias=False).double()


def exact(network, inputs, targets):
    """Gradient and Hessian of the mean squared error, from the normal equations."""
    x, y, w = inputs.numpy(), targets.numpy(), network.weight.detach().numpy()
    g = 2 / (2 * len(x)) * ((x @ w.T - y).T @ x).ravel()
    return g, np.kron(np.eye(2), 2 / (2 * len(x)) * x.T @ x)


def on(network, *batches, **how):
    return Evaluator(network, [*batches], "mse", **how)


def test_along_the_gradient_it_is_the_rayleigh_quotient():
    network, batch = linear(), data(1)
    results = critical_sharpness(on(network, batch), lambda_max=True, quiet=True)
    g, h = exact(network, *batch)
    assert results["lambda_c"][0] == pytest.approx(g @ h @ g / (g @ g), rel=1e-9)
    assert results["eta_c"][0] == pytest.approx(2 / results["lambda_c"][0])
    assert results["direction_norm"][0] == pytest.approx(np.linalg.norm(g))
    assert results["lambda_max"][0] == pytest.approx(np.linalg.eigvalsh(h)[-1], rel=1e-3)


def test_it_is_never_above_the_largest_eigenvalue():
    for seed in range(20):
        network, batch = linear(seed), data(seed)
        assert critical_sharpness(on(network, batch), quiet=True)["lambda_c"][0] <= np.linalg.eigvalsh(
            exact(network, *batch)[1]
        )[-1] * (1 + 1e-9)


def test_how_examples_are_cut_into_batches_does_not_matter():
    network, (inputs, targets) = linear(), data(1)
    one = critical_sharpness(on(network, (inputs, targets)), quiet=True)
    cut = critical_sharpness(
        on(network, *zip(inputs.split([7, 13, 40]), targets.split([7, 13, 40]), strict=True)), quiet=True
    )
    for name in ("lambda_c", "lambda_c_low", "lambda_c_high"):
        assert one[name][0] == pytest.approx(cut[name][0], rel=1e-9)


def descent(network, batch, rate, steps):
    """State dicts of plain gradient descent, which ends in the network."""
    states = []
    for _ in range(steps):
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        g, _ = exact(network, *batch)
        network.weight.data -= rate * torch.from_numpy(g).view(2, 5)
    return states


def test_along_updates_it_is_in_updates_or_in_learning_rates():
    network, batch = linear(), data(1)
    states = descent(network, batch, 0.05, 3)
    evaluate, how = on(network, batch), {"along": "update", "quiet": True}
    updates = critical_sharpness(evaluate, states, **how)
    rates = critical_sharpness(evaluate, states, learning_rate=0.05, **how)
    gradient = critical_sharpness(evaluate, states, quiet=True)
    assert updates.attributes["step"] == "update" and rates.attributes["step"] == "learning rate"
    assert len(updates["lambda_c"]) == 3 and len(gradient["lambda_c"]) == 4
    np.testing.assert_allclose(updates["lambda_c"] / 0.05, gradient["lambda_c"][:3], rtol=1e-6)
    np.testing.assert_allclose(rates["lambda_c"], gradient["lambda_c"][:3], rtol=1e-6)


def test_where_it_is_above_two_over_the_learning_rate_a_step_raises_the_loss():
    batch = data(1)
    for rate in (0.1, 0.4, 0.7, 1.0):
        network = linear()
        states = descent(network, batch, rate, 6)
        path = critical_sharpness(on(network, batch), states, learning_rate=rate, along="update", quiet=True)
        loss = critical_sharpness(on(network, batch), states, quiet=True)["loss"]
        np.testing.assert_array_equal(path["lambda_c"] > 2 / rate, np.diff(loss) > 0)


def test_relative_sharpness_is_that_of_one_loss_along_the_gradient_of_another():
    network, one, other = linear(), data(1), data(2)
    (g, h), (own, _) = exact(network, *one), exact(network, *other)
    along = critical_sharpness(on(network, one), along=on(network, other), quiet=True)
    assert along["lambda_c"][0] == pytest.approx(own @ h @ own / (own @ g), rel=1e-9)
    split = critical_sharpness(on(network, other, test=[one]), quiet=True)
    assert split["test_lambda_c"][0] == pytest.approx(along["lambda_c"][0], rel=1e-9)

    def half(outputs, targets):
        return 0.5 * (outputs - targets).square().mean(1)

    both = critical_sharpness(Evaluator(network, [other], ["mse", half]), quiet=True)
    assert both["half_lambda_c"][0] == pytest.approx(both["lambda_c"][0], rel=1e-9)  # the same step raises it


def test_a_gradient_that_another_loss_does_not_fall_along_has_no_critical_step():
    network, (inputs, targets) = linear(), data(1)
    outputs = network(inputs).detach()
    mirrored = inputs, 2 * outputs - targets  # whose gradient is the opposite
    assert np.isnan(
        critical_sharpness(on(network, (inputs, targets)), along=on(network, mirrored), quiet=True)["lambda_c"]
    )


def test_a_loss_that_falls_forever_is_bounded():
    def linear_loss(outputs, targets):
        return outputs.sum(1)

    results = critical_sharpness(Evaluator(linear(), [data(1)], linear_loss), quiet=True)
    assert results["lambda_c"] == results["lambda_c_low"] == 0 and np.isinf(results["eta_c"])
    assert results["lambda_c_high"] > 0


@pytest.mark.slow
def test_nineteen_of_twenty_intervals_hold_the_populations_critical_sharpness():
    """Along a fixed direction, of samples whose population has a known quadratic loss."""
    network, held = linear(), 0
    # inputs N(0, diag(spread)), targets N(0, 1): the loss is ½ (w Σ wᵀ + 2)
    spread = torch.linspace(0.3, 2, 5, dtype=torch.float64) ** 2
    d = -network.weight.detach() * spread
    truth = float((d * spread * d).sum() / (d * d).sum())
    for seed in range(300):
        with on(network, data(seed, 100)).ready() as evaluation:
            measured = measures(evaluation, {"weight": d}, start=1.0, precision=0.1)
        held += measured["lambda_c_low"] <= truth <= measured["lambda_c_high"]
    assert 0.92 * 300 <= held <= 0.98 * 300


# Networks


def by_hand(network, inputs, targets, precision=1e-3):
    """The critical step along the gradient, of a copy of the network in the mode that it is in."""
    network = copy.deepcopy(network)
    loss = F.cross_entropy(network(inputs), targets)
    slopes = torch.autograd.grad(loss, [*network.parameters()])
    weights = [p.detach().clone() for p in network.parameters()]

    def rises(step):
        with torch.no_grad():
            for p, w, g in zip(network.parameters(), weights, slopes, strict=True):
                p.copy_(w - step * g)
            return F.cross_entropy(network(inputs), targets) > loss

    low, high = 0.0, 1e-4
    while not rises(high):
        low, high = high, 1.1 * high
    while high > low * (1 + precision):
        low, high = (low, (low + high) / 2) if rises((low + high) / 2) else ((low + high) / 2, high)
    return high


@pytest.mark.parametrize("policy", ["frozen", "batch"])
def test_a_network_has_the_step_of_a_loop_by_hand(policy):
    network = tiny.network(width=4, steps=20)
    batch = tiny.digits(100)
    before = digest(network.state_dict())
    results = critical_sharpness(tiny.with_digits(network, 100), batchnorm=policy, quiet=True)
    assert digest(network.state_dict()) == before
    step = by_hand(network.train(policy == "batch"), batch.images, batch.labels)
    assert results["eta_c"][0] == pytest.approx(step, rel=0.02)
    assert results.attributes["batchnorm"] == policy
    assert results["lambda_c_low"][0] < results["lambda_c"][0] < results["lambda_c_high"][0]


def test_the_statistics_of_each_batch_are_the_default_and_so_is_their_loss():
    network, batch = tiny.network(width=4), tiny.digits(100)
    results = critical_sharpness(tiny.with_digits(network, 100), quiet=True)
    with torch.no_grad():
        loss = F.cross_entropy(copy.deepcopy(network).train()(batch.images), batch.labels)
    assert results["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    assert critical_sharpness(on(linear(), data(1)), quiet=True).attributes["batchnorm"] == "frozen"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A training whose batches hold all examples, with its snapshots."""
    folder = tmp_path_factory.mktemp("run")
    how = {"depth": 8, "width": 4, "examples": 100, "batch_size": 128, "epochs": 3, "quiet": True}
    train(folder / "net.pt", **how, snapshots=folder / "snapshots")
    return folder


def test_trainings_of_whole_batches_are_seen_to_be_one_step_apart(run):
    evaluate = Evaluator.from_checkpoint(run / "net.pt", examples=100)
    path = critical_sharpness(evaluate, run / "snapshots", along="update", quiet=True)
    rates = [
        torch.load(f, weights_only=True)["history"]["learning_rate"][-1] for f in sorted(run.glob("snapshots/*"))[1:]
    ]
    assert list(path.coordinates["checkpoint"]) == ["epoch-0000", "epoch-0001", "epoch-0002"]
    np.testing.assert_array_equal(path["learning_rate"], rates)
    if all(rates):
        assert path.attributes["step"] == "learning rate"
    part = Evaluator.from_checkpoint(run / "net.pt", examples=50)  # of which nothing is known
    assert critical_sharpness(part, run / "snapshots", along="update", quiet=True).attributes["step"] == "update"


def test_a_file_is_gone_on_with_and_checkpoints_in_memory_give_its_numbers(run, tmp_path):
    evaluate = Evaluator.from_checkpoint(run / "net.pt", examples=100)
    results = critical_sharpness(evaluate, run / "snapshots", out=tmp_path / "a.h5", quiet=True)
    before = results.path.read_bytes()
    critical_sharpness(evaluate, run / "snapshots", out=tmp_path / "a.h5", quiet=True)
    assert results.path.read_bytes() == before
    np.testing.assert_array_equal(read(results.path)["epoch"], range(4))
    files = sorted(run.glob("snapshots/*"))[:-1]
    states = {f.stem: torch.load(f, weights_only=True)["weights"] for f in files}
    memory = critical_sharpness(evaluate, states, quiet=True)
    for name in ("lambda_c", "lambda_c_low", "lambda_c_high", "loss", "passes"):
        np.testing.assert_array_equal(memory[name], results[name])
    with pytest.raises(BadInput, match="precision"):
        critical_sharpness(evaluate, run / "snapshots", precision=0.1, out=results.path, quiet=True)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"along": "nothing"}, "there is no along 'nothing'; use gradient, update"),
        ({"along": "update"}, "along update goes from one checkpoint to the next; give those before"),
        ({"precision": 0}, "precision is 0; give a part"),
        ({"batchnorm": "interpolated"}, "use batch, frozen"),
        ({"batchnorm": "batch"}, "has no BatchNorm"),
        ({"learning_rate": -1}, "learning_rate is -1; give a positive one, or one for each of 1"),
        ({"learning_rate": [1, 2]}, "learning_rate is 1 2; give a positive one"),
        ({"along": Evaluator(nn.Linear(5, 3), [(torch.ones(4, 5), torch.ones(4, 3))], "mse")}, "is of another network"),
    ],
)
def test_what_cannot_be_meant_is_refused(how, words):
    with pytest.raises(BadInput, match=words):
        critical_sharpness(on(linear(), data(1)), quiet=True, **how)


def test_checkpoints_that_diverged_are_refused():
    network = linear()
    broken = {name: tensor * np.nan for name, tensor in network.state_dict().items()}
    with pytest.raises(BadInput, match="checkpoint 0 are not finite in weight"):
        critical_sharpness(on(network, data(1)), [broken], quiet=True)


def test_a_tolerance_is_refused():
    with pytest.raises(BadInput, match="leave out dtype and tolerance"):
        critical_sharpness(on(linear(), data(1), tolerance=0.1), quiet=True)


def test_the_summary_says_what_was_found(run, caplog):
    evaluate = Evaluator.from_checkpoint(run / "net.pt", examples=100)
    caplog.set_level("INFO", "skipscape")
    critical_sharpness(evaluate, run / "snapshots", quiet=True)
    said = [record.message for record in caplog.records]
    assert any(line.startswith("epoch-0000: critical sharpness ") and "95 % interval" in line for line in said)


# Figures


def test_figures_show_the_path_the_interval_and_what_the_learning_rate_allows(run):
    evaluate = Evaluator.from_checkpoint(run / "net.pt", examples=100, split="both")
    path = critical_sharpness(evaluate, run / "snapshots", lambda_max=True, quiet=True)
    figure = draw(path)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log" and axes.get_xlabel() == "epoch"
    drawn = [line.get_ydata() for line in axes.lines]
    assert any(np.array_equal(values, path["lambda_c"]) for values in drawn)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "ResNet-8" in labels[0] and "2 / learning rate" in labels
    updates = critical_sharpness(evaluate, run / "snapshots", along="update", learning_rate=None, quiet=True)
    draw(updates)
    if updates.attributes["step"] == "update":
        with pytest.raises(BadInput, match="no common scale"):
            draw([path, updates])


def test_same_results_are_same(run, tmp_path):
    evaluate = Evaluator.from_checkpoint(run / "net.pt", examples=100)
    for name in ("a", "b"):
        critical_sharpness(evaluate, run / "snapshots", out=tmp_path / f"{name}.h5", quiet=True)
    same(tmp_path / "a.h5", tmp_path / "b.h5")


def test_the_passes_that_are_told_are_those_that_were_made():
    torch.manual_seed(0)
    network, batches = nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3) for _ in range(2)]
    with Evaluator(network, batches).ready() as evaluation:
        calls = []
        evaluation.forward.register_forward_hook(lambda *_: calls.append(1))
        measured = measures(evaluation, {"weight": torch.randn(3, 4)})
    assert measured["passes"] == len(calls) / len(batches) > 2
