"""Densely connected networks for small images: shortcuts that are concatenated, not added."""

from torch import nn

from landscape.networks.block import Block
from landscape.networks.checks import fraction, repeats, whole
from landscape.networks.joins import Concatenate
from landscape.networks.layers import convolution, layers
from landscape.networks.network import Network, classifier

__all__ = ["densenet"]

UNIT = ("norm", "relu", "conv")


def densenet(
    depth: int = 40,
    growth: int = 12,
    classes: int = 10,
    channels: int = 3,
    bottleneck: bool = False,
    compression: float = 1.0,
    checkpointing: bool = False,
) -> Network:
    """A DenseNet of three stages, (N, channels, H, W) -> (N, classes) (Huang et al. 2017, 1608.06993 §3).

    Every layer is a `Block` whose branch makes `growth` channels and whose shortcut is the identity.
    Leaving one out puts zeros in the place of its channels. A stage ends in a transition (BatchNorm,
    ReLU, 1×1 convolution, 2×2 mean), the last of a stage's modules and no block.

    Parameters
    ----------
    depth : int
        3n+4 for n layers a stage, 6n+4 with bottlenecks.
    growth : int
        Channels that each layer adds (k in the paper).
    bottleneck : bool
        Precede each 3×3 convolution by a 1×1 convolution to 4·growth channels (DenseNet-B).
    compression : float
        The share of channels that a transition keeps, rounded down (θ; below 1 is DenseNet-C). With
        both (DenseNet-BC) the stem has 2·growth channels, otherwise 16.
    checkpointing : bool
        Less memory for more time, see `Network`.
    """
    for argument, value in {"growth": growth, "classes": classes, "channels": channels}.items():
        whole(argument, value)
    fraction("compression", compression)
    n = repeats(depth, 6 if bottleneck else 3, 4, f"a DenseNet {'with' if bottleneck else 'without'} bottlenecks")

    width = 2 * growth if bottleneck and compression < 1 else 16
    stem = convolution(channels, width, 3)
    stages: list[list[nn.Module]] = []
    for stage in range(3):
        stages.append([_layer(width + i * growth, growth, bottleneck) for i in range(n)])
        width += n * growth
        if stage < 2:
            kept = max(1, int(compression * width))
            # Rounding sizes up leaves at least one position, whatever the image.
            pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
            stages[-1].append(nn.Sequential(*layers(UNIT, width, kept, size=1), pool))
            width = kept
    head = classifier(width, classes, nn.BatchNorm2d(width), nn.ReLU())
    return Network(stem, stages, head, checkpointing=checkpointing)


def _layer(inputs: int, growth: int, bottleneck: bool) -> Block:
    branch = []
    if bottleneck:
        branch += layers(UNIT, inputs, 4 * growth, size=1)
        inputs = 4 * growth
    branch += layers(UNIT, inputs, growth)
    return Block(nn.Sequential(*branch), nn.Identity(), Concatenate(growth), keeps_shape=False)
