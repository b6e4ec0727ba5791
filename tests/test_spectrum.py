"""The Hessian's spectrum at a checkpoint: the commands against dense Hessians, and what is drawn and told of it."""

import contextlib
import importlib.util
import io
import shutil

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT, command, same
from scipy.integrate import trapezoid

from landscape import checkpoint as checkpoints
from landscape import saved
from landscape.data import load
from landscape.density import moment, smoothed
from landscape.drawing import densities, eigenvalues
from landscape.drawing.curvature import contradicted, curvature, signed_norm
from landscape.errors import BadInput
from landscape.geometry import convex
from landscape.ranks import Alone
from landscape.spectrum import CURVATURE, DENSITY, EIGENVALUES, convexity, density_of
from landscape.table import MEASURED, Results, prepare, read
from landscape.trace import estimate

FEW = ("--examples", 60)
MODES = {
    "eigenvalues": ("--top", 4),
    "trace": ("--trace", 30),
    "density": ("--density", 4, "--steps", 12),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network small enough for a dense Hessian."""
    path = tmp_path_factory.mktemp("tiny") / "a.pt"
    command("train", path, "--network", "resnet", "--depth", 8, "--width", 1, "--epochs", 2, "--quiet")
    return path


def script(name):
    """A command as a module: to run it here saves the start of a process."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_here(command, *arguments):
    module = script(command) if isinstance(command, str) else command
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["here.py"])
        patch.setenv("OMP_NUM_THREADS", "1")
        module.main(module.parser().parse_args(list(map(str, arguments))), Alone())


@pytest.fixture(scope="module")
def files(tiny):
    """One results file of each mode."""
    paths, told = {kind: tiny.parent / f"{kind}.h5" for kind in MODES}, {}
    for kind, path in paths.items():
        with contextlib.redirect_stdout(io.StringIO()) as out:
            run_here("curvature", tiny, path, *MODES[kind], *FEW)
        told[kind] = out.getvalue()
    return paths, told


def dense(path, which=lambda name, p: p.ndim >= 2):
    """The Hessian at a checkpoint, by torch.func in float64."""
    network = checkpoints.load(path).restore().eval().double()
    data = load("digits", "train", examples=60, standardize=True)
    moved = {name: p.detach().clone() for name, p in network.named_parameters() if which(name, p)}

    def loss(vector):
        parts = vector.split([p.numel() for p in moved.values()])
        weights = {name: part.view_as(moved[name]) for name, part in zip(moved, parts, strict=True)}
        outputs = torch.func.functional_call(network, weights, (data.images.double(),))
        return torch.nn.functional.cross_entropy(outputs, data.labels)

    return torch.func.hessian(loss)(torch.cat([p.flatten() for p in moved.values()])).detach().numpy(), list(moved)


@pytest.fixture(scope="module")
def exact(tiny):
    return dense(tiny)


@pytest.mark.parametrize("end", ["largest", "smallest", "magnitude"])
def test_the_outermost_eigenvalues_are_those_of_the_dense_hessian(tiny, exact, end, tmp_path):
    run_here("curvature", tiny, tmp_path / "a.h5", "--top", 4, "--end", end, "--precision", 1e-2, *FEW)
    results, true = read(tmp_path / "a.h5"), np.linalg.eigvalsh(exact[0])
    order = {"largest": -true, "smallest": true, "magnitude": -np.abs(true)}[end].argsort()[:4]
    assert results["converged"].all()
    assert results["eigenvalue"] == pytest.approx(true[order], rel=1e-3)
    assert (results["residual"] <= 1e-2 * np.abs(results["eigenvalue"])).all()
    assert results.attributes["parameters"] == len(true) and results.attributes["end"] == end


