"""Labelled arrays of an HDF5 file that may come from anywhere: arrays in the file itself, in one piece each.

HDF5 can do much more: point to other files, unpack what is packed, compose an array of others. None of that is needed
here, and each is a way to have this machine read what it should not, or more than it can hold. What
is read takes no more memory than the file is long, several times at most.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection
from typing import NamedTuple

import h5py
import numpy as np

__all__ = ["METADATA", "Labelled", "Odd", "labelled"]

OBJECTS = 1000  # arrays or attributes, at most: we write a few dozen
TEXTS = 10**5  # in an array of them, at most: they are read one by one
TEXT = 16  # bytes of where a text lies
LIST = 2**16  # bytes of an attribute, at most
MANY = 100  # texts in one, at most: they are read at once, and all may be the same long one

METADATA = ("long_name", "units", "of")


class Odd(ValueError):
    """The file holds what a file of labelled arrays does not."""


class Labelled(NamedTuple):
    """The contents of a file.

    Attributes
    ----------
    arrays : by name; texts are objects of type str
    dims : the names of the dimensions of each array that is not itself a coordinate
    attributes : of the file
    metadata : of each array those of its attributes that are in `METADATA`
    """

    arrays: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]
    attributes: dict
    metadata: dict[str, dict]


def labelled(file: h5py.File, first: Collection[str] = ()) -> Labelled:
    """Read a whole file.

    Parameters
    ----------
    file : open
    first : arrays to be read before the others

    Raises
    ------
    Odd
        It holds something else. HDF5 has errors of its own for what it cannot read.
    """
    if max(len(file), len(file.attrs)) > OBJECTS:
        raise Odd(f"it holds more than {OBJECTS} objects")
    size = os.fstat(file.id.get_vfd_handle()).st_size
    datasets = {name: _dataset(file, name, size) for name in file}
    scales = {name: dataset.shape for name, dataset in datasets.items() if dataset.is_scale}
    dims = {name: _dims(dataset, scales) for name, dataset in datasets.items() if name not in scales}
    arrays = {name: _array(datasets[name], size) for name in sorted(datasets, key=lambda name: name not in first)}
    return Labelled(
        {name: arrays[name] for name in datasets},
        dims,
        {name: _attribute(file, name) for name in file.attrs},
        {
            name: {key: _attribute(dataset, key) for key in METADATA if key in dataset.attrs}
            for name, dataset in datasets.items()
        },
    )


def _dataset(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    """An array that lies where it says, as large as it says, and of a type that we know."""
    name.encode()  # h5py lets pass what is no Unicode
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise Odd(f"{name} is a link to elsewhere")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise Odd(f"{name} is a {type(dataset).__name__.lower()}, not an array")
    how = dataset.id.get_create_plist()
    if how.get_layout() != h5py.h5d.CONTIGUOUS or how.get_external_count() or how.get_nfilters():
        raise Odd(f"{name} is not in one piece in the file itself")
    if not (dataset.dtype.kind in "biuf" or _is_text(dataset)):
        raise Odd(f"{name} has values of type {dataset.dtype}")
    claimed = math.prod(dataset.shape) * (TEXT if _is_text(dataset) else dataset.id.get_type().get_size())
    start = dataset.id.get_offset()
    if claimed != dataset.id.get_storage_size() or (claimed and (start is None or start + claimed > size)):
        raise Odd(f"{name} would have {claimed} bytes, which are not there")
    return dataset


def _dims(dataset: h5py.Dataset, scales: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    names = []
    for length, axis in zip(dataset.shape, dataset.dims, strict=True):
        name = axis[0].name.lstrip("/") if len(axis) == 1 else None
        if scales.get(name) != (length,):
            raise Odd(f"{dataset.name.lstrip('/')} has {length} values along {name or 'a dimension without a name'}")
        names.append(name)
    return tuple(names)


def _array(dataset: h5py.Dataset, size: int) -> np.ndarray:
    if dataset.dtype.kind == "b":
        return dataset[...].view(np.uint8) == 1  # a byte may be anything
    if not _is_text(dataset):
        return dataset[...]
    if dataset.size > TEXTS:
        raise Odd(f"{dataset.name} has {dataset.size} texts")
    texts, left = np.empty(dataset.shape, object), size
    for where in np.ndindex(dataset.shape):  # one by one: all may be the same long one
        texts[where] = dataset.asstr()[where]
        left -= len(texts[where])
        if left < 0:
            raise Odd(f"{dataset.name} has longer texts than the file")
    return texts


def _attribute(of: h5py.File | h5py.Dataset, name: str) -> object:
    """An attribute that is a number, a text, or a list of either."""
    stored = of.attrs.get_id(name)
    is_text = h5py.check_string_dtype(stored.dtype) is not None
    if stored.get_storage_size() > LIST or (is_text and math.prod(stored.shape) > MANY):
        raise Odd(f"the attribute {name} has more than {LIST} bytes, or more than {MANY} texts")
    if not is_text and stored.dtype.kind not in "biuf":
        raise Odd(f"the attribute {name} is neither text nor number")
    value = of.attrs[name]
    single = value.ravel().tolist() if isinstance(value, np.ndarray) else [value]
    if not all(isinstance(one, str | int | float | np.number | np.bool_) for one in single):
        raise Odd(f"the attribute {name} is neither text nor number")
    for one in single:
        str(one).encode()  # h5py lets pass what is no Unicode
    return value


def _is_text(dataset: h5py.Dataset) -> bool:
    kind = h5py.check_string_dtype(dataset.dtype)
    return kind is not None and kind.length is None
