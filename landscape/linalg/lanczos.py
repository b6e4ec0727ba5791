"""The ends of a symmetric operator's spectrum, from products with vectors alone.

Values are in the operator's units. Everything random is drawn by numpy from a seed: the same seed gives the same bits,
as far as the operator's products do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from landscape.errors import BadInput
from landscape.linalg.reductions import dot, norm, product, project_out
from landscape.linalg.ritz import Ritz, gaussian, ritz_pairs, ritz_vector

__all__ = ["Extremes", "Outermost", "extreme_eigenvalues", "lanczos", "outermost_eigenpairs"]

# A tolerance below this is met only by residuals from products of their own: those of a network in float32 are off by
# about 1e-6 of the largest eigenvalue, which a residual from products taken before knows only in part.
OWN = 1e-5
# That nothing lies farther out is said where so many times what may hide from a usual start vector would not reach so
# far: one in 125 has less than a hundredth of the usual part in an eigenvector.
SURE = 100

Outward = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest eigenvalue.

    Attributes
    ----------
    values : float64 ndarray, shape (2,)
        λ_min, λ_max. They lie inside the spectrum's range, but for rounding.
    residuals : float64 ndarray, shape (2,)
        ‖Hv − λv‖ for a unit vector v. An eigenvalue lies so near to λ, or nearer.
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
class Outermost:
    """The outermost eigenpairs.

    Attributes
    ----------
    values : float64 ndarray, shape (k,)
        The outermost first.
    vectors : float64 ndarray, shape (k, n)
        Of unit norm, one a row.
    residuals : float64 ndarray, shape (k,)
        ‖Hv − λv‖. An eigenvalue lies so near to λ, or nearer.
    converged : bool
        Whether all residuals are within the tolerance, and hide nothing beyond it.
    products : int
        How many products with the operator it took.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    converged: bool
    products: int


