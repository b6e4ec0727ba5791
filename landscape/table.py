"""A results file: the plan and the result in one HDF5 file.

Every row exists before the first is measured; ``done`` says which have been. NaN and infinity are
results, so no value of a variable means "missing".

How a file survives being killed at any moment: it is created whole under another name and then
renamed; from then on only the raw values of datasets that were allocated at creation change, in
place, so that HDF5's own structure is never half written. Values reach the disk before the
``done`` that vouches for them. Between two flushes the file is closed: anyone may read it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from landscape.errors import BadInput

__all__ = ["MEASURED", "Results", "Table", "prepare", "read"]

FORMAT = 1

# name: (dtype, value before it is measured, what readers show beside it); where a row's value is an array, then also
# the names of its dimensions
MEASURED = {
    "loss": ("f8", np.nan, {"long_name": "loss, mean per example", "units": "nats"}),
    "loss_se": ("f8", np.nan, {"long_name": "standard error of the loss over examples", "units": "nats"}),
    "accuracy": ("f8", np.nan, {"long_name": "accuracy", "units": "1"}),
    "examples": ("i8", 0, {"long_name": "examples measured", "units": "1"}),
}

# Facts about who measured, not about what was measured: a resumed run may differ in them.
INFORMATIVE = ("command", "version_skipscape", "version_torch", "version_numpy")


@dataclass
class Table:
    """What rank 0 holds of a results file while it fills.

    Attributes
    ----------
    path : Path
    points : ndarray, shape (rows, k)
        What is measured at each row; the engine hands these to the function.
    values : dict of ndarray, each of the file's grid shape, or that and the shape of one row's value
    done : ndarray of bool, of the grid shape
    derived : dict of ndarray, of the grid shape
        What is worked out from all values in the end, see `derive`.
    """

    path: Path
    points: np.ndarray
    values: dict[str, np.ndarray]
    done: np.ndarray
    derived: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._unwritten: set[int] = set()  # indices along the first axis

    def __len__(self) -> int:
        return self.done.size

    def remaining(self) -> np.ndarray:
        """Rows not yet measured, in order."""
        return np.flatnonzero(~self.done.ravel())

    def record(self, row: int, measurement: Mapping[str, float]) -> None:
        """Keep one row's measurement; `flush` brings it to the disk."""
        if missing := self.values.keys() - measurement.keys():
            raise ValueError(f"row {row} was measured without {', '.join(sorted(missing))}")
        cell = np.unravel_index(row, self.done.shape)
        for name, array in self.values.items():
            array[cell] = measurement[name]
        self.done[cell] = True
        self._unwritten.add(row // (self.done.size // len(self.done)))

    def derive(self, **arrays: np.ndarray) -> None:
        """Settle what follows from the measurements: derived variables, and values where nothing is measured."""
        for name, array in arrays.items():
            mine = (self.derived if name in self.derived else self.values)[name]
            if not np.array_equal(mine, array, equal_nan=True):  # a finished file is left alone
                mine[...] = array
                self._unwritten.update(range(len(self.done)))

    def flush(self) -> None:
        """Write what has been recorded since the last flush: first values, then ``done``.

        Raises
        ------
        BadInput
            The file cannot be written (gone, disk full, no permission).
        """
        if not self._unwritten:
            return
        runs = _runs(sorted(self._unwritten))
        try:
            # Another process may be reading: that is safe here, and a lock held by a dead job is no reason to stop.
            with h5py.File(self.path, "r+", locking=False) as file:
                for names in (self.values | self.derived, {"done": self.done}):
                    for name, array in names.items():
                        for start, stop in runs:
                            file[name][start:stop] = array[start:stop]
                    file.flush()
                    os.fsync(file.id.get_vfd_handle())
        except OSError as error:
            raise BadInput(
                f"cannot write {self.path}: {_reason(error)}; what was flushed before is safe: "
                "mend the cause and run the same command again"
            ) from error
        self._unwritten.clear()


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

    def __getitem__(self, name: str) -> np.ndarray:
        return self.variables[name]

    @property
    def known(self) -> np.ndarray:
        """Where nothing is missing: measured, interpolated between what was measured, or not needed."""
        return self["done"] | self.variables.get("interpolated", False) | self.variables.get("spared", False)


def prepare(
    path: str | os.PathLike,
    points: np.ndarray,
    *,
    kind: str,
    dims: Sequence[str],
    coordinates: Mapping[str, np.ndarray],
    given: Mapping[str, tuple[Sequence[str], np.ndarray]] | None = None,
    measured: Mapping[str, tuple] = MEASURED,
    derived: Mapping[str, tuple] | None = None,
    attributes: Mapping | None = None,
) -> tuple[Table, list[str]]:
    """Create a results file, or take up the one that is there.

    Parameters
    ----------
    path : path of the file
    points : ndarray, shape (rows, k)
        One row for each cell of the grid over `dims`, in C order.
    kind : "surface", "lesion", …
    dims : the dimensions that are measured over, slowest first, e.g. ``("y", "x")``
    coordinates : 1-D array for each dimension of the file
    given : variables that are known beforehand, name -> (their dimensions, values)
    measured : variables to fill over `dims`; see `MEASURED`
    derived : variables over `dims` that follow from them; in the same form
    attributes : provenance. What is not in `INFORMATIVE` must agree with the file's.

    Returns
    -------
    Table, and warnings: one line for each informative attribute (a version, say) that differs.

    Raises
    ------
    BadInput
        The folder does not exist, the file is not a results file, or it holds another measurement.
    """
    path = Path(path)
    given, derived = dict(given or {}), dict(derived or {})
    attributes = {"kind": kind, "format": FORMAT, **(attributes or {})}
    shape = tuple(len(coordinates[d]) for d in dims)
    if len(points) != np.prod(shape):
        raise ValueError(f"{len(points)} points for a grid of {shape}")
    if path.exists():
        return _take_up(path, points, coordinates, given, measured, derived, attributes)
    if not path.parent.is_dir():
        raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")
    variables = {**measured, **derived}
    over = {name: (*dims, *(variable[3] if len(variable) > 3 else ())) for name, variable in variables.items()}
    values, worked_out = (
        {
            name: np.full([len(coordinates[d]) for d in over[name]], fill, dtype)
            for name, (dtype, fill, *_) in part.items()
        }
        for part in (measured, derived)
    )
    table = Table(path, points, values, np.zeros(shape, bool), worked_out)
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise BadInput(f"cannot write in {path.parent}: {_reason(error)}") from error
    try:
        with h5py.File(draft, "w", locking=False) as file:
            for name, array in coordinates.items():
                _create(file, name, array).make_scale(name)
            for name, (along, array) in given.items():
                _attach(file, _create(file, name, array), along)
            for name, array in (values | worked_out).items():
                dataset = _create(file, name, array)
                dataset.attrs.update(variables[name][2])
                _attach(file, dataset, over[name])
            _attach(file, _create(file, "done", table.done), dims)
            file["done"].attrs["long_name"] = "whether the row has been measured"
            file.attrs.update(attributes)
            file.flush()
            os.fsync(file.id.get_vfd_handle())
        os.chmod(draft, 0o666 & ~_umask())  # mkstemp makes private files; results are for sharing
        os.replace(draft, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
    return table, []


def read(path: str | os.PathLike) -> Results:
    """A results file as arrays, whether finished or still filling.

    Raises
    ------
    BadInput
        There is no such file, or it is not one of ours.
    """
    path = Path(path)
    with _open(path) as file:
        datasets = {name: file[name] for name in file}
        scales = {name for name, dataset in datasets.items() if dataset.is_scale}
        arrays = {name: d.asstr()[...] if h5py.check_string_dtype(d.dtype) else d[...] for name, d in datasets.items()}
        names = {
            name: tuple(axis[0].name.lstrip("/") for axis in d.dims)
            for name, d in datasets.items()
            if name not in scales
        }
        attributes = dict(file.attrs)
        shown = ("long_name", "units")
        told = {name: {key: d.attrs[key] for key in shown if key in d.attrs} for name, d in datasets.items()}
    return Results(
        path,
        attributes["kind"],
        {name: arrays[name] for name in arrays if name in scales},
        {name: arrays[name] for name in arrays if name not in scales},
        names,
        attributes,
        told,
    )


@contextlib.contextmanager
def _open(path: Path):
    """One of our files, open for reading whoever else has it."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise BadInput(f"{path} is not an HDF5 file; name another one") from error
    with file:
        if "kind" not in file.attrs or "done" not in file:
            raise BadInput(f"{path} is HDF5 but not a results file of skipscape; name another one")
        if file.attrs.get("format", 0) > FORMAT:
            raise BadInput(f"{path} has file format {file.attrs['format']}, this version reads up to {FORMAT}; update")
        yield file


def _take_up(path, points, coordinates, given, measured, derived, attributes) -> tuple[Table, list[str]]:
    """The table as far as an earlier run has filled it, if it is of the same measurement."""
    found = read(path)
    if found.kind != attributes["kind"]:
        raise _refusal(path, "kind", found.kind, attributes["kind"])
    warnings = []
    for name in {**attributes, **found.attributes}:  # in our order: a seed before the digest that follows from it
        there, here = (_plain(a.get(name, "nothing")) for a in (found.attributes, attributes))
        if there == here or (there != there and here != here):
            continue
        if name not in INFORMATIVE:
            raise _refusal(path, name, there, here)
        if name != "command":
            warnings.append(f"{path} was begun with {name} {there}, this is {here}; going on")
    arrays = {**found.coordinates, **found.variables}
    for name, array in {**coordinates, **{name: array for name, (_, array) in given.items()}}.items():
        there = arrays.get(name)
        if there is None or not np.array_equal(there, array):
            raise _refusal(path, name, _brief(there), _brief(array))
    if {**measured, **derived}.keys() - arrays.keys():
        raise _refusal(path, "variables", ", ".join(found.variables), ", ".join({**measured, **derived}))
    values, worked_out = (
        {name: arrays[name].astype(dtype) for name, (dtype, *_) in part.items()} for part in (measured, derived)
    )
    return Table(path, points, values, arrays["done"].astype(bool), worked_out), warnings


def _refusal(path, name, there, here) -> BadInput:
    return BadInput(
        f"{path} holds another measurement: its {name} is {there}, this command's is {here}; "
        "give another output file, or remove this one to start anew"
    )


def _create(file: h5py.File, name: str, array: np.ndarray) -> h5py.Dataset:
    """A dataset whose place in the file is settled now, and that carries no clock time."""
    array = np.asarray(array)
    if array.dtype.kind in "UO":
        array = array.astype(h5py.string_dtype())
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.CONTIGUOUS)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_obj_track_times(False)
    return file.create_dataset(name, data=array, dcpl=creation)


def _attach(file: h5py.File, dataset: h5py.Dataset, dims: Sequence[str]) -> None:
    for axis, name in enumerate(dims):
        dataset.dims[axis].attach_scale(file[name])


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """Sorted indices as half-open runs: [1, 2, 3, 7] -> [(1, 4), (7, 8)]."""
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(indices)) if b != a + 1), len(indices)]
    return [(indices[a], indices[b - 1] + 1) for a, b in pairwise(cuts)]


def _plain(value):
    """An attribute as a Python scalar or list, so that both sides of a comparison look alike."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _brief(array) -> str:
    if array is None:
        return "absent"
    array = np.asarray(array)
    if array.ndim == 1 and array.size and array.dtype.kind == "f":
        return f"{array.size} values from {array[0]:g} to {array[-1]:g}"
    if array.ndim == 1 and array.size:
        return f"{array.size} from {array[0]} to {array[-1]}"
    return f"an array of shape {array.shape} (digest differs)"


def _reason(error: OSError) -> str:
    return error.strerror or str(error).splitlines()[0]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