def test_their_directions_are_unit_eigenvectors_that_a_surface_goes_along(tiny, files, exact, tmp_path):
    (hessian, names), results = exact, read(files[0]["eigenvalues"])
    path = files[0]["eigenvalues"].with_suffix(".directions.pt")
    directions = saved.load(path)
    vectors = [np.concatenate([d[name].numpy().ravel() for name in names]) for d in directions]
    assert np.abs(np.array(vectors) @ np.transpose(vectors) - np.eye(4)).max() < 1e-4
    for vector, value in zip(vectors, results["eigenvalue"], strict=True):
        assert np.linalg.norm(hessian @ vector - value * vector) < 2e-3 * value
    assert not any(d[name].any() for d in directions for name in d if name not in names)
    run_here("surface", tiny, tmp_path / "a.h5", "--along", path, "--x", 0, 0.5, 2, *FEW)
    network, data = checkpoints.load(tiny).restore().eval(), load("digits", "train", examples=60, standardize=True)
    with torch.no_grad():
        for name, p in network.named_parameters():
            p += 0.5 * directions[0][name]
        there = torch.nn.functional.cross_entropy(network(data.images), data.labels).item()
    assert read(tmp_path / "a.h5")["loss"][1] == pytest.approx(there, rel=1e-5)


def test_all_parameters_and_a_name_for_the_directions(tiny, tmp_path):
    how = ("--top", 2, "--all-parameters", "--directions", tmp_path / "b.pt")
    run_here("curvature", tiny, tmp_path / "a.h5", *how, *FEW)
    true = np.linalg.eigvalsh(dense(tiny, lambda name, p: True)[0])
    assert read(tmp_path / "a.h5")["eigenvalue"] == pytest.approx(true[:-3:-1], rel=1e-3)
    assert len(saved.load(tmp_path / "b.pt")) == 2
    assert read(tmp_path / "a.h5").attributes["hessian_parameters"] == "all"


def test_eigenpairs_that_have_not_converged_are_told_and_left_out(tiny, tmp_path, monkeypatch, capsys):
    module = script("curvature")
    real = module.eigenpairs

    def one_bad(*arguments, **how):
        pairs = real(*arguments, **how)
        pairs.residuals[1] = 0.1 * pairs.values[1]
        return pairs

    monkeypatch.setattr(module, "eigenpairs", one_bad)
    run_here(module, tiny, tmp_path / "a.h5", "--top", 3, *FEW)
    results = read(tmp_path / "a.h5")
    assert results["converged"].tolist() == [True, True, False]
    assert np.isnan(results["eigenvalue"]).tolist() == np.isnan(results["residual"]).tolist() == [False, False, True]
    assert len(saved.load(tmp_path / "a.directions.pt")) == 2
    assert "1 of 3 did not converge" in capsys.readouterr().out


def test_a_precision_beyond_float32_is_not_claimed(tiny, tmp_path, capsys):
    run_here("curvature", tiny, tmp_path / "a.h5", "--top", 2, "--precision", 1e-13, *FEW)
    results = read(tmp_path / "a.h5")
    assert results["done"].all() and np.isnan(results["eigenvalue"]).all()
    told = capsys.readouterr().out
    assert "2 of 2 did not converge" in told and "directions" not in told
    assert not (tmp_path / "a.directions.pt").exists()


def test_the_trace_is_that_of_the_dense_hessian(files, exact):
    paths, told = files
    results, true = read(paths["trace"]), np.trace(exact[0])
    assert results["trace"].shape == (10,) and results.attributes["sketch"] == 10
    found = estimate(results["trace"])
    assert abs(found.value - true) < 5 * found.standard_error < true
    low, high = found.interval
    assert f"trace {found.value:.4g} ± {(high - low) / 2:.2g}" in told["trace"] and "95 %" in told["trace"]


def test_the_density_is_that_of_the_dense_hessian(files, exact):
    paths, told = files
    results, true = read(paths["density"]), np.linalg.eigvalsh(exact[0])
    assert results.dims["node"] == results.dims["weight"] == ("probe", "step")
    assert results["weight"].sum(axis=1) == pytest.approx(1)
    assert results["node"].min() == pytest.approx(true[0], abs=0.02 * true[-1])
    assert results["node"].max() == pytest.approx(true[-1], rel=1e-3)
    found = density_of(results)
    for order in (1, 2):
        of_order = moment(found, order)
        assert abs(of_order.value - np.mean(true**order)) < 5 * of_order.standard_error
    first = moment(found, 1)
    assert f"trace {len(true) * first.value:.4g} ±" in told["density"]
    assert f"to {results['node'].max():.4g}" in told["density"]


