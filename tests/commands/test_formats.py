"""Results become other tools' files, and the 2018 code's files ours, without a number changed or invented."""

import itertools

import numpy as np
import pandas
import pytest
import torch
from of_2018 import OWN, foreign, in_2018, measured_in_2018, old, script, surface
from processes import command
from torch.nn import functional as F

from landscape.engine.ranks import SerialComm
from landscape.engine.table import read

foreign = pytest.fixture(params=["pad", "project"])(foreign)


def convert(*arguments):
    """The command, within this process."""
    script.main(script.parser().parse_args(list(map(str, arguments))), SerialComm())


# The code of 2018


def test_surfaces_of_that_code_are_drawn_and_compared(tmp_path):
    x = np.linspace(-1, 1, 5)
    loss = measured_in_2018(x, x, lambda a, b: 1 + a**2 + 2 * b**2)
    for name in ("a", "b"):
        old(tmp_path / f"{name}.h5", x, x, train_loss=loss, train_acc=100 - 10 * loss)
        convert(tmp_path / f"{name}.h5", tmp_path / f"{name}.ours.h5", "--network", name)
        loss = loss + 1
    ours = [tmp_path / f"{name}.ours.h5" for name in "ab"]
    command("figure", tmp_path / "a.png", *ours)
    said = command("compare", *ours).stdout
    assert "loss at the centre (nats)" in said and "surface on unknown data, training data" in said
    row = next(line.split() for line in said.splitlines() if line.startswith("loss at the centre"))
    assert row[5:7] == ["1", "2"]


# Directions of 2018


def test_ours_goes_along_directions_of_that_code(tmp_path, foreign):
    network, path, directions = foreign
    convert(in_2018(tmp_path / "d.h5", *directions), tmp_path / "d.pt", "--checkpoint", path, *OWN)
    draws = np.random.default_rng(0)
    pixels, labels = draws.integers(0, 256, (20, 16, 16, 3), np.uint8), np.arange(20) % 10
    splits = ("train", "test")
    np.savez(tmp_path / "i.npz", **{f"{s}_images": pixels for s in splits}, **{f"{s}_labels": labels for s in splits})
    grid = ("--x", -1, 1, 3, "--y", 0, 1, 2, "--quiet")
    command(
        "surface",
        path,
        tmp_path / "a.h5",
        *OWN,
        "--data",
        tmp_path / "i.npz",
        "--along",
        tmp_path / "d.pt",
        *grid,
        "--standardize",
    )
    results = read(tmp_path / "a.h5")
    x = torch.from_numpy(pixels).float().permute(0, 3, 1, 2) / 255
    x = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0)
    before = [p.detach().clone() for p in network.parameters()]
    for (j, b), (i, a) in itertools.product(enumerate((0.0, 1.0)), enumerate((-1.0, 0.0, 1.0))):
        with torch.no_grad():
            for p, w, dx, dy in zip(network.parameters(), before, *directions, strict=True):
                p.copy_(w + a * dx + b * dy)
            expected = F.cross_entropy(network(x), torch.from_numpy(labels)).item()
        assert results["loss"][j, i] == pytest.approx(expected, rel=1e-4)
    assert np.ptp(results["loss"]) > 0.05


def test_the_command_ends_with_status_2_and_writes_nothing(tmp_path):
    done = command("convert", surface(tmp_path / "a.h5"), tmp_path / "a.xls", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.mpi
def test_several_ranks_write_one_file(tmp_path):
    done = command("convert", surface(tmp_path / "a.h5"), tmp_path / "a.csv", ranks=2)
    assert done.stdout.count("\n") == 1
    assert len(pandas.read_csv(tmp_path / "a.csv")) == 12
