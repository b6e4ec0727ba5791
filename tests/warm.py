#!/usr/bin/env python3
"""Start commands in a tenth of the time: as forks of a process that has imported already what all of them need.

    warm.py FOLDER serve        the process that is forked; it ends when its standard input does
    warm.py FOLDER run …        in the place of python …: what a launcher starts as a rank

A new interpreter takes seconds to import torch, and the tests start some hundred commands. The second hands its
arguments, environment, output and its line to the launcher over to the first, and ends as its fork does; if it
dies, so does the fork. FOLDER/PID says which fork the process PID stands for. The first computes nothing, so that a
fork starts with no threads and no state but imports: everything is as in processes of their own, but for the seconds.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

# What commands import, but for MPI, which forks must not share.
USED = ("h5py", "matplotlib.figure", "scipy.stats", "sklearn.datasets", "torch._dynamo", "torch.fx", "tqdm")
USED += (
    "ensemble.lesions.trials",
    "landscape.planes.surface",
    "landscape.engine.check",
    "landscape.curvature.hessian",
    "landscape.planes.trajectory",
)
USED += ("landscape.training.loop",)


def serve(folder: str) -> None:
    import importlib

    for name in USED:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/draft")
    listener.listen(64)
    os.rename(f"{folder}/draft", f"{folder}/socket")  # who sees it is answered
    forks: dict[int, socket.socket] = {}
    events = select.poll()
    events.register(listener, select.POLLIN)
    events.register(sys.stdin, 0)  # the end of the other side is told all the same
    while True:
        for file, _ in events.poll(10):
            if file == sys.stdin.fileno():
                return
            if file == listener.fileno():
                connection = listener.accept()[0]
                if not (child := os.fork()):
                    listener.close()
                    for other in forks.values():
                        other.close()
                    _be(folder, connection)
                forks[child] = connection
                events.register(connection, 0)
            else:
                events.unregister(file)
                os.kill(next(fork for fork, connection in forks.items() if connection.fileno() == file), signal.SIGKILL)
        while forks and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with forks.pop(ended[0]) as connection:
                with contextlib.suppress(KeyError):
                    events.unregister(connection)
                with contextlib.suppress(OSError):  # the other side may be gone
                    connection.send(b"%d" % os.waitstatus_to_exitcode(ended[1]))


def _be(folder: str, connection: socket.socket) -> None:
    """Be the command."""
    import ctypes
    import runpy
    import traceback

    text, files, _, _ = socket.recv_fds(connection, 2**20, 8)
    while not text.endswith(b"\n"):
        text += connection.recv(2**20)
    pid, arguments, environment, cwd = json.loads(text)
    with open(f"{folder}/{pid}.draft", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{folder}/{pid}.draft", f"{folder}/{pid}")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    if len(files) > 2:
        environment["PMI_FD"] = str(files[2])
    os.environ.clear()
    os.environ.update(environment)
    status = 1
    try:
        os.chdir(cwd)
        module = arguments[1] if arguments[0] == "-m" else None
        sys.argv = arguments[1:] if module else arguments
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(arguments[0])
            runpy.run_path(arguments[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi and mpi.Is_initialized() and not mpi.Is_finalized():
        mpi.Finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).exit(status)  # MPICH tells its launcher only then that all is well


def ask(folder: str, arguments: list[str], environment: dict[str, str], cwd: str, files: list[int]) -> socket.socket:
    """Have a command forked; the line says how it has ended, as a number."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{folder}/socket")
    text = json.dumps([os.getpid(), arguments, environment, cwd]).encode() + b"\n"
    sent = socket.send_fds(connection, [text], files)
    connection.sendall(text[sent:])
    return connection


def run(folder: str, arguments: list[str]) -> None:
    files = [1, 2, *([int(os.environ["PMI_FD"])] if "PMI_FD" in os.environ else [])]
    connection = ask(folder, arguments, dict(os.environ), os.getcwd(), files)
    for number in (signal.SIGINT, signal.SIGTERM):  # the fork is told itself, and decides
        signal.signal(number, signal.SIG_IGN)
    status = int(connection.recv(100))
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


class Warm:
    """The process that is forked, as the tests see it; started when it is first asked."""

    def __init__(self, environment: dict[str, str]):
        self._environment = environment
        self._folder: tempfile.TemporaryDirectory | None = None

    @property
    def folder(self) -> str:
        """Where it listens."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
            name = self._folder.name
            serve = [sys.executable, __file__, name, "serve"]
            self.process = subprocess.Popen(serve, env=self._environment, stdin=subprocess.PIPE)
            while not os.path.exists(f"{name}/socket"):
                if self.process.poll() is not None:
                    raise RuntimeError("the process that runs the tests' commands did not start")
                time.sleep(0.01)
        return self._folder.name

    def rank(self) -> list[str]:
        """What a launcher starts, behind Python, for a rank that is a fork."""
        return [__file__, self.folder, "run"]

    def run(self, arguments: list[str], cwd: str, environment: dict[str, str], timeout: float):
        """The finished command, a script and its arguments, as of `subprocess.run`."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            files = [out.fileno(), err.fileno()]
            with ask(self.folder, arguments, environment, cwd, files) as connection:
                connection.settimeout(timeout)
                try:
                    status = int(connection.recv(100))
                except TimeoutError:
                    raise subprocess.TimeoutExpired(arguments, timeout) from None
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode())
        return subprocess.CompletedProcess(arguments, status, *said)


if __name__ == "__main__":
    if sys.argv[2] == "serve":
        serve(sys.argv[1])
    else:
        run(sys.argv[1], sys.argv[3:])
