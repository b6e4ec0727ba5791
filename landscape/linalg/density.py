"""How the eigenvalues of a symmetric operator are distributed, from its products with random vectors.

Each probe has a seed of its own, so that probes can be taken in any order and anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from landscape.errors import BadInput
from landscape.linalg.lanczos import lanczos
from landscape.linalg.trace import Estimate, estimated

__all__ = ["Density", "density", "moment", "quadrature", "smoothed"]

# The width of a density's Gaussians as a part of the spectrum's range, where none is given.
WIDTH = 0.01


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


def moment(density: Density, order: int) -> Estimate:
    """A moment of a density without its smoothing: the mean of λ^order over all eigenvalues.

    Exact for each probe up to order 2 · steps − 1, as Gaussian quadrature is.
    """
    _at_least(0, order=order)
    mean, error = _mean(density.nodes**order, density.weights, density.n)
    return estimated(mean, error, len(density.nodes))


def _check_width(width: float | None) -> None:
    if width is not None and not width > 0:
        raise BadInput(f"a Gaussian of width {width:g} smooths nothing; give a positive width")


def _gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * (distance / width) ** 2) / (width * np.sqrt(2 * np.pi))


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


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number != int(number) or number < least:
            raise BadInput(f"{name} is {number}; give a whole number, {least} or more")
