"""What goes through a network from block to block: gradients that shatter, variance that grows, who depends on whom."""

from __future__ import annotations

import math

import numpy as np

from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from ensemble.flow.stream import stream
from landscape.engine.results import Results

__all__ = ["autocorrelation", "later_effect", "mixing_gain", "variance_growth"]


def autocorrelation(case: Case) -> Number:
    """How alike the gradients of an output are at neighbouring points of lines between images: at lag 1 of 256 points.

    Balduzzi et al. 2017, 1702.08591 §2; see `ensemble.flow.shattering`.
    """
    results = _measured(case)
    lag = list(results.coordinates["lag"]).index(1)
    return Number(float(results["autocorrelation"][0, lag]), float(results["autocorrelation_se"][0, lag]), "lines")


def variance_growth(case: Case, layers: bool = False) -> Number:
    """The variance of the stream at the head over that behind the stem."""
    results = _measured(case, layers)
    last = int(results["boundaries"][0]) - 1
    (first, first_se), (end, end_se) = (
        (float(results["variance"][0, n]), float(results["variance_se"][0, n])) for n in (0, last)
    )
    growth = end / first
    return Number(growth, growth * math.hypot(first_se / first, end_se / end), "images")


def mixing_gain(case: Case, way: str = "forward") -> Number:
    """The largest row sum of the product of all matrices by which hyper-connections mix streams, the worst example's.

    Parameters
    ----------
    way : {"forward", "backward"}
        Of absolute values in rows, or in columns, for gradients (Xie et al. 2025, 2512.24880, Fig. 3).
    """
    results = _measured(case)
    last = int(results["boundaries"][0]) - 1
    return Number(float(results[f"{way}_mixing_max"][0, 0, last]))


def later_effect(case: Case, half: str = "first", layers: bool = True) -> Number:
    """How much later blocks change what they add when one of a half is left out, relative to what they add.

    The mean over blocks of that half and over those behind each; of pairs, the median over examples (Csordás et al.
    2025, 2505.13898).

    Parameters
    ----------
    half : {"first", "second"}
        Of the blocks by depth.
    """
    results = _measured(case, layers)
    median = list(results.coordinates["quantile"]).index(0.5)
    number = int(results["boundaries"][0]) - 1
    effect = results["effect"][0, median, :number, :number]
    rows = slice(None, number // 2) if half == "first" else slice(number // 2, None)
    return Number(float(np.nanmean(effect[rows])))


def _measured(case: Case, layers: bool = False) -> Results:
    evaluate = case.evaluator(split="train", examples=128, seed=case.seed)
    return case.measured(stream, evaluate, batches=1, batch_size=128, layers=layers)
