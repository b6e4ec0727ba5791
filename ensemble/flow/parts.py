"""A network in a row, whoever wrote it: what comes before its blocks, the blocks, and its head.

Networks of `landscape.networks` say what their parts are. Others are cut at the blocks that are found in them, anew for
each batch (`ensemble.paths.links`): what follows a block's sum, up to where the next one begins, belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from ensemble.blocks.blocks import Foreign
from ensemble.blocks.blocks import blocks as blocks_of
from ensemble.paths.links import Link, links, same
from landscape.evaluation.calling import functional
from landscape.nested import Nested
from landscape.networks import Block
from landscape.networks.hyper_connections import StreamMix
from landscape.networks.network import Network

__all__ = ["At", "Blocks", "Part", "Parts", "added", "boundaries", "parts", "stages"]

Blocks = Mapping[str, Block | Foreign] | None


@dataclass(frozen=True)
class Part:
    """A stretch of a network.

    Attributes
    ----------
    run : what it makes of its input
    weights : its parameters in that, for which gradients can be taken
    added : what is carried around its branch, and what the branch adds to it; None where there is no such thing
    skip : what it makes of its input without its branch; None where it cannot be left out
    around : the same as `run`, but with the derivative that there is around the branch alone: of the shortcut where the
        branch is 0, and of what follows the sum, a ReLU's mask say, where the network runs; of what is no block, the
        whole; None of a block without a shortcut
    channels : the dimension of channels in its input; by default the second of four, or else the last
    mixing : by what it mixes several streams, given these: a matrix, or one for each example or token; None where it
        does not mix them
    """

    run: Callable[[Tensor], Any]
    weights: list[Tensor]
    added: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    skip: Callable[[Tensor], Tensor] | None = None
    around: Callable[[Tensor], Tensor] | None = None
    channels: int | None = None
    mixing: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Parts:
    """A network at a batch: the stem takes the batch's inputs, each other part what the one before it gives."""

    stem: Callable[[Nested], Tensor]
    between: list[Part]
    head: Part


At = Callable[[Nested], Parts]


def parts(network: nn.Module, blocks: Blocks = None) -> At:
    """The parts of a network, as a function of a batch's inputs; of inputs that are still the same they are kept.

    Parameters
    ----------
    network : in evaluation mode; weights are shared with it, but whether they require gradients is not
    blocks : of a network that is not ours, those that it is cut at; by default all that are found

    Raises
    ------
    BadInput
        The network is no chain of blocks.
    """
    if not (isinstance(network, Network) and blocks is None):
        made: dict[tuple, tuple[Nested, Parts]] = {}

        def at(inputs: Nested) -> Parts:
            key = same(inputs)
            if key not in made:
                known_blocks = blocks_of(network, inputs=inputs) if blocks is None else blocks
                made[key] = inputs, _of_links(network, inputs, known_blocks)
            return made[key][1]

        return at
    stem, *between, head = [_own(module) for module in network.parts()]
    own = Parts(stem.run, between, head)
    return lambda inputs: own


def boundaries(network: nn.Module, blocks: Blocks = None) -> int:
    """How many boundaries a network has: the input of every part behind the stem."""
    if isinstance(network, Network) and blocks is None:
        return len(stages(network)) + 1
    return len(blocks_of(network) if blocks is None else blocks) + 1


def stages(network: Network) -> list[nn.Module]:
    """What lies between stem and head of one of our networks, in a row."""
    return network.parts()[1:-1]


def added(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a block with a shortcut carries around its branch, and what the branch adds to it."""
    assert block.shortcut is not None
    branch, shortcut = block.branch(x), block.shortcut(x)
    if block.survival != 1:
        branch = block.survival * branch
    carried = block.join(shortcut)
    return carried, block.join(shortcut, branch) - carried


def _own(module: nn.Module) -> Part:
    # Not the network's own: whether they require gradients, and have some, is the user's.
    weights = {name: p.detach().requires_grad_() for name, p in module.named_parameters()}
    adds = partial(added, module) if isinstance(module, Block) and module.shortcut is not None else None
    skip = (module.skip if module.removable else None) if isinstance(module, Block) else module
    around: Callable[[Tensor], Tensor] | None = module
    channels = mixing = None
    if isinstance(module, Block):
        around = None if module.shortcut is None else partial(_around, module)
        channels = module.channels
        mixing = module.shortcut.numbers if isinstance(module.shortcut, StreamMix) else None
    run = lambda x: functional(module, weights, x)  # noqa: E731
    return Part(run, list(weights.values()), adds, skip, around, channels, mixing)


def _around(block: Block, x: Tensor) -> Tensor:
    carried, more = added(block, x)
    return block.after(carried + more.detach())


def _of_links(network: nn.Module, inputs: Nested, blocks: Mapping[str, Block | Foreign]) -> Parts:
    row = links(network, inputs, blocks, weighed=True)

    def part(link: Link) -> Part:
        def around(x: Tensor) -> Tensor:
            return link.after(link.carry(x), link.branch(x).detach())

        return Part(link.whole, link.weights, link.added, link.skip, around, -1 if link.channels_last else 1)

    return Parts(lambda _: row.start, [part(link) for link in row.blocks], Part(row.head, row.weights))
