"""What every command does around its work: read the command line, start, and end well.

Bad input ends with one line on standard error and status 2, and so does what the machine refuses; a signal with a
flushed file and status 128 + its number; output that nobody reads any more as Unix has it, without a word and with
the status of SIGPIPE; a bug with its traceback. On several ranks none is left waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import logging
import os
import re
import select
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from landscape.commands.launch import command_on, number_of, start, started_by, typed_ranks, without_ranks
from landscape.engine.ranks import Communicator, SerialComm, collective_errors, world
from landscape.errors import COMMAND, SCRIPT, BadInput, UnknownLayer, addressed, did_you_mean
from landscape.log import ANSWER, LOG, note, say

__all__ = ["Parser", "RanksAlone", "chosen", "printable", "run"]

MOST = 10_000_000  # of anything that a command line counts
LARGEST_SEED = 2**62  # what generators take, with room for those that follow from it
STOPPED: list[int] = []  # the signal that has stopped this command
LONGEST = 2000  # characters of a complaint
UNREAD = 128 + 13  # the status of SIGPIPE, a name that Windows lacks


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults, takes numbers like ``-1e-3``, and complains in one line."""

    def __init__(self, **arguments):
        super().__init__(formatter_class=_Help, allow_abbrev=False, **arguments)
        self._negative_number_matcher = re.compile(r"^-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        if words:
            COMMAND.set(True)  # somebody has typed them
        for word in takewhile("--".__ne__, words):  # before argparse asks for what was misspelt
            self._check_option(word)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        raise _Mistyped(f"{message} (see --help)")

    def format_help(self) -> str:
        return addressed(super().format_help())

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # of --help: here it is heard of if nobody reads it, see `run`
        super().exit(status, message)

    def _check_option(self, word: str) -> None:
        name, options = word.partition("=")[0], self._option_string_actions
        if word in ("", "-") or word[0] != "-" or name in options or " " in word:
            return
        if self._negative_number_matcher.match(word) or (word[1] != "-" and word[:2] in options):
            return
        self.error(f"there is no option {name}{did_you_mean(name, options)}")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise


class RanksAlone(Parser):
    """Reads of a command line how many ranks to start, for which nothing need be imported; they read the rest."""

    def parse_args(self, args=None, namespace=None):
        return argparse.Namespace(mpi_ranks=typed_ranks(args or ()))


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    def _format_usage(
        self, usage: str | None, actions: Iterable[argparse.Action], groups: Any, prefix: str | None
    ) -> str:
        """What must be given; the options stand below, in their groups."""
        needed = [action for action in actions if action.required or not action.option_strings]
        return super()._format_usage(usage, needed, [], prefix).rstrip() + " [options]\n\n"

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, [], ()):  # that says nothing
            return action.help
        if isinstance(action.default, list | tuple):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class _Mistyped(BadInput):
    __str__ = Exception.__str__  # of a command line, whoever parses it


class _Stopped(KeyboardInterrupt):
    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(main: Callable, parser: Parser, words: Sequence[str] | None = None) -> None:
    """Run ``main(arguments, communicator)`` as a command on every rank, and exit.

    Parameters
    ----------
    main : the command. It may raise `BadInput` on all ranks alike (from `collective_errors`) or on one.
    parser : reads the command line
    words : what is typed after the command's name; by default a script's own arguments
    """
    comm: Communicator = SerialComm()
    typed = sys.argv[1:] if words is None else list(words)
    STOPPED.clear()
    before = COMMAND.set(True)
    as_script = SCRIPT.set(words is None)
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        status = _on_ranks(parser, typed, words is None) if started_by() is None else None
        if status is None:
            comm = world()
            warnings.showwarning = partial(_shown, comm, warnings.showwarning)
            with collective_errors(comm):
                arguments = _parsed(parser, typed)
                _check_ranks(comm, arguments)
            with _printing(_level(arguments)):
                main(arguments, comm)
            status = 0
    except KeyboardInterrupt as stopped:
        status = _stopped(comm, parser, getattr(stopped, "number", signal.SIGINT))
    except Exception as error:
        # A library may make an error of its own of what a signal raises within it.
        signalled = STOPPED and not getattr(error, "genuine", isinstance(error, BadInput))
        status = _stopped(comm, parser, STOPPED[0]) if signalled else _failed(comm, parser, error)
    COMMAND.reset(before)
    SCRIPT.reset(as_script)
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left to write: die quietly
        signal.signal(number, signal.SIG_DFL)
    # mpi4py's runner would answer a status other than 0 with an MPI_Abort and its noise.
    if "mpi4py.MPI" in sys.modules and status:
        sys.modules["mpi4py.MPI"].Finalize()
    sys.exit(status)


