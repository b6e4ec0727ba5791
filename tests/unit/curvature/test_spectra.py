"""The Hessian's spectrum at a network: operators, eigenpairs, traces and densities against dense Hessians."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tiny
import torch
from files import same
from torch import nn

from landscape.analysis.hessian_files import density_of
from landscape.curvature import spectra
from landscape.curvature.hessian import hessian_operator
from landscape.curvature.maps import curvature
from landscape.curvature.spectra import eigenpairs, hessian, trace
from landscape.drawing import eigenvalues
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.linalg.density import moment
from landscape.linalg.trace import estimate
from landscape.linalg.trace import trace as trace_of
from landscape.planes import direction_files as saved
from landscape.planes.make_plane import plane_along
from landscape.planes.plane import shift

MODES = {"eigenvalues": {"top": 4}, "trace": {"trace": 30}, "density": {"density": 4, "steps": 12}}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network())


@pytest.fixture(scope="module")
def exact(evaluate):
    return tiny.dense(evaluate.network)


@pytest.fixture(scope="module")
def files(evaluate, tmp_path_factory):
    """Results of each mode, in files."""
    folder = tmp_path_factory.mktemp("modes")
    return {kind: curvature(evaluate, **MODES[kind], out=folder / f"{kind}.h5") for kind in MODES}


# Operators


@pytest.fixture
def training():
    """A network whose mode, layout and loss in training are not those in which it is measured; of two batches."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Dropout(0.5), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )
    network(torch.randn(64, 1, 9, 9))
    data = torch.randn(30, 1, 9, 9), torch.arange(30) % 3
    return network.train(), list(zip(*(part.split(20) for part in data), strict=True))


def test_products_outside_an_experiment_are_those_within_and_the_network_stays_in_training(training):
    network, batches = training
    evaluate = Evaluator(network, batches)
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in network.state_dict().items()}

    def as_it_was():
        state = network.state_dict()
        equal = all(torch.equal(state[n], t) and state[n].stride() == strides for n, (t, strides) in before.items())
        return equal and all(module.training for module in network.modules())

    operator = hessian(evaluate)
    assert as_it_was()
    vectors = np.random.default_rng(0).standard_normal((2, operator.shape[0]))
    products = [operator.matvec(vectors[0])]
    assert as_it_was()
    products.append(operator @ vectors[1])
    assert as_it_was()
    with evaluate.ready() as evaluation:
        within = hessian_operator(evaluation.network, evaluation.batches, evaluation.loss, "filters")
        np.testing.assert_array_equal(products, [within.matvec(vector) for vector in vectors])
        theirs = trace_of(within, 9, seed=1)
    assert trace(operator, 9, seed=1) == trace(evaluate, 9, seed=1) == theirs and theirs.standard_error > 0
    assert as_it_was()


@pytest.mark.slow
def test_an_operator_is_the_dense_hessian_at_the_weights_that_the_network_has_then(evaluate, exact):
    operator = hessian(evaluate)
    vector = np.random.default_rng(0).standard_normal(operator.shape[0])
    scale = np.abs(exact[0] @ vector).max()
    assert operator @ vector == pytest.approx(exact[0] @ vector, abs=1e-4 * scale)
    plane = plane_along({name: 0.1 * p.detach() for name, p in evaluate.network.named_parameters()})
    with shift(evaluate.network, plane(evaluate.network), [1]):
        there = tiny.dense(evaluate.network)[0]
        assert operator @ vector == pytest.approx(there @ vector, abs=1e-4 * np.abs(there @ vector).max())
    assert np.abs(there - exact[0]).max() > 0.01 * np.abs(exact[0]).max()


def test_the_parameters_are_chosen_by_name_or_are_all(evaluate):
    chosen = hessian(evaluate, parameters="*.0.weight")
    names = {name: p for name, p in evaluate.network.named_parameters() if name.endswith(".0.weight")}
    assert chosen.shape[0] == sum(p.numel() for p in names.values() if p.ndim >= 2)
    everything = hessian(evaluate, all_parameters=True)
    assert everything.shape[0] == sum(p.numel() for p in evaluate.network.parameters())
    assert hessian(evaluate).shape[0] < everything.shape[0]


