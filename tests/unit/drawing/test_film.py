"""Films of trainings: what each frame shows, and how frames become a file."""

import itertools
import shutil
import sys

import numpy as np
import pytest
import torch
from analytic import write
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from landscape.drawing import Film, check_film, film, save, save_film
from landscape.drawing.animation import images, pace
from landscape.drawing.film import INKS, moments_of
from landscape.drawing.style import Figure
from landscape.errors import COMMAND, BadInput
from landscape.planes.principal_components import project

X = Y = np.linspace(-4, 4, 9)
BOWL = 0.01 + np.add.outer(Y**2, X**2)
ALPHA, BETA = np.array([3.0, 2.0, 1.0, 0.5, 0.0]), np.array([-1.0, 1.0, 1.5, 0.5, 0.0])
OFF, LOSS = np.array([0.5, 2.0, 1.0, 0.25, 0.0]), np.array([9.0, 3.0, 1.0, 0.5, 0.1])


def trajectory(alpha=ALPHA, beta=BETA, off=OFF, loss=LOSS, *, directions="principal components of the path", **how):
    """A path in memory, in a plane of orthonormal directions."""
    n = len(alpha)
    alpha, beta, off, loss = (np.asarray(each, float)[:n] for each in (alpha, beta, off, loss))
    distance = how.pop("distance", np.sqrt(alpha**2 + beta**2 + off**2))
    given = {"alpha": alpha, "beta": beta, "off_plane": off, "distance": distance}
    given |= {name: how.pop(name) for name in ("epoch",) if name in how}
    values = {"loss": loss, "plane_loss": loss / 2, "examples": 100, **how.pop("more", {})}
    return write(
        None,
        "trajectory",
        ("checkpoint",),
        {"checkpoint": [f"epoch-{i}" for i in range(n)]},
        values,
        {name: (("checkpoint",), array) for name, array in given.items()},
        **{"captured": 0.9, "split": "train", "direction_digest": "d", "directions": directions, **how},
    )


def surface(**how):
    values = {"loss": BOWL, "loss_se": 0.01, "accuracy": 0.5, "examples": 100}
    how = {"split": "train", "direction_digest": "d", **how}
    return write(None, "surface", ("y", "x"), {"y": Y, "x": X}, values, **how)


def marks(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]


def texts(made):
    return [text.get_text() for text in made.figure.texts]


# What a frame shows


@pytest.mark.parametrize("files", [[trajectory(), surface()], [surface(), trajectory()], [trajectory()]])
def test_each_checkpoint_is_a_frame_and_the_head_of_the_path_in_it(files):
    made = film(files)
    assert made.frames == len(ALPHA)
    axes = made.figure.axes[0]
    for k in (3, 0, 4, 2, 1):  # in any order
        made.show(k)
        (head,), (start,) = marks(axes, "*"), marks(axes, "s")
        assert head.get_xydata().tolist() == [[ALPHA[k], BETA[k]]]
        assert start.get_xydata().tolist() == [[ALPHA[0], BETA[0]]]
        whole = [
            line.get_xydata() for line in axes.lines if line.get_color() == INKS[0] and line.get_linestyle() == "-"
        ]
        np.testing.assert_array_equal(whole, [np.column_stack([ALPHA, BETA])[: k + 1]])
        assert texts(made)[0] == f"checkpoint {k}"


def test_axes_and_places_stand_still_through_the_film():
    made = film([trajectory(more={"test_loss": 3 * LOSS}, second_split="test"), surface()])
    seen = []
    for k in range(made.frames):
        made.show(k)
        made.figure.canvas.draw()
        axes = made.figure.axes
        seen.append([(*each.get_xlim(), *each.get_ylim(), *each.get_position().bounds) for each in axes])
    assert all(each == seen[0] for each in seen)
    left, right, bottom, top = seen[0][0][:4]
    assert (left, right, bottom, top) == (-4, 4, -4, 4)


def test_without_a_surface_the_axes_hold_the_whole_path():
    made = film(trajectory())
    made.show(0)
    (left, right), (bottom, top) = made.figure.axes[0].get_xlim(), made.figure.axes[0].get_ylim()
    assert left < ALPHA.min() and ALPHA.max() < right and bottom < BETA.min() and BETA.max() < top


def test_what_is_off_the_plane_is_the_residual_of_a_projection():
    """Of weights in 30 dimensions, against least squares over all of them."""
    random = np.random.default_rng(0)
    weights, plane = random.normal(size=(5, 30)), random.normal(size=(2, 30))
    points = {str(i): lambda w=w: {"w": torch.tensor(w)} for i, w in enumerate(weights[:-1])}
    projected = project(points, {"w": torch.tensor(weights[-1])}, [{"w": torch.tensor(v)} for v in plane])
    made = film(trajectory(*projected.coordinates.T, projected.off_plane, distance=projected.distance))
    for k, difference in enumerate(weights - weights[-1]):
        made.show(k)
        coefficients, *_ = np.linalg.lstsq(plane.T, difference, rcond=None)
        residual = np.linalg.norm(difference - coefficients @ plane)
        if k < 4:
            part = residual / np.linalg.norm(difference)
            assert texts(made)[-1] == f"{part:.2f} ‖θ − θ*‖ off the plane"
            (line,) = made.figure.axes[2].lines
            assert line.get_ydata()[-1] == pytest.approx(part, rel=1e-6) and len(line.get_ydata()) == k + 1
    assert texts(made)[-1] == "θ = θ*, in the plane"


