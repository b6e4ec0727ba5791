"""Read the labelled arrays of an HDF5 file, which may be damaged or another program's.

Only what `landscape.engine.table` writes is taken: arrays of numbers or texts, each in one piece in the file itself.
HDF5 believes what a file says of itself, so what would have it end the process, never come back or fill the memory over
a flipped bit or a hole is looked at first: kinds and sizes of arrays and attributes, and the heaps that hold texts.
A flipped bit in the list of an array's dimensions can still do so; files with a seal never come that far.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Collection
from typing import NamedTuple

import h5py
import numpy as np

__all__ = ["METADATA", "LabelledArrays", "UnexpectedContent", "read_all"]

TEXT = 16  # bytes that a text takes in an array; its letters lie in a heap
ATTRIBUTE = 2**16  # bytes, the most that one may have in HDF5's earliest format
METADATA = ("long_name", "units", "of")


class UnexpectedContent(ValueError):
    """The file holds what a file of labelled arrays does not."""


class LabelledArrays(NamedTuple):
    """The contents of a file, by name: texts are objects of type str, coordinates have no `dims`."""

    arrays: dict[str, np.ndarray]
    dims: dict[str, tuple[str, ...]]
    attributes: dict
    metadata: dict[str, dict]  # of each array those of its attributes that are in `METADATA`


def read_all(file: h5py.File, first: Collection[str] = ()) -> LabelledArrays:
    """Read a whole file.

    Parameters
    ----------
    file : open
    first : arrays to be read before the others

    Raises
    ------
    UnexpectedContent
        It holds something else. HDF5 has errors of its own for what it cannot read.
    """
    with mmap.mmap(file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ) as content:
        _check_heaps(content)
        datasets = {name: _dataset(file, name, len(content)) for name in file}
    # Not by `is_scale`: HDF5 2.0 frees its memory twice where the attribute is damaged.
    scales = {name: dataset.shape for name, dataset in datasets.items() if "CLASS" in dataset.attrs}
    dims = {name: _dims(dataset, scales) for name, dataset in datasets.items() if name not in scales}
    arrays = {name: _array(datasets[name]) for name in sorted(datasets, key=lambda name: name not in first)}
    return LabelledArrays(
        {name: arrays[name] for name in datasets},
        dims,
        {name: _attribute(file, name) for name in file.attrs},
        {name: {key: _attribute(d, key) for key in METADATA if key in d.attrs} for name, d in datasets.items()},
    )


def _check_heaps(content: mmap.mmap) -> None:
    """Refuse a heap with a hole: HDF5 goes from object to object by their sizes, and stays for ever at one of 0."""
    for heap in re.finditer(rb"GCOL\x01\0\0\0(.{8})", content, re.DOTALL):
        at, end = heap.end(), min(heap.start() + int.from_bytes(heap[1], "little"), len(content))
        while at + 16 <= end:
            number, size = (int.from_bytes(content[at + i : at + j], "little") for i, j in ((0, 2), (8, 16)))
            step = size + 16 if number else size  # number 0 is what is free, its own head included
            if step == 0:
                raise ValueError("its heap of texts has a hole")
            at += -(-step // 8) * 8


def _dataset(file: h5py.File, name: str, size: int) -> h5py.Dataset:
    """An array of a kind that we know, as large as it says, in the file itself."""
    name.encode()  # h5py lets pass what is no Unicode
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise UnexpectedContent(f"{name} is a {type(dataset).__name__.lower()}, not an array")
    if not (dataset.dtype.kind in "biuf" or _is_text(dataset.dtype)):
        raise UnexpectedContent(f"{name} has values of type {dataset.dtype}, neither numbers nor texts")
    claimed = dataset.size * (TEXT if _is_text(dataset.dtype) else dataset.id.get_type().get_size())
    start = dataset.id.get_offset()  # None where it is compressed, in chunks or in another file
    if claimed and (start is None or start + claimed > size or dataset.file != file):
        raise UnexpectedContent(f"the {claimed} bytes of {name} are not in one piece in the file itself")
    return dataset


def _dims(dataset: h5py.Dataset, scales: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    names = tuple(axis[0].name.lstrip("/") if len(axis) == 1 else "a dimension without a name" for axis in dataset.dims)
    for length, name in zip(dataset.shape, names, strict=True):
        if scales.get(name) != (length,):
            raise UnexpectedContent(f"{dataset.name.lstrip('/')} has {length} values along {name}")
    return names


def _array(dataset: h5py.Dataset) -> np.ndarray:
    if _is_text(dataset.dtype):
        return dataset.asstr()[...]
    return dataset[...].view(np.uint8) == 1 if dataset.dtype.kind == "b" else dataset[...]  # a byte may be anything


def _attribute(of: h5py.File | h5py.Dataset, name: str) -> object:
    """An attribute that is a number, a text, or a list of either."""
    stored = of.attrs.get_id(name)
    if stored.get_storage_size() > ATTRIBUTE or not (stored.dtype.kind in "biuf" or _is_text(stored.dtype)):
        raise UnexpectedContent(f"the attribute {name} is neither text nor number, or has more than {ATTRIBUTE} bytes")
    value = of.attrs[name]
    for each in np.ravel(value).tolist():
        str(each).encode()  # h5py lets pass what is no Unicode
    return value


def _is_text(dtype: np.dtype) -> bool:
    kind = h5py.check_string_dtype(dtype)
    return kind is not None and kind.length is None
