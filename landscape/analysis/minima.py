"""Local minima of a surface, and how far each stands out: 0-dimensional sublevel-set persistence.

Let water rise. A lake appears at each local minimum (birth); where two lakes meet, the one whose floor
is higher ends (death). Death minus birth is how far one has to climb to leave the minimum for a lower
one: noise makes many minima, but shallow ones.

Edelsbrunner, Letscher, Zomorodian: Topological Persistence and Simplification, 2002.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from landscape.analysis.flood import Flood, flood

__all__ = ["LOOPS", "Loops", "Minima", "Pairs", "loops", "minima", "nearest", "pairs", "threshold"]

SPURIOUS = 0.05  # chance that noise alone makes a minimum anywhere
PLANE = 3.0  # standard errors, see `threshold`
# The same of loops. Land is cut off sooner than water: of white noise on a plateau, the most persistent of all loops
# has a 95th percentile of 2.5, 3.1, 3.2 and 3.6 standard errors on 21², 51², 101² and 251² points.
LOOPS = 4.0


class Pairs(NamedTuple):
    """Local minima and where each ends, the most persistent first.

    Attributes
    ----------
    birth, death : ndarray, shape (m,)
        Loss at the minimum, and at the pass to a lower minimum: infinite for the least of each
        connected part of the domain.
    minimum, saddle : int ndarray, shape (m,)
        Flat indices of both; −1 where there is no pass.
    into : int ndarray, shape (m,)
        Which of these minima the lake ends in, the lower one; −1 where there is no pass.
    """

    birth: np.ndarray
    death: np.ndarray
    minimum: np.ndarray
    saddle: np.ndarray
    into: np.ndarray


class Loops(NamedTuple):
    """Closed paths around peaks, the most persistent first.

    Attributes
    ----------
    birth, death : ndarray, shape (m,)
        Loss at the highest point of the lowest path around a peak, and at the peak: infinite for a hole in the domain.
    saddle, peak : int ndarray, shape (m,)
        Flat indices of both.
    """

    birth: np.ndarray
    death: np.ndarray
    saddle: np.ndarray
    peak: np.ndarray


class Minima(NamedTuple):
    """Local minima that stand out of the noise.

    Attributes
    ----------
    number : how many, the least of each connected part of the domain included: 1 for a bowl
    on_rim : how many of these lie at the edge of the domain, where the loss may go on falling outside
    total : sum of their persistences in units of the loss, those without a pass left out: 0 for a bowl
    """

    number: int
    on_rim: int
    total: float


def pairs(loss: np.ndarray, lakes: Flood | None = None) -> Pairs:
    """All pairs of birth and death whose persistence is not 0.

    Parameters
    ----------
    loss : ndarray, shape (ny, nx) or (nx,), or of more axes
        NaN and infinity are outside of the domain. Neighbours are the eight around a point: with four,
        a narrow valley along a diagonal would fall into as many minima as it has points.
    lakes : Flood, optional
        Of the loss, where that is known already.
    """
    domain = np.where(np.isfinite(loss), loss, np.nan)
    lakes, value = flood(domain) if lakes is None else lakes, domain.ravel()
    birth, death = value[lakes.minimum], _at(value, lakes.saddle)
    keep = _longest(birth, death)
    number = np.full(value.size + 1, -1)
    number[lakes.minimum[keep]] = np.arange(keep.size)
    return Pairs(birth[keep], death[keep], lakes.minimum[keep], lakes.saddle[keep], number[lakes.into[keep]])


def loops(loss: np.ndarray) -> Loops:
    """All closed paths around peaks whose persistence is not 0: 1-dimensional persistence, by duality.

    What is not yet under water consists of islands, and of the land that reaches the edge of the domain. The shore of
    an island is a closed path under water: it begins where the island is cut off, and ends where its peak goes under.
    As water passes between two points that share but a corner, land does not: its neighbours are four.

    Parameters
    ----------
    loss : ndarray, shape (ny, nx)
        NaN and infinity are outside of the domain: holes in it, whose loops never end.
    """
    loss = np.asarray(loss, float)
    # The other way round: peaks are what rises first, and all that is outside is there from the beginning.
    height = np.pad(np.where(np.isfinite(loss), -loss, -np.inf), 1, constant_values=-np.inf)
    islands, value = flood(height, corners=False), -height.ravel()
    inner = np.pad(np.arange(loss.size).reshape(loss.shape), 1, constant_values=-1).ravel()
    cut = islands.saddle >= 0  # all but the oldest, which is what lies around the domain
    peak, saddle = islands.minimum[cut], islands.saddle[cut]
    birth, death = value[saddle], value[peak]
    keep = _longest(birth, death)
    keep = keep[np.isfinite(birth[keep])]
    return Loops(birth[keep], death[keep], inner[saddle[keep]], inner[peak[keep]])


def _at(value: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Values at flat indices; infinite where there is none."""
    return np.where(place < 0, np.inf, value[place])


