"""The command of basins: on any number of ranks the results of the call."""

import pytest
import tiny
from files import same
from processes import command

from landscape.curvature.basin import basin_radius


@pytest.mark.mpi
def test_a_command_on_any_number_of_ranks_gives_the_results_of_the_call(tmp_path):
    evaluate = tiny.with_digits(tiny.network(width=4))
    path = tiny.checkpoint(evaluate.network, tmp_path / "net.pt", width=4)
    results = basin_radius(evaluate, radius=(0, 0.5, 3), directions=29, level="+20%", out=tmp_path / "call.h5")
    how = ("--radius", 0, 0.5, 3, "--directions", 29, "--level", "+20%", "--examples", 30)
    said = command("basin", path, tmp_path / "a.h5", *how).stdout
    assert "with 95 % confidence at least 90 % of directions stay within 20 points of the error" in said
    command("basin", path, tmp_path / "b.h5", *how, ranks=2)
    for name in ("a", "b"):
        same(tmp_path / f"{name}.h5", results.path)
    worst = ("--ball", "worst", "--directions", 2, "--radius", 0, 0.5, 3, "--steps", 2, "--examples", 30)
    assert "an ascent finds a point" in command("basin", path, tmp_path / "w.h5", *worst).stdout
    command("figure", tmp_path / "a.pdf", tmp_path / "a.h5", tmp_path / "w.h5")
