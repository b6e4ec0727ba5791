"""A results file as arrays, read by anyone at any time, and never silently wrong.

A file may come from anywhere. It is taken only if it is what `landscape.table` writes: labelled arrays in the file
itself, in one piece each. What it is not, or no longer is, ends with one line: HDF5 is given no file whose seal
is broken, and nobody is given values of a row that are not those that were written.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from landscape.apart import survives
from landscape.checksum import sealed, sums
from landscape.errors import BadInput
from landscape.labelled import Odd, labelled

__all__ = ["FLAGS", "FORMAT", "Results", "attempt", "damaged", "load", "read"]

FORMAT = 2  # 1: without seal and checksums

# Derived variables that vouch for a row that is not done.
FLAGS = ("interpolated", "spared")

# What arrays and attributes hold, by their names, where files of ours have them. Other arrays hold no texts.
TEXTS = ("block", "moment", "variant")
TEXTS_OR_NUMBERS = ("checkpoint", "kind", "name", "network")
TRUTHS = ("done", *FLAGS, "converged", "deleted", "repeated")
NUMBERS = ("loss", "loss_se", "accuracy", "examples")
AXES = ("x", "y", "z")
HELD = {TEXTS: "O", TEXTS_OR_NUMBERS: "iufO", TRUTHS: "b", NUMBERS: "iuf"}  # kinds as of NumPy's types
SAID = (
    *("batchnorm", "checkpoint", "data", "device", "directions", "dtype", "end", "kind", "lesion", "loss", "network"),
    *("second_split", "split"),
)
COUNTED = ("captured", "classes", "seed")

LOOKS = 3  # at a file that another host may be writing
PAUSE = 0.3  # seconds between them


class Contents(dict):
    """What a file holds, by name; what it does not hold is the file's fault."""

    def __init__(self, path: Path, what: str, found: dict):
        super().__init__(found)
        self.path, self.what = path, what

    def __missing__(self, name: str):
        raise BadInput(f"{self.path} has no {self.what} {name}, which is needed here; name another file")


@dataclass(frozen=True)
class Results:
    """A results file as arrays: everything a figure or a number is made from."""

    path: Path
    kind: str
    coordinates: dict[str, np.ndarray]
    variables: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]
    attributes: dict
    told: dict[str, dict] = field(default_factory=dict)  # of each variable: long_name, units
    crc: np.ndarray | None = None  # checksums of the rows, see `landscape.checksum.sums`
    summed: tuple[str, ...] = ()  # the variables that they are of

    def __getitem__(self, name: str) -> np.ndarray:
        return self.variables[name]

    @property
    def known(self) -> np.ndarray:
        """Where nothing is missing: measured, interpolated between what was measured, or not needed."""
        return np.logical_or.reduce([self["done"], *(self[name] for name in FLAGS if name in self.variables)])


def read(path: str | os.PathLike) -> Results:
    """A results file as arrays, whether finished or still filling.

    Raises
    ------
    BadInput
        There is no such file, it is not one of ours, or it is not as it was written.
    """
    for _ in range(LOOKS):
        results = load(path)
        wrong = damaged(results)
        if not wrong.any():
            return results
        time.sleep(PAUSE)  # what is read through a network may be of two moments
    raise BadInput(
        f"{path}: the values of {wrong.sum()} of {wrong.size} rows are not those that were written, the first "
        f"{place(results, wrong)}; take another copy, or have them measured again: python scripts/check.py --repair "
        f"{path}, then the command that made it"
    )


