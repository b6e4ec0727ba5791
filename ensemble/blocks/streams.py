"""Whether what is said to be added to a stream is added, and nothing else: branches are followed to their sums.

One forward pass, in which every function of torch is seen as it is called. Of each tensor it is noted of which terms it
is the sum: the input of a layer, outputs of its branches, or something else. A branch must reach one sum and nothing
else, at most reshaped, cast or multiplied by what does not depend on the input (a layer scale, a residual multiplier).
What a layer gives must be the sum of its input and its branches, each once. The input may be carried by a projection,
and a norm or an activation may follow a sum.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from landscape.errors import BadInput
from landscape.nested import Nested, leaves

__all__ = ["CARRY", "SUMS", "Branch", "Stream", "carries", "first", "stream"]

SUMS = {"add", "sub", "rsub"}
PRODUCTS = {"mul", "multiply", "div", "divide", "true_divide"}
# What changes the shape, the place or the type of numbers, not the numbers; dropout does nothing in evaluation
CARRY = {
    *("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze", "expand"),
    *("expand_as", "permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis", "t", "get", "getitem"),
    *("narrow", "roll", "pad", "contiguous", "clone", "detach", "to", "type", "type_as", "float", "half", "bfloat16"),
    *("double", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
}
OTHER = "something else"


@dataclass(eq=False)
class Branch:
    """What a submodule gives to the stream.

    Attributes
    ----------
    name : of the block
    concatenated : whether it is said to be concatenated, not added, as often as it is read
    shapes : of what it gave, as often as it ran; None where that is no tensor
    uses : functions that were given it; "" is a sum
    joined : None, or a list for copies of what meets in these sums: stream, what is added to it, and the sum
    """

    name: str
    concatenated: bool = False
    shapes: list[torch.Size | None] = field(default_factory=list)
    uses: list[str] = field(default_factory=list)
    joined: list[tuple[Tensor, Tensor, Tensor]] | None = None

    def problem(self) -> str:
        """Why it is not what is added to the stream; empty if it is."""
        if self.concatenated and set(self.uses) == {"cat"}:
            return ""
        wrong = [use for use in self.uses if use]
        if wrong:
            return f"goes into {wrong[0]}"
        return {0: "is added to nothing", 1: ""}.get(len(self.uses), f"is used {len(self.uses)} times")


class _Terms(NamedTuple):
    """What a tensor is the sum of; `branch` if it is what that branch gave, but for shape, type and a constant."""

    terms: tuple[object, ...]
    branch: Branch | None = None

    def use(self, how: str) -> None:
        if self.branch is not None:
            self.branch.uses.append(how)


class Stream(TorchFunctionMode):
    """A forward pass is followed within a ``with``.

    Parameters
    ----------
    branches : submodule whose output is said to be added -> which branch that is
    layers : name of a module that adds branches -> the module, and all of its branches
    norms : modules that count as one function each, however they are written
    """

    def __init__(
        self,
        branches: Mapping[nn.Module, Branch],
        layers: Mapping[str, tuple[nn.Module, list[Branch]]],
        norms: Iterable[nn.Module] = (),
    ):
        super().__init__()
        self.branches, self.layers, self.norms = branches, layers, list(norms)
        self.terms: Any = WeakTensorKeyDictionary()  # of tensors as long as they live

    @contextlib.contextmanager
    def followed(self, inputs: Nested) -> Iterator[None]:
        """Follow a network's pass over inputs.

        Raises
        ------
        BadInput
            What a layer gives is not the sum of its input and its branches.
        """
        for tensor in leaves(inputs):
            self.terms[tensor] = _Terms(("inputs",))
        with contextlib.ExitStack() as stack:
            for end, branch in self.branches.items():
                stack.callback(end.register_forward_hook(self._ending(branch)).remove)
            for name, (layer, branches) in self.layers.items():
                before = layer.register_forward_pre_hook(self._entering(name), with_kwargs=True)
                after = layer.register_forward_hook(self._leaving(name, branches))
                stack.callback(before.remove)
                stack.callback(after.remove)
            for module in self.norms:
                stack.callback(module.register_forward_hook(self._normed, with_kwargs=True).remove)
            stack.enter_context(self)
            yield

    def _ending(self, branch: Branch) -> Callable:
        def hook(_: object, __: object, output: Any) -> None:
            output = first(output)
            branch.shapes.append(output.shape if isinstance(output, Tensor) else None)
            if isinstance(output, Tensor):
                self.terms[output] = _Terms((branch,), branch)

        return hook

    def _entering(self, name: str) -> Callable:
        def hook(_: object, args: tuple, kwargs: Mapping) -> None:
            if isinstance(x := stream(args, kwargs), Tensor):
                self.terms[x] = _Terms((name,))

        return hook

    def _leaving(self, name: str, branches: list[Branch]) -> Callable:
        def hook(layer: object, _: object, output: Any) -> None:
            y = first(output)
            added = self.terms.get(y, _Terms(())).terms if isinstance(y, Tensor) else ()
            ran = [branch for branch in branches if branch.shapes]
            if Counter(added) != Counter([name, *ran]) and not any(branch.problem() for branch in ran):
                what = OTHER if OTHER in added else "its input twice" if added.count(name) > 1 else "other terms"
                raise BadInput(
                    f"{name}, a {type(layer).__name__}, gives {what} besides the sum of its input and its branches, "
                    "so that a lesion of its blocks would not be what it is called; say where branches end: --blocks"
                )

        return hook

    def _normed(self, _: object, args: tuple, kwargs: Mapping, output: Any) -> None:
        x = stream(args, kwargs)
        if isinstance(output, Tensor) and output is not x and _is(x, self.terms):
            self.terms[output] = _Terms(self.terms[x].terms)

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "a function").strip("_")
        seen = args[:1] if name.endswith("_as") else [args, kwargs]  # the other tensor is there for its shape or type
        given = [known for tensor in leaves(seen) if (known := self.terms.get(tensor)) is not None]
        ends = [known.branch if (known := self.terms.get(x)) else None for x in args[:2] if isinstance(x, Tensor)]
        joining = {n: end for n, end in enumerate(ends) if name in SUMS and end is not None and end.joined is not None}
        terms_of_sum = [x.detach().clone() for x in args[:2]] if joining and len(ends) == 2 else []
        output = function(*args, **kwargs)
        for n, end in joining.items() if terms_of_sum else ():
            end.joined.append((terms_of_sum[1 - n], terms_of_sum[n], output.detach().clone()))
        if given and (results := [tensor for tensor in leaves(output) if tensor.dtype != torch.bool]):
            terms = self._of(name, args, given, results)
            for tensor in results:
                if terms is None:
                    self.terms.pop(tensor, None)
                else:
                    self.terms[tensor] = terms
        return output

    def _of(self, name: str, args: tuple, given: list[_Terms], results: list[Tensor]) -> _Terms | None:
        """The terms of what a function of known tensors gives; None for a constant."""
        if name.startswith("new_") or name.endswith("_like"):
            return None
        if len(given) == 1 and len(results) == 1:
            (one,) = given
            if carries(name, args, _is(args[0], self.terms)):
                return one
        if name in SUMS and len(given) == 2 and {getattr(arg, "shape", None) for arg in args[:2]} == {results[0].shape}:
            for one in given:
                one.use("")
            return _Terms(given[0].terms + given[1].terms)
        for one in given:
            one.use(f"{name} with {OTHER}" if name in SUMS else name)
        return _Terms(given[0].terms if len(given) == 1 and name not in SUMS else (OTHER,))


def carries(name: str, args: tuple, first_known: bool) -> bool:
    """Whether a function of one tensor that is known gives its numbers, but for a constant factor.

    `first_known` tells whether that is its first argument: a constant over it is none of its multiples.
    """
    nothing = name in SUMS and 0 in [arg for arg in args if isinstance(arg, int)]
    return name in CARRY or nothing or (name in PRODUCTS and (name[0] == "m" or first_known))


def _is(value: object, known: Mapping) -> bool:
    return isinstance(value, Tensor) and value in known


def first(output: Any) -> Any:
    """A module's output, or the first of several."""
    return output[0] if isinstance(output, tuple | list) else output


def stream(args: tuple, kwargs: Mapping) -> Any:
    """What a module is given first."""
    return args[0] if args else next(iter(kwargs.values()))
