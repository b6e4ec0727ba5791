"""Accuracy where it is defined: the share of classes that a network gets right, of an example or of its positions.

It is defined for one class an example, for a class a position, and for one logit under `binary_cross_entropy` (above 0
is yes). It is not for regression, for several labels at once, or where a loss compares positions in a way of its own,
as one that shifts them does: then there is none, rather than a number that means something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape.errors import BadInput
from landscape.evaluation.calling import predictions, scores_of
from landscape.evaluation.losses import Loss, PerExample, binary_cross_entropy, class_axis, cross_entropy, has_classes
from landscape.nested import Nested

__all__ = ["Accuracy", "OfPositions", "accuracy_for"]

Accuracy = Callable[[object, Tensor], Tensor]


def accuracy_for(outputs: Any, targets: Nested, loss: Loss = cross_entropy) -> Accuracy | None:
    """The accuracy of each example, as a function of outputs and targets; None where it is not defined.

    Parameters
    ----------
    outputs : of the network, for a few examples
    targets : of the same examples
    loss : what the network is measured in
    """
    try:
        choose = loss.choose if isinstance(loss, PerExample) and loss.choose is not None else scores_of
        scores = scores_of(choose(outputs))
    except BadInput:
        return None
    if not has_classes(targets) or scores.is_complex():
        return None

    def take(outputs: Any) -> Tensor:
        return scores_of(choose(outputs))

    kind = loss.loss if isinstance(loss, PerExample) else loss
    axis = class_axis(scores, targets)
    if axis is None or scores.shape[axis] < 2:
        single = len(scores) == len(targets) == scores.numel() == targets.numel()
        return (
            (lambda out, y: (s := take(out).flatten()).gt(0).eq(y.flatten()) & ~s.isnan())
            if single and kind is binary_cross_entropy
            else None
        )
    if kind is binary_cross_entropy:
        return None
    if targets.ndim == 1:
        return lambda out, y: predictions(take(out)) == y
    if kind is not cross_entropy and not _by_position(kind, scores, targets, axis):
        return None

    return OfPositions(take, axis)


@dataclass(frozen=True)
class OfPositions:
    """The share of an example's positions that are right, of those that are not void.

    No proportion of independent trials, since positions of an example are alike: it has a standard error over examples.

    Attributes
    ----------
    scores : takes the scored tensor from the outputs
    axis : of it, the one that counts classes
    """

    scores: Callable
    axis: int

    def __call__(self, outputs: Any, targets: Tensor) -> Tensor:
        scores = self.scores(outputs)
        counts = ((targets >= 0) & (targets < scores.shape[self.axis])).flatten(1)
        right = (predictions(scores, self.axis) == targets).flatten(1) & counts
        return right.sum(1) / counts.sum(1)


def _by_position(loss: Loss, scores: Tensor, targets: Tensor, axis: int) -> bool:
    """Whether the loss looks at exactly the positions that have a class: its slope is 0 at all others."""
    with torch.inference_mode(False), torch.enable_grad():
        scores = scores.detach().clone().requires_grad_(True)
        try:
            (slope,) = torch.autograd.grad(loss(scores, targets.clone()).sum(), scores)
        except Exception:  # of a user's function, of any kind: a loss of more outputs than these, or without a slope
            return False
    counts = (targets >= 0) & (targets < scores.shape[axis])
    return torch.equal(slope.ne(0).any(axis), counts)
