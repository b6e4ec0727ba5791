"""Local minima of a surface, and how far each stands out: 0-dimensional sublevel-set persistence.

Let water rise. A lake appears at each local minimum (birth); where two lakes meet, the one whose floor
is higher ends (death). Death minus birth is how far one has to climb to leave the minimum for a lower
one: noise makes many minima, but shallow ones.

Edelsbrunner, Letscher, Zomorodian: Topological Persistence and Simplification, 2002.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import ndimage, special

__all__ = ["Minima", "Pairs", "minima", "noise_factor", "pairs"]


class Pairs(NamedTuple):
    """Local minima and where each ends, the most persistent first.

    Attributes
    ----------
    birth, death : ndarray, shape (m,)
        Loss at the minimum, and at the pass to a lower minimum: infinite for the least of each
        connected part of the domain.
    minimum, saddle : int ndarray, shape (m,)
        Flat indices of both; −1 where there is no pass.
    """

    birth: np.ndarray
    death: np.ndarray
    minimum: np.ndarray
    saddle: np.ndarray


class Minima(NamedTuple):
    """Local minima that stand out of the noise.

    Attributes
    ----------
    number : the least one included, so 1 for a bowl
    on_rim : how many of these lie at the edge of the domain, where the loss may go on falling outside
    total : sum of their persistences, in units of the loss, without the least one, whose is infinite
    """

    number: int
    on_rim: int
    total: float


def pairs(loss: np.ndarray) -> Pairs:
    """All pairs of birth and death whose persistence is not 0.

    Parameters
    ----------
    loss : ndarray, shape (ny, nx) or (nx,)
        NaN and infinity are outside of the domain. Neighbours are the eight around a point: with four,
        a narrow valley along a diagonal would fall into as many minima as it has points.
    """
    padded = np.pad(np.asarray(loss, float), 1, constant_values=np.nan)
    value = padded.ravel()
    strides = np.array(padded.strides) // padded.itemsize
    around = [int(np.dot(step, strides)) for step in product((-1, 0, 1), repeat=padded.ndim) if any(step)]
    order = np.argsort(value, kind="stable")
    order = order[np.isfinite(value[order])]
    rank = np.empty(value.size, int)
    rank[order] = np.arange(order.size)
    rank = rank.tolist()  # the loop below reads single items: lists are several times faster at that
    parent = [-1] * value.size  # −1: not yet under water. The root of a lake is its lowest point.

    def root(p: int) -> int:
        while parent[p] != p:
            parent[p] = p = parent[parent[p]]
        return p

    ends = []
    for p in order.tolist():
        lakes = {root(p + step) for step in around if parent[p + step] >= 0}
        oldest = min(lakes, key=rank.__getitem__, default=p)
        parent[p] = oldest
        for lake in lakes - {oldest}:
            parent[lake] = oldest
            ends.append((lake, p))
    least = [(p, -1) for p in order.tolist() if parent[p] == p]
    minimum, saddle = np.array(least + ends, int).reshape(-1, 2).T
    birth, death = value[minimum], np.where(saddle < 0, np.inf, value[saddle])
    keep = np.flatnonzero(death > birth)
    keep = keep[np.argsort(birth[keep] - death[keep], kind="stable")]
    inner = np.full(padded.shape, -1)
    inner[(slice(1, -1),) * padded.ndim] = np.arange(np.size(loss)).reshape(np.shape(loss))
    inner = np.append(inner, -1)  # so that −1 stays −1
    return Pairs(birth[keep], death[keep], inner[minimum[keep]], inner[saddle[keep]])
