"""Networks named in a few words, so that a command can take many: ``resnet:order=pre,shortcut=projection``."""

from __future__ import annotations

import inspect
import re

from torch import nn

from landscape.arguments import parsed
from landscape.data import Data
from landscape.networks import NETWORKS, build

__all__ = ["variant"]


def variant(name: str, depth: int, width: int, data: Data) -> nn.Module:
    """The network that a variant names, for these data.

    Parameters
    ----------
    name : a network, or NAME:ARGUMENT=VALUE,ARGUMENT=VALUE; an argument of its own goes before depth and width
    depth, width : of the networks that have them
    data : which settles classes and channels

    Raises
    ------
    BadInput
        There is no such network, or it has no such argument.
    """
    name, _, more = name.partition(":")
    given = parsed(re.split(r",(?![^(\[]*[)\]])", more)) if more else {}  # not at the comma of (0.5, 1)
    shape = {"depth": depth, "width": width, "classes": data.classes, "channels": data.images.shape[1]}
    if name in NETWORKS:  # a densenet has no width
        shape = {argument: value for argument, value in shape.items() if argument in _arguments(name)}
    return build(name, **{**shape, **given})


def _arguments(name: str) -> set[str]:
    return set(inspect.signature(NETWORKS[name]).parameters)
