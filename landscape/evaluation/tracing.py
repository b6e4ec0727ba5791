"""Which modules are what their class says, and the graph of a network that consists of such modules.

A hook, a patched method, a parametrisation or a subclass may compute anything, so a module that has one is called as
it is: it is a leaf of the graph. What Python remembers from one forward to the next (a counter, a random number, an
attribute that is assigned) is not in a graph at all, so a network that does so has none.
"""

from __future__ import annotations

import contextlib
import operator
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn.modules import module as modules

from landscape.lazy_weights import origin_of

__all__ = ["NoGraph", "attributes_restored", "is_layer", "is_plain", "trace", "values_restored"]

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
CALLS = ("__call__", "_call_impl", "_wrapped_call_impl")  # of nn.Module
CONSTANT = "_tensor_constant"  # what torch.fx calls a tensor that a forward makes and that depends on nothing


class NoGraph(Exception):
    """A network whose outputs do not follow from its modules, parameters and inputs alone; the message says why."""


def is_plain(module: nn.Module) -> bool:
    """Whether calling a module does what the forward of its class does: no hook, no method of its own, not compiled."""
    own = vars(module)
    if any(own.get(name) for name in HOOKS) or own.get("_compiled_call_impl") is not None:
        return False
    return not any(callable(value) and hasattr(type(module), name) for name, value in own.items())


def is_layer(module: nn.Module | None, *kinds: type[nn.Module]) -> bool:
    """Whether a module is one of these layers of torch, of no subclass, and its weights are its parameters.

    They are not where a hook or a parametrisation computes them (weight_norm, spectral_norm, pruning), where they are
    buffers, or where the class itself has been patched.
    """
    if (
        module is None
        or type(module) not in kinds
        or not is_plain(module)
        or module._modules
        or vars(module).keys() & {"weight", "bias"}
    ):
        return False
    if module._parameters.keys() - {"weight", "bias"}:
        return False
    if module._buffers.keys() - {"running_mean", "running_var", "num_batches_tracked"}:
        return False
    methods = [getattr(type(module), name, None) for name in ("forward", "_conv_forward")]
    return all(
        getattr(method, "__globals__", {}).get("__name__", "").startswith("torch.nn.modules.")
        for method in methods
        if method is not None
    ) and all(
        parameter is None or (type(parameter) is nn.Parameter and parameter.is_floating_point())
        for parameter in module._parameters.values()
    )


def trace(network: nn.Module) -> fx.GraphModule:
    """The network as a graph, which shares its modules; those that are not plain are called as they are.

    It is traced twice: what differs then was drawn or counted while it ran.

    Raises
    ------
    NoGraph
        It is called in another way than by its forward, or keeps something in Python from one forward to the next.
    Exception
        Whatever tracing raises where the path through a network depends on its input.
    """
    if any(getattr(modules, f"_global{name}") for name in HOOKS):
        raise NoGraph("there are hooks for all modules")
    if not is_plain(network):
        raise NoGraph("the network itself has hooks or a patched forward")
    for module in network.modules():
        own = any(getattr(type(module), name) is not getattr(nn.Module, name) for name in CALLS)
        if own and not isinstance(module, fx.GraphModule):
            raise NoGraph(f"{type(module).__name__} is not called as modules are")
    states = _random_states()
    one, other = _traced(network), _traced(network)
    if _random_states() != states or str(one.graph) != str(other.graph):
        raise NoGraph("its forward draws random numbers, or counts")
    for name, tensor in one.named_buffers(recurse=False, remove_duplicate=False):
        if name.startswith(CONSTANT) and not torch.equal(tensor, other.get_buffer(name)):
            raise NoGraph("its forward makes another tensor at each call")
    return one


class _Tracer(fx.Tracer):
    proxy_buffer_attributes = True  # what a forward computes from buffers is computed anew at each call, too

    def __init__(self):
        super().__init__()
        self.autocast = _autocast()

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return super().is_leaf_module(module, name) or not is_plain(module)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        if _autocast() != self.autocast:  # a ``with`` is not in a graph
            raise NoGraph("its forward sets autocast")
        return super().create_node(*args, **kwargs)


def _traced(network: nn.Module) -> fx.GraphModule:
    with attributes_restored(network) as changed:
        made = fx.GraphModule(network, _Tracer().trace(network))
        if names := [name for name in changed() if CONSTANT not in name]:
            raise NoGraph(f"its forward changes {names[0]}")
    return made


@contextlib.contextmanager
def attributes_restored(network: nn.Module) -> Iterator[Callable[[], list[str]]]:
    """Put back the attributes of all modules, and what is in those that are lists, dicts or sets, on an error too.

    Yields
    ------
    callable
        Gives the names of those that have changed by now: "layer1.0.calls".
    """
    before = {module: _attributes(module) for module in network.modules()}
    names = {module: name for name, module in network.named_modules()}

    def changed() -> list[str]:
        return [
            ".".join(filter(None, (names[module], name)))
            for module, kept in before.items()
            for name in {**kept, **vars(module)}
            if name not in kept or name not in vars(module) or not _same(vars(module)[name], *kept[name])
        ]

    try:
        yield changed
    finally:
        for module, kept in before.items():
            own = vars(module)
            for name in own.keys() - kept.keys():
                del own[name]
            for name, (value, content) in kept.items():
                own[name] = value
                if content is not None and not _same(value, value, content):
                    value.clear()
                    (value.extend if isinstance(value, list) else value.update)(content)


@contextlib.contextmanager
def values_restored(network: nn.Module) -> Iterator[None]:
    """Put back parameters and buffers to the bit, on an error too; they stay the same objects."""
    origin, buffers = origin_of(network), {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
    tensors = dict([*network.named_parameters(), *network.named_buffers()])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                if 0 not in tensor.stride():  # nobody can write in place where elements share memory
                    tensor.copy_(buffers[name] if name in buffers else origin[name])


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Each attribute with a copy of what it holds, None where it is no container."""
    return {
        name: (value, value.copy() if isinstance(value, list | dict | set) else None)
        for name, value in vars(module).items()
    }


def _same(now: Any, value: Any, content: list | dict | set | None) -> bool:
    if now is not value:
        return False
    if not content:
        return content is None or not now
    if len(now) != len(content) or not all(map(operator.is_, now, content)):
        return False
    return not isinstance(content, dict) or all(map(operator.is_, now.values(), content.values()))


def _random_states() -> tuple:
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002  it is the network that draws from it
    return (
        random.getstate(),
        str(numpy["state"]["pos"]),
        numpy["state"]["key"].tobytes(),
        torch.get_rng_state().tolist(),
    )


def _autocast() -> list[tuple[bool, torch.dtype]]:
    return [(torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")]
