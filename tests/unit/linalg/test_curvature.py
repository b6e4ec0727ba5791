"""Curvature against dense Hessians and known spectra, in float64, and intervals against what they state."""

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.integrate import trapezoid
from scipy.sparse.linalg import LinearOperator, aslinearoperator, eigsh
from scipy.stats import t as student
from torch import nn
from torch.func import functional_call
from torch.func import hessian as dense_hessian

from landscape.curvature.hessian import direction_of, hessian_eigenpairs, hessian_operator, hessian_product, vector_of
from landscape.errors import BadInput
from landscape.evaluation.measure import LOSSES
from landscape.linalg.density import density, moment, quadrature, smoothed
from landscape.linalg.lanczos import extreme_eigenvalues, lanczos
from landscape.linalg.trace import budget, estimate, probe, sketch_of, trace
from landscape.planes.directions import random_direction
from landscape.planes.plane import Plane, shift
from landscape.weights import digest, weights_of

CROSS_ENTROPY = LOSSES["cross_entropy"]


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(40, 1, 8, 8, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(5, (40,), generator=generator)


@pytest.fixture(scope="module")
def network():
    """Two convolutions with BatchNorm whose statistics are not those of the data, 178 parameters."""
    torch.manual_seed(0)
    made = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU(inplace=True)),
        *(nn.Conv2d(3, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)),
    ).double()
    for _ in range(5):
        made(1.5 * torch.randn(64, 1, 8, 8, dtype=torch.float64))
    return made.eval()


def dense(network, data, loss=CROSS_ENTROPY):
    """The Hessian over all parameters, written out by torch.func."""
    weights = weights_of(network)
    sizes = [w.numel() for w in weights.values()]

    def mean(vector):
        parts = zip(weights.items(), vector.split(sizes), strict=True)
        moved = {name: part.view(w.shape) for (name, w), part in parts}
        return loss(functional_call(network, moved, (data[0],)), data[1]).mean()

    return dense_hessian(mean)(torch.cat([w.flatten() for w in weights.values()])).numpy()


@pytest.fixture(scope="module")
def exact(network, data):
    return dense(network, data)


def cut(data, *sizes):
    return list(zip(*(part.split(sizes) for part in data), strict=True))


CUTS = {"one": (40,), "four": (17, 1, 12, 10), "seven": (3, 9, 1, 7, 2, 13, 5)}


def written_out(operator):
    return operator.matmat(np.eye(operator.shape[0]))


def with_spectrum(eigenvalues, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues),) * 2))[0]
    return aslinearoperator(q * np.asarray(eigenvalues, float) @ q.T)


class Counted(LinearOperator):
    """An operator that counts its products."""

    def __init__(self, operator):
        super().__init__(operator.dtype, operator.shape)
        self.operator, self.products = operator, 0

    def _matvec(self, vector):
        self.products += 1
        return self.operator.matvec(vector)


class Quadratic(nn.Module):
    """Its output, and its loss for each example, is ½ wᵀHw · the example."""

    def __init__(self, eigenvalues):
        super().__init__()
        self.register_buffer("h", torch.tensor(written_out(with_spectrum(eigenvalues))))
        self.w = nn.Parameter(torch.ones(len(eigenvalues), dtype=torch.float64))

    def forward(self, inputs):
        return 0.5 * self.w @ self.h @ self.w * inputs


def first(outputs, targets):
    return outputs


@pytest.mark.parametrize("sizes", CUTS.values(), ids=CUTS)
@pytest.mark.slow
def test_products_and_ends_are_those_of_the_dense_hessian_however_batches_are_cut(network, data, exact, sizes):
    operator = hessian_operator(network, cut(data, *sizes))
    some = np.random.default_rng(0).standard_normal((len(exact), 12))
    assert operator.matmat(some) == pytest.approx(exact @ some, abs=1e-13 * np.abs(exact).max())
    eigenvalues = np.linalg.eigvalsh(exact)
    ends = extreme_eigenvalues(operator, tolerance=1e-8)
    assert ends.converged
    assert ends.values == pytest.approx(eigenvalues[[0, -1]], rel=1e-10)
    assert ends.products < len(exact)