def _on_ranks(parser: Parser, typed: list[str], script: bool) -> int | None:
    """The status of the command on the ranks that it is to start for itself; None where it is to run here."""
    arguments = _parsed(parser, typed)
    asked = getattr(arguments, "mpi_ranks", None)
    if asked is None:
        return None
    ranks, each = number_of(asked, getattr(arguments, "device", "cpu"))
    own, rest = (sys.argv[:1], sys.argv[1:]) if script else (["-m", *sys.argv[:1]], sys.argv[1:])
    sys.argv[1:] = without_ranks(rest)  # which files keep
    if ranks == 1:
        return None
    call = command_on(ranks, [*own, *sys.argv[1:]])
    with _printing(_level(arguments)):
        say(SerialComm(), *[f"{ranks} ranks, one for each {each}"] * bool(each))
        say(SerialComm(), shlex.join(call), level=logging.DEBUG)
    sys.stdout.flush()
    return start(call, parser.prog)


def _check_ranks(comm: Communicator, arguments: argparse.Namespace) -> None:
    """See that ``--ranks`` is no other number than that of the launcher which has started this process."""
    asked, started = getattr(arguments, "mpi_ranks", None), started_by()
    if started is None or "mpi_ranks" not in arguments:
        return
    if comm.size == 1 < started and "TORCHELASTIC_RUN_ID" in os.environ:
        raise BadInput(
            f"started as one of {started} processes by torchrun, which do not see each other by MPI; start the command "
            f"without it: --ranks {started}"
        )
    size = max(comm.size, started)
    sys.argv[1:] = without_ranks(sys.argv[1:])
    if comm.rank == 0 and isinstance(asked, int) and asked != size:
        _tell(f"note: --ranks {asked} is left aside, since a launcher has started this as one of {size}")


def _shown(comm: Communicator, usual: Callable, message: Warning, category: type, *where: Any, **more: Any) -> None:
    """Show a warning of ours as a command says things; others as usual."""
    if not issubclass(category, UnknownLayer):
        usual(message, category, *where, **more)
    elif comm.rank == 0:
        note(f"note: {message}")


def _stopped(comm: Communicator, parser: Parser, number: int) -> int:
    if comm.rank == 0:
        _tell(f"{parser.prog}: stopped by {signal.Signals(number).name}; the same command goes on from here")
    else:
        time.sleep(3)  # the signal usually reaches every rank: let rank 0 write what it has
    _abort(comm, 128 + number)
    return 128 + number


def _failed(comm: Communicator, parser: Parser, error: Exception) -> int:
    if isinstance(error, BrokenPipeError) and (unread := _unread()):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:  # what Python flushes in the end
            os.dup2(nowhere, stream)
        _abort(comm, UNREAD)
        return UNREAD
    complaint, agreed_upon = _complaint(error), getattr(error, "collective", False)
    status = 1 if complaint is None else 2
    if complaint is None:
        _tell(f"{parser.prog}: rank {comm.rank} of {comm.size} failed\n{traceback.format_exc()}")
    elif _number(comm) == 0 or not agreed_upon:
        _tell(printable(f"{parser.prog}: error: {complaint}"))
    if not agreed_upon:
        _abort(comm, status)
    return status


def _number(comm: Communicator) -> int:
    """This rank's; of all that were started, where they could not become ranks of one job."""
    mpi = sys.modules.get("mpi4py.MPI")
    return comm.rank if mpi is None or mpi.Is_finalized() else mpi.COMM_WORLD.rank


