"""Paths of trainings: their losses against the checkpoints' own, from files and from memory."""

import shlex

import pytest
import tiny
from files import same
from processes import command

from landscape.engine.table import read
from landscape.evaluation.evaluator import Evaluator
from landscape.planes import direction_files as saved
from landscape.planes.trajectory import (
    trajectory,
)
from landscape.weights import digest


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with net.pt and run/epoch-0000.pt … 4, of which the last is net.pt, and path.h5 of the call."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "run").mkdir()
    for epoch, network in enumerate(tiny.snapshots(width=4, steps=50)):
        tiny.checkpoint(network, folder / "run" / f"epoch-{epoch:04}.pt", width=4, epoch=epoch)
    tiny.checkpoint(network, folder / "net.pt", width=4, epoch=epoch)
    trajectory(on_digits(folder / "net.pt"), folder / "run", out=folder / "path.h5")
    return folder


def on_digits(path, **how):
    return Evaluator.from_checkpoint(path, examples=100, **how)


@pytest.mark.mpi
def test_a_command_on_any_number_of_ranks_gives_the_results_of_the_call(run, tmp_path):
    how = ("--snapshots", run / "run", "--examples", 100)
    done = command("trajectory", run / "net.pt", tmp_path / "one.h5", *how)
    command("trajectory", run / "net.pt", tmp_path / "two.h5", *how, ranks=2)
    for name in ("one", "two"):
        same(tmp_path / f"{name}.h5", run / "path.h5")
        mine, theirs = (saved.load(p) for p in (tmp_path / f"{name}.directions.pt", run / "path.directions.pt"))
        assert [*map(digest, mine)] == [*map(digest, theirs)]
    (line,) = (shlex.split(line) for line in done.stdout.splitlines() if "surface.py" in line)
    command("surface", *("6" if word == "51" else word for word in line[2:]), "--quiet")
    digests = {read(path).attributes["direction_digest"] for path in (line[3], run / "path.h5")}
    assert len(digests) == 1


def test_what_the_command_refuses_is_one_line(run, tmp_path):
    one = run / "run" / "epoch-0001.pt"
    done = command("trajectory", run / "net.pt", tmp_path / "a.h5", "--snapshots", one, "--examples", 100, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
