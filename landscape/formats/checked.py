"""HDF5 files of strangers: what is read lies in the file itself, is made of numbers or text, and is not too large."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py

from landscape.engine import table
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["dataset", "group", "opened", "results"]

MOST = 2**28  # bytes of one array; a file of a few kB can claim any size
NEEDED = {"surface": ("loss",), "trajectory": ("alpha", "beta", "loss", "explained")}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file, open for reading.

    Raises
    ------
    BadInput
        There is none, it is not HDF5, or it is damaged where it is read.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise BadInput(f"{path} is not an HDF5 file; name another one") from error
    with file:
        try:
            yield file
        except BadInput:
            raise
        except (OSError, RuntimeError, KeyError, ValueError) as error:  # as h5py says it
            reason = " ".join(str(error).split())
            raise BadInput(f"{path} is damaged ({reason[:120]}); make it anew") from error


def dataset(parent: h5py.Group, name: str, most: int = MOST) -> h5py.Dataset:
    """An array in a file, not read yet.

    Parameters
    ----------
    parent : the file or a group in it
    most : bytes that it may have

    Raises
    ------
    BadInput
        It is missing, elsewhere, neither numbers nor text, or too large.
    """
    item = _inside(parent, name)
    where = f"{parent.file.filename}: {name}"
    if not isinstance(item, h5py.Dataset) or item.shape is None:
        raise BadInput(f"{where} is no array; name another file")
    if item.external or item.is_virtual:
        raise BadInput(f"{where} keeps its values in another file, which is not read; write them into this one")
    if item.dtype.kind not in "biuf" and not h5py.check_string_dtype(item.dtype):
        raise BadInput(f"{where} is neither numbers nor text; name another file")
    if item.size * item.dtype.itemsize > most:
        raise BadInput(f"{where} has {item.size:,} values, which is more than can be meant; name another file")
    return item


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group in a file; raises as `dataset`."""
    item = _inside(parent, name)
    if not isinstance(item, h5py.Group):
        raise BadInput(f"{parent.file.filename}: {name} is no group; name another file")
    return item


def results(path: Path) -> Results:
    """A results file of ours, as `landscape.engine.table.read` gives it, though a stranger may have made it."""
    file = table.read(path)
    for name in NEEDED.get(file.kind, ()):
        file[name]  # says what is missing
    return file


def _inside(parent: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
    link = parent.get(name, getlink=True)
    if link is None:
        raise BadInput(f"{parent.file.filename} has no {parent.name.rstrip('/')}/{name}; name another file")
    if not isinstance(link, h5py.HardLink):
        raise BadInput(f"{parent.file.filename}: {name} is a link, which is not followed; write what it leads to")
    return parent[name]