@pytest.mark.parametrize("sizes", [(40,), (17, 23)], ids=["one batch", "two"])
def test_kept_slopes_change_no_bit_and_save_forwards(network, data, sizes):
    forwards = []
    hook = network.register_forward_hook(lambda *_: forwards.append(1))
    vectors = np.random.default_rng(0).standard_normal((3, 178))
    images, counts = [], []
    try:
        for keep in (False, True):
            operator = hessian_operator(network, cut(data, *sizes), keep=keep)
            images.append([operator.matvec(v) for v in vectors])
            counts.append(len(forwards) - sum(counts))
    finally:
        hook.remove()
    np.testing.assert_array_equal(*images)
    assert counts == ([3, 1] if len(sizes) == 1 else [6, 6])


@pytest.mark.slow
def test_one_made_at_other_weights_is_the_hessian_there(network, data):
    origin = weights_of(network)
    plane = Plane(origin, (random_direction(origin, 0),))
    with shift(network, plane, [0.1]):
        there, here = dense(network, data), hessian_operator(network, [data], keep=True)
        assert written_out(here) == pytest.approx(there, abs=1e-12 * np.abs(there).max())
    assert not np.allclose(there, dense(network, data), rtol=1e-3)


@pytest.mark.slow
def test_squared_error_and_a_loss_of_the_users(network, data):
    assert written_out(hessian_operator(network, [data], LOSSES["mse"])) == pytest.approx(
        dense(network, data, LOSSES["mse"]), abs=1e-15
    )


def test_a_subset_is_the_block_of_the_dense_hessian(network, data, exact):
    chosen = np.concatenate([np.full(p.numel(), p.ndim >= 2) for p in network.parameters()])
    block = hessian_operator(network, [data], which="filters")
    assert block.shape[0] == chosen.sum() < len(chosen)
    assert np.abs(written_out(block) - exact[np.ix_(chosen, chosen)]).max() < 1e-14 * np.abs(exact).max()
    direction = random_direction({"8.weight": network[8].weight}, 3)
    product = hessian_product(network, [data], direction)
    assert list(product) == ["8.weight"] and product["8.weight"].shape == (5, 4)
    with_zeros = {name: direction.get(name, torch.zeros_like(p)) for name, p in network.named_parameters()}
    whole = exact @ vector_of(with_zeros)
    assert product["8.weight"].numpy().ravel() == pytest.approx(whole[-25:-5], abs=1e-14)


def test_eigenpairs_are_directions_of_the_dense_hessian(network, data, exact):
    eigenvalues, vectors = np.linalg.eigh(exact)
    largest = hessian_eigenpairs(network, cut(data, 30, 10), 3, tolerance=1e-10)
    assert largest.converged and largest.residuals.max() < 1e-9
    assert largest.values == pytest.approx(eigenvalues[:-4:-1], rel=1e-10)
    for direction, vector in zip(largest.directions, vectors.T[::-1], strict=False):
        assert abs(vector_of(direction) @ vector) == pytest.approx(1, abs=1e-9)
    smallest = hessian_eigenpairs(network, [data], 2, end="smallest", tolerance=1e-10)
    assert smallest.values == pytest.approx(eigenvalues[:2], rel=1e-10)
    magnitude = hessian_eigenpairs(network, [data], 4, end="magnitude", tolerance=1e-10)
    assert magnitude.values == pytest.approx(eigenvalues[np.abs(eigenvalues).argsort()[:-5:-1]], rel=1e-10)


