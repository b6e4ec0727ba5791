"""Many trainings in one table: the same from any number of ranks, and drawn from the file alone."""

import numpy as np
import pytest
from files import same
from processes import command

from landscape.checkpoints import checkpoint
from landscape.drawing.trainings import trainings as drawn
from landscape.engine.check import check
from landscape.training.train import train
from landscape.training.trainings import trainings

VARIANTS = ("plain", "resnet:order=pre,shortcut=projection")
SMALL = {"depth": [8, 14], "width": 4, "seeds": 2, "epochs": 1, "examples": 100, "quiet": True}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("trainings") / "a.h5"
    trainings(VARIANTS, **SMALL, out=path)
    return path


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_trainings_by_the_command(file, tmp_path):
    words = ("--depth", 8, 14, "--width", 4, "--seeds", 2, "--epochs", 1, "--examples", 100)
    command("trainings", tmp_path / "a.h5", *VARIANTS, *words, ranks=2)
    same(file, tmp_path / "a.h5")
    assert "complete already" in command("trainings", file, *VARIANTS, *words).stdout
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_trainings_are_not_compared_as_if_they_were_surfaces(file):
    done = command("compare", file, check=False)
    assert done.returncode == 2
    assert "is of kind trainings" in done.stderr
    assert done.stderr.count("\n") == 1


def test_checkpoints_that_are_trained_already_are_rows_and_others_are_known_to_be_absent(trained, tmp_path):
    train(tmp_path / "deep.pt", network="plain", depth=14, width=4, epochs=1, seed=1, quiet=True)
    files = [trained / "plain.pt", tmp_path / "deep.pt", trained / "resnet.pt"]
    printed = command("trainings", tmp_path / "a.h5", "--checkpoints", *files).stdout
    assert printed.endswith("a.h5: 3 of 8 rows of plain, resnet\n")
    before = (tmp_path / "a.h5").read_bytes()
    results = trainings(checkpoints=files, out=tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before  # a finished file is left alone
    variants, depths, seeds = (results.coordinates[dim].tolist() for dim in ("variant", "depth", "seed"))
    assert (variants, depths, seeds) == (["plain", "resnet"], [8, 14], [0, 1])
    there = results["done"]
    assert results.known.all() and np.isnan(results["accuracy"][~there]).all()
    assert check(tmp_path / "a.h5").status == 0
    assert np.argwhere(there).tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    for row, path in zip(np.argwhere(there), files, strict=True):
        final = checkpoint.load(path).final
        assert results["test_loss"][tuple(row)] == final["test"]["loss"]
        assert results["accuracy"][tuple(row)] == final["train"]["accuracy"]
    drawn([results])
