import dataclasses
import io
import os

import audit
import matplotlib
import numpy as np
import pytest
from drawn import BLOCKS, BOWL, X, Y, singles, surface, table
from files import ROOT
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from ensemble.drawing.draw import draw
from ensemble.drawing.lesions import lesions
from ensemble.drawing.marks import by_block, by_number
from ensemble.drawing.measure import wilson
from ensemble.drawing.stages import depth_order
from landscape.drawing import (
    SUFFIXES,
    common_norm,
    contours,
    extension,
    label_of,
    levels_of,
    planes,
    profiles,
    relief,
    repeats,
    save,
    spaces,
)
from landscape.drawing.style import STYLE
from landscape.drawing.surface import MISSING, relief_extent
from landscape.drawing.views import averaged, slices
from landscape.engine.table import prepare, read
from landscape.errors import BadInput


def multiples(path):
    plan = np.vstack([np.zeros(4), np.random.default_rng(0).permuted(np.tril(np.ones((4, 4))).repeat(5, 0), axis=1)])
    return table(path, BLOCKS, plan, np.linspace(0.98, 0.1, len(plan)))


def make(kind, folder):
    """Results files of a kind, and the function that draws them."""
    ridges = 10 ** (3 * BOWL + np.random.default_rng(0).random(BOWL.shape))
    if kind == "planes":
        return [surface(folder / "a.h5", BOWL), surface(folder / "b.h5", ridges, network="plain-56")], planes
    if kind == "profiles":
        return [surface(folder / "a.h5", BOWL[3]), surface(folder / "b.h5", ridges[3])], profiles
    return [singles(folder / "a.h5"), multiples(folder / "b.h5")], lesions


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


# Whole figures


