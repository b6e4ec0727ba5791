"""Memory that there is, asked before it is taken."""

from __future__ import annotations

import sys

from landscape.errors import BadInput

__all__ = ["guard_memory"]


def guard_memory(size: int, what: str) -> None:
    """Refuse what cannot fit, rather than have the system kill us halfway; ``size`` in bytes."""
    free = _free_memory()
    if size > free:
        raise BadInput(f"{what} needs {size / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are free; take less")


def _free_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # only Linux tells
        return sys.maxsize
