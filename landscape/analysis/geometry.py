"""Numbers from a surface: from a results file's arrays and nothing else.

A surface is an array over (y, x), or over x alone; NaN and infinity may occur.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy
from numpy.lib.stride_tricks import sliding_window_view

from landscape.engine.grid import index_of

__all__ = [
    "Barrier",
    "Basin",
    "Interval",
    "Roughness",
    "barrier",
    "barrier_between",
    "barrier_error",
    "basin",
    "between",
    "centre",
    "convex",
    "difference",
    "interval",
    "loss_range",
    "roughness",
]


class Roughness(NamedTuple):
    """What a smooth fit leaves over.

    Attributes
    ----------
    ratio : 1
        Residual over what the stated errors alone would leave: 1 for a smooth surface whose noise is as
        stated, less where points err together, more where there is structure between grid points.
    excess : relative to the loss
        Standard deviation of that structure, √(residual² − noise²); 0 where there is none.
    windows : how many were fitted
    """

    ratio: float
    excess: float
    windows: int


class Basin(NamedTuple):
    """A connected region below a level.

    Attributes
    ----------
    size : width in units of x, or area in units of x times y
    censored : whether it reaches the edge of what is known, so that `size` is a lower bound
    """

    size: float
    censored: bool


class Barrier(NamedTuple):
    """Height of a path over its ends, in units of the loss; none is negative.

    Attributes
    ----------
    over_larger : largest loss on the path minus that of the larger end
    over_mean : largest loss on the path minus the mean of the ends
        The "instability" of Frankle, Dziugaite, Roy, Carbin: Linear Mode Connectivity and the Lottery
        Ticket Hypothesis, ICML 2020.
    over_line : largest difference of the loss to the straight line between the ends
        The "barrier" of Entezari, Sedghi, Saukh, Neyshabur: The Role of Permutation Invariance in Linear
        Mode Connectivity of Neural Networks, ICLR 2022.
    """

    over_larger: float
    over_mean: float
    over_line: float


class Interval(NamedTuple):
    """A mean, or a difference of means, and where it may be.

    Attributes
    ----------
    mean, low, high : in units of the numbers
    number : how many numbers it is taken from
    """

    mean: float
    low: float
    high: float
    number: int


def centre(loss: np.ndarray, x: np.ndarray, y: np.ndarray | None = None) -> float:
    """The loss at the origin of a plane or line.

    Parameters
    ----------
    loss : float ndarray, shape (y, x) or (x,)
    x, y : float ndarray
        Coordinates; `y` is None on a line.

    Returns
    -------
    float
        In the unit of the loss; NaN if the grid does not hold that point.
    """
    place = _origin(x, y)
    return float("nan") if place is None else float(loss[place])


def loss_range(loss: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite loss.

    Parameters
    ----------
    loss : float ndarray of any shape

    Returns
    -------
    tuple of two floats
        In the unit of the loss.
    """
    finite = loss[np.isfinite(loss)]
    return (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))


def convex(loss: np.ndarray, x: np.ndarray, y: np.ndarray, error: np.ndarray | None = None) -> np.ma.MaskedArray:
    """Where the slice is convex.

    Parameters
    ----------
    loss : ndarray, shape (len(y), len(x))
    x, y : monotonic coordinates
    error : ndarray, of the same shape, optional
        Standard errors of the losses, as if of independent noise; one that is not known (NaN) counts as 0.

    Returns
    -------
    masked array of bool, shape (len(y) − 2, len(x) − 2)
        At the inner grid points, whether the 2×2 Hessian by differences of the nine losses around is positive
        semi-definite, up to rounding; masked where one of them is not finite, or where the smaller eigenvalue is less
        than two of its standard errors from 0.
    """
    if min(loss.shape) < 3:
        return np.ma.masked_array(np.zeros([max(side - 2, 0) for side in loss.shape], bool))
    f = np.where(np.isfinite(loss), loss, np.nan)
    around = sliding_window_view(f, (3, 3))
    along_x, along_y, mixed = _stencils(x, y)
    xx, yy, xy = (np.sum(around * stencil, axis=(-1, -2)) for stencil in (along_x, along_y, mixed))
    # The smaller eigenvalue, so that one tolerance in units of curvature serves all three conditions.
    smaller = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    rows, columns = (np.minimum(np.abs(np.diff(a))[1:], np.abs(np.diff(a))[:-1]) for a in (y, x))
    size = np.abs(around).max(axis=(-1, -2)) / np.minimum(rows[:, None], columns) ** 2
    rounding = 16 * np.finfo(float).eps * size
    hidden = ~np.isfinite(smaller)
    if error is not None:
        squares = sliding_window_view(np.where(np.isfinite(error), error, 0.0) ** 2, (3, 3))
        turn = np.arctan2(2 * xy, xx - yy)[..., None, None] / 2 + np.pi / 2  # of the smaller one's eigenvector
        weights = np.cos(turn) ** 2 * along_x + np.sin(turn) ** 2 * along_y + np.sin(2 * turn) * mixed
        noise = 2 * np.sqrt(np.sum(weights**2 * squares, axis=(-1, -2)))
        hidden |= (np.abs(smaller) < noise) & (noise > rounding)
    return np.ma.masked_array(smaller >= -rounding, hidden)