@pytest.mark.parametrize("kind", ["planes", "profiles", "lesions"])
@pytest.mark.slow
def test_every_kind_is_saved_in_every_format_as_the_same_bytes(kind, tmp_path):
    paths, draw = make(kind, tmp_path)
    for name in ("one", "two"):
        figure = draw([read(path) for path in paths])
        for suffix in SUFFIXES:
            save(figure, tmp_path / f"{name}{suffix}")
    for suffix, begins in {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml"}.items():
        one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two and len(one) > 5000 and one.startswith(begins)
    assert len(list(tmp_path.iterdir())) == 2 + 2 * len(SUFFIXES)  # no drafts are left
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf  # TrueType, and no date


@pytest.mark.parametrize("kind", ["planes", "profiles", "lesions"])
@pytest.mark.slow
def test_a_figure_is_as_wide_as_asked_and_nothing_sticks_out(kind, tmp_path):
    paths, draw = make(kind, tmp_path)
    with matplotlib.rc_context({"savefig.dpi": 100}):
        figure = draw([read(path) for path in paths], width=6.0)
    rim = pixels(figure)
    assert figure.get_figwidth() == 6
    assert all((edge == 255).all() for edge in (rim[0], rim[-1], rim[:, 0], rim[:, -1]))


def test_drawing_leaves_the_style_of_others_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    paths, draw = make("planes", tmp_path)
    save(draw([read(path) for path in paths]), tmp_path / "figure.png")
    assert dict(matplotlib.rcParams) == before


def test_a_failed_save_keeps_the_old_figure(tmp_path, monkeypatch):
    (tmp_path / "figure.png").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(BadInput, match="No space left"):
        save(Figure(), tmp_path / "figure.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


# Surfaces


def test_x_points_right_and_y_up():
    loss = np.ones((7, 9))
    loss[0, -1] = 1000.0  # at x = +1, y = -1
    axes = Figure((3, 3), dpi=100).add_axes((0, 0, 1, 1))
    contours(axes, X, Y, loss, LogNorm(1, 1000), levels=[], cmap="gray")
    image = pixels(axes.figure).sum(axis=2)
    corners = {"upper left": image[3, 3], "upper right": image[3, -4], "lower left": image[-4, 3]}
    assert image[-4, -4] > 600 > 100 > max(corners.values())
    assert axes.collections[0].get_array().reshape(7, 9)[0, -1] == 1000


def test_x_and_y_are_drawn_to_the_same_measure(tmp_path):
    wide = surface(tmp_path / "wide.h5", np.ones((7, 9)), y=Y / 2)
    axes = planes([read(wide)]).axes[0]
    assert axes.get_aspect() == 1
    assert axes.get_window_extent().width == pytest.approx(2 * axes.get_window_extent().height)


def test_all_panels_and_the_colour_bar_share_one_scale(tmp_path):
    paths, draw = make("planes", tmp_path)
    figure = draw([read(path) for path in paths])
    norms = [axes.collections[0].norm for axes in figure.axes[:2]]
    assert norms[0] is norms[1]
    assert norms[0].vmin <= 0.01 and norms[0].vmax > 1000
    assert figure.axes[4].get_xlim() == pytest.approx((norms[0].vmin, norms[0].vmax))
    assert {axes.get_zlim() for axes in figure.axes[2:4]} == {(0, 1)}


def test_not_finite_and_not_measured_are_told_apart(tmp_path):
    loss, done = BOWL.copy(), np.ones(BOWL.shape, bool)
    loss[0, 0], loss[6, 8], done[3, 1:3] = np.inf, np.nan, False
    figure = planes([read(surface(tmp_path / "a.h5", loss, done=done))])
    marks = {c.get_hatch(): len(c.get_paths()) for c in figure.axes[0].collections if c.get_hatch()}
    assert marks == {MISSING["not finite"]["hatch"]: 2, MISSING["not measured yet"]["hatch"]: 2}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["not finite", "not measured yet"]


@pytest.mark.parametrize("fill", [np.nan, np.inf, 0.0, -1.0, 2.0, 1e300])
@pytest.mark.parametrize("draw, shape", [(planes, (7, 9)), (profiles, (9,))])
@pytest.mark.slow
def test_any_losses_can_be_drawn(draw, shape, fill, tmp_path):
    save(draw([read(surface(tmp_path / "a.h5", np.full(shape, fill)))]), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


@pytest.mark.parametrize("draw, shape", [(planes, (7, 9)), (profiles, (9,))])
def test_a_file_without_any_loss_can_be_drawn(draw, shape, tmp_path):
    save(draw([read(surface(tmp_path / "a.h5", np.full(shape, 2.0), done=False))]), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def a_relief(loss, norm=None, **options):
    axes = Figure((4, 4)).add_axes((0, 0, 1, 1), projection="3d")
    relief(axes, X, Y, loss, norm or LogNorm(0.01, 2), cmap=matplotlib.colormaps["viridis"], **options)
    axes.figure.canvas.draw()
    return axes


def test_a_relief_has_holes_where_nothing_is_known():
    loss = BOWL.copy()
    loss[3, 4] = np.nan
    whole, holed = (len(a_relief(each).collections[0].get_facecolor()) for each in (BOWL, loss))
    assert holed / whole == (6 * 8 - 4) / (6 * 8)


def test_a_relief_is_lit_without_edges_between_its_cells():
    norm = Normalize(0, 2)
    colors = a_relief(BOWL, norm).collections[0].get_facecolor()
    assert len(np.unique(colors.round(3), axis=0)) > 20 * BOWL.size  # not a shade for each cell
    flat = a_relief(np.ones(BOWL.shape), norm).collections[0].get_facecolor()
    assert np.ptp(flat, axis=0).max() < 1e-9


@pytest.mark.parametrize("view", [(35, -55), (50, -70), (20, 30), (-20, 200), (90, 0)])
def test_a_relief_fills_what_it_says_of_its_axes_and_no_more(view):
    low, high = relief_extent(X, Y, view)
    box = np.where(np.median(BOWL) < BOWL, 2.0, 0.01)  # from the floor to the top
    rows = np.flatnonzero((pixels(a_relief(box, view=view).figure) < 250).any(axis=(1, 2)))
    height = 1 - rows[[-1, 0]] / 400  # rows are counted from above
    assert low - 0.08 < height[0] < low + 0.03 and high - 0.03 < height[1] < high + 0.03  # below are α and β


@pytest.mark.parametrize("view", [(35, -55), (50, -70), (20, 30), (30, 120), (-20, 200)])
def test_a_relief_tells_its_scale_upwards_apart_from_all_else(view):
    axes = a_relief(BOWL, view=view, label="training loss")
    numbers = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()[0].isdigit()}
    assert list(numbers) == sorted(numbers, key=lambda name: numbers[name].y0) == sorted(numbers, key=float)
    assert len(numbers) > 2 and "training loss" in {text.get_text() for text in axes.texts}
    places = [text.xy[1] for text in axes.texts if text.get_text() in numbers]
    heights = np.log10([float(name) for name in numbers])
    assert np.corrcoef(heights, places)[0, 1] > 0.999
    assert not list(audit.overlaps(audit.drawn(axes.figure)))


def test_from_straight_above_a_relief_has_no_upright_axis():
    assert {text.get_text() for text in a_relief(BOWL, view=(90, -55), label="loss").texts} == {"α", "β"}


def test_contour_labels_keep_clear_of_each_other_and_the_rim():
    x = np.linspace(-1, 1, 51)
    rough = 10 ** (3 * np.hypot(*np.meshgrid(x, x)) + np.random.default_rng(0).random((51, 51)))
    axes = Figure((2.2, 2.2)).add_axes((0, 0, 1, 1))
    contours(axes, x, x, rough, common_norm([rough]))
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) > 1
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(min(box.p0) > 0 and max(box.p1) < 220 for box in boxes)


def test_a_profile_shows_loss_and_error_on_two_axes(tmp_path):
    loss = np.where(np.arange(9) == 2, np.inf, 0.5 + X**2)
    axes, right = profiles([read(surface(tmp_path / "a.h5", loss, network="plain-20"))]).axes
    line, rim = axes.lines[:2]
    assert np.isnan(line.get_ydata()[2]) and list(rim.get_xdata()) == [X[2]]
    assert (right.lines[0].get_ydata() == 50).all()
    assert line.get_label() == "plain, 20 layers"


# The scale


def test_the_scale_spans_all_networks_and_ends_at_round_losses():
    norm = common_norm([np.array([0.012, 3.0]), np.array([1.0, 700.0])])
    assert isinstance(norm, LogNorm) and (norm.vmin, norm.vmax) == (0.01, 1000)
    assert list(levels_of(norm)) == pytest.approx([1e-2, 1e-1, 1, 10, 100, 1000])
    assert list(levels_of(LogNorm(0.1, 10))) == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5, 10])


