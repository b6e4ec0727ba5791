"""What every command does around its work: read the command line, start, and end well.

Bad input ends with one line on standard error and status 2; a signal with a flushed file and
status 128 + its number; a bug with its traceback. On several ranks none is left waiting.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata

from landscape import __version__
from landscape.errors import BadInput
from landscape.ranks import Alone, agreed, world

__all__ = ["Parser", "provenance", "run", "say"]


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults, takes numbers like ``-1e-3``, and complains in one line."""

    def __init__(self, **arguments):
        super().__init__(formatter_class=_Help, allow_abbrev=False, **arguments)
        self._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")

    def error(self, message: str):
        raise BadInput(f"{message} (see --help)")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, []):  # that says nothing
            return action.help
        if isinstance(action.default, list | tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class _Stopped(KeyboardInterrupt):
    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(main: Callable, parser: Parser) -> None:
    """Run ``main(arguments, communicator)`` as a command on every rank, and exit.

    Parameters
    ----------
    main : the command. It may raise `BadInput` on all ranks alike (from `agreed`) or on one.
    parser : reads the command line
    """
    comm = Alone()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        comm = world()
        with agreed(comm):
            arguments = parser.parse_args()
        main(arguments, comm)
        status = 0
    except BadInput as error:
        if comm.rank == 0 or not error.agreed:
            _tell(f"{parser.prog}: error: {error}")
        if not error.agreed:
            _abort(comm, 2)
        status = 2
    except KeyboardInterrupt as stopped:
        number = getattr(stopped, "number", signal.SIGINT)
        if comm.rank == 0:
            _tell(f"{parser.prog}: stopped by {signal.Signals(number).name}; the same command goes on from here")
        else:
            time.sleep(3)  # the signal usually reaches every rank: let rank 0 write what it has
        _abort(comm, 128 + number)
        status = 128 + number
    except Exception:
        _tell(f"{parser.prog}: rank {comm.rank} of {comm.size} failed\n{traceback.format_exc()}")
        _abort(comm, 1)
        status = 1
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left to write: die quietly
        signal.signal(number, signal.SIG_DFL)
    # mpi4py's runner would answer a status other than 0 with an MPI_Abort and its noise.
    if "mpi4py.MPI" in sys.modules and status:
        sys.modules["mpi4py.MPI"].Finalize()
    sys.exit(status)


def say(comm, *lines: str) -> None:
    """Print on rank 0."""
    if comm.rank == 0:
        for line in lines:
            print(line, flush=True)


def provenance(settings: Mapping) -> dict:
    """The attributes of a results file: the settings, what was typed, and the versions at work.

    Only the name of the script is kept of its path, so that the same study in another folder is
    the same study.
    """
    script = sys.argv[0].rpartition("/")[2]
    versions = {"version_skipscape": __version__} | {f"version_{n}": metadata.version(n) for n in ("torch", "numpy")}
    return {**settings, "command": shlex.join([script, *sys.argv[1:]]), **versions}


def _stop(number, frame):
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)  # the last flush must not be interrupted in turn
    raise _Stopped(number)


def _tell(text: str) -> None:
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def _abort(comm, status: int) -> None:
    """End the other ranks too: they may be waiting for this one."""
    if comm.size > 1:
        time.sleep(0.5)  # the launcher may end before it has passed on what was said
        comm.Abort(status)
        os._exit(status)  # MPICH's call may return; MPI must not be ended in order then, messages are on their way
