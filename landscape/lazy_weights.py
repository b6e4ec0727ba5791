"""Weights that are not stored: each tensor is made when it is asked for, and forgotten when it has been used.

A plane needs the weights that it moves, the network's own to come back to, and directions. Of a large network only the
first are kept in memory: its own weights stay in the file that they came from, and directions are made tensor by tensor
from what they follow from, such as a seed. Below `LARGE` everything is stored, and on a GPU as well: making it there
would take longer than the measurement.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast
from weakref import WeakKeyDictionary, finalize

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.weights import Weights, weights_of

__all__ = [
    "LARGE",
    "LazyWeights",
    "blocks_of",
    "forgetter",
    "large",
    "loaded_from",
    "origin_of",
    "read_once",
    "row_blocks",
    "shape_of",
    "stored",
    "transient",
]

LARGE = 2**28  # bytes of weights
LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
BLOCK = 2**22  # numbers of a tensor to have at a time, where all of it need not be there


class LazyWeights(Mapping[str, Tensor]):
    """Weights whose tensors are made anew each time they are asked for; they belong to whoever asks.

    Parameters
    ----------
    shapes : by name
    make : gives the tensor of a name, the same each time
    make_blocks : gives the same tensor in blocks of rows, those of `blocks_of`; by default it is made whole for that

    Examples
    --------
    >>> weights = LazyWeights({"a": torch.Size([2])}, lambda name: torch.ones(2))
    >>> weights["a"].add_(1), weights["a"]
    (tensor([2., 2.]), tensor([1., 1.]))
    """

    def __init__(
        self,
        shapes: Mapping[str, torch.Size],
        make: Callable[[str], Tensor],
        make_blocks: Callable[[str], Iterator[Tensor]] | None = None,
    ):
        self.shapes, self._make, self.make_blocks = dict(shapes), make, make_blocks

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.shapes:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def shape_of(weights: Weights, name: str) -> torch.Size:
    """The shape of a tensor; one that is not stored is not made for it."""
    return weights.shapes[name] if isinstance(weights, LazyWeights) else weights[name].shape


def blocks_of(weights: Weights, name: str) -> Iterator[Tensor]:
    """A tensor in blocks of rows, for those who need two large ones at once; one that is not stored is made so too."""
    if isinstance(weights, LazyWeights) and weights.make_blocks is not None:
        yield from weights.make_blocks(name)
        return
    tensor = weights[name]
    for rows in row_blocks(tensor.shape):
        yield tensor[rows]


def row_blocks(shape: Sequence[int]) -> list[Any]:
    """Slices of the first axis with `BLOCK` numbers each, or a row; of a single number, itself."""
    if not shape:
        return [...]
    step = max(BLOCK // max(math.prod(shape[1:]), 1), 1)
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def transient(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor without values whose memory goes back to the system when it is let go.

    That of ``torch.empty`` does not below 32 MiB: malloc keeps it, in pieces that add up to a part of the network.
    """
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return torch.empty(tuple(shape), dtype=dtype)
    own = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if sys.platform == "linux" else {}
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, size, **own), np.uint8)).view(dtype).view(tuple(shape))


def large(tensors: Iterable[Tensor]) -> bool:
    """Whether there are so many weights that copies would be felt: `LARGE` bytes or more, in the memory of a CPU."""
    tensors = list(tensors)
    on_cpu = all(t.device.type == "cpu" for t in tensors)
    return on_cpu and sum(t.numel() * t.element_size() for t in tensors) >= LARGE


def stored(weights: LazyWeights, like: Mapping[str, Tensor]) -> Weights:
    """The same weights, in memory unless they are `large`, as those of a network are that they are for."""
    return weights if large(like.values()) else dict(weights)


