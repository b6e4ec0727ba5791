"""Networks that are not ours as chains: one run of a network, cut where its branches join the stream.

Between two cuts all goes through one tensor, the stream: what comes after depends on what came before, and on the
parameters, through it alone. Where that is not so, a network is no chain of blocks and is refused. The stream behind a
block is taken as late as it can be: behind a ReLU or a norm that follows the sum, and behind a pooling before the next
block. So there are the same blocks, with the same inputs, as if the network had been written as a chain.

Masks, rotary tables, positions, and which experts were chosen are constants of the run: a chain that was cut from a run
is for the inputs of that run.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from ensemble.paths.recording import Recording, above, below
from landscape.errors import BadInput

__all__ = ["Cut", "cuts"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Cut:
    """A block of a recorded run.

    Attributes
    ----------
    name : of the block
    before, after : the stream that it gets, and that the next one gets
    ends : what its branches give
    at : where they join the stream; for several branches, the last
    carried, branched : what comes to the sum around the branch, and by it; None for a block of several branches
    """

    name: str
    before: Node
    after: Node
    ends: tuple[Node, ...]
    at: Node
    carried: Node | None
    branched: Node | None


@dataclass(frozen=True)
class _Join:
    """Where what the branches of a block give first meets something else."""

    name: str
    ends: tuple[Node, ...]
    at: Node
    carried: Node | None
    branched: Node | None


def cuts(recording: Recording, blocks: Mapping[str, Sequence[nn.Module]]) -> list[Cut]:
    """The blocks of a recorded run, in the order in which they ran.

    Parameters
    ----------
    blocks : name -> the modules that end its branches

    Raises
    ------
    BadInput
        The network is no chain of these blocks.
    """
    ends = {name: tuple(_once(name, recording.marks[module]) for module in modules) for name, modules in blocks.items()}
    order = {node: number for number, node in enumerate(recording.graph.nodes)}
    rows = recording.inputs[0].meta["val"].shape[0]
    ends = dict(sorted(ends.items(), key=lambda item: order[item[1][0]]))
    last = max((nodes[-1] for nodes in ends.values()), key=order.__getitem__)
    outputs = [node for node in recording.outputs if node in below([last]) and node in recording.varying]
    if not outputs:
        raise BadInput(f"block {_owner(ends, last)} changes nothing of what the network gives; name another end of it")
    live = recording.varying & (above(outputs) | set(outputs))
    first = _first(next(iter(ends)), next(iter(ends.values())), live, order, rows)
    live &= below([first]) | {first}
    narrow = [node for node in _narrow(live, order, outputs) if _rows(node) == rows]
    joins = [_join(name, nodes, live, order) for name, nodes in ends.items()]
    for one, other in pairwise(joins):
        if other.ends[0] not in below([one.at]):
            raise BadInput(
                f"blocks {one.name} and {other.name} lie side by side, on the same stream, and not one after the "
                "other; as one block they are a chain: layers"
            )
    streams = [first]
    for join, previous in zip(joins[1:], joins, strict=False):
        between = range(order[previous.at], order[join.ends[0]])
        if not (here := [node for node in narrow if order[node] in between]):
            raise BadInput(
                f"block {join.name}: between the sum of block {previous.name} and it there is no tensor with a row for "
                "each example that all goes through; the network has more than one stream here"
            )
        streams.append(here[-1])
    streams.append(_last(streams, joins, live, order, rows))
    for join, before, after in zip(joins, streams, streams[1:], strict=False):
        _check(join, before, after, live)
    if streams[-1] not in narrow:
        raise BadInput(f"block {joins[-1].name}: something goes past the sum at its end, to what the network gives")
    return [
        Cut(join.name, before, after, join.ends, join.at, join.carried, join.branched)
        for join, before, after in zip(joins, streams, streams[1:], strict=False)
    ]


def _once(name: str, nodes: Sequence[Node]) -> Node:
    if len(nodes) != 1:
        raise BadInput(
            f"what ends a branch of block {name} gives a tensor {len(nodes)} times in a pass, expected once; name the "
            "submodule whose output is added to the stream, if it serves this block alone"
        )
    return nodes[0]


def _owner(ends: Mapping[str, Sequence[Node]], end: Node) -> str:
    return next(name for name, nodes in ends.items() if end in nodes)


def _join(name: str, ends: tuple[Node, ...], live: Collection[Node], order: Mapping[Node, int]) -> _Join:
    """Where a block's branches meet the stream."""
    if any(end not in live for end in ends):
        raise BadInput(
            f"block {name} is not on the stream that the first block begins, as where an encoder has one and a decoder "
            "another; name the blocks of one of them: blocks"
        )
    reached = below(ends) | set(ends)
    meets = [
        node
        for node in sorted(reached & set(live), key=order.__getitem__)
        if node not in ends and any(given in live and given not in reached for given in node.all_input_nodes)
    ]
    if not meets:
        raise BadInput(f"block {name}: what its branch gives is added to nothing; name the end of a branch")
    if len(ends) > 1:  # the last sum of those that its branches come to first
        firsts = [_join(name, (end,), live, order) for end in ends]
        return _Join(name, ends, max((join.at for join in firsts), key=order.__getitem__), None, None)
    at = meets[0]
    if at.target not in (aten.add.Tensor, aten.cat.default):
        raise BadInput(f"block {name}: its branch joins the stream by {_op(at)}, and not by a sum")
    operands = at.args[0] if at.target is aten.cat.default else at.args[:2]
    nodes = [node for node in operands if isinstance(node, Node)] if isinstance(operands, tuple | list) else []
    between = reached - below([at]) - {at}
    elsewhere = any(user in live and user not in between and user is not at for node in between for user in node.users)
    if at.target is aten.cat.default and (elsewhere or len(nodes) != 2):
        raise BadInput(
            f"block {name}: its branch is put beside others anew for every block behind it, as in a DenseNet, and so "
            "there is no one tensor between blocks that all goes through"
        )
    if elsewhere:
        raise BadInput(f"block {name}: what its branch gives is not only added to the stream, but used elsewhere too")
    carried, branched = nodes if nodes[1] in reached else reversed(nodes)
    return _Join(name, ends, at, carried, branched)


