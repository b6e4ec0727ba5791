"""What a network measures on data.

Loss is the mean per example, in nats for the cross-entropy; accuracy is a fraction. BatchNorm uses
its stored statistics. A loss is a function of outputs and targets that gives one number for each
example.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.imported import imported

__all__ = ["LOSSES", "evaluating", "loss_named", "measure"]

Loss = Callable[[Tensor, Tensor], Tensor]


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


def measure(network: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], loss: Loss = cross_entropy) -> dict:
    """Measure a network in one pass over batches.

    Parameters
    ----------
    network : used as it is, with stored BatchNorm statistics and no dropout
    batches : inputs and targets on the network's device; batches may be of unequal size
    loss : gives one number for each example

    Returns
    -------
    dict
        ``loss``: mean over examples. ``loss_se``: its standard error, s/√n, which takes the
        examples for a sample of the population. ``accuracy``: fraction of examples whose largest
        output is the target class (NaN for targets that are not classes). ``examples``: n.
    """
    losses, hits = [], []
    with evaluating(network), torch.inference_mode():
        for inputs, targets in batches:
            outputs = network(inputs)
            losses.append(loss(outputs, targets))
            if not targets.is_floating_point():
                hits.append(outputs.argmax(1) == targets)
        # The one read-out. Summed by numpy: torch's sums of long vectors depend on the number of threads.
        each = torch.cat(losses).cpu().numpy().astype(np.float64)
        right = torch.cat(hits).cpu().numpy() if hits else np.array([np.nan])
    n = len(each)
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        return {
            "loss": float(each.mean()),
            "loss_se": float(each.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan"),
            "accuracy": float(right.mean()),
            "examples": n,
        }


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
