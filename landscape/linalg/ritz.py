"""Ritz pairs of a symmetric operator on a growing Krylov space: approximate eigenpairs, and how far off they may be.

The same start gives the same bits, as far as the operator's products do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator

from landscape.linalg.reductions import norm, product, project_out

__all__ = ["Ritz", "gaussian", "ritz_pairs", "ritz_vector"]

BLOCK = 2**16  # elements of each basis vector that are turned at once, so that a restart needs no second basis


class Ritz(NamedTuple):
    """What a Krylov space of dimension k knows of an operator's eigenpairs.

    Attributes
    ----------
    values : float64 ndarray, shape (k,)
        Ritz values, ascending. They lie inside the spectrum's range, but for rounding.
    vectors : float64 ndarray, shape (k, k)
        In its columns the Ritz vectors, in coordinates of the basis.
    residuals : float64 ndarray, shape (k,)
        ‖Hv − λv‖ of each, from products that were taken already. An eigenvalue lies so near to λ, or nearer.
    hidden : float64 ndarray, shape (k,)
        How far beyond an outermost value another eigenvalue may hide, see `ritz_pairs`; never less than the residual.
    basis : float64 ndarray, shape (k, n)
        Orthonormal rows. They change when the iteration goes on.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    hidden: np.ndarray
    basis: np.ndarray


def gaussian(n: int, seed: int | Sequence[int]) -> np.ndarray:
    """A random unit vector, float64 ndarray of shape (n,): what to start from."""
    vector = np.random.default_rng(seed).standard_normal(n)
    return vector / norm(vector)


def ritz_pairs(
    operator: LinearOperator,
    start: np.ndarray,
    room: int,
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
    across: np.ndarray | None = None,
) -> Iterator[Ritz]:
    """Ritz pairs after each product: Lanczos with full reorthogonalisation (Parlett 1998, §13.1, §6.9).

    Parameters
    ----------
    operator : LinearOperator, shape (n, n)
        Symmetric.
    start : ndarray, shape (n,)
        Of unit norm, see `gaussian`.
    room : int
        At most so many basis vectors, of 8 · n bytes each.
    keep : callable, optional
        Given the values, says which go on when there is no room left (thick restart, Wu & Simon 2000): an array of
        indices, fewer than `room`. Without it the iteration ends there. It ends after n products anyway where there
        is room for so many.
    across : ndarray, shape (m, n), optional
        Orthonormal rows, to which all stays orthogonal, as the start is.

    Notes
    -----
    All coefficients of the orthogonalisation are kept, and not only the three that a symmetric operator leaves: what
    rounding in the operator adds is in the residuals as far as it lies in the space.

    A small residual does not make a value the outermost: nearly all eigenvalues of a network's Hessian lie around 0,
    and for some steps the smallest Ritz value is the mean of these, with a residual that a few negative ones
    hardly show in. Such a Ritz value has a large weight w, the part of the start vector that its Ritz vector
    ψ(H) · start stands for. ψ vanishes at the other Ritz values, is 1/√w at its own, and grows from there outwards,
    so that an eigenvalue at a distance d farther out, of whose vector the start has the part s, adds d² s² / w or
    more to residual². Hence d ≤ residual · √w / |s|, where √n · s is about standard normal: what may hide is taken
    to be residual · √(n · w) away, where that is more than the residual. No start vector excludes the rest: one
    that happens to be orthogonal to an eigenvector never sees it, and a Gaussian one has less than a hundredth of
    its usual part in one of 125 cases, and needs some products more then.

    Where the space is exhausted before it is full, it goes on from a random vector, so that multiple eigenvalues of a
    small operator come as often as they are there.
    """
    n = operator.shape[0]
    room = min(room, n)
    basis, projected = np.empty((room, n)), np.zeros((room, room))
    part = np.zeros(room)  # of the start vector in the direction of each row
    part[0] = 1.0
    q, k = start, 0
    while True:
        basis[k] = q
        image = product(operator, q)
        if across is not None:
            image = project_out(image, across)
        rest = project_out(image, basis[: k + 1])
        projected[: k + 1, k] = np.einsum("kn,n->k", basis[: k + 1], image - rest)
        beyond, k = norm(rest), k + 1
        if k == n or beyond <= 1e-13 * np.hypot(np.abs(projected[:k, :k]).max(), beyond):  # only rounding is left
            beyond = 0.0
        values, vectors = eigh((projected[:k, :k] + projected[:k, :k].T) / 2)
        within = projected[:k, :k] @ vectors - vectors * values
        residuals = np.hypot(np.sqrt((within**2).sum(axis=0)), beyond * np.abs(vectors[-1]))
        hidden = residuals * np.maximum(1.0, np.sqrt(n) * np.abs(part[:k] @ vectors))
        yield Ritz(values, vectors, residuals, hidden, basis[:k])
        if k == n or (k == room and keep is None):
            return
        coupling = np.zeros(k)
        coupling[-1] = beyond
        if k == room and keep is not None:
            kept = np.sort(keep(values))
            turn = vectors[:, kept]
            for first in range(0, n, BLOCK):
                columns = slice(first, first + BLOCK)
                basis[: len(kept), columns] = np.einsum("kp,kn->pn", turn, basis[:, columns])
            part = np.r_[turn.T @ part, np.zeros(room - len(kept))]
            inside, coupling, k = turn.T @ projected @ turn, beyond * turn[-1], len(kept)
            projected[:] = 0
            projected[:k, :k] = inside
        projected[k, :k] = coupling
        q = rest / beyond if beyond else gaussian(n, k)
        for rows in (across, basis[:k]) if across is not None or not beyond else ():
            q = q if rows is None else project_out(q, rows)
        q = q / norm(q)


def ritz_vector(ritz: Ritz, index: int) -> np.ndarray:
    """A unit vector, float64 ndarray of shape (n,), by the index of its value."""
    vector = np.einsum("k,kn->n", ritz.vectors[:, index], ritz.basis)
    return vector / norm(vector)