def load(path: str | os.PathLike) -> Results:
    """What `read` gives, without a look at the rows' checksums."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        whole = sealed(path)
        if whole is None and not survives(path):
            raise BadInput(f"{path} is damaged: HDF5 breaks down over it; take another copy")
        if whole is not False:
            results = attempt(path)
            if whole or results.crc is None:  # what has checksums has a seal
                return results
        raise BadInput(f"{path} is damaged, or another program has changed it; take another copy")
    except BadInput:
        raise
    except Exception as error:  # of every kind, depending on where HDF5 stumbles
        if not _is_hdf5(path):
            raise BadInput(f"{path} is not an HDF5 file; name another one") from error
        said = " ".join(str(error).split())[:120]
        if isinstance(error, Odd):
            raise BadInput(f"{path} is not what skipscape writes: {said}; name another one") from error
        raise BadInput(f"{path} is damaged ({said}); take another copy") from error


def attempt(path: Path) -> Results:
    """What `load` gives, from a file that HDF5 may break down over."""
    with h5py.File(path, "r", locking=False) as file:
        return _results(path, file)


def damaged(results: Results) -> np.ndarray:
    """Which rows have values that are not those that were written; bool, of the grid's shape.

    Of rows that are neither done nor vouched for by one of `FLAGS` nothing is asked.
    """
    wrong = np.zeros(results["done"].shape, bool)
    if results.crc is not None:
        rows = np.flatnonzero(results.known)
        found, there = sums([results[name] for name in results.summed], rows, wrong.size), results.crc.flat[rows]
        # Of what is not done, too, the sum may be that of measured values: they are written before their done.
        wrong.flat[rows] = (found != there) & (results["done"].flat[rows] | (~found != there))
    return wrong


def place(results: Results, rows: np.ndarray) -> str:
    """Where the first of some rows is: "at y = -1, x = 0.5"."""
    first = np.argwhere(rows)[0]
    names = results.dims["done"]
    told = ((name, results.coordinates[name][i]) for name, i in zip(names, first, strict=True))
    return "at " + ", ".join(f"{name} = {value}" for name, value in told)


def _results(path: Path, file: h5py.File) -> Results:
    """An open file as arrays, if it is one of ours."""
    if "kind" not in file.attrs or "done" not in file:
        raise BadInput(f"{path} is HDF5 but not a results file of skipscape; name another one")
    form = file.attrs.get("format", 0)
    if not isinstance(form, int | np.integer) or form > FORMAT:
        raise BadInput(f"{path} has file format {form}, this version reads up to {FORMAT}; update")
    # Another process may be writing: values are in the file before what vouches for them, so they are read after it.
    arrays, dims, attributes, told = labelled(file, first=("done", *FLAGS))
    along, crc, names = dims["done"], None, ()
    _typed(arrays, attributes)
    if form > 1 or "crc" in arrays:
        crc, names = arrays.pop("crc"), told.pop("crc")["of"]
        if dims.pop("crc") != along or any(dims[name][: len(along)] != along for name in names):
            raise Odd("its checksums are not of its rows")
    return Results(
        path,
        attributes["kind"],
        Contents(path, "coordinate", {name: array for name, array in arrays.items() if name not in dims}),
        Contents(path, "variable", {name: array for name, array in arrays.items() if name in dims}),
        Contents(path, "variable", dims),
        Contents(path, "attribute", attributes),
        told,
        crc,
        tuple(names),
    )


def _typed(arrays: dict[str, np.ndarray], attributes: dict) -> None:
    """See that everything is of the type that files of ours have under its name."""
    for name, array in arrays.items():
        kinds = next((kinds for names, kinds in HELD.items() if name in names), "biuf")
        if array.dtype.kind not in kinds:
            raise Odd(f"{name} has values of type {array.dtype}")
        if name in AXES and not np.isfinite(array).all():
            raise Odd(f"{name} has values that are not finite")
    for names, kind in ((SAID, str), (COUNTED, int | float | np.number)):
        for name in names:
            if name in attributes and not isinstance(attributes[name], kind):
                raise Odd(f"the attribute {name} is {attributes[name]}")


def _is_hdf5(path: Path) -> bool:
    with contextlib.suppress(Exception):
        return h5py.is_hdf5(path)
    return False
