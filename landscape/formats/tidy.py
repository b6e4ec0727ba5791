"""Results as a tidy table for pandas, R or a spreadsheet, and as plain NumPy arrays."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np

from landscape.engine.columns import columns
from landscape.engine.results import Results

__all__ = ["described", "write_csv", "write_npz"]


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
