"""Tensors as networks take and give them: one alone, or tuples, lists and dicts of them, one in another.

Examples lie along the first axis of every tensor. What is no tensor (None, a flag, a word) is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from landscape.errors import BadInput

__all__ = ["Nested", "cat", "leaves", "length", "mapped", "split", "take"]

# Any, as a union would have every caller narrow what only the network knows: what it takes and gives.
Nested: TypeAlias = Any


def mapped(function: Callable[[Tensor], Tensor], nested: Nested) -> Nested:
    """The same structure with a function applied to every tensor; a mapping of any class becomes a dict."""
    if isinstance(nested, Tensor):
        return function(nested)
    if isinstance(nested, Mapping):
        return {name: mapped(function, value) for name, value in nested.items()}
    if isinstance(nested, tuple) and hasattr(nested, "_fields"):  # a namedtuple takes its fields one by one
        return type(nested)(*(mapped(function, value) for value in nested))
    if isinstance(nested, tuple | list):
        return type(nested)([mapped(function, value) for value in nested])
    return nested


def leaves(nested: Nested) -> list[Tensor]:
    """All tensors, in order."""
    tensors: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    mapped(keep, nested)
    return tensors


def length(nested: Nested, what: str = "a batch") -> int:
    """The number of examples.

    Raises
    ------
    BadInput
        There is no tensor, or they have different numbers of examples; `what` is what to call it.
    """
    numbers = {len(tensor) if tensor.ndim else -1 for tensor in leaves(nested)}
    if len(numbers) != 1 or numbers == {-1}:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in leaves(nested)) or "no tensor"
        raise BadInput(
            f"{what} holds {shapes}; give tensors with the same number of examples along the first axis of each"
        )
    return numbers.pop()


def take(nested: Nested, index: slice | Tensor) -> Nested:
    """Some of the examples."""
    return mapped(lambda tensor: tensor[index], nested)


def split(nested: Nested, size: int) -> list[Nested]:
    """Batches of `size` examples; the last may be short."""
    return [take(nested, slice(start, start + size)) for start in range(0, length(nested), size)]


def cat(many: Sequence[Nested]) -> Nested:
    """One after the other along the first axis, all of one structure; what is no tensor is the first one's.

    Raises
    ------
    BadInput
        Their shapes or structures differ.
    """
    first, parts = many[0], [leaves(each) for each in many]
    if len({len(part) for part in parts}) != 1 or any(
        len({(t.shape[1:], t.dtype) for t in tensors}) != 1 for tensors in zip(*parts, strict=True)
    ):
        raise BadInput("batches differ in the shapes or types of their tensors; pad examples to one shape")
    joined = iter([torch.cat(tensors) for tensors in zip(*parts, strict=True)])
    return mapped(lambda _: next(joined), first)
