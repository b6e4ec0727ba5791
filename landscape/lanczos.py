"""Ends, trace and density of a symmetric operator's spectrum, from products with vectors alone.

Values are in the operator's units. Everything random is drawn by numpy from a seed, and sums over long
vectors are none of BLAS, whose bits vary with the number of threads: the same seed gives the same bits,
as far as the operator's products do. Each probe of a trace or of a density has a seed of its own, so that
probes can be taken in any order and anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.stats import t as student

from landscape.errors import BadInput

__all__ = [
    "Density",
    "Ends",
    "Estimate",
    "Sketch",
    "budget",
    "density",
    "ends",
    "estimate",
    "lanczos",
    "moment",
    "probe",
    "quadrature",
    "sketch_of",
    "smoothed",
    "trace",
]

# The width of a density's Gaussians as a part of the spectrum's range, where none is given.
WIDTH = 0.01


@dataclass(frozen=True)
class Ends:
    """Smallest and largest eigenvalue.

    Attributes
    ----------
    values : float64 ndarray, shape (2,)
        λ_min, λ_max. They lie inside the spectrum's range, but for rounding.
    residuals : float64 ndarray, shape (2,)
        ‖Hv − λv‖ for a unit vector v, by a product of its own. An eigenvalue lies so near to λ, or nearer.
    converged : bool
        Whether both residuals are within the tolerance, and hide nothing beyond it.
    products : int
        How many products with the operator it took.
    """

    values: np.ndarray
    residuals: np.ndarray
    converged: bool
    products: int


@dataclass(frozen=True)
class Estimate:
    """An estimate from independent probes.

    Attributes
    ----------
    value : float
    standard_error : float
    interval : (float, float)
        95 %, by Student's t.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]


class Sketch(NamedTuple):
    """A subspace that holds the better part of an operator.

    Attributes
    ----------
    basis : float64 ndarray, shape (k, n)
        Orthonormal rows.
    trace : float
        Of the operator on it.
    """

    basis: np.ndarray
    trace: float


@dataclass(frozen=True)
class Density:
    """A spectral density, smoothed by a Gaussian.

    Attributes
    ----------
    grid : float64 ndarray, shape (G,)
        Eigenvalues, ascending.
    values : float64 ndarray, shape (G,)
        Parts of all eigenvalues per unit of eigenvalue.
    standard_error : float64 ndarray, shape (G,)
        Of the mean over probes; 95 % intervals by Student's t with probes − 1 degrees of freedom.
    width : float
        Standard deviation of the Gaussian.
    nodes, weights : float64 ndarray, shape (probes, steps)
        Each probe's quadrature; the weights of a probe sum to 1.
    n : int
        How many eigenvalues there are.
    """

    grid: np.ndarray
    values: np.ndarray
    standard_error: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray
    n: int