def test_losses_that_would_flatten_the_rest_are_clipped_and_said_to_be(tmp_path):
    loss = 10 ** np.linspace(-4, 10, 63).reshape(7, 9)
    figure = planes([read(surface(tmp_path / "a.h5", loss))], vmin=1e-3, vmax=100)
    assert extension(common_norm([loss]), [loss]) != "neither"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "losses up to $10^{10}$ are drawn as 100",
        "losses down to $10^{-4}$ are drawn as 0.001",
    ]


@pytest.mark.parametrize("losses, kind", [([0.0, 1.0], LogNorm), ([-1.0, 1.0], Normalize), ([0.0, 0.0], Normalize)])
def test_zero_is_the_low_end_of_a_logarithm_and_a_negative_loss_makes_it_linear(losses, kind):
    assert type(common_norm([np.array(losses)])) is kind


@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, None), (5.0, 1.0), (np.nan, None), (None, np.inf)])
def test_ends_that_make_no_scale_are_refused(ends):
    with pytest.raises(BadInput):
        common_norm([np.array([1.0, 2.0])], *ends)


def test_losses_read_well():
    assert [label_of(v) for v in (0.001, 0.05, 1.0, 200.0, 1e4, 2e-4)] == [
        "0.001",
        "0.05",
        "1",
        "200",
        "$10^{4}$",
        r"$2\times10^{-4}$",
    ]


