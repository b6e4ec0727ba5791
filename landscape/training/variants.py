"""Networks named in a few words, so that a command can take many: ``resnet:order=pre,shortcut=projection``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from landscape.checkpoints import checkpoint as checkpoints
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data import Data
from landscape.errors import BadInput
from landscape.networks import NETWORKS, build
from landscape.networks.arguments import parse_arguments, with_data_defaults
from landscape.training.loop import RECIPES
from landscape.validate import one_of

__all__ = ["families", "recipe", "trained_here", "variant"]


def recipe(name: str, epochs: int, batch_size: int, learning_rate: float | None = None) -> dict:
    """Arguments of `landscape.training.loop.train_epochs` but the seed: a recipe's, and what is changed of them."""
    settings = RECIPES[one_of("recipe", name, RECIPES)] | {"epochs": epochs, "batch_size": batch_size}
    return settings if learning_rate is None else settings | {"learning_rate": learning_rate}


def families(variants: Iterable[str]) -> list[str]:
    """The networks that variants are of."""
    return [name.partition(":")[0] for name in variants]


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
    given = parse_arguments(re.split(r",(?![^(\[]*[)\]])", more)) if more else {}  # not at the comma of (0.5, 1)
    shape = with_data_defaults(name, {"depth": depth, "width": width}, data)
    if name in NETWORKS:  # a densenet has no width
        shape = {argument: value for argument, value in shape.items() if argument in _arguments(name)}
    return build(name, **{**shape, **given})


def _arguments(name: str) -> set[str]:
    return set(inspect.signature(NETWORKS[name]).parameters)


def trained_here(path: Path) -> Checkpoint:
    """A checkpoint of a network of this package, for commands that take no other.

    Raises
    ------
    BadInput
        As `landscape.checkpoints.checkpoint.load`, or it is of another network.
    """
    cure = f"give a checkpoint of train.py, of one of its networks: {', '.join(NETWORKS)}"
    try:
        checkpoint = checkpoints.load(path)
    except BadInput as error:
        if "--network" not in error.args[0]:
            raise
        raise BadInput(f"{path} is not a checkpoint of skipscape but weights alone; {cure}") from error
    if checkpoint.network not in NETWORKS:
        raise BadInput(f"{path} is of {checkpoint.network}, which is none of this package's networks; {cure}")
    return checkpoint
