"""Losses: one number for each example, from whatever shapes of outputs and targets it can be told how to compare.

Conventions. Targets that are classes are integers: one an example, (N,), or one a position, (N, …), where outputs are
(N, C, …) or (N, …, C). A position whose class is −100 is void: it counts nowhere. So is one that a loss of the user's
ignores, as far as that can be told: by its ``ignore_index``, or where it is 0 at a number that is no class. The loss of
an example of several positions is the mean over those that count. The built-in losses check what they are given, since
what broadcasts or wraps gives a number too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from landscape.errors import BadInput, did_you_mean, raised
from landscape.evaluation.calling import scores_of
from landscape.evaluation.rows import by_rows, cross_entropy_of_rows
from landscape.import_path import import_object
from landscape.nested import Nested, leaves, length

__all__ = [
    "LOSSES",
    "VOID",
    "Loss",
    "PerExample",
    "check_labels",
    "class_axis",
    "each_of",
    "has_classes",
    "in_units",
    "loss_by_name",
    "unit_of",
]

Loss = Callable[[Tensor, Tensor], Tensor]

VOID = -100  # as in torch and transformers


def has_classes(targets: Nested) -> bool:
    """Whether targets are class numbers, one an example or one a position."""
    return isinstance(targets, Tensor) and not (targets.is_floating_point() or targets.is_complex())


def class_axis(outputs: Tensor, targets: Tensor) -> int | None:
    """The axis of outputs that counts classes; None where shapes do not tell."""
    if outputs.ndim != targets.ndim + 1:
        return None
    second = outputs.shape[:1] + outputs.shape[2:] == targets.shape
    last = outputs.shape[:-1] == targets.shape
    if targets.ndim > 1 and second and last:  # as many classes as positions
        return None
    return 1 if second else outputs.ndim - 1 if last else None


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats, mean over an example's positions: shape (N,).

    Parameters
    ----------
    outputs : Tensor, shape (N, C), (N, C, …) or (N, …, C)
        Class scores (logits).
    targets : integer Tensor, shape (N,) or (N, …); or float Tensor, shape (N, C), rows of probabilities

    Raises
    ------
    BadInput
        Shapes that do not go together, targets that are no classes, a class that there is no output for.
    """
    outputs = scores_of(outputs)
    shapes = f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}"
    if not has_classes(targets):
        if targets.shape == outputs.shape and targets.ndim == 2 and _are_probabilities(targets):
            return F.cross_entropy(outputs, targets.to(outputs.dtype), reduction="none")
        raise BadInput(f"targets are {targets.dtype}, which are no classes; name a loss for them, such as mse")
    axis = class_axis(outputs, targets)
    if axis is None or outputs.shape[axis] < 2:
        cure = "outputs need one axis more than targets, of two classes or more"
        if _binary(outputs, targets):
            cure = "binary_cross_entropy is for one output, or a label for each"
        elif outputs.ndim == targets.ndim + 1 > 2 and outputs.shape[1] == outputs.shape[-1] > 1:
            cure = "with as many classes as positions, shapes do not tell which is which; take other windows"
        raise BadInput(f"cross_entropy cannot compare {shapes}; {cure}")
    targets = targets.long()
    try:
        if axis != 1 and not torch.is_grad_enabled():  # of a text, whose vocabulary may be large
            each = by_rows(cross_entropy_of_rows, outputs, targets)
        else:
            outputs = outputs if axis == 1 else outputs.movedim(axis, 1)
            each = F.cross_entropy(outputs, targets, reduction="none", ignore_index=VOID)
    except IndexError as error:
        raise BadInput(f"a class is out of range: {shapes}, classes {_range(targets)}") from error
    return _over_positions(each, targets == VOID) if targets.ndim > 1 else each


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of independent yes-or-no labels from logits, in nats, mean over an example's labels: shape (N,).

    Parameters
    ----------
    outputs : Tensor, shape (N,), (N, 1) or (N, …)
        Logits: above 0 is yes.
    targets : Tensor of 0 and 1, or of probabilities between, of the same shape, but for axes of length 1
    """
    outputs, targets = _same_shape(scores_of(outputs), targets, "binary_cross_entropy")
    check_labels(targets)
    each = F.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
    return each.flatten(1).mean(1) if each.ndim > 1 else each


def check_labels(targets: Tensor) -> None:
    """Raise BadInput if targets of `binary_cross_entropy` are neither 0 and 1 nor between."""
    if bool(((targets < 0) | (targets > 1)).any()):
        raise BadInput(f"binary_cross_entropy needs targets from 0 to 1; these are {_range(targets)}")


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error, mean over an example's outputs; classes count as one-hot vectors: shape (N,).

    Parameters
    ----------
    outputs : Tensor, shape (N, …)
    targets : Tensor of the same shape, but for axes of length 1; or integer Tensor, shape (N,), for outputs (N, C)
    """
    outputs = scores_of(outputs)
    if has_classes(targets) and targets.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] > 1:
        if bool(((targets < 0) | (targets >= outputs.shape[1])).any()):
            raise BadInput(f"a class is out of range: outputs {tuple(outputs.shape)}, classes {_range(targets)}")
        targets = F.one_hot(targets.long(), outputs.shape[1])
    outputs, targets = _same_shape(outputs, targets, "mse")
    each = (outputs - targets.to(outputs)).abs().square() if outputs.is_complex() else None
    each = (outputs - targets.to(outputs)).square() if each is None else each
    return each.flatten(1).mean(1) if each.ndim > 1 else each


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse, "binary_cross_entropy": binary_cross_entropy}


