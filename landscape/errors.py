"""The one error that is the user's to mend, a warning, and what the user may have meant."""

import re
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from difflib import get_close_matches

__all__ = ["COMMAND", "SCRIPT", "BadInput", "Stopped", "UnknownLayer", "addressed", "did_you_mean", "raised", "stopped"]

COMMAND: ContextVar[bool] = ContextVar("command", default=False)  # whether a command is running, not a call from Python
SCRIPT: ContextVar[bool] = ContextVar("script", default=False)  # whether it was started as scripts/NAME.py
TYPED = re.compile(r"(?:python )?scripts/(?!development|studies)([a-z]+)\.py")
NAMED = re.compile(
    r"(?<![\w/.-])(surface|lesion|train|trainings|curvature|trajectory|convert|figure|flow|paths|check)\.py\b"
)
OPTION = re.compile(r"(?<![\w-])(?<!\.py )--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")


class BadInput(ValueError):
    """Input that cannot be used as it is.

    The message is one line: what was found, what was expected, what to do. Commands print it on
    standard error and end with status 2; every other exception is a bug and keeps its traceback.
    Options are named as on a command line, ``--batch-size``; who calls from Python reads ``batch_size``.

    Attributes
    ----------
    collective : bool
        Whether every rank of the job raises it, so that none is waiting for another.

    Examples
    --------
    >>> from landscape.engine.table import read
    >>> try:
    ...     read("nothing.h5")
    ... except BadInput as error:
    ...     print(error)
    there is no file nothing.h5
    """

    collective = False

    def __str__(self) -> str:
        text = super().__str__()
        return addressed(text if COMMAND.get() else OPTION.sub(lambda option: option[1].replace("-", "_"), text))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line alone."""
        return [f"BadInput: {self}"]


class Stopped(KeyboardInterrupt):
    """An interrupt that came while rows were measured; notebooks show the line alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def stopped(done: str, out: object) -> Stopped:
    """What an interrupted call raises: what it has done until then, and what becomes of that."""
    rest = "nothing is kept, since out= names no file" if out is None else "the same call goes on from here"
    return Stopped(f"stopped{done}; {rest}")


class UnknownLayer(UserWarning):
    """A layer holds parameters whose filters had to be assumed. Commands print it as one line on standard error."""


def addressed(text: str) -> str:
    """Text that names commands, as the reader has them: scripts of a clone, or those of the installed package."""
    if SCRIPT.get():
        return text
    return NAMED.sub(r"skipscape \1", TYPED.sub(r"skipscape \1", text))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message: which of the known words was meant, where one is near; dashes in front do not count."""
    bare = {name.lstrip("-"): name for name in known}
    near = get_close_matches(word.lstrip("-"), bare, 1)
    return f"; did you mean {bare[near[0]]}?" if near else ""


def raised(error: BaseException) -> str:
    """What went wrong in a user's own function, and where, in one line."""
    said = " ".join(str(error).split())[:300]
    places = traceback.extract_tb(error.__traceback__)
    where = f", in line {places[-1].lineno} of {places[-1].filename}" if places else ""
    return f"{type(error).__name__}{': ' * bool(said)}{said}{where}"
