"""Figures of interactions, Shapley values and resilience: what is drawn is what the files say."""

from pathlib import Path

import numpy as np
import pytest
from analytic import file_of
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ensemble.attribution import shapley
from ensemble.attribution.interaction import interactions as matrix
from ensemble.drawing.attribution import by_pair, by_value, interactions, values
from ensemble.drawing.depth import by_depth, damages, resilience
from ensemble.drawing.lesions import lesions
from landscape.drawing import save
from landscape.engine.table import Results
from landscape.errors import BadInput

NAMES = np.array([f"stages.{stage}.{block}" for stage in range(2) for block in range(3)])


def results(deleted, accuracy, network="resnet-14", names=NAMES, **more):
    n = len(deleted)
    variables = {
        "deleted": np.asarray(deleted, bool),
        "done": np.ones(n, bool),
        "accuracy": np.asarray(accuracy, float),
        "loss": np.ones(n),
        "examples": np.full(n, 300),
        **more,
    }
    attributes = {"network": network, "data": "digits", "split": "test", "lesion": "delete"}
    return Results(Path(f"{network}.h5"), "lesion", {"block": names}, variables, {}, attributes)


def single(network, errors, names=None):
    names = NAMES[: len(errors)] if names is None else names
    deleted = np.concatenate([np.zeros((1, len(errors)), bool), np.eye(len(errors), dtype=bool)])
    return results(deleted, 1 - np.array([0.02, *errors]), network, names)


def ordered():
    ways = shapley.orders(6, 80, seed=0)
    deleted = shapley.sets(ways)
    worth = np.array([0.3, 0.1, 0.05, 0.2, 0.1, 0.05])
    return results(deleted, 0.98 - deleted @ worth, turn=ways.argsort(axis=1)), worth


def test_a_matrix_fills_the_cells_that_differ_from_nothing_and_single_deletions_are_discs():
    drawn = matrix(file_of([0.1, -0.2, 0.01], [0.01, 0.02, 0.01]))
    axes = by_pair(Figure().subplots(), drawn, Normalize(-20, 20))
    _, cells, squares, discs = axes.collections
    sure = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], bool)  # of the pairs: the third cannot be told from nothing
    np.testing.assert_array_equal(~np.ma.getmaskarray(cells.get_array()), sure)
    np.testing.assert_allclose(cells.get_array()[sure], 100 * drawn.value[sure])

    def middles(collection):
        return [tuple(path.get_extents().get_points().mean(axis=0).round(9)) for path in collection.get_paths()]

    assert middles(squares) == [(3, 2), (2, 3)]
    np.testing.assert_allclose(squares.get_array(), [1, 1])
    assert middles(discs) == [(1, 1), (2, 2), (3, 3)]
    np.testing.assert_allclose(discs.get_array(), 100 * np.diag(drawn.value))


@pytest.mark.parametrize(("width", "beside"), [(5.5, 2), (3.25, 1), (8.0, 2)])
def test_matrices_are_as_large_as_can_be_read(width, beside, tmp_path):
    files = [file_of([0.5, -0.4, 0.3], [0.01] * 3) for _ in range(2)]
    for file in files:
        file.attributes.update(network="resnet-8", split="test")
    figure = interactions(files, titles=["one", "other"], width=width)
    figure.draw_without_rendering()
    places = [axes.get_window_extent() for axes in figure.axes[:2]]
    assert len({place.y0 for place in places}) == 3 - beside
    assert all(place.width == pytest.approx(place.height) and place.width / figure.dpi >= 1.5 for place in places)
    note = figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "linear within ±1" in note and {-50, 0, 50} <= set(figure.axes[-1].get_yticks())


def test_matrices_share_a_scale_that_is_symmetric(tmp_path):
    small, large = file_of([0.001] * 3, [1e-4] * 3), file_of([0.5, -0.4, 0.3], [0.01] * 3)
    for file in (small, large):
        file.attributes.update(network="resnet-8", split="test")
    figure = interactions([small, large])
    norms = {
        c.norm for axes in figure.axes for c in axes.collections if hasattr(c, "norm") and c.get_array() is not None
    }
    assert {(n.vmin, n.vmax) for n in norms if n.vmin is not None} >= {(-50.0, 50.0)}
    save(figure, tmp_path / "a.png")


