"""A results file as arrays, read by anyone at any time, and never silently wrong.

A file may be damaged, half copied or another program's. It is taken only if it is what `landscape.engine.table` writes;
else reading it ends with one line: HDF5 is given no file whose seal is broken, and nobody is given values of a row that
are not those that were written. Files of version 0.1 have neither seal nor checksums: damage of their structure is
noticed, that of their values cannot be.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, KeysView, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

import h5py
import numpy as np

from landscape.engine.checksum import sealed, sums
from landscape.engine.columns import columns
from landscape.engine.hdf5 import UnexpectedContent, read_all
from landscape.engine.notebook import as_html
from landscape.errors import BadInput

if TYPE_CHECKING:
    import pandas
    import xarray

__all__ = ["FLAGS", "FORMAT", "Results", "attempt", "check_types", "damaged", "load", "read"]

FORMAT = 2  # 1: without seal and checksums

# Derived variables that vouch for a row that is not done.
FLAGS = ("interpolated", "spared")

# What arrays and attributes hold, by their names, where files of ours have them. Coordinates, and what is known of them
# before anything is measured, hold texts or numbers; what is measured holds numbers.
TEXTS = ("block", "moment", "variant")
TRUTHS = ("done", *FLAGS, "converged", "deleted", "repeated")
NUMBERS = ("loss", "loss_se", "accuracy", "examples")
AXES = ("x", "y", "z")
# Coordinates, and variables known beforehand, that are numbers in the files that we draw; others may be texts, with
# which an experiment of anyone's own names its layers, say.
COUNTS = {
    "basin": ("direction", "radius"),
    "critical": ("epoch", "learning_rate"),
    "curvature": ("repeat",),
    "density": ("probe", "step"),
    "eigenvalues": ("eigenpair",),
    "flow": ("boundaries", "boundary", "depth", "network", "other", "quantile", "seed"),
    "identity": ("depth", "learning_rate", "seed"),
    "lesion": ("kendall_tau", "order", "swaps", "trial", "turn"),
    "paths": ("example", "length", "paths"),
    "reuse": ("source", "stage", "target"),
    "sharpness": ("rho", "trial"),
    "surface": ("repeat",),
    "trace": ("probe",),
    "trainings": ("depth", "seed"),
    "trajectory": ("alpha", "beta", "component", "distance", "explained", "explained_random_walk", "off_plane"),
}
EARLY = ("checkpoint", "kind", "name", "network", *TEXTS)  # that hold texts in files of the first format
ALWAYS = {("done", *FLAGS): "b", NUMBERS: "iuf"}  # kinds as of NumPy's types
HELD = {TEXTS: "O", TRUTHS: "b", NUMBERS: "iuf", AXES: "iuf"}  # in files of the kinds in `COUNTS`
SAID = (
    *("batchnorm", "checkpoint", "data", "device", "directions", "dtype", "end", "kind", "lesion", "loss", "network"),
    *("second_split", "split"),
)
COUNTED = ("captured", "classes", "seed")
UNNAMED = ("", "1", "as the loss")  # units of a loss that has none of its own

LOOKS = 3  # at a file that another host may be writing
PAUSE = 0.3  # seconds between them


class Contents(dict):
    """What results hold, by name; what they do not hold is the fault of the results."""

    def __init__(self, source: str, what: str, contents: dict):
        super().__init__(contents)
        self.source, self.what = source, what

    def __missing__(self, name: str) -> NoReturn:
        raise BadInput(f"{self.source} has no {self.what} {name}, which is needed here; name another file")


@dataclass(frozen=True)
class Results:
    """Labelled arrays of one measurement: everything a figure or a number is made from.

    Attributes
    ----------
    path : Path, optional
        Of the file that they are from; None if they have never been in one.
    kind : str
        What was measured: "surface", "lesion", ….
    coordinates : dict of 1-D ndarray
        For each dimension.
    variables : dict of ndarray
        By name, also those of ``results["loss"]``.
    dims : dict of tuple of str
        The dimensions of each variable.
    attributes : dict
        Provenance.
    metadata : dict of dict
        Of each variable, its long_name and units.
    crc : ndarray, optional
        Checksums of the rows, see `landscape.engine.checksum.sums`; None where there are none.
    summed : tuple of str
        The variables that they are of.

    Examples
    --------
    >>> from landscape.engine.run import run
    >>> x = np.linspace(-1, 1, 3)
    >>> heights = lambda rows: ({"height": x**2} for (x,) in rows)
    >>> results = run(heights, x, dims=["x"], coordinates={"x": x}, quiet=True)
    >>> results["height"], results.dims["height"], float(results.isel(x=0)["height"])
    (array([1., 0., 1.]), ('x',), 1.0)
    """

    path: Path | None
    kind: str
    coordinates: dict[str, np.ndarray]
    variables: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]
    attributes: dict
    metadata: dict[str, dict] = field(default_factory=dict)
    crc: np.ndarray | None = None
    summed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = {"coordinates": "coordinate", "variables": "variable", "dims": "variable", "attributes": "attribute"}
        for name, what in names.items():
            object.__setattr__(self, name, Contents(self.source, what, getattr(self, name)))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.variables[name]

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __repr__(self) -> str:
        axes = ", ".join(f"{name}: {len(values)}" for name, values in self.coordinates.items())
        return f"<{self.kind} {self.path or 'in memory'} ({axes}) with {', '.join(self.variables)}>"

    def _repr_html_(self) -> str:
        return as_html(self)

    def keys(self) -> KeysView[str]:
        """Names of the variables.

        Returns
        -------
        KeysView of str
            As of a dict.
        """
        return self.variables.keys()

    @property
    def source(self) -> str:
        """What messages call these results: the path of their file, where they have one."""
        return "<results in memory>" if self.path is None else str(self.path)

    @property
    def network(self) -> str:
        """What the network is called, or else the file, or else the kind of results."""
        return str(self.attributes.get("network", self.kind if self.path is None else self.path.stem))

    def accuracy(self, split: str = "") -> np.ndarray:
        """The accuracy, as a fraction, NaN where it is not defined.

        Parameters
        ----------
        split : {"", "test_"}
            That of the second split for "test_".

        Returns
        -------
        float64 ndarray
            Over the dimensions of the loss.
        """
        name = f"{split}accuracy"
        return self[name] if name in self else np.full(self["done"].shape, np.nan)

    @property
    def has_accuracy(self) -> bool:
        """Whether accuracy is defined: whether any of what is measured has one, or could."""
        if "accuracy" not in self:
            return False
        measured = self["accuracy"][self["done"]]
        return not measured.size or bool(np.isfinite(measured).any())

    @property
    def unit(self) -> str:
        """What the loss is measured in: "nats" if it is the cross-entropy, else its own unit, or its name."""
        loss = str(self.attributes.get("loss", "cross_entropy"))
        units = str(self.metadata.get("loss", {}).get("units", ""))
        if units not in (*UNNAMED, "nats"):
            return units
        # Files of version 0.1 have "nats" for every loss.
        return "nats" if loss == "cross_entropy" and units != "as the loss" else loss

    @property
    def known(self) -> np.ndarray:
        """Where nothing is missing: measured, interpolated between what was measured, or not needed."""
        return np.logical_or.reduce([self["done"], *(self[name] for name in FLAGS if name in self.variables)])

    def isel(self, **indices: int | slice | Sequence[int]) -> Results:
        """A part of the results, by places along dimensions, such as ``isel(repeat=0, x=slice(10, 20))``.

        An integer takes its dimension away; a slice, or several integers, keep it. Checksums are left out.

        Parameters
        ----------
        **indices : int, slice or sequence of int
            Places along dimensions, by the dimension's name.

        Returns
        -------
        Results
            That part; it has no file.

        Raises
        ------
        BadInput
            There is no such dimension, or no such place along it.
        """
        coordinates, variables = dict(self.coordinates), dict(self.variables)
        dims = {name: self.dims[name] for name in variables}
        for dim, index in indices.items():
            if dim not in coordinates:
                raise BadInput(f"{self.source} has no dimension {dim}; it has {', '.join(coordinates)}")
            values = coordinates.pop(dim)
            try:
                places = np.arange(len(values))[index]
            except IndexError as error:
                raise BadInput(
                    f"{self.source} has {len(values)} places along {dim}, from 0; {index} is none"
                ) from error
            if places.ndim:
                coordinates[dim] = values[places]
            for name, over in dims.items():
                for axis in reversed([axis for axis, along in enumerate(over) if along == dim]):
                    variables[name] = variables[name].take(places, axis)
                dims[name] = over if places.ndim else tuple(along for along in over if along != dim)
        coordinates = {name: coordinates[name] for name in self.coordinates if name in coordinates}
        parts: dict[str, Any] = {"coordinates": coordinates, "variables": variables, "dims": dims}
        return replace(self, **parts, crc=None, summed=())

    def to_xarray(self) -> xarray.Dataset:
        """The results as xarray opens their file, but for the checksums of the rows.

        Returns
        -------
        xarray.Dataset
            With named dimensions, coordinates, and attributes.

        Raises
        ------
        BadInput
            xarray is not installed.
        """
        xarray = _optional("xarray")
        return xarray.Dataset(
            {name: (self.dims[name], array, self.metadata.get(name)) for name, array in self.variables.items()},
            {name: (name, array, self.metadata.get(name)) for name, array in self.coordinates.items()},
            self.attributes,
        )

    def to_dataframe(self) -> pandas.DataFrame:
        """A table with a row for each point: the columns of a .csv file, see `landscape.engine.columns`.

        Coordinates come first, then the variables. Sets of blocks are texts that name them; other variables with
        further dimensions have a column for each of their values, and those that are not over the points are left out.

        Returns
        -------
        pandas.DataFrame
            Without an index of its own.

        Raises
        ------
        BadInput
            pandas is not installed.
        """

        return _optional("pandas").DataFrame(columns(self)[0])


def read(path: str | os.PathLike) -> Results:
    """A results file as arrays, whether finished or still filling.

    Parameters
    ----------
    path : path
        Of a results file, ours or of version 0.1.

    Returns
    -------
    Results
        Rows that are not measured yet are those where ``done`` is False.

    Raises
    ------
    BadInput
        There is no such file, it is not one of ours, or it is not as it was written.

    Examples
    --------
    >>> from landscape.engine.run import run
    >>> x = np.linspace(-1, 1, 3)
    >>> heights = lambda rows: ({"height": x**2} for (x,) in rows)
    >>> _ = run(heights, x, dims=["x"], coordinates={"x": x}, out="heights.h5", quiet=True)
    >>> read("heights.h5")["height"]
    array([1., 0., 1.])
    """
    for _ in range(LOOKS):
        results = load(path)
        wrong = damaged(results)
        if not wrong.any():
            return results
        time.sleep(PAUSE)  # what is read through a network may be of two moments
    raise BadInput(
        f"{path}: the values of {wrong.sum()} of {wrong.size} rows are not those that were written, the first "
        f"{describe_row(results, wrong)}; take another copy, or have them measured again: python scripts/check.py "
        f"--repair {path}, then the command that made it"
    )


def load(path: str | os.PathLike) -> Results:
    """What `read` gives, without a look at the rows' checksums."""
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        whole = sealed(path)
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
        if isinstance(error, UnexpectedContent):
            raise BadInput(f"{path} is not what skipscape writes: {said}; name another one") from error
        raise BadInput(f"{path} is damaged ({said}); take another copy") from error