def test_losses_are_told_and_grow():
    loss = np.array([9.0, np.nan, np.inf, 0.5, 0.1])
    made = film(trajectory(loss=loss, more={"test_loss": 3 * LOSS}, second_split="test"))
    for k, text in enumerate(["9", "not finite, or not measured", "not finite, or not measured", "0.5", "0.1"]):
        made.show(k)
        assert texts(made)[1:3] == [f"training loss {text}", f"test loss {3 * LOSS[k]:.3g}"]
        shown = [line.get_ydata() for line in made.figure.axes[1].lines]
        expected = (loss / 2, 3 * LOSS, loss)
        for line, values in zip(shown, expected, strict=True):
            np.testing.assert_array_equal(line, np.where(np.isfinite(values), values, np.nan)[: k + 1])


def test_a_checkpoint_that_is_not_measured_yet_says_so():
    file = trajectory()
    file["done"][2] = False
    made = film(file)
    made.show(2)
    assert texts(made)[1] == "training loss not finite, or not measured"


# Several paths

SHORT = {"alpha": ALPHA[[0, 2, 4]], "beta": -BETA[[0, 2, 4]], "directions": "saved"}


def test_paths_of_one_plane_share_a_panel_each_with_its_colour_and_name():
    made = film([trajectory(), surface(), trajectory(**SHORT)], titles=["sgd", "adam"])
    assert len(made.figure.axes) == 4 and made.frames == 5  # the map, losses, what is off, the colour bar
    made.show(1)
    heads = marks(made.figure.axes[0], "*")
    assert [line.get_xydata().tolist() for line in heads] == [[[2.0, 1.0]], [[1.0, -1.5]]]
    assert [line.get_color() for line in heads] == list(INKS[:2])
    colours = {text.get_text(): text.get_color() for text in made.figure.texts}
    assert (colours["sgd"], colours["adam"]) == INKS[:2]
    assert len({to_rgb(ink) for ink in INKS}) == len(INKS)


def test_the_centre_is_no_point_of_a_path_measured_in_the_plane_of_another():
    moments = moments_of([trajectory(), trajectory(**SHORT)])
    assert [len(along) for along in moments.along] == [5, 2]
    assert [numbers.tolist() for numbers in moments.numbers] == [[1, 2, 3, 4, 5], [1, 2, 2, 2, 2]]
    assert [len(along) for along in moments_of([trajectory(**SHORT)]).along] == [3]  # alone, it may be its own end
    elsewhere = trajectory(**SHORT, direction_digest="e")
    assert [len(along) for along in moments_of([trajectory(), elsewhere]).along] == [5, 3]


def test_paths_move_by_their_epochs_if_all_have_some_that_grow():
    one, two = trajectory(epoch=np.array([0, 1, 2, 4, 8])), trajectory(epoch=np.array([0, 3, 4, 5, 6]))
    moments = moments_of([one, two])
    assert (moments.name, moments.times.tolist()) == ("epoch", [0, 1, 2, 3, 4, 5, 6, 8])
    for file, numbers in zip((one, two), moments.numbers, strict=True):
        passed = [sum(epoch <= time for epoch in file["epoch"]) for time in moments.times]
        assert numbers.tolist() == passed
    for other in (trajectory(), trajectory(epoch=np.array([0, 1, 1, 2, 3]))):
        moments = moments_of([one, other])
        assert (moments.name, moments.times.tolist()) == ("checkpoint", [0, 1, 2, 3, 4])


def test_each_plane_has_a_panel_and_all_one_scale():
    other = {"direction_digest": "e", "checkpoint": "b", "network": "plain"}
    made = film([trajectory(), surface(), trajectory(-ALPHA, **other), surface(**other)])
    first, second = (axes for axes in made.figure.axes if axes.get_xlabel().startswith("α"))
    made.show(2)
    assert marks(first, "*")[0].get_xdata() == [1.0] and marks(second, "*")[0].get_xdata() == [-1.0]
    ends = [(axes.collections[0].norm.vmin, axes.collections[0].norm.vmax) for axes in (first, second)]
    assert ends[0] == ends[1]
    assert {"net", "plain"} <= {*texts(made)}


# Files


COLOURS = (255, 0, 0), (0, 0, 255), (0, 0, 0)