def lanczos(
    operator: LinearOperator,
    start: np.ndarray,
    steps: int,
    enough: Callable[[np.ndarray, np.ndarray], bool] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lanczos' tridiagonal matrix, with full reorthogonalisation (Parlett 1998, §13.1, §6.9).

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    start : ndarray, shape (n,)
    steps : int
        At most so many products; n suffice.
    enough : callable, optional
        Given the diagonals so far, tells whether to stop.

    Returns
    -------
    diagonal : float64 ndarray, shape (k,)
    beside : float64 ndarray, shape (k,)
        Second diagonal; the last is the norm of what the basis leaves out, 0 where it leaves out nothing.
    basis : float64 ndarray, shape (k, n)
        Orthonormal rows: 8 · k · n bytes.
    """
    n = operator.shape[0]
    steps = min(steps, n)
    basis, diagonal, beside = np.empty((steps, n)), np.zeros(steps), np.zeros(steps)
    q, scale = start / _norm(start), 0.0
    for k in range(steps):
        basis[k] = q
        w = _product(operator, q)
        diagonal[k] = _dot(q, w)
        w = _left_out(w, basis[: k + 1])
        beside[k] = _norm(w)
        scale = max(scale, abs(diagonal[k]), beside[k])
        if k + 1 == n or beside[k] <= 1e-13 * scale:  # only rounding is left: the basis holds all that start reaches
            beside[k] = 0.0
            break
        if enough is not None and enough(diagonal[: k + 1], beside[: k + 1]):
            break
        q = w / beside[k]
    return diagonal[: k + 1], beside[: k + 1], basis[: k + 1]


def ends(operator: LinearOperator, tolerance: float = 1e-4, steps: int = 200, seed: int = 0) -> Ends:
    """Both ends of a spectrum from one Lanczos run.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    tolerance : float
        Of the residuals, as a part of the largest magnitude of an eigenvalue.
    steps : int
        At most so many products, and two for the residuals; each takes 8 · n bytes.
    seed : int
        Of the start vector.

    Notes
    -----
    An eigenvalue's error is at most its residual, and about residual² / gap where it is well separated
    (Parlett 1998, §11.7). But a small residual does not make it the last one: nearly all eigenvalues of a network's
    Hessian lie around 0, and for some steps the smallest Ritz value is the mean of these, with a residual that
    a few negative ones hardly show in. Such a Ritz value has a large weight w, the part of the start vector that
    its Ritz vector ψ(H) · start stands for. ψ vanishes at the other Ritz values, is 1/√w at its own, and grows
    from there outwards, so that an eigenvalue at a distance d farther out, of whose vector the start has the
    part s, adds d² s² / w or more to residual². Hence d ≤ residual · √w / |s|, where √n · s is about
    standard normal: the tolerance is asked of residual · √(n · w), where that is more than the residual.

    Raises
    ------
    BadInput
        A tolerance or a number of steps that is not positive.
    """
    _at_least(1, steps=steps)
    if not tolerance > 0:
        raise BadInput(f"a tolerance of {tolerance:g} is never met; give a positive one, like 1e-4")
    operator = aslinearoperator(operator)

    n = operator.shape[0]

    def enough(diagonal: np.ndarray, beside: np.ndarray) -> bool:
        pairs = [_ritz(diagonal, beside, end) for end in (0, len(diagonal) - 1)]
        hidden = max(abs(beside[-1] * vector[-1]) * _hiding(vector, n) for _, vector in pairs)
        # Half of the tolerance, since the residuals themselves decide in the end.
        return bool(hidden <= tolerance / 2 * max(abs(value) for value, _ in pairs))

    start = np.random.default_rng(seed).standard_normal(n)
    diagonal, beside, basis = lanczos(operator, start, steps, enough)
    _, small = eigh_tridiagonal(diagonal, beside[:-1])
    values, residuals, hidden = np.zeros(2), np.zeros(2), np.zeros(2)
    for i, vector in enumerate((small[:, 0], small[:, -1])):
        v = np.einsum("k,kn->n", vector, basis)
        v /= _norm(v)
        image = _product(operator, v)
        values[i] = _dot(v, image)
        residuals[i] = _norm(image - values[i] * v)
        hidden[i] = residuals[i] * _hiding(vector, n)
    converged = bool((hidden <= tolerance * np.abs(values).max()).all())
    return Ends(values, residuals, converged, len(diagonal) + 2)


def _ritz(diagonal: np.ndarray, beside: np.ndarray, which: int) -> tuple[float, np.ndarray]:
    """A tridiagonal matrix's eigenvalue by its number, with its unit vector."""
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(which, which))
    return float(values[0]), vectors[:, 0]


def _hiding(vector: np.ndarray, n: int) -> float:
    """√(n · w), or 1 where that is more: an outer eigenvalue may be hidden by so many residuals."""
    return max(1.0, float(np.sqrt(n) * abs(vector[0])))


def trace(operator: LinearOperator, products: int = 90, sketch: int | None = None, seed: int = 0) -> Estimate:
    """Trace by Hutch++ (Meyer, Musco, Musco & Woodruff 2021, Algorithm 1), with Rademacher vectors.

    The part of the operator on a subspace that holds its largest eigenvalues is traced exactly, the rest by
    Hutchinson's estimator.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    products : int
        How many to spend; with n or more the trace is exact, by n products.
    sketch : int, optional
        Dimension of the subspace, by default a third of the products. Each takes two products and 8 · n
        bytes; what is left goes to probes, 2 or more. 0 is Hutchinson's estimator.
    seed : int

    Returns
    -------
    Estimate
        The probes are independent and unbiased given the subspace, so that the standard error is s/√probes.

    Raises
    ------
    BadInput
        Fewer than two products are left for probes.
    """
    operator, n = aslinearoperator(operator), operator.shape[0]
    if products >= n:
        exact = sum(float(_product(operator, np.eye(1, n, i)[0])[i]) for i in range(n))
        return Estimate(exact, 0.0, (exact, exact))
    size, probes = budget(products, sketch)
    known = sketch_of(operator, size, seed)
    return estimate(probe(operator, known, (seed, number)) for number in range(probes))


