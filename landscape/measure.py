"""What a network measures on data.

Loss is the mean per example, in nats for the cross-entropy; accuracy is a fraction. BatchNorm uses
its stored statistics. A loss is a function of outputs and targets that gives one number for each
example.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.estimate import GROWTH, LEAST, Tolerance
from landscape.imported import imported

__all__ = ["LOSSES", "each_of", "evaluating", "loss_named", "measure", "score"]

Loss = Callable[[Tensor, Tensor], Tensor]
Batches = Sequence[tuple[Tensor, Tensor]]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of class scores (N, classes) and classes (N,), in nats: shape (N,)."""
    return F.cross_entropy(outputs, targets, reduction="none")


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error, mean over an example's outputs; classes count as one-hot vectors: shape (N,)."""
    if not targets.is_floating_point():
        targets = F.one_hot(targets, outputs.shape[1])
    return (outputs - targets.to(outputs)).square().flatten(1).mean(1)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse}


def loss_named(name: str) -> Loss:
    """A loss by its name or its import path.

    Raises
    ------
    BadInput
        There is none of that name, or it cannot be imported.
    """
    if name in LOSSES:
        return LOSSES[name]
    if ":" not in name:
        raise BadInput(f"there is no loss {name!r}; use {', '.join(LOSSES)} or package.module:function")
    return imported(name)


def each_of(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """A loss of each example, shape (N,).

    Raises
    ------
    BadInput
        The loss does not give one number for each.
    """
    each = loss(outputs, targets)
    if each.shape != (len(targets),):
        raise BadInput(
            f"a loss of shape {tuple(each.shape)} for {len(targets)} examples; give one that does not reduce over "
            "them, like those with reduction='none'"
        )
    return each


def measure(
    network: nn.Module,
    batches: Batches,
    loss: Loss = cross_entropy,
    tolerance: Tolerance | None = None,
    examples: int | None = None,
    further: Mapping[str, Loss] | None = None,
) -> dict[str, float]:
    """Measure a network in one pass over batches, or over as many as it takes.

    Parameters
    ----------
    network : used as it is, with stored BatchNorm statistics and no dropout
    batches : inputs and targets on the network's device; batches may be of unequal size
    loss : gives one number for each example
    tolerance, examples : when to stop, see `score`
    further : other losses to take from the same pass, see `score`

    Returns
    -------
    dict
        See `score`.
    """
    with evaluating(network), torch.inference_mode():
        return score((network(inputs) for inputs, _ in batches), batches, loss, tolerance, examples, further)


def score(
    outputs: Iterable[Tensor],
    batches: Batches,
    loss: Loss = cross_entropy,
    tolerance: Tolerance | None = None,
    examples: int | None = None,
    further: Mapping[str, Loss] | None = None,
) -> dict[str, float]:
    """What a network measures, from its outputs for each batch.

    Parameters
    ----------
    outputs : a network's, one tensor for each batch, in order; taken one by one
    batches : whose targets are compared with the outputs; with a `tolerance`, in a stratified order
        (`landscape.data.stratified_order`)
    loss : gives one number for each example
    tolerance : if given, no more outputs are taken when the loss is known to this relative standard
        error, or is not finite, whatever would follow
    examples : if given, stop after these instead: what another measurement with this tolerance took
    further : name -> loss
        Taken from the same outputs; when to stop is decided by `loss` alone.

    Returns
    -------
    dict
        ``loss``: mean over examples. ``loss_se``: its standard error. Without a tolerance it is s/√n, which
        takes the examples for a sample of the population that they come from. With one it is the error
        against the mean of all these examples, see `landscape.estimate`; 0 where all were needed.
        ``accuracy``: fraction of examples whose largest output is the target class (NaN for targets that
        are not classes). ``examples``: how many were measured. And NAME and NAME_se for each further loss.
    """
    further = dict(further or {})
    losses, hits, n, look = [], [], 0, LEAST
    others: dict[str, list[Tensor]] = {name: [] for name in further}
    for (_, targets), out in zip(batches, outputs, strict=False):
        out = out.float() if out.dtype in (torch.bfloat16, torch.float16) else out
        losses.append(loss(out, targets))
        for name, other in further.items():
            others[name].append(other(out, targets))
        if not targets.is_floating_point():
            hits.append(out.argmax(1) == targets)
        n += len(targets)
        if examples is not None:
            if n >= examples:
                break
        elif tolerance is not None and n >= look:
            look = n * GROWTH
            if tolerance.met(torch.cat(losses)):
                break
    # The one read-out. Summed by numpy: torch's sums of long vectors depend on the number of threads.
    right = torch.cat(hits).cpu().numpy() if hits else np.array([np.nan])
    part = tolerance if tolerance is not None and n < len(tolerance.strata) else None
    measured = {}
    for name, each in {"loss": losses, **others}.items():
        mean, error = _mean(torch.cat(each).cpu().numpy().astype(np.float64), part)
        # With a tolerance the error is against the mean of these very examples, so that all of them leave none.
        exact = tolerance is not None and part is None and np.isfinite(error)
        measured |= {name: mean, f"{name}_se": 0.0 if exact else error}
    accuracy = float(right.mean()) if part is None or not hits else part.estimate(right)[0]
    return measured | {"accuracy": accuracy, "examples": n}


def _mean(each: np.ndarray, tolerance: Tolerance | None) -> tuple[float, float]:
    """Mean and standard error: of a sample of the population, or with a tolerance of a part of all examples."""
    if tolerance is not None:
        return tolerance.estimate(each)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        return float(each.mean()), float(error)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """The network in evaluation mode; afterwards each module is in the mode that it was in."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield network
    finally:
        for module in training:
            module.training = True
