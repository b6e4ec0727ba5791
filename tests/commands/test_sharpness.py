"""Sharpness against exact quadratics, and invariances against networks that compute the same."""

import pytest
import tiny
from files import same
from processes import command

from landscape.curvature.sharpness import sharpness

# The measurement

HOW = {"rho": (0.05, 0.2), "trials": 2, "steps": 2}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network(width=4))


@pytest.fixture(scope="module")
def results(evaluate, tmp_path_factory):
    return sharpness(evaluate, **HOW, out=tmp_path_factory.mktemp("sharpness") / "a.h5")


@pytest.mark.mpi
def test_a_command_on_any_number_of_ranks_gives_the_results_of_the_call(evaluate, results, tmp_path):
    path = tiny.checkpoint(evaluate.network, tmp_path / "a.pt", width=4)
    how = ("--rho", 0.05, 0.2, "--trials", 2, "--steps", 2, "--examples", 30)
    command("sharpness", path, tmp_path / "a.h5", *how)
    command("sharpness", path, tmp_path / "b.h5", *how, ranks=2)
    for name in ("a", "b"):
        same(tmp_path / f"{name}.h5", results.path)
    done = command("sharpness", path, tmp_path / "c.h5", *how, "--dtype", "bfloat16", check=False)
    assert done.returncode == 2 and "leave out --dtype and --tolerance" in done.stderr
