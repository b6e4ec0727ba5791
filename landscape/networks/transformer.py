"""A small language model: a decoder-only transformer whose skip connections can be taken away, scaled or gated."""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.errors import BadInput
from landscape.networks.block import Block
from landscape.networks.checks import pick, scalings, whole
from landscape.networks.joins import JOINS, make_join
from landscape.networks.network import Network

__all__ = ["Layer", "Transformer", "transformer"]

PARTS = ("attention", "mlp")
NORMS = ("pre", "post")
SHORTCUTS = ("identity", None)
POSITIONWISE = tuple(join for join in JOINS if join != "pooled-gate")  # which would tell of tokens to come


class Layer(nn.Sequential):
    """The blocks ``attention`` and ``mlp``, one after the other, (N, T, width) -> (N, T, width)."""


class Transformer(Network):
    """(N, T) tokens -> (N, T, vocabulary) logits of the token after each; no output sees a later token.

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

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.stem(tokens)))


class Embedding(nn.Module):
    """The sum of a vector for the token and one for its position, (N, T) int64 -> (N, T, width)."""

    def __init__(self, vocabulary: int, context: int, width: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token(tokens) + self.position.weight.narrow(0, 0, tokens.shape[1])


class Attention(nn.Module):
    """Causal self-attention of several heads (Vaswani et al. 2017, 1706.03762 §3.2), (N, T, width) -> (N, T, width)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)  # the rows of queries, then of keys, then of values
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        each = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (N, T, 3, heads, width / heads)
        q, k, v = each.permute(2, 0, 3, 1, 4).unbind(0)  # (N, heads, T, width / heads)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


def transformer(
    depth: int = 4,
    width: int = 128,
    heads: int = 4,
    vocabulary: int = 256,
    context: int = 128,
    norm: str = "pre",
    shortcut: str | tuple[str | None, str | None] | None = "identity",
    join: str | tuple[str, str] = "add",
    scales: tuple[float, float] = (0.5, 0.5),
    gate_bias: float = -6.0,
    dropout: float = 0.5,
    zero_init: bool = False,
) -> Transformer:
    """A decoder-only transformer, (N, T) tokens -> (N, T, vocabulary) logits, T up to `context`.

    Token and learned position embeddings, layers of causal self-attention and of an MLP of 4·`width` GELUs, a linear
    layer whose weights are its own, not those of the embedding. Each half of a layer is a `Block`.

    Parameters
    ----------
    depth : int
        Layers; each has two blocks.
    width : int
        Of the stream; `heads` divides it.
    vocabulary : int
        Number of tokens; bytes have 256.
    context : int
        Tokens in the longest input.
    norm : {"pre", "post"}
        LayerNorm at the beginning of each branch and of the head (Radford et al. 2019, GPT-2), or behind each join
        (Vaswani et al. 2017, 1706.03762). Xiong et al. 2020 (2002.04745) compare the two.
    shortcut : {"identity", None}, or two of them
        What leads around attention and MLP, or around attention, around MLP. None leaves nothing but the branch.
    join : {"add", "scale", "channel-gate", "exclusive-gate", "shortcut-gate", "dropout"}, or two of them
        What is done with shortcut and branch, see `landscape.networks.joins`. A gate is computed position by position.
    scales, gate_bias, dropout : of the joins, as in `landscape.networks.residual.resnet`
    zero_init : bool
        Every branch around which a shortcut leads starts as 0: the weights of its last layer are.

    Notes
    -----
    Weights are drawn with a standard deviation of 0.02, and divided by the root of the number of blocks in the last
    layer of a branch that a shortcut leads around, as in GPT-2; biases are 0.

    Examples
    --------
    >>> network = transformer(depth=2, width=16, heads=2, context=8, shortcut=("identity", None))
    >>> [name for name, module in network.named_modules() if isinstance(module, Block)]
    ['layers.0.attention', 'layers.0.mlp', 'layers.1.attention', 'layers.1.mlp']
    >>> network(torch.zeros(3, 5, dtype=torch.int64)).shape
    torch.Size([3, 5, 256])
    """
    numbers = {"depth": depth, "width": width, "heads": heads, "vocabulary": vocabulary, "context": context}
    for argument, value in numbers.items():
        whole(argument, value)
    if width % heads:
        raise BadInput(f"width is {width}, and heads is {heads}; give a width that the number of heads divides")
    pick("norm", norm, NORMS)
    shortcuts, joins = _of_parts("shortcut", shortcut, SHORTCUTS), _of_parts("join", join, POSITIONWISE)
    if shortcuts == (None, None) and zero_init:
        raise BadInput("without a shortcut, zero_init would make every output the same; leave it out")
    for part, around, joined in zip(PARTS, shortcuts, joins, strict=True):
        if around is None and joined != "add" and (isinstance(join, tuple | list) or shortcuts == (None, None)):
            raise BadInput(f"there is no shortcut around {part}, so nothing is joined by {joined}; leave out one")
    scalings(scales)

    def block(part: str, around: str | None, joined: str) -> Block:
        if part == "attention":
            last: nn.Module = Attention(width, heads)
            layers = [last]
        else:
            layers = [nn.Linear(width, 4 * width), nn.GELU(), last := nn.Linear(4 * width, width)]
        for module in layers:
            module.apply(_initialise)
        if around is not None:
            end = last.out if isinstance(last, Attention) else last
            with torch.no_grad():
                end.get_parameter("weight").mul_(0 if zero_init else (2 * depth) ** -0.5)
        return Block(
            nn.Sequential(*([nn.LayerNorm(width)] if norm == "pre" else []), *layers),
            None if around is None else nn.Identity(),
            None if around is None else make_join(joined, width, scales, gate_bias, dropout, positions=0),
            nn.LayerNorm(width) if norm == "post" else None,
        )

    stem = Embedding(vocabulary, context, width)
    stem.apply(_initialise)
    stack = [
        Layer(OrderedDict((part, block(part, *how)) for part, *how in zip(PARTS, shortcuts, joins, strict=True)))
        for _ in range(depth)
    ]
    readout = nn.Linear(width, vocabulary)
    readout.apply(_initialise)
    head = nn.Sequential(*([nn.LayerNorm(width)] if norm == "pre" else []), readout)
    return Transformer(stem, stack, head)


def _of_parts(argument: str, value: object, options: tuple) -> tuple:
    """What attention and MLP get: one for both, or one each."""
    each = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(each) != len(PARTS):
        raise BadInput(f"{argument} is {value!r}; it must be one for attention and MLP, or two")
    for one in each:
        pick(argument, one, options)
    return each


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
