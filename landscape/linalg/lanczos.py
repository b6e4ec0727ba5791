"""Both ends of a symmetric operator's spectrum, from products with vectors alone.

Values are in the operator's units. Everything random is drawn by numpy from a seed: the same seed gives the same bits,
as far as the operator's products do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from landscape.errors import BadInput
from landscape.linalg.reductions import dot, norm, product, project_out

__all__ = ["Extremes", "extreme_eigenvalues", "lanczos"]


@dataclass(frozen=True)
class Extremes:
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
    q, scale = start / norm(start), 0.0
    for k in range(steps):
        basis[k] = q
        w = product(operator, q)
        diagonal[k] = dot(q, w)
        w = project_out(w, basis[: k + 1])
        beside[k] = norm(w)
        scale = max(scale, abs(diagonal[k]), beside[k])
        if k + 1 == n or beside[k] <= 1e-13 * scale:  # only rounding is left: the basis holds all that start reaches
            beside[k] = 0.0
            break
        if enough is not None and enough(diagonal[: k + 1], beside[: k + 1]):
            break
        q = w / beside[k]
    return diagonal[: k + 1], beside[: k + 1], basis[: k + 1]


def extreme_eigenvalues(operator: LinearOperator, tolerance: float = 1e-4, steps: int = 200, seed: int = 0) -> Extremes:
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

    Returns
    -------
    Extremes
        λ_min and λ_max, their residuals, and whether both are within the tolerance.

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
    if steps < 1:
        raise BadInput(f"{steps} steps give no spectrum; give 1 or more")
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
        v /= norm(v)
        image = product(operator, v)
        values[i] = dot(v, image)
        residuals[i] = norm(image - values[i] * v)
        hidden[i] = residuals[i] * _hiding(vector, n)
    converged = bool((hidden <= tolerance * np.abs(values).max()).all())
    return Extremes(values, residuals, converged, len(diagonal) + 2)


def _ritz(diagonal: np.ndarray, beside: np.ndarray, which: int) -> tuple[float, np.ndarray]:
    """A tridiagonal matrix's eigenvalue by its number, with its unit vector."""
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(which, which))
    return float(values[0]), vectors[:, 0]


def _hiding(vector: np.ndarray, n: int) -> float:
    """√(n · w), or 1 where that is more: an outer eigenvalue may be hidden by so many residuals."""
    return max(1.0, float(np.sqrt(n) * abs(vector[0])))
