"""The families of networks by name."""

from collections.abc import Callable

from torch import nn

from landscape.networks.densenet import densenet
from landscape.networks.residual import plain, resnet
from landscape.networks.transformer import transformer
from landscape.networks.vgg import vgg
from landscape.networks.vit import vit

__all__ = ["NETWORKS", "OF_ONE_SIZE", "OF_TOKENS"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet": resnet,
    "plain": plain,
    "densenet": densenet,
    "vgg": vgg,
    "transformer": transformer,
    "vit": vit,
}
OF_TOKENS = ("transformer",)  # the others are of images
OF_ONE_SIZE = ("vit",)  # of images, and with positions for those of one size alone