@pytest.mark.parametrize("kind", MODES)
def test_a_run_that_was_stopped_becomes_what_it_would_have_been(tiny, files, kind, tmp_path):
    path = tmp_path / "a.h5"
    shutil.copy(files[0][kind], path)
    with h5py.File(path, "r+") as file:
        for name in file:
            if not file[name].is_scale and name not in ("done", "crc"):
                file[name][1:] = -1
        file["done"][1:] = False
    run_here("curvature", tiny, path, *MODES[kind], *FEW)
    same(path, files[0][kind])


@pytest.mark.parametrize("kind", MODES)
def test_a_finished_command_does_nothing_and_another_is_refused(tiny, files, kind, capsys):
    path = files[0][kind]
    before = path.read_bytes()
    run_here("curvature", tiny, path, *MODES[kind], *FEW)
    assert "is complete already" in capsys.readouterr().out
    assert path.read_bytes() == before
    with pytest.raises(BadInput, match="hessian_parameters"):
        run_here("curvature", tiny, path, *MODES[kind], *FEW, "--all-parameters")
    assert path.read_bytes() == before


def test_lost_directions_are_found_again(tiny, files, tmp_path):
    path = tmp_path / "a.h5"
    shutil.copy(files[0]["eigenvalues"], path)
    run_here("curvature", tiny, path, *MODES["eigenvalues"], *FEW)
    again, before = (saved.load(p.with_suffix(".directions.pt")) for p in (path, files[0]["eigenvalues"]))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(again, before, strict=True) for name in b)


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_probes(tiny, files, tmp_path):
    for kind in ("trace", "density"):
        command("curvature", tiny, tmp_path / f"{kind}.h5", *MODES[kind], *FEW, ranks=2)
        same(tmp_path / f"{kind}.h5", files[0][kind])
    done = command("curvature", tiny, tmp_path / "a.h5", *MODES["eigenvalues"], *FEW, ranks=2, check=False)
    assert done.returncode == 2 and "start it without mpiexec" in done.stderr
    assert not (tmp_path / "a.h5").exists()


def test_what_does_not_go_together_is_refused_in_one_line(tiny, tmp_path):
    refused = {
        "--x does not go with --top": ("--top", 2, "--x", -1, 1, 11),
        "--y does not go with --trace": ("--trace", 30, "--y", -1, 1, 5),
        "--to does not go with --density": ("--density", 3, "--to", tiny),
        "--along does not go with --top": ("--top", 2, "--along", tiny),
        "--normalize does not go with --trace": ("--trace", 30, "--normalize", "layer"),
        "--batchnorm does not go with --density": ("--density", 3, "--batchnorm", "interpolated"),
        "--steps does not go with --top": ("--top", 2, "--steps", 9),
        "--precision does not go with --density": ("--density", 3, "--precision", 0.1),
        "--end does not go with a plane": ("--end", "smallest"),
        "--directions does not go with a plane": ("--directions", "a.pt"),
        "not allowed with argument": ("--top", 2, "--trace", 30),
        "float32 over all examples": ("--top", 2, "--dtype", "bfloat16"),
        "ask for 1 to": ("--top", 0),
        "leave 1 probes": ("--trace", 1),
        "give 2 probes or more": ("--density", 1),
        "mkdir -p": ("--top", 2, "--directions", tmp_path / "missing" / "a.pt"),
    }
    for message, how in refused.items():
        with pytest.raises(BadInput, match=message) as raised:
            run_here("curvature", tiny, tmp_path / "a.h5", *how, *FEW)
        assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_where_the_slice_is_convex_the_plane_says_what_the_ratio_is(tiny, tmp_path, capsys):
    how = ("--x", -0.2, 0.2, 4, "--y", -0.2, 0.2, 3, "--steps", 30)
    run_here("curvature", tiny, tmp_path / "a.h5", *how, *FEW)
    told, results = capsys.readouterr().out, read(tmp_path / "a.h5")
    share = np.mean(convex(results["loss"], results.coordinates["x"], results.coordinates["y"]))
    assert f"the slice is convex at {100 * share:.0f} % of its 2 inner points" in told
    assert "|λmin/λmax|" in told


# From arrays


