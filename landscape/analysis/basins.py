"""How far a basin reaches in most directions, with a certificate.

A direction stays inside up to a radius if the loss is at most the level there and at every smaller radius that was
measured, so that the number of those inside falls outwards, and so does the probability p(r) that a random direction
stays inside up to r. With k of n inside, Clopper and Pearson's lower bound of p is below p with the confidence asked
for. The certified radius is the largest one whose bound is at least the share.

It has this confidence as a whole, however many radii there are: it is too large only if the bound reaches the share at
the first radius where p is below it, since p is below it at all that follow, and k is not larger there. That is one
test, which errs with the probability that one has (a fixed sequence of nested hypotheses).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from landscape.engine.results import Results
from landscape.errors import BadInput

__all__ = ["NOISE", "Certificate", "certificate", "certified_radius", "clopper_pearson", "fewest", "inside"]

NOISE = 1.645  # standard errors: a bound that lies above the mean in 95 of 100 samples of examples


class Certificate(NamedTuple):
    """How many directions stay inside, and up to which radius most do.

    Attributes
    ----------
    radius : float
        The certified one; NaN where there is none.
    is_last : bool
        Whether it is the largest that was measured, so that the basin may reach farther.
    staying : int ndarray, shape (radii,)
        How many directions stay inside up to a radius.
    directions : int
        Of which they are.
    reach : float ndarray, shape (directions,)
        The largest radius that each stays inside up to; NaN for none.
    """

    radius: float
    is_last: bool
    staying: np.ndarray
    directions: int
    reach: np.ndarray


def certified_radius(
    results: Results, *, share: float | None = None, confidence: float | None = None, noise: bool = False
) -> Certificate:
    """The radius up to which most directions stay inside the basin.

    Parameters
    ----------
    results : Results
        Of `skipscape.basin_radius`; directions that are not measured to the end do not count.
    share : float, optional
        Of the directions; by default that of the results.
    confidence : float, optional
        Of the certificate, over draws of directions; by default that of the results.
    noise : bool
        Whether to count only directions that stay inside beyond the noise of the examples: by an upper bound of 95 %
        at each radius, against the network itself on the same examples.

    Returns
    -------
    Certificate
        The radius, and what it comes from.

    Raises
    ------
    BadInput
        A share or a confidence that is none, or too few directions for any certificate.

    Examples
    --------
    >>> import torch
    >>> from landscape.curvature.basin import basin_radius
    >>> from landscape.evaluation.evaluator import Evaluator
    >>> evaluate = Evaluator(torch.nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> basin = basin_radius(evaluate, radius=(0, 0.2, 3), level="9x", quiet=True)
    >>> certified_radius(basin, share=0.8).radius
    0.2
    """
    whole = results["done"].all(axis=1)
    excess = results["excess"][whole]
    if noise:
        excess = excess + NOISE * results["excess_se"][whole]
    share = float(results.attributes["share"]) if share is None else share
    confidence = float(results.attributes["confidence"]) if confidence is None else confidence
    return certificate(inside(excess), results.coordinates["radius"], share, confidence)


def inside(excess: np.ndarray) -> np.ndarray:
    """Which directions stay inside up to each radius.

    Parameters
    ----------
    excess : float ndarray, shape (directions, radii)
        How far the loss lies above the level; NaN is above it.

    Returns
    -------
    bool ndarray, of the same shape
    """
    with np.errstate(invalid="ignore"):
        return np.logical_and.accumulate(excess <= 0, axis=1)


def certificate(stays: np.ndarray, radii: np.ndarray, share: float, confidence: float) -> Certificate:
    """The largest radius up to which a share of the directions stays inside, with a confidence.

    Parameters
    ----------
    stays : bool ndarray, shape (directions, radii)
        See `inside`.
    radii : float ndarray, ascending
    share, confidence : float

    Raises
    ------
    BadInput
        See `certified_radius`.
    """
    directions, count = len(stays), stays.sum(axis=0)
    if directions < (least := fewest(share, confidence)):
        raise BadInput(
            f"{directions} directions cannot certify a share of {share:g} with a confidence of {confidence:g}, even if "
            f"all stay inside; give {least} or more"
        )
    number = int((clopper_pearson(count, directions, confidence)[0] >= share).sum())  # these come first
    reach = np.array([radii[each.sum() - 1] if each.any() else math.nan for each in stays])
    radius = float(radii[number - 1]) if number else math.nan
    return Certificate(radius, number == len(radii), count, directions, reach)


def fewest(share: float, confidence: float) -> int:
    """How many directions a certificate needs, if all stay inside: shareⁿ is at most 1 − confidence.

    Raises
    ------
    BadInput
        They are no parts of a whole.
    """
    for name, value in (("share", share), ("confidence", confidence)):
        if not 0 < value < 1:
            raise BadInput(f"--{name} is {value:g}; give a part of all, between 0 and 1, like 0.9")
    return math.ceil(math.log(1 - confidence) / math.log(share) - 1e-9)


def clopper_pearson(count: np.ndarray, number: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of a probability from how often something happened (Clopper and Pearson 1934).

    Parameters
    ----------
    count : int ndarray
        Times that it did.
    number : int
        Of trials.
    confidence : float
        That of each bound alone; both hold together with 2 · confidence − 1.

    Returns
    -------
    two float ndarrays
        The lower and the upper bound.
    """
    count = np.asarray(count)
    low = np.where(count > 0, beta.ppf(1 - confidence, np.maximum(count, 1), number - count + 1), 0.0)
    high = np.where(count < number, beta.ppf(confidence, count + 1, np.maximum(number - count, 1)), 1.0)
    return low, high
