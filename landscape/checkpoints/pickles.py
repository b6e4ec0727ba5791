"""What is in a pickle beside tensors: numbers of NumPy, which are harmless, and classes, which are named and refused.

Nothing here makes an object of NumPy from a file, let alone of another package. Numbers become Python's own, arrays
are passed over, and the names of classes are read from the pickle's text.
"""

from __future__ import annotations

import contextlib
import io
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

__all__ = ["class_found", "numbers_of_numpy", "refused_class"]

LONGEST = 2**24  # bytes of a pickle that are looked at
LOOKED_AT = 200_000  # operations
NAMES = ("state_dict", "model_state_dict", "model", "net", "module", "network", "weights", "params")


class _Type:
    """Stands for `numpy.dtype`: of numbers and truth values only."""

    def __init__(self, name: str, *_: object):
        self.dtype = np.dtype(name) if re.fullmatch(r"[biufc]\d{1,2}", name) else None

    def __setstate__(self, state: tuple) -> None:
        if self.dtype is not None and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for `numpy.ndarray`, whose values nobody asks for."""

    def __setstate__(self, state: object) -> None:
        pass


def _scalar(kind: _Type, raw: object = b"") -> bool | int | float | complex | None:
    """A number of NumPy as Python's own; nothing for what is no number."""
    if kind.dtype is None or not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        return None
    return np.frombuffer(raw, kind.dtype)[0].item()


def _as(full: str, made: type | Callable) -> type | Callable:
    """Something under a name of NumPy's, by which torch knows what it may call."""
    made.__module__, _, made.__name__ = full.rpartition(".")
    made.__qualname__ = made.__name__
    return made


STANDING_IN = [_as("numpy.dtype", _Type), _as("numpy.ndarray", _Array)]
for core in ("numpy.core.multiarray", "numpy._core.multiarray"):  # before and since NumPy 2
    STANDING_IN.append(_as(f"{core}.scalar", lambda *arguments: _scalar(*arguments)))
    STANDING_IN.append(_as(f"{core}._reconstruct", lambda *_: _Array()))


def numbers_of_numpy() -> contextlib.AbstractContextManager:
    """Let ``torch.load(weights_only=True)`` read numbers of NumPy, as Python's own; from torch 2.5 on."""
    allow = getattr(torch.serialization, "safe_globals", None)
    return contextlib.nullcontext() if allow is None else allow(STANDING_IN)


def refused_class(message: str) -> str:
    """The class or function in a message of ``torch.load``; empty if it is about something else."""
    match = re.search(r"(?:GLOBAL|Unsupported class) ([\w.<>]{1,200})", message)
    return match[1].rstrip(".") if match else ""


def class_found(path: Path, name: str) -> tuple[str, str]:
    """What to say of a file that holds a class, and what to do.

    Parameters
    ----------
    path : of the file
    name : of the class, with its module
    """
    key, weights = _place(path, name)
    where = f" (in {key})" if key else ""
    return (
        f"it holds {name}{where}, and building that would run code",
        "if you trust the file, save its weights alone with Python: "
        f"torch.save(torch.load(OLD, weights_only=False){weights}, NEW)",
    )


def _place(path: Path, name: str) -> tuple[str, str]:
    """The key that a class stands behind, if it is plain text right before it, and how to get at the weights."""
    module, _, bare = name.rpartition(".")
    where, last = None, ""
    words: set[str] = set()
    strings: list[str] = []
    with contextlib.suppress(Exception):  # of all kinds on broken bytes; then there is no place to name
        for operation, value, _ in islice(_operations(path), LOOKED_AT):
            if "UNICODE" in operation.name or operation.name == "SHORT_BINSTRING":
                words.add(value)
                strings = [*strings[-2:], value]
                last = value
            elif operation.name == "GLOBAL":
                if value == f"{module} {bare}" and where is None:
                    where = last
                last = ""
            elif operation.name == "STACK_GLOBAL":
                if strings[-2:] == [module, bare] and where is None:
                    where = strings[-3] if len(strings) > 2 else ""
                last = ""
            elif not operation.name.startswith(("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT", "EMPTY", "MARK")):
                last, strings = "", []
    key = where if where and re.fullmatch(r"[\w. -]{1,60}", where) else ""
    if key in NAMES:  # the network itself, not its weights
        return key, f"[{key!r}].state_dict()"
    if not key:
        return key, ".state_dict()"
    return key, next((f"[{word!r}]" for word in NAMES if word in words), "[…]")


def _operations(path: Path) -> Iterator[tuple]:
    """What the pickles in a file of ``torch.save`` do, one after the other; before torch 1.6 there are several."""
    with contextlib.ExitStack() as stack:
        if zipfile.is_zipfile(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(
                archive.open(next(each for each in archive.namelist() if each.endswith("data.pkl")))
            )
        else:
            file = stack.enter_context(open(path, "rb"))
        stream = io.BytesIO(file.read(LONGEST))
        while True:
            yield from pickletools.genops(stream)
