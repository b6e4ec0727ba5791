"""Commands as they are typed, but in this process: what they say, how they end, and nothing left behind."""

import contextlib
import io
import runpy
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import torch
from files import ROOT

from landscape.commands import cli
from landscape.engine.ranks import SerialComm

SCRIPTS = {}


def script(name):
    """The functions of scripts/NAME.py."""
    if name not in SCRIPTS:
        SCRIPTS[name] = runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))
    return SCRIPTS[name]


def typed(name, *words, folder="."):
    """Run scripts/NAME.py in a folder, on one rank: its status, its output, and what it says on standard error."""
    functions = script(name)
    with (
        _kept(),
        contextlib.chdir(folder),
        warnings.catch_warnings(),
        mock.patch.object(warnings, "showwarning", _warn),
        mock.patch.object(sys, "argv", [str(ROOT / "scripts" / f"{name}.py"), *map(str, words)]),
        mock.patch.object(cli, "world", SerialComm),
        contextlib.redirect_stderr(io.StringIO()) as errors,
        contextlib.redirect_stdout(io.StringIO()) as output,
    ):
        warnings.simplefilter("always")
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)
        try:
            cli.run(functions["main"], functions["parser"]())
        except SystemExit as end:
            return end.code, output.getvalue(), errors.getvalue()


@contextlib.contextmanager
def _kept():
    """What a command changes in its process is as it was: signals, threads, modules of the user's."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads, path, modules = torch.get_num_threads(), list(sys.path), set(sys.modules)
    mpi = sys.modules.pop("mpi4py.MPI", None)  # which a command that fails would end
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if mpi:
            sys.modules["mpi4py.MPI"] = mpi
        for number, handler in handlers.items():
            signal.signal(number, handler)
        sys.path[:] = path
        for name in sys.modules.keys() - modules:
            file = Path(getattr(sys.modules[name], "__file__", None) or "")
            if file.is_relative_to(tempfile.gettempdir()) and not file.is_relative_to(ROOT):  # whose .venv stays
                del sys.modules[name]


def _warn(message, category, *_, **__):
    """What Python does with warnings, and pytest does not."""
    sys.stderr.write(f"{category.__name__}: {message}\n")