def loss_by_name(name: str) -> Loss:
    """A loss by its name or its import path.

    Raises
    ------
    BadInput
        There is none of that name, or it cannot be imported.
    """
    if name in LOSSES:
        return LOSSES[name]
    if ":" not in name:
        raise BadInput(
            f"there is no loss {name!r}; use {', '.join(LOSSES)} or package.module:function{did_you_mean(name, LOSSES)}"
        )
    return import_object(name)


def unit_of(loss: str) -> str:
    """The unit of a loss by its name."""
    return "nats" if loss in ("cross_entropy", "binary_cross_entropy") else "as the loss"


def in_units(variables: Mapping[str, tuple], loss: str) -> dict[str, tuple]:
    """Variables of a results file, in nats or what follows from them, as they are in the units of a loss."""
    unit = unit_of(loss)

    def converted(shown: Mapping) -> dict:
        return {**shown, "units": shown["units"].replace("nats", unit)} if "units" in shown else dict(shown)

    return {name: (dtype, fill, converted(shown), *rest) for name, (dtype, fill, shown, *rest) in variables.items()}


def each_of(loss: Loss, outputs: Any, targets: Nested, called: str = "the loss") -> Tensor:
    """A loss of each example, shape (N,).

    Parameters
    ----------
    loss : gives one number for each example, or one for each position, of which an example's mean is taken
    outputs : of the network, for N examples
    targets : of the same examples
    called : what messages call the loss

    Raises
    ------
    BadInput
        The loss gives something else.
    """
    each = loss(outputs, targets)
    n = length(targets, "targets")
    if not isinstance(each, Tensor):
        raise BadInput(f"{called} gives a {type(each).__name__} for {n} examples; it must give a number for each")
    if each.is_complex():
        raise BadInput(f"{called} gives complex numbers; it must give a real one for each example, such as .abs()")
    if each.layout != torch.strided or each.is_quantized or each.device.type == "meta":
        raise BadInput(f"{called} gives a tensor that is sparse, quantised or without values; give plain numbers")
    if each.shape == (n,):
        return each
    if each.ndim and each.shape[0] == each.numel() == n:  # (N, 1)
        return each.flatten()
    if has_classes(targets) and each.ndim == 1 and targets.ndim > 1 and each.numel() == targets.numel():
        each = each.reshape(targets.shape)  # positions of all examples in a row
    scores = next((t for t in leaves(outputs) if t.ndim), None) if not isinstance(outputs, Tensor) else outputs
    if has_classes(targets) and each.shape == targets.shape:
        return _over_positions(each, _void(loss, each, scores, targets))
    if isinstance(targets, Tensor) and each.ndim > 1 and each.shape == targets.shape == getattr(scores, "shape", None):
        return each.flatten(1).mean(1)
    raise BadInput(
        f"{called} gives a tensor of shape {tuple(each.shape)} for {n} examples; give one that does not reduce over "
        "them, like those with reduction='none', from outputs and targets of one shape"
    )


