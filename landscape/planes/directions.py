"""Directions in weight space.

Weights are a dict from parameter name to tensor, keyed as ``network.named_parameters()``; a
direction is Weights too. What a filter is in a parameter, `landscape.planes.filters` says. A complex weight counts as
two real ones: inner products are real parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput, did_you_mean
from landscape.lazy_weights import LazyWeights, blocks_of, row_blocks, shape_of, transient
from landscape.planes.filters import Convention, convention_of
from landscape.weights import Weights, products, real

__all__ = [
    "cosine",
    "filter_normalize",
    "normalize",
    "orthogonalize",
    "random_direction",
    "redrawn",
]


def random_direction(weights: Weights, seed: int | Sequence[int]) -> dict[str, Tensor]:
    """A direction whose every element is drawn from N(0, 1); of a complex one, both parts.

    Parameters
    ----------
    weights : Weights
        Gives names, shapes, types and devices.
    seed : int or sequence of int
        One number or several, such as ``(seed, axis)``.

    Returns
    -------
    Weights
        Named and shaped as `weights`.

    Notes
    -----
    Drawn by a generator of its own, on the processor and of another kind than torch's: the same
    bits on every device, and nothing in common with an initialisation from the same seed (with
    torch's own generator, equal seeds would give directions along the initial weights).
    """
    generator = np.random.default_rng(seed)
    return {name: _drawn(generator, w.shape, w.dtype).to(w.device) for name, w in weights.items()}


def _drawn(
    generator: np.random.Generator, shape: Sequence[int], dtype: torch.dtype, empty: Any = torch.empty
) -> Tensor:
    drawn = empty((*shape, 2) if dtype.is_complex else tuple(shape), dtype=torch.float32)
    generator.standard_normal(out=drawn.numpy(), dtype=np.float32)
    if dtype.is_complex:
        drawn = torch.view_as_complex(drawn)
    return drawn if drawn.dtype == dtype else empty(tuple(shape), dtype=dtype).copy_(drawn)


def redrawn(
    weights: Weights,
    seed: int | Sequence[int],
    how: str = "filter",
    *,
    origin: Weights | None = None,
    conventions: Mapping[str, Convention] | None = None,
    one_dimensional: bool = False,
) -> LazyWeights:
    """`random_direction`, normalised, of which each tensor is drawn again when it is asked for; the same bits.

    What is kept is the generator's state where each tensor begins, and the factors of the normalisation.

    Parameters
    ----------
    weights, how, conventions, one_dimensional : see `normalize`
    seed : see `random_direction`
    origin : the same weights, where those that are given will be moved

    Examples
    --------
    >>> weights = {"w": torch.ones(2, 3)}
    >>> drawn, again = normalize(random_direction(weights, 1), weights), redrawn(weights, 1)
    >>> torch.equal(drawn["w"], again["w"])
    True
    """
    generator = np.random.default_rng(seed)
    shapes = {name: w.shape for name, w in weights.items()}
    begin: dict[str, Any] = {}
    types, scales = {}, {}
    for name, w in weights.items():
        begin[name], types[name] = generator.bit_generator.state, w.dtype
        drawn = None  # let go of one before the next
        drawn = _drawn(generator, w.shape, w.dtype, transient)
        if _stays(w, convention := _convention(name, w, conventions), one_dimensional):
            del begin[name]
        elif how != "weight":  # there, factors are as large as the weights
            scales[name] = _scale(drawn, w, how, convention)

    def make(name: str, blocks: Sequence[Any] = (...,)) -> Iterator[Tensor]:
        if name not in begin:
            yield from (torch.zeros(shapes[name], dtype=types[name])[rows] for rows in blocks)
            return
        state = begin[name]
        scale = scales[name] if how != "weight" else (origin or weights)[name].abs()
        for rows in blocks:
            shape = shapes[name] if rows is ... else (len(range(*rows.indices(shapes[name][0]))), *shapes[name][1:])
            generator.bit_generator.state = state  # others may have drawn in the meantime
            drawn = _drawn(generator, shape, types[name], transient)
            state = generator.bit_generator.state
            if scale is not None:
                _multiply(drawn, scale if rows is ... or len(scale) == 1 else scale[rows])
            yield drawn

    return LazyWeights(shapes, lambda name: next(make(name)), lambda name: make(name, row_blocks(shapes[name])))


def filter_normalize(
    direction: Weights, weights: Weights, conventions: Mapping[str, Convention] | None = None
) -> Weights:
    """Give each filter of a direction the norm of the network's filter (Li et al. 2018, §4): `normalize` with its
    defaults.

    Parameters
    ----------
    direction : Weights
        Changed in place.
    weights : Weights
        Of the same names and shapes.
    conventions : dict, optional
        Of `landscape.planes.filters.conventions`.

    Returns
    -------
    Weights
        The direction.
    """
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
    direction : Weights
        Changed in place, for networks that fill the memory.
    weights : Weights
        Of the same names and shapes.
    how : {"filter", "layer", "weight", "none"}
        What gets the norm that it has in the network (Li et al. 2018, 1712.09913 §4): each filter, which is what
        makes one output channel or one neuron; each parameter tensor; each single weight (elements are
        multiplied by its size); or nothing.
    conventions : dict, optional
        Of `landscape.planes.filters.conventions`. By default the first axis of each parameter counts its filters, and
        those of one dimension have none.
    one_dimensional : bool
        Whether parameters without filters, such as biases and BatchNorm's, move too. By default their direction is 0.
        Moved, each of them counts as one filter.

    Returns
    -------
    Weights
        The direction.

    Raises
    ------
    BadInput
        There is no such way to normalise.
    """
    if how not in NORMALIZATIONS:
        raise BadInput(
            f"there is no normalisation {how!r}; use {', '.join(NORMALIZATIONS)}{did_you_mean(how, NORMALIZATIONS)}"
        )
    for name, d in direction.items():
        w = weights[name]
        if _stays(w, convention := _convention(name, w, conventions), one_dimensional):
            d.zero_()
        elif (scale := _scale(d, w, how, convention)) is not None:
            _multiply(d, scale)
    return direction


def _convention(name: str, weight: Tensor, conventions: Mapping[str, Convention] | None) -> Convention:
    return (conventions or {}).get(name) or convention_of(weight)


def _stays(weight: Tensor, convention: Convention, one_dimensional: bool) -> bool:
    """Whether a parameter does not move."""
    is_number = weight.is_floating_point() or weight.is_complex()
    return not (convention.axes or one_dimensional) or not weight.numel() or not is_number


def _scale(direction: Tensor, weight: Tensor, how: str, convention: Convention) -> Tensor | None:
    """What normalises a direction; None for nothing."""
    if how == "weight":
        return weight.abs()
    if how == "layer" or (how == "filter" and not convention.axes):
        return _ratio(weight.reshape(1, -1), direction.reshape(1, -1)).reshape([1] * direction.ndim)
    if how == "filter":
        scale = convention.spread(_ratio(convention.rows(weight), convention.rows(direction)))
        return scale if convention.view == direction.shape else scale.expand(convention.view).reshape(direction.shape)
    return None


def _multiply(direction: Tensor, scale: Tensor) -> None:
    """In place; where a type has few digits, the factor keeps its own."""
    if direction.dtype in (torch.float32, torch.float64) or direction.is_complex():
        direction.mul_(scale.to(direction))
    else:
        direction.copy_(direction.float().mul_(scale.to(direction.device, torch.float32)))


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
        shares: list[tuple[Weights, float]] = []  # what is taken away: so much of each of these
        rest = partial(_rest, direction, shares)
        before = math.sqrt(_dot(rest, rest, direction))
        # In float64 and twice: once leaves a part along the others as large as the rounding of what is taken away.
        for _ in range(2):
            for other in done:
                along = partial(_rest, other, ())
                shares.append((other, _dot(rest, along, direction) / _dot(along, along, direction)))
        if not math.sqrt(_dot(rest, rest, direction)) > 1e-6 * before:
            raise BadInput("a direction lies along those before it, so nothing of it is left; give another one")
        shapes = {name: shape_of(direction, name) for name in direction}
        made = LazyWeights(shapes, partial(_orthogonal, direction, shares))
        done.append(made if isinstance(direction, LazyWeights) else dict(made))
    return done


def _orthogonal(direction: Weights, shares: Sequence[tuple[Weights, float]], name: str) -> Tensor:
    tensor = direction[name]
    made = torch.from_numpy(_without(tensor, shares, name))
    return (torch.view_as_complex(made) if tensor.is_complex() else made).to(tensor)


def _rest(direction: Weights, shares: Sequence[tuple[Weights, float]], name: str) -> np.ndarray:
    return _without(direction[name], shares, name)


def _without(tensor: Tensor, shares: Sequence[tuple[Weights, float]], name: str) -> np.ndarray:
    """A tensor of a direction less so much of each of others, in float64."""
    rest = np.array(real(tensor), dtype=np.float64)
    for other, share in shares:
        along = real(other[name]).astype(np.float64)
        along *= share
        rest -= along
    return rest


def _dot(one: Callable[[str], np.ndarray], other: Callable[[str], np.ndarray], names: Iterable[str]) -> float:
    return math.fsum(float(np.einsum("i,i->", one(name).ravel(), other(name).ravel())) for name in names)


def cosine(one: Weights, other: Weights) -> float:
    """Cosine of the angle between two directions over all parameters."""
    sums = []
    for name in one:
        rows: list[list[float]] = [[], [], []]
        for blocks in zip(blocks_of(one, name), blocks_of(other, name), strict=True):
            a, b = (t.float() if t.dtype == torch.bfloat16 else t for t in blocks)  # once for all three
            for each, pair in zip(rows, ((a, b), (a, a), (b, b)), strict=True):
                each += products(*pair).tolist()
        sums.append([math.fsum(each) for each in rows])
    between, own, others = (math.fsum(column) for column in zip(*sums, strict=True))
    return between / math.sqrt(own * others)