def test_a_product_takes_one_thread_and_gives_the_others_back(training):
    network, batches = training
    threads = []

    def loss(outputs, targets):
        threads.append(torch.get_num_threads())
        return nn.functional.cross_entropy(outputs, targets, reduction="none")

    operator = hessian(Evaluator(network, batches, loss))
    torch.set_num_threads(2)
    try:
        threads.clear()
        operator @ np.ones(operator.shape[0])
        assert set(threads) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_reduced_type_or_a_part_of_the_examples_has_no_hessian(evaluate):
    for how in ({"dtype": "bfloat16"}, {"tolerance": 0.1}):
        for measured in (hessian, trace, eigenpairs):
            with pytest.raises(BadInput, match="the Hessian is taken in float32 over all examples"):
                measured(tiny.with_digits(evaluate.network, **how))


# Eigenpairs


@pytest.mark.parametrize("end", ["largest", "smallest", "magnitude"])
@pytest.mark.slow
def test_the_outermost_eigenvalues_are_those_of_the_dense_hessian(evaluate, exact, end):
    results = curvature(evaluate, top=4, end=end, precision=1e-2, quiet=True)
    true = np.linalg.eigvalsh(exact[0])
    order = {"largest": -true, "smallest": true, "magnitude": -np.abs(true)}[end].argsort()[:4]
    assert results["converged"].all()
    assert results["eigenvalue"] == pytest.approx(true[order], rel=1e-3)
    assert (results["residual"] <= 1e-2 * np.abs(results["eigenvalue"])).all()
    assert results.attributes["parameters"] == len(true) and results.attributes["end"] == end


def test_their_directions_are_unit_eigenvectors_in_memory_and_in_a_file(evaluate, exact, files):
    matrix, names = exact
    pairs, results = eigenpairs(evaluate, 4), files["eigenvalues"]
    assert pairs.converged
    np.testing.assert_array_equal(pairs.values, results["eigenvalue"])
    vectors = [np.concatenate([d[name].numpy().ravel() for name in names]) for d in pairs.directions]
    assert np.abs(np.array(vectors) @ np.transpose(vectors) - np.eye(4)).max() < 1e-4
    for vector, value in zip(vectors, pairs.values, strict=True):
        assert np.linalg.norm(matrix @ vector - value * vector) < 2e-3 * value
    assert not any(d[name].any() for d in pairs.directions for name in d if name not in names)
    directions = saved.load(results.path.with_suffix(".directions.pt"))
    for one, other in zip(directions, pairs.directions, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_all_parameters_and_a_name_for_the_directions(evaluate, tmp_path):
    how = {"all_parameters": True, "directions": tmp_path / "b.pt", "quiet": True}
    results = curvature(evaluate, top=2, **how, out=tmp_path / "a.h5")
    true = np.linalg.eigvalsh(tiny.dense(evaluate.network, which=lambda name, p: True)[0])
    assert results["eigenvalue"] == pytest.approx(true[:-3:-1], rel=1e-3)
    assert len(saved.load(tmp_path / "b.pt")) == 2
    assert results.attributes["hessian_parameters"] == "all"


def test_eigenpairs_that_have_not_converged_are_said_and_left_out(evaluate, tmp_path, monkeypatch, caplog):
    real = spectra.hessian_eigenpairs

    def one_bad(*arguments, **how):
        pairs = real(*arguments, **how)
        some = {"values": pairs.values[[0, 2]], "residuals": pairs.residuals[[0, 2]], "converged": False}
        return replace(pairs, **some, directions=pairs.directions[::2])

    monkeypatch.setattr(spectra, "hessian_eigenpairs", one_bad)
    caplog.set_level("INFO", "skipscape")
    results = curvature(evaluate, top=3, quiet=True, out=tmp_path / "a.h5")
    assert results["converged"].tolist() == [True, True, False]
    assert np.isnan(results["eigenvalue"]).tolist() == np.isnan(results["residual"]).tolist() == [False, False, True]
    assert len(saved.load(tmp_path / "a.directions.pt")) == 2
    assert "1 of 3 did not converge" in caplog.text
    pairs = eigenpairs(evaluate, 3)
    assert len(pairs.values) == len(pairs.directions) == 2 and not pairs.converged


def test_a_precision_beyond_float32_is_not_claimed(evaluate, tmp_path, caplog):
    caplog.set_level("INFO", "skipscape")
    results = curvature(evaluate, top=2, precision=1e-13, quiet=True, out=tmp_path / "a.h5")
    assert results["done"].all() and np.isnan(results["eigenvalue"]).all()
    assert "2 of 2 did not converge" in caplog.text and "directions" not in caplog.text
    assert not (tmp_path / "a.directions.pt").exists()


def test_lost_directions_are_found_again(evaluate, files, tmp_path):
    path = tmp_path / "a.h5"
    shutil.copy(files["eigenvalues"].path, path)
    curvature(evaluate, **MODES["eigenvalues"], quiet=True, out=path)
    again, before = (saved.load(p.with_suffix(".directions.pt")) for p in (path, files["eigenvalues"].path))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(again, before, strict=True) for name in b)