@dataclass(frozen=True)
class PerExample:
    """A loss as a network's outputs need it: of the right one among them, with gradients where it takes derivatives.

    Attributes
    ----------
    loss : as the user gave it
    choose : takes from the outputs what the loss gets; None for all of them
    differentiates : whether it takes derivatives itself
    called : what messages call a function of the user's, which may fail in any way; empty for a built-in loss
    """

    loss: Loss
    choose: Callable | None = None
    differentiates: bool = False
    called: str = ""

    def __call__(self, outputs: Any, targets: Nested) -> Tensor:
        try:
            return self.tried(outputs, targets)
        except (BadInput, MemoryError, torch.cuda.OutOfMemoryError):
            raise
        except (Exception, SystemExit) as error:
            if not self.called:
                raise
            raise BadInput(f"{self.called} fails ({raised(error)}); mend it") from error

    def tried(self, outputs: Any, targets: Nested) -> Tensor:
        """The same, with errors as they are raised."""
        outputs = outputs if self.choose is None else self.choose(outputs)
        called = self.called or "the loss"
        if torch.is_grad_enabled():  # somebody differentiates the loss
            return each_of(self.loss, outputs, targets, called)
        with torch.set_grad_enabled(self.differentiates):
            return each_of(self.loss, outputs, targets, called).detach()


def _over_positions(each: Tensor, void: Tensor) -> Tensor:
    """The mean over an example's positions that are not void: shape (N,); NaN where all are."""
    each, void = each.flatten(1), void.flatten(1)
    if not bool(void.any()):
        return each.mean(1)
    return each.masked_fill(void, 0).sum(1) / (~void).sum(1)


def _void(loss: Loss, each: Tensor, scores: Tensor | None, targets: Tensor) -> Tensor:
    """Where a loss has nothing to tell: at −100, what it says it ignores, and no class of the outputs where it is 0."""
    axis = None if scores is None else class_axis(scores, targets)
    strange = targets < 0
    if scores is not None and axis is not None:
        strange |= targets >= scores.shape[axis]
    ignored = getattr(loss, "ignore_index", getattr(loss, "keywords", {}).get("ignore_index", VOID))
    return (targets == VOID) | (targets == ignored) | (strange & (each == 0))


def _same_shape(outputs: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Both in one shape, if they differ in axes of length 1 alone; never broadcast."""
    if outputs.shape == targets.shape:
        return outputs, targets
    n = len(targets)
    shapes = [[size for size in t.shape[1:] if size > 1] for t in (outputs, targets)]
    if len(outputs) != n or shapes[0] != shapes[1]:
        raise BadInput(
            f"{name} cannot compare outputs {tuple(outputs.shape)} with targets {tuple(targets.shape)}; "
            "give both in one shape"
        )
    return outputs.reshape(n, *shapes[0]), targets.reshape(n, *shapes[0])


def _are_probabilities(targets: Tensor) -> bool:
    return bool((targets >= 0).all()) and torch.allclose(targets.sum(1), targets.new_ones(()), atol=1e-3)


def _binary(outputs: Tensor, targets: Tensor) -> bool:
    return outputs.shape == targets.shape or outputs.numel() == targets.numel()


def _range(targets: Tensor) -> str:
    return f"{targets.min().item():g} to {targets.max().item():g}"
