"""Batches that a caller has in memory, taken as they come: read once, checked, and kept on the network's device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from landscape.data import stratified_order
from landscape.errors import BadInput
from landscape.evaluation.calling import as_arguments
from landscape.nested import Nested, cat, leaves, length, mapped, split, take

__all__ = ["Pair", "arranged", "digest", "held"]

Pair = tuple[Nested, Nested]  # inputs and targets


def held(network: nn.Module, batches: Iterable, unpack: Callable | None, device: torch.device) -> list[Pair]:
    """All batches, as the network is called with them.

    Parameters
    ----------
    batches : of pairs (inputs, targets), or of what `unpack` makes such a pair from

    Raises
    ------
    BadInput
        There are none, or they are no pairs of as many inputs as targets.
    """
    pairs = [_pair(batch, unpack, device) for batch in _iterated(batches)]
    if not pairs:
        raise BadInput("there are no batches; give (inputs, targets), at least once")
    for inputs, targets in pairs:
        if length(inputs, "inputs") != length(targets, "targets"):
            raise BadInput(f"a batch has {length(inputs)} inputs and {length(targets)} targets; give as many of each")
        if not length(inputs):
            raise BadInput("a batch has no examples; leave it out")
    return [(as_arguments(network, inputs), targets) for inputs, targets in pairs]


def arranged(
    pairs: Sequence[Pair], examples: int | None, size: int | None, in_order: bool, seed: int
) -> Sequence[Pair]:
    """The batches as they are, or made anew.

    Parameters
    ----------
    examples : a stratified subset of so many; None for all
    size : of the new batches; by default that of the first, 256 at most
    in_order : whether every beginning must hold the classes in proportion, as where a tolerance ends a measurement
    seed : of the subset and the order
    """
    if examples is None and size is None and not in_order:
        return pairs
    inputs, targets = (cat(each) for each in zip(*pairs, strict=True))
    total = length(inputs)
    if examples is not None or in_order:
        number = total if examples is None else examples
        if number > total:
            raise BadInput(f"examples is {number}; there are {total}")
        order = stratified_order(mapped(Tensor.cpu, targets), seed)[:number]
        inputs, targets = (take(each, order.to(leaves(each)[0].device)) for each in (inputs, targets))
    size = size or min(length(pairs[0][0]), 256)
    return list(zip(split(inputs, size), split(targets, size), strict=True))


def digest(pairs: Sequence[Pair]) -> str:
    """SHA-256 of all tensors, batch by batch."""
    sha = hashlib.sha256()
    for pair in pairs:
        for tensor in leaves(pair):
            sha.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.cpu().contiguous().flatten()
            sha.update((flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy().data)
    return sha.hexdigest()


def _iterated(batches: Iterable) -> Iterator:
    if isinstance(batches, Tensor | dict | str) or not isinstance(batches, Iterable):
        raise BadInput(
            f"batches are a {type(batches).__name__}; give a DataLoader, or a list of pairs (inputs, targets)"
        )
    return iter(batches)


def _pair(batch: object, unpack: Callable | None, device: torch.device) -> Pair:
    """Inputs and targets on the device."""
    if unpack is not None:
        batch = unpack(batch)
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        kind = f"{type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else "")
        raise BadInput(
            f"a batch is a {kind}; give pairs (inputs, targets), or a function that makes them of a batch as unpack"
        )
    inputs, targets = (mapped(lambda t: t.detach().to(device), _tensors(each)) for each in batch)
    return inputs, targets


def _tensors(nested: Nested) -> Nested:
    """NumPy arrays as tensors too, alone or in a structure."""
    if hasattr(nested, "__array__") and not isinstance(nested, Tensor):
        return torch.as_tensor(nested)
    if isinstance(nested, dict):
        return {name: _tensors(value) for name, value in nested.items()}
    if type(nested) in (tuple, list):
        return type(nested)(_tensors(value) for value in nested)
    return nested