def budget(products: int, sketch: int | None = None) -> tuple[int, int]:
    """How `trace` spends its products: on a sketch of which dimension, and on how many probes.

    Raises
    ------
    BadInput
        Fewer than two products are left for probes.
    """
    sketch = products // 3 if sketch is None else sketch
    probes = products - 2 * sketch
    if sketch < 0 or probes < 2:
        raise BadInput(f"{products} products with a sketch of {sketch} leave {probes} probes; leave 2 or more")
    return sketch, probes


def sketch_of(operator: LinearOperator, size: int, seed: int = 0) -> Sketch:
    """The span of an operator's images of random vectors: its largest magnitudes weigh most in them.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    size : int
        How many images, each of which takes two products. The span has as many dimensions, or as many as the
        operator's rank.
    seed : int
    """
    operator, n = aslinearoperator(operator), operator.shape[0]
    basis, k = np.empty((size, n)), 0
    for number in range(size):
        image = _product(operator, _signs(n, (seed, number, 1)))  # the 1 sets them apart from the seeds of probes
        rest = _left_out(image, basis[:k])
        if _norm(rest) > 1e-13 * _norm(image):  # only rounding is left otherwise
            basis[k] = rest / _norm(rest)
            k += 1
    basis = basis[:k]
    return Sketch(basis, sum(_dot(q, _product(operator, q)) for q in basis))


def probe(operator: LinearOperator, sketch: Sketch, seed: int | Sequence[int]) -> float:
    """One unbiased value of the trace: that on the sketch, and Hutchinson's estimate of the rest."""
    outside = _left_out(_signs(operator.shape[0], seed), sketch.basis)
    return sketch.trace + _dot(outside, _product(aslinearoperator(operator), outside))


def estimate(each: Iterable[float]) -> Estimate:
    """The mean of independent probes, two or more, with its standard error."""
    each = np.array(list(each), float)
    return _estimate(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), len(each))


def _signs(n: int, seed: int | Sequence[int]) -> np.ndarray:
    """A Rademacher vector."""
    return np.random.default_rng(seed).choice((-1.0, 1.0), n)


def density(
    operator: LinearOperator,
    probes: int = 10,
    steps: int = 80,
    grid: np.ndarray | None = None,
    width: float | None = None,
    seed: int = 0,
) -> Density:
    """Spectral density by stochastic Lanczos quadrature (Ghorbani, Krishnan & Xiao 2019, §2 and Algorithm 1).

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    probes : int
        Random directions, uniform on the sphere; 2 or more.
    steps, seed : int
        See `quadrature`; a probe's seed is (seed, its number).
    grid, width
        See `smoothed`.

    Raises
    ------
    BadInput
        Fewer than two probes, no steps, a width that is not positive.
    """
    _at_least(2, probes=probes)
    _check_width(width)  # before the work
    each = [quadrature(operator, steps, (seed, number)) for number in range(probes)]
    nodes, weights = (np.array(arrays) for arrays in zip(*each, strict=True))
    return smoothed(nodes, weights, operator.shape[0], grid, width)


