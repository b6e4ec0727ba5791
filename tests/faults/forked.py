#!/usr/bin/env python3
"""Start ranks in a tenth of the time: as forks of a process that has torch imported.

    forked.py FOLDER serve        the process that is forked, one for all runs
    forked.py FOLDER run …        in the place of python …: what a launcher starts as a rank

The second hands its arguments, environment, output and its line to the launcher over to the first, and ends as its
fork does; if it dies, so does the fork. FOLDER/PID says which fork the process PID stands for. Everything is as in
ranks of their own, but for the seconds in which Python imports.
"""

import contextlib
import ctypes
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback

# What runs import, but for MPI, which forks must not share.
USED = ("scipy.stats", "sklearn.datasets", "torch.fx", "torch._dynamo", "tqdm", "ensemble.trials", "landscape.surface")
USED += ("landscape.check", "landscape.curvature", "landscape.experiment", "landscape.trajectory", "landscape.training")
LONGEST = 2**20  # bytes of a request


def serve(folder: str) -> None:
    for name in USED:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(f"{folder}/socket")
    listener.listen(64)
    forks: dict[int, socket.socket] = {}
    events = select.poll()
    events.register(listener, select.POLLIN)
    while True:
        for file, _ in events.poll(10):
            if file == listener.fileno():
                connection = listener.accept()[0]
                if not (child := os.fork()):
                    listener.close()
                    for other in forks.values():
                        other.close()
                    answer(folder, connection)
                forks[child] = connection
                events.register(connection, 0)  # the end of the other side is told all the same
            else:
                events.unregister(file)
                os.kill(next(fork for fork, connection in forks.items() if connection.fileno() == file), signal.SIGKILL)
        while forks and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with forks.pop(ended[0]) as connection:
                with contextlib.suppress(KeyError):
                    events.unregister(connection)
                with contextlib.suppress(OSError):  # the other side may be gone
                    connection.send(b"%d" % os.waitstatus_to_exitcode(ended[1]))


def answer(folder: str, connection: socket.socket) -> None:
    """Be the rank."""
    text, files, _, _ = socket.recv_fds(connection, LONGEST, 8)
    pid, arguments, environment, cwd = json.loads(text)
    with open(f"{folder}/{pid}.draft", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{folder}/{pid}.draft", f"{folder}/{pid}")
    os.dup2(files[0], 1)
    os.dup2(files[1], 2)
    if len(files) > 2:
        environment["PMI_FD"] = str(files[2])
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    status = 1
    try:
        module = arguments[1] if arguments[0] == "-m" else None
        sys.argv = arguments[1:] if module else arguments
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
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


def run(folder: str, arguments: list[str]) -> None:
    files = [1, 2, *([int(os.environ["PMI_FD"])] if "PMI_FD" in os.environ else [])]
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(f"{folder}/socket")
    request = json.dumps([os.getpid(), arguments, dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(connection, [request], files)
    for number in (signal.SIGINT, signal.SIGTERM):  # the fork is told itself, and decides
        signal.signal(number, signal.SIG_IGN)
    status = int(connection.recv(100))
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[2] == "serve":
        serve(sys.argv[1])
    else:
        run(sys.argv[1], sys.argv[3:])
