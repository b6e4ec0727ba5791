"""The Hessian's spectrum at a network: operators, eigenpairs, traces and densities against dense Hessians."""

import pytest
import tiny
from files import same
from processes import command

from landscape.curvature.maps import curvature

MODES = {"eigenvalues": {"top": 4}, "trace": {"trace": 30}, "density": {"density": 4, "steps": 12}}


@pytest.fixture(scope="module")
def evaluate():
    return tiny.with_digits(tiny.network())


@pytest.fixture(scope="module")
def files(evaluate, tmp_path_factory):
    """Results of each mode, in files."""
    folder = tmp_path_factory.mktemp("modes")
    return {kind: curvature(evaluate, **MODES[kind], out=folder / f"{kind}.h5") for kind in MODES}


@pytest.mark.mpi
def test_commands_on_any_number_of_ranks_give_the_same_probes(evaluate, files, tmp_path):
    path = tiny.checkpoint(evaluate.network, tmp_path / "a.pt")
    how = {"trace": ("--trace", 30), "density": ("--density", 4, "--steps", 12)}
    for kind, mode in how.items():
        command("curvature", path, tmp_path / f"{kind}.h5", *mode, "--examples", 30, ranks=2)
        same(tmp_path / f"{kind}.h5", files[kind].path)
    done = command("curvature", path, tmp_path / "a.h5", "--top", 4, "--examples", 30, ranks=2, check=False)
    assert done.returncode == 2 and "start it without mpiexec" in done.stderr
    assert not (tmp_path / "a.h5").exists()
