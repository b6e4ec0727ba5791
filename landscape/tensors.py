"""Tensors from files that may come from anyone: nothing is run, and no claim believed before what it needs is there.

``torch.load(weights_only=True)`` runs nothing, but it takes a file at its word: an archive inflates to any size, a
tensor of one element is expanded to a terabyte, lists hold each other. What is read here is no larger than its file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from landscape.data.sources import guard_memory

__all__ = ["Unsound", "plain", "read", "sound"]

NESTED = 8  # levels of plain values in plain values; what an optimizer keeps has 5
LONGEST = 10**6  # plain values, and characters of words among them
WHOLE = 2**64
PICKLE = 2**24  # bytes; each can become a list of 60, while the description of a tensor takes some hundred


class Unsound(Exception):
    """A file holds what it should not; the message says what."""


def read(path: Path, lazy: bool = False) -> object:
    """What is in a file of ``torch.save`` or a ``.safetensors`` file; the tensors are for `sound` to look at.

    Parameters
    ----------
    path : Path
    lazy : map the tensors, so that only those which are used are read

    Raises
    ------
    Unsound
        It holds more than tensors and plain values, is damaged, or would need more memory than the file is large.
    BadInput
        It is larger than the memory.
    ImportError
        It is a ``.safetensors`` file, and the package is not installed.
    """
    if not lazy:
        guard_memory(path.stat().st_size, f"reading {path}")
    if path.suffix == ".safetensors":
        import safetensors.torch

        load = safetensors.torch.load_file
    else:
        # Only archives can be mapped, which torch.save has made since torch 1.6.
        archive = _checked(path)

        def load(path: Path) -> object:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=lazy and archive)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused, or can be read all the same
            return load(path)
    except Exception as error:  # of all kinds on broken bytes
        raise Unsound("it is damaged, or holds more than tensors and plain values") from error


def sound(weights: Mapping, path: Path, lazy: bool = False) -> dict[str, Tensor]:
    """Tensors from `read`, by name, as torch's own: dense, in memory, and no larger than the file that they are from.

    Raises
    ------
    Unsound
        They are not.
    BadInput
        Together they are larger than the memory, since they share what the file holds once.
    """
    found: dict[str, Tensor] = {}
    held = {}
    for name, tensor in weights.items():
        if not isinstance(name, str):
            raise Unsound(f"a tensor has a {type(name).__name__} for a name")
        found[name] = t = Tensor.detach(tensor)  # without what a file may have put in the place of its methods
        if not _in_memory(t):
            raise Unsound(f"{name} is sparse, quantised or without values")
        if not _whole(t):
            raise Unsound(f"{name} has shape {tuple(t.shape)}, but fewer values")
        held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
    if sum(held.values()) > path.stat().st_size:
        raise Unsound("its tensors are larger than it is")
    if not lazy:
        guard_memory(sum(t.numel() * t.element_size() for t in found.values()), f"the tensors of {path}")
    return found


def plain(value: object, tensors: bool = False) -> bool:
    """Whether a value is numbers and words, or lists and dicts of them, that are not endless; or tensors too."""
    left = LONGEST

    def fine(value: object, levels: int) -> bool:
        nonlocal left
        left -= len(value) if isinstance(value, str) else 1
        if left < 0 or not levels:
            return False
        if isinstance(value, int):
            return -WHOLE < value < WHOLE  # Python refuses to print those of thousands of digits
        if isinstance(value, dict):
            return all(isinstance(key, str | int) and fine(key, 1) and fine(value[key], levels - 1) for key in value)
        if isinstance(value, list | tuple):
            return all(fine(each, levels - 1) for each in value)
        if isinstance(value, Tensor):
            return tensors and _in_memory(t := Tensor.detach(value)) and _whole(t)
        return value is None or isinstance(value, str | float)

    return fine(value, NESTED)


def _in_memory(t: Tensor) -> bool:
    return t.layout == torch.strided and not t.is_quantized and t.device.type == "cpu"


def _whole(t: Tensor) -> bool:
    """Whether each element has a place of its own, or could have: a file of some bytes may hold a view of any size."""
    return t.numel() * t.element_size() <= t.untyped_storage().nbytes()


def _checked(path: Path) -> bool:
    """Whether a file is an archive; refuse one that is not as torch.save makes them."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            if file.read(2) == b"PK":
                raise Unsound("its archive is damaged")
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # of all kinds on broken bytes
        raise Unsound("its archive is damaged") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise Unsound("its archive is compressed, which torch.save does not do")
    if any(entry.file_size > PICKLE for entry in entries if entry.filename.endswith("data.pkl")):
        raise Unsound("it describes its tensors at more length than there can be to say")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise Unsound("its archive claims to hold more than there is")
    if len({entry.filename for entry in entries}) < len(entries):
        raise Unsound("its archive has two entries of one name")
    return True
