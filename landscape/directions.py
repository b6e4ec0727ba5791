"""Directions in weight space.

Weights are a dict from parameter name to tensor, keyed as ``network.named_parameters()``; a
direction is Weights too. The first axis of a parameter counts its output filters, with the exceptions
of `filter_axes`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.errors import BadInput

__all__ = [
    "NORMALIZATIONS",
    "Weights",
    "cosine",
    "digest",
    "filter_axes",
    "filter_normalize",
    "normalize",
    "orthogonalize",
    "random_direction",
    "squared_norm",
    "weights_of",
]

Weights = dict[str, Tensor]

# How directions are told in a results file and on a figure's axes.
NORMALIZATIONS = {
    "filter": "filter-normalised",
    "layer": "layer-normalised",
    "weight": "weight-normalised",
    "none": "not normalised",
}


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


def filter_axes(network: nn.Module) -> dict[str, int]:
    """The axis of each parameter that counts what it puts out, where that is not the first.

    Transposed convolutions store (inputs, outputs, …), and an embedding is a linear map of one-hot
    vectors stored (inputs, outputs).
    """
    transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Embedding, nn.EmbeddingBag)
    owners = {name: module for name, module in network.named_modules() if isinstance(module, transposed)}
    return {f"{name}.weight" if name else "weight": 1 for name in owners}


def filter_normalize(direction: Weights, weights: Weights) -> Weights:
    """Give each filter of a direction the norm of the network's filter (Li et al. 2018, §4)."""
    return normalize(direction, weights, "filter")


def normalize(
    direction: Weights,
    weights: Weights,
    how: str = "filter",
    *,
    axes: Mapping[str, int] | None = None,
    one_dimensional: bool = False,
) -> Weights:
    """Scale a direction to the weights it starts from.

    Parameters
    ----------
    direction : changed in place, for networks that fill the memory
    weights : of the same names and shapes
    how : {"filter", "layer", "weight", "none"}
        What gets the norm that it has in the network (Li et al. 2018, 1712.09913 §4): each filter, which is what
        makes one output channel or one neuron; each parameter tensor; each single weight (elements are
        multiplied by its size); or nothing.
    axes : the axis that counts filters, for parameters where it is not the first; see `filter_axes`
    one_dimensional : whether biases and BatchNorm move too
        By default their direction is 0. Moved, each of them counts as one filter.

    Returns
    -------
    Weights
        The direction.
    """
    if how not in NORMALIZATIONS:
        raise BadInput(f"there is no normalisation {how!r}; use {', '.join(NORMALIZATIONS)}")
    for name, d in direction.items():
        w = weights[name]
        if d.ndim < 2 and not one_dimensional:
            d.zero_()
        elif how == "weight":
            d.mul_(w.abs())
        elif how == "layer" or (how == "filter" and d.ndim < 2):
            d.mul_(_ratio(w.reshape(1, -1), d.reshape(1, -1)).item())
        elif how == "filter":
            axis = (axes or {}).get(name, 0)
            scale = _ratio(w.movedim(axis, 0), d.movedim(axis, 0))
            d.mul_(scale.to(d).view([-1 if i == axis else 1 for i in range(d.ndim)]))
    return direction


def _ratio(weight: Tensor, direction: Tensor) -> Tensor:
    """Norms of a weight's slices along the first axis over those of a direction; 0 where both are 0."""
    d, w = (np.sqrt(_products(t, t)) for t in (direction, weight))
    return torch.from_numpy(np.divide(w, d, out=np.zeros_like(d), where=d > 0))


def orthogonalize(directions: Sequence[Weights]) -> list[Weights]:
    """Take from each direction its part along those before it, exactly; the first stays as it is.

    Parameters
    ----------
    directions : of the same names and shapes; not changed

    Returns
    -------
    list of Weights
        Orthogonal over all parameters, to the rounding of their type. Of a normalised direction, what
        remains is no longer exactly normalised: filters differ by the part taken away, which is tiny for random ones.

    Raises
    ------
    BadInput
        A direction lies along those before it.
    """
    done: list[Weights] = []
    for direction in directions:
        # In float64 and twice: once leaves a part along the others as large as the rounding of what is taken away.
        rest = {name: d.detach().cpu().numpy().astype(np.float64) for name, d in direction.items()}
        before = math.sqrt(_dot(rest, rest))
        for _ in range(2):
            for other in done:
                along = {name: d.detach().cpu().numpy().astype(np.float64) for name, d in other.items()}
                share = _dot(rest, along) / _dot(along, along)
                rest = {name: r - share * along[name] for name, r in rest.items()}
        if not math.sqrt(_dot(rest, rest)) > 1e-6 * before:
            raise BadInput("a direction lies along those before it, so nothing of it is left; give another one")
        done.append({name: torch.from_numpy(r).to(direction[name]) for name, r in rest.items()})
    return done


def _dot(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return math.fsum(float(np.einsum("i,i->", one[name].ravel(), other[name].ravel())) for name in one)


def cosine(one: Weights, other: Weights) -> float:
    """Cosine of the angle between two directions over all parameters."""

    def dot(a: Weights, b: Weights) -> float:
        return math.fsum(math.fsum(_products(a[name], b[name])) for name in a)

    return dot(one, other) / math.sqrt(dot(one, one) * dot(other, other))


def squared_norm(weights: Weights) -> float:
    """‖θ‖² over all parameters."""
    return math.fsum(math.fsum(_products(w, w)) for w in weights.values())


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
