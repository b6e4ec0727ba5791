"""Whether a network, data and a loss go together: found out on two examples, before hours are spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.data import Data
from landscape.errors import BadInput, raised
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

__all__ = [
    "Fit",
    "check_causal",
    "check_compatible",
    "check_inputs",
    "check_repeatable",
    "check_targets",
    "default_loss",
    "fit",
]


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
    # Where scores are not finite there is no spread to compare with.
    spread = float(one.std(correction=0).nan_to_num()) if one.numel() else 0.0
    if not torch.allclose(one, two, 1e-4, 1e-4 * spread, equal_nan=True):
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
    noun: str = "loss",
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
    noun : what it is called, a loss or a metric

    Raises
    ------
    BadInput
        The network does not take the inputs, or the loss does not give one number for each example.
    """
    inputs, n = as_arguments(network, inputs), length(inputs, "inputs")
    raw, differentiates = check_inputs(title, network, inputs)
    targets = mapped(Tensor.clone, targets)
    choose, built_in = selector(outputs), loss is LOSSES.get(name)
    called = "" if built_in else f"the {noun} {name}"
    if choose is None and (built_in or isinstance(raw, Tensor)):
        choose = scores_of
    if built_in and choose is not None:
        _check_rows(title, choose(raw), n, targets, classes, data)
    candidates = [choose] if choose is not None else [None, scores_of]  # who wrote the loss for a dict gets the dict
    for differentiating in (False, True):
        for candidate in candidates:
            scored = PerExample(loss, candidate, differentiating, called)
            if differentiating and not differentiates:
                raw = with_gradients(network, inputs)
            before = [t.detach().clone() for t in leaves((raw, targets))]
            try:
                with torch.no_grad():
                    each = scored.tried(raw, targets)
            except BadInput:
                if candidate is candidates[-1]:
                    raise
            except (Exception, SystemExit) as error:  # of a user's function, of any kind
                last = candidate is candidates[-1]
                if last and (differentiating or not lacks_gradients(error)):
                    raise BadInput(
                        f"{called or f'the loss {name}'} fails on what {title} gives for {n} examples: "
                        f"{raised(error)}; give one that takes these outputs and targets"
                    ) from error
            else:
                if called:
                    if name in LOSSES and noun == "loss":
                        raise BadInput(f"{called} is not the built-in one; give it a name of its own")
                    _check_function(called, scored, raw, targets, each, before)
                    _check_pairs(called, scored, raw, targets, each)
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
        It does not take the inputs, or changes them.
    """
    given = mapped(Tensor.clone, inputs)
    try:
        outputs = attempt(network, given)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:  # what networks say of a shape, or a number of inputs, they do not take
        shapes = ", ".join(str(tuple(t.shape[1:])) for t in leaves(inputs))
        raise BadInput(
            f"{title} does not take inputs of shape {shapes}: {_reason(error)}; give the data that it was made for"
        ) from error
    if not all(_close(one, other, 0) for one, other in zip(leaves(inputs), leaves(given), strict=True)):
        raise BadInput(f"{title} changes its inputs in place, for all that follow; let it work on copies, .clone()")
    return outputs


def check_repeatable(title: str, network: nn.Module, inputs: Nested) -> None:
    """Refuse a network that draws at random even in evaluation mode.

    Raises
    ------
    BadInput
        Its outputs are others the second time.
    """
    one, two = (leaves(attempt(network, inputs)[0]) for _ in range(2))
    if not all(a.shape == b.shape and _close(a.detach(), b.detach()) for a, b in zip(one, two, strict=True)):
        raise BadInput(
            f"{title} gives other outputs when it is called again on the same; let it draw nothing at random where "
            "self.training is False"
        )


def _check_rows(title: str, scores: Any, n: int, targets: Nested, classes: int | None, data: str) -> None:
    if not (isinstance(scores, Tensor) and scores.ndim and len(scores) == n):
        raise BadInput(f"{title} gives {_shape(scores)} for {n} examples; it must give a row of outputs for each")
    one_each = has_classes(targets) and targets.ndim == 1
    if one_each and scores.ndim == 2 and 1 < scores.shape[1] < (classes or 0):
        raise BadInput(
            f"{title} has {scores.shape[1]} outputs, {data} {classes} classes; give the data that it was made for"
        )


def _check_function(
    called: str, loss: PerExample, raw: Any, targets: Nested, each: Tensor, before: Sequence[Tensor]
) -> None:
    """Refuse a user's function that changes what it is given, or gives other numbers the next time.

    Others get the same outputs and targets, and numbers must be the same for any number of ranks.
    """
    after = leaves((raw, targets))
    if not all(one.shape == other.shape and _close(one, other, 0) for one, other in zip(before, after, strict=True)):
        raise BadInput(f"{called} changes its outputs or targets in place; let it work on copies, .clone()")
    with torch.no_grad():
        again = loss(raw, targets)
    if not _close(each, again):
        raise BadInput(
            f"{called} gives other numbers when it is called again on the same; let it count nothing, and draw nothing "
            "at random but from a seed"
        )


def _close(one: Tensor, other: Tensor, tolerance: float = 1e-3) -> bool:
    if not (one.is_complex() or other.is_complex()):
        one, other = one.double(), other.double()
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance / 1000, equal_nan=True)


def _check_pairs(called: str, loss: PerExample, raw: Any, targets: Nested, each: Tensor) -> None:
    """Refuse a loss that compares each output with every target, as shapes (N, 1) and (N,) do.

    With class targets a loss may compare examples on purpose, as contrastive ones do. One that only broadcasts gives
    for two copies of an example what it gives for the example alone.
    """
    n = len(each)
    try:
        scores = scores_of(raw if loss.choose is None else loss.choose(raw))
    except BadInput:
        return
    axis = class_axis(scores, targets) if has_classes(targets) else None
    same_shape = isinstance(targets, Tensor) and scores.shape == targets.shape
    same_shape = same_shape or (axis is not None and scores.shape[axis] > 1)
    if n < 2 or not isinstance(targets, Tensor) or not isinstance(raw, Tensor):
        return
    try:
        with torch.no_grad():
            alone = torch.cat([loss(raw[i : i + 1], targets[i : i + 1]) for i in range(n)])
            twice = [loss(raw[[i, i]], targets[[i, i]])[:1] for i in range(n)] if same_shape else [alone]
    except Exception:  # of a user's function: one that cannot take a single example says nothing
        return
    if not _close(alone, each) and _close(torch.cat(twice), alone):
        raise BadInput(
            f"{called} of an example depends on the others: outputs {tuple(scores.shape)} and targets "
            f"{tuple(targets.shape)} are broadcast; give both in one shape"
        )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
