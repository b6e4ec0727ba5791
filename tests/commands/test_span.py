"""Lines to other checkpoints from the command line."""

import pytest
from files import same
from processes import command


@pytest.mark.mpi
def test_a_line_between_checkpoints_is_the_same_from_two_ranks(trained, tmp_path):
    command("train", tmp_path / "1.pt", "--depth", 8, "--width", 4, "--epochs", 1, "--seed", 1, "--quiet")
    line = ("--to", tmp_path / "1.pt", "--x", -0.5, 1.5, 5, "--examples", 100, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *line)
    command("surface", trained / "resnet.pt", tmp_path / "b.h5", *line, ranks=2)
    same(tmp_path / "a.h5", tmp_path / "b.h5")
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