def dots():
    """A film of 101 × 51 pixels at 100 an inch, on paper of another colour in each frame; all have all colours."""
    figure = Figure((1.01, 0.51))
    for i, colour in enumerate(COLOURS):
        figure.add_artist(Rectangle((0.5 + i / 10, 0), 0.1, 1, color=np.divide(colour, 255)))
    return Film(figure, 3, lambda i: figure.set_facecolor(np.divide(COLOURS[i], 255)))


def test_a_gif_has_the_frames_at_their_times_and_the_last_stays(tmp_path):
    save_film(dots(), tmp_path / "a.gif", fps=3, dpi=100)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (3, (101, 51), 0)
        for i, (colour, duration) in enumerate(zip(COLOURS, (330, 340, 330 + 1500), strict=True)):
            image.seek(i)
            assert np.abs(np.subtract(image.convert("RGB").getpixel((9, 9)), colour)).max() < 3
            assert image.info["duration"] == duration


def test_the_same_film_is_the_same_bytes(tmp_path):
    for name in "ab":
        save_film(film([trajectory(), surface()], width=4.0), tmp_path / f"{name}.gif", dpi=40)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5
        for frame, pixels in enumerate(images(film([trajectory(), surface()], width=4.0), 40)):
            image.seek(frame)
            shown = np.asarray(image.convert("RGB"), int)
            assert np.abs(shown - pixels).mean() < 3  # 255 colours
            np.testing.assert_array_equal((shown == 255).all(axis=2)[pixels.min(axis=2) == 255], True)


def test_pixels_are_those_of_a_saved_figure(tmp_path):
    made = film([trajectory(), surface()], width=4.0)
    shown = [*images(made, 60)]
    made.show(1)
    save(made.figure, tmp_path / "a.png", dpi=60)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(shown[1], np.asarray(image.convert("RGB")))
    assert not any((one == other).all() for one, other in itertools.pairwise(shown))


def test_the_pace_is_told_by_frames_a_second_or_by_seconds():
    assert (pace(31), pace(30, fps=10), pace(30, seconds=15)) == (5, 10, 2)
    assert (pace(400), pace(10_000)) == (20, 50)  # in 20 s, as long as eyes can follow
    for how, words in {
        (30.0, 1.0): "^--fps and --seconds both say",
        (0.0, None): "0 frames a second are not shown",
        (np.nan, None): "nan frames a second are not shown",
        (None, 0.1): "30 frames take 0.6 seconds or more",
        (None, -1.0): "cannot take -1 seconds",
        (None, np.inf): "cannot take inf seconds",
    }.items():
        COMMAND.set(True)
        with pytest.raises(BadInput, match=words):
            pace(30, *how)


# What is refused, in one line


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "there are no results"),
        ([surface()], "a film shows paths of trainings, .* but <results in memory> is a surface"),
        ([trajectory(), write(None, "density", ("x",), {"x": X}, {"loss": X})], "but <results in memory> is a density"),
        ([trajectory([0.0], [0.0])], "has one checkpoint, of which there is no film; give a path of 2 or more"),
        ([trajectory(), trajectory(ALPHA[:2], directions="saved")], "has one checkpoint"),
        ([trajectory(), surface(direction_digest="e")], "no surface is in the plane of"),
        ([trajectory(), surface(loss="mse")], "losses of different kinds, mse and cross_entropy"),
    ],
)
def test_what_makes_no_film_is_said_in_one_line(files, words):
    with pytest.raises(BadInput, match=words) as error:
        film(files)
    assert "\n" not in str(error.value)


def test_a_film_that_cannot_be_saved_says_why_and_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (tmp_path / "a.gif").write_bytes(b"before")
    for name, how, words in (
        ("a.webm", {}, r"cannot be saved as a.webm; let its name end in .gif, .mp4, or in .html"),
        (
            "a.mp4",
            {},
            "made by ffmpeg, which is not on PATH here; install it .*, or let the name end in .gif or .html",
        ),
        ("new/a.gif", {}, "output folder .* does not exist"),
        ("a.gif", {"dpi": 1.0}, "1 pixels an inch make no film"),
        ("a.gif", {"fps": 60.0}, "60 frames a second are not shown"),
    ):
        with pytest.raises(BadInput, match=words) as error:
            save_film(dots(), tmp_path / name, **how)
        assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"] and (tmp_path / "a.gif").read_bytes() == b"before"


def test_a_frame_that_fails_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError):
        save_film(Film(Figure((1, 1)), 3, lambda i: 1 / (1 - i)), tmp_path / "a.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"] and (tmp_path / "a.gif").read_bytes() == b"before"


def test_ffmpeg_may_come_with_a_package(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    package = type(sys)("imageio_ffmpeg")
    package.get_ffmpeg_exe = lambda: "/there/ffmpeg"
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", package)
    assert check_film(tmp_path / "a.mp4") == tmp_path / "a.mp4"
