"""Where a rank computes: the GPU of its number on this machine, else its share of the cores."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator

import torch

from landscape.engine.ranks import Communicator, node_share
from landscape.errors import BadInput
from landscape.log import say

__all__ = ["choose_device", "keep_freed_memory", "restored", "spare_memory"]


def choose_device(comm: Communicator, device: str = "auto") -> torch.device:
    """Choose this rank's device and settle its threads; every rank must call it.

    Parameters
    ----------
    comm : communicator
    device : "auto", "cpu" or "cuda"

    Notes
    -----
    Ranks beyond the number of GPUs share them in turn. On processors, the ranks of a machine divide
    its cores, so that their threads do not fight; OMP_NUM_THREADS, if set, is obeyed instead.
    """
    mine = node_share(comm)
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device is {device!r}; use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BadInput("--device cuda, but torch sees no GPU here; use --device cpu")
    if device != "cpu" and torch.cuda.is_available():
        chosen = torch.device("cuda", mine.local_rank % torch.cuda.device_count())
        _say_gpus(comm, chosen)
        torch.cuda.set_device(chosen)
        # The same bits at every point, and no reduced precision that nobody asked for.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        return chosen
    _say_gpus(comm, None)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(mine.cores)
    keep_freed_memory()
    return torch.device("cpu")


def _say_gpus(comm: Communicator, mine: torch.device | None) -> None:
    """Say which GPU each of several ranks has, a line for each machine, and whether it has it for itself."""
    if comm.size == 1:
        return
    gpu = None
    if mine is not None:
        of = torch.cuda.get_device_properties(mine)
        # Not by its number: ranks that a batch system has given one GPU each all call theirs cuda:0.
        gpu = f"{mine} ({of.name})", str(getattr(of, "uuid", (mine, os.environ.get("CUDA_VISIBLE_DEVICES"))))
    everyone = comm.allgather((socket.gethostname(), gpu))
    for machine in dict.fromkeys(name for name, gpu in everyone if gpu is not None):
        there = {rank: gpu for rank, (name, gpu) in enumerate(everyone) if name == machine and gpu is not None}
        own = len({uuid for _, uuid in there.values()}) == len(there)
        each = ", ".join(f"rank {rank} on {label}" for rank, (label, _) in there.items())
        say(comm, f"{machine}: {each}; {'each has a GPU of its own' if own else 'some share a GPU'}")


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """The number of torch's threads and the state of its generators are, after a ``with``, what they were before."""
    threads = torch.get_num_threads()
    # What has not been initialised has no state yet.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let what one batch leaves serve the next, instead of going back to the system page by page.

    glibc returns large blocks when they are freed and takes them anew when they are needed; with
    activations of some 10 MB that costs a fifth of the time of a network. Elsewhere this does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # the names of malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):  # the last is what Windows has for None
        set_option = ctypes.CDLL(None).mallopt
        set_option(mmap_threshold, 2**30)
        set_option(trim_threshold, 2**31 - 1)


def spare_memory(comm: Communicator, device: torch.device) -> int:
    """Bytes that a rank may fill with what it would otherwise compute again: half of its share of what is free.

    Every rank must call it.
    """
    ranks = max(1, sum(name == socket.gethostname() for name in comm.allgather(socket.gethostname())))
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:  # macOS and Windows do not tell
        free = 4 * 2**30
    return free // 2 // ranks