# Lesions


def test_wilson_gives_the_published_intervals():
    # Newcombe 1998, Statistics in Medicine 17, Table I, method 3
    low, high = wilson(np.array([81, 15, 0, 1]) / [263, 148, 20, 29], [263, 148, 20, 29])
    assert list(low.round(4)) == [0.2553, 0.0624, 0.0000, 0.0061]
    assert list(high.round(4)) == [0.3662, 0.1605, 0.1611, 0.1718]


def test_blocks_of_all_networks_stand_in_the_order_of_depth():
    plain = ["s.0.0", "s.0.1", "s.1.1"]
    assert depth_order([plain, ["s.0.0", "s.0.1", "s.1.0", "s.1.1"]]) == ["s.0.0", "s.0.1", "s.1.0", "s.1.1"]


def test_a_block_that_cannot_be_deleted_is_a_gap(tmp_path):
    axes = Figure().subplots()
    plain = singles(tmp_path / "plain.h5", [b for b in BLOCKS if b != "stages.1.0"])
    by_block(axes, read(plain), BLOCKS)
    circles, diamonds = (line for line in axes.lines if line.get_marker() in "oD")
    assert list(circles.get_xdata()) == [1, 2, 4] and len(diamonds.get_xdata()) == 0


def test_a_stage_without_its_first_block_shows_no_other_as_first(tmp_path):
    blocks = [b for b in BLOCKS if b != "stages.1.0"]
    figure = lesions([read(singles(tmp_path / "plain.h5", blocks))])
    assert "first block of a later stage" not in {text.get_text() for text in figure.legends[1].get_texts()}


def test_single_deletions_stand_left_and_deletions_of_many_right(tmp_path):
    paths, _ = make("lesions", tmp_path)
    left, right = lesions([read(path) for path in paths[::-1]]).axes
    assert "deleted block" in left.get_xlabel() and "number" in right.get_xlabel()
    assert left.lines[-1].get_ydata()[0] == right.lines[-1].get_ydata()[0] == 90  # chance among ten digits
    assert len(lesions([read(paths[0])]).axes) == len(lesions([read(paths[1])]).axes) == 1


def test_files_of_one_network_share_a_colour_and_a_legend_entry(tmp_path):
    paths, _ = make("lesions", tmp_path)
    figure = lesions([read(path) for path in paths])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ResNet-56"]


def test_the_line_is_the_median_and_every_trial_is_a_point(tmp_path):
    file = read(multiples(tmp_path / "a.h5"))
    points, median = by_number(Figure().subplots(), file).lines
    assert len(points.get_xdata()) == 21
    ones = file["deleted"].sum(axis=1) == 1
    assert median.get_ydata()[1] == pytest.approx(100 * (1 - np.median(file["accuracy"][ones])))


def test_lesions_not_measured_yet_are_left_out(tmp_path):
    plan = np.vstack([np.zeros(4), np.eye(4)])
    file = read(table(tmp_path / "a.h5", BLOCKS, plan, [0.9, 0.8]))
    assert len(by_block(Figure().subplots(), file, BLOCKS).lines[0].get_xdata()) <= 1
    save(lesions([file]), tmp_path / "a.png")


def test_panels_with_ranges_of_their_own_tell_them(tmp_path):
    one, other = (read(surface(tmp_path / f"{name}.h5", BOWL)) for name in "ab")
    for y, said in ((Y, False), (3 * Y, True)):
        moved = dataclasses.replace(other, coordinates={"x": X, "y": y})
        axes = planes([one, moved]).axes[1]
        assert axes.yaxis.get_tick_params()["labelleft"] is said