def test_along_an_eigenvector_the_loss_bends_as_its_eigenvalue_says(network, data):
    """On a plane of landscape.planes.plane, by finite differences; parameters that are not chosen stay."""
    pairs = hessian_eigenpairs(network, [data], which="filters", tolerance=1e-10)
    plane = Plane(weights_of(network), pairs.directions)
    assert plane.moved == tuple(name for name, p in network.named_parameters() if p.ndim >= 2)
    losses, h = [], 1e-5  # so near that no ReLU turns
    for step in (-h, 0, h):
        with shift(network, plane, [step]), torch.no_grad():
            losses.append(CROSS_ENTROPY(network(data[0]), data[1]).mean().item())
    assert (losses[0] - 2 * losses[1] + losses[2]) / h**2 == pytest.approx(pairs.values[0], rel=1e-3)


@pytest.mark.slow
def test_the_operator_follows_a_network_that_moves(network, data, exact):
    operator = hessian_operator(network, [data])
    origin = weights_of(network)
    with shift(network, Plane(origin, (random_direction(origin, 5),)), [0.1]):
        there = dense(network, data)
        assert written_out(operator) == pytest.approx(there, abs=1e-13)
    assert np.abs(there - exact).max() > 0.01
    assert written_out(operator) == pytest.approx(exact, abs=1e-14)


QUADRATICS = {
    "negative and degenerate": [-2, -2, -2, -0.5, 0, 0, 0, 1, 1, 3, 3],
    "the negative end larger": [-7, *np.linspace(-1, 1, 30), 2.5],
    "all negative": [-9, -4, -4, -1],
    "a multiple of one": [5, 5, 5],
    "zero": [0, 0, 0],
    "one parameter": [-3],
    "wide": [-1e-6, *np.linspace(0, 1, 50), 1e3],
}


@pytest.mark.parametrize("eigenvalues", QUADRATICS.values(), ids=QUADRATICS)
def test_the_ends_of_known_spectra(eigenvalues):
    # unequal examples, of mean 1: what counts is the mean over them all
    inputs = torch.tensor([0.25, 2.5, 0.5, 0.75], dtype=torch.float64)
    operator = hessian_operator(Quadratic(eigenvalues), cut((inputs, inputs), 3, 1), first)
    ends = extreme_eigenvalues(operator, tolerance=1e-10)
    scale = max(map(abs, eigenvalues))
    assert ends.values == pytest.approx([min(eigenvalues), max(eigenvalues)], rel=1e-6, abs=1e-12 * scale)
    assert ends.converged and ends.residuals.max() <= 1e-10 * scale


def test_residuals_and_convergence_are_told_as_they_are():
    eigenvalues = np.linspace(-1, 1, 400)
    operator = with_spectrum(eigenvalues)
    short = extreme_eigenvalues(operator, steps=8)
    assert not short.converged and short.products == 8
    nearest = np.abs(eigenvalues - short.values[:, None]).min(axis=1)
    assert (nearest <= short.residuals).all() and (np.abs(short.values) < 1).all()
    converged = extreme_eigenvalues(operator)
    assert converged.converged and converged.residuals.max() <= 1e-4
    with_few = hessian_eigenpairs(Quadratic(eigenvalues), [(torch.ones(1), torch.ones(1))], 2, first, products=6)
    assert not with_few.converged and len(with_few.values) == len(with_few.directions) < 2


def test_a_few_negative_eigenvalues_are_not_hidden_by_the_many_around_zero():
    """One in 20,000 lies outside; the residual of those around 0, all together, is small long before it is seen."""
    bulk = 1e-3 * np.random.default_rng(0).standard_normal(20_000)
    eigenvalues = np.r_[-0.05, bulk, np.geomspace(0.05, 1, 10)]
    operator = aslinearoperator(sparse.diags(eigenvalues))
    for seed in range(40):
        ends = extreme_eigenvalues(operator, tolerance=0.01, seed=seed)
        assert ends.converged and ends.products < 30
        assert ends.values == pytest.approx([-0.05, 1], abs=0.01)


