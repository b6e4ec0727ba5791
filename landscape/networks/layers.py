"""Layers spelt as words, so that the order of activations is an argument.

A unit is a few words such as ``conv norm relu`` or ``norm relu conv``. Convolutions pad so that
stride 1 keeps sizes and stride 2 halves them, rounding up.
"""

from collections.abc import Iterable

from torch import nn

__all__ = ["convolution", "layers"]


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with He's normal initialisation over the fan out (1502.01852 §2.2), biases at 0."""
    made = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def layers(
    words: Iterable[str], inputs: int, outputs: int, size: int = 3, stride: int = 1, norm: str = "batch"
) -> list[nn.Module]:
    """Make the layers that the words spell, (N, inputs, H, W) -> (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).

    Parameters
    ----------
    words : iterable of {"conv", "norm", "relu"}
        At most one "conv"; without it inputs and outputs are equal.
    inputs, outputs, size, stride : int
        Of the convolution.
    norm : {"batch", "none"}
        With "none" each "norm" is left out, and the convolution has the bias that BatchNorm had.
    """
    made: list[nn.Module] = []
    width = inputs
    for word in words:
        if word == "conv":
            made.append(convolution(inputs, outputs, size, stride, bias=norm == "none"))
            width = outputs
        elif word == "relu":
            made.append(nn.ReLU())
        elif norm == "batch":
            made.append(nn.BatchNorm2d(width))
    return made