def repeated(path, values):
    """A surface over (repeat, y, x) or (repeat, x)."""
    axes = {"repeat": np.arange(len(values)), **({"y": Y} if values.ndim == 3 else {}), "x": X}
    attributes = {"network": "resnet-8", "split": "train", "loss": "cross_entropy"}
    points = np.zeros((values.size, 1))
    table, _ = prepare(path, points, kind="surface", dims=tuple(axes), coordinates=axes, attributes=attributes)
    for row, value in enumerate(values.ravel()):
        table.record(row, {"loss": value, "loss_se": 0.01, "accuracy": 0.5, "examples": 100})
    table.flush()
    return read(path)


def test_repeats_are_averaged_in_logarithms_and_their_spread_is_a_standard_deviation(tmp_path):
    rng = np.random.default_rng(0)
    values = np.exp(rng.standard_normal((4, len(Y), len(X))))
    one = averaged(repeated(tmp_path / "a.h5", values))
    assert one.dims["loss"] == ("y", "x")
    np.testing.assert_allclose(one["loss"], stats.gmean(values, axis=0))
    np.testing.assert_allclose(one["high"] / one["loss"], stats.gstd(values, axis=0, ddof=1))
    np.testing.assert_allclose(one["loss"] / one["low"], stats.gstd(values, axis=0, ddof=1))
    negative = averaged(repeated(tmp_path / "b.h5", values - 1))
    np.testing.assert_allclose(negative["loss"], (values - 1).mean(axis=0))
    np.testing.assert_allclose(negative["spread"], values.std(axis=0, ddof=1))


def test_repeats_are_a_band_on_a_line_and_a_map_on_a_plane(tmp_path):
    values = np.stack([BOWL, 2 * BOWL, 3 * BOWL])
    line = profiles([repeated(tmp_path / "a.h5", values[:, 3])])
    axes = line.axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), stats.gmean(values[:, 3], axis=0))
    upper = axes.collections[0].get_paths()[0].vertices[:, 1].max()
    assert upper == pytest.approx((stats.gmean(values[:, 3]) * stats.gstd(values[:, 3])).max())
    plane = repeats([repeated(tmp_path / "b.h5", values)])
    drawn = plane.axes[1].collections[-1]
    np.testing.assert_allclose(drawn.get_array(), np.log(values).std(axis=0, ddof=1))
    bar = plane.axes[-1]  # from dark to bright, as the bar of the means, and with its ends labelled
    low, high = matplotlib.colormaps[drawn.get_cmap().name]([0.0, 1.0])[:, :3].sum(axis=1)
    assert low < high and {0.0, drawn.norm.vmax} <= set(bar.get_xticks()) and "deviation" in bar.get_xlabel()


@pytest.mark.parametrize("turn", range(8))
def test_contour_labels_keep_clear_of_a_path_that_is_drawn_over_them(turn):
    x = np.linspace(-1, 1, 51)
    loss = 10 ** (3 * np.hypot(*np.meshgrid(x, x)))
    angle = np.pi * turn / 4
    path = np.outer([0, 0.3, 0.7, 1.2], [np.cos(angle), np.sin(angle)])
    axes = Figure((2.2, 2.2)).add_axes((0, 0, 1, 1))
    contours(axes, x, x, loss, common_norm([loss]), over=[path])
    axes.figure.canvas.draw()
    line = matplotlib.path.Path(axes.transData.transform(path))
    assert len(axes.texts) > 1
    assert not any(line.intersects_bbox(text.get_window_extent(), filled=False) for text in axes.texts)


