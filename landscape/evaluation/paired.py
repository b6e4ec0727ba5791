"""What a network measures on each example: two states of a network are compared on the same ones.

The mean of differences is known far better than the difference of means is from two standard errors, since most of what
examples differ by they have in common.
"""

from __future__ import annotations

import numpy as np
import torch

from landscape.evaluation.calling import evaluating, predict
from landscape.evaluation.losses import each_of
from landscape.evaluation.prepared import Evaluation

__all__ = ["by_example", "mean_of"]


def by_example(evaluation: Evaluation, test: bool = False) -> dict[str, np.ndarray]:
    """Each example's losses, with the network as it is now.

    Parameters
    ----------
    evaluation : Evaluation
        In float32, over all examples.
    test : bool
        Whether of the second split.

    Returns
    -------
    dict of float64 ndarray, shape (examples,)
        ``loss``, and other losses by their names, but no metrics.
    """
    losses = {name: loss for name, loss in evaluation.extra.items() if name not in evaluation.metrics}
    losses = {"loss": evaluation.loss, **losses}
    batches = evaluation.test.batches if test and evaluation.test is not None else evaluation.batches
    values: dict[str, list[torch.Tensor]] = {name: [] for name in losses}
    with evaluating(evaluation.forward), torch.no_grad():
        for inputs, targets in batches:
            outputs = predict(evaluation.forward, inputs)
            for name, loss in losses.items():
                values[name].append(each_of(loss, outputs, targets).double().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in values.items()}


def mean_of(each: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of a value for each example; what is not finite makes both so."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        return float(each.mean()), float(error)