def lanczos(operator: LinearOperator, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lanczos' tridiagonal matrix, with full reorthogonalisation (Parlett 1998, §13.1, §6.9).

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    start : ndarray, shape (n,)
    steps : int
        At most so many products; n suffice.

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
        q = w / beside[k]
    return diagonal[: k + 1], beside[: k + 1], basis[: k + 1]


def extreme_eigenvalues(operator: LinearOperator, tolerance: float = 1e-4, steps: int = 200, seed: int = 0) -> Extremes:
    """Both ends of a spectrum from one Lanczos run.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    tolerance : float
        Of the residuals, and of what they may hide (`landscape.linalg.ritz.ritz_pairs`), as a part of the largest
        magnitude of an eigenvalue.
    steps : int
        At most so many products; each takes 8 · n bytes. Tolerances below 1e-5 take two products more.
    seed : int
        Of the start vector.

    Returns
    -------
    Extremes
        λ_min and λ_max, their residuals, and whether both are within the tolerance.

    Notes
    -----
    An eigenvalue's error is at most its residual, and about residual² / gap where it is well separated
    (Parlett 1998, §11.7).

    Raises
    ------
    BadInput
        A tolerance or a number of steps that is not positive.
    """
    if steps < 1:
        raise BadInput(f"{steps} steps give no spectrum; give 1 or more")
    _check_tolerance(tolerance)
    operator, n = aslinearoperator(operator), operator.shape[0]
    target = _target(tolerance)
    ends = np.array([0, -1])
    products = 0
    for ritz in ritz_pairs(operator, gaussian(n, seed), steps):
        products += 1
        if (ritz.hidden[ends] <= target * np.abs(ritz.values).max()).all():
            break
    values, residuals, hidden = (each[ends] for each in (ritz.values, ritz.residuals, ritz.hidden))
    if tolerance < OWN:
        values, own = _anew(operator, [ritz_vector(ritz, end) for end in ends])
        hidden, residuals, products = hidden + own - residuals, own, products + 2
    converged = bool((hidden <= tolerance * np.abs(values).max()).all())
    return Extremes(values, residuals, converged, products)


def outermost_eigenpairs(
    operator: LinearOperator,
    number: int = 1,
    end: str = "largest",
    tolerance: float = 1e-4,
    products: int = 1000,
    seed: int = 0,
) -> Outermost:
    """Some outermost eigenvalues with vectors, by Lanczos with thick restarts, which ends when they are known.

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    number : int
        How many, 1 to n.
    end : "largest", "smallest" or "magnitude"
        Which end of the spectrum, or the largest magnitudes of both.
    tolerance : float
        Of each residual, and of what it may hide (`landscape.linalg.ritz.ritz_pairs`), as a part of its eigenvalue.
    products : int
        At most so many. Tolerances below 1e-5 take one more for each eigenvalue.
    seed : int
        Of the start vector.

    Notes
    -----
    That is asked after every product. And the next value must not reach beyond the last that is asked for, by more
    than the tolerance: a Ritz value of a large residual may be on its way to a farther end.

    From one start vector an iteration sees one vector of an eigenvalue that is there several times, or of many that
    are within its residual. So where several are asked for, a second iteration looks from another start across all
    vectors that are there, and adds what lies farther out, until it can say that nothing does.

    Memory: 8 · n bytes for each of twice as many vectors as are asked for, and some 20 more.

    Raises
    ------
    BadInput
        A number, an end or a tolerance that there is not.
    """
    outwards: dict[str, Outward] = {"largest": np.positive, "smallest": np.negative, "magnitude": np.abs}
    if end not in outwards:
        raise BadInput(f"there is no end {end!r}; use {', '.join(outwards)}")
    operator, n = aslinearoperator(operator), operator.shape[0]
    if not 1 <= number <= n:
        raise BadInput(f"{number} eigenvalues of {n}; ask for 1 to {n}")
    _check_tolerance(tolerance)
    target, outward = _target(tolerance) if number == 1 else tolerance / 2, outwards[end]

    def ordered(values: np.ndarray) -> np.ndarray:
        return np.argsort(-outward(values), kind="stable")

    def enough(ritz: Ritz) -> bool:
        order = ordered(ritz.values)
        some, others = order[:number], order[number:]
        if len(some) < number or (ritz.hidden[some] > target * np.abs(ritz.values[some])).any():
            return False
        least = outward(ritz.values[some[-1]]) + target * abs(ritz.values[some[-1]])
        first = others[:1]
        ends = others[np.isin(others, (0, len(order) - 1))] if end == "magnitude" else first
        rivals = np.union1d(first, ends)
        return not (outward(ritz.values[rivals]) + ritz.residuals[rivals] > least).any()

    going_on = ritz_pairs(operator, gaussian(n, seed), 2 * number + 20, lambda values: ordered(values)[: number + 8])
    for count, ritz in enumerate(going_on, 1):
        if (done := enough(ritz)) or count == products:
            break
    chosen = ordered(ritz.values)[:number]
    values, residuals = ritz.values[chosen], ritz.residuals[chosen]
    vectors = np.array([ritz_vector(ritz, index) for index in chosen])
    while done and 1 < number < n:
        least = outward(values[-1]) + tolerance * abs(values[-1])
        farther, taken, done = _farther(operator, vectors, outward, least, target, products - count, (seed, count))
        count += taken
        if farther is None:
            break
        value, residual = _anew(operator, [farther])
        count += 1
        values, residuals, vectors = np.r_[values, value], np.r_[residuals, residual], np.vstack([vectors, farther])
        chosen = ordered(values)[:number]
        values, residuals, vectors = values[chosen], residuals[chosen], vectors[chosen]
    if tolerance < OWN:
        values, residuals = _anew(operator, vectors)
        count += len(vectors)
    converged = done and bool((residuals <= tolerance * np.abs(values)).all())
    return Outermost(values, vectors, residuals, converged, count)


def _farther(
    operator: LinearOperator,
    vectors: np.ndarray,
    outward: Outward,
    least: float,
    target: float,
    products: int,
    seed: tuple[int, int],
) -> tuple[np.ndarray | None, int, bool]:
    """A unit vector across those given whose value lies beyond `least`, if there is one; see `outermost_eigenpairs`.

    And how many products it took, and whether these were enough.
    """
    n = len(vectors[0])
    start = project_out(gaussian(n, seed), vectors)
    iteration = ritz_pairs(operator, start / norm(start), 30, lambda values: np.argsort(-outward(values))[:12], vectors)
    for count, ritz in enumerate(iteration, 1):
        top = int(outward(ritz.values).argmax())
        rivals = [top] if outward is not np.abs else [0, -1]
        if (outward(ritz.values[rivals]) + SURE * ritz.hidden[rivals] <= least).all():
            return None, count, True
        if ritz.hidden[top] <= target * abs(ritz.values[top]):
            return (ritz_vector(ritz, top) if outward(ritz.values[top]) > least else None), count, True
        if count >= products:
            break
    return None, count, False


def _target(tolerance: float) -> float:
    """What residuals from products taken before must meet: half, where those of products of their own decide."""
    return tolerance / 2 if tolerance < OWN else tolerance


def _anew(operator: LinearOperator, vectors: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Rayleigh quotients of unit vectors and their residuals, by a product for each."""
    images = [(vector, product(operator, vector)) for vector in vectors]
    values = [dot(vector, image) for vector, image in images]
    residuals = [norm(image - value * vector) for (vector, image), value in zip(images, values, strict=True)]
    return np.array(values), np.array(residuals)


def _check_tolerance(tolerance: float) -> None:
    if not tolerance > 0:
        raise BadInput(f"a tolerance of {tolerance:g} is never met; give a positive one, like 1e-4")
