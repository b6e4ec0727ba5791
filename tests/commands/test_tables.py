"""A comparison as text, as CSV and in LaTeX, and the command that writes them."""

import importlib.util

import numpy as np
import pytest
from analytic import (
    bowls,
    lesions,
    maker,
    other,
)
from files import ROOT
from processes import command

spec = importlib.util.spec_from_file_location("compare", ROOT / "scripts" / "compare.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.fixture
def surface(tmp_path):
    return maker(tmp_path)


@pytest.fixture
def two(surface, tmp_path):
    """Files of two networks: repeats, a basin at the edge, numbers that do not exist, and lesions of the first."""
    missing = bowls(0.3, 0.35, 0.4)
    missing[0] = np.nan
    name = r"50%_&\net"
    plan = np.vstack([np.zeros((1, 3), bool), np.eye(3, dtype=bool)])
    return [
        surface(bowls(0.5, 0.9, 3.0)),
        surface(missing, checkpoint="decaf", network=name),
        lesions(tmp_path / "lesions.h5", plan, [1, 2, 3, 4]),
    ]


@pytest.mark.mpi
def test_on_two_ranks_the_table_is_the_same_and_printed_once(surface, tmp_path):
    files = [surface(bowls(0.4, 0.5)).path, other(surface, bowls(0.7, 0.9)).path]
    one = command("compare", *files, "--csv", tmp_path / "one.csv").stdout
    assert command("compare", *files, "--csv", tmp_path / "two.csv", ranks=2).stdout == one
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
