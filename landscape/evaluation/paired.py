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


def by_example(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Each example's losses and error, with the network as it is now.

    Parameters
    ----------
    evaluation : Evaluation
        In float32, over all examples.

    Returns
    -------
    dict of float64 ndarray, shape (examples,)
        ``loss``; other losses by their names, but no metrics; ``error``, where accuracy is defined. Of a second split
        the same with ``test_`` before it.
    """
    losses = {name: loss for name, loss in evaluation.extra.items() if name not in evaluation.metrics}
    losses = {"loss": evaluation.loss, **losses}
    splits = {"": evaluation.batches} | ({} if evaluation.test is None else {"test_": evaluation.test.batches})
    values: dict[str, list[torch.Tensor]] = {}
    with evaluating(evaluation.forward), torch.no_grad():
        for split, batches in splits.items():
            for inputs, targets in batches:
                outputs = predict(evaluation.forward, inputs)
                each = {name: each_of(loss, outputs, targets) for name, loss in losses.items()}
                if evaluation.accuracy is not None:
                    each["error"] = 1 - evaluation.accuracy(outputs, targets).double()
                for name, part in each.items():
                    values.setdefault(f"{split}{name}", []).append(part.double().cpu())
    return {name: torch.cat(parts).numpy() for name, parts in values.items()}


def mean_of(each: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of a value for each example; what is not finite makes both so."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        return float(each.mean()), float(error)
