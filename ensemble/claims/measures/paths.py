"""Paths through a residual network, by their length (Veit et al. 2016, 1605.06431 §3 and §5)."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from ensemble.paths.path_spectrum import path_spectrum
from landscape.engine.results import Results

__all__ = ["binomial_share", "overestimate", "path_share"]


def binomial_share(case: Case, low: int, high: int, blocks: int | None = None) -> Number:
    """The share of all paths whose length is from `low` to `high`, in percent: n choose k of 2^n."""
    if blocks is None:
        blocks = (case.depth - 2) // 2
    return Number(100 * float(stats.binom.cdf(high, blocks, 0.5) - stats.binom.cdf(low - 1, blocks, 0.5)), 0.0)


def path_share(case: Case, shorter: float = 0.5, examples: int = 32, draws: int = 2) -> Number:
    """How much of the gradient comes by paths shorter than this part of the longest, in percent, exactly.

    The sum of the signed shares of these lengths; those of all sum to 100 %.
    """
    results = _measured(case, examples, draws)
    few = results.coordinates["length"] < shorter * results.coordinates["length"].max()
    each = 100 * results["share_each"][few].sum(axis=0)
    return Number(float(np.mean(each)), float(stats.sem(each)), "images")


def overestimate(case: Case, examples: int = 32, draws: int = 100) -> Number:
    """How many times the number of paths times their mean norm exceeds the exact norm, at its largest over lengths."""
    results = _measured(case, examples, draws)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Number(float(np.nanmax(results["sampled_norm"] / results["norm"])))


def _measured(case: Case, examples: int, draws: int) -> Results:
    return case.measured(path_spectrum, case.evaluator(split="test", seed=case.seed), examples=examples, draws=draws)
