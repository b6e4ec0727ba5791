"""Files that are there whole or not at all, whenever the process ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from landscape.errors import BadInput

__all__ = ["written"]


@contextlib.contextmanager
def written(path: str | os.PathLike, cure: str = "name a file in a folder that exists") -> Iterator[Path]:
    """Give a draft to write instead of a path; it takes the path's place when the ``with`` ends well.

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
        with open(draft, "rb") as file:
            os.fsync(file.fileno())  # before the name leads to it
        os.replace(draft, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}; {cure}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
