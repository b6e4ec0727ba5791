"""Metrics that compare a changed network with itself before the change, example by example.

The reference is the network as it is when a measurement begins: the origin of a plane, or the intact network of a
lesion study. What both share of the noise of the examples drops out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.evaluation.calling import evaluating, predict, predictions, scores_of
from landscape.evaluation.losses import VOID, Loss, PerExample, class_axis, has_classes
from landscape.evaluation.measure import Batches
from landscape.evaluation.rows import by_rows, kl_of_rows
from landscape.memory import guard_memory

__all__ = ["REFERRING", "Reference"]

# Name: what figures and tables call it, and its unit
REFERRING = {
    "agreement": ("agreement with the unchanged network's top-1 prediction", "1"),
    "kl": ("KL divergence from the unchanged network's distribution", "nats"),
}


class Reference:
    """What a network says of every example, to compare with.

    Parameters
    ----------
    forward : the network as it is now
    batches : inputs and targets
    loss : tells which of several outputs are scored, as for the loss

    Raises
    ------
    BadInput
        Outputs are no scores of classes, one row an example or a position.
    """

    def __init__(self, forward: nn.Module, batches: Batches, loss: Loss):
        self._choose = loss.choose if isinstance(loss, PerExample) and loss.choose is not None else scores_of
        self._forward, self._batches = forward, batches
        # By the identity of a batch's targets, which every measurement passes on.
        self._predicted: dict[int, Tensor] = {}
        self._logarithms: dict[int, Tensor] = {}
        self._axis = 1

    def metric(self, name: str) -> Callable[[object, Tensor], Tensor]:
        """The metric of that name: a function of outputs and targets with a value for each example."""
        self._look(name)
        return {"agreement": self.agreement, "kl": self.kl}[name]

    def agreement(self, outputs: Any, targets: Tensor) -> Tensor:
        """Whether the prediction is the reference's, (N,); of several positions the share of those that count."""
        predicted = predictions(self._scores(outputs), self._axis)
        same = (predicted == self._predicted[id(targets)]) & (predicted >= 0)
        return _over_positions(same.float(), targets)

    def kl(self, outputs: Any, targets: Tensor) -> Tensor:
        """Σ p (ln p − ln q) of the reference's distribution p and the changed network's q, (N,), in nats."""
        reference = self._logarithms[id(targets)]
        changed = self._scores(outputs)
        if self._axis == changed.ndim - 1 > 1 and not torch.is_grad_enabled():
            return _over_positions(by_rows(kl_of_rows, changed, reference), targets)
        changed = changed.to(reference.dtype).log_softmax(self._axis)
        terms = torch.where(reference.isneginf(), 0, reference.exp() * (reference - changed))
        return _over_positions(terms.sum(self._axis), targets)

    def _scores(self, outputs: Any) -> Tensor:
        return scores_of(self._choose(outputs))

    @torch.no_grad()
    def _look(self, name: str) -> None:
        """Keep what the network says now."""
        with evaluating(self._forward):
            for number, (inputs, targets) in enumerate(self._batches):
                scores = self._scores(predict(self._forward, inputs))
                if number == 0:
                    self._axis = _axis(name, scores, targets)
                    if name == "kl":
                        size = sum(len(y) for _, y in self._batches) * scores[:1].numel() * 4
                        guard_memory(size if scores.device.type == "cpu" else 0, "kl, which keeps all outputs,")
                if name == "agreement":
                    self._predicted[id(targets)] = predictions(scores, self._axis)
                else:
                    self._logarithms[id(targets)] = scores.float().log_softmax(self._axis)


def _axis(name: str, scores: Tensor, targets: Any) -> int:
    """The axis of scores that counts classes."""
    axis = class_axis(scores, targets) if has_classes(targets) else 1 if scores.ndim == 2 else None
    if axis is None or scores.is_complex() or scores.shape[axis] < 2:
        raise BadInput(
            f"{name} compares distributions over classes, and outputs {tuple(scores.shape)} are none of two classes or "
            "more; leave it out"
        )
    return axis


def _over_positions(each: Tensor, targets: Any) -> Tensor:
    """The mean over an example's positions that are not void, (N,)."""
    if each.ndim == 1:
        return each
    counts = targets != VOID if has_classes(targets) else torch.ones_like(each, dtype=torch.bool)
    return (each * counts).flatten(1).sum(1) / counts.flatten(1).sum(1)
