"""Networks named in a few words, so that a command can take many: ``resnet:order=pre,shortcut=projection``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from torch import nn

from landscape import checkpoint as checkpoints
from landscape.arguments import parsed
from landscape.checkpoint import Checkpoint
from landscape.command import Parser
from landscape.data import Data
from landscape.errors import BadInput
from landscape.networks import NETWORKS, build
from landscape.training import RECIPES

__all__ = ["options", "recipe", "trained_here", "variant"]


def options(parser: Parser, epochs: int, data: str | None) -> None:
    """Give a command the options that say which networks there are, of which data, and how they are trained.

    Parameters
    ----------
    epochs, data : defaults
    """
    g = parser.add_argument_group("networks and data")
    g.add_argument("--depth", type=int, nargs="+", default=[20], help="weight layers")
    g.add_argument("--width", type=int, default=16, help="channels of the first stage")
    g.add_argument("--seeds", type=int, default=3, help="of each network: seeds 0, 1, …")
    g.add_argument("--data", default=data, help="as for train.py")
    g.add_argument("--root", type=Path, help="where torchvision's data lie")
    g.add_argument("--examples", type=int, help="a stratified subset of so many training images")
    g = parser.add_argument_group("training")
    g.add_argument("--epochs", type=int, default=epochs)
    g.add_argument("--recipe", choices=RECIPES, default="fast", help="schedule, learning rate and weight decay")
    g.add_argument("--learning-rate", type=float, help="by default the recipe's")
    g.add_argument("--batch-size", type=int, default=128, help="examples a step")


def recipe(arguments) -> dict:
    """What `landscape.training.train` is told by these options; the seed is another matter."""
    found = RECIPES[arguments.recipe] | {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
    return found if arguments.learning_rate is None else found | {"learning_rate": arguments.learning_rate}


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


def trained_here(path: Path) -> Checkpoint:
    """A checkpoint of a network of this package, for commands that take no other.

    Raises
    ------
    BadInput
        As `landscape.checkpoint.load`, or it is of another network.
    """
    cure = f"give a checkpoint of train.py, of one of its networks: {', '.join(NETWORKS)}"
    try:
        found = checkpoints.load(path)
    except BadInput as error:
        if "--network" not in error.args[0]:
            raise
        raise BadInput(f"{path} is not a checkpoint of skipscape but weights alone; {cure}") from error
    if found.network not in NETWORKS:
        raise BadInput(f"{path} is of {found.network}, which is none of this package's networks; {cure}")
    return found
