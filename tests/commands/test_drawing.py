import numpy as np
import pytest
from drawn import BOWL, X, Y, singles, surface
from PIL import Image
from processes import command as run

from landscape.engine.table import prepare


def command(*arguments):
    return run("figure", *arguments, check=False)


# The command


def test_an_unfinished_file_is_drawn_and_the_rest_counted(tmp_path):
    done = np.arange(63).reshape(7, 9) >= 12
    path = surface(tmp_path / "a.h5", BOWL, done=done)
    said = command(tmp_path / "a.pdf", path, "--width", 4, "--vmax", 5, "--view", 50, -30, "--titles", "mine")
    assert said.returncode == 0 and said.stderr == f"{path}: 12 of 63 points are not measured yet\n"
    assert (tmp_path / "a.pdf").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["figure.gif", "a.h5"], "a.h5 is a surface"),
        (["figure.tiff", "a.h5"], ".pdf, .png, .svg"),
        (["nowhere/figure.pdf", "a.h5"], "mkdir -p"),
        (["figure.pdf", "a.h5", "b.h5"], "one kind"),
        (["figure.pdf", "a.h5", "line.h5"], "same dimensions"),
        (["figure.pdf", "b.h5", "--vmax", "3"], "--vmax does not apply to lesions"),
        (["figure.pdf", "a.h5", "--cmap", "rainboww"], "colour map"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words, tmp_path):
    surface(tmp_path / "a.h5", BOWL)
    surface(tmp_path / "line.h5", BOWL[3])
    singles(tmp_path / "b.h5")
    names = [tmp_path / a if "." in a else a for a in arguments]
    said = command(*names)
    assert said.returncode == 2 and said.stderr.count("\n") == 1
    assert words in said.stderr and not list(tmp_path.glob("*.pdf"))


def test_of_several_pairs_of_directions_one_is_drawn_as_if_it_were_alone(tmp_path):
    surface(tmp_path / "one.h5", 2 * BOWL)
    surface(tmp_path / "two.h5", np.stack([BOWL, 2 * BOWL]))
    for out, *how in (("alone", "one.h5"), ("first", "two.h5", "--repeat", 0), ("second", "two.h5", "--repeat", 1)):
        said = command(tmp_path / f"{out}.png", tmp_path / how[0], *how[1:], "--dpi", 40)
        assert said.returncode == 0, said.stderr
    alone, first, second = ((tmp_path / f"{name}.png").read_bytes() for name in ("alone", "first", "second"))
    assert alone == second != first
    for file, number, words in (
        ("two.h5", 2, "has 2 places along repeat, from 0; 2 is none"),
        ("one.h5", 0, "has no dimension repeat"),
    ):
        said = command(tmp_path / "none.png", tmp_path / file, "--repeat", number)
        assert said.returncode == 2 and words in said.stderr and not (tmp_path / "none.png").exists()


def test_size_pixels_and_parts_are_as_asked_for(tmp_path):
    surface(tmp_path / "a.h5", BOWL)
    for how, width in ((("--width", "icml"), 195), (("--width", 4, "--only", "reliefs"), 240)):
        assert command(tmp_path / "a.png", tmp_path / "a.h5", "--dpi", 60, *how).returncode == 0
        with Image.open(tmp_path / "a.png") as image:
            assert image.width == width
    for how, words in (
        (("--dpi", 5), "give 10 to 2400"),
        (("--width", "nature"), "--width"),
        (("--only", "x"), "--only"),
    ):
        said = command(tmp_path / "b.png", tmp_path / "a.h5", *how)
        assert said.returncode == 2 and words in said.stderr and not (tmp_path / "b.png").exists()


def test_surfaces_over_other_dimensions_are_refused(tmp_path):
    axes = {"time": X, "y": Y, "x": X}
    prepare(tmp_path / "a.h5", np.zeros((9 * 7 * 9, 3)), kind="surface", dims=tuple(axes), coordinates=axes)
    said = command(tmp_path / "a.png", tmp_path / "a.h5")
    assert said.returncode == 2 and "drawn over (x), (repeat, x), (y, x)" in said.stderr