def test_lanczos_stays_orthogonal_and_tridiagonal():
    operator = with_spectrum([*np.linspace(0, 1, 150), 1e4])
    diagonal, beside, q = lanczos(operator, np.ones(151), 100)
    assert np.abs(q @ q.T - np.eye(len(q))).max() < 1e-13
    tridiagonal = np.diag(diagonal) + np.diag(beside[:-1], 1) + np.diag(beside[:-1], -1)
    assert np.abs(q @ operator.matmat(q.T) - tridiagonal).max() < 1e-9


def inside(interval, value, slack):
    return interval[0] - slack <= value <= interval[1] + slack


@pytest.fixture(scope="module")
def spectra(exact):
    """What intervals are tried on: a network's, and one that a single eigenvalue rules."""
    ruled = np.r_[np.full(10, -5.0), np.linspace(-1, 1, 180), np.full(9, 3.0), 20.0]
    return {"network": aslinearoperator(exact), "ruled by one": with_spectrum(ruled)}


@pytest.mark.parametrize("name", ["network", "ruled by one"])
@pytest.mark.parametrize("sketch", [None, 0], ids=["Hutch++", "Hutchinson"])
@pytest.mark.slow
def test_traces_are_in_their_intervals(spectra, name, sketch):
    operator = Counted(spectra[name])
    true = np.trace(written_out(spectra[name]))
    each = [trace(operator, 45, sketch, seed) for seed in range(100)]
    assert sum(inside(estimate.interval, true, 1e-12) for estimate in each) >= 90
    scatter = np.std([estimate.value for estimate in each])
    assert np.sqrt(np.mean([estimate.standard_error**2 for estimate in each])) == pytest.approx(scatter, rel=0.25)
    assert operator.products == 45 * 100


def test_a_trace_of_low_rank_or_of_few_parameters_is_exact(network, data, exact):
    low = with_spectrum([4, -3, 2, *[0] * 97])
    assert trace(low, 15).value == pytest.approx(3, rel=1e-12)
    assert trace(low, 15).standard_error < 1e-12
    operator = Counted(hessian_operator(network, cut(data, 25, 15)))
    whole = trace(operator, 1000)
    assert whole.value == pytest.approx(np.trace(exact), rel=1e-12)
    assert whole.standard_error == 0 and operator.products == len(exact)


def test_a_sketch_has_no_more_dimensions_than_its_operator():
    low = with_spectrum([4, -3, 2, *[0] * 97])
    sketch = sketch_of(low, 10)
    assert sketch.basis.shape == (3, 100) and sketch.trace == pytest.approx(3, rel=1e-12)
    basis = sketch_of(with_spectrum(np.linspace(-1, 1, 100)), 30).basis
    assert np.abs(basis @ basis.T - np.eye(30)).max() < 1e-13


def test_a_trace_and_a_density_are_of_their_probes_in_any_order(spectra):
    operator = spectra["network"]
    size, probes = budget(45)
    assert (size, probes) == (15, 15)
    sketch = sketch_of(operator, size, 7)
    backwards = [probe(operator, sketch, (7, number)) for number in reversed(range(probes))]
    assert estimate(reversed(backwards)) == trace(operator, 45, seed=7)
    parts = [quadrature(operator, 20, (7, number)) for number in (2, 0, 1)]
    nodes, weights = (np.array([part[i] for part in (parts[1], parts[2], parts[0])]) for i in (0, 1))
    whole, split = density(operator, 3, 20, seed=7), smoothed(nodes, weights, operator.shape[0])
    for name in ("grid", "values", "standard_error", "nodes", "weights"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(split, name), err_msg=name)


