"""What a network is built with, as it is typed: ``NAME=VALUE``."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from landscape.data import CONSTANTS, Data
from landscape.errors import BadInput

__all__ = ["fitted", "parsed", "standardisation"]

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


def standardisation(
    mean: Sequence[float] | str | None,
    std: Sequence[float] | None,
    standardize: bool | None,
    recorded: Mapping | None = None,
) -> dict:
    """What `landscape.data.load` is to do to the inputs: as is asked for, or else as a checkpoint has recorded.

    Raises
    ------
    BadInput
        What is asked for does not fit together.
    """
    if standardize and (mean is not None or std is not None):
        raise BadInput("--standardize finds the constants that --mean and --std give; choose one of the two")
    if std is not None and mean is None:
        raise BadInput("--std is there without --mean; give both")
    if isinstance(mean, list | tuple) and len(mean) == 1 and isinstance(mean[0], str):
        mean = mean[0]  # as it is typed
    if isinstance(mean, str):
        if std is not None:
            raise BadInput(f"--mean {mean} sets --std too; leave --std out, or give the numbers of both")
        return {"mean": mean}
    if mean is not None:
        if wrong := [each for each in mean if isinstance(each, str)]:
            raise BadInput(f"--mean takes numbers, or one of {', '.join(CONSTANTS)}; got {wrong[0]!r}")
        if std is None:
            raise BadInput("--mean is there without --std; give both")
        return {"mean": [*map(float, mean)], "std": [*std]}
    if standardize is not None:
        return {"standardize": standardize}
    return {name: recorded[name] for name in ("mean", "std") if name in recorded} if recorded else {}
