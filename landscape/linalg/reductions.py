"""Long vectors whose sums have the same bits for any number of threads: none of BLAS, whose bits vary with them."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

__all__ = ["dot", "norm", "product", "project_out"]


def product(operator: LinearOperator, vector: np.ndarray) -> np.ndarray:
    return np.asarray(operator.matvec(vector), dtype=float)


def dot(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.einsum("n,n->", one, other))


def norm(vector: np.ndarray) -> float:
    return float(np.sqrt(dot(vector, vector)))


def project_out(vector: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """What orthonormal rows leave out of a vector (classical Gram–Schmidt)."""
    for _ in range(2):  # once would leave a part of rounding that grows with every step, twice does not
        vector = vector - np.einsum("k,kn->n", np.einsum("kn,n->k", basis, vector), basis)
    return vector
