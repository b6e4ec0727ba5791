"""Run a script as a command does, in a process that has imported already what all of them need.

A new interpreter takes seconds to import torch, and the tests start some hundred commands. Here one is started
once. For each command it forks: a child with its own arguments, folder, environment, standard output and error,
which runs the script as ``__main__`` and ends. The server itself computes nothing, so that a child starts with no
threads and no state but imports. Commands on several ranks, and those that are killed, are started as users do.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import subprocess
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import Client, Connection, Listener


def serve(address: str) -> None:
    """Answer (script, arguments, folder, environment) with (status, output, error) until the other end closes."""
    with Listener(address, "AF_UNIX") as listener, listener.accept() as connection:
        for name in (
            "h5py",
            "matplotlib.figure",
            "numpy",
            "scipy.stats",
            "sklearn.datasets",
            "torch",
            "torch.fx",
            "tqdm",
        ):
            __import__(name)
        connection.send("ready")
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            connection.send(_answer(*request))


def _answer(script: str, arguments: list[str], folder: str, environment: dict[str, str]) -> tuple[int, str, str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os._exit(_run(script, arguments, folder, environment, out.fileno(), err.fileno()))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told = []
        for file in (out, err):
            file.seek(0)
            told.append(file.read().decode())
        return status, *told


def _run(script: str, arguments: list[str], folder: str, environment: dict[str, str], out: int, err: int) -> int:
    status = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = [script, *arguments]
        sys.path[0] = os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return status


class Warm:
    """The server as the tests see it; started when it is first asked."""

    def __init__(self):
        self.connection: Connection | None = None
        self.folder: tempfile.TemporaryDirectory | None = None

    def run(self, script: str, arguments: list[str], folder: str, environment: dict[str, str], timeout: float):
        """The finished command, as of `subprocess.run`."""
        if self.connection is None:
            self._start(environment)
        self.connection.send((script, arguments, folder, environment))
        if not self.connection.poll(timeout):
            self.process.kill()
            self.connection = None
            raise subprocess.TimeoutExpired([script, *arguments], timeout)
        status, out, err = self.connection.recv()
        return subprocess.CompletedProcess([script, *arguments], status, out, err)

    def _start(self, environment: dict[str, str]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        address = f"{self.folder.name}/commands"
        self.process = subprocess.Popen([sys.executable, __file__, address], env=environment, stdin=subprocess.DEVNULL)
        while self.connection is None:
            if self.process.poll() is not None:
                raise RuntimeError("the process that runs the tests' commands did not start")
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # not there, or not listening yet
                self.connection = Client(address, "AF_UNIX")
            time.sleep(0.01)
        self.connection.recv()  # ready


if __name__ == "__main__":
    serve(sys.argv[1])
