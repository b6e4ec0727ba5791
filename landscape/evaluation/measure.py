"""What a network measures on data.

Loss is the mean per example, in nats for the cross-entropy; accuracy is a fraction, where it is defined
(`landscape.evaluation.accuracy`). BatchNorm uses its stored statistics. A loss is a function of outputs and targets
that gives one number for each example (`landscape.evaluation.losses`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.evaluation.accuracy import Accuracy, OfPositions, accuracy_for
from landscape.evaluation.calling import evaluating, predict
from landscape.evaluation.losses import LOSSES, Loss, cross_entropy, each_of
from landscape.evaluation.sampling import GROWTH, Tolerance
from landscape.nested import Nested, length

__all__ = ["LOSSES", "Batches", "Loss", "each_of", "evaluating", "losses_of", "measure", "score"]

Batches = Sequence[tuple[Nested, Nested]]


def measure(
    network: nn.Module,
    batches: Batches,
    loss: Loss = cross_entropy,
    tolerance: Tolerance | None = None,
    examples: int | None = None,
    extra: Mapping[str, Loss] | None = None,
    accuracy: Accuracy | None = None,
) -> dict[str, float]:
    """Measure a network in one pass over batches, or over as many as it takes.

    Parameters
    ----------
    network : nn.Module
        Used as it is, with stored BatchNorm statistics and no dropout.
    batches : sequence of (inputs, targets)
        On the network's device; batches may be of unequal size.
    loss : callable
        Gives one number for each example.
    tolerance : Tolerance, optional
        When to stop, see `score`.
    examples : int, optional
        See there.
    extra : dict of callables, optional
        Other losses to take from the same pass, see `score`.
    accuracy : callable, optional
        See `score`.

    Returns
    -------
    dict
        See `score`.
    """
    # Not inference_mode: a network may take derivatives of its own within.
    with evaluating(network), torch.no_grad():
        outputs = (predict(network, inputs) for inputs, _ in batches)
        return score(outputs, batches, loss, tolerance, examples, extra, accuracy)


def score(
    outputs: Iterable,
    batches: Batches,
    loss: Loss = cross_entropy,
    tolerance: Tolerance | None = None,
    examples: int | None = None,
    extra: Mapping[str, Loss] | None = None,
    accuracy: Accuracy | None = None,
) -> dict[str, float]:
    """What a network measures, from its outputs for each batch.

    Parameters
    ----------
    outputs : iterable
        A network's, for each batch, in order; taken one by one.
    batches : sequence of (inputs, targets)
        Whose targets are compared with the outputs; with a `tolerance`, in a stratified order
        (`landscape.data.stratified_order`)
    loss : callable
        Gives one number for each example.
    tolerance : Tolerance, optional
        If given, no more outputs are taken when the loss is known to this relative standard
        error, or is not finite, whatever would follow
    examples : int, optional
        If given, stop after these instead: what another measurement with this tolerance took.
    extra : dict of callables, optional
        Losses by name.
        Taken from the same outputs; when to stop is decided by `loss` alone.
    accuracy : callable, optional
        Of each example, see `landscape.evaluation.accuracy`; by default what the first batch allows.

    Returns
    -------
    dict
        ``loss``: mean over examples. ``loss_se``: its standard error. Without a tolerance it is s/√n, which
        takes the examples for a sample of the population that they come from. With one it is the error
        against the mean of all these examples, see `landscape.evaluation.sampling`; 0 where all were needed.
        ``accuracy``: mean over examples; there is none where it is not defined. ``accuracy_se``: its standard error,
        where an example has several positions; elsewhere it follows from the number of examples.
        ``examples``: how many were measured. And NAME and NAME_se for each further loss.
    """
    extra = dict(extra or {})
    losses: list[Tensor] = []
    hits: list[Tensor] = []
    n, look = 0, 0.0 if tolerance is None else float(tolerance.least)
    others: dict[str, list[Tensor]] = {name: [] for name in extra}
    coming = iter(outputs)
    for _, targets in batches:
        out = next(coming, None)  # not by zip, which would keep these outputs while the next are made
        if out is None:
            break
        out = _in_float32(out)
        losses.append(each_of(loss, out, targets))
        for name, other in extra.items():
            others[name].append(each_of(other, out, targets))
        if n == 0 and accuracy is None:
            accuracy = accuracy_for(out, targets, loss)
        if accuracy is not None:
            hits.append(accuracy(out, targets))
        del out
        n += length(targets)
        if examples is not None:
            if n >= examples:
                break
        elif tolerance is not None and n >= look:
            look = n * GROWTH
            if tolerance.met(torch.cat(losses)):
                break
    # The one read-out. Summed by numpy: torch's sums of long vectors depend on the number of threads.
    part = tolerance if tolerance is not None and n < len(tolerance.strata) else None
    measured: dict[str, float] = {}
    for name, each in {"loss": losses, **others}.items():
        mean, error = _mean(torch.cat(each).cpu().double().numpy(), part)
        # With a tolerance the error is against the mean of these very examples, so that all of them leave none.
        exact = tolerance is not None and part is None and np.isfinite(error)
        measured |= {name: mean, f"{name}_se": 0.0 if exact else error}
    if hits:
        right = torch.cat(hits).cpu().numpy().astype(np.float64)
        measured["accuracy"] = float(right.mean()) if part is None else part.estimate(right)[0]
        if isinstance(accuracy, OfPositions):
            error = _mean(right, part)[1]
            measured["accuracy_se"] = 0.0 if tolerance is not None and part is None and np.isfinite(error) else error
    return measured | {"examples": n}


def losses_of(network: nn.Module, batch: tuple[Nested, Nested], loss: Loss) -> np.ndarray:
    """The loss of each example of a batch, float64, shape (n,); see `measure`."""
    with evaluating(network), torch.no_grad():
        out = _in_float32(predict(network, batch[0]))
        return each_of(loss, out, batch[1]).cpu().double().numpy()


def _in_float32(out: Any) -> Any:
    return out.float() if isinstance(out, Tensor) and out.dtype in (torch.bfloat16, torch.float16) else out


def _mean(each: np.ndarray, tolerance: Tolerance | None) -> tuple[float, float]:
    """Mean and standard error: of a sample of the population, or with a tolerance of a part of all examples."""
    if tolerance is not None:
        return tolerance.estimate(each)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        return float(each.mean()), float(error)
