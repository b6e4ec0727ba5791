"""Sharpness against exact quadratics, and invariances against networks that compute the same."""

import copy
import dataclasses

import h5py
import numpy as np
import pytest
import tiny
import torch
from files import ROOT, same
from scipy.optimize import brentq
from torch import nn

from landscape.analysis.geometry import interval
from landscape.curvature.sharpness import KINDS, ascend, draw, gradient, rises, scale, sharpness
from landscape.drawing import sharpnesses
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.measure import LOSSES, measure
from landscape.weights import digest, weights_of

MSE, CROSS_ENTROPY = LOSSES["mse"], LOSSES["cross_entropy"]
RANDOM, ASCENT, ADAPTIVE_RANDOM, ADAPTIVE_ASCENT = range(4)


def cut(data, *sizes):
    return list(zip(*(part.split(sizes) for part in data), strict=True))


def rises_of(function, kind, rho, trials):
    return np.array([m["rise"] for m in function(np.array([(kind, rho, t) for t in range(trials)]))])


# A quadratic loss, whose rise is gᵀε + ½ εᵀHε exactly


class Quadratic:
    """A linear model in float64 with squared error, with the Hessian and the gradient from the normal equations."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(60, 7, generator=generator, dtype=torch.float64) * torch.linspace(0.3, 2, 7)
        targets = torch.randn(60, 3, generator=generator, dtype=torch.float64)
        torch.manual_seed(0)
        self.network = nn.Linear(7, 3).double()
        self.data = inputs, targets
        with torch.no_grad():
            self.network.weight[1, 2] = 0  # a weight that an adaptive change cannot move
        x, y = inputs.numpy(), targets.numpy()
        w, b = self.network.weight.detach().numpy(), self.network.bias.detach().numpy()
        self.weights = w.ravel()
        self.hessian = np.kron(np.eye(3), 2 / (3 * 60) * x.T @ x)
        self.gradient = (2 / (3 * 60) * (x @ w.T + b - y).T @ x).ravel()

    def in_changes(self, adaptive):
        """Gradient and Hessian by relative changes, and how many weights there are to change."""
        s = np.abs(self.weights) if adaptive else np.full(21, np.sqrt(np.mean(self.weights**2)))
        return s * self.gradient, s[:, None] * self.hessian * s, 20 if adaptive else 21

    def highest(self, adaptive, rho):
        """max gᵀu + ½ uᵀHu over ‖u‖ ≤ R: (λ − H)u = g with λ ≥ λ_max and ‖u‖ = R (Moré, Sorensen 1983)."""
        g, h, n = self.in_changes(adaptive)
        values, q = np.linalg.eigh(h)
        g = q.T @ g

        def over(multiplier):
            return np.linalg.norm(g / (multiplier - values)) - rho * np.sqrt(n)

        top = values[-1]
        u = g / (brentq(over, top * (1 + 1e-12), top + np.linalg.norm(g) / (rho * np.sqrt(n)) + 1, xtol=1e-14) - values)
        return g @ u + 0.5 * values @ u**2


@pytest.fixture(scope="module")
def quadratic():
    return Quadratic()


@pytest.mark.parametrize("adaptive", [False, True], ids=["plain", "adaptive"])
@pytest.mark.slow
def test_the_mean_random_rise_is_the_scaled_trace(quadratic, adaptive):
    """E[gᵀu + ½ uᵀHu] = ½ ρ² tr H over the sphere, in relative changes; plain: ½ tr(H) ρ²‖θ‖²/n."""
    _, h, _ = quadratic.in_changes(adaptive)
    function = rises(quadratic.network, [quadratic.data], MSE)
    for rho in (0.3, 1.0):
        rise = rises_of(function, ADAPTIVE_RANDOM if adaptive else RANDOM, rho, 2000)
        # 2000 trials know the mean to some per cent
        mean, low, high, _ = interval(rise, confidence=0.999)
        exact = 0.5 * rho**2 * np.trace(h)
        assert low < exact < high
        assert high - low < 0.5 * mean
    if not adaptive:
        norm = np.linalg.norm(quadratic.weights)
        assert np.trace(h) == pytest.approx(np.trace(quadratic.hessian) * norm**2 / 21)


@pytest.mark.parametrize("adaptive", [False, True], ids=["plain", "adaptive"])
@pytest.mark.parametrize("rho", [0.01, 0.1, 1.0])
@pytest.mark.slow
def test_an_ascent_finds_the_exact_maximum_and_never_exceeds_it(quadratic, adaptive, rho):
    exact = quadratic.highest(adaptive, rho)
    kind = ADAPTIVE_ASCENT if adaptive else ASCENT
    rise = rises_of(rises(quadratic.network, [quadratic.data], MSE), kind, rho, 10)
    assert rise.max() <= exact * (1 + 1e-12)
    assert rise.min() >= 0.99 * exact


def test_at_a_minimum_an_ascent_finds_the_largest_eigenvalue():
    """There the slope is 0, and max ½ εᵀHε = ½ λ R²: a maximum that one step from θ would not see."""
    quadratic = Quadratic()
    with torch.no_grad():
        x, y = quadratic.data
        x1 = torch.cat([x, torch.ones(60, 1)], 1)
        solution = torch.linalg.lstsq(x1, y).solution.T
        quadratic.network.weight.copy_(solution[:, :7])
        quadratic.network.bias.copy_(solution[:, 7])
    exact = 0.5 * np.linalg.eigvalsh(quadratic.hessian)[-1] * (0.1 * np.linalg.norm(solution[:, :7])) ** 2
    # Far fewer steps do where there is a slope: here the largest eigenvalue alone leads the way.
    rise = rises_of(rises(quadratic.network, [quadratic.data], MSE, steps=80), ASCENT, 0.1, 5)
    assert (0.99 * exact < rise).all() and (rise <= exact * (1 + 1e-9)).all()


def test_a_maximum_inside_the_ball_is_found_too():
    """Of the function alone: 1 − ‖u − m‖² with m within reach. Steps of one length come within half of it."""
    m = np.array([0.3, 0.1, 0.0])
    seen = ascend(lambda u: (1 - np.sum((u - m) ** 2), 2 * (m - u)), np.array([0.0, 0.0, 1.0]), 50, step=0.1)
    assert np.linalg.norm(seen - m) <= 0.05 + 1e-9


def test_a_long_step_is_that_of_sharpness_aware_minimisation():
    """It leads to R · g/‖g‖, wherever on the sphere it starts (Foret et al. 2021, eq. 2)."""
    g = np.array([3.0, 0, 4.0])
    end = ascend(lambda u: (u @ g, g), np.array([0.0, 2.0, 0.0]), 1, step=1e9)
    assert end == pytest.approx(2 * g / 5, abs=1e-8)


def test_an_ascent_goes_on_from_below_and_keeps_the_best():
    """One that overshoots from a narrow hill comes back with the hill, not with where it ended."""
    values = iter([0.0, 5.0, 1.0])
    visited = []

    def function(u):
        visited.append(u)
        return next(values), np.array([0.0, 1.0])

    best = ascend(function, np.array([1.0, 0.0]), 2)
    assert best is visited[1] and len(visited) == 3


# What a change is


def test_changes_have_the_radius_as_their_root_mean_square():
    weights = np.array([3.0, 0, -4, 1e-3])
    plain, adaptive = scale(weights, False), scale(weights, True)
    u = draw(plain, 0.2, 1)
    assert np.linalg.norm(plain * u) == pytest.approx(0.2 * np.linalg.norm(weights), rel=1e-14)
    v = draw(adaptive, 0.2, 1)
    assert v[1] == 0 and np.sqrt(np.mean(v[[0, 2, 3]] ** 2)) == pytest.approx(0.2, rel=1e-14)
    assert draw(plain, 0.4, 1) == pytest.approx(2 * u, rel=1e-14)  # the same direction
    assert not np.allclose(draw(plain, 0.2, 2), u)


def test_in_random_directions_both_balls_move_weights_alike():
    weights = np.random.default_rng(0).standard_normal(50)
    s = scale(weights, True)
    squares = [np.sum((s * draw(s, 0.1, seed)) ** 2) for seed in range(4000)]
    assert np.mean(squares) == pytest.approx(0.01 * np.sum(weights**2), rel=0.02)


# Networks


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(50, 1, 6, 6, generator=generator), torch.randint(4, (50,), generator=generator)


def convolutional(dtype=torch.float64):
    torch.manual_seed(0)
    made = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)),
    )
    made(1.5 * torch.randn(64, 1, 6, 6))
    return made.to(dtype).eval()


@pytest.mark.parametrize("which", ["filters", None], ids=["with filters", "all"])
def test_the_gradient_is_that_of_the_mean_by_finite_differences(images, which):
    network, data = convolutional(), (images[0].double(), images[1])
    value, slope = gradient(network, cut(data, 17, 1, 32), which=which)
    assert value == pytest.approx(measure(network, [data])["loss"], rel=1e-12)
    chosen = [p for name, p in network.named_parameters() if which is None or p.ndim >= 2]
    assert len(slope) == sum(p.numel() for p in chosen)
    place = 0
    for p in chosen:
        flat, h = p.detach().view(-1), 1e-6
        for i in (0, len(flat) - 1):
            before, ends = flat[i].item(), []
            for sign in (1, -1):
                flat[i] = before + sign * h
                ends.append(measure(network, [data])["loss"])
            flat[i] = before
            assert slope[place + i] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-9)
        place += len(flat)


def test_how_the_examples_are_cut_into_batches_does_not_matter(images):
    network, data = convolutional(), (images[0].double(), images[1])
    points = np.array([(kind, 0.1, 0) for kind in range(4)])
    one, many = ([m["rise"] for m in rises(network, batches)(points)] for batches in ([data], cut(data, 3, 40, 1, 6)))
    assert one == pytest.approx(many, rel=1e-9)
    assert min(one[1::2]) > 1e-3  # an ascent that stays would agree as well


def test_rescaling_layers_changes_plain_rises_and_leaves_adaptive_ones():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    data = torch.randn(40, 5, dtype=torch.float64), torch.randint(3, (40,))
    other, c = copy.deepcopy(network), 20.0
    with torch.no_grad():
        other[0].weight.mul_(c), other[0].bias.mul_(c), other[2].weight.div_(c)
    for which in ("filters", None):
        before, after = (rises(n, [data], which=which, steps=5) for n in (network, other))
        for kind, name in enumerate(KINDS):
            one, two = (rises_of(f, kind, 0.05, 3) for f in (before, after))
            if name.startswith("adaptive"):
                assert two == pytest.approx(one, rel=1e-6), name
            else:
                assert (np.abs(two / one - 1) > 0.2).all(), name


@pytest.mark.slow
def test_an_ascent_rises_above_its_random_start_and_with_the_radius(images):
    network, batches = convolutional(), [(images[0].double(), images[1])]
    function, start = rises(network, batches), rises(network, batches, steps=0)
    for random in (RANDOM, ADAPTIVE_RANDOM):
        there = rises_of(start, random, 0.1, 4)
        assert (rises_of(start, random + 1, 0.1, 4) == np.maximum(there, 0)).all() and there.max() > 0
        lower, higher = (rises_of(function, random + 1, rho, 4) for rho in (0.05, 0.1))
        assert (lower >= rises_of(function, random, 0.05, 4)).all()
        assert (higher > lower).all() and (lower > 0).all()


def test_a_network_that_the_loss_does_not_feel_is_flat(images):
    network = convolutional(torch.float32)
    with torch.no_grad():
        network[8].weight.zero_()
    zero = [m["rise"] for m in rises(network, [images], lambda o, t: 0 * o.sum(1))(all_kinds(0.1))]
    assert zero == [0, 0, 0, 0]
    without = [m["rise"] for m in rises(network, [images], lambda o, t: torch.ones(len(t)))(all_kinds(0.1))]
    assert without == [0, 0, 0, 0]


def all_kinds(rho, trials=1):
    return np.array([(kind, rho, trial) for kind in range(4) for trial in range(trials)])


def test_the_unchanged_network_is_in_the_ball():
    """On a hilltop every change goes down, and an ascent says 0, with the measurement at the top."""
    network = nn.Linear(2, 1, bias=False).double()
    x = torch.ones(3, 2, dtype=torch.float64)
    at_top = network(x).detach()
    down, up = all_kinds(0.1)[[RANDOM]], all_kinds(0.1)[[ASCENT]]
    function = rises(network, [(x, at_top)], lambda o, t: 1 - (o - t).square().flatten())
    assert next(function(down))["rise"] < 0
    measured = next(function(up))
    assert (measured["rise"], measured["loss"], measured["examples"]) == (0, 1, 3)


def test_losses_that_are_not_finite_are_results(images):
    network = convolutional(torch.float32)
    far = [m for m in rises(network, [images])(all_kinds(1e30))]
    assert len(far) == 4 and not any(np.isfinite(m["rise"]) for m in far)
    home = measure(network, [images])["loss"]

    def walled(outputs, targets):
        """Infinite from a little above the loss at home."""
        each = CROSS_ENTROPY(outputs, targets)
        return torch.where(each.mean() > home + 0.01, torch.inf, each)

    rise = [m["rise"] for m in rises(network, [images], walled)(all_kinds(0.1))]
    assert rise[ASCENT] == rise[ADAPTIVE_ASCENT] == np.inf
    lost = [m["rise"] for m in rises(network, [images], lambda o, t: o.sum(1) * torch.nan)(all_kinds(0.1))]
    assert np.isnan(lost).all()


def test_the_unchanged_loss_is_measured_once_whatever_the_chunks(images):
    network, calls, state = convolutional(), [], None

    def measuring():
        calls.append(digest(weights_of(network)) == state)
        return measure(network, [(images[0].double(), images[1])])

    state = digest(weights_of(network))
    function = rises(network, [(images[0].double(), images[1])], measuring=measuring, steps=3)
    points = all_kinds(0.1, 3)
    whole = [*function(points)]
    assert sum(calls) == 1 and len(calls) == 13
    pieces = [m for part in np.split(points[::-1], [1, 2, 7]) for m in function(part)]
    assert sum(calls) == 1 and pieces[::-1] == whole


def test_the_bits_depend_on_neither_threads_nor_torchs_generator(images):
    network = convolutional(torch.float32)
    data = images[0].repeat(20, 1, 2, 2), images[1].repeat(20)
    before = torch.random.get_rng_state()
    one = [*rises(network, [data], steps=3)(all_kinds(0.1))]
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(9)
    torch.set_num_threads(2)
    try:
        assert [*rises(network, [data], steps=3)(all_kinds(0.1))] == one
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    other = [*rises(network, [data], steps=3, seed=1)(all_kinds(0.1))]
    assert all(a["rise"] != b["rise"] for a, b in zip(one, other, strict=True))


def test_the_network_is_left_as_it_was_on_an_error_too(images):
    network = convolutional(torch.float32).train()
    network[0].eval()
    network[0].weight.requires_grad_(False)
    network[4].weight.grad = torch.ones_like(network[4].weight)
    state = digest(network.state_dict())
    calls = 0

    def failing(outputs, targets):
        nonlocal calls
        calls += 1
        if calls == 4:  # unchanged, first ascent: in its second step
            raise RuntimeError("lost")
        return CROSS_ENTROPY(outputs, targets)

    with pytest.raises(RuntimeError, match="lost"):
        [*rises(network, [images], failing)(all_kinds(0.1)[[ASCENT]])]
    assert calls == 4
    [*rises(network, [images], which=None, steps=2)(all_kinds(0.1))]
    assert digest(network.state_dict()) == state
    assert not network[0].training and all(m.training for m in list(network)[1:])
    assert [p.requires_grad for p in network.parameters()] == [False] + [True] * 6
    assert [p.grad is not None for p in network.parameters()] == [
        name == "4.weight" for name, _ in network.named_parameters()
    ]
    assert bool((network[4].weight.grad == 1).all())


def test_bad_input_is_told_with_its_cure(images):
    network = convolutional(torch.float32)
    empty = nn.Linear(3, 2)
    nn.init.zeros_(empty.weight)
    tries = {
        "choose one or more": lambda: rises(network, [images], which=lambda name, p: False),
        "are all 0": lambda: rises(empty, [images]),
        "give a batch": lambda: gradient(network, []),
        "does not reduce": lambda: gradient(network, [images], lambda o, t: o.sum()),
    }
    for message, attempt in tries.items():
        with pytest.raises(BadInput, match=message) as raised:
            attempt()
        assert "\n" not in str(raised.value)


# The measurement

HOW = {"rho": (0.05, 0.2), "trials": 2, "steps": 2}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network(width=4))


@pytest.fixture(scope="module")
def results(evaluate, tmp_path_factory):
    return sharpness(evaluate, **HOW, out=tmp_path_factory.mktemp("sharpness") / "a.h5")


def test_results_hold_rises_above_the_loss_of_the_unchanged_network(evaluate, results):
    assert results.kind == "sharpness" and results.dims["rise"] == ("kind", "rho", "trial")
    assert results.coordinates["kind"].tolist() == list(KINDS)
    data = tiny.digits()
    unchanged = measure(evaluate.network, [(data.images, data.labels)])["loss"]
    assert results["loss"] - results["rise"] == pytest.approx(unchanged, rel=1e-5)
    assert (results["rise"][1::2] > 0).all() and results["done"].all()
    assert (results["examples"] == 30).all()
    means = results["rise"].mean(axis=-1)  # (kind, rho)
    assert means[1, 1] > means[1, 0] > means[0, 0]


def test_in_memory_the_rises_are_those_of_the_file(evaluate, results):
    memory = sharpness(evaluate, **HOW, quiet=True)
    assert memory.path is None
    np.testing.assert_array_equal(memory["rise"], results["rise"])


def test_an_interrupted_run_goes_on_and_a_finished_one_does_nothing(evaluate, results, tmp_path, caplog):
    path = tmp_path / "a.h5"
    path.write_bytes(results.path.read_bytes())
    with h5py.File(path, "r+") as half:
        half["done"][1:3, :, 1] = False
        half["rise"][1:3, :, 1] = np.nan
    sharpness(evaluate, **HOW, out=path)
    same(results.path, path)
    before = path.read_bytes()
    caplog.set_level("INFO", "skipscape")
    sharpness(evaluate, **HOW, out=path)
    assert "complete already" in caplog.text
    assert path.read_bytes() == before
    with pytest.raises(BadInput, match="its parameters is of two dimensions or more"):
        sharpness(evaluate, **HOW, out=path, all_parameters=True)


def test_all_parameters_and_another_seed_are_others(evaluate, results):
    for how in ({"all_parameters": True}, {"seed": 1}):
        other = sharpness(evaluate, **HOW, **how, quiet=True)
        assert (other["rise"] != results["rise"]).all()
    assert other.attributes["seed"] == 1


def test_what_cannot_be_measured_is_refused_in_one_line(evaluate, tmp_path):
    tries = [
        ({"rho": 0}, "rho is 0; give positive radii in ascending order"),
        ({"rho": (0.1, 0.1)}, "ascending order"),
        ({"rho": [float("nan")]}, "ascending order"),
        ({"rho": ()}, "ascending order"),
        ({"rho": "0.1"}, "give a number"),
        ({"trials": 0}, "trials is 0; give 1 or more"),
        ({"steps": 0}, "steps is 0; give 1 or more"),
    ]
    for how, message in tries:
        with pytest.raises(BadInput, match=message) as raised:
            sharpness(evaluate, **HOW | how, out=tmp_path / "a.h5")
        assert "\n" not in str(raised.value)
    for how in ({"dtype": "bfloat16"}, {"tolerance": 0.1}):
        with pytest.raises(BadInput, match="leave out dtype and tolerance"):
            sharpness(tiny.with_digits(evaluate.network, **how), **HOW, out=tmp_path / "a.h5")
    assert not any(tmp_path.iterdir())


def of_sharpness(rise):
    """A file with these rises, of shape (kind, rho, trial)."""
    file = read(ROOT / "results" / "study" / "sharpness-resnet-20-0.h5")
    coordinates = file.coordinates | {"rho": np.array([0.01, 0.02]), "trial": np.arange(3)}
    variables = {"rise": rise, "done": np.ones(rise.shape, bool)}
    return dataclasses.replace(file, coordinates=coordinates, variables=variables)


def test_rises_are_points_and_their_medians_and_those_not_above_0_are_counted():
    rise = np.full((4, 2, 3), 0.1)
    rise[1] = [[1, 2, 600], [10, 20, np.inf]]
    rise[0, 0] = [-0.3, -0.1, 0.1]  # falls in the median too
    figure = sharpnesses([of_sharpness(rise)])
    line, points = figure.axes[0].lines[:2]
    np.testing.assert_allclose(line.get_ydata(), [2, 20])  # whatever the outliers
    np.testing.assert_allclose(sorted(points.get_ydata()), [1, 2, 10, 20, 600])
    at_random, points = figure.axes[0].lines[2:]
    np.testing.assert_allclose(at_random.get_ydata(), [np.nan, 0.1])
    assert len(points.get_ydata()) == 4
    assert "3 trials have no point" in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize(
    ("trials", "median", "edge"), [([0.1, 0.1, 0.2], 0, 0), ([-0.3, 0.1, 0.2], 0, 1), ([-0.3, -0.2, 0.1], 1, 0)]
)
def test_a_note_says_why_a_line_or_a_band_is_not_whole(trials, median, edge):
    rise = np.full((4, 2, 3), 0.1)
    rise[0, 0] = trials
    note = sharpnesses([of_sharpness(rise)]).get_supxlabel().replace("\n", " ")
    assert ("Lines leave out such medians." in note) == median
    assert ("Bands with such a lower quartile have no lower edge." in note) == edge


def test_the_band_lies_between_the_quartiles_and_makes_no_axis_longer():
    rise = np.full((4, 2, 3), 0.1)
    rise[1] = [[1, 2, 4], [3, 6, 12]]
    rise[0, 0] = [-0.3, 0.1, 0.1]
    axes = sharpnesses([of_sharpness(rise)]).axes[0]
    corners = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(np.unique(corners[:, 1]), [1.5, 3, 4.5, 9])
    low, high = axes.get_ylim()
    assert low > 0.01 and high < 100


def test_rises_that_are_not_there_are_refused():
    with pytest.raises(BadInput, match="has risen yet"):
        sharpnesses([of_sharpness(np.full((4, 2, 3), -0.1))])
