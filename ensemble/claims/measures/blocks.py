"""What passes from block to block: gradients, and what each block adds."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from ensemble.flow.gradient_flow import gradient_flow
from ensemble.flow.reuse import reuse
from landscape.engine.results import Results

__all__ = ["refinement", "relative_gradient", "responses", "reuse_spread"]


def relative_gradient(case: Case, batchnorm: str = "batch", per_layer: bool = False) -> Number:
    """The gradient at the first block over that at the head, the median over examples.

    Parameters
    ----------
    batchnorm : {"batch", "recalibrated", "frozen"}
        See `ensemble.flow.gradients.flow`.
    per_layer : bool
        Whether to take its root of the number of layers with weights in between: the factor of one layer.
    """
    results = _measured(case, batchnorm)
    low, median, high = (_quantile(results, "gradient", part)[0] for part in (0.25, 0.5, 0.75))
    # Of a median, if its sample is normal with these quartiles.
    n = max(float(results["examples"][0]), 1.0)
    se = math.sqrt(math.pi / 2 / n) * (high - low) / (stats.norm.ppf(0.75) - stats.norm.ppf(0.25))
    if per_layer:
        root = 1 / (case.depth - 2)
        return Number(median**root, root * median ** (root - 1) * se, "images")
    return Number(median, se, "images")


def responses(case: Case, of: str = "residual") -> Number:
    """What the blocks add relative to what is carried: the median over blocks.

    Parameters
    ----------
    of : {"residual", "share", "share by place"}
        The ratio of norms, the median over examples; the share of the variance; or that times l + 1 for block l = 1, 2,
        …, which is 1 where each branch has the variance of the first (De & Smith 2020, 2002.10444 §2).
    """
    results = _measured(case, "recalibrated")
    if of.startswith("share"):
        each = results["share"][0]
        if of == "share by place":
            each = each * (2 + np.arange(len(each)))
    else:
        each = _quantile(results, "residual", 0.5)
    return Number(float(np.nanmedian(each)))


def refinement(case: Case, of: str = "cosine") -> Number:
    """Whether blocks go downhill: the mean cosine of what they add with the gradient, over blocks; or the share of
    blocks whose cosine is below 0, in percent.

    Parameters
    ----------
    of : {"cosine", "downhill"}
    """
    results = _measured(case, "recalibrated")
    cosine, se = results["cosine"][0], results["cosine_se"][0]
    known = np.isfinite(cosine)
    if of == "downhill":
        return Number(100 * float((cosine[known] < 0).mean()))
    # The examples are the same at every block, so errors of blocks do not average out.
    return Number(float(cosine[known].mean()), float(se[known].mean()), "images")


def reuse_spread(case: Case) -> Number:
    """Over how many of its sources a DenseNet's layer spreads its weights: effective number over number, the mean.

    The effective number of mean absolute weights is the exponential of their entropy; 1 over the number of sources for
    a layer that reads one, 1 for one that reads all alike. Layers with one source are left out.
    """
    weight = case.measured(reuse, case.path)["weight"]
    each = []
    for row in weight.reshape(-1, weight.shape[-1]):
        row = row[np.isfinite(row)]
        if len(row) > 1:
            part = row / row.sum()
            each.append(float(np.exp(-(part * np.log(part)).sum()) / len(row)))
    return Number(float(np.mean(each)))


def _quantile(results: Results, name: str, part: float) -> np.ndarray:
    """A quantile over examples, at every boundary."""
    return results[name][0, list(results.coordinates["quantile"]).index(part)].astype(float)


def _measured(case: Case, batchnorm: str) -> Results:
    evaluate = case.evaluator(split="train", examples=256, seed=case.seed)
    return case.measured(gradient_flow, evaluate, batches=2, batch_size=128, batchnorm=batchnorm)
