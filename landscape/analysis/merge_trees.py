"""The shape of a surface as a tree and as a barcode: which minima there are, and over which saddles they join.

Sublevel sets {loss ≤ t} are followed as t rises. Each local minimum begins a part of its own (birth); at a saddle two
parts become one, and the one with the higher minimum ends (death), by the elder rule: that is the merge tree. The
barcode has a bar from each birth to its death, and in a plane also the loops around peaks. Points share an edge or a
corner with their neighbours. Whether a feature is more than noise is told by the standard errors of its two losses, as
in `landscape.analysis.minima`.

Edelsbrunner, Harer: Computational Topology, 2010, §VI and §VII.
Carr, Snoeyink, Axen: Computing Contour Trees in All Dimensions, 2003.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from landscape.analysis.flood import Flood, flood
from landscape.analysis.minima import LOOPS, loops, nearest, pairs, threshold

__all__ = ["Barcode", "MergeTree", "bars", "tree"]


class MergeTree(NamedTuple):
    """Minima of a surface and how they join, the most persistent first.

    Attributes
    ----------
    birth, death : float64 ndarray, shape (m,)
        Loss at the minimum, and at the saddle at which it joins a lower one: infinite for the lowest of each connected
        part of the domain.
    se : float64 ndarray, shape (m,)
        Standard error of their difference; NaN where that is infinite, or the noise unknown.
    significant : bool ndarray, shape (m,)
        Whether it stands out of the noise: at most one surface in 20 has a minimum that does by chance. Those that
        never end do.
    position, saddle_position : float64 ndarray, shape (m, axes)
        Coordinates of both, in the order of `axes`; NaN where there is no saddle.
    parent : int ndarray, shape (m,)
        Which minimum it joins; −1 where it never ends.
    share : float64 ndarray, shape (m,)
        Of the domain: from which part one comes to this minimum by going to the lowest neighbour again and again. What
        leads to a minimum within the noise counts for the one that it joins, too, so that those of the significant
        minima add up to 1.
    axes : tuple of str
        Names of the coordinates, such as ("y", "x").
    """

    birth: np.ndarray
    death: np.ndarray
    se: np.ndarray
    significant: np.ndarray
    position: np.ndarray
    saddle_position: np.ndarray
    parent: np.ndarray
    share: np.ndarray
    axes: tuple[str, ...]

    @property
    def persistence(self) -> np.ndarray:
        """How far one has to climb from each minimum to leave it for a lower one."""
        return self.death - self.birth

    @property
    def distance(self) -> np.ndarray:
        """How far each minimum is from its saddle, Euclidean in the coordinates; NaN where there is none."""
        return np.sqrt(((self.saddle_position - self.position) ** 2).sum(axis=1))


class Barcode(NamedTuple):
    """Birth and death of the features of sublevel sets: first of dimension 0, then 1, the most persistent first.

    Attributes
    ----------
    dimension : int ndarray, shape (n,)
        0 for a connected part, which begins at a minimum and ends at a saddle; 1 for a loop, which begins at a saddle
        and ends at the peak that it goes around. There are loops in planes alone.
    birth, death : float64 ndarray, shape (n,)
        Losses; infinite where a feature never ends: the lowest minimum, loops around points that are not finite.
    se : float64 ndarray, shape (n,)
        Standard error of the persistence, death − birth; NaN where that is infinite, or the noise unknown.
    significant : bool ndarray, shape (n,)
        Whether it stands out of the noise, of each dimension with a chance of 5 % or less that any does by chance.
    position, end : float64 ndarray, shape (n, axes)
        Coordinates of birth and death; NaN where there is none.
    axes : tuple of str
        Names of the coordinates.
    """

    dimension: np.ndarray
    birth: np.ndarray
    death: np.ndarray
    se: np.ndarray
    significant: np.ndarray
    position: np.ndarray
    end: np.ndarray
    axes: tuple[str, ...]

    @property
    def persistence(self) -> np.ndarray:
        """Death minus birth."""
        return self.death - self.birth


def tree(loss: np.ndarray, error: np.ndarray, axes: Mapping[str, np.ndarray], k: float | None = None) -> MergeTree:
    """The merge tree of an array.

    Parameters
    ----------
    loss, error : float ndarray, of the same shape
        What is not finite in the first is outside of the domain; see `landscape.analysis.minima.minima` for the second.
    axes : mapping
        Coordinates of each axis, in order.
    k : float, optional
        Standard errors that a minimum must stand out by; by default those of `landscape.analysis.minima.threshold`.
    """
    loss = np.where(np.isfinite(loss), loss, np.nan)
    lakes = flood(loss)
    births = pairs(loss, lakes)
    noise = nearest(np.asarray(error, float)).ravel()
    ends = births.saddle >= 0
    persistence = births.death - births.birth
    se = np.where(ends, np.hypot(noise[births.minimum], noise[births.saddle]), np.nan)
    significant = ~ends | (persistence > (threshold(loss.shape) if k is None else k) * se)
    at, over = (_places(where, loss.shape, axes) for where in (births.minimum, births.saddle))
    share = _shares(lakes, births.minimum, births.into, significant)
    return MergeTree(births.birth, births.death, se, significant, at, over, births.into, share, tuple(axes))


def bars(loss: np.ndarray, error: np.ndarray, axes: Mapping[str, np.ndarray], k: float | None = None) -> Barcode:
    """The barcode of an array; see `tree`."""
    loss = np.asarray(loss, float)
    known = tree(loss, error, axes, k)
    parts = Barcode(
        np.zeros(known.birth.size, int),
        known.birth,
        known.death,
        known.se,
        known.significant,
        known.position,
        known.saddle_position,
        known.axes,
    )
    if loss.ndim != 2:
        return parts
    around, noise = loops(loss), nearest(np.asarray(error, float)).ravel()
    persistence = around.death - around.birth
    ends = np.isfinite(persistence)
    se = np.where(ends, np.hypot(noise[around.saddle], noise[around.peak]), np.nan)
    significant = ~ends | (persistence > (LOOPS if k is None else k) * se)
    at, over = (_places(where, loss.shape, axes) for where in (around.saddle, around.peak))
    more = (np.ones(se.size, int), around.birth, around.death, se, significant, at, over)
    each = [np.concatenate(pair) for pair in zip(parts[:7], more, strict=True)]
    return Barcode(each[0], each[1], each[2], each[3], each[4], each[5], each[6], known.axes)


def _shares(lakes: Flood, minimum: np.ndarray, into: np.ndarray, significant: np.ndarray) -> np.ndarray:
    """Which part of the domain leads to each minimum, those within the noise that join it included."""
    number = dict(zip(minimum.tolist(), range(minimum.size), strict=True))
    below = dict(zip(lakes.minimum.tolist(), lakes.into.tolist(), strict=True))
    points, sizes = np.unique(lakes.basin[lakes.basin >= 0], return_counts=True)
    share = np.zeros(minimum.size)
    for point, size in zip(points.tolist(), sizes.tolist(), strict=True):
        while point not in number:  # of a persistence of 0
            point = below[point]
        at = number[point]
        share[at] += size
        while not significant[at]:
            at = into[at]
            share[at] += size
    return share / max(1, sizes.sum())


def _places(points: np.ndarray, shape: tuple[int, ...], axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Coordinates of flat indices, shape (points, axes); NaN for −1."""
    indices = np.unravel_index(np.maximum(points, 0), shape)
    at = np.stack([np.asarray(c, float)[i] for c, i in zip(axes.values(), indices, strict=True)], axis=1)
    return np.where(points[:, None] < 0, np.nan, at)
