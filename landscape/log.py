"""What the library says goes to the logger "skipscape": nothing is printed here.

Commands print what is logged, see `landscape.commands.cli`. Who calls from Python hears warnings, and the rest after
``logging.basicConfig(level=logging.INFO)``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landscape.engine.ranks import Communicator

__all__ = ["ANSWER", "LOG", "Report", "note", "say", "wanted"]

LOG = logging.getLogger("skipscape")
ANSWER = logging.INFO + 5  # what was asked for, and is said even by those who say little


class Report(str):
    """Text that an interactive session shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def say(comm: Communicator, *lines: str, level: int = logging.INFO) -> None:
    """Log lines on rank 0; a line may hold several."""
    if comm.rank == 0:
        for line in lines:
            LOG.log(level, "%s", line)


def note(line: str) -> None:
    """Log a warning, whichever rank this is."""
    LOG.warning("%s", line)


def wanted(comm: Communicator, level: int) -> bool:
    """Whether rank 0 logs at this level. Collective."""
    return comm.bcast(LOG.isEnabledFor(level) if comm.rank == 0 else None)
