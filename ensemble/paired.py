"""How much a lesion raises the loss, example by example: what two networks share of the noise drops out.

Examples are a sample of those one might have drawn, and a hard one is hard for both networks. The difference of two
mean losses over the same examples is therefore known better than either of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from landscape.estimate import Tolerance
from landscape.measure import Loss

__all__ = ["RISE", "Recorder", "rise"]

RISE = {
    "rise": ("f8", np.nan, {"long_name": "loss minus that of the intact network, same examples", "units": "nats"}),
    "rise_se": ("f8", np.nan, {"long_name": "standard error of the rise over examples, paired", "units": "nats"}),
}


class Recorder:
    """A loss that remembers what it has given for each example, until it is asked."""

    def __init__(self, loss: Loss):
        self.loss = loss
        self.parts: list[Tensor] = []

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.parts.append(self.loss(outputs, targets))
        return self.parts[-1]

    def taken(self) -> np.ndarray:
        """The losses since the last call, float64, shape (examples,)."""
        each = torch.cat(self.parts).cpu().numpy().astype(np.float64)
        self.parts = []
        return each


def rise(lesioned: np.ndarray, intact: np.ndarray, tolerance: Tolerance | None = None) -> dict[str, float]:
    """The mean difference of losses over the same examples, and its standard error.

    Parameters
    ----------
    lesioned, intact : loss of each example in the same order, float64, shape (n,)
    tolerance : if these are the first examples of many, of which all are meant; see `landscape.measure.score`

    Returns
    -------
    dict
        ``rise`` and ``rise_se``: s/√n of the differences. With a tolerance, the error against all examples, 0 if these
        are all of them.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        difference = lesioned - intact
        n = len(difference)
        if tolerance is not None and n < len(tolerance.strata):
            mean, error = tolerance.estimate(difference)
            return {"rise": mean, "rise_se": error}
        error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        error = error if tolerance is None or not np.isfinite(error) else 0.0
        return {"rise": float(difference.mean()), "rise_se": float(error)}
