"""Write a file completely or not at all, whenever the process ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from landscape.errors import BadInput

__all__ = ["write_atomically"]


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike, cure: str = "name a file in a folder that exists") -> Iterator[Path]:
    """Yield the path of a draft, which replaces `path` when the ``with`` block ends without an error.

    Parameters
    ----------
    path : of the file
    cure : what to do if it cannot be written

    Raises
    ------
    BadInput
        It cannot be written. What was there before is as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        with open(draft, "r+b") as file:  # to be written: Windows syncs no other
            os.fsync(file.fileno())  # before the name leads to it
        os.replace(draft, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; {cure}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
