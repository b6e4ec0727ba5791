"""Residual networks for small images, and plain ones: the same network without shortcuts."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.networks.block import Block
from landscape.networks.checks import fraction, pick, repeats, scalings, whole
from landscape.networks.connections import CONNECTIONS, connections_of
from landscape.networks.joins import JOINS, make_join
from landscape.networks.layers import layers
from landscape.networks.network import Network, classifier
from landscape.networks.shortcuts import SHORTCUTS, make_shortcut

__all__ = ["BLOCKS", "ORDERS", "plain", "resnet"]

# The unit around each convolution, and how many of the last unit's layers come after the join
# instead. The words up to "conv" also begin the head and the words from it make the stem, so that every
# convolution of the network has its BatchNorm and ReLU.
ORDERS = {
    "post": ("conv norm relu", 1),
    "bn-after-add": ("conv norm relu", 2),
    "relu-before-add": ("conv norm relu", 0),
    "relu-only-pre": ("relu conv norm", 0),
    "pre": ("norm relu conv", 0),
}

# Convolutions of a branch as (outputs in widths, size, whether it carries the stride); depth each + 2.
BLOCKS = {
    "basic": [(1, 3, True), (1, 3, False)],
    "bottleneck": [(1, 1, False), (1, 3, True), (4, 1, False)],
}


class ZeroScale(nn.Module):
    """Multiply by one learned number that starts at 0 (SkipInit, De & Smith 2020, 2002.10444 §3)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def resnet(
    depth: int = 20,
    width: int = 16,
    classes: int = 10,
    channels: int = 3,
    block: str = "basic",
    order: str = "post",
    shortcut: str | None = "zero-pad",
    join: str = "add",
    scales: tuple[float, float] = (0.5, 0.5),
    gate_bias: float = -6.0,
    dropout: float = 0.5,
    streams: int = 4,
    dynamic: bool = False,
    norm: str = "batch",
    zero_init: bool = False,
    survival: float = 1.0,
    keep: int | None = None,
    checkpointing: bool = False,
) -> Network:
    """A residual network, (N, channels, H, W) -> (N, classes).

    A 3×3 convolution, three stages of n blocks with `width`, 2·`width` and 4·`width` channels, of
    which the second and third begin with stride 2, the mean over positions, a linear layer (He et al. 2015,
    1512.03385 §4.2).

    Parameters
    ----------
    depth : int
        Layers with weights: 6n+2 of basic blocks, 9n+2 of bottlenecks; projections do not count.
    width : int
        Channels of the first stage; bottlenecks put out four times as many.
    block : {"basic", "bottleneck"}
        3×3, 3×3; or 1×1, 3×3 (which carries the stride), 1×1 to four times the width.
    order : {"post", "bn-after-add", "relu-before-add", "relu-only-pre", "pre"}
        Where BatchNorm (BN) and ReLU are, as in Table 2 of He et al. 2016 (1603.05027 §4.1). "post"
        is the original: the branch ends in BN, and a ReLU follows the join. With "pre" the stem is a
        convolution alone, every branch starts with its own BN and ReLU, shortcuts carry what no
        activation has touched, and the head begins with BN and ReLU.
    shortcut : str, optional
        What leads around a branch: "zero-pad", "zero-pad-average", "projection" or "projection-everywhere", see
        `landscape.networks.shortcuts`; a projection ends in BN where the branch does. Or "hyper", "mhc"
        (`landscape.networks.hyper_connections`), "delta" or "depth-attention" (modules of these names), with which
        several streams or outputs go from block to block; what comes after the join, a ReLU say, is applied to each.
        None makes a plain network.
    join : {"add", "scale", "channel-gate", "pooled-gate", "exclusive-gate", "shortcut-gate", "dropout"}
        What is done with the two, see `landscape.networks.joins`.
    scales : (float, float)
        Of join "scale": on the shortcut, on the branch.
    gate_bias : float
        The initial b of the gates. At 0 shortcuts start halved, and most deep networks fail.
    dropout : float
        Of join "dropout": the share of the shortcut's elements that training sets to 0.
    streams : int
        How many, with "hyper", "mhc" and "delta".
    dynamic : bool
        Whether hyper-connections depend on the streams.
    norm : {"batch", "none"}
        "none" drops every BN: convolutions get biases, and each branch ends in a learned number that
        starts at 0, so that deep ones train. A plain network has no such number.
    zero_init : bool
        Every branch starts as 0 (Goyal et al. 2017, 1706.02677 §5.1): the weight of its last BN is 0, or
        that of its last convolution where the branch ends in one. Convolutions before BN are scale
        invariant, so it is this weight that makes a branch small.
    survival : float
        Stochastic depth (Huang et al. 2016, 1603.09382 §3): in training, block l of L runs with
        probability 1 − (l/L)(1 − survival); in evaluation its branch is multiplied by it.
    keep : int, optional
        Exactly this many blocks run for each training batch, drawn evenly (Veit et al. 2016, 1605.06431).
        In evaluation all run, each branch multiplied by keep / blocks, the share of batches it ran in.
    checkpointing : bool
        Less memory for more time, see `Network`.
    """
    pick("block", block, BLOCKS)
    pick("order", order, ORDERS)
    pick("shortcut", shortcut, (*SHORTCUTS, *CONNECTIONS))
    pick("join", join, JOINS)
    pick("norm", norm, ["batch", "none"])
    for argument, value in {"width": width, "classes": classes, "channels": channels}.items():
        whole(argument, value)
    fraction("survival", survival)
    n = repeats(depth, 3 * len(BLOCKS[block]), 2, f"a network of {block} blocks")
    blocks = 3 * n
    if keep is not None and (not isinstance(keep, int) or not 1 <= keep <= blocks):
        raise BadInput(f"keep is {keep!r}; it must be a whole number from 1 to {blocks}, the number of blocks")
    if keep is not None and survival < 1:
        raise BadInput(f"both keep={keep} and survival={survival} say which blocks run; give one of them")
    if shortcut is None and (join != "add" or zero_init or survival < 1 or keep is not None):
        raise BadInput(
            "a plain network has nothing to join and no block it could run without; "
            "leave out join, zero_init, survival and keep, or give a shortcut"
        )
    scalings(scales)
    normed = norm == "batch" and order == "bn-after-add"
    connections = connections_of(shortcut, join, streams, dynamic, zero_init or norm == "none", normed)
    if zero_init and order == "relu-before-add" and norm == "batch":
        raise BadInput(
            "zero_init with order='relu-before-add' would never learn, since the branch ends in a ReLU "
            "that passes no gradient at 0; use another order"
        )

    parts = _parts(order)
    stages: list[list[nn.Module]] = []
    inputs, made = width, 0
    for stage in range(3):
        stages.append([])
        for place in range(n):
            stride = 2 if stage > 0 and place == 0 else 1
            branch, outputs = _branch(inputs, width * 2**stage, stride, BLOCKS[block], parts, norm)
            if norm == "none" and shortcut is not None:
                branch.append(ZeroScale())
            elif zero_init:
                nn.init.zeros_(branch[-1].get_parameter("weight"))
            through: nn.Module = nn.Sequential(*branch)
            around = make_shortcut(shortcut, inputs, outputs, stride, parts.projection, norm)
            after: nn.Module = nn.Sequential(*layers(parts.after, outputs, outputs, norm=norm))
            if connections is not None and around is not None:
                through, around = connections.around(through, around, inputs, outputs, made)
                after = connections.after(after)
            made += 1
            stages[-1].append(
                Block(
                    through,
                    around,
                    None if shortcut is None else make_join(join, outputs, scales, gate_bias, dropout),
                    after,
                    channels=None if connections is None else 2,
                    keeps_shape=stride == 1 and inputs == outputs,
                    survival=keep / blocks if keep else 1 - made / blocks * (1 - survival),
                )
            )
            inputs = outputs
    last = layers(parts.final, inputs, inputs, norm=norm)
    stem = nn.Sequential(*layers(parts.stem, channels, width, norm=norm))
    if connections is not None:
        stem.append(connections.before())
        last.insert(0, connections.behind(inputs))
    head = classifier(inputs, classes, *last)
    return Network(stem, stages, head, keep, checkpointing)


plain = partial(resnet, shortcut=None)


class _Parts(NamedTuple):
    """What an order says, as words for `layers`."""

    unit: list[str]  # around each convolution of a branch
    last: list[str]  # around its last
    after: list[str]  # after the join
    projection: list[str]
    stem: list[str]
    final: list[str]


def _parts(order: str) -> _Parts:
    words, moved = ORDERS[order]
    unit = words.split()
    last, after = unit[: len(unit) - moved], unit[len(unit) - moved :]
    first = unit.index("conv")
    projection = [word for word in last[first:] if word != "relu"]
    return _Parts(unit, last, after, projection, stem=unit[first:], final=unit[:first])


def _branch(
    inputs: int, width: int, stride: int, shape: list[tuple[int, int, bool]], parts: _Parts, norm: str
) -> tuple[list[nn.Module], int]:
    made = []
    for i, (widths, size, strides) in enumerate(shape, start=1):
        words = parts.last if i == len(shape) else parts.unit
        made += layers(words, inputs, widths * width, size, stride if strides else 1, norm)
        inputs = widths * width
    return made, inputs