def roughness(loss: np.ndarray, loss_se: np.ndarray, window: int = 5) -> Roughness:
    """Structure from one grid point to the next, beyond a smooth surface and the stated noise.

    In each window of `window` × `window` points (`window` on a line), a quadratic polynomial is fitted by
    least squares (Savitzky, Golay 1964), and its residual is taken relative to the window's mean loss, so
    that a corner where the loss is thousands does not drown the basin. It is the loss itself that is
    fitted, not its logarithm: around a minimum the loss is quadratic and leaves no residual, while its
    logarithm bends without bound as the minimum nears 0.

    Parameters
    ----------
    loss : ndarray, shape (ny, nx) or (nx,)
        Positive. Windows with a point that is not finite are left out.
    loss_se : ndarray, of the same shape, in units of the loss
        Standard errors, as if of independent noise. A point whose error is unknown (interpolated) is
        left out: interpolation is smooth by construction.
    window : odd, 5 or more
        Structure wider than this is smooth; so compare surfaces of the same spacing only. On a grid so coarse
        that a smooth loss is far from quadratic within a window, what is left of it counts as well.

    Returns
    -------
    Roughness
        From means of squares over windows: E[RSS] = Σᵢ Mᵢᵢ seᵢ² with M the projection on what no quadratic
        fits, whichever the errors. NaN if no window is whole; the ratio is infinite or NaN if all errors are 0.
    """
    loss, error = np.asarray(loss, float), np.asarray(loss_se, float)
    if min(loss.shape) < window:
        return Roughness(float("nan"), float("nan"), 0)
    leftover = _leftover(window, loss.ndim)
    freedom = np.trace(leftover)
    shape = (window,) * loss.ndim
    f, se = (sliding_window_view(a, shape).reshape(-1, len(leftover)) for a in (loss, error))
    with np.errstate(invalid="ignore"):
        level = f.mean(axis=1)
    whole = (np.isfinite(f) & np.isfinite(se)).all(axis=1) & (level > 0)
    if not whole.any():
        return Roughness(float("nan"), float("nan"), 0)
    f, se = (a[whole] / level[whole, None] for a in (f, se))
    residual = np.mean(((f - 1) @ leftover) ** 2) * len(leftover) / freedom
    noise = np.mean(se**2 @ np.diag(leftover)) / freedom
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt(residual / noise)
    return Roughness(float(ratio), float(np.sqrt(max(residual - noise, 0))), int(whole.sum()))


def basin(
    values: np.ndarray,
    level: float,
    x: np.ndarray,
    y: np.ndarray | None = None,
    around: Literal["centre", "least"] = "centre",
) -> Basin:
    """Size of the connected region below a level.

    Between grid points, values are interpolated linearly; in a plane on four triangles per cell, which meet
    in its middle at the mean of the corners, so that no diagonal is preferred. Width and area of the
    interpolated region are exact, and off those of a smooth surface by a term in the square of the spacing.

    Parameters
    ----------
    values : ndarray, shape (len(y), len(x)) or (len(x),)
        Losses, or errors (1 − accuracy). NaN and infinity are outside of what is known.
    level : in units of the values; the region is where they are less
    x, y : monotonic coordinates
    around : the origin of the plane, or the grid point with the least value

    Returns
    -------
    Basin
        Of size 0 if the point is not below the level; NaN if there is no such point, or its value is not finite.
    """
    values = np.where(np.isfinite(values), values, np.nan)
    place: tuple[Any, ...] | None
    if around == "least":
        place = np.unravel_index(np.nanargmin(values), values.shape) if np.isfinite(values).any() else None
    else:
        place = _origin(x, y)
    if place is None or np.isnan(values[place]):
        return Basin(float("nan"), False)
    if values[place] >= level:
        return Basin(0.0, False)
    return _width(values, level, x, int(place[0])) if y is None else _area(values, level, x, y, tuple(map(int, place)))