# Traces and densities


def test_the_trace_is_that_of_the_dense_hessian(evaluate, files, exact, caplog):
    results, true = files["trace"], np.trace(exact[0])
    assert results["trace"].shape == (10,) and results.attributes["sketch"] == 10
    mean = estimate(results["trace"])
    assert abs(mean.value - true) < 5 * mean.standard_error < true
    assert trace(evaluate, 30) == mean
    low, high = mean.interval
    caplog.set_level("INFO", "skipscape")
    curvature(evaluate, **MODES["trace"], out=results.path)
    assert f"trace {mean.value:.4g} ± {(high - low) / 2:.2g}" in caplog.text and "95 %" in caplog.text


def test_the_density_is_that_of_the_dense_hessian(evaluate, files, exact, caplog):
    results, true = files["density"], np.linalg.eigvalsh(exact[0])
    assert results.dims["node"] == results.dims["weight"] == ("probe", "step")
    assert results["weight"].sum(axis=1) == pytest.approx(1)
    assert results["node"].min() == pytest.approx(true[0], abs=0.02 * true[-1])
    assert results["node"].max() == pytest.approx(true[-1], rel=1e-3)
    density = density_of(results)
    for order in (1, 2):
        of_order = moment(density, order)
        assert abs(of_order.value - np.mean(true**order)) < 5 * of_order.standard_error
    caplog.set_level("INFO", "skipscape")
    curvature(evaluate, **MODES["density"], out=results.path)
    assert f"trace {len(true) * moment(density, 1).value:.4g} ±" in caplog.text
    assert f"to {results['node'].max():.4g}" in caplog.text


# All of them


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.slow
def test_in_memory_the_numbers_are_those_of_the_file(evaluate, files, kind, caplog):
    caplog.set_level("INFO", "skipscape")
    memory = curvature(evaluate, **MODES[kind], quiet=True)
    assert memory.path is None and "directions" not in caplog.text
    for name in files[kind]:
        np.testing.assert_array_equal(memory[name], files[kind][name], err_msg=name)


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.slow
def test_a_run_that_was_stopped_becomes_what_it_would_have_been(evaluate, files, kind, tmp_path):
    path = tmp_path / "a.h5"
    shutil.copy(files[kind].path, path)
    with h5py.File(path, "r+") as file:
        for name in file:
            if not file[name].is_scale and name not in ("done", "crc"):
                file[name][1:] = -1
        file["done"][1:] = False
    curvature(evaluate, **MODES[kind], quiet=True, out=path)
    same(path, files[kind].path)


@pytest.mark.parametrize("kind", MODES)
def test_a_finished_call_does_nothing_and_another_is_refused(evaluate, files, kind, caplog):
    path = files[kind].path
    before = path.read_bytes()
    caplog.set_level("INFO", "skipscape")
    curvature(evaluate, **MODES[kind], out=path)
    assert "is complete already" in caplog.text
    assert path.read_bytes() == before
    with pytest.raises(BadInput, match="hessian_parameters"):
        curvature(evaluate, **MODES[kind], out=path, all_parameters=True)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_numbers_that_make_no_measurement_are_refused_in_one_line(evaluate, tmp_path):
    refused = {
        "ask for 1 to": {"top": 0},
        "leave 1 probes": {"trace": 1},
        "give 2 probes or more": {"density": 1},
        "mkdir -p": {"top": 2, "directions": tmp_path / "missing" / "a.pt"},
    }
    for message, how in refused.items():
        with pytest.raises(BadInput, match=message) as raised:
            curvature(evaluate, **how, out=tmp_path / "a.h5")
        assert "\n" not in str(raised.value)
    inputs = tiny.digits().images * torch.inf
    with pytest.raises(BadInput, match="not finite here"):
        curvature(Evaluator(evaluate.network, [(inputs, tiny.digits().labels)]), trace=30, out=tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())


def test_nothing_is_kept_of_a_dry_run(evaluate, tmp_path):
    assert "eigenpairs" in curvature(evaluate, top=2, out=tmp_path / "a.h5", dry_run=True)
    assert not list(tmp_path.iterdir())


def test_the_eigenvalues_of_a_file_are_drawn(files):
    figure = eigenvalues([files["eigenvalues"]])
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx(read(files["eigenvalues"].path)["eigenvalue"])
