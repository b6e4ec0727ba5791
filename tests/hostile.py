"""Input that cannot be used, and what becomes of it: a refusal in one line, and nothing else.

`refused` runs a real command in this process, without more memory than it has a use for.
"""

import contextlib
import resource
import signal
from pathlib import Path

from typed import typed

from landscape.commands import cli
from landscape.errors import BadInput

ROOM = 2**30  # bytes that a refusal may need on top of what the process has
LONG = 60  # seconds after which it hangs


@contextlib.contextmanager
def bounded():
    """Little memory and little time, for the length of a ``with``."""

    def hung(*_):
        raise TimeoutError(f"no end after {LONG} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(LONG)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError):  # only Linux tells what there is
        status = Path("/proc/self/status").read_text()
        held = next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (held + ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ran(name, *words, folder):
    """Run scripts/NAME.py in a folder, in this process: its status, and what it says on standard error."""
    with bounded():
        status, output, said = typed(name, *words, folder=folder)
    assert all(line.isprintable() for line in output.splitlines()), output
    return status, said


def refused(name, *words, folder):
    """Assert that a command refuses what it is given: one printable line, status 2, no file changed. The line."""
    before = listed(folder)
    status, said = ran(name, *words, folder=folder)
    assert status == 2, said
    assert said.endswith("\n") and said[:-1].isprintable() and said.startswith(f"{name}.py: error: "), said
    assert len(said) < 3000
    assert listed(folder) == before
    return said


def complaint(function, *arguments, **options):
    """Assert that a call ends with BadInput, in one line once it is printed, and give that."""
    try:
        with bounded():
            function(*arguments, **options)
    except BadInput as error:
        said = cli.printable(str(error))
        assert said and len(said) < 10_000
        return said
    raise AssertionError("it was taken")


def listed(folder):
    """Everything in a folder, files with the times of the last change; that of a folder tells of locks too."""

    def state(path):
        return None if path.is_dir() and not path.is_symlink() else (path.lstat().st_mtime_ns, path.lstat().st_size)

    return [(str(path), state(path)) for path in sorted(Path(folder).rglob("*"))]


class Call:
    """Pickled, it is a call of a function: what a payload is."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced
