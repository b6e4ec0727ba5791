"""One call draws whatever was measured: as the function for it does, or onto the axes that are given."""

import dataclasses
import io
import itertools

import matplotlib
import numpy as np
import pytest
from analytic import lesions as deletions
from analytic import write
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from PIL import Image

from ensemble.drawing.draw import DRAWINGS, draw, drawing_of, page
from ensemble.drawing.lesions import lesions
from landscape import drawing as surfaces
from landscape.drawing import contour, planes, profiles, save
from landscape.drawing.drawings import drawing_of as surface_drawing_of
from landscape.drawing.style import STYLE
from landscape.drawing.views import shown
from landscape.engine.results import Results
from landscape.errors import COMMAND, BadInput

X, Y = np.linspace(-1, 1, 9), np.linspace(-2, 2, 7)
BOWL = 0.01 + np.add.outer(Y**2, X**2)


def surface(loss=BOWL, dims=("y", "x"), **attributes):
    axes = {name: {"y": Y, "x": X, "repeat": np.arange(len(loss))}[name] for name in dims[-loss.ndim :]}
    values = {"loss": loss, "loss_se": 0.01, "accuracy": 0.5, "examples": 100}
    return write(None, "surface", tuple(axes), axes, values, split="train", **attributes)


def single(error=(2.0, 10, 20, 30), **attributes):
    plan = np.vstack([np.zeros(len(error) - 1), np.eye(len(error) - 1)]).astype(bool)
    return deletions(None, plan, error, **attributes)


def several():
    return deletions(None, np.tri(4, 3, -1, bool), [2.0, 10, 20, 30])


def stub(kind, *dims, **variables):
    """Results of which only the kind, the dimensions and the names are looked at."""
    return Results(None, kind, {}, variables, {"loss": dims} if dims else {}, {})


# Which function draws it

LESIONS, PAIRS, ORDERS = stub("lesion", "trial"), stub("lesion", "trial", interaction=0), stub("lesion", turn=0)
CHOICES = {
    "profiles": [[stub("surface", "x")], [stub("surface", "repeat", "x")] * 2],
    "planes": [[stub("surface", "y", "x")] * 3],
    "repeats": [[stub("surface", "repeat", "y", "x")]],
    "spaces": [[stub("surface", "z", "y", "x")]],
    "basins": [[stub("basin", "direction", "radius")]],
    "criticals": [[stub("critical", "checkpoint")]],
    "curvature": [[stub("curvature", "y", "x")]],
    "densities": [[stub("density")]],
    "eigenvalues": [[stub("eigenvalues")]],
    "sharpnesses": [[stub("sharpness", "kind", "rho", "trial")]],
    "trainings": [[stub("trainings", "variant", "depth", "seed")]],
    "trajectories": [[stub("trajectory")], [stub("surface", "x"), stub("trajectory"), stub("surface", "y", "x")]],
    "lesions": [[LESIONS], [LESIONS, PAIRS]],
    "interactions": [[PAIRS, PAIRS]],
    "values": [[ORDERS, LESIONS], [PAIRS, ORDERS]],
    "survivors": [[stub("paths"), LESIONS], [PAIRS, stub("paths"), LESIONS]],
    "paths": [[stub("paths")]],
    "flows": [[stub("flow", "network")]],
    "streams": [[stub("stream", "network")]],
    "identity": [[stub("identity")]],
    "reuse": [[stub("reuse")]],
    "redundancies": [[stub("redundancy", "block")]],
    "verdicts": [[stub("claim"), stub("claim")]],
}


@pytest.mark.parametrize(("name", "files"), [(name, files) for name, some in CHOICES.items() for files in some])
def test_results_are_drawn_by_the_function_for_them(name, files):
    assert drawing_of(files).__name__ == name


def test_every_drawing_in_the_table_is_chosen_by_some_results():
    assert {drawing.__name__ for drawing in DRAWINGS.values()} <= CHOICES.keys()


def test_single_deletions_are_drawn_by_depth_on_demand():
    assert drawing_of([LESIONS, PAIRS], by_depth=True).__name__ == "resilience"
    with pytest.raises(BadInput, match="by_depth is for lesions, <results in memory> is a paths; leave it out"):
        draw([LESIONS, stub("paths")], by_depth=True)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "there are no results to draw"),
        ([stub("density"), stub("trace")], "one kind of results, but .* is a density, .* is a trace; draw them apart"),
        ([stub("surface", "x"), stub("surface", "y", "x")], r"is over \(x\), .* is over \(y, x\); draw them apart"),
        ([stub("surface", "w")], r"is over \(w\); surfaces are drawn over \(x\), \(repeat, x\), \(y, x\)"),
        ([stub("surface")], "has no variable loss, which is needed here"),
        ([stub("trace", "probe")], "holds a trace, which is a number and no figure"),
        ([stub("new", "x")], "no drawing of kind new is known"),
    ],
)
def test_what_no_figure_shows_is_said_in_one_line(files, words):
    for choose in (draw, surfaces.draw):
        with pytest.raises(BadInput, match=words) as error:
            choose(files)
        assert "\n" not in str(error.value)


def test_surfaces_are_drawn_without_knowing_of_lesions():
    assert surface_drawing_of([stub("surface", "y", "x")], surfaces.DRAWINGS) is planes
    with pytest.raises(BadInput, match="no drawing of kind lesion"):
        surfaces.draw(LESIONS)


def test_a_new_figure_is_one_function_and_one_entry(monkeypatch):
    def own(files, *, colour="red"):
        return [file.kind for file in files], colour

    monkeypatch.setitem(DRAWINGS, "mine", own)
    assert draw(stub("mine"), colour="blue") == (["mine"], "blue")
    with pytest.raises(BadInput, match="files does not apply to own"):
        draw(stub("mine"), files=[])


# What is drawn


def png(figure):
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=50)
    return image.getvalue()


@pytest.mark.parametrize(
    ("results", "drawing", "options"),
    [
        (surface(), planes, {"only": "contours", "vmax": 2.0}),
        (surface(BOWL[3]), profiles, {"linear": True}),
        (single(), lesions, {"titles": ["ours"]}),
    ],
)
def test_one_call_draws_what_the_function_draws(results, drawing, options):
    assert png(draw(results, **options)) == png(draw([results], **options)) == png(drawing([results], **options))


@pytest.mark.parametrize(
    ("results", "options", "words"),
    [
        (surface(BOWL[3]), {"view": (1, 2), "levels": [1]}, "levels does not apply to profiles"),
        (single(), {"vmin": 1.0}, "vmin does not apply to lesions"),
        (surface(), {"by_blocks": True}, "by_blocks does not apply to planes"),
        (surface(), {"files": []}, "files does not apply to planes"),
    ],
)
def test_an_option_of_other_figures_is_refused(results, options, words):
    with pytest.raises(BadInput, match=f"^{words}; leave it out$"):
        draw(results, **options)
    COMMAND.set(True)
    with pytest.raises(BadInput, match=f"^--{words.replace('_', '-')}; leave it out$"):
        draw(results, **options)


def test_a_page_is_made_of_what_a_page_shows():
    assert "<h2>ours</h2>" in page(surface(), titles=["ours"])
    assert "Loss along a line" in page([surface(BOWL[3]), surface(BOWL[:2], ("repeat", "x"))])
    with pytest.raises(BadInput, match="view does not apply to surface_page"):
        page(surface(), view=(1, 2))
    for files in ([surface(), surface(BOWL[3])], [stub("density")], [stub("surface", "y", "x"), LESIONS]):
        with pytest.raises(BadInput, match="a page shows surfaces over planes"):
            page(files)


@pytest.mark.parametrize("dims", [("z", "y", "x"), ("repeat", "y", "x")])
def test_another_loss_of_a_stack_of_planes_is_taken_apart_like_the_first(dims):
    """Of a file without accuracy, whose first loss is interpolated in places."""
    stack = np.stack([BOWL, 2 * BOWL])
    axes = {dims[0]: np.arange(2), "y": Y, "x": X}
    values = {"loss": stack, "loss_se": 0.01, "mse": 3 * stack, "mse_se": 0.01, "examples": 10, "interpolated": False}
    file = shown(write(None, "surface", dims, axes, values), "mse")
    for i in range(2):
        part = file.isel(**{dims[0]: i})
        np.testing.assert_array_equal(part["loss"], 3 * stack[i])
        assert part["loss_se"].shape == part.accuracy().shape == BOWL.shape
    assert "mse" in page(write(None, "surface", dims, axes, values), variable="mse")


# Onto axes


def test_a_surface_is_drawn_onto_the_axes_given():
    figure, axes = Figure(), Figure().subplots()
    assert draw(surface(), ax=axes, vmin=0.01, vmax=10.0, levels=[1]) is axes and not figure.axes
    (mesh, *_), (ny, nx) = axes.collections, BOWL.shape
    np.testing.assert_array_equal(mesh.get_array().reshape(ny, nx), BOWL)
    assert isinstance(mesh.norm, LogNorm) and (mesh.norm.vmin, mesh.norm.vmax) == (0.01, 10)
    assert axes.get_xlabel().startswith("α") and axes.get_ylabel().startswith("β")
    assert len(axes.figure.axes) == 1  # a colour bar is for the caller to make


@pytest.mark.parametrize("dims", [("y", "x"), ("repeat", "y", "x"), ("z", "y", "x")])
def test_every_figure_of_a_surface_says_on_its_axes_how_directions_are_scaled(dims):
    axes = {"y": Y, "x": X, "z": Y[:2], "repeat": np.arange(2)}
    values = {"loss": np.stack([BOWL, 2 * BOWL]) if len(dims) > 2 else BOWL, "loss_se": 0.01, "examples": 10}
    how = {"directions": "random, layer-normalised; parameters of one dimension not moved"}
    figure = draw(write(None, "surface", dims, {name: axes[name] for name in dims}, values, **how))
    labels = {label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())}
    assert labels >= {"α (layer-normalised)", "β (layer-normalised)"} and not labels & {"α", "β"}


def test_each_axes_has_one_surface():
    with pytest.raises(BadInput, match="one axes shows one surface over a plane, got 2"):
        draw([surface(), surface()], ax=Figure().subplots())
    with pytest.raises(BadInput, match="contours need 2 or more each way"):
        contour(Figure().subplots(), [surface(BOWL).isel(y=slice(0, 1))])


def test_lines_are_drawn_onto_the_axes_given_each_with_its_band():
    loss = BOWL[3]
    axes = draw([surface(loss), surface(2 * loss)], ax=Figure().subplots(), titles=["one", "two"], linear=True)
    assert axes.get_legend_handles_labels()[1] == ["one", "two"]
    for factor, line, band in zip((1, 2), axes.get_lines()[::2], axes.collections, strict=False):
        np.testing.assert_array_equal(line.get_xydata(), np.column_stack([X, factor * loss]))
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx((factor * loss + 0.01).max())
    assert len(axes.figure.axes) == 1


def test_repeats_of_a_line_are_their_mean_with_a_band():
    axes = draw(surface(np.stack([BOWL[3], 4 * BOWL[3]]), ("repeat", "x")), ax=Figure().subplots())
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), 2 * BOWL[3])  # the geometric mean
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    spread = np.exp(np.std(np.log([1, 4]), ddof=1))
    assert heights.max() == pytest.approx(2 * BOWL[3].max() * spread)


@pytest.mark.parametrize("linear", [False, True])
def test_the_axis_of_a_line_has_room_for_its_band(linear):
    loss = np.stack([BOWL[3], 4 * BOWL[3]])
    figure = profiles([surface(loss, ("repeat", "x"))], linear=linear)
    for axes in (figure.axes[0], draw(surface(loss, ("repeat", "x")), ax=Figure().subplots(), linear=linear)):
        heights = axes.collections[0].get_paths()[0].vertices[:, 1]
        low, high = axes.get_ylim()
        assert low <= heights.min() and heights.max() <= high
    asked = profiles([surface(loss, ("repeat", "x"))], linear=linear, vmin=0.1, vmax=0.2)
    assert asked.axes[0].get_ylim() == (0.1, 0.2)


def test_single_deletions_are_drawn_onto_the_axes_given():
    axes = draw([single(), single([5.0, 40, 50, 60], network="other")], ax=Figure().subplots())
    points = np.concatenate([line.get_ydata() for line in axes.get_lines() if line.get_marker() in ("o", "D")])
    assert sorted(points.round(6)) == [10, 20, 30, 40, 50, 60]
    assert axes.get_legend_handles_labels()[1] == ["net", "other"]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (several(), "more than single deletions, which are drawn as a whole figure; leave out ax"),
        (stub("surface", "z", "y", "x"), "a figure of spaces is drawn as a whole; leave out ax"),
        (stub("curvature"), "a figure of curvature is drawn as a whole"),
        (PAIRS, "a figure of interactions is drawn as a whole"),
    ],
)
def test_what_does_not_fit_on_one_axes_says_so(results, words):
    with pytest.raises(BadInput, match=words):
        draw(results, ax=Figure().subplots())


def test_options_of_the_whole_figure_are_refused_on_axes():
    with pytest.raises(BadInput, match="only does not apply to contour"):
        draw(surface(), ax=Figure().subplots(), only="contours")


# In a notebook


def test_a_figure_looks_the_same_under_settings_of_others():
    figure = draw(surface())
    before = png(figure)
    with matplotlib.rc_context({"xtick.labelsize": 20, "ytick.labelsize": 20, "font.family": "serif"}):
        assert png(figure) == before


def test_a_notebook_shows_a_figure_without_pyplot(tmp_path):
    figure = draw(surface())
    save(figure, tmp_path / "a.png", dpi=150)
    with Image.open(io.BytesIO(figure._repr_png_())) as shown, Image.open(tmp_path / "a.png") as saved:
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), np.asarray(saved.convert("RGB")))


@pytest.mark.parametrize("inline", [False, True])
def test_ipython_shows_a_figure_as_one_picture(inline):
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell()
    if inline:  # as after an import of pyplot
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})
    data, _ = shell.display_formatter.format(draw(surface()))
    assert {*data} == {"image/png", "text/plain"}
    assert {*shell.display_formatter.format(surface())[0]} == {"text/html", "text/plain"}


# Results in memory have no file to be called by


def test_results_in_memory_are_drawn_under_the_networks_name():
    figure = draw([surface(), surface(network="other")], only="contours")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["net", "other"]


def test_the_loss_and_the_error_of_the_network_itself_stand_under_its_name():
    loss = BOWL.copy()
    loss[np.ix_(Y == 0, X == 0)] = 0.0625
    for only in ("contours", "reliefs"):
        figure = draw(surface(loss), only=only)
        texts = [text.get_text() for text in (*figure.texts, *figure.axes[0].texts)]
        assert "at the centre: loss 0.0625, error 50 %" in texts
    for number, text in (
        (3, "at the centre: loss 0.0625,\nerror 50 %"),
        (6, "at the centre:\nloss 0.0625,\nerror 50 %"),
    ):
        narrow = draw([surface(loss)] * number, only="contours", titles=[*"abcdef"][:number])
        assert text in [each.get_text() for each in narrow.axes[0].texts]
    figure = draw(surface(loss), only="contours", variable="perplexity")
    assert f"at the centre: perplexity {np.exp(0.0625):.3g}, error 50 %" in [
        text.get_text() for text in figure.axes[0].texts
    ]
    loss[np.ix_(Y == 0, X == 0)] = np.nan
    assert not any("centre" in text.get_text() for text in draw(surface(loss), only="contours").axes[0].texts)


def test_of_gates_the_trained_network_lies_at_1():
    axis = np.linspace(-0.5, 1.5, 9)
    loss = np.full((9, 9), 3.0)
    loss[6, 6], loss[2, 2] = 0.125, 2
    values = {"loss": loss, "loss_se": 0.01, "accuracy": 0.5, "examples": 100}
    file = write(None, "surface", ("y", "x"), {"y": axis, "x": axis}, values, gates=["stages.0.1", "stages.1.1"])
    (axes, *_) = draw(file, only="contours").axes
    assert "at (1, 1), as trained: loss 0.125, error 50 %" in [text.get_text() for text in axes.texts]
    assert {(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() == "+"} == {(1, 1)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("α (gate of stages.0.1)", "β (gate of stages.1.1)")


@pytest.mark.parametrize(("width", "numbers"), [(5.5, "0.2 0.5 1 2 5 10 20 50 100 200"), (2.5, "1 10 100")])
def test_every_tick_of_a_colour_bar_has_its_number_where_there_is_room(width, numbers):
    figure = draw(surface(0.2 + 199.8 * BOWL / BOWL.max()), only="contours", width=width, vmin=0.2, vmax=200)
    bar = figure.axes[-1]
    assert " ".join(filter(None, (label.get_text() for label in bar.get_xticklabels()))) == numbers


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_labels_of_neighbouring_panels_do_not_run_into_each_other(number):
    figure = draw([surface()] * number, only="contours", width=5.5)
    figure.canvas.draw()
    labels = [label for axes in figure.axes[:number] for label in axes.get_xticklabels() if label.get_text()]
    places = sorted((box.x0, box.x1) for box in (label.get_window_extent() for label in labels))
    assert len(places) >= 3 * number
    digit = STYLE["xtick.labelsize"] * figure.dpi / 72 / 2
    assert all(one[1] + digit < other[0] for one, other in itertools.pairwise(places))


def test_results_in_memory_of_one_network_are_numbered():
    figure = draw([surface(), surface()], only="contours")
    assert [axes.get_title() for axes in figure.axes[:2]] == ["net (1)", "net (2)"]


def test_results_in_memory_without_a_network_are_called_by_their_kind():
    file = surface()
    nameless = dataclasses.replace(file, attributes={n: v for n, v in file.attributes.items() if n != "network"})
    assert draw(nameless, only="contours").axes[0].get_title() == "surface"
    assert "<h2>surface</h2>" in page(nameless) and "&lt;results in memory&gt;" in page(nameless)


def test_errors_of_results_in_memory_say_so():
    with pytest.raises(BadInput, match="<results in memory> has no loss 'mse'; it has loss"):
        draw(surface(), variable="mse")
