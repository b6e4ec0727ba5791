"""Axes that end where the loss reaches a level."""

import pytest
from files import same
from processes import command

from landscape.engine.table import read


@pytest.mark.mpi
def test_the_window_holds_the_level_and_no_more(trained, tmp_path):
    how = ("--x", -1, 1, 5, "--y", 0, 1, 3, "--examples", 300, "--auto-range", 8)
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *how)
    results = read(tmp_path / "a.h5")
    x, y, loss = results.coordinates["x"], results.coordinates["y"], results["loss"]
    assert x[0] == -x[-1] and y[0] == 0  # asked for with the centre in the middle, and at an end
    assert max(loss[0, 0], loss[0, -1]) >= 8 > loss[0, 2] and loss[-1, 2] >= 8
    assert loss[0, 1] < 8 and loss[0, 3] < 8
    command("surface", trained / "resnet.pt", tmp_path / "b.h5", *how, ranks=2)
    same(tmp_path / "a.h5", tmp_path / "b.h5")
    assert "complete already" in command("surface", trained / "resnet.pt", tmp_path / "a.h5", *how).stdout


def test_a_level_below_the_centre_is_refused(trained, tmp_path):
    how = ("--x", -1, 1, 5, "--examples", 300, "--auto-range", 0, "--quiet")
    done = command("surface", trained / "resnet.pt", tmp_path / "a.h5", *how, check=False)
    assert done.returncode == 2 and "not above the loss at the centre" in done.stderr
    assert not (tmp_path / "a.h5").exists()
