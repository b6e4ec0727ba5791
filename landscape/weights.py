"""Weights of a network, as a dict from parameter name to tensor, keyed as ``network.named_parameters()``.

A complex weight counts as two real ones: inner products are real parts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Weights", "digest", "products", "real", "squared_norm", "weights_of"]

Weights = Mapping[str, Tensor]


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's parameters."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def squared_norm(weights: Weights) -> float:
    """‖θ‖² over all parameters."""
    return math.fsum(math.fsum(products(w, w)) for w in weights.values())


def products(one: Tensor, other: Tensor) -> np.ndarray:
    """Inner products of the slices along the first axis, in float64, without copies in float64.

    By numpy, since the bits of torch's sums depend on the number of threads.
    """
    if not one.numel():
        return np.zeros(1)
    rows = (real(t).reshape(t.shape[0] if t.ndim else 1, -1) for t in (one, other))
    return np.einsum("ij,ij->i", *rows, dtype=np.float64)


def real(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, in a type that numpy has; complex ones as two along a last axis."""
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def digest(*tensors: Weights) -> str:
    """SHA-256 over names, types, shapes and bits: equal if and only if all are."""
    sha = hashlib.sha256()
    for name, tensor in _flat(tensors):
        tensor = tensor.detach().cpu()
        try:
            array = np.ascontiguousarray(tensor.resolve_conj().numpy())
            kind = f"{array.dtype} {array.shape}"
        except TypeError:  # bfloat16 and others that numpy does not have
            array = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
            kind = f"{tensor.dtype} {tuple(tensor.shape)}"
        sha.update(f"{name} {kind}\n".encode())
        sha.update(array.data)
    return sha.hexdigest()


def _flat(many: Sequence[Weights]) -> Iterator[tuple[str, Tensor]]:
    for weights in many:
        yield from weights.items()