@pytest.mark.parametrize("name", ["network", "ruled by one"])
@pytest.mark.slow
def test_densities_and_their_moments_are_in_their_intervals(spectra, name):
    eigenvalues = np.linalg.eigvalsh(written_out(spectra[name]))
    width = 0.03 * np.ptp(eigenvalues)
    grid = np.linspace(eigenvalues[0], eigenvalues[-1], 7)
    bells = np.exp(-0.5 * ((grid[:, None] - eigenvalues) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    each = [density(spectra[name], 10, 40, grid, width, seed) for seed in range(100)]
    for order in (1, 2, 3, 4):
        true = np.mean(eigenvalues**order)
        assert sum(inside(moment(d, order).interval, true, 0) for d in each) >= 90, order
    reach = student.ppf(0.975, 9)
    # tails that are 0 to rounding have errors that are too
    hits = [np.abs(d.values - bells.mean(axis=1)) <= reach * d.standard_error + 1e-9 for d in each]
    assert (np.sum(hits, axis=0) >= 90).all()


def test_a_density_is_one_in_all_and_says_its_width(network, data, exact):
    operator = Counted(hessian_operator(network, [data]))
    curve = density(operator, 4, 30)
    assert trapezoid(curve.values, curve.grid) == pytest.approx(1, abs=1e-8)
    assert curve.weights.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert curve.width == pytest.approx(0.01 * np.ptp(np.linalg.eigvalsh(exact)), rel=1e-3)
    assert operator.products == 4 * 30
    first_moment = trapezoid(curve.values * curve.grid, curve.grid)
    assert first_moment == pytest.approx(moment(curve, 1).value, abs=1e-9)


def test_a_degenerate_spectrum_has_the_density_of_its_few_values():
    """Quadratures end early there, each after as many nodes as there are values."""
    operator = Counted(with_spectrum([-1] * 30 + [2] * 60))
    curve = density(operator, 20, 10, width=0.1)
    assert operator.products == 2 * 20
    below = curve.grid < 0.5
    part = trapezoid(curve.values[below], curve.grid[below])
    assert part == pytest.approx(1 / 3, abs=0.1)
    one = density(with_spectrum([3, 3, 3]), 2, 5)
    assert one.standard_error.max() < 1e-6 * one.values.max()
    assert trapezoid(one.values, one.grid) == pytest.approx(1, abs=1e-8)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits_and_torch_is_not_drawn_from(network, data):
    operator = hessian_operator(network, cut(data, 20, 20))
    before = torch.random.get_rng_state()

    def everything(seed):
        d, pairs = density(operator, 2, 10, seed=seed), hessian_eigenpairs(network, [data], 2, seed=seed)
        e, t = extreme_eigenvalues(operator, seed=seed), trace(operator, 15, seed=seed)
        arrays = d.grid, d.values, d.standard_error, d.nodes, e.values, e.residuals, pairs.values
        return [a.tobytes() for a in arrays], t, digest(*pairs.directions)

    one = everything(0)
    torch.manual_seed(7)
    assert everything(0) == one
    other = everything(1)
    assert other[0][1] != one[0][1] and other[1] != one[1]
    torch.random.set_rng_state(before)
    everything(0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_network_is_left_as_it_was(network, data):
    network[0].weight.requires_grad_(False)
    network[3].weight.grad = torch.ones_like(network[3].weight)
    network.train()
    network[1].eval()
    state = digest(network.state_dict())
    modes = [module.training for module in network.modules()]
    try:
        with torch.inference_mode():
            hessian_eigenpairs(network, [data], 1)
        extreme_eigenvalues(hessian_operator(network, [data], which="filters"))
        with pytest.raises(BadInput, match="does not reduce"):
            hessian_operator(network, [data], lambda outputs, targets: outputs.sum()).matvec(np.ones(178))
        assert digest(network.state_dict()) == state
        assert [module.training for module in network.modules()] == modes
        assert [p.requires_grad for p in network.parameters()] == [False] + [True] * 8
        assert [p.grad is not None for p in network.parameters()] == [False] * 3 + [True] + [False] * 5
        assert bool((network[3].weight.grad == 1).all())
    finally:
        network.eval()
        network[0].weight.requires_grad_(True)
        network[3].weight.grad = None


def test_losses_without_curvature_and_parameters_without_use():
    linear = nn.ModuleDict({"used": nn.Linear(3, 1), "unused": nn.Linear(2, 2)}).double()
    linear.forward = lambda inputs: linear["used"](inputs)
    batches = [(torch.randn(4, 3, dtype=torch.float64), torch.zeros(4))]
    assert not written_out(hessian_operator(linear, batches, lambda o, t: o.flatten())).any()
    assert not written_out(hessian_operator(linear, batches, lambda o, t: t)).any()
    bent = written_out(hessian_operator(linear, batches, lambda o, t: o.flatten() ** 2))
    assert bent[:4, :4].any() and not bent[4:].any()


def test_attention_and_float32():
    torch.manual_seed(0)
    layers = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(24, 3)
    data = torch.randn(6, 3, 8), torch.randint(3, (6,))
    network = nn.Sequential(*layers)
    single = hessian_operator(network, [data])
    one, other = np.random.default_rng(0).standard_normal((2, single.shape[0]))
    in_single = single.matvec(one)
    assert other @ in_single == pytest.approx(one @ single.matvec(other), rel=1e-4)
    double = hessian_operator(network.double(), [(data[0].double(), data[1])]).matvec(one)
    assert in_single == pytest.approx(double, abs=1e-5 * np.abs(double).max())


def test_bad_input_is_told_with_its_cure(network, data):
    def product(**changes):
        given = {"network": network, "batches": [data], "direction": weights_of(network), **changes}
        return hessian_product(**given)

    tries = {
        "give a batch": lambda: product(batches=[]),
        "no parameter nonsense": lambda: product(direction={"nonsense": torch.ones(1)}),
        "does not fit the network at 0.weight": lambda: product(direction={"0.weight": torch.ones(1)}),
        "give one or more": lambda: product(direction={}),
        "choose one or more": lambda: hessian_operator(network, [data], which=lambda name, p: False),
        "choose as for the operator": lambda: direction_of(np.ones(3), network),
        "float32 or float64": lambda: hessian_product(nn.Linear(2, 2).bfloat16(), [data], {"bias": torch.ones(2)}),
        "not finite": lambda: extreme_eigenvalues(hessian_operator(network, [(data[0] * torch.inf, data[1])])),
        "ask for 1 to 177": lambda: hessian_eigenpairs(network, [data], 178),
        "use largest, smallest, magnitude": lambda: hessian_eigenpairs(network, [data], end="top"),
        "the Hessian is zero": lambda: hessian_eigenpairs(
            Quadratic([0, 0, 0]), [(torch.ones(1), torch.ones(1))], 1, first
        ),
        "leave 2 or more": lambda: trace(hessian_operator(network, [data]), 9, 4),
        "give a positive one": lambda: extreme_eigenvalues(hessian_operator(network, [data]), tolerance=0),
        "give a positive width": lambda: density(hessian_operator(network, [data]), width=0),
        "probes is 1": lambda: density(hessian_operator(network, [data]), 1),
        "probes is 0": lambda: smoothed(np.zeros((0, 3)), np.zeros((0, 3)), 10),
        "0 steps give no spectrum": lambda: extreme_eigenvalues(hessian_operator(network, [data]), steps=0),
    }
    for message, attempt in tries.items():
        with pytest.raises(BadInput, match=message) as raised:
            attempt()
        assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_another_library_agrees(network, data):
    curvlinops = pytest.importorskip("curvlinops")
    batches = cut(data, 25, 15)
    theirs = curvlinops.HessianLinearOperator(
        network, nn.CrossEntropyLoss(), list(network.parameters()), batches, check_deterministic=False
    )
    vector = np.random.default_rng(0).standard_normal(178)
    assert hessian_operator(network, batches).matvec(vector) == pytest.approx(
        (theirs @ torch.from_numpy(vector)).detach().numpy(), rel=1e-10, abs=1e-13
    )
    outermost = eigsh(theirs.to_scipy(), 5, which="LM", return_eigenvectors=False)
    ours = hessian_eigenpairs(network, batches, 5, end="magnitude", tolerance=1e-10)
    assert np.sort(ours.values) == pytest.approx(np.sort(outermost), rel=1e-8)
