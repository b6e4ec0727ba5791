"""The path of a training through weight space, and the plane that shows most of it.

A path is n checkpoints and then the final one. Its points are taken as differences to the final weights (Li et al.
2018, 1712.09913 §7), which are the origin of the plane: coordinates are along two directions from there. Principal
components are those of all n + 1 points about their mean. Norms are Euclidean, over the parameters that `final`
names; buffers, such as BatchNorm's statistics, are no part of the path.

Everything comes from inner products, and these are sums over parameters: a run of any length is read a piece of all
checkpoints at a time, a few times over. BLAS makes the products, so that their last bits may depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.weights import Weights

__all__ = [
    "PathInPlane",
    "Projection",
    "components",
    "explained",
    "gram",
    "padded_limits",
    "path_in_plane",
    "project",
    "random_walk",
    "step_lengths",
]

# Each gives the weights of one checkpoint, anew at every call: mapped from a file, they need no memory.
Points = Mapping[str, Callable[[], Mapping[str, Tensor]]]

ROOM = 2**28  # bytes of weights held at once; a checkpoint is opened once for each piece of this size
BLOCK = 2**25  # bytes of differences in float64, of that piece
SHOWN = 10  # components whose variance is told
LINE = 1e-13  # of the variance: what rounding to float32 leaves of a second component


class Projection(NamedTuple):
    """Points of a path in a plane, and off it.

    Attributes
    ----------
    coordinates : ndarray, shape (n + 1, k), along the k directions, in units of their lengths
    off_plane : ndarray, shape (n + 1,), distance from the plane; known to 1e-7 of the distance
    distance : ndarray, shape (n + 1,), from the final weights
    metric : ndarray, shape (k, k), inner products of the directions
    """

    coordinates: np.ndarray
    off_plane: np.ndarray
    distance: np.ndarray
    metric: np.ndarray


class PathInPlane(NamedTuple):
    """A path and its plane.

    Attributes
    ----------
    directions : two of Weights
    projection : Projection
    explained : ndarray, shape (k,), part of the path's variance that each of its first principal components has
    explained_random_walk : ndarray, shape (k,), the same of a random walk, see `random_walk`
    captured : part of the path's variance that lies in the plane
    """

    directions: tuple[Weights, ...]
    projection: Projection
    explained: np.ndarray
    explained_random_walk: np.ndarray
    captured: float


def path_in_plane(points: Points, final: Weights, directions: Sequence[Weights] | None = None) -> PathInPlane:
    """A path in the plane of its first two principal components, or in another one.

    Parameters
    ----------
    points : n checkpoints in their order, the final one not among them
    final : on the CPU; the path is that of the parameters named here
    directions : two, instead of the principal components; need not be orthogonal

    Raises
    ------
    BadInput
        Fewer than two checkpoints, a path of one point or on a line, weights that are not finite, directions that
        span no plane.
    """
    if len(points) < 2:
        raise BadInput(
            f"a path needs 2 checkpoints or more before the final one, got {len(points)}; "
            "give those that scripts/train.py --snapshots kept"
        )
    imaginary = [name for name, w in final.items() if w.is_complex()]
    if imaginary:  # a complex weight is two real ones
        points = {name: partial(_in_real, point) for name, point in points.items()}
        final = _in_real(partial(dict, final))
        directions = directions and [_in_real(partial(dict, direction)) for direction in directions]
    products = gram(points, final)
    variance = explained(products)
    if directions is None:
        if variance[1] < LINE:
            raise BadInput(
                "the path lies on a line, which has no second component; measure it with surface.py --to instead"
            )
        directions = components(points, final, products)
    projection = project(points, final, directions)
    offsets = projection.coordinates - projection.coordinates.mean(axis=0)
    inside = np.einsum("ik,kl,il->", offsets, projection.metric, offsets)
    walk = explained(random_walk(step_lengths(products)))
    k = min(SHOWN, len(points))
    captured = float(inside / np.trace(_centred(products)))
    directions = [{**d, **{name: torch.view_as_complex(d[name]) for name in imaginary}} for d in directions]
    return PathInPlane(tuple(directions), projection, variance[:k], walk[:k], captured)


def _in_real(point: Callable[[], Mapping[str, Tensor]]) -> Weights:
    return {name: torch.view_as_real(w.resolve_conj()) if w.is_complex() else w for name, w in point().items()}


def gram(points: Points, final: Weights) -> np.ndarray:
    """Inner products of the differences of all points to the final one, itself the last.

    Returns
    -------
    ndarray, shape (n + 1, n + 1), float64; the last row and column are 0
    """
    products = np.zeros((len(points) + 1, len(points) + 1))
    for _, d in _differences(points, final):  # (n, columns)
        products[:-1, :-1] += d @ d.T
    return products


def explained(products: np.ndarray) -> np.ndarray:
    """Parts of a path's variance about its mean that its principal components have, the largest first.

    Raises
    ------
    BadInput
        All points are the same.
    """
    values = np.linalg.eigvalsh(_centred(products))[::-1].clip(min=0)
    if not values.sum() > 0:
        raise BadInput(
            "all checkpoints have the same weights: there is no path; give those of a training, and of a network in "
            "memory copies, since a state dict follows its network"
        )
    return values / values.sum()


def components(points: Points, final: Weights, products: np.ndarray, number: int = 2) -> list[Weights]:
    """The first principal components of a path, of unit length; the path's start has no negative coordinate.

    Parameters
    ----------
    points, final : see `path_in_plane`
    products : of `gram`
    """
    values, vectors = np.linalg.eigh(_centred(products))
    # The components are right singular vectors of the centred points, and centring is lost on what sums to 0.
    weights = (vectors[:, ::-1] / np.sqrt(values[::-1].clip(min=np.finfo(float).tiny)))[:, :number].T
    weights = weights - weights.mean(axis=1, keepdims=True)
    weights *= np.where(weights @ products[0] < 0, -1.0, 1.0)[:, None]
    directions: list[Weights] = [
        {name: torch.empty(w.shape, dtype=w.dtype) for name, w in final.items()} for _ in range(number)
    ]
    for columns, d in _differences(points, final):
        for direction, piece in zip(directions, torch.from_numpy(weights[:, :-1] @ d), strict=True):
            for name, inside, place in _parts(final, columns):
                direction[name].view(-1)[inside] = piece[place].to(direction[name])
    return directions


def project(points: Points, final: Weights, directions: Sequence[Weights]) -> Projection:
    """The nearest points of a plane to those of a path, by least squares.

    Parameters
    ----------
    points, final : see `path_in_plane`
    directions : linearly independent, of any lengths and angles

    Raises
    ------
    BadInput
        The directions are zero, or parallel.
    """
    k = len(directions)
    inner, metric, squares = np.zeros((len(points) + 1, k)), np.zeros((k, k)), np.zeros(len(points) + 1)
    for columns, d in _differences(points, final):
        v = torch.stack([_gather(direction, final, columns) for direction in directions]).double().numpy()
        inner[:-1] += d @ v.T
        metric += v @ v.T
        squares[:-1] += np.einsum("ij,ij->i", d, d)
    lengths = np.sqrt(np.diag(metric))
    if not lengths.all() or np.linalg.eigvalsh(metric / np.outer(lengths, lengths))[0] < 1e-10:
        raise BadInput("the directions are parallel, or zero, and span no plane; give others")
    coordinates = np.linalg.solve(metric, inner.T).T + 0.0  # no −0
    off = squares - np.einsum("ik,ik->i", coordinates, inner)
    return Projection(coordinates, np.sqrt(off.clip(min=0)), np.sqrt(squares), metric)


def step_lengths(products: np.ndarray) -> np.ndarray:
    """Distances from each point of a path to the next, shape (n,), from its `gram`."""
    squares = np.diag(products)
    return np.sqrt((squares[:-1] + squares[1:] - 2 * np.diag(products, 1)).clip(min=0))


def random_walk(lengths: np.ndarray) -> np.ndarray:
    """Inner products of the points of a random walk with steps of these lengths, in many dimensions.

    There its steps are orthogonal: two points have in common the steps before the earlier one, and their product is the
    sum of those steps' squares. A walk's first two components have three quarters of its variance, although it goes
    nowhere (Antognini and Sohl-Dickstein 2018, 1806.08805), so this is what a path's have to be compared with.

    Returns
    -------
    ndarray, shape (n + 1, n + 1), from the walk's start
    """
    covered = np.concatenate([[0.0], np.cumsum(np.square(lengths))])
    return np.minimum.outer(covered, covered)


def padded_limits(coordinates: np.ndarray, margin: float = 0.15) -> list[tuple[float, float]]:
    """Ends of axes, of about one length, that hold a path with a margin; to two digits.

    Parameters
    ----------
    coordinates : ndarray, shape (n + 1, k)
    margin : on either side, as a part of the path's longest extent
    """
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = (0.5 + margin) * ((high - low).max() or 1.0)
    step = 10.0 ** (np.floor(np.log10(2 * half)) - 1)
    middle = (low + high) / 2
    ends = zip(np.floor((middle - half) / step), np.ceil((middle + half) / step), strict=True)
    return [(float(f"{a * step:.6g}"), float(f"{b * step:.6g}")) for a, b in ends]


def _differences(points: Points, final: Weights) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of the differences to the final weights, all parameters as one vector: shape (n, columns), float64."""
    total, dtype = sum(w.numel() for w in final.values()), _dtype(final)
    held = max(1, ROOM // (dtype.itemsize * len(points)))
    step = max(1, BLOCK // (8 * len(points)))
    rows = [torch.empty(min(held, total), dtype=dtype) for _ in points]  # apart, they fit where memory has been freed
    for start in range(0, total, held):
        piece = slice(start, min(start + held, total))
        for row, point in zip(rows, points.values(), strict=True):
            _gather(point(), final, piece, row)
        for first in range(start, piece.stop, step):
            columns = slice(first, min(first + step, piece.stop))
            block = torch.stack([row[first - start : columns.stop - start] for row in rows]).double()
            block -= _gather(final, final, columns)
            finite = block.isfinite().all(dim=1)
            if not finite.all():
                name = list(points)[int(finite.int().argmin())]
                raise BadInput(f"{name}, or the final checkpoint, has weights that are not finite; leave it out")
            yield columns, block.numpy()


def _gather(weights: Mapping[str, Tensor], final: Weights, columns: slice, out: Tensor | None = None) -> Tensor:
    """A piece of weights, laid out as one vector in the order of the final ones."""
    out = torch.empty(columns.stop - columns.start, dtype=_dtype(final)) if out is None else out
    for name, inside, place in _parts(final, columns):
        out[place] = _elements(weights[name], inside)
    return out


def _parts(final: Weights, columns: slice) -> Iterator[tuple[str, slice, slice]]:
    """The parameters that have a part in a piece of the vector: which of their elements, and where these lie in it."""
    end = 0
    for name, w in final.items():
        begin, end = end, end + w.numel()
        first, last = max(begin, columns.start), min(end, columns.stop)
        if first < last:
            yield name, slice(first - begin, last - begin), slice(first - columns.start, last - columns.start)


def _elements(tensor: Tensor, inside: slice) -> Tensor:
    """Some elements in C order. However a mapped tensor lies in its file, only the rows that hold them are read."""
    if tensor.ndim < 2:
        return tensor.reshape(-1)[inside]
    size = tensor[0].numel()
    skipped = inside.start // size
    rows = tensor[skipped : -(-inside.stop // size)].reshape(-1)
    return rows[inside.start - skipped * size : inside.stop - skipped * size]


def _dtype(final: Weights) -> torch.dtype:
    return torch.float64 if any(w.dtype == torch.float64 for w in final.values()) else torch.float32


def _centred(products: np.ndarray) -> np.ndarray:
    """Inner products of points about their mean, from those about any other point."""
    rows = products - products.mean(axis=0)
    return rows - rows.mean(axis=1, keepdims=True)
