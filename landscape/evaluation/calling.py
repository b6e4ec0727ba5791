"""How a network is called: with a tensor, several, or tensors by name; and which of its outputs is scored.

A batch's inputs are a tensor, network(x); a tuple or list, network(*inputs); or a mapping, network(**inputs). Where the
network takes a tuple, a list or a mapping as one argument, `as_arguments` wraps it once, before anything is measured.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from landscape.errors import BadInput, raised
from landscape.nested import Nested, mapped

__all__ = [
    "Differentiating",
    "arguments",
    "as_arguments",
    "attempt",
    "evaluating",
    "functional",
    "lacks_gradients",
    "predict",
    "predictions",
    "scores_of",
    "selector",
    "with_gradients",
]

SCORES = ("logits", "out")  # what transformers and torchvision call the outputs that a loss is computed from


def arguments(inputs: Nested) -> tuple[tuple, dict]:
    """Positional and keyword arguments of the call."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, tuple | list) else ((inputs,), {})


def as_arguments(network: nn.Module, inputs: Nested) -> Nested:
    """Inputs as `predict` passes them on: a structure that is one argument of the network is wrapped in a tuple."""
    if isinstance(inputs, Tensor):
        return inputs
    args, kwargs = arguments(inputs)
    try:
        inspect.signature(network.forward).bind(*args, **kwargs)
    except TypeError:
        return (inputs,)
    return inputs


def predict(network: nn.Module, inputs: Nested) -> Any:
    """The network's outputs, whatever they are; a network may ask for derivatives by the tensors that it is given."""
    args, kwargs = arguments(mapped(Tensor.detach, inputs))
    return network(*args, **kwargs)


def attempt(network: nn.Module, inputs: Nested) -> tuple[Any, bool]:
    """The outputs for a few inputs, and whether the network takes derivatives for them, so that it needs gradients."""
    try:
        with torch.no_grad(), evaluating(network):
            return predict(network, inputs), False
    except RuntimeError as error:
        if not lacks_gradients(error):
            raise
        return with_gradients(network, inputs), True


def with_gradients(network: nn.Module, inputs: Nested) -> Any:
    """The outputs, where derivatives can be taken."""
    with torch.enable_grad(), evaluating(network):
        return predict(network, inputs)


def lacks_gradients(error: BaseException) -> bool:
    """Whether autograd complains that there is nothing to differentiate."""
    return isinstance(error, RuntimeError) and "grad" in str(error)


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


def functional(network: nn.Module, parameters: Mapping[str, Tensor], inputs: Nested) -> Any:
    """The outputs with other parameters or buffers, by which they can be differentiated."""
    args, kwargs = arguments(inputs)
    with _in_place_of(network, parameters):
        return network(*args, **kwargs)


@contextlib.contextmanager
def _in_place_of(network: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Tensors in place of parameters and buffers, wherever these are used; afterwards they are themselves again.

    `torch.func.functional_call` does not give back a module that has two names, and unties what is tied to it.
    """
    named = (network.named_parameters, network.named_buffers)
    names = {name: tensor for each in named for name, tensor in each(remove_duplicate=False)}
    others = {id(names[name]): tensor for name, tensor in tensors.items()}
    slots: list[tuple[Any, str, Tensor | None]]
    slots = [(held, key, held[key]) for m in network.modules() for held in (m._parameters, m._buffers) for key in held]
    try:
        for held, key, own in slots:
            held[key] = others.get(id(own), own)
        yield
    finally:
        for held, key, own in slots:
            held[key] = own


def predictions(scores: Tensor, axis: int = 1) -> Tensor:
    """The class with the highest score, which is −1, none, where a score is NaN."""
    highest, classes = scores.max(axis)
    return classes.masked_fill(highest.isnan(), -1)


def scores_of(outputs: Any) -> Tensor:
    """The tensor that is scored: the output itself; of several, the logits or else the first.

    Raises
    ------
    BadInput
        There is no tensor, or several have names of which none is known.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs if isinstance(outputs, Mapping) else getattr(outputs, "_asdict", dict)()
    for name in SCORES:
        if name in named:
            return scores_of(named[name])
    if isinstance(outputs, Mapping):
        tensors = [name for name, value in outputs.items() if isinstance(value, Tensor)]
        if len(tensors) == 1 or (tensors and type(outputs) is not dict):  # a ModelOutput has an order, the first counts
            return outputs[tensors[0]]
        names = ", ".join(map(str, outputs))
        raise BadInput(f"the network gives a dict of {names or 'nothing'}; choose one of them by the option outputs")
    if isinstance(outputs, tuple | list) and outputs:
        return scores_of(outputs[0])
    raise BadInput(f"the network gives a {type(outputs).__name__}; choose a tensor in it by the option outputs")


def selector(which: str | int | Callable | None) -> Callable | None:
    """A function that takes from a network's outputs what the loss gets; None to choose by itself.

    Parameters
    ----------
    which : a key or attribute, a position, or a function of the outputs
    """
    if which is None:
        return None

    def chosen(outputs):
        try:
            if callable(which):
                return which(outputs)
            if isinstance(which, str) and not isinstance(outputs, Mapping):
                return getattr(outputs, which)
            return outputs[which]
        except Exception as error:
            if callable(which):
                raise BadInput(f"the function outputs fails ({raised(error)}); mend it") from error
            if not isinstance(error, LookupError | AttributeError | TypeError):
                raise
            names = ", ".join(map(str, outputs)) if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
            raise BadInput(f"there is no {which!r} in what the network gives: {names}") from error

    return chosen


class Differentiating(nn.Module):
    """A network that takes derivatives in its forward pass, and so needs gradients where nobody else does."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *args, **kwargs):
        with torch.enable_grad():
            return self.network(*args, **kwargs)
