"""Directions in weight space.

Weights are a dict from parameter name to tensor, keyed as ``network.named_parameters()``; a
direction is Weights too. The first axis of a parameter counts its output filters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Weights", "cosine", "digest", "filter_normalize", "random_direction", "weights_of"]

Weights = dict[str, Tensor]


def weights_of(network: nn.Module) -> Weights:
    """A copy of a network's parameters."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def random_direction(weights: Weights, seed: int | Sequence[int]) -> Weights:
    """A direction whose every element is drawn from N(0, 1).

    Parameters
    ----------
    weights : gives names, shapes, types and devices
    seed : one number or several, e.g. ``(seed, axis)``

    Notes
    -----
    Drawn by a generator of its own, on the processor and of another kind than torch's: the same
    bits on every device, and nothing in common with an initialisation from the same seed (with
    torch's own generator, equal seeds would give directions along the initial weights).
    """
    generator = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32)).to(w)
        for name, w in weights.items()
    }


def filter_normalize(direction: Weights, weights: Weights) -> Weights:
    """Give each filter of a direction the norm of the network's filter (Li et al. 2018, §4).

    A filter is one slice along the first axis of a parameter of two or more dimensions: the
    weights that make one output channel, or one neuron. Parameters of fewer dimensions (biases,
    BatchNorm) do not move: their direction is zero. It is done in place, for networks that fill the
    memory, and the direction is returned.
    """
    for name, d in direction.items():
        _like_filters_of(weights[name], d)
    return direction


def _like_filters_of(weight: Tensor, direction: Tensor) -> None:
    if direction.ndim < 2:
        direction.zero_()
        return
    d, w = (np.sqrt(_products(t, t)) for t in (direction, weight))
    scale = np.divide(w, d, out=np.zeros_like(d), where=d > 0)
    direction.mul_(torch.from_numpy(scale).to(direction).view(-1, *[1] * (direction.ndim - 1)))


def cosine(one: Weights, other: Weights) -> float:
    """Cosine of the angle between two directions over all parameters."""

    def dot(a: Weights, b: Weights) -> float:
        return math.fsum(math.fsum(_products(a[name], b[name])) for name in a)

    return dot(one, other) / math.sqrt(dot(one, one) * dot(other, other))


def _products(one: Tensor, other: Tensor) -> np.ndarray:
    """Inner products of the slices along the first axis, in float64, without copies in float64.

    By numpy, since the bits of torch's sums depend on the number of threads.
    """
    rows = (t.detach().cpu().numpy().reshape(t.shape[0] if t.ndim else 1, -1) for t in (one, other))
    return np.einsum("ij,ij->i", *rows, dtype=np.float64)


def digest(*tensors: Weights) -> str:
    """SHA-256 over names, types, shapes and bits: equal if and only if all are."""
    sha = hashlib.sha256()
    for name, tensor in _flat(tensors):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
        sha.update(array.data)
    return sha.hexdigest()


def _flat(many: Sequence[Weights]) -> Iterator[tuple[str, Tensor]]:
    for weights in many:
        yield from weights.items()
