"""Results become other tools' files, and the 2018 code's files ours, without a number changed or invented."""

import importlib.util
import itertools

import h5py
import numpy as np
import pandas
import pytest
import torch
from files import ROOT
from processes import command
from theirs import theirs
from torch.nn import functional as F

from landscape.engine.ranks import SerialComm
from landscape.engine.table import prepare, read

spec = importlib.util.spec_from_file_location("convert", ROOT / "scripts" / "convert.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

X, Y = np.array([-1.0, -0.25, 0.5, 2.0]), np.array([0.0, 1.0, 3.0])
LOSS = 0.5 + np.add.outer(10 * Y, X**2)  # (y, x); no two rows or columns alike


def convert(*arguments):
    """The command, within this process."""
    script.main(script.parser().parse_args(list(map(str, arguments))), SerialComm())


def surface(path, loss=LOSS, done=True, *, coordinates=None, **attributes):
    coordinates = coordinates or {"y": Y, "x": X}
    table, _ = prepare(
        path,
        np.zeros((loss.size, 1)),
        kind="surface",
        dims=tuple(coordinates),
        coordinates=coordinates,
        attributes={"network": "resnet-56", "data": "digits", "split": "train", "loss": "cross_entropy", **attributes},
    )
    for row in np.flatnonzero(np.broadcast_to(done, loss.shape)):
        value = loss.flat[row]
        table.record(row, {"loss": value, "loss_se": value / 8, "accuracy": 1 / (1 + row), "examples": 100 + row})
    table.flush()
    return path


# The code of 2018


def measured_in_2018(x, y, function):
    """What that code's file holds: values in the order of meshgrid(x, y), under the shape (len(x), len(y))."""
    flat = np.array([function(a, b) for b, a in itertools.product(y, x)])
    return flat.reshape(len(x), len(y))


def old(path, x, y=None, **arrays):
    with h5py.File(path, "w") as file:
        file["dir_file"] = "nets/model_300.t7_weights_xignore=biasbn_xnorm=filter.h5"
        file["xcoordinates"] = x
        if y is not None:
            file["ycoordinates"] = y
        for name, array in arrays.items():
            file[name] = array
    return path


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


def in_2018(path, *directions):
    """Directions as that code writes them."""
    with h5py.File(path, "w") as file:
        for name, direction in zip(("xdirection", "ydirection"), directions, strict=False):
            for number, tensor in enumerate(direction):
                file[f"{name}/{number}"] = tensor.numpy()
    return path


@pytest.fixture(params=["pad", "project"])
def foreign(request, tmp_path):
    """A stranger's network, its file, and two directions over its parameters, in its own order."""
    network = theirs(n=1, around=request.param)
    torch.save({"state_dict": {f"module.{n}": t for n, t in network.state_dict().items()}}, tmp_path / "net.pt")
    torch.manual_seed(1)
    network.requires_grad_(False)
    directions = [[0.3 * p.std() * torch.randn(p.shape) for p in network.parameters()] for _ in "xy"]
    return network, tmp_path / "net.pt", directions


OWN = ("--network", "resnet")


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
