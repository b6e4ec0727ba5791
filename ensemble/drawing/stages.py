"""What the names of blocks tell: their order, the stages of a network, the parts of a transformer's layers.

A stage is what names share before their last dot.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned_with", "depth_order", "in_parts", "lacks_shortcuts", "shape_changing", "starts_of"]

PARTS = ("attention", "mlp")  # of a layer, each a block


def depth_order(names: Sequence[Sequence[str]]) -> list[str]:
    """Blocks of several networks in one order; a block that the first lacks follows its predecessor.

    >>> depth_order([["a.0", "b.0"], ["a.0", "a.1", "b.0"]])
    ['a.0', 'a.1', 'b.0']
    """
    order: list[str] = []
    for blocks in names:
        place = 0
        for name in blocks:
            if name not in order:
                order.insert(place, name)
            place = order.index(name) + 1
    return order


def aligned_with(blocks: Sequence[str], order: Sequence[str]) -> bool:
    """Whether these blocks are among those of a network as deep: the last of each stage is there too."""
    last = [{name.rpartition(".")[0]: name for name in names} for names in (blocks, order)]
    return set(blocks) <= set(order) and last[0] == last[1]


def shape_changing(order: Sequence[str]) -> list[int]:
    """The first blocks of stages but the first; where they cannot be deleted, the next is not one."""
    return [i for i in starts_of(order)[1:] if order[i].rpartition(".")[2] == "0"]


def lacks_shortcuts(blocks: Sequence[str], order: Sequence[str]) -> bool:
    """Whether all that these blocks lack are some that change the shape."""
    missing = set(order) - set(blocks)
    return bool(missing) and missing <= {order[i] for i in shape_changing(order)}


def in_parts(order: Sequence[str]) -> bool:
    """Whether blocks are the attention and the MLP of layers."""
    return all(name.rpartition(".")[2] in PARTS for name in order)


def starts_of(order: Sequence[str]) -> list[int]:
    """Where stages begin; only 0 if the names tell no stages apart, or more than could be labelled."""
    stages = [name.rpartition(".")[0] for name in order]
    starts = [i for i, stage in enumerate(stages) if i == 0 or stage != stages[i - 1]]
    return starts if len(starts) <= 6 else [0]
