"""What a command imports: nothing of weight to be asked what there is, and no more than it computes with."""

import os
import subprocess
import sys

import pytest
from files import ROOT
from processes import ENVIRONMENT, command

INSTALLED = ROOT / "scripts" / "__main__.py"  # as the command skipscape has it
HEAVY = {"matplotlib", "pandas", "plotly", "scipy.interpolate", "scipy.sparse", "scipy.stats", "sklearn"}
HEAVY |= {"torch._dynamo", "torchvision", "transformers", "timm", "xarray"}


def imported(*call, cwd=None):
    """The names of all modules that a Python imports, until it ends well."""
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    python = [sys.executable, "-X", "importtime", *map(str, call)]
    done = subprocess.run(python, capture_output=True, text=True, env=environment, cwd=cwd, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_what_there_is_can_be_asked_without_torch():
    assert not {"h5py", "numpy", "torch"} & imported(INSTALLED, "--help")


def test_a_finished_command_imports_no_more_than_it_needs(trained, tmp_path):
    typed = (trained / "resnet.pt", tmp_path / "a.h5", "--x", -1, 1, 3, "--examples", 20)
    command("surface", *typed, "--quiet")
    assert not HEAVY & imported(ROOT / "scripts" / "surface.py", *typed)


@pytest.mark.mpi
def test_who_starts_ranks_leaves_torch_to_them(trained, tmp_path):
    typed = (trained / "resnet.pt", tmp_path / "a.h5", "--x", -1, 1, 3, "--examples", 20, "--quiet")
    assert not {"h5py", "torch"} & imported(INSTALLED, "surface", *typed, "--ranks", 2)
    command("surface", *typed)  # which agrees that it is the same measurement, and complete
