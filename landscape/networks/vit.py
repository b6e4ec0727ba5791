"""A small vision transformer whose skip connections can be taken away, scaled or gated."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
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

__all__ = ["VisionTransformer", "vit"]

SMALL = 16  # pixels on a side, from which on a patch has four instead of two


class VisionTransformer(Layered):
    """(N, channels, H, W) images of one size -> (N, classes) logits, of the mean over all patches."""


class Patches(nn.Module):
    """A linear map of each patch, and a vector for its place, (N, C, H, W) -> (N, T, width), row by row.

    The map is a convolution whose stride is its size.
    """

    def __init__(self, channels: int, width: int, patch: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.patch = nn.Conv2d(channels, width, patch, stride=patch)
        nn.init.normal_(self.patch.weight, std=0.02 / (channels * patch**2) ** 0.5)
        nn.init.zeros_(self.patch.get_parameter("bias"))
        self.position = nn.Embedding(size[0] // patch * (size[1] // patch), width)

    def forward(self, x: Tensor) -> Tensor:
        # A convolution would cut off what is left of a larger image. This check, unlike an if, lets torch.fx through.
        height, width = self.size
        torch._assert(x.shape[2:] == self.size, f"positions are those of images of {height}×{width}")
        return self.patch(x).flatten(2).transpose(1, 2) + self.position.weight


class Mean(nn.Module):
    """The mean over patches, (N, T, width) -> (N, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def vit(
    depth: int = 4,
    width: int = 64,
    heads: int = 4,
    patch: int | None = None,
    classes: int = 10,
    channels: int = 3,
    size: int | Sequence[int] = 32,
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
) -> VisionTransformer:
    """A vision transformer, (N, channels, H, W) -> (N, classes), of images of one size.

    Patches that do not overlap, each mapped to a vector (Dosovitskiy et al. 2021, 2010.11929 §3.1), learned positions,
    layers of self-attention and of an MLP of 4·`width` GELUs, the mean over patches, a linear layer. There is no class
    token (Beyer et al. 2022, 2205.01580, do without it as well). Each half of a layer is a `Block`.

    Parameters
    ----------
    depth : int
        Layers; each has two blocks.
    width : int
        Of the stream; `heads` divides it.
    patch : int, optional
        Pixels on a side of a patch, which divides the image's sides. By default 4, and 2 of images that have fewer
        than 16 pixels on a side.
    classes, channels : int
        Number of outputs; of the images.
    size : int, or two
        Height and width of the images in pixels.
    norm, shortcut, join, scales, gate_bias, dropout, streams, dynamic, values, zero_init
        As in `landscape.networks.transformer.transformer`.

    Notes
    -----
    Weights are drawn as those of `landscape.networks.transformer.transformer`; those of the patches' map such that
    pixels of variance 1 become vectors with a standard deviation of 0.02 as well, like those of tokens: much larger
    ones would drown the positions.

    Raises
    ------
    BadInput
        The patch does not divide the size; and what those of `landscape.networks.transformer.transformer` raise.

    Examples
    --------
    >>> network = vit(depth=2, width=16, heads=2, channels=1, size=8, shortcut=(None, "identity"))
    >>> [name for name, _ in network.layers.named_children()], [*dict(network.layers[0].named_children())]
    (['0', '1'], ['attention', 'mlp'])
    >>> network(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 10])
    """
    shortcuts, joins = check_layers(depth, width, heads, norm, shortcut, join, scales, zero_init)
    connections = connections_of_layers(norm, shortcuts, joins, streams, dynamic, values, zero_init)
    sides = _sides(size)
    patch = (2 if min(sides) < SMALL else 4) if patch is None else patch
    for argument, value in {"patch": patch, "classes": classes, "channels": channels}.items():
        whole(argument, value)
    _check_patch(patch, sides)
    stem = Patches(channels, width, patch, sides)
    stem.apply(initialise)
    joining = (shortcuts, joins, scales, gate_bias, dropout)
    layers = make_layers(depth, width, heads, norm, *joining, zero_init, False, connections)
    return VisionTransformer(
        *with_streams(stem, layers, make_readout(width, classes, norm, Mean()), connections, width)
    )


def _sides(size: object) -> tuple[int, int]:
    """Height and width."""
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2:
        raise BadInput(f"size is {size!r}; it must be one number of pixels for height and width, or two")
    for side in sides:
        whole("size", side)
    return sides


def _check_patch(patch: int, sides: tuple[int, int]) -> None:
    """Refuse a patch that leaves pixels over, and name those that leave none."""
    if any(side % patch for side in sides):
        dividing = [n for n in range(1, min(sides) + 1) if not any(side % n for side in sides)]
        raise BadInput(
            f"patch is {patch}, and images are {sides[0]}×{sides[1]}; "
            f"give a patch that divides both: {', '.join(map(str, dividing))}"
        )
