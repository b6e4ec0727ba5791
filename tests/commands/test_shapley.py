"""Shapley values: against the sum over all subsets, their intervals, and where the orders end."""

import pytest
from processes import command


@pytest.mark.mpi
def test_two_ranks_end_where_one_does_and_the_figure_is_drawn(trained, tmp_path):
    typed = ("--shapley", 80, "--precision", 0.05, "--examples", 60)
    said = command("lesion", trained / "resnet.pt", tmp_path / "a.h5", *typed, ranks=2).stdout
    again = command("lesion", trained / "resnet.pt", tmp_path / "a.h5", *typed).stdout
    assert "complete already" in again and said.splitlines()[-1] == again.splitlines()[-1]
    assert not command("figure", tmp_path / "a.png", tmp_path / "a.h5").stderr
