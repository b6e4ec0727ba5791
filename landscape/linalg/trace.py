"""The trace of a symmetric operator from its products with random vectors, and how good that is.

Each probe has a seed of its own, so that probes can be taken in any order and anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from landscape.errors import BadInput
from landscape.linalg.reductions import dot, norm, product, project_out

__all__ = ["Estimate", "Sketch", "budget", "estimate", "estimated", "probe", "sketch_of", "trace"]


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
        exact = sum(float(product(operator, np.eye(1, n, i)[0])[i]) for i in range(n))
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
        image = product(operator, _signs(n, (seed, number, 1)))  # the 1 sets them apart from the seeds of probes
        rest = project_out(image, basis[:k])
        if norm(rest) > 1e-13 * norm(image):  # only rounding is left otherwise
            basis[k] = rest / norm(rest)
            k += 1
    basis = basis[:k]
    return Sketch(basis, sum(dot(q, product(operator, q)) for q in basis))


def probe(operator: LinearOperator, sketch: Sketch, seed: int | Sequence[int]) -> float:
    """One unbiased value of the trace: that on the sketch, and Hutchinson's estimate of the rest."""
    outside = project_out(_signs(operator.shape[0], seed), sketch.basis)
    return sketch.trace + dot(outside, product(aslinearoperator(operator), outside))


def estimate(each: Iterable[float]) -> Estimate:
    """The mean of independent probes, two or more, with its standard error."""
    each = np.array(list(each), float)
    return estimated(float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each))), len(each))


def estimated(mean: float, error: float, probes: int) -> Estimate:
    """A mean over independent probes and its standard error, with the interval that they make."""
    reach = float(scipy.stats.t.ppf(0.975, probes - 1)) * error
    return Estimate(mean, error, (mean - reach, mean + reach))


def _signs(n: int, seed: int | Sequence[int]) -> np.ndarray:
    """A Rademacher vector."""
    return np.random.default_rng(seed).choice((-1.0, 1.0), n)