def barrier(loss: np.ndarray, x: np.ndarray) -> Barrier:
    """How high a straight path climbs between its ends.

    Parameters
    ----------
    loss : ndarray, shape (len(x),)
    x : coordinates, from one end to the other

    Returns
    -------
    Barrier
        Infinite where the loss is on the way. NaN if it is NaN anywhere, since that may be the top, or
        if an end is not finite.
    """
    first, last = loss[0], loss[-1]
    if np.isnan(loss).any() or not np.isfinite([first, last]).all():
        return Barrier(*[float("nan")] * 3)
    top = loss.max()
    share = (x - x[0]) / (x[-1] - x[0])
    # The differences are 0 at the ends but for rounding, and a barrier is not negative.
    over_line = max(0.0, (loss - ((1 - share) * first + share * last)).max())
    return Barrier(float(top - max(first, last)), float(top - (first + last) / 2), float(over_line))


def barrier_error(loss: np.ndarray, loss_se: np.ndarray, x: np.ndarray) -> float:
    """The standard error of a barrier over the line between the ends of a path.

    Parameters
    ----------
    loss, loss_se, x : ndarray, shape (len(x),)
        Losses with their errors, and coordinates, from one end to the other.

    Returns
    -------
    float
        From the errors of the top and of both ends, as if they were independent. Where points share their examples, as
        on surfaces, losses rise and fall together, and it is less.
    """
    share = (x - x[0]) / (x[-1] - x[0])
    over = loss - ((1 - share) * loss[0] + share * loss[-1])
    if np.isnan(over).any():
        return float("nan")
    top = int(np.argmax(over))
    return float(np.sqrt(np.sum(np.square([loss_se[top], (1 - share[top]) * loss_se[0], share[top] * loss_se[-1]]))))


def barrier_between(loss: np.ndarray, loss_se: np.ndarray, x: np.ndarray) -> tuple[float, float] | None:
    """The barrier over the line between two networks, which are at 0 and 1 of a line, and its standard error.

    Parameters
    ----------
    loss, loss_se, x : ndarray, shape (len(x),)
        Losses with their errors, and coordinates.

    Returns
    -------
    tuple of two floats, or None
        None where the line does not hold both networks.
    """
    part = between(x)
    if part is None:
        return None
    loss, loss_se, x = loss[part], loss_se[part], x[part]
    return barrier(loss, x).over_line, barrier_error(loss, loss_se, x)


def between(x: np.ndarray) -> slice | None:
    """The part of a line from 0 to 1, where two networks are; None if it does not hold both.

    Parameters
    ----------
    x : coordinates, monotonic

    Returns
    -------
    slice or None
    """
    zero, one = index_of(x, 0), index_of(x, 1)
    return None if zero is None or one is None else slice(min(zero, one), max(zero, one) + 1)


