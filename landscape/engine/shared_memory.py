"""Keep large arrays once per machine: one rank loads them, the others use its memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from landscape.engine.ranks import Communicator, collective_errors

__all__ = ["load_once_per_node"]

Rest = TypeVar("Rest")
LARGE = 2**24  # bytes; what is smaller every rank may have for itself
WINDOWS: list[object] = []  # shared memory lives as long as its MPI window, and that as long as the process


def load_once_per_node(
    comm: Communicator, make: Callable[[], tuple[Rest, list[np.ndarray]]], large: int = LARGE
) -> tuple[Rest, list[np.ndarray]]:
    """Call a function on one rank of each machine, and share its arrays. Collective.

    Parameters
    ----------
    comm : communicator
    make : returns anything small that can be pickled, and arrays; it may raise BadInput
    large : bytes of arrays from which they are shared

    Returns
    -------
    What `make` returns. The arrays of all ranks of a machine are the same memory, so nobody may
    write to them; where they are small, or the machine has too little shared memory, each rank has made
    its own.
    """
    if comm.size == 1 or not hasattr(comm, "Split_type"):
        return make()
    from mpi4py import MPI

    machine = comm.Split_type(MPI.COMM_TYPE_SHARED)
    rest: Any = None
    arrays: list[Any] = []
    with collective_errors(machine):
        if machine.rank == 0:
            rest, arrays = make()
    sizes = machine.bcast([a.nbytes for a in arrays])
    if machine.size == 1:
        return rest, arrays
    if sum(sizes) < large or not machine.bcast(_room_for(sum(sizes))):
        return (rest, arrays) if machine.rank == 0 else make()
    rest, forms = machine.bcast((rest, [(a.shape, a.dtype.str) for a in arrays]))
    shared = []
    for number, (shape, dtype) in enumerate(forms):
        size = math.prod(shape) * np.dtype(dtype).itemsize
        window = MPI.Win.Allocate_shared(size if machine.rank == 0 else 0, 1, comm=machine)
        buffer: Any = window.Shared_query(0)[0]
        shared.append(np.ndarray(shape, dtype, buffer=buffer))
        if machine.rank == 0:
            shared[-1][...] = arrays[number]
            arrays[number] = None  # never twice in memory for longer than it takes
        WINDOWS.append(window)
    machine.Barrier()
    return rest, shared


def _room_for(size: int) -> bool:
    """Whether so much shared memory can be had; containers often have little, and kill who takes more."""
    try:
        free = os.statvfs("/dev/shm")
    except (OSError, AttributeError):  # no such folder, no such call: not Linux
        return True
    return free.f_bavail * free.f_frsize > 1.1 * size