def quadrature(
    operator: LinearOperator, steps: int = 80, seed: int | Sequence[int] = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian quadrature of the spectral density that a random unit vector sees (Golub & Welsch 1969).

    Its nodes and weights are the eigenvalues and the squared first components of the eigenvectors of Lanczos'
    matrix. The mean over such vectors is the density.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    steps : int
        How many nodes, at most n: so many products, and 8 · n bytes for each.
    seed : of the vector

    Returns
    -------
    nodes, weights : float64 ndarray, shape (steps,)
        A quadrature that is exact sooner repeats its last node with weights of 0. The weights sum to 1.
    """
    _at_least(1, steps=steps)
    operator, n = aslinearoperator(operator), operator.shape[0]
    diagonal, beside, _ = lanczos(operator, np.random.default_rng(seed).standard_normal(n), steps)
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    missing = (0, min(steps, n) - len(values))
    return np.pad(values, missing, mode="edge"), np.pad(vectors[0] ** 2, missing)


def smoothed(
    nodes: np.ndarray, weights: np.ndarray, n: int, grid: np.ndarray | None = None, width: float | None = None
) -> Density:
    """The density that the quadratures of several probes tell, smoothed by a Gaussian.

    Parameters
    ----------
    nodes, weights : ndarray, shape (probes, steps)
        Two probes or more.
    n : int
        How many eigenvalues there are.
    grid : ndarray, shape (G,), optional
        Where to tell the density; by default half a width apart, six widths beyond all nodes, so that the
        trapezoidal rule over it gives 1 to rounding.
    width : float, optional
        Standard deviation of the Gaussian, in the operator's units; by default 0.01 of the range of the nodes.

    Returns
    -------
    Density
        Its integral over all eigenvalues is 1.

    Notes
    -----
    The standard error is that of the mean over probes. What the quadrature misses in all of them alike, where
    the nodes lie farther apart than a width, is not in it: take more steps, or a wider Gaussian.

    Raises
    ------
    BadInput
        Fewer than two probes, a width that is not positive.
    """
    _at_least(2, probes=len(nodes))
    _check_width(width)
    low, high = nodes.min(), nodes.max()
    if width is None:
        # A range of rounding alone is none: of a multiple of one, or of nothing.
        width = WIDTH * (max(high - low, 1e-6 * max(abs(low), abs(high))) or 1.0)
    if grid is None:
        low, high = low - 6 * width, high + 6 * width
        grid = np.linspace(low, high, int(np.ceil((high - low) / width * 2)) + 1)
    grid = np.asarray(grid, float)
    values, error = np.transpose([_mean(_gaussian(nodes - at, width), weights, n) for at in grid])
    return Density(grid, values, error, float(width), nodes, weights, n)


def _check_width(width: float | None) -> None:
    if width is not None and not width > 0:
        raise BadInput(f"a Gaussian of width {width:g} smooths nothing; give a positive width")


def _gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / width) ** 2) / (width * np.sqrt(2 * np.pi))


def moment(density: Density, order: int) -> Estimate:
    """A moment of a density without its smoothing: the mean of λ^order over all eigenvalues.

    Exact for each probe up to order 2 · steps − 1, as Gaussian quadrature is.
    """
    _at_least(0, order=order)
    mean, error = _mean(density.nodes**order, density.weights, density.n)
    return _estimate(mean, error, len(density.nodes))


def _mean(values: np.ndarray, weights: np.ndarray, n: int) -> tuple[float, float]:
    """Mean of a function over all n eigenvalues, with standard error, from its values at nodes (probes, steps).

    For x uniform on the sphere, xᵀf(H)x has the variance 2/(n + 2) · (mean of f² − (mean of f)²), by the
    fourth moments of x. Where a few eigenvalues carry f its distribution is skewed, and probes that happen to
    be low scatter little: the variance by the formula, from all probes, is then the truer. Where the nodes
    are too few for f, the scatter shows it. The error is the larger of the two.
    """
    probes = weights.shape[0]
    each = (weights * values).sum(axis=1)
    mean = each.mean()
    spread = (weights * values**2).sum() / probes - mean**2
    return float(mean), float(np.sqrt(max(each.var(ddof=1), 2 / (n + 2) * spread) / probes))


def _estimate(mean: float, error: float, probes: int) -> Estimate:
    reach = float(student.ppf(0.975, probes - 1)) * error
    return Estimate(mean, error, (mean - reach, mean + reach))


def _product(operator: LinearOperator, vector: np.ndarray) -> np.ndarray:
    return np.asarray(operator.matvec(vector), dtype=float)


def _dot(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.einsum("n,n->", one, other))


def _norm(vector: np.ndarray) -> float:
    return float(np.sqrt(_dot(vector, vector)))


def _left_out(vector: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What orthonormal rows leave out of a vector (classical Gram–Schmidt)."""
    for _ in range(2):  # once would leave a part of rounding that grows with every step, twice does not
        vector = vector - np.einsum("k,kn->n", np.einsum("kn,n->k", basis, vector), basis)
    return vector


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number != int(number) or number < least:
            raise BadInput(f"{name} is {number}; give a whole number, {least} or more")
