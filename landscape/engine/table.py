"""A results file: the plan and the result in one HDF5 file.

Every row exists before the first is measured; ``done`` says which have been. NaN and infinity are
results, so no value of a variable means "missing".

How a file survives being killed at any moment: it is created whole under another name and then
renamed; from then on only the raw values of datasets that were allocated at creation change, in
place, so that HDF5's own structure is never half written. Values reach the disk before the
``done`` that vouches for them, and with them a checksum for each row, so that what the disk makes of
them later is noticed. Between two flushes the file is closed: anyone may read it.

The checksums are of what is measured, of rows that are done, and of the values that are interpolated in others.
What is derived from the rows has none: the same command derives it again, and mends what differs.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from landscape.engine.atomic import write_atomically
from landscape.engine.checksum import blank, row_checksums, seal
from landscape.engine.hdf5 import METADATA, UnexpectedContent
from landscape.engine.lock import Lock
from landscape.engine.results import FORMAT, Results, attempt, check_types, read
from landscape.errors import BadInput

__all__ = ["MEASURED", "UNSAID", "Results", "Table", "prepare", "read", "results_of", "title_before"]

# name: (dtype, value before it is measured, what readers show beside it); where a row's value is an array, then also
# the names of its dimensions
MEASURED = {
    "loss": ("f8", np.nan, {"long_name": "loss, mean per example", "units": "nats"}),
    "loss_se": ("f8", np.nan, {"long_name": "standard error of the loss over examples", "units": "nats"}),
    "accuracy": ("f8", np.nan, {"long_name": "accuracy", "units": "1"}),
    "examples": ("i8", 0, {"long_name": "examples measured", "units": "1"}),
}

# Facts about who measured, not about what was measured: a resumed run may differ in them.
INFORMATIVE = ("command", "dtype_because", "version_skipscape", "version_torch", "version_numpy")
UNSAID = {"estimator": "mean"}  # settings of files that do not say them
OWN = ("format", "seal")  # facts about the file itself
# Facts of the data that their digest shows too, and that not all versions write, or count alike.
DIGESTED = ("inputs", "classes")
FOLLOWING = ("cosine",)  # what follows from settings, besides digests
NEAR = 1000  # rows: what is written further apart than so many is not written as one; a write of few costs as much
OPEN = (20, 4)  # the bytes in which HDF5, of its earliest format, notes that somebody has the file open to write


@dataclass
class Table:
    """What rank 0 holds of a results file while it fills.

    Attributes
    ----------
    path : Path
        None for a table in memory, of which nothing is ever written.
    points : ndarray, shape (rows, k)
        What is measured at each row; the engine hands these to the function.
    values : dict of ndarray, each of the file's grid shape, or that and the shape of one row's value
    done : ndarray of bool, of the grid shape
    derived : dict of ndarray, of the grid shape
        What is worked out from all values in the end, see `derive`.
    crc : ndarray of uint32, of the grid shape
        Checksums of the rows; None in memory, and in a file that was begun without.
    lock : Lock
        Of the job that may write the file; None if nobody asks.
    outline : Results
        Of a table in memory what its results are besides the values, of which it has the table's own arrays.
    """

    path: Path | None
    points: np.ndarray
    values: dict[str, np.ndarray]
    done: np.ndarray
    derived: dict[str, np.ndarray] = field(default_factory=dict)
    crc: np.ndarray | None = None
    lock: Lock | None = None
    outline: Results | None = None

    def __post_init__(self) -> None:
        self._unwritten: set[int] = set()  # indices along the first axis
        self._unsummed: set[int] = set()  # rows
        self._there = None if self.path is None else _identity(self.path)
        self._done_there = self.done.copy()

    def __len__(self) -> int:
        return self.done.size

    def remaining(self) -> np.ndarray:
        """Rows not yet measured, in order."""
        return np.flatnonzero(~self.done.ravel())

    def record(self, row: int, measurement: Mapping[str, float]) -> None:
        """Keep one row's measurement; `flush` brings it to the disk."""
        if missing := self.values.keys() - measurement.keys():
            raise BadInput(f"row {row} was measured without {', '.join(sorted(missing))}; give that too")
        cell = np.unravel_index(row, self.done.shape)
        for name, array in self.values.items():
            try:
                if measurement[name] is None:
                    raise TypeError
                array[cell] = measurement[name]
            except (TypeError, ValueError) as error:
                kind = f"a {type(measurement[name]).__name__}"
                raise BadInput(f"{name} of row {row} is {kind}, which is no such number; give one") from error
        self.done[cell] = True
        self._unwritten.add(row // (self.done.size // len(self.done)))
        self._unsummed.add(row)

    def derive(self, **arrays: np.ndarray) -> None:
        """Settle what follows from the measurements: derived variables, and values where nothing is measured."""
        for name, array in arrays.items():
            mine = (self.derived if name in self.derived else self.values)[name]
            if not np.array_equal(mine, array, equal_nan=True):  # a finished file is left alone
                mine[...] = array
                self._unwritten.update(range(len(self.done)))
        if self.crc is not None:
            rest = self.remaining()
            if (self.crc.flat[rest] != self._vouched(rest)).any():
                self._unsummed.update(rest.tolist())
                self._unwritten.update(range(len(self.done)))

    def flush(self) -> None:
        """Write what has been recorded since the last flush: values and checksums, then what vouches for them.

        In memory there is nothing to do.

        Raises
        ------
        BadInput
            The file cannot be written (gone, disk full, no permission), or is no longer this job's to write.
        """
        if self.path is None or not self._unwritten:
            return
        checked = {}
        if self.crc is not None:
            rows = np.array(sorted(self._unsummed), int)
            self.crc.flat[rows] = self._vouched(rows)
            checked = {"crc": self.crc}
        runs = _runs(sorted(self._unwritten), NEAR // max(1, self.done[0].size))
        try:
            if self.lock is not None:
                self.lock.check()
            # Another process may be reading: that is safe here, and a lock held by a dead job is no reason to stop.
            with h5py.File(self.path, "r+", locking=False) as file:
                self._check(file)
                for names in (self.values | checked, self.derived | {"done": self.done}):
                    for name, array in names.items():
                        dataset = file[name]
                        for start, stop in runs:
                            dataset[start:stop] = array[start:stop]
                    file.flush()
                    os.fsync(file.id.get_vfd_handle())
        except (OSError, RuntimeError) as error:  # h5py has both for a full disk
            raise BadInput(
                f"cannot write {self.path}: {_reason(error)}; what was flushed before is safe: "
                "mend the cause and run the same command again"
            ) from error
        self._unwritten.clear()
        self._unsummed.clear()
        self._done_there = self.done.copy()

    def _vouched(self, rows: np.ndarray) -> np.ndarray:
        return row_checksums(list(self.values.values()), rows, self.done)

    def _check(self, file: h5py.File) -> None:
        """See that what lies under this name is what was there at the last flush."""
        same = _identity(file) == self._there and "done" in file
        if not same or not np.array_equal(file["done"][...], self._done_there):
            raise BadInput(
                f"{self.path} was replaced or changed while this command was measuring into it; what was flushed "
                "before is in the file that was there; run the command again to go on with the one that is there now"
            )


def prepare(
    path: str | os.PathLike | None,
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
    """Create a results file, or take up the one that is there; or plan one that stays in memory.

    Parameters
    ----------
    path : path of the file; None to touch no disk, see `results_of`
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
    path = None if path is None else Path(path)
    given, derived = dict(given or {}), dict(derived or {})
    attributes = {"kind": kind, "format": FORMAT, **(attributes or {})}
    _check_names([*coordinates, *given, *measured, *derived, "done", "crc"])
    _check_given(dims, coordinates, given)
    shape = tuple(len(coordinates[d]) for d in dims)
    if len(points) != np.prod(shape):
        raise BadInput(f"there are {len(points)} rows for a grid of {shape}; give one for each of its cells")
    if path is not None and path.exists():
        return _take_up(path, points, coordinates, given, measured, derived, attributes)
    if path is not None and not path.parent.is_dir():
        raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")
    variables = {**measured, **derived}
    over = {name: (*dims, *(variable[3] if len(variable) > 3 else ())) for name, variable in variables.items()}
    values, worked_out = (
        {
            name: np.full([len(coordinates[d]) for d in over[name]], fill, np.dtype(dtype).newbyteorder("<"))
            for name, (dtype, fill, *_) in part.items()
        }
        for part in (measured, derived)
    )
    done = np.zeros(shape, bool)
    changing = {**values, **worked_out, "done": done}
    metadata = {name: variables[name][2] for name in (*measured, *derived)}
    metadata["done"] = {"long_name": "whether the row has been measured"}
    if path is None:
        all_dims = {**dict.fromkeys(changing, dims), **over}
        outline = _outline(coordinates, given, changing, all_dims, metadata, attributes)
        return Table(None, points, values, done, worked_out, outline=outline), []
    crc = changing["crc"] = np.zeros(shape, "<u4")
    metadata["crc"] = {
        "long_name": "CRC-32 of the row's number (int64) and its values, little-endian; inverted where not done",
        "of": [*measured],
    }
    image = io.BytesIO()  # of the file: HDF5 itself may break down over a disk that is full
    with h5py.File(image, "w", libver="earliest") as file:
        file.attrs["seal"] = blank(1 + sum(array.size > 0 for array in changing.values()))
        for name, array in coordinates.items():
            _create(file, name, array).make_scale(name)
        for name, (along, array) in given.items():
            _attach(file, _create(file, name, array), along)
        for name, array in changing.items():
            dataset = _create(file, name, array)
            dataset.attrs.update(metadata[name])
            _attach(file, dataset, over.get(name, dims))
        file.attrs.update(attributes)
        places = [(d.id.get_offset(), d.id.get_storage_size()) for d in map(file.get, changing) if d.size]
    with write_atomically(path, "mend that, or give another output file") as draft:
        draft.write_bytes(image.getbuffer())
        seal(draft, [OPEN, *places])
        try:
            attempt(draft)  # what cannot be read again is refused now, not after hours of measuring
        except UnexpectedContent as error:
            raise BadInput(f"{path} could not be read again: {error}; give another name, or other values") from error
    return Table(path, points, values, done, worked_out, crc), []


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not (isinstance(name, str) and name.isprintable() and name.strip(".") and "/" not in name):
            raise BadInput(f"a variable is called {name!r}; give it a name of letters, digits and _")
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadInput(f"two variables are called {twice[0]}; give one of them another name")


def _check_given(dims: Sequence[str], coordinates: Mapping, given: Mapping) -> None:
    """See that what is known beforehand is numbers or texts, in the shape that its dimensions have."""
    if lacking := [d for d in dims if d not in coordinates]:
        raise BadInput(f"there are no coordinates of {lacking[0]}; give them")
    for name, each in {**{d: ((d,), values) for d, values in coordinates.items()}, **given}.items():
        try:
            along, array = tuple(each[0]), np.asarray(each[1])
            shape = tuple(len(coordinates[d]) for d in along)
        except (TypeError, ValueError, LookupError) as error:
            raise BadInput(
                f"{name} is given as a {type(each).__name__}; give a pair: names of dimensions that have coordinates, "
                "and an array over them"
            ) from error
        if array.shape != shape:
            raise BadInput(f"{name} has the shape {array.shape}, and its dimensions {' '.join(along)} make it {shape}")
        if array.dtype.kind not in "biufUO" or (array.dtype.kind in "UO" and not all(map(_is_text, array.flat))):
            raise BadInput(f"{name} has values of type {array.dtype} that are neither numbers nor texts of UTF-8")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def results_of(table: Table) -> Results:
    """What a table of `prepare` holds by now: what `read` makes of its file, and in memory the same without a file.

    Parameters
    ----------
    table : Table
        Of `prepare`.

    Returns
    -------
    Results
        Copies of the values.
    """
    if table.path is not None:
        return read(table.path)
    assert table.outline is not None  # as `prepare` makes a table without a file
    return replace(table.outline, variables={name: array.copy() for name, array in table.outline.variables.items()})


def _outline(
    coordinates: Mapping, given: Mapping, changing: Mapping, dims: Mapping, metadata: Mapping, attributes: Mapping
) -> Results:
    """Results in memory, as they would be read from a file; those of `changing` are the arrays given."""
    coordinates = _stored(coordinates)
    variables = {**_stored({name: array for name, (_, array) in given.items()}), **changing}
    dims = {name: tuple(along) for name, along in {**{name: over for name, (over, _) in given.items()}, **dims}.items()}
    attributes = _stored({name: value for name, value in attributes.items() if name not in OWN})
    arrays = {**coordinates, **variables}
    try:
        check_types(attributes["kind"], arrays, attributes, coordinates.keys() | given.keys())
    except UnexpectedContent as odd:
        raise BadInput(f"a file of these results could not be read: {odd}; give another name, or other values") from odd
    metadata = {
        name: {key: value for key, value in metadata.get(name, {}).items() if key in METADATA} for name in arrays
    }
    kind, parts = attributes["kind"], (coordinates, variables, dims, attributes)
    coordinates, variables, dims, attributes = (dict(sorted(part.items())) for part in parts)
    return Results(None, kind, coordinates, variables, dims, attributes, metadata)


def _stored(contents: Mapping) -> dict:
    """Arrays and attributes as HDF5 gives them back: texts as objects of type str, numbers as NumPy's."""
    arrays = {name: np.array(value) for name, value in contents.items()}
    return {name: (array.astype(object) if array.dtype.kind == "U" else array)[()] for name, array in arrays.items()}


def _take_up(
    path: Path,
    points: np.ndarray,
    coordinates: Mapping,
    given: Mapping,
    measured: Mapping,
    derived: Mapping,
    attributes: Mapping,
) -> tuple[Table, list[str]]:
    """The table as far as an earlier run has filled it, if it is of the same measurement."""
    previous = read(path)
    if previous.kind != attributes["kind"]:
        raise _refusal(path, "kind", previous.kind, attributes["kind"])
    every = {**attributes, **previous.attributes}  # in our order: a seed before the digest that follows from it
    facts = [name for name in every if name.endswith("_digest") or name in FOLLOWING]
    warnings = _differences(path, [name for name in every if name not in facts], previous.attributes, attributes)
    arrays = {**previous.coordinates, **previous.variables}
    for name, array in {**coordinates, **{name: array for name, (_, array) in given.items()}}.items():
        before = arrays.get(name)
        if before is None or not _same(before, np.asarray(array)):
            raise _refusal(path, name, _brief(before), _brief(array))
    _differences(path, facts, previous.attributes, attributes)  # last: what they follow from tells more
    names = previous.summed or tuple(measured)  # in the order in which they are summed
    if {*names} != {*measured} or {**measured, **derived}.keys() - arrays.keys():
        there = ", ".join(previous.summed or previous.variables)
        raise _refusal(path, "variables", there, ", ".join({**measured, **derived}))
    values, worked_out = (
        {name: arrays[name].astype(np.dtype(part[name][0]).newbyteorder("<")) for name in order}
        for order, part in ((names, measured), (derived, derived))
    )
    return Table(path, points, values, arrays["done"], worked_out, previous.crc), warnings


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all values are the same, NaN at the same places too."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")


def _differences(path: Path, names: Sequence[str], before: Mapping, now: Mapping) -> list[str]:
    """A warning for each of these attributes that differs; refused if one must not."""
    warnings = []
    for name in names:
        there, here = (_plain(a.get(name, UNSAID.get(name, "nothing"))) for a in (before, now))
        if name in OWN or there == here or (there != there and here != here):
            continue
        if name in DIGESTED and _same_data(before, now, unsaid="nothing" in (there, here)):
            continue
        if name == "network" and there == title_before(here):  # the checkpoint's digest is compared besides
            continue
        if name not in INFORMATIVE:
            raise _refusal(path, name, there, here, _cause(name, before, now))
        if name != "command":
            warnings.append(f"{path} was begun with {name} {there}, this is {here}; going on")
    return warnings


def title_before(title: object) -> str:
    """What version 0.1 called a network that `landscape.networks.titled` names: without "preact-" and the arguments."""
    return str(title).removeprefix("preact-").partition(":")[0]


def _identity(file: h5py.File | Path) -> tuple:
    """What tells a file from another one that takes its name or its place."""
    if isinstance(file, Path):
        with h5py.File(file, "r", locking=False) as opened:
            return _identity(opened)
    return os.fstat(file.id.get_vfd_handle()).st_ino, file.attrs.get("seal")


def _refusal(path: Path, name: str, there: Any, here: Any, cause: str = "") -> BadInput:
    return BadInput(
        f"{path} holds another measurement: its {name} is {there}, this command's is {here}; "
        f"{cause}give another output file, or remove this one to start anew"
    )


def _same_data(there: Mapping, here: Mapping, unsaid: bool) -> bool:
    """Whether data are the same, or it is for their digest to say so: only one side says what they are."""
    one, other = (attributes.get("data_digest") for attributes in (there, here))
    return one is not None and other is not None and (unsaid or one == other)


def _cause(name: str, there: Mapping, here: Mapping) -> str:
    """Where a file does not say what was done to inputs, it was begun by a version that standardised them unasked."""
    if name != "data_digest" or "inputs" in there or "inputs" not in here:
        return ""
    if "standardised" in here["inputs"]:
        return f"it does not say what was done to its inputs, which are {here['inputs']} now; "
    return (
        "it was begun by an earlier version, which standardised inputs by the training split unasked "
        f"(now: {here['inputs']}); add --standardize to go on as it was begun, or "
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


def _runs(indices: list[int], near: int = 0) -> list[tuple[int, int]]:
    """Sorted indices as half-open runs: [1, 2, 3, 7] -> [(1, 4), (7, 8)]; one run where at most `near` lie between."""
    cuts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(indices)) if b - a - 1 > near), len(indices)]
    return [(indices[a], indices[b - 1] + 1) for a, b in pairwise(cuts)]


def _plain(value: Any) -> Any:
    """An attribute as a Python scalar or list, so that both sides of a comparison look alike."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _brief(array: Any) -> str:
    if array is None:
        return "absent"
    array = np.asarray(array)
    if array.ndim == 1 and array.size and array.dtype.kind == "f":
        return f"{array.size} values from {array[0]:g} to {array[-1]:g}"
    if array.ndim == 1 and array.size:
        return f"{array.size} from {array[0]} to {array[-1]}"
    return f"an array of shape {array.shape} (digest differs)"


def _reason(error: OSError | RuntimeError) -> str:
    """What the system says of it, which HDF5 hides in a long line."""
    said = re.search(r"errno = (\d+)", str(error))
    number = int(said[1]) if said else getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).splitlines()[0]
