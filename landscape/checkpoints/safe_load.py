"""Tensors from files that may come from anyone: nothing is run, and no claim believed before what it needs is there.

``torch.load(weights_only=True)`` runs nothing, but it takes a file at its word: an archive inflates to any size, a
tensor of one element is expanded to a terabyte, lists hold each other. What is read here is no larger than its file.
"""

from __future__ import annotations

import contextlib
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from landscape.checkpoints.pickles import class_found, numbers_of_numpy, refused_class
from landscape.memory import guard_memory

__all__ = ["Unsound", "files_of", "plain", "read", "sound"]

# A folder of save_pretrained(): its weights, in the order in which they are preferred.
FOLDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")

NESTED = 8  # levels of plain values in plain values; what an optimizer keeps has 5
LONGEST = 10**6  # plain values, and characters of words among them
WHOLE = 2**64
PICKLE = 2**24  # bytes; each can become a list of 60, while the description of a tensor takes some hundred


class Unsound(Exception):
    """A file holds what it should not; the message says what.

    Attributes
    ----------
    cure : what to do, where that is special
    """

    def __init__(self, message: str, cure: str = ""):
        super().__init__(message)
        self.cure = cure


def read(path: Path, lazy: bool = False) -> object:
    """What is in a file of ``torch.save``, a ``.safetensors`` file, or a Hugging Face folder of them.

    The tensors are for `sound` to look at.

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
    files = files_of(path)
    if not lazy:
        guard_memory(sum(file.stat().st_size for file in files), f"reading {path}")
    if not path.is_dir():
        return _read(path, lazy)
    index = _index(path)
    tensors: dict[str, Tensor] = {}
    for file in files:
        if file.suffix == ".json":
            continue
        part = _read(file, lazy)
        if index is None:
            return part
        if not isinstance(part, dict) or not all(isinstance(t, Tensor) for t in part.values()):
            raise Unsound(f"{file.name} holds more than tensors")
        if part.keys() != (meant := {n for n, shard in index.items() if shard == file.name}):
            odd = str(min(map(str, part.keys() ^ meant)))[:100]
            raise Unsound(f"its index and {file.name} do not agree on {odd}", "copy the whole folder again")
        tensors |= sound(part, file, lazy)
    return tensors


def files_of(path: Path) -> list[Path]:
    """The files with a checkpoint's tensors, in a fixed order: the file itself, or those of a Hugging Face folder.

    Raises
    ------
    Unsound
        A folder holds no weights under the usual names, averages beside them, or an index that leads out of it.
    """
    if not path.is_dir():
        return [path]
    there = sorted(file.name for file in path.iterdir() if file.suffix in WEIGHTS)
    if adapters := [name for name in there if name.startswith("adapter_model")]:
        merged = "merge it into its network and save that: merge_and_unload() and save_pretrained()"
        raise Unsound(f"the folder has an adapter, {adapters[0]}, which is part of a network", merged)
    name = next((name for name in FOLDER if (path / name).exists()), None)
    if name is None:
        some = f"only {', '.join(there[:6])}" if there else "no weights"
        cure = "name one of them" if there else "name a file, or a folder of save_pretrained()"
        raise Unsound(f"the folder has {some}, and neither {' nor '.join(FOLDER)}", cure)
    if averages := [n for n in there if re.search(r"(^|[_.-])(ema|swa|average\w*)([_.-]|$)", n)]:
        raise Unsound(f"the folder has {name} and averaged weights in {averages[0]}", "name one of the files itself")
    index = _index(path)
    names = [name] if index is None else [name, *sorted(set(index.values()))]
    for each in names:
        real, home = (path / each).resolve(), path.resolve()
        # The cache of Hugging Face's hub keeps files in blobs/, and folders with links to them in snapshots/.
        if not (real.is_file() and real.parent in (home, home.parent.parent / "blobs")):
            raise Unsound(f"its {each} is not there, or a link that leads out of the folder", "copy the whole folder")
    return [path / each for each in names]


def _index(folder: Path) -> dict[str, str] | None:
    """Which file of a folder has which tensor; None if one file has all."""
    name = next((name for name in FOLDER if (folder / name).exists()), "")
    if not name.endswith(".json"):
        return None
    file = folder / name
    try:
        if not file.is_file():  # a pipe would be waited for
            raise OSError
        if file.stat().st_size > PICKLE:
            raise Unsound(f"its {name} is longer than there can be to say")
        index = json.loads(file.read_bytes())["weight_map"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unsound(f"its {name} is no index of tensors") from error
    ending = ".safetensors" if "safetensors" in name else ".bin"
    shape = rf"[\w.-]{{1,200}}\{ending}"  # and no longer than the name of a file can be
    if not (
        isinstance(index, dict)
        and index
        and all(isinstance(shard, str) and re.fullmatch(shape, shard) for shard in index.values())
    ):
        raise Unsound(f"its {name} is no index of {ending} files in the folder")
    return index


def _read(path: Path, lazy: bool) -> object:
    load: Callable[[Path], object]
    allowed: contextlib.AbstractContextManager
    if path.suffix == ".safetensors":
        import safetensors.torch

        load, allowed = safetensors.torch.load_file, contextlib.nullcontext()
    else:
        # Only archives can be mapped, which torch.save has made since torch 1.6.
        allowed, mapped = numbers_of_numpy(), _checked(path) and lazy
        load = partial(torch.load, map_location="cpu", weights_only=True, mmap=mapped)

    try:
        with warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")  # of what is refused, or can be read all the same
            return load(path)
    except Exception as error:  # of all kinds on broken bytes
        if named := refused_class(str(error)):
            raise Unsound(*class_found(path, named)) from error
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
    tensors: dict[str, Tensor] = {}
    held = {}
    for name, tensor in weights.items():
        if not isinstance(name, str):
            raise Unsound(f"a tensor has a {type(name).__name__} for a name")
        tensors[name] = t = Tensor.detach(tensor)  # without what a file may have put in the place of its methods
        if not _in_memory(t):
            raise Unsound(f"{name} is sparse, quantised or without values")
        if not _whole(t):
            raise Unsound(f"{name} has shape {tuple(t.shape)}, but fewer values")
        held[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
    if sum(held.values()) > sum(file.stat().st_size for file in files_of(path)):
        raise Unsound("its tensors are larger than it is")
    if not lazy:
        guard_memory(sum(t.numel() * t.element_size() for t in tensors.values()), f"the tensors of {path}")
    return tensors


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
    # A float of 8 bits is a number of steps, and the step is in another tensor.
    quantised = t.is_quantized or (t.is_floating_point() and t.itemsize < 2)
    return t.layout == torch.strided and not quantised and t.device.type == "cpu"


def _whole(t: Tensor) -> bool:
    """Whether each element has a place of its own, or could have: a file of some bytes may hold a view of any size."""
    return t.numel() * t.element_size() <= t.untyped_storage().nbytes()


def _checked(path: Path) -> bool:
    """Whether a file is an archive; refuse one that is not as torch.save makes them."""
    try:
        is_archive = zipfile.is_zipfile(path)
    except Exception as error:  # of some broken bytes it says so rather than no
        raise Unsound("its archive is damaged") from error
    if not is_archive:
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
