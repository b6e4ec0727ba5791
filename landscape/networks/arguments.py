"""What a network is built with, as it is typed: ``NAME=VALUE``."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from landscape.errors import BadInput
from landscape.networks.families import OF_ONE_SIZE, OF_TOKENS

if TYPE_CHECKING:
    from landscape.data import Data

__all__ = ["parse_arguments", "with_data_defaults"]

LONGEST = 1000  # characters of a literal; Python's parser is not made for what is nested by the thousand


def parse_arguments(words: Iterable[str]) -> dict:
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


def with_data_defaults(network: str, arguments: dict, data: Data) -> dict:
    """The arguments, and for a network of ours what the data settle unless they do."""
    if ":" in network:
        return arguments
    if network in OF_TOKENS:
        return {**_of_tokens(network, data), **arguments}
    sized = network in OF_ONE_SIZE
    if not isinstance(data.images, Tensor) or data.images.ndim < (4 if sized else 2) or data.of_tokens:
        raise BadInput(f"a {network} takes images, and {data.name} has other inputs; name a network that takes these")
    classes = data.classes
    if classes is None:  # a number for each output
        classes = data.labels.shape[1] if isinstance(data.labels, Tensor) and data.labels.ndim == 2 else 1
    sides = list(data.images.shape[2:])
    size = {"size": sides[0] if len({*sides}) == 1 else sides} if sized else {}
    return {"classes": classes, "channels": data.images.shape[1], **size, **arguments}


def _of_tokens(network: str, data: Data) -> dict:
    """How many tokens there may be, and how many there are in a window."""
    if not data.of_tokens:
        raise BadInput(
            f"a {network} takes windows of tokens, and {data.name} has other inputs; name a network that takes these"
        )
    vocabulary = max(1 + int(data.images.max()), data.classes or 0)
    context = data.images.shape[1]
    # One token too many, so that the shape of logits, (N, T, vocabulary), says which axis counts tokens of the text
    return {"vocabulary": vocabulary + (vocabulary == context), "context": context}
