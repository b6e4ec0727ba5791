"""Repeats from the command line."""

import pytest
from files import same
from processes import command


@pytest.mark.mpi
def test_repeats_are_the_same_from_three_ranks(trained, tmp_path):
    repeats = ("--x", -1, 1, 3, "--y", -0.5, 1, 2, "--repeats", 3, "--examples", 100, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *repeats)
    command("surface", trained / "resnet.pt", tmp_path / "b.h5", *repeats, ranks=3)
    same(tmp_path / "a.h5", tmp_path / "b.h5")
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
