"""HDF5 files of the code of Li et al. 2018 (github.com/tomgoldstein/loss-landscape), read and written.

A surface has ``xcoordinates``, ``ycoordinates`` unless it is a line, and ``train_loss``, ``train_acc``, ``test_loss``,
``test_acc`` where measured; accuracy is in percent. A value of −1 means "not measured yet", and that code tests it as
"≤ 0": what is 0 or negative is measured anew at every start, and NaN is taken for done.

Its arrays have the shape (len(x), len(y)), but are filled, and drawn, in the order of ``np.meshgrid(x, y)``, flat: x
is the fastest. So a square array is indexed [y, x]. One that is not square means nothing by its indices: the values
lie in the order of (y, x) under another shape, and its own contour plots refuse them.

A projected path has ``proj_xcoord`` and ``proj_ycoord``. A file of directions has groups ``xdirection`` and
``ydirection`` with arrays ``0``, ``1``, …: one for each parameter in the order of the network ("weights"), or one for
each entry of the state dict ("states"), which before torch 0.4.1 had no ``num_batches_tracked``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from landscape import __version__
from landscape.checkpoints.checkpoint import Checkpoint, sha256_of
from landscape.checkpoints.cifar_resnets import padded, reordered
from landscape.engine.table import MEASURED, Results, prepare
from landscape.errors import BadInput
from landscape.formats.checked import dataset, group, opened
from landscape.formats.heights import plane
from landscape.formats.tidy import described
from landscape.weights import Weights

__all__ = ["read_directions", "read_surface", "save", "write", "write_directions"]

NOT_DONE = -1
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # entries of a state dict that are no parameters


def write(results: Results, path: Path, repeat: int | None = None) -> list[str]:
    """A surface along a line or over a plane, or the path of a training, as that code has it.

    Parameters
    ----------
    results : of kind surface, or trajectory
    repeat : which surface of several, from 0

    Returns
    -------
    What that code will make of it that may surprise.
    """
    if results.kind == "trajectory":
        # That code looks for the variances in the file of directions: give it this one as both.
        arrays = {"proj_xcoord": results["alpha"], "proj_ycoord": results["beta"]}
        arrays["explained_variance_ratio_"] = results["explained"]
        _create(path, arrays, results)
        return []
    if results.dims.get("loss") != ("x",):
        results = plane(results, repeat)
    if results.kind != "surface":
        raise BadInput(f"{results.source} is a {results.kind}; that layout holds a surface or a trajectory")
    x, *y = (results.coordinates[name] for name in ("x", "y") if name in results.dims["loss"])
    arrays = {"xcoordinates": x} | ({"ycoordinates": y[0]} if y else {})
    shape = (len(x), *map(len, y))
    first = str(results.attributes.get("split", "train"))
    for prefix, split in {"": first, "test_": "test"}.items():
        if f"{prefix}loss" in results.variables:
            for name, values in {"loss": results[f"{prefix}loss"], "acc": 100 * results.accuracy(prefix)}.items():
                # That code reads both; an accuracy that is not defined is one that is not measured.
                there = results.known & (np.isfinite(values) | (name == "loss"))
                arrays[f"{split}_{name}"] = np.where(there, values, NOT_DONE).reshape(shape)
    loss, notes = arrays[f"{first}_loss"], []
    if low := (results.known.reshape(shape) & (loss <= 0)).sum():
        notes.append(f"losses of 0 or less: {low}, which that code would measure anew")
    if y and shape[0] != shape[1]:
        notes.append(f"{shape[0]} × {shape[1]} points are not square: that code's own contour plots refuse them")
    _create(path, arrays, results)
    return notes


def read_surface(
    path: Path,
    network: str | None = None,
    data: str | None = None,
    loss: str | None = None,
    checkpoint: Path | None = None,
) -> tuple[Results, list[str]]:
    """A surface of that code.

    Parameters
    ----------
    path : of the file
    network, data, loss : what the file does not say: what is shown as the network's name (by default the file's), the
        data ("unknown") and the loss ("cross_entropy")
    checkpoint : whose SHA-256 tells which network it is; without it, two files are two networks

    Returns
    -------
    A surface, with a loss's standard error unknown (NaN) and 0 examples, and doubts, which are in its attributes too.

    Raises
    ------
    BadInput
        It is no such file, or its arrays do not fit together.
    """
    doubts = []
    with opened(path) as file:
        splits = [split for split in ("train", "test") if f"{split}_loss" in file]
        if not splits:
            raise BadInput(f"{path} has neither train_loss nor test_loss; give a surface that has been measured")
        names = ["ycoordinates"] * ("ycoordinates" in file) + ["xcoordinates"]
        axes = {name[0]: dataset(file, name)[...] for name in names}
        shape = tuple(map(len, axes.values())) if all(axis.ndim == 1 for axis in axes.values()) else ()
        values = {}
        for split in splits:
            for name in ("loss", "acc"):
                array = dataset(file, f"{split}_{name}") if f"{split}_{name}" in file else None
                if array is not None and array.shape not in (shape, shape[::-1]):
                    raise BadInput(f"{path}: {split}_{name} has shape {array.shape} for coordinates of {shape[::-1]}")
                # In the order of (y, x) whatever its shape; see above.
                flat = np.full(shape, NOT_DONE) if array is None else array[...].reshape(shape)
                values[f"{split}_{name}"] = flat.astype(float)
        made = dataset(file, "dir_file").asstr()[()] if "dir_file" in file else ""
    for name, axis in axes.items():
        if axis.dtype.kind not in "iuf" or not np.isfinite(axis).all() or len(np.unique(axis)) < len(axis):
            raise BadInput(f"{path}: {name}coordinates are not finite and different from each other; make it anew")
    order = np.ix_(*(axis.argsort() for axis in axes.values()))
    values = {name: array[order] for name, array in values.items()}
    axes = {name: np.sort(axis).astype(float) for name, axis in axes.items()}

    first = splits[0]
    done = values[f"{first}_loss"] != NOT_DONE
    if splits[1:] and not (values["test_loss"] != NOT_DONE)[done].all():
        doubts.append("test_loss left out: it is not measured wherever train_loss is")
        splits = splits[:1]
    variables: dict[str, np.ndarray] = {}
    metadata: dict[str, dict] = {}
    for split, prefix in zip(splits, ("", "test_"), strict=False):
        own = {"loss": np.where(done, values[f"{split}_loss"], np.nan)}
        right = done & (values[f"{split}_acc"] != NOT_DONE)
        if right.any():  # else accuracy is not defined, or was not kept
            own["accuracy"] = np.where(right, values[f"{split}_acc"] / 100, np.nan)
        own |= {"loss_se": np.full(done.shape, np.nan), "examples": np.zeros(done.shape, int)}
        variables |= {prefix + name: array for name, array in own.items()}
        metadata |= {prefix + name: dict(MEASURED[name][2]) for name in own}
        if loss not in (None, "cross_entropy"):
            for name in ("loss", "loss_se"):
                metadata[prefix + name]["units"] = "as the loss"
    if len(set(shape)) > 1:
        doubts.append(
            f"not trustworthy: {' × '.join(map(str, shape[::-1]))} points, and that code scrambles grids that are not "
            "square; taken in the order in which it measures"
        )
    measured = variables["loss"][done]
    if low := (measured <= 0).sum():
        doubts.append(f"losses of 0 or less: {low}, which that code takes for not measured, so they may be rubbish")
    if lost := np.isnan(measured).sum():
        doubts.append(f"losses that are NaN: {lost}; that code takes maxima over its ranks, in which NaN is not safe")
    sha = sha256_of(path)
    attributes: dict[str, Any] = {
        "kind": "surface",
        "network": network or path.name.partition(".")[0],
        "data": data or "unknown data",
        "split": first,
        **({"second_split": "test"} if splits[1:] else {}),
        "loss": loss or "cross_entropy",
        "checkpoint": sha if checkpoint is None else sha256_of(checkpoint),
        "directions": "unknown",
        "direction_digest": sha,
        "imported": f"{path.name}, SHA-256 {sha}, layout of Li et al. 2018; standard errors and examples are unknown",
        **({"direction_file": Path(made).name} if made else {}),
        **({"doubts": doubts} if doubts else {}),
        "command": f"imported from {path.name} by convert.py",
        "version_skipscape": __version__,
    }
    if checkpoint is None:
        attributes["imported"] += "; so is the checkpoint, in whose place the file's SHA-256 stands"
    dims = dict.fromkeys([*variables, "done"], tuple(axes))
    return Results(path, "surface", axes, {**variables, "done": done}, dims, attributes, metadata), doubts


def save(results: Results, path: Path) -> list[str]:
    """A surface from `read_surface` as a results file of ours, which is complete where it is done."""
    names = [name for name in results.variables if name != "done"]
    over = results.dims["loss"]
    table, _ = prepare(
        path,
        np.zeros((results["done"].size, 1)),
        kind=results.kind,
        dims=over,
        coordinates=results.coordinates,
        measured={name: (*MEASURED[name.removeprefix("test_")][:2], results.metadata[name]) for name in names},
        attributes=results.attributes,
    )
    flat = {name: results[name].ravel() for name in names}
    for row in np.flatnonzero(results["done"]):
        table.record(int(row), {name: array[row] for name, array in flat.items()})
    table.flush()
    return []


def read_directions(path: Path, checkpoint: Checkpoint) -> tuple[list[Weights], list[str]]:
    """The directions in a file of that code, one or two, as `landscape.planes.direction_files` keeps them.

    Parameters
    ----------
    path : of the file
    checkpoint : of the network that they were made for, whose weights are in the order of its own file

    Returns
    -------
    The directions over parameters, and lines on what was left out.

    Raises
    ------
    BadInput
        They are of another network.
    """
    parameters = _parameters(checkpoint.weights)
    states = [name for name in checkpoint.weights if not name.endswith(BUFFERS[2])]
    directions: list[Weights] = []
    notes: list[str] = []
    with opened(path) as file:
        for axis in ["xdirection"] + ["ydirection"] * ("ydirection" in file):
            arrays = group(file, axis)
            names = next((n for n in (parameters, states, list(checkpoint.weights)) if len(n) == len(arrays)), None)
            if names is None:
                raise BadInput(
                    f"{path}: {axis} has {len(arrays)} arrays, the checkpoint {len(parameters)} parameters and "
                    f"{len(checkpoint.weights)} entries; give the checkpoint that it was made for"
                )
            direction = {}
            for number, name in enumerate(names):
                weight = checkpoint.weights[name]
                array = dataset(arrays, str(number), most=8 * weight.numel())
                if array.shape != tuple(weight.shape) or array.dtype.kind not in "fiu":
                    raise BadInput(
                        f"{path}: array {number} of {axis} has shape {array.shape}, {name} {tuple(weight.shape)}; "
                        "give the checkpoint that it was made for"
                    )
                direction[name] = torch.from_numpy(np.asarray(array[...])).to(weight.dtype)
            moved = [n for n in direction if n.endswith(BUFFERS[:2]) and direction[n].any()]
            if moved:
                notes.append(f"{axis} moves {len(moved)} running statistics, which is left out: {moved[0]}, …")
            direction = {name: direction[name] for name in parameters}
            directions.append(reordered(direction) if _reordered(checkpoint) else direction)
    return directions, notes


def write_directions(directions: Sequence[Weights], path: Path, checkpoint: Checkpoint) -> list[str]:
    """Directions of ours, the first two, as that code has them, in the order of the checkpoint's own file.

    Raises
    ------
    BadInput
        They are of another network.
    """
    notes = [f"{len(directions)} directions: the first two are written"] if len(directions) > 2 else []
    parameters = {name: checkpoint.weights[name] for name in _parameters(checkpoint.weights)}
    arrays: dict[str, np.ndarray] = {}
    for axis, direction in zip(("xdirection", "ydirection"), directions, strict=False):
        if unknown := direction.keys() - parameters.keys():
            raise BadInput(f"a direction moves {min(unknown)}, which the checkpoint has not; give its own checkpoint")
        whole = {name: direction.get(name, torch.zeros_like(w)) for name, w in parameters.items()}
        if wrong := [name for name, d in whole.items() if d.shape != parameters[name].shape]:
            raise BadInput(f"a direction has another shape than the checkpoint at {wrong[0]}; give its own checkpoint")
        if _reordered(checkpoint):
            whole = reordered(whole, back=True)
        arrays |= {f"{axis}/{number}": d.float().numpy() for number, d in enumerate(whole.values())}
    _create(path, arrays)
    return notes


def _create(path: Path, arrays: Mapping[str, np.ndarray], results: Results | None = None) -> None:
    with h5py.File(path, "w", locking=False) as file:
        for name, array in arrays.items():
            file[name] = array
            if name.endswith(("_loss", "_acc")):
                file[name].attrs["missing"] = "-1: not measured yet"
        if results is not None:
            file["converted"] = described(results)  # no attribute, which may not be longer than 64 kB


def _parameters(weights: Mapping[str, Tensor]) -> list[str]:
    return [name for name in weights if not name.endswith(BUFFERS)]


def _reordered(checkpoint: Checkpoint) -> bool:
    """Whether the weights have their channels in another order than in their file."""
    return not checkpoint.format and padded(checkpoint.arguments)