def _first(name: str, ends: Sequence[Node], live: Collection[Node], order: Mapping[Node, int], rows: int) -> Node:
    """The last tensor before the first block's branches that nothing that it is made of goes past."""
    common = set.intersection(*(above([end]) for end in ends)) & set(live)
    for node in sorted(common, key=order.__getitem__, reverse=True):
        before = above([node]) & set(live)
        past = (user for one in before for user in one.users if user in live and user not in before)
        if _rows(node) == rows and all(user is node for user in past):
            return node
    raise BadInput(
        f"block {name}: between the network's inputs and it there is no tensor with a row for each example that all "
        "goes through; the network has more than one stream here"
    )


def _narrow(live: Collection[Node], order: Mapping[Node, int], outputs: Collection[Node]) -> list[Node]:
    """The nodes that all goes through, in order: those that nothing before them is read behind."""
    narrow, furthest, end = [], 0, len(order)  # where an output is read
    for node in sorted(live, key=order.__getitem__):
        if furthest <= order[node]:
            narrow.append(node)
        furthest = max([furthest, end * (node in outputs), *(order[user] for user in node.users if user in live)])
    return narrow


def _last(
    streams: Sequence[Node], joins: Sequence[_Join], live: Collection[Node], order: Mapping[Node, int], rows: int
) -> Node:
    """The stream behind the last block: as far behind its sum as it always is behind others."""
    follow = min(
        (_following(join.at, stream, order) for join, stream in zip(joins, streams[1:], strict=False)),
        key=len,
        default=[],
    )
    node = joins[-1].at
    for target in follow:
        users = [user for user in node.users if user in live]
        if len(users) != 1 or users[0].target is not target:
            break
        node = users[0]
    while _rows(node) != rows:  # positions of all examples may lie in a row there
        users = [user for user in node.users if user in live]
        if len(users) != 1:
            raise BadInput(f"block {joins[-1].name}: what it adds to has no row for each example")
        node = users[0]
    return node


def _rows(node: Node) -> int | None:
    value = node.meta["val"]
    return value.shape[0] if isinstance(value, Tensor) and value.ndim else None


def _following(at: Node, stream: Node, order: Mapping[Node, int]) -> list[Any]:
    between = (below([at]) & above([stream])) | ({stream} if stream is not at else set())
    return [node.target for node in sorted(between, key=order.__getitem__)]


def _check(join: _Join, before: Node, after: Node, live: Collection[Node]) -> None:
    """Whether a block is a function of the stream before it, and what follows its sum one of the sum."""
    if join.carried is None:
        return
    if join.ends[0] in above([join.carried]) | {join.carried}:
        raise BadInput(f"block {join.name}: the way around its branch goes through it")
    follows = (below([join.at]) & (above([after]) | {after})) & set(live)
    inside = follows | {join.at}
    if any(given in live and given not in inside for node in follows for given in node.all_input_nodes):
        raise BadInput(f"block {join.name}: what follows its sum reads the stream before it once more")


def _op(node: Node) -> str:
    """What an operation is called by people."""
    if node.target is operator.getitem:
        node = node.all_input_nodes[0]
    return str(getattr(node.target, "overloadpacket", node.target)).rpartition(".")[2]