def smooth_file(path, nodes, weights, n, *, done=True, network="resnet-20"):
    attributes = {"network": network, "split": "train", "parameters": n, "hessian_parameters": "all"}
    table, _ = prepare(
        path,
        np.zeros((len(nodes), 1)),
        kind="density",
        dims=("probe",),
        coordinates={"probe": np.arange(len(nodes)), "step": np.arange(nodes.shape[1])},
        measured=DENSITY,
        attributes=attributes,
    )
    for row in np.flatnonzero(np.broadcast_to(done, len(nodes))):
        table.record(row, {"node": nodes[row], "weight": weights[row]})
    table.flush()
    return read(path)


TRUE = np.r_[-0.4, np.linspace(-0.01, 0.02, 36), 0.5, 3, 40]


def test_a_density_from_a_file_alone_is_the_smoothed_spectrum(tmp_path):
    """Quadratures that are the spectrum itself, so that the density is known."""
    nodes, weights = np.tile(TRUE, (3, 1)), np.full((3, 40), 1 / 40)
    file = smooth_file(tmp_path / "a.h5", nodes, weights, 40)
    grid = np.array([-0.4, 0.0, 0.1, 30])
    plain = density_of(file, grid, 0.3)
    np.testing.assert_array_equal(plain.values, smoothed(nodes, weights, 40, grid, 0.3).values)
    found = density_of(file, grid, 0.2, linear=0.05)
    u, at = np.arcsinh(TRUE / 0.05), np.arcsinh(grid / 0.05)
    bells = np.exp(-0.5 * ((at[:, None] - u) / 0.2) ** 2) / (0.2 * np.sqrt(2 * np.pi))
    assert found.grid == pytest.approx(grid, abs=1e-12)
    assert found.values == pytest.approx(bells.mean(axis=1) / np.sqrt(0.05**2 + grid**2))
    whole = density_of(file, np.sinh(np.linspace(-7, 9, 4001)) * 0.05, 0.2, linear=0.05)
    assert trapezoid(whole.values, whole.grid) == pytest.approx(1, abs=1e-4)


def test_on_the_bent_axis_too_errors_are_what_they_state():
    """Of 100 times 10 probes, the density is in its interval in 90 or more."""
    generator = np.random.default_rng(0)
    grid, hits = np.array([-0.4, 0.0, 0.4, 3.0]), 0
    u, at = np.arcsinh(TRUE / 0.05), np.arcsinh(grid / 0.05)
    bells = np.exp(-0.5 * ((at[:, None] - u) / 0.2) ** 2) / (0.2 * np.sqrt(2 * np.pi))
    true = bells.mean(axis=1) / np.sqrt(0.05**2 + grid**2)
    for _ in range(100):
        start = generator.standard_normal((10, 40))
        weights = start**2 / (start**2).sum(axis=1, keepdims=True)  # what a random unit vector sees
        variables = {"node": np.tile(TRUE, (10, 1)), "weight": weights, "done": np.ones(10, bool)}
        file = Results(None, "density", {}, variables, {}, {"parameters": 40})
        found = density_of(file, grid, 0.2, 0.05)
        hits += np.abs(found.values - true) <= 2.262 * found.standard_error
    assert (hits >= 90).all()


def test_probes_that_are_missing_are_not_counted_and_one_is_not_enough(tmp_path):
    nodes, weights = np.tile(TRUE, (3, 1)), np.full((3, 40), 1 / 40)
    nodes[2] = 1000
    two = smooth_file(tmp_path / "a.h5", nodes, weights, 40, done=[True, True, False])
    assert density_of(two).nodes.max() == 40
    one = smooth_file(tmp_path / "b.h5", nodes, weights, 40, done=[True, False, False])
    with pytest.raises(BadInput, match="needs 2 or more"):
        density_of(one)


def test_a_double_well_is_convex_where_it_is_known_to_be():
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 5)
    loss = (x**2 - 0.25) ** 2 + y[:, None] ** 2
    # by differences over h = 1/4 the curvature along x is 12x² − 1 + 2h², which is negative where |x| < 0.27
    expected = np.broadcast_to(np.abs(x[1:-1]) > 0.27, (3, 7))
    np.testing.assert_array_equal(convex(loss, x, y), expected)
    loss[0, 0] = np.inf
    found = convex(loss, x, y)
    assert found.mask.sum() == 1 and found.mask[0, 0]
    assert convex(loss[:2], x, y[:2]).shape == (0, 7)


