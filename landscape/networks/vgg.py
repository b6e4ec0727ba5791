"""VGG networks for small images: plain stacks of 3×3 convolutions with poolings between."""

from collections.abc import Sequence

from torch import nn

from landscape.networks.block import Block
from landscape.networks.checks import pick, whole
from landscape.networks.layers import layers
from landscape.networks.network import Network, classifier

__all__ = ["vgg"]

# Convolutions a stage; 11 to 19 are columns A, B, D, E of Table 1 of Simonyan & Zisserman 2015 (1409.1556).
CONVOLUTIONS = {
    9: (1, 1, 2, 2),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (1, 2, 4, 8, 8)


def vgg(
    depth: int = 9,
    width: int = 64,
    classes: int = 10,
    channels: int = 3,
    constant: bool = False,
    norm: str = "batch",
) -> Network:
    """A VGG network, (N, channels, H, W) -> (N, classes).

    Each 3×3 convolution with its BatchNorm and ReLU is a `Block` without a shortcut. A stage ends in a
    2×2 max-pooling, rounding up, so that small images stop shrinking at one position.

    Parameters
    ----------
    depth : int
        Layers with weights. Not constant: 9, 11, 13, 16 or 19, of which the last three are linear with
        8·`width` hidden units; 9 stands for the VGG-9 of Li et al. 2018 (1712.09913 §3), who give no
        table: stages of 1, 1, 2, 2 convolutions. Constant: 6 or more, of which the last is linear.
    width : int
        Channels of the first stage; then 2, 4, 8 and 8 times as many.
    constant : bool
        `width` channels in every stage, so that any layer but the first can be left out, as with the
        15 layers of Veit et al. 2016 (1605.06431 §4.1). The convolutions are spread over five stages.
    norm : {"batch", "none"}
    """
    counts: Sequence[int]
    pick("norm", norm, ["batch", "none"])
    for argument, value in {"width": width, "classes": classes, "channels": channels}.items():
        whole(argument, value)
    if constant:
        whole("depth", depth, 6)
        counts = [(depth - 1) * (i + 1) // 5 - (depth - 1) * i // 5 for i in range(5)]
        widths, hidden = [width] * 5, []
    else:
        pick("depth", depth, CONVOLUTIONS)
        counts = CONVOLUTIONS[depth]
        widths, hidden = [width * times for times in WIDTHS], [8 * width] * 2

    stages: list[list[nn.Module]] = []
    inputs = channels
    for count, outputs in zip(counts, widths, strict=False):
        stages.append([])
        for _ in range(count):
            stages[-1].append(_layer(inputs, outputs, norm))
            inputs = outputs
        stages[-1].append(nn.MaxPool2d(2, ceil_mode=True))
    return Network(nn.Identity(), stages, classifier(inputs, classes, hidden=hidden))


def _layer(inputs: int, outputs: int, norm: str) -> Block:
    branch = nn.Sequential(*layers(("conv", "norm"), inputs, outputs, norm=norm))
    return Block(branch, after=nn.ReLU(), keeps_shape=inputs == outputs)