def _longest(birth: np.ndarray, death: np.ndarray) -> np.ndarray:
    """Which pairs have a persistence, the most persistent first."""
    keep = np.flatnonzero(death > birth)
    return keep[np.argsort(birth[keep] - death[keep], kind="stable")]


def minima(loss: np.ndarray, loss_se: np.ndarray, k: float | None = None) -> Minima:
    """Count the local minima that are not explained by noise.

    A minimum counts if its persistence exceeds `k` standard errors of the difference of the two losses,
    √(se² at the minimum + se² at the pass), as if the points' noise were independent. Points that share
    their examples err together, which makes the count cautious: fewer, not more.

    Parameters
    ----------
    loss : float ndarray, shape (y, x) or (x,)
        NaN and infinity are outside of the domain.
    loss_se : float ndarray, of the same shape
        Standard errors, in the unit of the loss. Where one is unknown (interpolated), that of the nearest known point
        serves. Where it is 0, any dip counts, rounding included: for losses computed in single precision, raise it to
        1e-6 of the loss or so.
    k : float, optional
        Standard errors that a minimum must stand out by; by default as in `threshold`.

    Returns
    -------
    Minima
        Their number, how many lie on the rim, and their total persistence.
    """
    loss = np.asarray(loss, float)
    if k is None:
        k = threshold(loss.shape)
    births = pairs(loss)
    error = nearest(np.asarray(loss_se, float)).ravel()
    noise = np.hypot(error[births.minimum], error[births.saddle])
    # A lake without a pass never ends: no noise takes it away, and its threshold is not asked for.
    counted = (births.saddle < 0) | (births.death - births.birth > k * noise)
    rim = _rim(np.isfinite(loss)).ravel()[births.minimum]
    persistence = (births.death - births.birth)[counted & (births.saddle >= 0)]
    return Minima(int(counted.sum()), int((counted & rim).sum()), float(persistence.sum()))


def threshold(shape: tuple[int, ...]) -> float:
    """How many standard errors of the difference noise alone does not reach, in 95 of 100 surfaces or more.

    A minimum is picked from all points, and so is its pass: the more points, the larger their difference
    by chance. Worst is a plateau, where nothing but noise tells points apart.

    In a plane there is nearly always a way round, so that passes stay low: of white noise on a plateau, the
    most persistent of all spurious minima has a 95th percentile of 2.2, 2.5, 2.7 and 2.9 standard errors on
    21², 51², 101² and 251² points (simulated, white normal noise). 3 holds for all of them.

    On a line there is no way round: one high point is a pass. Persistence is at most the largest difference
    of noise among the n (n − 1) ordered pairs of points, whence Bonferroni's bound, 4.1 for 51 points.
    """
    long = [n for n in shape if n > 1]
    n = int(np.prod(long))
    return PLANE if len(long) != 1 else float(-scipy.special.ndtri(SPURIOUS / (n * (n - 1))))


def nearest(error: np.ndarray) -> np.ndarray:
    """Errors everywhere: where not known, the nearest one that is."""
    known = np.isfinite(error)
    if known.all() or not known.any():
        return error
    places = scipy.ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return error[tuple(places)]


def _rim(domain: np.ndarray) -> np.ndarray:
    """Points with a neighbour outside of the domain."""
    return domain & ~scipy.ndimage.binary_erosion(domain, np.ones((3,) * domain.ndim))