def attempt(path: Path) -> Results:
    """What `load` gives, without a look at the seal."""
    with h5py.File(path, "r", locking=False) as file:
        return _results(path, file)


def damaged(results: Results) -> np.ndarray:
    """Which rows have values that are not those that were written; bool, of the grid's shape.

    Of rows that are neither done nor vouched for by one of `FLAGS` nothing is asked.
    """
    wrong = np.zeros(results["done"].shape, bool)
    if results.crc is not None:
        rows = np.flatnonzero(results.known)
        computed, there = sums([results[name] for name in results.summed], rows, wrong.size), results.crc.flat[rows]
        # Of what is not done, too, the sum may be that of measured values: they are written before their done.
        wrong.flat[rows] = (computed != there) & (results["done"].flat[rows] | (~computed != there))
    return wrong


def describe_row(results: Results, rows: np.ndarray) -> str:
    """Where the first of some rows is: "at y = -1, x = 0.5"."""
    first = np.argwhere(rows)[0]
    names = results.dims["done"]
    values = ((name, results.coordinates[name][i]) for name, i in zip(names, first, strict=True))
    return "at " + ", ".join(f"{name} = {value}" for name, value in values)


def _results(path: Path, file: h5py.File) -> Results:
    """An open file as arrays, if it is one of ours."""
    if "kind" not in file.attrs or "done" not in file:
        raise BadInput(f"{path} is HDF5 but not a results file of skipscape; name another one")
    form = file.attrs.get("format", 0)
    if not isinstance(form, int | np.integer) or form > FORMAT:
        raise BadInput(f"{path} has file format {form}, this version reads up to {FORMAT}; update")
    # Another process may be writing: values are in the file before what vouches for them, so they are read after it.
    arrays, dims, attributes, metadata = read_all(file, first=("done", *FLAGS))
    along, crc = dims["done"], None
    names: Sequence[str] = ()
    if form > 1 or "crc" in arrays:
        crc, names = arrays.pop("crc"), metadata.pop("crc")["of"]
    texts = {*arrays} - {*names} if form > 1 else {*EARLY}
    check_types(attributes.get("kind"), arrays, attributes, texts)
    if crc is not None and (dims.pop("crc") != along or any(dims[name][: len(along)] != along for name in names)):
        raise UnexpectedContent("its checksums are not of its rows")
    return Results(
        path,
        attributes["kind"],
        {name: array for name, array in arrays.items() if name not in dims},
        {name: array for name, array in arrays.items() if name in dims},
        dims,
        attributes,
        metadata,
        crc,
        tuple(names),
    )


