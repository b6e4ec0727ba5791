"""The residual blocks of a network that nobody has described, found by the sums of one forward pass.

A branch is what a submodule gives, if it is added to what it was computed from: a tensor that it was given, straight or
by way of others, or a projection of one, where the branch has passed a nonlinearity since and the projection none. A
block is called after the module whose forward takes the sum, or, where that takes several or is the network itself,
after what gives the branch.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from ensemble.blocks.streams import CARRY, SUMS, carries, first
from landscape.errors import BadInput
from landscape.evaluation.calling import attempt, evaluating, predict
from landscape.nested import Nested, leaves

__all__ = ["branches"]

# What a shortcut's projection may be made of
LINEAR = {
    *(
        "linear",
        "matmul",
        "mm",
        "bmm",
        "einsum",
        "batch_norm",
        "conv1d",
        "conv2d",
        "conv3d",
        "avg_pool1d",
        "avg_pool2d",
    ),
    *("avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "mean", "sum", "neg", "cat"),
    *("concat", "stack", "chunk", "split", "unbind", "interpolate", "conv_transpose1d", "conv_transpose2d"),
}


class _Known(NamedTuple):
    """What is known of a tensor that depends on the inputs; tensors have numbers, and sets of them are bits.

    Attributes
    ----------
    above : the tensors that it is made of, itself included
    streams : those that it is, but for its shape, its type and what was added to them
    bends : the most nonlinear functions on the way to it
    ends : the submodules that gave it, or gave the terms of which it is the sum; none if it is a function's
    doubtful : whether one of these terms may be a projection of the stream, and the other a branch
    maker : the function that made it
    """

    above: int
    streams: int
    bends: int
    ends: tuple[nn.Module, ...] = ()
    doubtful: bool = False
    maker: str = ""

    @property
    def used(self) -> tuple[nn.Module, ...]:
        """The submodules whose outputs are used where this tensor is."""
        return () if self.doubtful else self.ends


class _Sum(NamedTuple):
    """A sum in which branches end.

    Attributes
    ----------
    taker : the module whose forward takes it
    ends : what gives the branches; none where that is a function
    uses : of submodules' outputs, by this sum
    stream : what they are added to
    maker : the function that gives the branch
    """

    taker: str
    ends: tuple[nn.Module, ...]
    uses: tuple[nn.Module, ...]
    stream: int
    maker: str = ""


def branches(network: nn.Module, inputs: Nested) -> dict[str, dict[str, nn.Module]]:
    """The submodules whose outputs are added to a stream, in the order of the pass.

    Of submodules within each other the innermost counts. One that runs several times, or whose output is used
    elsewhere too, is no branch.

    Parameters
    ----------
    network : any
    inputs : a few examples

    Returns
    -------
    dict
        Empty if there is none. As `ensemble.blocks.architectures.known`: the module that takes the sums -> the name
        of a part in it ("" if it has one only) -> the submodule. Where the network itself takes them each submodule
        stands for itself.

    Raises
    ------
    BadInput
        Some blocks are found, and some would be but that no submodule gives their branch.

    Examples
    --------
    >>> from torchvision.models import resnet18
    >>> [*branches(resnet18(), torch.zeros(2, 3, 32, 32))][:3]
    ['layer1.0', 'layer1.1', 'layer2.0']
    """
    _, differentiates = attempt(network, inputs)
    names = {module: name for name, module in network.named_modules()}
    sums = _Sums(names)
    with evaluating(network), torch.set_grad_enabled(differentiates), sums.followed(inputs):
        predict(network, inputs)
    ends = [(names[end], one.taker) for one in sums.sums.values() for end in one.ends if sums.serves_once(end)]
    ends = [(end, taker) for end, taker in ends if not any(other.startswith(f"{end}.") for other, _ in ends)]
    for missed in sums.missed(network, ends):
        taker = missed.taker or f"the {type(network).__name__}"
        raise BadInput(
            f"{taker} adds what {missed.maker} gives to what that was made of, and no submodule gives it; put it into "
            "a module of its own, or name the blocks that are meant: --blocks"
        )
    layers: dict[str, dict[str, nn.Module]] = {}
    for end, taker in ends:
        inside = taker and end.startswith(f"{taker}.")
        layer, part = (taker, end.removeprefix(f"{taker}.")) if inside else (end, "")
        layers.setdefault(layer, {})[part] = network.get_submodule(end)
    alone = [layer for layer, parts in layers.items() if len(parts) == 1]
    return layers | {layer: {"": end} for layer in alone for end in layers[layer].values()}


class _Sums(TorchFunctionMode):
    """Notes the sums of a forward pass within a ``with``; `names` are those of all modules."""

    def __init__(self, names: Mapping[nn.Module, str]):
        super().__init__()
        self.names = names
        self.known: Any = WeakTensorKeyDictionary()  # of tensors as long as they live
        self.bends: list[int] = []  # of every tensor so far, by number
        self.real = 0  # the tensors of real numbers
        self.running: list[str] = []  # the modules whose forward is under way
        self.runs: Counter[nn.Module] = Counter()
        self.uses: Counter[nn.Module] = Counter()
        self.sums: dict[int, _Sum] = {}  # by the number of the tensor that the sum is
        self.without_ends: dict[int, _Sum] = {}

    @contextlib.contextmanager
    def followed(self, inputs: Nested) -> Iterator[None]:
        """Follow a network's pass over inputs."""
        for tensor in leaves(inputs):
            self._keep(tensor, _Known(0, 0, 0))
        with contextlib.ExitStack() as stack:
            for module in self.names:
                stack.callback(module.register_forward_pre_hook(self._enter).remove)
                stack.callback(module.register_forward_hook(self._leave, with_kwargs=True).remove)
            stack.enter_context(self)
            yield

    def serves_once(self, end: nn.Module) -> bool:
        """Whether a module ran once, and nothing but one sum has used what it gave."""
        return self.runs[end] == self.uses[end] == 1

    def missed(self, network: nn.Module, ends: list[tuple[str, str]]) -> list[_Sum]:
        """Sums like those in which `ends` end, in modules of the same classes or on the same stream, without an end."""
        classes = {type(network.get_submodule(taker)) for _, taker in ends if taker}
        numbers = {
            n for n, one in self.sums.items() if {self.names[end] for end in one.ends} & {end for end, _ in ends}
        }
        streams = functools.reduce(operator.or_, (self.sums[n].stream for n in numbers), 0)
        after = sum(1 << n for n in numbers)
        return [
            one
            for n, one in self.without_ends.items()
            if not any(f"{one.taker}.".startswith(f"{end}.") for end, _ in ends)
            and (type(network.get_submodule(one.taker)) in classes or streams >> n & 1 or one.stream & after)
        ]

    def _enter(self, module: nn.Module, _: object) -> None:
        self.running.append(self.names[module])

    def _leave(self, module: nn.Module, args: tuple, kwargs: Mapping, output: Any) -> None:
        self.running.pop()
        self.runs[module] += 1
        output = first(output)
        if not isinstance(output, Tensor):
            return
        if output not in self.known:  # its functions could not be seen
            self._made([self.known[each] for each in leaves([args, kwargs]) if each in self.known], [output], True)
        given_on = any(output is each for each in leaves([args, kwargs]))  # as it came: by dropout, for example
        if output in self.known and self.names[module] and not given_on:
            self.known[output] = self.known[output]._replace(ends=(module,), doubtful=False)

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "a function").strip("_")
        seen = args[:1] if name.endswith("_as") else [args, kwargs]  # the other tensor is there for its shape or type
        given = [self.known[tensor] for tensor in leaves(seen) if tensor in self.known]
        operands = [self.known.get(arg) if isinstance(arg, Tensor) else None for arg in args[:2]]
        shapes = {arg.shape for arg in args[:2] if isinstance(arg, Tensor)}
        output = function(*args, **kwargs)
        results = [tensor for tensor in leaves(output) if tensor.dtype != torch.bool]
        if not given or not results:
            return output
        if name.startswith("new_") or name.endswith("_like"):
            for tensor in results:
                self.known.pop(tensor, None)
        elif len(given) == len(results) == 1 and carries(name, args, operands[:1] != [None]):
            self._keep(results[0], given[0])
        elif name in SUMS and None not in operands and len(given) == 2 and shapes == {results[0].shape}:
            self._sum(given[0], given[1], results[0], name)
        else:
            self.uses.update(end for one in given for end in one.used)
            self._made(given, results, name not in LINEAR | CARRY | SUMS, name)
        return output

    def _sum(self, one: _Known, other: _Known, result: Tensor, name: str) -> None:
        """Note which operand of a sum is a branch, if one is; the sum of two that may be is kept as both."""
        added = _Known(one.above | other.above, 0, max(one.bends, other.bends))
        orders = [(one, other), (other, one)] if name == "add" else [(one, other)]
        common = one.above & other.above & self.real
        origin = common.bit_length() - 1
        for stream, branch in orders:
            straight = stream.streams & branch.above
            if straight and not branch.ends and branch.bends > stream.bends:
                self.without_ends[len(self.bends)] = _Sum(self.running[-1], (), (), stream.streams, branch.maker)
            if not branch.ends or not (straight or (common and stream.bends == self.bends[origin] < branch.bends)):
                continue
            if branch.doubtful:
                if not straight:
                    continue
                number = max(number for number in self.sums if branch.streams >> number & 1)
                self.uses.subtract(self.sums.pop(number).uses)  # both are branches
            uses = stream.used + branch.ends
            self.uses.update(uses)
            self.sums[len(self.bends)] = _Sum(self.running[-1], branch.ends, uses, stream.streams)
            doubtful = not straight and bool(stream.ends)
            streams = stream.streams if straight else stream.streams | 1 << origin
            added = added._replace(streams=streams, ends=uses if doubtful else (), doubtful=doubtful)
            break
        else:
            if one.used and other.used:
                added = added._replace(ends=one.used + other.used)
            else:
                self.uses.update(one.used + other.used)
        self._keep(result, added)

    def _made(self, given: list[_Known], results: list[Tensor], bend: bool, maker: str = "") -> None:
        above = functools.reduce(operator.or_, (one.above for one in given), 0)
        for tensor in results:
            self._keep(tensor, _Known(above, 0, max((one.bends for one in given), default=0) + bend, maker=maker))

    def _keep(self, tensor: Tensor, known: _Known) -> None:
        """What is known of a tensor, which gets a number of its own."""
        own = 1 << len(self.bends)
        self.bends.append(known.bends)
        self.real |= own * tensor.is_floating_point()
        self.known[tensor] = known._replace(above=known.above | own, streams=known.streams | own)