class _Terminal(logging.Handler):
    """Prints what is logged, warnings on standard error. An error in printing is the command's to handle."""

    def emit(self, record: logging.LogRecord) -> None:
        text = addressed(record.getMessage())
        if record.levelno < logging.WARNING:
            print("\n".join(map(printable, text.split("\n"))), flush=True)
        else:
            _tell(printable(text))


def _level(arguments: argparse.Namespace) -> int:
    quiet, verbose = (getattr(arguments, name, False) for name in ("quiet", "verbose"))
    return ANSWER if quiet else logging.DEBUG if verbose else logging.INFO


@contextlib.contextmanager
def _printing(level: int) -> Iterator[None]:
    """Print what the library logs from this level on, for the length of a ``with``."""
    terminal, before, propagate = _Terminal(), LOG.level, LOG.propagate
    LOG.addHandler(terminal)
    LOG.setLevel(level)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(terminal)
        LOG.setLevel(before)
        LOG.propagate = propagate


def printable(text: str) -> str:
    """Text as it may come to a terminal, which obeys control characters: these are escaped, line ends too.

    Names of files and what is in files are a stranger's choice.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def chosen(arguments: argparse.Namespace, *functions: Callable) -> dict:
    """Those of a command line's arguments that are parameters of functions, by name."""
    names = {name for function in functions for name in inspect.signature(function).parameters}
    return {name: value for name, value in vars(arguments).items() if name in names}


def _parsed(parser: Parser, words: list[str]) -> argparse.Namespace:
    """A command line whose numbers float32 and memory can hold, whose words can go into a file, whose OUT is one."""
    for word in words:
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in word):  # the latter are bytes that are no character
            raise BadInput(f"{word!r} is not UTF-8 text, which results files keep; rename it")
        if word.startswith("-") and word.endswith("=--"):  # which argparse takes for no value at all
            raise BadInput(f"{word} gives no value; give one (see --help)")
    arguments = parser.parse_args(words)
    for name, value in vars(arguments).items():
        option = f"--{name.replace('_', '-')}"
        least, most = (0, LARGEST_SEED) if name == "seed" else (-MOST, MOST)
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, int) and not least <= each <= most:
                raise BadInput(f"{option} is {each}; give " + ("0 or more" if each < 0 else f"{most:,} at most"))
            if isinstance(each, float) and not (each == 0 or 1e-37 < abs(each) < 3e38):
                raise BadInput(f"{option} is {each}; give a number that float32 can hold")
    out = getattr(arguments, "out", None)
    if isinstance(out, Path) and (not out.name or (out.exists() and not out.is_file())):
        raise BadInput(f"{out} is not a file to write to; name another one")
    return arguments


def _stop(number, frame):
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_IGN)  # the last flush must not be interrupted in turn
    STOPPED.append(number)
    raise _Stopped(number)


def _complaint(error: Exception) -> str | None:
    """What to say of an error that is the user's to mend, or that the machine leaves no choice in; None of a bug."""
    said = str(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in said or type(error).__name__ == "OutOfMemoryError":
        reason = said.partition("\n")[0] or "Python's own"
        return _short(f"there is not enough memory ({reason}); take fewer or smaller ones")
    if isinstance(error, OSError) and error.filename is not None:
        return _short(f"cannot use {error.filename}: {error.strerror}") + "; mend that, or name another one"
    # The library names its arguments; some of them are options of commands.
    return _short(said.replace('entry="NAME"', "--entry NAME")) if isinstance(error, BadInput) else None


def _unread() -> list[int]:
    """Which of standard output and standard error nobody reads any more; none on Windows, which does not tell."""
    if not hasattr(select, "poll"):
        return []
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)  # errors are told in any case
    return [stream for stream, event in poll.poll(0) if event & select.POLLERR]


def _short(text: str) -> str:
    """A long line without its middle: what is wrong is said at its beginning, what to do at its end."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"


def _tell(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who does not read it need not know
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()


def _abort(comm: Any, status: int) -> None:
    """End the other ranks too: they may be waiting for this one."""
    if comm.size > 1:
        time.sleep(0.5)  # the launcher may end before it has passed on what was said
        comm.Abort(status)
        os._exit(status)  # MPICH's call may return; MPI must not be ended in order then, messages are on their way