def interval(numbers: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean over repeats (pairs of directions, seeds) and its interval by Student's t.

    Parameters
    ----------
    numbers : one for each repeat; those that are not finite are left out
    confidence : how often the interval holds the mean of all possible repeats, if they are normal

    Returns
    -------
    Interval
        Without bounds (NaN) from fewer than two numbers.
    """
    a = _finite(numbers)
    mean, squared = _mean(a)
    return Interval(mean, *_bounds(mean, squared, len(a) - 1, confidence), len(a))


def difference(first: Iterable[float], second: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean of the first group minus that of the second, and its interval with unequal variances (Welch 1947).

    Parameters
    ----------
    first, second : independent repeats; numbers that are not finite are left out
    confidence : as in `interval`

    Returns
    -------
    Interval
        Without bounds (NaN) if a group has fewer than two numbers.
    """
    a, b = _finite(first), _finite(second)
    (mean_a, squared_a), (mean_b, squared_b) = _mean(a), _mean(b)
    squared = squared_a + squared_b
    spread = squared_a**2 / max(len(a) - 1, 1) + squared_b**2 / max(len(b) - 1, 1)
    # Two groups without any spread have no degrees of freedom, but an interval of width 0 with any.
    freedom = squared**2 / spread if spread else len(a) + len(b) - 2
    mean = mean_a - mean_b
    return Interval(mean, *_bounds(mean, squared, freedom, confidence), len(a) + len(b))


def _stencils(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the 3×3 losses around inner points in the second derivatives along x, along y, and mixed.

    Shapes (1 or len(y) − 2, 1 or len(x) − 2, 3, 3); exact of quadratic functions, whichever the steps.
    """

    def second(a: np.ndarray) -> np.ndarray:
        before, after = np.diff(a)[:-1], np.diff(a)[1:]
        both = before + after
        return np.stack([2 / (before * both), -2 / (before * after), 2 / (after * both)], axis=-1)

    def first(a: np.ndarray) -> np.ndarray:
        return np.array([-1.0, 0.0, 1.0]) / (a[2:] - a[:-2])[:, None]

    middle = np.array([0.0, 1.0, 0.0])
    return (
        (middle[:, None] * second(x)[:, None, :])[None],
        (second(y)[:, :, None] * middle)[:, None],
        first(y)[:, None, :, None] * first(x)[None, :, None, :],
    )


def _origin(x: np.ndarray, y: np.ndarray | None) -> tuple[int, ...] | None:
    """Index of the plane's origin, if the grid holds it."""
    places = [index_of(a, 0) for a in ([x] if y is None else [y, x])]
    return None if None in places else tuple(p for p in places if p is not None)


def _leftover(window: int, ndim: int) -> np.ndarray:
    """Projection of a window's values on what no quadratic polynomial fits, shape (window^ndim, window^ndim)."""
    axes = np.meshgrid(*[np.arange(window) - window // 2] * ndim, indexing="ij")
    u = [a.ravel().astype(float) for a in axes]
    terms = [np.ones(window**ndim), *u, *(u[i] * u[j] for i in range(ndim) for j in range(i + 1))]
    basis, _ = np.linalg.qr(np.stack(terms, axis=1))
    return np.eye(window**ndim) - basis @ basis.T


def _width(values: np.ndarray, level: float, x: np.ndarray, start: int) -> Basin:
    """Width of the run around `start`, which is below the level; NaN is unknown."""
    size, censored = 0.0, False
    for step in (-1, 1):
        i = start
        while 0 <= i + step < len(x) and values[i + step] < level:  # never true of NaN
            i += step
        end = x[i]
        if 0 <= i + step < len(x) and np.isfinite(values[i + step]):
            share = (level - values[i]) / (values[i + step] - values[i])
            end = x[i] + share * (x[i + step] - x[i])
        else:
            censored = True
        size += abs(end - x[start])
    return Basin(float(size), censored)


def _area(values: np.ndarray, level: float, x: np.ndarray, y: np.ndarray, start: tuple[int, ...]) -> Basin:
    """Area of the region around `start`, which is below the level; NaN is unknown."""
    node = np.arange(values.size).reshape(values.shape)
    ring = np.stack([a.ravel() for a in (node[:-1, :-1], node[:-1, 1:], node[1:, 1:], node[1:, :-1])])
    middle = values.size + np.arange(ring.shape[1])
    height = np.concatenate([values.ravel(), values.ravel()[ring].mean(axis=0)])
    whole = np.isfinite(height[middle])
    triangles = np.stack([np.stack([ring[i], ring[i - 1], middle])[:, whole] for i in range(4)], axis=1)
    cell = np.abs(np.outer(np.diff(y), np.diff(x))).ravel()[whole]

    # The part of a triangle below the level is convex: its corners there are connected, and to nothing
    # but what shares one of them. So the region is a component of the graph of corners.
    below = height < level
    a, b = np.concatenate([triangles[[i, i - 1]].reshape(2, -1) for i in range(3)], axis=1)
    joined = below[a] & below[b]
    # Indices of 32 bits: with others scipy 1.11 gives no components, and no error.
    ends = a[joined].astype(np.int32), b[joined].astype(np.int32)
    graph = scipy.sparse.coo_array((np.ones(joined.sum(), bool), ends), shape=(height.size,) * 2)
    _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
    region = below & (label == label[node[start]])

    share = np.where(region[triangles].any(axis=0), _share_below(height[triangles], level), 0)
    # Inside of what is known, a grid point has four cells around it.
    around = np.pad(whole.reshape(len(y) - 1, len(x) - 1), 1).astype(int)
    inner = around[:-1, :-1] + around[:-1, 1:] + around[1:, :-1] + around[1:, 1:] == 4
    reaches = region[: values.size] & ~inner.ravel()
    return Basin(float((share.sum(axis=0) * cell / 4).sum()), bool(reaches.any()))


def _share_below(corners: np.ndarray, level: float) -> np.ndarray:
    """Share of a triangle's area where the linear function through its corners, shape (3, …), is below a level."""
    low, mid, high = np.sort(corners, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        tip = (level - low) ** 2 / ((mid - low) * (high - low))
        rest = 1 - (high - level) ** 2 / ((high - mid) * (high - low))
    return np.select([low >= level, mid >= level, high >= level], [0.0, tip, rest], 1.0)


def _finite(numbers: Iterable[float]) -> np.ndarray:
    a = np.array(list(numbers), float)
    return a[np.isfinite(a)]


def _mean(a: np.ndarray) -> tuple[float, float]:
    """Mean, and the square of its standard error; NaN where there is none."""
    mean = float(a.mean()) if len(a) else float("nan")
    return mean, float(a.var(ddof=1) / len(a)) if len(a) > 1 else float("nan")


def _bounds(mean: float, squared: float, freedom: float, confidence: float) -> tuple[float, float]:
    if np.isnan(squared):
        return float("nan"), float("nan")
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, freedom)) * squared**0.5
    return mean - half, mean + half
