"""MPI ranks: who else is here, and which share of the machine is ours.

A communicator is anything with ``rank``, ``size`` and the few calls below; `SerialComm` is one without
MPI. Every rank of a job must come to the collective calls (`collective_errors`, `node_share`) in the same order.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from landscape import __version__
from landscape.engine import heartbeat
from landscape.errors import BadInput

__all__ = [
    "Communicator",
    "NodeShare",
    "SerialComm",
    "collective_errors",
    "communicator",
    "describe_ranks",
    "node_share",
    "require_same",
    "world",
]

# What launchers tell each process they start, and how many processes that says there are.
LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")


class Communicator(Protocol):
    """What the library calls of MPI: mpi4py's communicators have it, and so has `SerialComm`.

    Where `size` is more than 1, `landscape.engine.sweep` calls ``send`` and ``recv`` as well.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def allgather(self, value: Any, /) -> list: ...

    def bcast(self, value: Any, /, root: int = 0) -> Any: ...

    def iprobe(self, source: int = ..., /) -> bool: ...


class SerialComm:
    """The communicator of a single process: a call that is given it measures by itself, whatever mpiexec has started.

    Attributes
    ----------
    rank, size : int
        0 and 1.

    Examples
    --------
    >>> comm = SerialComm()
    >>> comm.rank, comm.size, comm.allgather("alone")
    (0, 1, ['alone'])
    """

    rank, size = 0, 1

    def allgather(self, value: Any) -> list:
        """What every rank gives, in order.

        Parameters
        ----------
        value : object

        Returns
        -------
        list
            Of the one value.
        """
        return [value]

    def bcast(self, value: Any, root: int = 0) -> Any:
        """What the root gives.

        Parameters
        ----------
        value : object
        root : int
            There is only 0.

        Returns
        -------
        object
            The value.
        """
        return value

    def iprobe(self, *args: Any, **kwargs: Any) -> bool:
        """Whether a message has come.

        Parameters
        ----------
        *args
            As of mpi4py.
        **kwargs
            As of mpi4py.

        Returns
        -------
        bool
            Never.
        """
        return False


def world() -> Communicator:
    """All ranks of this job: MPI's if there is MPI, else this process alone.

    Raises
    ------
    BadInput
        A launcher started several processes that cannot see each other: each would take itself
        for rank 0 and all would write one file. Or they run other code, or were told otherwise: nobody would
        know whose numbers are in the file.
    """
    launched = _launched()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py is there, its MPI library is not
        if launched > 1:
            raise BadInput(
                f"started as one of {launched} processes, but mpi4py cannot be used "
                f"({str(error).splitlines()[0]}); install it: pip install mpi4py"
            ) from error
        return SerialComm()
    if launched > 1 and MPI.COMM_WORLD.size == 1:
        raise BadInput(
            f"started as one of {launched} processes that cannot see each other: this mpiexec belongs to another "
            "MPI than mpi4py; use the mpiexec of the same MPI (which -a mpiexec)"
        )
    if MPI.COMM_WORLD.size > 1 and MPI.Query_thread() < MPI.THREAD_SERIALIZED:
        raise BadInput("this MPI was built without threads (MPI_THREAD_SERIALIZED); use one that has them")
    if MPI.COMM_WORLD.size > 1:
        heartbeat.begin(MPI.COMM_WORLD, threads=MPI.Query_thread() == MPI.THREAD_MULTIPLE)
        script, *words = sys.argv
        command = " ".join([os.path.basename(script), *words])
        require_same(
            MPI.COMM_WORLD, {"version of skipscape": __version__, "code of skipscape": _code(), "command": command}
        )
    return MPI.COMM_WORLD


def communicator(comm: Communicator | None = None) -> Communicator:
    """The ranks that take part in a call: those given, or all that mpiexec has started, or this process alone.

    Under mpiexec every call without a communicator is collective: all ranks make it alike.
    """
    if comm is not None:
        return comm
    return world() if _launched() > 1 else SerialComm()


def _launched() -> int:
    """How many processes a launcher says that it has started."""
    return max((int(os.environ[name]) for name in LAUNCHED if os.environ.get(name, "").isdigit()), default=1)


class NodeShare(NamedTuple):
    """A rank's part of its machine."""

    local_rank: int  # among the ranks on this machine: the number of its GPU
    cores: int  # processor cores it may keep busy


def node_share(comm: Communicator) -> NodeShare:
    """This rank's part of its machine, so that the ranks there do not fight over cores.

    A core that several ranks may run on counts for each by its fraction: ranks that a batch system
    has bound to cores of their own keep them all, unbound ranks divide the machine evenly.
    """
    if hasattr(os, "sched_getaffinity"):
        mine = frozenset(os.sched_getaffinity(0))
    else:  # macOS and Windows have no affinity
        mine = frozenset(range(os.cpu_count() or 1))
    machine = socket.gethostname()
    everyone = comm.allgather((machine, mine))
    users = Counter(core for name, cores in everyone if name == machine for core in cores)
    local_rank = sum(name == machine for name, _ in everyone[: comm.rank])
    return NodeShare(local_rank, max(1, int(sum(1 / users[core] for core in mine) + 1e-9)))


@contextlib.contextmanager
def collective_errors(comm: Communicator) -> Iterator[None]:
    """What one rank finds wrong with the input, all ranks raise, within ``with collective_errors(comm)``.

    Without it, the rank whose node lacks a file would stop and the others would wait for it.
    """
    complaint = None
    try:
        yield
    except BadInput as error:
        complaint = str(error)
    complaints = [said for said in comm.allgather(complaint) if said is not None]
    if complaints:
        common = BadInput(complaints[0])
        common.collective = True
        raise common


def describe_ranks(comm: Communicator) -> list[str]:
    """A line for each rank: its machine, its process, and what it computes with. Collective."""
    where = f"rank {comm.rank} of {comm.size}: {socket.gethostname()}, process {os.getpid()}"
    torch = sys.modules.get("torch")  # not every experiment needs it
    if torch is not None:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            where += f", cuda:{torch.cuda.current_device()} ({torch.cuda.get_device_name()})"
        else:
            threads = torch.get_num_threads()
            where += f", {threads} thread{'s' * (threads > 1)}"
    return comm.allgather(where)


def require_same(comm: Communicator, mine: Mapping[str, object]) -> None:
    """See that all ranks have the same; every rank must call it.

    Parameters
    ----------
    comm : communicator
    mine : what this rank has, by name, in the order in which a difference is told

    Raises
    ------
    BadInput
        On every rank, if any has something else than rank 0.
    """
    everyone = comm.allgather((socket.gethostname(), {name: str(value) for name, value in mine.items()}))
    (at, first), *others = everyone
    for rank, (host, other) in enumerate(others, 1):
        for name in {**first, **other}:
            if first.get(name) != other.get(name):
                error = BadInput(
                    f"the {name} of rank {rank} on {host} is {other.get(name, 'nothing')}, that of rank 0 on {at} "
                    f"{first.get(name, 'nothing')}; start all ranks with the same"
                )
                error.collective = True
                raise error


def _code() -> str:
    """A digest of the code of both packages, which tells versions apart that are called the same."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for wing in ("landscape", "ensemble") for path in root.joinpath(wing).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
