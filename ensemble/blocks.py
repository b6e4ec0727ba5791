"""The blocks of a network that a lesion can leave out."""

from __future__ import annotations

from torch import nn

from landscape.errors import BadInput
from landscape.networks import Block

__all__ = ["blocks"]


def blocks(network: nn.Module) -> dict[str, Block]:
    """The removable blocks of a network by name, in the order of the forward pass.

    A residual block can always be removed: its shortcut stays. A block without a shortcut can be if
    its input and output have the same shape.

    Raises
    ------
    BadInput
        There is none.
    """
    found = {name: m for name, m in network.named_modules() if isinstance(m, Block) and m.removable}
    if not found:
        raise BadInput(f"{type(network).__name__} has no block that can be removed; use a network made of blocks")
    return found