def origin_of(network: nn.Module) -> Weights:
    """A network's parameters as they are now, to come back to.

    They are copies. Those of a `large` network that was loaded from a file and still has its weights stay there, and
    are read when they are asked for.

    Raises
    ------
    BadInput
        Later, in reading one: the file has been overwritten in the meantime.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    lying = _FILES.get(network)
    if lying is None or not large(parameters.values()):
        return weights_of(network)
    kept: dict[str, Callable[[], Tensor]] = {}
    for name, own in parameters.items():
        place = lying.get(name)
        if place is not None and place.holds(own):
            kept[name] = partial(place.read, own.dtype, own.stride())
        else:
            kept[name] = own.clone().clone
    return LazyWeights({name: own.shape for name, own in parameters.items()}, lambda name: kept[name]())


def loaded_from(files: Iterable[Path], weights: Mapping[str, Tensor], network: nn.Module) -> None:
    """Remember where the weights of a network lie, for `origin_of`.

    Parameters
    ----------
    files : what they were loaded from
    weights : mapped from there; others are passed over
    network : has them now, under the same names
    """
    maps = _maps(files)
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    lying = {}
    for several in names.values():  # a tied weight may be in the file under any of its names
        there = next((weights[name] for name in several if name in weights), None)
        if there is not None and (place := _place(there, maps)) is not None:
            lying[several[0]] = place
    _FILES[network] = lying


@contextlib.contextmanager
def read_once(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Let a network load mapped weights, for the length of a ``with``, without the file in its memory beside them.

    What a module has taken goes back to the system; read again, it comes from the file. So does what is free.
    """
    forget = forgetter(weights)
    handles = [module.register_load_state_dict_post_hook(lambda *_: forget()) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if hasattr(LIBC, "malloc_trim"):
            LIBC.malloc_trim(0)  # what the network's own initialisation has left free, which MPI has malloc keep


def forgetter(weights: Mapping[str, Tensor]) -> Callable[[], None]:
    """A function that lets the memory of weights that are mapped from a file go; read again, they come from there."""
    starts = sorted(tensor.data_ptr() for tensor in weights.values())
    regions = _regions() if LIBC is not None else ()
    # A process has thousands of regions, and a network may have thousands of weights.
    maps = [(first, last) for first, last, *_ in regions if bisect_left(starts, first) < bisect_left(starts, last)]

    def forget() -> None:
        for first, last in maps:
            LIBC.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)

    return forget


@dataclass(frozen=True)
class _File:
    """A file that stays open: whoever deletes or replaces it does not change what is read."""

    path: Path
    file: BinaryIO
    state: tuple[int, int]

    @classmethod
    def opened(cls, path: Path) -> _File:
        file = open(path, "rb", buffering=0)  # noqa: SIM115  closed with its last user
        opened = cls(path, file, _state(file))
        finalize(opened, file.close)
        return opened


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in a file."""

    file: _File
    offset: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]

    def read(self, dtype: torch.dtype, stride: tuple[int, ...]) -> Tensor:
        """The tensor, in memory of its own: pages of a mapped one would stay in that of the process."""
        numbers = 1 + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        buffer = transient([numbers], self.dtype)
        view, done = memoryview(cast("Any", buffer.view(torch.uint8).numpy())), 0
        while done < len(view):
            more = os.preadv(self.file.file.fileno(), [view[done:]], self.offset + done)
            if not more:
                break
            done += more
        if done < len(view) or _state(self.file.file) != self.file.state:
            raise BadInput(
                f"{self.file.path} was overwritten while its network was measured, whose weights are read from there; "
                "measure it anew"
            )
        tensor = buffer.as_strided(self.shape, self.stride)
        if dtype != self.dtype:
            tensor = transient(self.shape, dtype).copy_(tensor)
        return (
            tensor if tensor.stride() == stride else torch.empty_strided(self.shape, stride, dtype=dtype).copy_(tensor)
        )

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor has these values, to the bit."""
        if self.shape != tensor.shape or _state(self.file.file) != self.file.state:
            return False
        return _same_bits(self.read(tensor.dtype, tensor.stride()), tensor)


_FILES: WeakKeyDictionary[nn.Module, dict[str, _Place]] = WeakKeyDictionary()


def _state(file: BinaryIO) -> tuple[int, int]:
    known = os.fstat(file.fileno())
    return known.st_size, known.st_mtime_ns


def _same_bits(one: Tensor, other: Tensor) -> bool:
    if one.is_complex():
        one, other = torch.view_as_real(one.resolve_conj()), torch.view_as_real(other.resolve_conj())
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[one.dtype.itemsize]
    return torch.equal(one.view(whole), other.view(whole))


def _maps(files: Iterable[Path]) -> list[tuple[int, int, int, _File]]:
    """Where files are mapped: first address, last, place in the file, the file. Only Linux tells."""
    if sys.platform != "linux":
        return []
    opened = {}
    for path in files:
        file = _File.opened(path)
        opened[os.fstat(file.file.fileno()).st_ino] = file
    return [(first, last, offset, opened[inode]) for first, last, offset, inode in _regions() if inode in opened]


def _regions() -> Iterator[tuple[int, int, int, int]]:
    """The files that are mapped into this process: first address, last, place in the file, its inode."""
    with open("/proc/self/maps") as lines:
        for line in lines:  # 7f2c0-7f2d0 rw-p 00001000 08:01 1234 /a/b
            addresses, _, offset, _, inode, *_ = line.split(maxsplit=5)
            if inode != "0":  # memory of no file
                first, last = addresses.split("-")
                yield int(first, 16), int(last, 16), int(offset, 16), int(inode)


def _place(tensor: Tensor, maps: list[tuple[int, int, int, _File]]) -> _Place | None:
    if tensor.device.type != "cpu" or not tensor.numel():
        return None
    start = tensor.data_ptr()
    for first, last, offset, file in maps:
        if first <= start < last:
            return _Place(file, offset + start - first, tensor.dtype, tensor.shape, tensor.stride())
    return None
