"""Files of the Hessian's spectrum: what follows from them, and what is drawn of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.integrate import trapezoid

from landscape.analysis.geometry import convex
from landscape.analysis.hessian_files import CURVATURE, DENSITY, EIGENVALUES, convexity, density_of
from landscape.drawing import densities, eigenvalues
from landscape.drawing.curvature import contradicted, curvature, signed_norm
from landscape.engine.table import MEASURED, Results, prepare, read
from landscape.errors import BadInput
from landscape.linalg.density import smoothed

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
    curve = density_of(file, grid, 0.2, linear=0.05)
    u, at = np.arcsinh(TRUE / 0.05), np.arcsinh(grid / 0.05)
    bells = np.exp(-0.5 * ((at[:, None] - u) / 0.2) ** 2) / (0.2 * np.sqrt(2 * np.pi))
    assert curve.grid == pytest.approx(grid, abs=1e-12)
    assert curve.values == pytest.approx(bells.mean(axis=1) / np.sqrt(0.05**2 + grid**2))
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
        curve = density_of(file, grid, 0.2, 0.05)
        hits += np.abs(curve.values - true) <= 2.262 * curve.standard_error
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
    is_convex = convex(loss, x, y)
    assert is_convex.mask.sum() == 1 and is_convex.mask[0, 0]
    assert convex(loss[:2], x, y[:2]).shape == (0, 7)


def test_ratios_are_told_apart_by_the_convexity_of_the_slice():
    x, y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 5)
    loss = (x**2 - 0.25) ** 2 + y[:, None] ** 2
    ratios = np.broadcast_to(np.abs(x), loss.shape).copy()
    counts = convexity(loss, ratios, x, y)
    assert (counts.share, counts.points) == (pytest.approx(4 / 7), 21)
    assert counts.there == (pytest.approx(0.625), 0.75, 12)
    assert counts.elsewhere == (0.25, 0.25, 9)
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
    assert "At 30 points it has not converged." in vague.legends[0].get_title().get_text().replace("\n", " ")


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
    lowest = min(np.nanmin(f["lambda_min"]) for f in files)
    assert 2.5 * lowest <= norms[3].vmin <= lowest and norms[3].vmax == 0  # none is above 0
    bar = figure.axes[-1]
    assert "linear near 0" in bar.get_ylabel() and {norms[3].vmin, 0} <= set(bar.get_yticks())
    assert "linear within ±" in figure.legends[0].get_title().get_text().replace("\n", " ")
    texts = [text.get_text() for text in figure.legends[0].texts]
    assert "not finite" in texts and "not measured yet" in texts
    size = figure.get_window_extent()
    for axes in figure.axes[:3]:
        box = axes.title.get_window_extent()
        assert size.y0 < box.y0 and box.y1 < size.y1
    plt.close("all")


def test_a_signed_scale_holds_all_values_and_none_at_all():
    norm = signed_norm([np.array([[-8.0, np.nan], [0.5, 0.0]])])
    assert (norm.vmin, norm.vmax) == (-10, 10)
    assert norm(0.0) == pytest.approx(0.5)
    for sign, ends in ((-1, (-10, 0)), (1, (0, 10))):
        one = signed_norm([sign * np.array([[8.0, 0.5]])])
        assert (one.vmin, one.vmax) == ends
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
    line, other = (line for line in axes.lines if len(line.get_xdata()) > 100)
    # No Gaussian's tail suggests eigenvalues beyond the outermost.
    assert [line.get_xdata()[i] for i in (0, -1)] == pytest.approx([-0.4, 40])
    assert [other.get_xdata()[i] for i in (0, -1)] == pytest.approx([-0.8, 80])
    assert {low, 0, high} <= set(axes.get_xticks())
    note = figure.legends[1].get_title().get_text().replace("\n", " ")
    assert "linear within about ±" in note and "end at the outermost λ" in note
    beneath = any((each.get_ydata() < axes.get_ylim()[0]).any() for each in (line, other))
    assert ("Where a curve is below the axis" in note) == beneath
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
    note = figure.get_supxlabel().replace("\n", " ")
    assert ("linear within ±" in note) is (scale == "symlog")
    if scale == "symlog":
        assert {low, 0, high} <= set(axes.get_yticks())


@pytest.mark.parametrize(("scale", "words"), [(1, "Bars are residuals."), (1000, "at most 0.0025 % of an eigenvalue")])
def test_residuals_that_no_bar_can_show_are_told_in_words(tmp_path, scale, words):
    figure = eigenvalues([eigenvalue_file(tmp_path / "a.h5", scale * np.array([5.0, 4.5, 4.0]))])
    assert words in figure.get_supxlabel().replace("\n", " ")


def test_what_cannot_be_drawn_is_refused(tmp_path):
    ends = [eigenvalue_file(tmp_path / f"{end}.h5", [3.0], end) for end in ("largest", "smallest")]
    with pytest.raises(BadInput, match="draw them apart"):
        eigenvalues(ends)
    with pytest.raises(BadInput, match="nothing to draw"):
        eigenvalues([eigenvalue_file(tmp_path / "a.h5", [np.nan])])
