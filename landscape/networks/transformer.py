"""A small language model: a decoder-only transformer whose skip connections can be taken away, scaled or gated."""

from torch import Tensor, nn

from landscape.networks.checks import whole
from landscape.networks.transformer_layers import (
    Layered,
    check_layers,
    connections_of_layers,
    initialise,
    make_layers,
    make_readout,
    with_streams,
)

__all__ = ["Transformer", "transformer"]


class Transformer(Layered):
    """(N, T) tokens -> (N, T, vocabulary) logits of the token after each; no output sees a later token."""


class Embedding(nn.Module):
    """The sum of a vector for the token and one for its position, (N, T) int64 -> (N, T, width)."""

    def __init__(self, vocabulary: int, context: int, width: int):
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(context, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token(tokens) + self.position.weight.narrow(0, 0, tokens.shape[1])


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
    streams: int = 4,
    dynamic: bool = False,
    values: str | None = None,
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
    shortcut : {"identity", None}, or two of them; "hyper", "mhc", "delta" or "depth-attention"
        What leads around attention and MLP, or around attention, around MLP. None leaves nothing but the branch.
        With the others several streams or outputs go from block to block, see `landscape.networks.hyper_connections`,
        `landscape.networks.delta` and `landscape.networks.depth_attention`.
    join : {"add", "scale", "channel-gate", "exclusive-gate", "shortcut-gate", "dropout"}, or two of them
        What is done with shortcut and branch, see `landscape.networks.joins`. A gate is computed position by position.
    scales, gate_bias, dropout : of the joins, as in `landscape.networks.residual.resnet`
    streams, dynamic : as there
    values : {None, "residual"}
        Whether attentions mix their values with those of the first, see `landscape.networks.value_residual`.
    zero_init : bool
        Every branch around which a shortcut leads starts as 0: the weights of its last layer are.

    Notes
    -----
    Weights are drawn with a standard deviation of 0.02, and divided by the root of the number of blocks in the last
    layer of a branch that a shortcut leads around, as in GPT-2; biases are 0.

    Examples
    --------
    >>> import torch
    >>> from landscape.networks.block import Block
    >>> network = transformer(depth=2, width=16, heads=2, context=8, shortcut=("identity", None))
    >>> [name for name, module in network.named_modules() if isinstance(module, Block)]
    ['layers.0.attention', 'layers.0.mlp', 'layers.1.attention', 'layers.1.mlp']
    >>> network(torch.zeros(3, 5, dtype=torch.int64)).shape
    torch.Size([3, 5, 256])
    """
    shortcuts, joins = check_layers(depth, width, heads, norm, shortcut, join, scales, zero_init)
    connections = connections_of_layers(norm, shortcuts, joins, streams, dynamic, values, zero_init)
    for argument, value in {"vocabulary": vocabulary, "context": context}.items():
        whole(argument, value)
    stem = Embedding(vocabulary, context, width)
    stem.apply(initialise)
    joining = (shortcuts, joins, scales, gate_bias, dropout)
    layers = make_layers(depth, width, heads, norm, *joining, zero_init, True, connections)
    return Transformer(*with_streams(stem, layers, make_readout(width, vocabulary, norm), connections, width))
