"""The families of networks by name."""

from collections.abc import Callable

from torch import nn

from landscape.networks.densenet import densenet
from landscape.networks.residual import plain, resnet
from landscape.networks.transformer import transformer
from landscape.networks.vgg import vgg

__all__ = ["NETWORKS", "OF_TOKENS"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "plain": plain,
    "densenet": densenet,
    "vgg": vgg,
    "transformer": transformer,
}
OF_TOKENS = ("transformer",)  # the others are of images
