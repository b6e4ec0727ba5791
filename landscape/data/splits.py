"""One split of the data, before it is decided which of its examples are taken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from landscape.errors import BadInput
from landscape.nested import Nested

__all__ = ["VOID", "Source", "Split", "blaming", "one_line"]

VOID = -100  # a target that does not count, as in torch.nn.functional.cross_entropy


class Split(NamedTuple):
    """One split of the data.

    Attributes
    ----------
    inputs : function of an index (n,)
        Decodes only what is asked: images of 8 bits are uint8 (n, C, H, W); all else is as in `landscape.data`.
    targets : see `landscape.data`; integers may be of fewer bits
    classes : of integer targets, or None
    rounded : whether inputs had more digits than float32 has
    said : what inputs are made of, in words, where that is not what the file has
    whole : whether the data know no splits, so that this is all there is
    """

    inputs: Callable[[Tensor], Nested]
    targets: Nested
    classes: int | None
    rounded: bool = False
    said: str = ""
    whole: bool = False


Source = Callable[[str], Split]


@contextlib.contextmanager
def blaming(what: Path | str, cure: str = "replace or remove it") -> Iterator[None]:
    """Blame a file for whatever goes wrong in reading it: decoders raise all kinds on broken bytes."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"cannot read {what} ({one_line(error)}); {cure}") from error


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__
