"""What a network is built with, as it is typed: ``NAME=VALUE``."""

from __future__ import annotations

import ast
from argparse import BooleanOptionalAction
from collections.abc import Iterable, Mapping

from torch import Tensor

from landscape.data import CONSTANTS, Data
from landscape.errors import BadInput

__all__ = ["fitted", "input_options", "parsed", "standardisation"]

LONGEST = 1000  # characters of a literal; Python's parser is not made for what is nested by the thousand


def parsed(words: Iterable[str]) -> dict:
    """The arguments in ``NAME=VALUE`` words; a value is a Python literal, or else a word.

    Raises
    ------
    BadInput
        A word has another form.
    """
    arguments = {}
    for pair in words:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"--argument takes NAME=VALUE, got {pair!r}")
        try:
            arguments[name] = ast.literal_eval(value) if len(value) <= LONGEST else value
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            arguments[name] = value
    return arguments


def fitted(network: str, arguments: dict, data: Data) -> dict:
    """The arguments, and for a network of ours what the data settle unless they do."""
    if ":" in network:
        return arguments
    if not isinstance(data.images, Tensor) or data.images.ndim < 2:
        raise BadInput(f"a {network} takes images, and {data.name} has other inputs; name a network that takes these")
    classes = data.classes
    if classes is None:  # a number for each output
        classes = data.labels.shape[1] if isinstance(data.labels, Tensor) and data.labels.ndim == 2 else 1
    return {"classes": classes, "channels": data.images.shape[1], **arguments}


def input_options(group, training: bool = False) -> None:
    """Give a command the options that `standardisation` reads.

    Parameters
    ----------
    group : of the parser's options
    training : whether networks are trained on the data
    """
    known, both = ", ".join(CONSTANTS), "what inputs are standardised with, one number a channel"
    group.add_argument("--mean", nargs="+", metavar="V", help=f"{both}; or {known}, which sets --std too")
    group.add_argument("--std", nargs="+", type=float, metavar="V", help="goes with --mean")
    if training:
        help = "standardise inputs by the training split; by default where --data is one of the known names"
        group.add_argument("--standardize", action=BooleanOptionalAction, default=None, help=help)
    else:
        help = "standardise inputs by the training split; by default as the checkpoint has recorded, else not at all"
        group.add_argument("--standardize", action="store_true", default=None, help=help)


def standardisation(arguments, recorded: Mapping | None = None) -> dict:
    """What `landscape.data.load` is to do to the inputs: as the options say, or else as a checkpoint has recorded.

    Raises
    ------
    BadInput
        The options do not fit together.
    """
    mean, std = arguments.mean, arguments.std
    if arguments.standardize and (mean or std):
        raise BadInput("--standardize finds the constants that --mean and --std give; choose one of the two")
    if std and not mean:
        raise BadInput("--std is there without --mean; give both")
    if mean and len(mean) == 1 and not _number(mean[0]):
        if std:
            raise BadInput(f"--mean {mean[0]} sets --std too; leave --std out, or give the numbers of both")
        return {"mean": mean[0]}
    if mean:
        if wrong := [word for word in mean if not _number(word)]:
            raise BadInput(f"--mean takes numbers, or one of {', '.join(CONSTANTS)}; got {wrong[0]!r}")
        if not std:
            raise BadInput("--mean is there without --std; give both")
        return {"mean": [*map(float, mean)], "std": std}
    if arguments.standardize is not None:
        return {"standardize": arguments.standardize}
    return {name: recorded[name] for name in ("mean", "std") if name in recorded} if recorded else {}


def _number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
