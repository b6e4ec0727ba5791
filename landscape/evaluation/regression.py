"""A mean of all examples from some of them and from what a few other networks lose on more of them.

What is hard for a network is hard for its neighbours. Where the losses of some neighbours, the controls, are known on
m examples, the losses y of the first n < m are regressed on theirs, and the regression says what the mean of y is
over all m. What is uncertain is then what the regression leaves of y on n examples, and y itself on m only:

    ȳ_reg = ȳ_n + b·(x̄_m − x̄_n),    se² = Σ_h W_h² [(1/n_h − 1/m_h) s²_e,h + (1/m_h − 1/N_h) s²_y,h],

with strata h of sizes N_h and weights W_h = N_h/N, one slope b for all strata (Cochran 1977, *Sampling Techniques*,
§7.10), two phases (§12.6; the second term is 0 where the controls are known on all N), and residuals e of which each
comes from the regression without that example, as in the jackknife: with few examples and long tails the ordinary ones
are too small. A control that says nothing gets a slope near 0 and costs a degree of freedom, so nothing is chosen
after looking at the sample, which could bias the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported where they are first used: they take as long as a small measurement

__all__ = ["LEAST", "Regression", "covariates"]

# Fewer examples than `landscape.evaluation.sampling.LEAST`: with as many the intervals still held in 94 to 97 of 100
# cases around trained residual networks.
LEAST = 500
DEPENDENT = 1e-6  # of its own length, what is left of a covariate that others say already


def covariates(losses: Sequence[np.ndarray]) -> np.ndarray:
    """What a loss is regressed on: of each control its loss, which goes with the tail, and its rank, with the rest.

    Parameters
    ----------
    losses : of each control the loss of each example, float64, shape (m,)
        Controls with a loss that is not finite are left out.

    Returns
    -------
    float64 ndarray, shape (2 · controls, m)
    """
    finite = [each for each in losses if np.isfinite(each).all()]
    rows = [
        row
        for each in finite
        for row in (each / (np.abs(each).max() or 1.0), scipy.stats.rankdata(each) / (len(each) + 1))
    ]
    return np.array(rows).reshape(len(rows), len(losses[0]))


class _Basis(NamedTuple):
    """Covariates of the first n examples, orthonormal within strata."""

    rows: list[np.ndarray]  # each of shape (n,)
    gaps: list[float]  # of each: its mean over m examples minus that over n
    leverage: np.ndarray  # of each example on its own fit, shape (n,)


class Regression:
    """The regression estimator of means, for any values of the first examples.

    Parameters
    ----------
    known : covariates of the first m examples, shape (k, m)
    strata : int ndarray, shape (N,)
        The stratum of each example, from 0, in the order in which examples are taken.

    Examples
    --------
    >>> draws = np.random.default_rng(0)
    >>> x, strata = draws.exponential(size=10_000), np.arange(10_000) % 2
    >>> y = 3 * x + 0.1 * draws.standard_normal(10_000)
    >>> mean, error = Regression(covariates([x]), strata).estimate(y[:500])
    >>> bool(abs(mean - y.mean()) < 3 * error), bool(error < 0.1 * y.std() / 500**0.5)
    (True, True)
    """

    def __init__(self, known: np.ndarray, strata: np.ndarray):
        self.known, self.strata = known, strata
        self.sizes = np.bincount(strata)
        # Points take the same numbers of examples again and again.
        self._basis = lru_cache(maxsize=8)(self._made)

    @property
    def examples(self) -> int:
        """On how many examples the controls are known."""
        return self.known.shape[1]

    def estimate(self, values: np.ndarray) -> tuple[float, float]:
        """Mean of all examples and its standard error, from finite values of the first n < m, float64, shape (n,).

        The error is NaN where a stratum has fewer than two examples, unless that is all it has.
        """
        n = len(values)
        first, sizes, strata = self._numbers(n), self.sizes, self.strata[:n]
        second = self._numbers(self.examples)
        basis = self._basis(n)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            means, deviations = self._centred(values)
            weight = sizes / sizes.sum()
            mean, left = _weighted(weight, means), deviations
            for row, gap in zip(basis.rows, basis.gaps, strict=True):
                slope = np.sum(row * deviations)
                mean, left = mean + slope * gap, left - slope * row
            left = left / np.maximum(1 - basis.leverage, DEPENDENT)
            residual = np.bincount(strata, np.square(left), len(sizes)) * (first - 1) / np.square(first)
            whole = np.bincount(strata, np.square(deviations), len(sizes)) / (first - 1)
            # What is known without error counts nothing, however uncertain its spread.
            drawn, known = 1 / first - 1 / second, 1 / second - 1 / sizes
            variance = np.where(drawn > 0, drawn * residual, 0.0) + np.where(known > 0, known * whole, 0.0)
            variance = np.where((first < 2) & (first < sizes), np.nan, variance)
            return float(mean), float(np.sqrt(_weighted(np.square(weight), variance)))

    def _numbers(self, n: int) -> np.ndarray:
        """How many of the first n examples each stratum has."""
        return np.bincount(self.strata[:n], minlength=len(self.sizes))

    def _centred(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean of each stratum, shape (H,), and what each value differs by from its own."""
        strata = self.strata[: len(values)]
        means = np.bincount(strata, values, len(self.sizes)) / self._numbers(len(values))
        return means, values - means[strata]

    def _made(self, n: int) -> _Basis:
        """Gram–Schmidt, row by row, by sums that are the same bits for any number of threads, as BLAS's are not."""
        weight = self.sizes / self.sizes.sum()
        rows: list[np.ndarray] = []
        gaps: list[float] = []
        with np.errstate(invalid="ignore", divide="ignore"):
            leverage = (1 / self._numbers(n))[self.strata[:n]]
            for known in self.known:
                means, row = self._centred(known[:n])
                gap = _weighted(weight, self._centred(known)[0]) - _weighted(weight, means)
                length = np.sqrt(np.sum(np.square(row)))
                for _ in range(2):  # twice is enough
                    for before, its_gap in zip(rows, gaps, strict=True):
                        part = np.sum(before * row)
                        row, gap = row - part * before, gap - part * its_gap
                left = np.sqrt(np.sum(np.square(row)))
                if left > DEPENDENT * length:
                    rows.append(row / left)
                    gaps.append(gap / left)
                    leverage = leverage + np.square(rows[-1])
        return _Basis(rows, gaps, leverage)


def _weighted(weight: np.ndarray, values: np.ndarray) -> np.float64:
    """Σ weight · value over the strata that there are."""
    there = weight > 0
    return np.sum(weight[there] * values[there])
