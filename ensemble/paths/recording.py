"""One run of a network, recorded operation by operation, of which any stretch can be run again and differentiated.

What is recorded is a graph of functions without side effects (`torch.fx`): sums taken in place have become sums, and
attention is matrix products and a softmax. Shapes, and what was decided by values, are those of the recorded inputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functionalize
from torch.fx import Graph, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscape.errors import BadInput
from landscape.evaluation.calling import evaluating, predict
from landscape.nested import Nested, leaves, mapped

__all__ = ["Recording", "above", "below", "record"]


@dataclass(frozen=True)
class Recording:
    """A run of a network.

    Attributes
    ----------
    graph : of operations, in the order in which they ran
    held : values of the nodes that are weights, statistics and other tensors of the network
    inputs : nodes of the tensors that it was given
    outputs : nodes of the tensors that it gave
    marks : of each module that was asked for, the nodes of what it gave, a node for each time that it ran
    structure : what the network gave, with empty tensors
    varying : the nodes of floating-point tensors that depend on inputs, and by which a derivative is passed on; masks
        and positions, which are made of integers without a weight, are not among them
    raised : whether operations that the network does in a smaller type, such as norms, are done in that of the record
    """

    graph: Graph
    held: dict[Node, Any]
    inputs: list[Node]
    outputs: list[Node]
    marks: dict[nn.Module, list[Node]]
    structure: Any
    varying: frozenset[Node]
    raised: bool

    @property
    def parameters(self) -> list[Node]:
        """The nodes that are parameters, in order."""
        return [node for node, value in self.held.items() if isinstance(value, nn.Parameter)]

    def run(self, tensors: Sequence[Tensor], keep: Collection[Node]) -> dict[Node, Any]:
        """Values of some nodes, for all of the recorded inputs; what is needed no more is given back at once."""
        values: dict[Node, Any] = dict(zip(self.inputs, tensors, strict=True))
        kept = {node: values[node] for node in keep if node in values}
        wanted = above(keep) | set(keep)
        waiting = {node: sum(user in wanted for user in node.users) for node in wanted}
        for node in self.graph.nodes:
            if node in wanted and node not in values and node not in self.held:
                values[node] = self._value(node, values)
                if node in keep:
                    kept[node] = values[node]
                for given in node.all_input_nodes:
                    waiting[given] -= 1
                    if not waiting[given]:
                        values.pop(given, None)
        return kept

    def function(
        self,
        output: Node | Sequence[Node],
        given: Sequence[Node],
        constants: Mapping[Node, Any],
        changed: Mapping[Node, Callable[[Tensor], Tensor]] | None = None,
    ) -> Callable[..., Any]:
        """What lies between some nodes and others, as a function of tensors.

        Parameters
        ----------
        output : one, or several
        given : the nodes whose values are the arguments
        constants : values of nodes that depend on none of these
        changed : of some nodes, what is made of their values before they are used
        """
        outputs = [output] if isinstance(output, Node) else list(output)
        wanted = above(outputs, {*given, *constants, *self.held}) | set(outputs)
        nodes = [node for node in self.graph.nodes if node in wanted and node not in given]

        def run(*tensors: Tensor) -> Any:
            values = {**constants, **dict(zip(given, tensors, strict=True))}
            for node in nodes:
                if node not in values and node not in self.held:
                    values[node] = self._value(node, values)
                    if changed and node in changed:
                        values[node] = changed[node](values[node])
            return values[output] if isinstance(output, Node) else [values[node] for node in outputs]

        return run

    def detached(self, weighed: bool) -> Recording:
        """The same with parameters of its own, for which gradients can be taken or not; their values are shared."""
        own: dict[int, Any] = {}
        for value in self.held.values():
            if isinstance(value, nn.Parameter):
                own.setdefault(id(value), nn.Parameter(value.detach(), requires_grad=weighed))
        return replace(self, held={node: own.get(id(value), value) for node, value in self.held.items()})

    def filled(self, tensors: Sequence[Tensor | None]) -> Any:
        """Outputs as the network gives them, of tensors, of which some may be missing."""
        rest: Any = iter(tensors)

        def following(_: Tensor) -> Any:
            return next(rest)

        if isinstance(self.structure, Mapping) and type(self.structure) is not dict:
            make: Any = type(self.structure)
            return make(**{name: mapped(following, value) for name, value in self.structure.items()})
        return mapped(following, self.structure)

    def _value(self, node: Node, values: Mapping[Node, Any]) -> Any:
        def look(given: Node) -> Any:
            return values[given] if given in values else self.held[given]

        assert callable(node.target)
        return node.target(*map_arg(node.args, look), **map_arg(node.kwargs, look))


def above(nodes: Iterable[Node], stop: Collection[Node] = ()) -> set[Node]:
    """All that nodes are made from, but for what lies above the nodes of `stop`, which are among them."""
    return _reached(nodes, lambda node: () if node in stop else node.all_input_nodes)


def below(nodes: Iterable[Node]) -> set[Node]:
    """All that is made from nodes."""
    return _reached(nodes, lambda node: node.users)


def _reached(nodes: Iterable[Node], following: Callable[[Node], Iterable[Node]]) -> set[Node]:
    ahead, reached = list(nodes), set()
    while ahead:
        for node in following(ahead.pop()):
            if node not in reached:
                reached.add(node)
                ahead.append(node)
    return reached


def record(network: nn.Module, inputs: Nested, marked: Iterable[nn.Module]) -> Recording:
    """Run a network once, and write down what it does.

    Parameters
    ----------
    network : in evaluation mode, and of one floating-point type
    inputs : see `landscape.evaluation.calling`; floating-point ones are of the type of the network
    marked : modules of which it is to be known what they gave

    Raises
    ------
    BadInput
        The network does what cannot be recorded.
    """
    seen: dict[nn.Module, list[Tensor]] = {module: [] for module in marked}
    structure: Any = None

    def note(module: nn.Module, _: Any, output: Any) -> None:
        output = output[0] if isinstance(output, tuple | list) else output
        if isinstance(output, Tensor):
            seen[module].append(output.clone())  # what comes is often added to it in place

    def run(*tensors: Tensor) -> tuple:
        nonlocal structure
        rest = iter(tensors)
        structure = predict(network, mapped(lambda _: next(rest), inputs))
        return leaves(structure), list(seen.values())

    with contextlib.ExitStack() as stack:
        for module in seen:
            stack.callback(module.register_forward_hook(note).remove)
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the others have no derivative for many gradients at once
        try:
            module = make_fx(functionalize(run), _error_on_data_dependent_ops=False)(*leaves(inputs))
        except Exception as error:  # of anybody's forward, of any kind
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise BadInput(
                f"what a {type(network).__name__} does cannot be recorded operation by operation: {reason}; "
                "write its steps down as an ensemble.paths.chain.Chain"
            ) from error
    graph = module.graph
    outputs, marks = next(node for node in graph.nodes if node.op == "output").args[0]
    held = {node: _attribute(module, str(node.target)) for node in graph.nodes if node.op == "get_attr"}
    placed = [node for node in graph.nodes if node.op == "placeholder"]
    return Recording(
        graph,
        held,
        placed,
        list(outputs),
        {module: [clone.all_input_nodes[0] for clone in clones] for module, clones in zip(seen, marks, strict=True)},
        _emptied(structure),
        _varying(graph, placed, held),
        _raise(graph, next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)),
    )


def _emptied(structure: Any) -> Any:
    """The structure of outputs with an empty tensor for each, and without what is no tensor, such as a cache."""
    if isinstance(structure, Tensor):
        return torch.empty(0)
    if isinstance(structure, Mapping):
        values = {name: _emptied(value) for name, value in structure.items()}
        with contextlib.suppress(TypeError):  # a ModelOutput takes its fields by name
            return type(structure)(**values)
        return values
    if isinstance(structure, tuple | list):
        many = [_emptied(value) for value in structure]
        return type(structure)(*many) if hasattr(structure, "_fields") else type(structure)(many)
    return None


def _attribute(module: nn.Module, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _floating(node: Node) -> bool:
    value = node.meta.get("val")
    many = value if isinstance(value, tuple | list) else (value,)
    return any(isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex()) for v in many)


def _varying(graph: Graph, inputs: Collection[Node], held: Mapping[Node, Any]) -> frozenset[Node]:
    of_inputs, varying = below(inputs), set()
    for node in graph.nodes:
        if not _floating(node):
            continue
        weighed = node in of_inputs and any(isinstance(held.get(a), nn.Parameter) for a in node.all_input_nodes)
        if node in inputs or weighed or any(a in varying for a in node.all_input_nodes):
            varying.add(node)
    return frozenset(varying)


def _raise(graph: Graph, dtype: torch.dtype) -> bool:
    """Let what a network does in a type of its own be done in another."""
    raised = False
    for node in graph.nodes:
        given = node.kwargs.get("dtype")
        if isinstance(given, torch.dtype) and given.is_floating_point and given != dtype:
            node.kwargs = {**node.kwargs, "dtype": dtype}
            raised = True
    return raised
