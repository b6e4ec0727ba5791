"""What can be kept with results as an attribute: texts, numbers, and lists of one of them.

In a file and in memory they are the same, so that a run goes on with what it began with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from landscape.errors import BadInput

__all__ = ["plain_attributes"]

RESERVED = {"kind", "format", "seal"}  # which a file of results has itself
LARGEST = 60_000  # bytes of an array; HDF5 keeps 64 KiB with all that describes it
LARGEST_WHOLE = np.iinfo(np.int64).max


def plain_attributes(given: Mapping[str, object]) -> dict[str, object]:
    """Attributes as Python's own texts, numbers and lists.

    Parameters
    ----------
    given : dict
        Also paths, which become texts, and tuples, arrays and tensors, which become lists.

    Returns
    -------
    dict

    Raises
    ------
    BadInput
        There is something else among them, or something that HDF5 cannot hold.

    Examples
    --------
    >>> plain_attributes({"rate": np.float32(0.5), "layers": (3, 4), "note": "by hand"})
    {'rate': 0.5, 'layers': [3, 4], 'note': 'by hand'}
    """
    return {_named(name): _plain(name, value) for name, value in given.items()}


def _named(name: object) -> str:
    if not isinstance(name, str) or not name or not _storable(name) or len(name) > 1000:
        raise BadInput(f"an attribute is called {name!r:.50}; give it a short text as its name")
    if name in RESERVED:
        raise BadInput(f"results have a {name} of their own; give the attribute another name")
    return name


def _plain(name: str, value: object) -> object:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    value = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "OU" else value
    if isinstance(value, str):
        if not _storable(value):
            raise BadInput(f"the attribute {name} has characters that no file holds; leave them out")
        return str(value)
    if isinstance(value, list | tuple) and value and all(isinstance(each, str) for each in value):
        return [_plain(name, each) for each in value]
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError):  # lists of unlike lengths; a tensor that has a gradient
        array = np.asarray(None)
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "u" and array.max(initial=0) > LARGEST_WHOLE):
        shown = " ".join(repr(value).split())
        raise BadInput(
            f"the attribute {name} is {shown:.60}, and a file keeps texts, numbers of 64 bits and lists of one of "
            "them; give one of these"
        )
    if not array.size:
        raise BadInput(f"the attribute {name} is empty; leave it out")
    if array.nbytes > LARGEST:
        raise BadInput(f"the attribute {name} has {array.size:,} numbers; give them as a variable, with given=")
    return array.tolist()


def _storable(text: str) -> bool:
    """Whether HDF5 can hold it."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
