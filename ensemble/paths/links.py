"""A network that is not ours as functions in a row: what its blocks carry, what they add, and what follows.

They are stretches of one recorded run (`ensemble.paths.recording`), cut where all goes through one tensor
(`ensemble.paths.cut`), and together they give what the network gives, or the network is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from ensemble.blocks.blocks import Foreign, ends
from ensemble.paths.cut import Cut, cuts
from ensemble.paths.recording import Recording, above, below, record
from landscape.errors import BadInput
from landscape.evaluation.calling import evaluating, predict
from landscape.nested import Nested, leaves
from landscape.networks import Block

__all__ = ["Link", "Links", "links", "same"]


@dataclass(frozen=True)
class Link:
    """A block of a network that is not ours, at a batch.

    Attributes
    ----------
    name : of the block
    carry, branch, after : as of `ensemble.paths.chain.Step`
    whole : the stream behind the block, of the stream before it
    skip : the same with branches that give 0
    added : of the stream before, what is carried to the sum, and what the branches add there; in a block of several
        branches, the stream behind it without them, and what it is more with them
    weights : parameters of the block, and of what follows it
    channels_last : whether channels are the last dimension of the stream before it
    """

    name: str
    carry: Callable[[Tensor], Tensor]
    branch: Callable[[Tensor], Tensor]
    after: Callable[[Tensor, Tensor], Tensor]
    whole: Callable[[Tensor], Tensor]
    skip: Callable[[Tensor], Tensor]
    added: Callable[[Tensor], tuple[Tensor, Tensor]]
    weights: list[Tensor]
    channels_last: bool


@dataclass(frozen=True)
class Links:
    """A network that is not ours, at a batch.

    Attributes
    ----------
    start : the stream before the first block
    stem : the same as a function of the input, which must be one floating-point tensor; None elsewhere
    blocks : in a row
    head : the network's outputs, of the stream behind the last block; outputs that do not come from there are None
    weights : parameters of the head
    """

    start: Tensor
    stem: Callable[[Tensor], Tensor] | None
    blocks: list[Link]
    head: Callable[[Tensor], Any]
    weights: list[Tensor]


def links(network: nn.Module, inputs: Nested, blocks: Mapping[str, Block | Foreign], weighed: bool = False) -> Links:
    """Cut a network at its blocks.

    Parameters
    ----------
    network : in evaluation mode
    inputs : a batch, of the floating-point type of the network
    blocks : see `ensemble.blocks.blocks.blocks`
    weighed : whether gradients for the weights are to be taken

    Raises
    ------
    BadInput
        The network is no chain of these blocks, or the chain does not give what the network gives.
    """
    modules = {name: ends(block) for name, block in blocks.items()}
    recording = record(network, inputs, [end for several in modules.values() for end in several])
    recording = recording.detached(weighed)
    parts = cuts(recording, modules)
    first, last = parts[0].before, parts[-1].after
    live = recording.varying & (below([first]) | {first})
    constant = {given for node in live for given in node.all_input_nodes} - live - set(recording.held)
    if weighed:  # what is made of weights alone, such as one transposed, is made anew, for its gradient
        constant &= below(recording.inputs) | (constant - below(recording.parameters))
    with torch.no_grad():
        values = recording.run(leaves(inputs), {*constant, first})
    constants = {node: value for node, value in values.items() if node is not first}
    made = [_link(recording, part, constants, live) for part in parts]
    reached = [node if node in live and last in above([node]) | {node} else None for node in recording.outputs]
    give = recording.function([node for node in reached if node is not None], [last], constants)

    def head(x: Tensor) -> Any:
        given = iter(give(x))
        return recording.filled([None if node is None else next(given) for node in reached])

    behind = [node for node in live & below([last]) if any(node in above([o]) | {o} for o in reached if o is not None)]
    alone = isinstance(inputs, Tensor) and inputs.is_floating_point()
    chained = Links(
        values[first],
        recording.function(first, recording.inputs, {}) if alone else None,
        made,
        head,
        _weights(recording, behind),
    )
    _verify(chained, network, inputs, [node is not None for node in reached], recording.raised)
    return chained


def same(inputs: Nested) -> tuple:
    """What tells inputs from others for as long as they are held and not changed: where they lie, and their shapes."""
    return tuple((tensor.data_ptr(), tensor.shape, tensor.stride()) for tensor in leaves(inputs))


def _link(recording: Recording, part: Cut, constants: Mapping[Node, Any], live: Collection[Node]) -> Link:
    def function(output: Node, *given: Node, changed: Callable | None = None) -> Callable:
        return recording.function(output, given, constants, dict.fromkeys(part.ends, changed) if changed else None)

    whole = function(part.after, part.before)
    skip = function(part.after, part.before, changed=torch.zeros_like)
    inside = (below([part.before]) & (above([part.after]) | {part.after})) & set(live)
    if part.carried is None or part.branched is None:
        around = function(part.after, part.before, changed=Tensor.detach)
        return Link(
            part.name,
            around,
            lambda x: whole(x) - around(x),
            torch.add,
            whole,
            skip,
            lambda x: ((without := skip(x)), whole(x) - without),
            _weights(recording, inside),
            _channels_last(part.before, inside),
        )
    carry, branch = function(part.carried, part.before), function(part.branched, part.before)
    join = function(part.at, part.carried, part.branched)

    def added(x: Tensor) -> tuple[Tensor, Tensor]:
        carried, branched = carry(x), branch(x)
        without = join(carried, torch.zeros_like(branched))
        more = join(carried, branched) - without
        # positions of all examples may lie in a row at the sum, as in OPT
        shape = without.shape if len(without) == len(x) else (len(x), -1, *without.shape[1:])
        return without.reshape(shape), more.reshape(shape)

    return Link(
        part.name,
        carry,
        branch,
        function(part.after, part.carried, part.branched),
        whole,
        skip,
        added,
        _weights(recording, inside),
        _channels_last(part.before, inside),
    )


def _weights(recording: Recording, nodes: Collection[Node]) -> list[Tensor]:
    """The parameters that some operations use, or what is made of them alone, each once."""
    given = above(nodes, below(recording.inputs) - set(nodes))
    return list(
        {id(recording.held[node]): recording.held[node] for node in recording.parameters if node in given}.values()
    )


def _channels_last(stream: Node, inside: Collection[Node]) -> bool:
    """Of two or three dimensions, always; of four, where a norm is as wide as the last, see `ensemble.flow.scores`."""
    shape = stream.meta["val"].shape
    widths = [node.args[1] for node in inside if node.target is torch.ops.aten.native_layer_norm.default]
    return len(shape) != 4 or ([shape[-1]] in widths and shape[1] != shape[-1])


def _verify(chained: Links, network: nn.Module, inputs: Nested, reached: Sequence[bool], raised: bool) -> None:
    """Whether a chain gives what its network gives, but for rounding."""
    with torch.no_grad(), evaluating(network):
        x = chained.start
        for block in chained.blocks:
            x = block.after(block.carry(x), block.branch(x))
        given, right = leaves(chained.head(x)), leaves(predict(network, inputs))
    for one, other in zip(given, [tensor for tensor, here in zip(right, reached, strict=True) if here], strict=True):
        size, off = float(other.abs().max()), float((one - other).abs().max())
        if not off <= max(1e4 * torch.finfo(other.dtype).eps, 1e-4 if raised else 0) * size:
            raise BadInput(
                f"the blocks of a {type(network).__name__} in a row give outputs that are {off:.2g} from its own, "
                f"which are up to {size:.2g}: it does more than these blocks"
            )
