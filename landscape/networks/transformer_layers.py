"""Layers of attention and MLP, around each of which a skip connection may lead: what our transformers have in common.

A stream is (N, T, width): a vector for each of T tokens, or patches.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.networks.block import Block
from landscape.networks.checks import pick, scalings, whole
from landscape.networks.connections import CONNECTIONS, Around, connections_of
from landscape.networks.joins import JOINS, make_join
from landscape.networks.network import Network

__all__ = [
    "Attention",
    "Layer",
    "Layered",
    "check_layers",
    "connections_of_layers",
    "initialise",
    "make_layers",
    "make_readout",
    "with_streams",
]

PARTS = ("attention", "mlp")
NORMS = ("pre", "post")
SHORTCUTS = ("identity", None)
POSITIONWISE = tuple(join for join in JOINS if join != "pooled-gate")  # which would tell of tokens to come


class Layer(nn.Sequential):
    """The blocks ``attention`` and ``mlp``, one after the other, (N, T, width) -> (N, T, width)."""


class Layered(Network):
    """A network of layers instead of stages.

    Blocks are the modules ``layers.0.attention``, ``layers.0.mlp``, ``layers.1.attention``, … and are looked up at
    every call, as whole layers are, so that one of either may be replaced by another.
    """

    def __init__(self, stem: nn.Module, layers: list[Layer], head: nn.Module):
        nn.Module.__init__(self)  # there are no stages
        self.stem = stem
        self.layers: Any = nn.Sequential(*layers)
        self.head = head

    def parts(self) -> list[Any]:
        """Stem, blocks, head: each has the one before it for input."""
        return [self.stem, *(block for layer in self.layers for block in layer), self.head]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(x)))


class Attention(nn.Module):
    """Self-attention of several heads (Vaswani et al. 2017, 1706.03762 §3.2), (N, T, width) -> (N, T, width).

    Where it is causal, no token sees a later one.
    """

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)  # the rows of queries, then of keys, then of values
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x)[0]

    def attend(self, x: Tensor, change: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """What comes out, and the values, (N, T, width), which may be changed before they are attended to."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)  # (N, T, heads, width / heads)
        if change is not None:
            v = change(v.flatten(2)).unflatten(-1, (self.heads, -1))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (N, heads, T, width / heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2)), v.transpose(1, 2).flatten(2)


def check_layers(
    depth: int,
    width: int,
    heads: int,
    norm: str,
    shortcut: object,
    join: object,
    scales: object,
    zero_init: bool,
) -> tuple[tuple, tuple]:
    """Refuse layers that cannot be made; the shortcuts and the joins of attention and MLP.

    Raises
    ------
    BadInput
        See `landscape.networks.transformer.transformer`, also for the arguments.
    """
    for argument, value in {"depth": depth, "width": width, "heads": heads}.items():
        whole(argument, value)
    if width % heads:
        raise BadInput(f"width is {width}, and heads is {heads}; give a width that the number of heads divides")
    pick("norm", norm, NORMS)
    shortcuts, joins = (
        _of_parts("shortcut", shortcut, (*SHORTCUTS, *CONNECTIONS)),
        _of_parts("join", join, POSITIONWISE),
    )
    if shortcuts == (None, None) and zero_init:
        raise BadInput("without a shortcut, zero_init would make every output the same; leave it out")
    for part, around, joined in zip(PARTS, shortcuts, joins, strict=True):
        if around is None and joined != "add" and (isinstance(join, tuple | list) or shortcuts == (None, None)):
            raise BadInput(f"there is no shortcut around {part}, so nothing is joined by {joined}; leave out one")
    scalings(scales)
    return shortcuts, joins


def connections_of_layers(
    norm: str, shortcuts: tuple, joins: tuple, streams: int, dynamic: bool, values: str | None, zero_init: bool
) -> Around | None:
    """The connections of layers, see `landscape.networks.connections.connections_of`."""
    if len({*shortcuts}) > 1 and (values or not {*shortcuts} <= {*SHORTCUTS}):
        raise BadInput(f"attention and MLP have the same shortcuts then; give shortcut={shortcuts[0]!r} alone")
    join = next((each for each in joins if each != "add"), "add")
    return connections_of(shortcuts[0], join, streams, dynamic, zero_init, norm == "post", values, images=False)


def make_layers(
    depth: int,
    width: int,
    heads: int,
    norm: str,
    shortcuts: tuple,
    joins: tuple,
    scales: tuple[float, float],
    gate_bias: float,
    dropout: float,
    zero_init: bool,
    causal: bool,
    connections: Around | None = None,
) -> list[Layer]:
    """Layers of two blocks each, of what `check_layers` has let pass; weights are drawn as in GPT-2."""

    def block(number: int, part: str, around: str | None, joined: str) -> Block:
        if part == "attention":
            last: nn.Module = Attention(width, heads, causal)
            layers = [last]
        else:
            layers = [nn.Linear(width, 4 * width), nn.GELU(), last := nn.Linear(4 * width, width)]
        for module in layers:
            module.apply(initialise)
        if around is not None:
            end = last.out if isinstance(last, Attention) else last
            with torch.no_grad():
                end.get_parameter("weight").mul_(0 if zero_init else (2 * depth) ** -0.5)
        branch: nn.Module = nn.Sequential(*([nn.LayerNorm(width)] if norm == "pre" else []), *layers)
        shortcut: nn.Module | None = None if around is None else nn.Identity()
        after: nn.Module = nn.LayerNorm(width) if norm == "post" else nn.Identity()
        if connections is not None and shortcut is not None:
            after = connections.after(after)
            branch, shortcut = connections.around(branch, shortcut, width, width, number)
        return Block(
            branch,
            shortcut,
            None if around is None else make_join(joined, width, scales, gate_bias, dropout, positions=0),
            after,
            channels=None if connections is None else -1,
        )

    return [
        Layer(
            OrderedDict(
                (part, block(len(PARTS) * layer + place, part, *how))
                for place, (part, *how) in enumerate(zip(PARTS, shortcuts, joins, strict=True))
            )
        )
        for layer in range(depth)
    ]


def with_streams(
    stem: nn.Module, layers: list[Layer], head: nn.Module, connections: Around | None, width: int
) -> tuple[nn.Module, list[Layer], nn.Module]:
    """Stem, layers and head, with what makes several streams before the layers, and one behind them."""
    if connections is None:
        return stem, layers, head
    return nn.Sequential(stem, connections.before()), layers, nn.Sequential(connections.behind(width), head)


def make_readout(width: int, outputs: int, norm: str, *before: nn.Module) -> nn.Sequential:
    """LayerNorm if the branches begin with one, the modules `before`, a linear layer."""
    linear = nn.Linear(width, outputs)
    linear.apply(initialise)
    return nn.Sequential(*([nn.LayerNorm(width)] if norm == "pre" else []), *before, linear)


def initialise(module: nn.Module) -> None:
    """Draw the weights of linear layers and embeddings with a standard deviation of 0.02; biases are 0."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def _of_parts(argument: str, value: object, options: tuple) -> tuple:
    """What attention and MLP get: one for both, or one each."""
    each = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(each) != len(PARTS):
        raise BadInput(f"{argument} is {value!r}; it must be one for attention and MLP, or two")
    for one in each:
        pick(argument, one, options)
    return each