def test_ratios_are_told_apart_by_the_convexity_of_the_slice():
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 5)
    loss = (x**2 - 0.25) ** 2 + y[:, None] ** 2
    ratios = np.broadcast_to(np.abs(x), loss.shape).copy()
    found = convexity(loss, ratios, x, y)
    assert (found.share, found.points) == (pytest.approx(4 / 7), 21)
    assert found.there == (pytest.approx(0.625), 0.75, 12)
    assert found.elsewhere == (0.25, 0.25, 9)
    ratios[1:-1, 1] = np.nan, np.inf, np.nan
    assert convexity(loss, ratios, x, y).there == (0.5, 0.75, 9)
    flat = convexity(np.full((3, 3), np.nan), np.zeros((3, 3)), x[:3], y[:3])
    assert np.isnan(flat.share) and flat.points == flat.there.number == 0


# Figures


def map_file(path, least, most, *, loss=None, done=True, converged=True):
    coordinates = {"y": np.linspace(-1, 1, least.shape[0]), "x": np.linspace(-1, 1, least.shape[1])}
    table, _ = prepare(
        path,
        np.zeros((least.size, 2)),
        kind="curvature",
        dims=("y", "x"),
        coordinates=coordinates,
        measured=MEASURED | CURVATURE,
        attributes={"network": "resnet-20", "split": "train", "hessian_parameters": "all"},
    )
    loss = np.add.outer(coordinates["y"] ** 2, coordinates["x"] ** 2) if loss is None else loss
    rest = {"loss_se": 0, "accuracy": 1, "examples": 9, "residual_min": 0, "residual_max": 0, "products": 9}
    for row in np.flatnonzero(np.broadcast_to(done, least.shape)):
        here = {"loss": loss.flat[row], "lambda_min": least.flat[row], "lambda_max": most.flat[row]}
        table.record(row, {**rest, **here, "converged": converged})
    table.flush()
    return read(path)


def test_dots_are_where_the_slice_is_convex_and_the_hessian_is_not(tmp_path):
    most = np.full((5, 6), 10.0)
    least = np.full((5, 6), -0.05)  # little
    least[1, 2], least[0, 0], least[2, 2] = -0.2, -5, 0.3
    file = map_file(tmp_path / "a.h5", least, most)
    assert np.argwhere(contradicted(file)).tolist() == [[1, 2]]  # the rim has no second differences
    figure = curvature([file])
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    x, y = file.coordinates["x"], file.coordinates["y"]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in dots] == [(x[2], y[1])]
    assert "slice convex" in figure.legends[0].texts[0].get_text()
    hill = map_file(tmp_path / "b.h5", least, most, loss=-file["loss"])
    assert not contradicted(hill).any()
    assert "not converged" not in figure.legends[0].get_title().get_text()
    vague = curvature([map_file(tmp_path / "c.h5", least, most, converged=False)])
    assert "30 points not converged" in vague.legends[0].get_title().get_text()


def test_maps_of_several_networks_share_their_scales(tmp_path):
    generator = np.random.default_rng(0)
    files = []
    for number in range(3):
        least = -(10.0 ** generator.uniform(-2, 3 + number, (7, 6)))
        if number == 1:
            least[0, :2] = np.nan
        done = np.arange(42).reshape(7, 6) < (40 if number == 2 else 42)
        files.append(map_file(tmp_path / f"{number}.h5", least, 10 * np.abs(least) + 1, done=done))
    figure = curvature(files, titles=["one", "two", "a third network with a long name"])
    figure.canvas.draw()
    norms = [axes.collections[-1].norm for axes in figure.axes[:6]]
    assert len({id(norm) for norm in norms[:3]}) == len({id(norm) for norm in norms[3:]}) == 1
    assert norms[0].vmin, norms[0].vmax == (0.01, 1)
    assert -norms[3].vmin == norms[3].vmax == max(np.nanmax(np.abs(f["lambda_min"])) for f in files)
    texts = [text.get_text() for text in figure.legends[0].texts]
    assert "not finite" in texts and "not measured yet" in texts
    size = figure.get_window_extent()
    for axes in figure.axes[:3]:
        box = axes.title.get_window_extent()
        assert size.y0 < box.y0 and box.y1 < size.y1
    plt.close("all")


