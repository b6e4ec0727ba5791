"""A look at a file in a process of its own, with limits: what breaks HDF5, or keeps it busy for ever, breaks that one.

HDF5 is not made for files that are damaged on purpose or by chance: it may end the process that opens one, or never
come back. Files with a whole seal (`landscape.checksum`) are as they were written and need no such care.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

__all__ = ["limit", "survives"]

SECONDS = 5  # of a processor, and one for every 10 MB of the file
MEMORY = 2**31  # bytes, and four for every byte of the file

TRY = """
import sys
from pathlib import Path
from landscape.apart import limit
from landscape.results import attempt
path = Path(sys.argv[1])
limit(path.stat().st_size)
attempt(path)
"""


def survives(path: Path) -> bool:
    """Whether a process that reads a results file comes to an end of its own, with whatever result."""
    call = [sys.executable, "-c", TRY, str(path.absolute())]
    root = str(Path(__file__).parents[1])  # where this package lies, installed or not
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    return subprocess.run(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode >= 0


def limit(size: int) -> None:
    """Let this process have no more time and memory than a file of so many bytes explains."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(own.ru_utime + own.ru_stime + SECONDS + size / 10**7)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    with contextlib.suppress(OSError, ValueError):  # not everywhere can memory be limited
        own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (own + 4 * size + MEMORY,) * 2)
