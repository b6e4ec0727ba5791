"""Whether a network, data and a loss go together: found out on two examples, before hours are spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.data import Data
from landscape.errors import BadInput
from landscape.evaluation.accuracy import Accuracy, accuracy_for
from landscape.evaluation.calling import as_arguments, attempt, lacks_gradients, scores_of, selector, with_gradients
from landscape.evaluation.losses import (
    LOSSES,
    VOID,
    Loss,
    PerExample,
    check_labels,
    class_axis,
    has_classes,
    loss_by_name,
)
from landscape.nested import Nested, leaves, length, mapped, take

__all__ = ["Fit", "check_causal", "check_compatible", "check_inputs", "check_targets", "default_loss", "fit"]


class Fit(NamedTuple):
    """How a network's outputs are scored.

    Attributes
    ----------
    loss : of each example, from whatever the network gives
    accuracy : of each example; None where it is not defined
    differentiates : whether the network, or the loss, takes derivatives, so that it needs gradients
    classes : how many there are outputs for, if an example has one
    """

    loss: PerExample
    accuracy: Accuracy | None
    differentiates: bool
    classes: int | None


def check_compatible(
    title: str, network: nn.Module, data: Data, loss: str = "cross_entropy", device: torch.device | str = "cpu"
) -> None:
    """Raise BadInput if a network, data and a loss by its name do not go together; see `fit`."""
    inputs, targets = (mapped(lambda t: t.to(device), take(x, slice(2))) for x in (data.images, data.labels))
    fit(title, network, inputs, targets, loss, loss_by_name(loss), classes=data.classes, data=data.name)
    check_targets(network, inputs, [data.labels], loss)


def check_causal(title: str, network: nn.Module, window: Tensor) -> None:
    """Refuse a language model that sees the tokens which it is to predict, as BERT's do that are made no decoders.

    Parameters
    ----------
    title : what the network is called
    network : on the device of the window
    window : tokens of an example, shape (1, T)

    Raises
    ------
    BadInput
        Scores before the last token depend on it.
    """
    other = window.clone()
    other[:, -1] = (window[:, -1] == 0).long()
    one, two = (scores_of(check_inputs(title, network, each)[0])[:, :-1].float() for each in (window, other))
    if not torch.allclose(one, two, 1e-4, 1e-4 * float(one.std())):
        raise BadInput(
            f"{title} sees the tokens that it is to predict, though its class is one of a causal language model; "
            "set is_decoder in its config.json, if it was trained so, or give labels of your own"
        )


def default_loss(targets: Nested) -> str:
    """The loss where none is named: the cross-entropy of classes.

    Raises
    ------
    BadInput
        Targets are no classes.
    """
    if has_classes(targets):
        return "cross_entropy"
    kinds = ", ".join(f"{t.dtype} {tuple(t.shape)}".removeprefix("torch.") for t in leaves(targets)) or "no tensors"
    raise BadInput(
        f"targets are {kinds}, which are no classes; name a loss for them: mse, binary_cross_entropy, or your own"
    )


def fit(
    title: str,
    network: nn.Module,
    inputs: Nested,
    targets: Nested,
    name: str,
    loss: Loss,
    *,
    outputs: str | int | Callable | None = None,
    classes: int | None = None,
    data: str = "the data",
) -> Fit:
    """How the outputs of a network are scored, tried on a few examples.

    Parameters
    ----------
    title, data : what network and data are called
    network : on the device of the examples
    inputs, targets : of two examples, or of one where there are no more; see `landscape.evaluation.calling`
    name, loss : the loss and its name
    outputs : what of the network's outputs the loss gets, see `landscape.evaluation.calling.selector`
        By default a built-in loss gets the logits, or the first of several; a function of the caller's gets all, if it
        can take them, or else the same.
    classes : how many the data have, if targets are classes

    Raises
    ------
    BadInput
        The network does not take the inputs, or the loss does not give one number for each example.
    """
    inputs, n = as_arguments(network, inputs), length(inputs, "inputs")
    raw, differentiates = check_inputs(title, network, inputs)
    choose = selector(outputs)
    if choose is None and (name in LOSSES or isinstance(raw, Tensor)):
        choose = scores_of
    if name in LOSSES and choose is not None:
        _check_rows(title, choose(raw), n, targets, classes, data)
    candidates = [choose] if choose is not None else [None, scores_of]  # who wrote the loss for a dict gets the dict
    for differentiating in (False, True):
        for candidate in candidates:
            scored = PerExample(loss, candidate, differentiating)
            if differentiating and not differentiates:
                raw = with_gradients(network, inputs)
            try:
                with torch.no_grad():
                    each = scored(raw, targets)
            except BadInput:
                if candidate is candidates[-1]:
                    raise
            except Exception as error:  # of a user's function, of any kind
                last = candidate is candidates[-1]
                if last and (differentiating or not lacks_gradients(error)):
                    raise BadInput(
                        f"the loss {name} fails on what {title} gives for {n} examples: {_reason(error)}; give one "
                        "that takes these outputs and targets"
                    ) from error
            else:
                _check_pairs(name, scored, raw, targets, each)
                accuracy = accuracy_for(raw, targets, scored)
                return Fit(scored, accuracy, differentiates or differentiating, _classes(raw, targets))
    raise AssertionError("the last candidate returns or raises")


def check_targets(
    network: nn.Module, inputs: Nested, batches: Sequence[Nested], loss: str, accuracy: bool = True
) -> bool:
    """Whether accuracy is defined for all targets, as it was for a few.

    Parameters
    ----------
    network, inputs : to see how many classes there are outputs for
    batches : targets of all examples
    loss : its name; a built-in one refuses what it cannot score
    accuracy : whether it is for a few

    Raises
    ------
    BadInput
        Under a built-in loss of classes, one is out of range, or an example has none.
    """
    if loss == "binary_cross_entropy":
        for targets in batches:
            check_labels(targets)
        return accuracy
    if not has_classes(batches[0]) or not (accuracy or loss in LOSSES):
        return accuracy
    try:
        scores = scores_of(with_gradients(network, as_arguments(network, inputs)))
    except BadInput:
        return accuracy
    axis = class_axis(scores, batches[0][: len(scores)])
    if axis is None or scores.shape[axis] < 2:
        return accuracy
    count, one_each = scores.shape[axis], batches[0].ndim == 1
    scored = loss == "cross_entropy" or (loss == "mse" and one_each)
    for targets in batches:
        void = (targets == VOID) & (loss != "mse")
        wrong = ((targets < 0) | (targets >= count)) & ~void
        if scored and bool(wrong.any()):
            raise BadInput(
                f"a target is class {int(targets[wrong][0])}, the network has outputs for classes 0 to {count - 1}; "
                f"renumber the classes, or give {VOID} to positions that do not count"
            )
        if scored and bool(void.any()):
            empty = void if one_each else void.flatten(1).all(1)
            if number := int(empty.sum()):
                raise BadInput(f"{number} of {len(targets)} examples have no target but {VOID}; leave them out")
        accuracy = accuracy and (not one_each or not bool((wrong | void).any()))
    return accuracy


def _classes(raw: Any, targets: Nested) -> int | None:
    try:
        scores = scores_of(raw)
    except BadInput:
        return None
    one_each = has_classes(targets) and targets.ndim == 1 and scores.ndim == 2
    return scores.shape[1] if one_each else None


def check_inputs(title: str, network: nn.Module, inputs: Nested) -> tuple[Any, bool]:
    """What the network gives, and whether it needs gradients for that.

    Raises
    ------
    BadInput
        It does not take the inputs.
    """
    try:
        return attempt(network, inputs)
    except BadInput:
        raise
    except Exception as error:  # what networks say of a shape they do not take, or of another number of inputs
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in leaves(inputs))
        raise BadInput(
            f"{title} does not take inputs of shape {shapes}: {_reason(error)}; give the data that it was made for"
        ) from error


def _check_rows(title: str, scores: Any, n: int, targets: Nested, classes: int | None, data: str) -> None:
    if not (isinstance(scores, Tensor) and scores.ndim and len(scores) == n):
        raise BadInput(f"{title} gives {_shape(scores)} for {n} examples; it must give a row of outputs for each")
    one_each = has_classes(targets) and targets.ndim == 1
    if one_each and scores.ndim == 2 and 1 < scores.shape[1] < (classes or 0):
        raise BadInput(
            f"{title} has {scores.shape[1]} outputs, {data} {classes} classes; give the data that it was made for"
        )


def _check_pairs(name: str, loss: PerExample, raw: Any, targets: Nested, each: Tensor) -> None:
    """Refuse a loss that compares each output with every target, as shapes (N, 1) and (N,) do."""
    n = len(each)
    try:
        scores = scores_of(raw if loss.choose is None else loss.choose(raw))
    except BadInput:
        return
    axis = class_axis(scores, targets) if has_classes(targets) else None
    same_shape = isinstance(targets, Tensor) and scores.shape == targets.shape
    same_shape = same_shape or (axis is not None and scores.shape[axis] > 1)
    if name in LOSSES or n < 2 or same_shape or not isinstance(targets, Tensor) or not isinstance(raw, Tensor):
        return
    try:
        with torch.no_grad():
            alone = torch.cat([loss(raw[i : i + 1], targets[i : i + 1]) for i in range(n)])
    except Exception:  # of a user's function: one that cannot take a single example says nothing
        return
    if not torch.allclose(alone, each, rtol=1e-3, atol=1e-6, equal_nan=True):
        raise BadInput(
            f"the loss {name} of an example depends on the others: outputs {tuple(scores.shape)} and targets "
            f"{tuple(targets.shape)} are broadcast; give both in one shape"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