def test_a_signed_scale_holds_all_values_and_none_at_all():
    norm = signed_norm([np.array([[-8.0, np.nan], [0.5, 0.0]])])
    assert (norm.vmin, norm.vmax) == (-8, 8)
    assert norm(0.0) == pytest.approx(0.5)
    assert signed_norm([np.full((2, 2), np.nan)]).vmax == 1
    assert signed_norm([np.zeros((2, 2))]).vmax == 1


def test_densities_are_drawn_with_their_errors_and_extremes(tmp_path):
    generator = np.random.default_rng(1)
    weights = generator.dirichlet(np.ones(40), 4)
    files = [smooth_file(tmp_path / f"{i}.h5", i * np.tile(TRUE, (4, 1)), weights, 40 * i) for i in (1, 2)]
    figure = densities(files, titles=["one", "two"])
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_yscale() == "log" and axes.get_xscale() == "asinh"
    assert len(axes.collections) == 2  # the bands
    marks = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "^"]
    assert marks == [pytest.approx([-0.4, 40]), pytest.approx([-0.8, 80])]
    low, high = axes.get_xlim()
    assert low < -0.8 and high > 80
    names = [text.get_text() for text in figure.legends[0].texts]
    assert names == ["one: λ from −0.4 to 40", "two: λ from −0.8 to 80"]
    line = next(line for line in axes.lines if len(line.get_xdata()) > 100)
    assert np.interp(40, line.get_xdata(), line.get_ydata()) > axes.get_ylim()[0]  # one eigenvalue is seen


def eigenvalue_file(path, values, end="largest"):
    attributes = {"network": "resnet-20", "split": "train", "hessian_parameters": "all", "end": end}
    number = np.arange(1, len(values) + 1)
    table, _ = prepare(
        path,
        number[:, None],
        kind="eigenvalues",
        dims=("eigenpair",),
        coordinates={"eigenpair": number},
        measured=EIGENVALUES,
        attributes=attributes,
    )
    for row, value in enumerate(values):
        converged = np.isfinite(value)
        table.record(row, {"eigenvalue": value, "residual": 0.1, "converged": converged, "products": 30})
    table.flush()
    return read(path)


@pytest.mark.parametrize(
    ("values", "scale"),
    [([50, 3, 1], "log"), ([-50, 3, 1], "symlog"), ([3, 2.5, 2], "linear"), ([5, np.nan], "linear")],
)
def test_eigenvalues_are_drawn_on_a_scale_that_shows_them_all(tmp_path, values, scale):
    file = eigenvalue_file(tmp_path / "a.h5", values)
    figure = eigenvalues([file, file], titles=["one", "other"])
    figure.canvas.draw()
    (axes,) = figure.axes
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low < np.nanmin(values) and np.nanmax(values) < high
    assert axes.lines[0].get_xdata().tolist() == list(range(1, len(values) + 1))


def test_what_cannot_be_drawn_is_refused(files, tmp_path):
    ends = [eigenvalue_file(tmp_path / f"{end}.h5", [3.0], end) for end in ("largest", "smallest")]
    with pytest.raises(BadInput, match="draw them apart"):
        eigenvalues(ends)
    with pytest.raises(BadInput, match="nothing to draw"):
        eigenvalues([eigenvalue_file(tmp_path / "a.h5", [np.nan])])
    with pytest.raises(BadInput, match="is a number"):
        run_here("figure", tmp_path / "a.png", files[0]["trace"])


def test_the_commands_files_become_figures(files, tmp_path):
    command("figure", tmp_path / "a.png", files[0]["density"], files[0]["density"], "--titles", "one", "other")
    run_here("figure", tmp_path / "b.png", files[0]["eigenvalues"])
    assert min((tmp_path / name).stat().st_size for name in ("a.png", "b.png")) > 20_000
