"""What is odd about a surface is told, and nothing odd about one that is as it should be."""

import numpy as np
import pytest
from processes import command

from landscape.engine.table import read

HOW = ("--x", -0.5, 0.5, 5, "--y", -0.5, 0.5, 5, "--examples", 300, "--quiet")


@pytest.fixture(scope="module")
def surface(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnose") / "a.h5"
    command("surface", trained / "resnet.pt", out, *HOW)
    return out


def findings(trained, out, *how, **options):
    """Findings by what they are about."""
    lines = command("surface", trained / "resnet.pt", out, *how, "--diagnose", **options).stdout.splitlines()
    return dict(line.split(":", 1) for line in lines)


def test_a_surface_that_is_as_it_should_be(trained, surface):
    before = surface.read_bytes()
    said = findings(trained, surface, *HOW)
    assert "is the checkpoint's" in said["centre"] and "at the end of training" in said["centre"]
    assert "nearly orthogonal" in said["directions"]
    assert "all losses finite" in said["points"]
    assert said.keys() >= {"minimum", "range", "BatchNorm at the centre", "BatchNorm at the end of x"}
    assert surface.read_bytes() == before  # diagnosed, not measured


@pytest.mark.mpi
def test_ranks_say_it_once(trained, surface):
    assert findings(trained, surface, *HOW, ranks=2).keys() == findings(trained, surface, *HOW).keys()


def test_another_command_than_the_files_is_told(trained, surface):
    said = findings(trained, surface, *HOW, "--seed", 1)
    assert list(said) == ["settings"] and "seed is 0 in the file, 1 in this command" in said["settings"]


def test_overflow_narrow_and_missed_centres_are_told(trained, tmp_path):
    far = ("--x", -1e38, 1e38, 3, "--examples", 300, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "far.h5", *far)
    assert "2 losses are not finite" in findings(trained, tmp_path / "far.h5", *far)["points"]
    near = ("--x", -1e-4, 1e-4, 4, "--examples", 300, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "near.h5", *near)
    said = findings(trained, tmp_path / "near.h5", *near)
    assert "an odd number of points" in said["centre"]
    assert "the window is narrow" in said["range"]


def test_a_file_that_is_not_there_has_nothing_to_tell(trained, tmp_path):
    done = command("surface", trained / "resnet.pt", tmp_path / "a.h5", *HOW, "--diagnose", check=False)
    assert done.returncode == 2 and "there is no file" in done.stderr


def test_interpolated_points_are_measured(trained, tmp_path):
    """What is said of them is what they are off a surface that is measured whole."""
    out = tmp_path / "a.h5"
    how = (*HOW[:2], 0.5, 41, *HOW[4:6], 0.5, 25, *HOW[8:], "--adaptive", 0.3)
    command("surface", trained / "resnet.pt", out, *how)
    results = read(out)
    places = np.argwhere(results["interpolated"])
    assert len(places)
    said = findings(trained, out, *how)["interpolation"]
    assert f"of {min(50, len(places))} interpolated points" in said and "the 30 % that were asked" in said
    full = tmp_path / "b.h5"
    command("surface", trained / "resnet.pt", full, *how[:-2])
    with np.errstate(invalid="ignore"):
        off = np.abs(results["loss"] / read(full)["loss"] - 1)[results["interpolated"]]
    largest = float(said.rpartition(" in the median, ")[2].partition(" %")[0])
    assert largest <= 100 * off.max() * 1.05 and (
        len(places) > 50 or largest == pytest.approx(100 * off.max(), rel=0.06)
    )
