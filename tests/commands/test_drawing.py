import numpy as np
import pytest
from PIL import Image
from processes import command as run

from landscape.engine.table import prepare

X, Y = np.linspace(-1, 1, 9), np.linspace(-1, 1, 7)
BOWL = 0.01 + np.add.outer(Y**2, X**2)


def surface(path, values, *, x=X, y=Y, done=True, network="resnet-56", **attributes):
    coordinates = {"x": x} if values.ndim == 1 else {"y": y, "x": x}
    table, _ = prepare(
        path,
        np.zeros((values.size, 1)),
        kind="surface",
        dims=tuple(coordinates),
        coordinates=coordinates,
        attributes={"network": network, "split": "train", "loss": "cross_entropy", **attributes},
    )
    for row in np.flatnonzero(np.broadcast_to(done, values.shape)):
        table.record(row, {"loss": values.flat[row], "loss_se": 0.01, "accuracy": 0.5, "examples": 100})
    table.flush()
    return path


def table(path, blocks, plan, accuracy, network="resnet-56"):
    plan = np.array(plan, bool)
    rows, _ = prepare(
        path,
        plan,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(plan)), "block": np.array(blocks)},
        given={"deleted": (("trial", "block"), plan)},
        attributes={"network": network, "data": "digits", "split": "test"},
    )
    for row, fraction in enumerate(accuracy):
        rows.record(row, {"loss": 1.0, "loss_se": 0.1, "accuracy": fraction, "examples": 400})
    rows.flush()
    return path


BLOCKS = ["stages.0.0", "stages.0.1", "stages.1.0", "stages.1.1"]


def singles(path, blocks=BLOCKS, **how):
    plan = np.vstack([np.zeros(len(blocks)), np.eye(len(blocks))])
    return table(path, blocks, plan, np.linspace(0.98, 0.1, len(plan)), **how)


def command(*arguments):
    return run("figure", *arguments, check=False)


# The command


def test_an_unfinished_file_is_drawn_and_the_rest_counted(tmp_path):
    done = np.arange(63).reshape(7, 9) >= 12
    path = surface(tmp_path / "a.h5", BOWL, done=done)
    told = command(tmp_path / "a.pdf", path, "--width", 4, "--vmax", 5, "--view", 50, -30, "--titles", "mine")
    assert told.returncode == 0 and told.stderr == f"{path}: 12 of 63 points are not measured yet\n"
    assert (tmp_path / "a.pdf").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["figure.gif", "a.h5"], ".pdf, .png, .svg"),
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
    told = command(*names)
    assert told.returncode == 2 and told.stderr.count("\n") == 1
    assert words in told.stderr and not list(tmp_path.glob("*.pdf"))


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
        told = command(tmp_path / "b.png", tmp_path / "a.h5", *how)
        assert told.returncode == 2 and words in told.stderr and not (tmp_path / "b.png").exists()


def test_surfaces_over_other_dimensions_are_refused(tmp_path):
    axes = {"time": X, "y": Y, "x": X}
    prepare(tmp_path / "a.h5", np.zeros((9 * 7 * 9, 3)), kind="surface", dims=tuple(axes), coordinates=axes)
    told = command(tmp_path / "a.png", tmp_path / "a.h5")
    assert told.returncode == 2 and "drawn over (x), (repeat, x), (y, x)" in told.stderr
