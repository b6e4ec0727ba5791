"""Arrays in .npz files, which are not trusted: what a header claims is compared with the bytes that there are."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from landscape.data.splits import blaming
from landscape.errors import BadInput
from landscape.memory import guard_memory

__all__ = ["array", "guard", "header", "members"]

# What packs itself a hundredfold is no set of images, but can fill the memory from a file of some kB.
RATIO, PACKED = 100, 2**26


def members(path: Path) -> list[str]:
    """The names of its arrays.

    Raises
    ------
    BadInput
        It is no such file, or cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BadInput(f"{path} is not a file; name an .npz file, or a folder with train/ and test/")
    with blaming(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise ValueError("it has two arrays of one name")
        return [name.removesuffix(".npy") for name in names]


def array(path: Path, name: str) -> np.ndarray:
    """An array of that name.

    Raises
    ------
    BadInput
        It is not what its header claims, or does not fit into the memory.
    """
    with blaming(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        shape, dtype = header(archive, name)
        guard(shape, dtype, f"{name} of {path}")
        return np.lib.format.read_array(member, allow_pickle=False)


def guard(shape: tuple[int, ...], dtype: np.dtype, what: str | Path) -> None:
    """Refuse an array that does not fit into the memory as it is, and as int64 or float32."""
    guard_memory(math.prod(shape) * (dtype.itemsize + (4 if dtype.kind == "f" else 8)), str(what))


def header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in an .npz file, whose header is compared with the bytes there are."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[np.lib.format.read_magic(member)](member)
        if dtype.hasobject:
            raise BadInput(f"{name} of {archive.filename} holds Python objects; save it as plain numbers")
        claimed = member.tell() + math.prod(shape) * dtype.itemsize
    if claimed != entry.file_size:
        raise BadInput(
            f"{name} of {archive.filename} claims shape {shape}, that is {claimed} bytes, but has "
            f"{entry.file_size}; the file is damaged, save it again"
        )
    if claimed > max(PACKED, RATIO * entry.compress_size):
        raise BadInput(
            f"{name} of {archive.filename} is packed {claimed // max(1, entry.compress_size)}-fold, as in a file that "
            "is made to fill the memory; if it is not, save it with np.savez, which does not compress"
        )
    return shape, dtype
