"""How much a lesion raises the loss, example by example: what two networks share of the noise drops out.

Examples are a sample of those one might have drawn, and a hard one is hard for both networks. The difference of two
mean losses over the same examples is therefore known better than either of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.evaluation.accuracy import Accuracy
from landscape.evaluation.measure import Loss, each_of
from landscape.evaluation.sampling import Tolerance
from landscape.nested import Nested

__all__ = ["RISE", "PerExampleLoss", "mean_of", "rise"]

RISE = {
    "rise": ("f8", np.nan, {"long_name": "loss minus that of the intact network, same examples", "units": "nats"}),
    "rise_se": ("f8", np.nan, {"long_name": "standard error of the rise over examples, paired", "units": "nats"}),
}


class PerExampleLoss:
    """A loss that remembers what it has given for each example, and the error of each, until it is asked.

    Parameters
    ----------
    loss : gives one number for each example
    accuracy : of each example, see `landscape.evaluation.accuracy`; None where it is not defined
    """

    def __init__(self, loss: Loss, accuracy: Accuracy | None = None):
        self.loss, self.accuracy = loss, accuracy
        self.parts: list[Tensor] = []

    def __call__(self, outputs: Any, targets: Nested) -> Tensor:
        each = each_of(self.loss, outputs, targets)
        right = torch.full_like(each, torch.nan) if self.accuracy is None else self.accuracy(outputs, targets)
        self.parts.append(torch.stack([each, 1 - right.to(each.dtype)]))
        return each

    def taken(self) -> np.ndarray:
        """Loss and error of each example since the last call: float64, shape (2, examples).

        The error is 1 where the class is wrong, or the share of positions where it is; NaN where it is not defined.
        """
        each = torch.cat(self.parts, dim=1).cpu().numpy().astype(np.float64)
        self.parts = []
        return each


def rise(lesioned: np.ndarray, intact: np.ndarray, tolerance: Tolerance | None = None) -> dict[str, float]:
    """The mean difference of losses over the same examples, and its standard error.

    Parameters
    ----------
    lesioned, intact : loss of each example in the same order, float64, shape (n,)
    tolerance : if these are the first examples of many, of which all are meant; see
        `landscape.evaluation.measure.score`

    Returns
    -------
    dict
        ``rise`` and ``rise_se``: s/√n of the differences. With a tolerance, the error against all examples, 0 if these
        are all of them.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        mean, error = mean_of(lesioned - intact, tolerance)
    return {"rise": mean, "rise_se": error}


def mean_of(each: np.ndarray, tolerance: Tolerance | None) -> tuple[float, float]:
    """The mean of a number of each example, shape (n,), and its standard error; see `rise`."""
    n = len(each)
    if tolerance is not None and n < len(tolerance.strata):
        return tolerance.estimate(each)
    with np.errstate(invalid="ignore", over="ignore"):
        error = each.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    error = error if tolerance is None or not np.isfinite(error) else 0.0
    return float(each.mean()), float(error)
