"""Maps of the Hessian's extreme eigenvalues: of the points they claim, from any number of ranks, drawn."""

import pytest
import tiny
from files import same
from processes import command

from landscape.curvature.maps import curvature

PLANE = {"x": (-1, 1, 3), "y": (-1, 1, 2), "quiet": True}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network())


@pytest.fixture(scope="module")
def results(evaluate, tmp_path_factory):
    return curvature(evaluate, **PLANE, out=tmp_path_factory.mktemp("map") / "a.h5")


# The command


@pytest.mark.mpi
def test_a_command_on_any_number_of_ranks_gives_the_map_of_the_call(evaluate, results, tmp_path):
    path = tiny.checkpoint(evaluate.network, tmp_path / "a.pt")
    how = ("--x", -1, 1, 3, "--y", -1, 1, 2, "--examples", 30, "--quiet")
    command("curvature", path, tmp_path / "a.h5", *how)
    command("curvature", path, tmp_path / "b.h5", *how, ranks=2)
    for name in ("a", "b"):
        same(tmp_path / f"{name}.h5", results.path)


def test_axes_that_are_typed_do_not_go_with_the_checkpoint_itself(evaluate, tmp_path):
    path = tiny.checkpoint(evaluate.network, tmp_path / "a.pt")
    typed = ("--top", 2, "--x", -1, 1, 11, "--examples", 30)
    done = command("curvature", path, tmp_path / "a.h5", *typed, check=False)
    assert done.returncode == 2 and "--x does not go with --top" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.h5").exists()
