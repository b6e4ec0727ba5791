"""Results as a tidy table for pandas, R or a spreadsheet, and as plain NumPy arrays."""

from __future__ import annotations

import csv
import json
import zipfile
from itertools import product
from pathlib import Path

import numpy as np

from landscape.table import Results

__all__ = ["columns", "described", "write_csv", "write_npz"]


def columns(results: Results) -> tuple[dict[str, np.ndarray], list[str]]:
    """One column a coordinate, then one a variable, over all points that are measured.

    Returns
    -------
    The columns, and the names of variables that are not over these points.

    Notes
    -----
    Rows are in C order of the grid. A set of blocks (or of anything else with a name) is one column that names its
    members, with spaces between, so that a table is as wide for 54 blocks as for 3, can be read, and split again;
    nothing in it is the empty set. A second one has their numbers, from 1, as in figures. Other variables with further
    dimensions are one column for each label.
    """
    over = results.dims["done"]
    axes = [results.coordinates[name] for name in over]
    found = {name: grid.ravel() for name, grid in zip(over, np.meshgrid(*axes, indexing="ij"), strict=True)}
    left = []
    for name, array in results.variables.items():
        own = [d for d in results.dims[name] if d in over]
        more = [d for d in results.dims[name] if d not in over]
        if not own:
            left.append(name)
            continue
        # Its own dimensions first, in the order of the rows, and repeated along those that it has not.
        own.sort(key=over.index)
        array = array.transpose([results.dims[name].index(d) for d in [*own, *more]])
        array = np.expand_dims(array, [over.index(d) for d in over if d not in own])
        further = array.shape[len(over) :]
        array = np.broadcast_to(array, [*map(len, axes), *further]).reshape(len(found[over[0]]), -1)
        labels = [",".join(map(str, label)) for label in product(*(results.coordinates[d] for d in more))]
        if not more:
            found[name] = array[:, 0]
        elif array.dtype == bool and results.coordinates[more[0]].dtype.kind == "O":
            for column, told in {name: labels, f"{name}_number": range(1, len(labels) + 1)}.items():
                found[column] = np.array([" ".join(map(str, np.compress(row, told))) for row in array], object)
        else:
            found |= {f"{name}[{label}]": column for label, column in zip(labels, array.T, strict=True)}
    return found, left


def described(results: Results) -> str:
    """Attributes and dimensions as JSON."""
    plain = {name: getattr(value, "tolist", lambda value=value: value)() for name, value in results.attributes.items()}
    dimensions = {name: list(dims) for name, dims in results.dims.items()}
    return json.dumps({"attributes": plain, "dimensions": dimensions}, ensure_ascii=False, default=str)


def write_csv(results: Results, path: Path) -> list[str]:
    """One row a point: coordinates first, numbers in full, ``nan``, ``inf`` and ``-inf`` as such."""
    table, left = columns(results)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(column.tolist() for column in table.values()), strict=True))
    over = ", ".join(results.dims["done"])
    return [f"{', '.join(left)} left out, not being over ({over}); an .npz file has all"] if left else []


def write_npz(results: Results, path: Path) -> list[str]:
    """Every array under its name, and in ``about`` attributes and dimensions as JSON; nothing is pickled."""
    arrays = {**results.coordinates, **results.variables, "about": np.array(described(results))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            # By a name without a date, so that the same results are the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                array = array.astype(str) if array.dtype.kind == "O" else array
                np.lib.format.write_array(file, array, allow_pickle=False)
    return []
