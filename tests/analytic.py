"""Results files of analytic surfaces, which several test files make numbers of."""

import math
from pathlib import Path

import numpy as np

from landscape.analysis.comparison import compare
from landscape.engine.table import Results, prepare, results_of

X, Y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 41)
XX, YY = np.meshgrid(X, Y)
BOWL = XX**2 + YY**2
SETTINGS = {"data": "analytic", "split": "train", "loss": "cross_entropy", "classes": 10, "seed": 0}
SURFACE = {"directions": "random, filter-normalised; parameters of one dimension not moved", "batchnorm": "frozen"}


def write(path, kind, dims, coordinates, values, given=None, **attributes):
    """Results without a network, in memory if there is no path: cells are recorded as the commands do, `interpolated`
    ones derived."""
    shape = tuple(len(coordinates[name]) for name in dims)
    values = {name: np.broadcast_to(value, shape) for name, value in values.items()}
    derived = {name: values.pop(name) for name in ("interpolated",) if name in values}
    plan = {
        "kind": kind,
        "dims": dims,
        "coordinates": coordinates,
        "given": given,
        "measured": {name: (value.dtype, np.zeros(1, value.dtype)[0], {}) for name, value in values.items()},
        "derived": {name: (bool, False, {}) for name in derived},
    }
    network = {"network": "net", "checkpoint": "c0ffee", **SETTINGS, **attributes}
    table, _ = prepare(path, np.zeros((math.prod(shape), len(dims))), **plan, attributes=network)
    left_out = derived.get("interpolated", np.zeros(shape, bool)).ravel()
    flat = {name: value.ravel() for name, value in values.items()}
    for row in np.flatnonzero(~left_out):
        table.record(row, {name: value[row] for name, value in flat.items()})
    table.derive(**(values if left_out.any() else {}), **derived)
    table.flush()
    return results_of(table)


def maker(tmp_path):
    """Makes a surface: of a loss over ([repeat,] y, x), or over ([repeat,] x) if `y` is None."""

    def make(field, x=X, y=Y, *, error=0.0, se=1e-3, more=None, **attributes):
        axes = {"x": x} if y is None else {"y": y, "x": x}
        if np.ndim(field) > len(axes):
            axes = {"repeat": np.arange(len(field)), **axes}
        values = {
            "loss": field,
            "loss_se": se,
            "accuracy": 1 - np.asarray(error) / 100,
            "examples": 100,
            **(more or {}),
        }
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        return write(path, "surface", tuple(axes), axes, values, **{**SURFACE, **attributes})

    return make


def numbers(*files, **levels):
    """What the first network's lines say, by name."""
    return {line.name: line.estimates[0] for line in compare(files, **levels).lines}


def values(*files, **levels):
    return {name: estimate.mean for name, estimate in numbers(*files, **levels).items()}


def lesions(path, deleted, error, more=None, **attributes):
    coordinates = {"trial": np.arange(len(deleted)), "block": np.array([f"b{i}" for i in range(deleted.shape[1])])}
    values = {"loss": 1.0, "loss_se": 0.1, "accuracy": 1 - np.asarray(error) / 100, "examples": 10}
    plan = {"deleted": (("trial", "block"), deleted), **(more or {})}
    return write(path, "lesion", ("trial",), coordinates, values, plan, **{**attributes, "split": "test"})


def bowls(*widths):
    return np.stack([1 + (XX / w) ** 2 + (YY / w) ** 2 for w in widths])


def other(make, *arguments, **options):
    return make(*arguments, network="other", checkpoint="decaf", **options)


def file_of(value, se, alone=(0.1, 0.2, 0.0)):
    """A results file of three blocks, with these interactions of the pairs 01, 02, 12."""
    deleted = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
    nothing, n = [np.nan] * 4, len(deleted)
    error = [0.05, *(0.05 + a for a in alone), 0.5, 0.5, 0.5]
    variables = {
        "deleted": deleted,
        "done": np.ones(n, bool),
        "accuracy": 1 - np.array(error),
        "loss": np.ones(n),
        "error_interaction": np.array(nothing + list(value)),
        "error_interaction_se": np.array(nothing + list(se)),
        "interaction": np.array([*nothing, 1.0, 2.0, 3.0]),
        "interaction_se": np.array([*nothing, 0.1, 0.1, 0.1]),
    }
    return Results(Path("a.h5"), "lesion", {"block": np.array(["a", "b", "c"])}, variables, {}, {})