def _optional(package: str) -> ModuleType:
    """A package that only some users have."""
    try:
        return import_module(package)
    except ImportError as error:
        raise BadInput(f"{package} is not installed here: pip install 'skipscape[{package}]'") from error


def check_types(kind: object, arrays: dict[str, np.ndarray], attributes: dict, texts: Collection[str]) -> None:
    """See that everything is of the type that files of ours have under its name.

    Parameters
    ----------
    kind : of the file
    arrays, attributes : by name
    texts : names of the arrays that may hold texts, if nothing else is known of them

    Raises
    ------
    UnexpectedContent
        Something is not.
    """
    counts = COUNTS.get(kind) if isinstance(kind, str) else None
    ours, held = counts is not None, ALWAYS if counts is None else HELD
    for name, array in arrays.items():
        others = "biufO" if name in texts and name not in (counts or ()) else "biuf"
        kinds = next((kinds for names, kinds in held.items() if name in names), others)
        if array.dtype.kind not in kinds:
            raise UnexpectedContent(f"{name} has values of type {array.dtype}")
        if ours and name in AXES and not np.isfinite(array).all():
            raise UnexpectedContent(f"{name} has values that are not finite")
    for names, said in ((SAID, str), (COUNTED, int | float | np.number)):
        for name in names:
            if name in attributes and not isinstance(attributes[name], said):
                raise UnexpectedContent(f"the attribute {name} is {attributes[name]}")


def _is_hdf5(path: Path) -> bool:
    with contextlib.suppress(Exception):
        return h5py.is_hdf5(path)
    return False
