"""How many paths survive when blocks are deleted, and how much of the gradient they carried.

A path dies with any block whose branch it takes. Of the 2ⁿ paths of n residual blocks, 2ⁿ⁻ᵏ are left without k of
them: each deletion halves their number (Veit et al. 2016, 1605.06431 §4). Yet short paths are hit less often than long
ones: where the k blocks are drawn at random, a path of length l survives with the chance C(n−k, l)/C(n, l). So the part
of the gradient that comes by surviving paths is, in the mean over all such draws, the sum over lengths of share ×
chance, exactly, whatever the paths of one length differ in.

Conventions: shares are those of `ensemble.paths.spectrum`, signed, of the gradient of the intact network. A network
that has lost blocks has other activations, so other gradients too: what survives is told of the old ones.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["Surviving", "chances", "of_file", "surviving"]


class Surviving(NamedTuple):
    """What is left after k = 0 … n deletions, as a part of what there was: float64 ndarrays, shape (n + 1,).

    Attributes
    ----------
    paths : of the number of paths, 2⁻ᵏ
    gradient, gradient_se : of the gradient, by signed shares; mean over examples and its standard error s/√n
    magnitude : of the sum over lengths of the mean shares' magnitudes
    """

    paths: np.ndarray
    gradient: np.ndarray
    gradient_se: np.ndarray
    magnitude: np.ndarray


def chances(number: int, deleted: int) -> np.ndarray:
    """C(n − k, l)/C(n, l) for lengths l = 0 … n, float64, shape (n + 1,), each rounded once.

    Parameters
    ----------
    number : n, of residual blocks
    deleted : k of them, drawn at random

    Raises
    ------
    BadInput
        There are not so many blocks.
    """
    if not 0 <= deleted <= number:
        raise BadInput(f"{deleted} of {number} blocks cannot be deleted; give 0 to {number}")
    return np.array([comb(number - deleted, length) / comb(number, length) for length in range(number + 1)])


def surviving(shares: np.ndarray) -> Surviving:
    """What is left of paths and gradient after every number of deletions.

    Parameters
    ----------
    shares : float ndarray, shape (n + 1, examples)
        Of each length from 0, all of whose blocks are residual; an example with a NaN has no gradient and is left out.
    """
    shares = shares[:, np.isfinite(shares).all(axis=0)]
    number, examples = len(shares) - 1, shares.shape[1]
    chance = np.array([chances(number, k) for k in range(number + 1)])  # (k, length)
    each = (chance[:, :, None] * shares).sum(axis=1)  # (k, examples); numpy's sum does not depend on threads
    size = np.abs(shares.mean(axis=1)) if examples else np.full(number + 1, np.nan)
    nothing = np.full(number + 1, np.nan)
    return Surviving(
        0.5 ** np.arange(number + 1),
        each.mean(axis=1) if examples else nothing,
        each.std(axis=1, ddof=1) / np.sqrt(examples) if examples > 1 else nothing,
        (chance * size).sum(axis=1) / size.sum(),
    )


def of_file(file: Results) -> Surviving:
    """The same from a file of ``paths.py``.

    Raises
    ------
    BadInput
        Lengths are missing, no example has a gradient, or there are plain blocks, which all paths take.
    """
    number = len(file.coordinates["length"]) - 1
    if not file["done"].all():
        raise BadInput(f"{file.source} is not finished: {(~file['done']).sum()} lengths are missing; measure them too")
    if not np.array_equal(file["paths"], [float(comb(number, length)) for length in range(number + 1)]):
        raise BadInput(
            f"{file.source} is of a network with plain blocks, which every path takes: of {number} blocks and "
            f"{file['paths'].sum():g} paths, none or all survive; give the paths of a residual network"
        )
    if not np.isfinite(file["share_each"]).all(axis=0).any():
        raise BadInput(f"{file.source} has no finite gradient; measure a network whose loss is finite")
    return surviving(file["share_each"])