def test_slices_of_a_space_are_both_ends_and_between(tmp_path):
    axes = {"z": np.linspace(0, 1, 9), "y": Y, "x": X}
    values = np.add.outer(axes["z"], BOWL)
    attributes = {"network": "resnet-8", "split": "train", "loss": "cross_entropy"}
    points = np.zeros((values.size, 1))
    table, _ = prepare(
        tmp_path / "a.h5", points, kind="surface", dims=tuple(axes), coordinates=axes, attributes=attributes
    )
    for row, value in enumerate(values.ravel()):
        table.record(row, {"loss": value, "loss_se": 0.01, "accuracy": 0.5, "examples": 100})
    table.flush()
    planes_of = slices(read(tmp_path / "a.h5"))
    assert [z for z, _ in planes_of] == [0, 0.25, 0.5, 0.75, 1]
    np.testing.assert_array_equal(planes_of[1][1]["loss"], values[2])
    figure = spaces([read(tmp_path / "a.h5")])
    assert len(figure.axes) == 6  # five slices and a bar
    assert figure.get_suptitle() == "ResNet-8"


def test_a_line_to_a_checkpoint_has_the_networks_at_both_ends(tmp_path):
    how = {"directions": "to other checkpoints", "network": "vgg-9"}
    one, other = (read(surface(tmp_path / f"{to}.h5", BOWL[3], to=[f"{to}.pt"], **how)) for to in ("large", "larger"))
    axes = profiles([one]).axes[0]
    assert axes.get_xlabel() == "α (0: VGG-9, 1: large.pt)"
    assert {0, 1} <= {line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
    assert profiles([one, other]).axes[0].get_xlabel() == "α (0: VGG-9, 1: another checkpoint of it)"
    random = read(surface(tmp_path / "random.h5", BOWL[3], directions="random, filter-normalised"))
    assert profiles([random]).axes[0].get_xlabel() == "α (filter-normalised)"
    assert profiles([one, random]).axes[0].get_xlabel() == "α"


def test_lines_before_and_after_alignment_say_which_is_which_and_tell_their_barriers(tmp_path):
    """Of 1 and of a quarter, over losses of 0.1 and 0.3 at the ends; the line between them is straight in the loss."""
    x = np.linspace(0, 1, 21)
    files = []
    for name, height, how in [("a", 1, {}), ("b", 0.25, {"align": "activations"})]:
        loss = 0.1 + 0.2 * x + height * 16 * x**2 * (1 - x) ** 2
        files.append(read(surface(tmp_path / f"{name}.h5", loss, x=x, to=["b.pt"], network="vgg-9", **how)))
    axes = profiles(files).axes[0]
    labels = [text.get_label() for text in axes.lines if not text.get_label().startswith("_")]
    assert [label.partition(" ±")[0] for label in labels] == [
        "not aligned: barrier 1",
        "aligned by activations: barrier 0.25",
    ]
    dotted = [text for text in axes.lines if len(text.get_xdata()) == 51]
    assert all(np.allclose(each.get_ydata(), np.linspace(0.1, 0.3, 51)) for each in dotted) and len(dotted) == 2
    alone = profiles(files[:1]).axes[0]
    assert not any("barrier" in each.get_label() for each in alone.lines)


def test_a_line_whose_title_names_no_network_has_it_in_a_note(tmp_path):
    file = read(surface(tmp_path / "a.h5", BOWL[3], network="vgg-9"))
    notes = [
        {text.get_text() for legend in profiles([file], titles=titles).legends for text in legend.get_texts()}
        for titles in (["batch 128"], ["VGG-9, batch 128"], None)
    ]
    assert ["network: VGG-9" in texts for texts in notes] == [True, False, False]


@pytest.mark.parametrize("how", [{"titles": ["one"]}, {"width": 0.5}, {"width": float("nan")}])
def test_options_that_cannot_be_met_are_refused(how, tmp_path):
    paths, draw = make("planes", tmp_path)
    with pytest.raises(BadInput):
        draw([read(path) for path in paths], **how)


def test_losses_of_different_kinds_have_no_common_scale(tmp_path):
    files = [read(surface(tmp_path / f"{loss}.h5", BOWL, loss=loss)) for loss in ("mse", "cross_entropy")]
    with pytest.raises(BadInput, match="different kinds"):
        planes(files)


@pytest.mark.parametrize("width", [5.5, 3.25])
@pytest.mark.parametrize(
    "path",
    [
        *(
            "ensemble/pairs-resnet-20-0",
            "study/flow-new",
            "ensemble/identity",
            "ensemble/reuse",
            "ensemble/random-resnet-20-0",
        ),
        *("ensemble/single-resnet-20-0", "ensemble/shapley-resnet-20-0", "ensemble/paths-resnet-56-0"),
        *("gallery/line-plain", "gallery/density-plain", "gallery/eigenvalues-plain", "landscape/surface-plain-20"),
        *("landscape/curvature-plain-56", "training/degradation", "quick/surface", "study/sharpness-plain-20-0"),
    ],
)
@pytest.mark.slow
def test_a_figure_of_one_file_holds_its_legends_and_notes(path, width):
    fits([path], width)


@pytest.mark.parametrize(("name", "said"), [("shortcuts-56", True), ("degradation", False)])
def test_trainings_of_one_depth_say_which(name, said):
    file = read(ROOT / "results" / "training" / f"{name}.h5")
    assert (", 56 layers, " in draw(file).get_supxlabel()) == said


@pytest.mark.parametrize("width", [5.5, 4.0])
@pytest.mark.parametrize("paths", [["surface-plain-110-0", "surface-resnet-110-0"], ["path", "path-plane"]])
@pytest.mark.slow
def test_notes_of_a_cut_scale_stand_below_its_label(paths, width):
    fits([f"study/{path}" for path in paths], width)


def fits(paths, width):
    """No legend or note of a figure leaves it or lies on the label of an axis, and no title leaves it."""
    files = [read(ROOT / "results" / f"{path}.h5") for path in paths]
    figure = draw(files, width=width)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        place = axes.title.get_window_extent()
        assert place.x0 >= -1 and place.x1 <= figure.bbox.width + 1, axes.title
        assert place.y1 <= figure.bbox.height + 1, axes.title
    for text in [*figure.legends, *filter(None, [figure._supxlabel])]:
        place = text.get_window_extent(canvas.get_renderer())
        assert place.x0 >= -1 and place.x1 <= figure.bbox.width + 1, text
        assert place.y0 >= -1 and place.y1 <= figure.bbox.height + 1, text
        for axes in figure.axes:
            assert not axes.xaxis.label.get_text() or not place.overlaps(axes.xaxis.label.get_window_extent())


@pytest.mark.parametrize(("most", "joined"), [(1, False), (2, True)])
def test_no_line_is_drawn_through_two_places(most, joined, tmp_path):
    plan = np.array([[0, 0, 0, 0], *[[1, 0, 0, 0]] * 3, *[[1, 1, 0, 0]] * 3][: 1 + 3 * most])
    axes = by_number(
        Figure().subplots(), read(table(tmp_path / "a.h5", BLOCKS, plan, np.linspace(0.9, 0.5, len(plan))))
    )
    assert any(line.get_linestyle() == "-" and len(line.get_xdata()) > 1 for line in axes.lines) == joined


@pytest.mark.parametrize("see_through", [False, True])
def test_a_png_is_packed_without_a_change_of_any_pixel(see_through, tmp_path):
    figure = Figure((2, 1))
    axes = figure.subplots()
    axes.imshow(np.random.default_rng(0).random((20, 40)))
    figure.patch.set_alpha(0.5 if see_through else 1)
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=150)
    save(figure, tmp_path / "a.png", dpi=150)
    pixels = [np.array(Image.open(file).convert("RGBA")) for file in (buffer, tmp_path / "a.png")]
    assert np.array_equal(*pixels) and (tmp_path / "a.png").stat().st_size < len(buffer.getvalue())
    assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((150, 150), abs=0.05)
