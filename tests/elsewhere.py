"""A command on a system that is not here: what Linux has and that system lacks is taken away, what it refuses, refused.

``python elsewhere.py windows`` reads commands from its input, a line each: ``surface net.pt net.h5 …``; ``import``
imports all our modules. It stands in for what can be known of another system without having one; libraries below ours
keep what they took at import.
"""

import ctypes
import importlib
import mmap
import os
import pkgutil
import runpy
import select
import shlex
import signal
import sys

import filelock._lease  # noqa: F401
import h5py  # noqa: F401
import matplotlib.backends.backend_agg
import matplotlib.backends.backend_pdf
import matplotlib.font_manager  # noqa: F401
import PIL.Image  # noqa: F401
import plotly  # noqa: F401
import scipy.interpolate
import scipy.stats  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch  # noqa: F401
import torchvision  # noqa: F401
import tqdm  # noqa: F401

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog")
NAMES = {
    os: (
        *("fork", "forkpty", "sched_getaffinity", "getuid", "geteuid", "getgid", "uname", "statvfs", "sysconf"),
        *(
            "sysconf_names",
            "preadv",
            "pread",
            "pwrite",
            "killpg",
            "getpgid",
            "setsid",
            "fchmod",
            "mkfifo",
            "getloadavg",
        ),
    ),
    signal: (
        *("SIGKILL", "SIGHUP", "SIGALRM", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGCHLD", "alarm", "setitimer"),
        *("ITIMER_REAL", "pause", "sigwait", "pthread_kill", "pthread_sigmask"),
    ),
    select: ("poll", "epoll"),
    mmap: ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_DONTNEED"),
}
DLL = ctypes.CDLL


class Here:
    """The module sys with the system that there is, for libraries that look at it when they are called."""

    platform = sys.platform

    def __getattr__(self, name):
        return getattr(sys, name)


def windows():
    """No POSIX; files that are open can neither be replaced nor removed; some characters are in no name of a file."""
    from fcntl import F_GETFL
    from fcntl import fcntl as control

    sync = os.fsync

    def fsync(file):
        if control(file, F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        sync(file)

    class Library(DLL):
        def __init__(self, name, *arguments, **more):
            if name is None:
                raise TypeError("argument of type 'NoneType' is not iterable")
            super().__init__(name, *arguments, **more)

    _system("win32")
    os.fsync, ctypes.CDLL = fsync, Library
    sys.modules.update(dict.fromkeys(MODULES))
    for module, names in NAMES.items():
        for name in names:
            delattr(module, name)
    sys.addaudithook(_refuse)


def macos():
    """No affinity, no /proc, no word of free memory."""
    _system("darwin")
    del os.sched_getaffinity, os.sysconf_names["SC_AVPHYS_PAGES"]
    sys.addaudithook(_without_proc)


def _system(name):
    for module in [module for name, module in sys.modules.items() if name.startswith("filelock")]:
        if hasattr(module, "sys"):
            module.sys = Here()
    sys.platform = name


def _without_proc(event, arguments):
    if event == "open" and str(arguments[0]).startswith(("/proc", "/dev/shm")):
        raise FileNotFoundError(2, "No such file or directory", arguments[0])


def _refuse(event, arguments):
    paths = {"os.rename": arguments[:2], "os.remove": arguments[:1], "open": arguments[:1]}.get(event, ())
    for path in map(os.fsdecode, (path for path in paths if isinstance(path, str | bytes | os.PathLike))):
        if event == "open":
            if str(arguments[1])[:1] in "wax" and set(os.path.basename(path)) & set('<>:"|?*'):
                raise OSError(22, "Invalid argument", path)
        elif os.path.realpath(path) in _in_use():
            raise PermissionError(13, "The process cannot access the file because it is being used", path)
    if event == "os.symlink":
        raise OSError(1314, "A required privilege is not held by the client")


def _in_use():
    """Files that this process has open or mapped."""
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the listing itself
            continue
    with open("/proc/self/maps") as lines:
        yield from {line.split(maxsplit=5)[5].rstrip("\n") for line in lines if "/" in line}


def main():
    {"windows": windows, "macos": macos}[sys.argv[1]]()
    sys.modules["mpi4py"] = None  # it would look for the MPI of that system
    for line in sys.stdin:
        words = shlex.split(line)
        if words == ["import"]:
            _import_all()
            continue
        sys.argv = ["skipscape", *words]
        try:
            runpy.run_module("skipscape", run_name="__main__")
        except SystemExit as end:
            print(f"{words[0]}: status {end.code}", flush=True)


def _import_all():
    for wing in ("landscape", "ensemble", "skipscape"):
        for module in pkgutil.walk_packages(importlib.import_module(wing).__path__, f"{wing}."):
            if not any(part in module.name for part in ("development", "studies", "__main__")):
                importlib.import_module(module.name)


if __name__ == "__main__":
    main()
