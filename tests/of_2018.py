"""Surfaces and directions as the code of Li et al. (2018) writes them, and ours beside them."""

import importlib.util
import itertools

import h5py
import numpy as np
import torch
from files import ROOT
from theirs import theirs

from landscape.engine.table import prepare

spec = importlib.util.spec_from_file_location("convert", ROOT / "scripts" / "convert.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

X, Y = np.array([-1.0, -0.25, 0.5, 2.0]), np.array([0.0, 1.0, 3.0])
LOSS = 0.5 + np.add.outer(10 * Y, X**2)  # (y, x); no two rows or columns alike


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


def in_2018(path, *directions):
    """Directions as that code writes them."""
    with h5py.File(path, "w") as file:
        for name, direction in zip(("xdirection", "ydirection"), directions, strict=False):
            for number, tensor in enumerate(direction):
                file[f"{name}/{number}"] = tensor.numpy()
    return path


def foreign(request, tmp_path):
    """A stranger's network, its file, and two directions over its parameters, in its own order."""
    network = theirs(n=1, around=request.param)
    torch.save({"state_dict": {f"module.{n}": t for n, t in network.state_dict().items()}}, tmp_path / "net.pt")
    torch.manual_seed(1)
    network.requires_grad_(False)
    directions = [[0.3 * p.std() * torch.randn(p.shape) for p in network.parameters()] for _ in "xy"]
    return network, tmp_path / "net.pt", directions


OWN = ("--network", "resnet")
