"""Water that rises over a grid of heights: where lakes begin, where they meet, and what flows into each.

A lake begins at each local minimum; where two meet, the one with the higher floor ends in the other (the elder rule).
Ties are broken by the order of the points, as if a later one were a little higher, so that every point has its place.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

__all__ = ["Flood", "flood"]


class Flood(NamedTuple):
    """Lakes, those that never end first; points are flat indices.

    Attributes
    ----------
    minimum : int ndarray, shape (m,)
        The lowest point of each.
    saddle : int ndarray, shape (m,)
        The point at which it meets an older one; −1 for the oldest of each connected part.
    into : int ndarray, shape (m,)
        The lowest point of that older one; −1 if there is none.
    basin : int ndarray, of the grid's shape
        For each point the minimum that one reaches from it by going to the lowest neighbour again and again; −1 outside
        of the domain.
    """

    minimum: np.ndarray
    saddle: np.ndarray
    into: np.ndarray
    basin: np.ndarray


def flood(height: np.ndarray, corners: bool = True) -> Flood:
    """Let water rise.

    Parameters
    ----------
    height : float ndarray, of any number of axes
        NaN is outside of the domain; −∞ is under water from the beginning.
    corners : bool
        Whether points that share but a corner are neighbours: eight in a plane, or four.

    Returns
    -------
    Flood
    """
    padded = np.ascontiguousarray(np.pad(np.asarray(height, float), 1, constant_values=np.nan))
    value = padded.ravel()
    strides = np.array(padded.strides) // padded.itemsize
    steps = [step for step in product((-1, 0, 1), repeat=padded.ndim) if any(step)]
    around = [int(np.dot(step, strides)) for step in steps if corners or np.abs(step).sum() == 1]
    order = np.argsort(value, kind="stable")
    order = order[~np.isnan(value[order])]
    ranks = np.empty(value.size, int)
    ranks[order] = np.arange(order.size)
    rank = ranks.tolist()  # the loop below reads single items: lists are several times faster at that
    parent = [-1] * value.size  # −1: not yet under water. The root of a lake is its lowest point.
    basin = [-1] * value.size

    def root(p: int) -> int:
        while parent[p] != p:
            parent[p] = p = parent[parent[p]]
        return p

    ends = []
    for p in order.tolist():
        wet = [p + step for step in around if parent[p + step] >= 0]
        basin[p] = basin[min(wet, key=rank.__getitem__)] if wet else p
        lakes = {root(q) for q in wet}
        oldest = min(lakes, key=rank.__getitem__, default=p)
        parent[p] = oldest
        for lake in sorted(lakes - {oldest}, key=rank.__getitem__):
            parent[lake] = oldest
            ends.append((lake, p, oldest))
    least = [(p, -1, -1) for p in order.tolist() if parent[p] == p]
    inner = np.full(padded.shape, -1)
    inside = (slice(1, -1),) * padded.ndim
    inner[inside] = np.arange(np.size(height)).reshape(np.shape(height))
    place = np.append(inner, -1)  # so that −1 stays −1
    minimum, saddle, into = place[np.array(least + ends, int).reshape(-1, 3).T]
    return Flood(minimum, saddle, into, place[np.array(basin, int).reshape(padded.shape)[inside]])