def test_values_stand_at_their_blocks_and_damages_behind_them(tmp_path):
    file, worth = ordered()
    axes = Figure().subplots()
    by_value(axes, file, list(NAMES))
    (line,) = [c.lines[0] for c in axes.containers]
    np.testing.assert_allclose(line.get_xydata(), np.column_stack([np.arange(1, 7), 100 * worth]), atol=1e-9)
    alone = single("resnet-14", [0.4, 0.1, 0.02, 0.3, 0.1, 0.05])
    axes = Figure().subplots()
    by_value(axes, alone, list(NAMES))
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [38, 8, 0, 28, 8, 3], atol=1e-9)
    figure = values([file, alone], titles=["net", "net"])
    assert "smaller than the marks" in figure.get_supxlabel()  # all orders are alike
    assert len(figure.axes) == 1 and len(figure.legends[0].get_texts()) == 2
    save(figure, tmp_path / "a.pdf")


def test_beside_values_only_single_deletions_are_drawn():
    file, _ = ordered()
    many = results(np.ones((1, 6), bool), [0.1])
    with pytest.raises(BadInput, match="draw those of single deletions"):
        values([file, many])


def test_the_line_over_depth_is_the_mean_over_blocks_and_trainings(tmp_path):
    files = [single("resnet-8", e) for e in ([0.8, 0.6, 0.7], [0.5, 0.4, 0.6])]
    files += [single("resnet-14", [0.1] * 6), single("resnet-14", [0.3] * 6)]
    axes = by_depth(Figure().subplots(), files)
    line = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(line.get_xydata(), [[3, 60], [6, 20]])
    (band,) = axes.collections
    low, high = (extreme(band.get_paths()[0].vertices[:, 1]) for extreme in (np.min, np.max))
    np.testing.assert_allclose([low, high], [10, 70])
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [2, 2])  # nothing deleted
    figure = resilience(files)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ResNet"]
    save(figure, tmp_path / "a.svg")


def test_a_network_of_one_size_has_a_dash_for_its_intact_error():
    (line,) = [
        line for line in by_depth(Figure().subplots(), [single("resnet-8", [0.8, 0.6, 0.7])]).lines if line.is_dashed()
    ]
    left, right = line.get_xdata()
    assert left < 3 < right
    np.testing.assert_allclose(line.get_ydata(), [2, 2])


def test_a_figure_says_that_kinds_stand_side_by_side_only_where_they_do():
    files = [single("resnet-14", [0.1] * 6), single("plain-14", [0.5] * 6)]
    titles = [resilience(some).legends[-1].get_title().get_text() for some in (files, files[:1])]
    assert "side by side" in titles[0] and not titles[1]


def test_kinds_stand_on_the_ticks_of_their_sizes_and_beside_them_only_where_they_share_one():
    files = [single("resnet-8", [0.8, 0.6, 0.7]), single("resnet-14", [0.1] * 6), single("plain-14", [0.5] * 6)]
    (axes,) = resilience(files).axes
    assert list(axes.get_xticks()) == [3, 6]
    means = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert means[0][0] == 3
    np.testing.assert_allclose(means[0][1] * means[1][0], 6**2)  # as far from the tick on its left as on its right
    assert means[0][1] < 6 < means[1][0]


def test_a_file_without_single_deletions_has_no_resilience():
    with pytest.raises(BadInput, match="no deletions of single blocks"):
        damages(results(np.ones((1, 6), bool), [0.1]))


def test_networks_whose_stages_differ_are_drawn_by_relative_depth():
    vgg = single("vgg-16", [0.9] * 5, np.array([f"stages.{stage}.1" for stage in range(5)]))
    figure = lesions([single("resnet-14", [0.1] * 6), vgg])
    (axes,) = figure.axes
    assert "relative depth" in axes.get_xlabel()
    x = [line.get_xdata() for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    np.testing.assert_allclose(x[1] - 0.5, (np.arange(5) + 0.5) * 6 / 5 + 0.15)  # spread over the six of the longer one
    figure = lesions([single("resnet-14", [0.1] * 6), single("plain-14", [0.9] * 5, np.delete(NAMES, 3))])
    assert "relative" not in figure.axes[0].get_xlabel()
