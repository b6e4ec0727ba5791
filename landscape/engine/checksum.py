"""How a results file shows that it is as it was written.

What never changes in it, the plan and HDF5's own structure, is under one seal: a digest of the bytes
themselves, compared before HDF5 is given any of them. What does change, the values of the rows, has a
checksum for each row.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import numpy as np

__all__ = ["blank", "row_checksums", "seal", "sealed", "sums"]

HEAD = 2**16  # bytes in which a seal lies: it is the first text that a file is given
BLOCK = 2**20
ROWS = 2**16  # that are summed at once
SEAL = re.compile(
    rb"skipscape's seal: ([0-9a-f]{64}) is the SHA-256 of all but this and ((?:[0-9a-f]{12}\+[0-9a-f]{12} ?)*)\."
)
TRACES = (b"skipscape's seal", b"is the SHA-256 of all but this")  # of a seal that may be spoilt itself

Places = list[tuple[int, int]]  # offset and size, in bytes


def sums(variables: Sequence[np.ndarray], rows: np.ndarray, number: int) -> np.ndarray:
    """CRC-32, as zlib's, of rows of variables.

    Parameters
    ----------
    variables : ndarrays, each of the grid's shape, or that and the shape of one row's value
    rows : int ndarray, shape (m,)
        In C order of the grid.
    number : of rows of the grid

    Returns
    -------
    ndarray of uint32, shape (m,)
        Of the row's number, eight bytes, and the bytes of its values, variable by variable; all little-endian. The
        number tells a row that was written in the place of another.
    """
    crcs = np.zeros(len(rows), np.uint32)
    for first in range(0, len(rows), ROWS):
        some = rows[first : first + ROWS]
        parts = [some.astype("<i8"), *(array.reshape(number, -1)[some] for array in variables)]
        parts = [np.ascontiguousarray(part, part.dtype.newbyteorder("<")) for part in parts]
        parts = [np.frombuffer(part, np.uint8).reshape(len(some), -1) for part in parts if part.size]
        data = np.concatenate(parts, axis=1)  # (rows, bytes)
        crcs[first : first + ROWS] = [zlib.crc32(row) for row in data]
    return crcs


def row_checksums(variables: Sequence[np.ndarray], rows: np.ndarray, done: np.ndarray) -> np.ndarray:
    """What stands beside rows: of one that is done its sum, of another the complement of its sum.

    Where a ``done`` appears that nobody wrote, what was interpolated would pass for measured.

    Parameters
    ----------
    variables, rows : see `sums`
    done : bool ndarray of the grid's shape, which rows are measured
    """
    crcs = sums(variables, rows, done.size)
    return np.where(done.flat[rows], crcs, ~crcs)


def blank(places: int) -> str:
    """What to put into a file first of all, for `seal` to fill in: room for so many places that change."""
    return _text("0" * 64, [(0, 0)] * places)


def seal(path: str | os.PathLike, places: Places) -> None:
    """Fill in a file's blank seal.

    Parameters
    ----------
    path : of a file that holds `blank` once, near its beginning
    places : offset and size of what will change, in bytes; as many as there is room for
    """
    with open(path, "r+b") as file:
        start = file.read(HEAD).index(blank(len(places)).encode())
        file.seek(start)
        file.write(_text("0" * 64, places).encode())
        digits = start + blank(0).index("0" * 64)
        digest = _digest(file, [(digits, 64), *places])
        if digest is None:
            raise ValueError(f"{path} has no such places: {places}")
        file.seek(digits)
        file.write(digest.encode())


def sealed(path: str | os.PathLike) -> bool | None:
    """Whether a file's seal is whole; None if it has none."""
    with open(path, "rb") as file:
        start = file.read(HEAD)
        match = SEAL.search(start)
        if not match:
            return False if any(trace in start for trace in TRACES) else None
        places = [(int(start, 16), int(size, 16)) for start, size in (p.split(b"+") for p in match[2].split())]
        return _digest(file, [(match.start(1), 64), *places]) == match[1].decode()


def _text(digest: str, places: Places) -> str:
    those = " ".join(f"{start:012x}+{size:012x}" for start, size in places)
    return f"skipscape's seal: {digest} is the SHA-256 of all but this and {those}."


def _digest(file: BinaryIO, left_out: Iterable[tuple[int, int]]) -> str | None:
    """SHA-256 of a file but for some places; None if these do not lie in it, one after another."""
    sha, at, size = hashlib.sha256(), 0, os.fstat(file.fileno()).st_size
    for start, length in sorted([*left_out, (size, 0)]):
        if not at <= start <= start + length <= size:
            return None
        file.seek(at)
        for _ in range(math.ceil((start - at) / BLOCK)):
            sha.update(file.read(min(BLOCK, start - at)))
            at += min(BLOCK, start - at)
        at = start + length
    return sha.hexdigest()
