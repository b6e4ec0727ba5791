"""Ends, trace and density of a symmetric operator's spectrum, from products with vectors alone.

Values are in the operator's units. Everything random is drawn by numpy from a seed, so that the same
seed gives the same bits, as far as the operator's products do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.stats import t as student

from landscape.errors import BadInput

__all__ = ["Density", "Ends", "Estimate", "density", "ends", "lanczos", "moment", "trace"]

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
        Whether both residuals are within the tolerance.
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
    products : int
        How many products with the operator it took.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    products: int


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
        From the scatter of the probes.
    width : float
        Standard deviation of the Gaussian.
    nodes, weights : float64 ndarray, shape (probes, steps)
        Each probe's quadrature; the weights of a probe sum to 1.
    products : int
        How many products with the operator it took.
    """

    grid: np.ndarray
    values: np.ndarray
    standard_error: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray
    products: int


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
    q, scale = start / np.linalg.norm(start), 0.0
    for k in range(steps):
        basis[k] = q
        known = basis[: k + 1]
        w = _product(operator, q)
        diagonal[k] = q @ w
        for _ in range(2):  # once would leave a part of rounding that grows with every step, twice does not
            w = w - (known @ w) @ known
        beside[k] = np.linalg.norm(w)
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
    (Parlett 1998, §11.7). That the eigenvalue found is the outermost is certain up to the chance that
    the start vector is nearly orthogonal to the outermost one's (Kuczyński & Woźniakowski 1992).

    Raises
    ------
    BadInput
        A tolerance or a number of steps that is not positive, products that are not finite.
    """
    _at_least(1, steps=steps)
    if not tolerance > 0:
        raise BadInput(f"a tolerance of {tolerance:g} is never met; give a positive one, like 1e-4")
    operator = aslinearoperator(operator)

    def enough(diagonal: np.ndarray, beside: np.ndarray) -> bool:
        # Half, since the residuals themselves decide in the end.
        values, last = np.array([_ritz(diagonal, beside, end) for end in (0, len(diagonal) - 1)])[:, :, -1].T
        return bool((beside[-1] * np.abs(last) <= tolerance / 2 * np.abs(values).max()).all())

    start = np.random.default_rng(seed).standard_normal(operator.shape[0])
    diagonal, beside, basis = lanczos(operator, start, steps, enough)
    _, small = eigh_tridiagonal(diagonal, beside[:-1])
    values, residuals = np.zeros(2), np.zeros(2)
    for i in (0, 1):
        v = small[:, -i] @ basis
        v /= np.linalg.norm(v)
        image = _product(operator, v)
        values[i] = v @ image
        residuals[i] = np.linalg.norm(image - values[i] * v)
    converged = bool((residuals <= tolerance * np.abs(values).max()).all())
    return Ends(values, residuals, converged, len(diagonal) + 2)
