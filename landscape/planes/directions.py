"""Directions in weight space.

Weights are a dict from parameter name to tensor, keyed as ``network.named_parameters()``; a
direction is Weights too. What a filter is in a parameter, `landscape.planes.filters` says. A complex weight counts as
two real ones: inner products are real parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput, did_you_mean
from landscape.planes.filters import Convention, convention_of
from landscape.weights import Weights, products, real

__all__ = [
    "cosine",
    "filter_normalize",
    "normalize",
    "orthogonalize",
    "random_direction",
]


def random_direction(weights: Weights, seed: int | Sequence[int]) -> Weights:
    """A direction whose every element is drawn from N(0, 1); of a complex one, both parts.

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

    def drawn(w: Tensor) -> Tensor:
        if w.is_complex():
            return torch.view_as_complex(torch.from_numpy(generator.standard_normal((*w.shape, 2), dtype=np.float32)))
        return torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32))

    return {name: drawn(w).to(w) for name, w in weights.items()}


def filter_normalize(
    direction: Weights, weights: Weights, conventions: Mapping[str, Convention] | None = None
) -> Weights:
    """Give each filter of a direction the norm of the network's filter (Li et al. 2018, §4); see `normalize`."""
    return normalize(direction, weights, "filter", conventions=conventions)


def normalize(
    direction: Weights,
    weights: Weights,
    how: str = "filter",
    *,
    conventions: Mapping[str, Convention] | None = None,
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
    conventions : of `landscape.planes.filters.conventions`
        By default the first axis of each parameter counts its filters, and those of one dimension have none.
    one_dimensional : whether parameters without filters, such as biases and BatchNorm's, move too
        By default their direction is 0. Moved, each of them counts as one filter.

    Returns
    -------
    Weights
        The direction.
    """
    if how not in NORMALIZATIONS:
        raise BadInput(
            f"there is no normalisation {how!r}; use {', '.join(NORMALIZATIONS)}{did_you_mean(how, NORMALIZATIONS)}"
        )
    for name, d in direction.items():
        w = weights[name]
        here = (conventions or {}).get(name) or convention_of(w)
        if not (here.axes or one_dimensional) or not w.numel() or not (w.is_floating_point() or w.is_complex()):
            d.zero_()
        elif how == "weight":
            _multiply(d, w.abs())
        elif how == "layer" or (how == "filter" and not here.axes):
            _multiply(d, _ratio(w.reshape(1, -1), d.reshape(1, -1)).reshape([1] * d.ndim))
        elif how == "filter":
            scale = here.spread(_ratio(here.rows(w), here.rows(d)))
            if here.view != d.shape:
                scale = scale.expand(here.view).reshape(d.shape)
            _multiply(d, scale)
    return direction


def _multiply(direction: Tensor, scale: Tensor) -> None:
    """In place; where a type has few digits, the factor keeps its own."""
    if direction.dtype in (torch.float32, torch.float64) or direction.is_complex():
        direction.mul_(scale.to(direction))
    else:
        direction.copy_(direction.float() * scale.to(direction.device, torch.float32))


def _ratio(weight: Tensor, direction: Tensor) -> Tensor:
    """Norms of a weight's slices along the first axis over those of a direction; 0 where both are 0."""
    d, w = (np.sqrt(products(t, t)) for t in (direction, weight))
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
        rest = {name: real(d).astype(np.float64) for name, d in direction.items()}
        before = math.sqrt(_dot(rest, rest))
        for _ in range(2):
            for other in done:
                along = {name: real(d).astype(np.float64) for name, d in other.items()}
                share = _dot(rest, along) / _dot(along, along)
                rest = {name: r - share * along[name] for name, r in rest.items()}
        if not math.sqrt(_dot(rest, rest)) > 1e-6 * before:
            raise BadInput("a direction lies along those before it, so nothing of it is left; give another one")
        done.append({name: _like(r, direction[name]) for name, r in rest.items()})
    return done


def _like(numbers: np.ndarray, tensor: Tensor) -> Tensor:
    """`_real` undone."""
    made = torch.from_numpy(np.asarray(numbers))
    return (torch.view_as_complex(made) if tensor.is_complex() else made).to(tensor)


def _dot(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    return math.fsum(float(np.einsum("i,i->", one[name].ravel(), other[name].ravel())) for name in one)


def cosine(one: Weights, other: Weights) -> float:
    """Cosine of the angle between two directions over all parameters."""

    def dot(a: Weights, b: Weights) -> float:
        return math.fsum(math.fsum(products(a[name], b[name])) for name in a)

    return dot(one, other) / math.sqrt(dot(one, one) * dot(other, other))
