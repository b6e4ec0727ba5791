"""The one error that is the user's to mend, a warning, and what the user may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["BadInput", "UnknownLayer", "meant"]


class BadInput(ValueError):
    """Input that cannot be used as it is.

    The message is one line: what was found, what was expected, what to do. Commands print it on
    standard error and end with status 2; every other exception is a bug and keeps its traceback.

    Attributes
    ----------
    agreed : bool
        Whether every rank of the job raises it, so that none is waiting for another.
    """

    agreed = False


class UnknownLayer(UserWarning):
    """A layer holds parameters whose filters had to be assumed. Commands print it as one line on standard error."""


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message: which of the known words was meant, where one is near; dashes in front do not count."""
    bare = {name.lstrip("-"): name for name in known}
    near = get_close_matches(word.lstrip("-"), bare, 1)
    return f"; did you mean {bare[near[0]]}?" if near else ""
