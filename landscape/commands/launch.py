"""Start the ranks of a command: ``--ranks 4`` types the mpiexec in front of it.

The ranks are told the command without the option, so that files say the same, to the bit, whoever has started them.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

from landscape.engine.ranks import SerialComm, node_share
from landscape.errors import BadInput

__all__ = ["command_on", "launcher", "number_of", "ranks_option", "start", "started_by", "typed_ranks", "without_ranks"]

# What launchers tell each process that they start: its number, and how many there are.
STARTED = (
    ("TORCHELASTIC_RUN_ID", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PALS_RANKID", "PALS_SIZE"),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("PMIX_RANK", ""),
    ("RANK", "WORLD_SIZE"),
)
# An allocation may be of many machines, whose number of ranks is the batch system's to say: these are of this one.
HERE = {"HYDRA_LAUNCHER": "fork", "HYDRA_RMK": "user"}
GRACE = 30.0  # seconds in which ranks that are stopped write what they have
DEATH = 1  # PR_SET_PDEATHSIG of prctl(2)


def ranks_option(parser: argparse._ActionsContainer) -> None:
    """How many processes a command starts for itself; of no meaning to what it measures."""
    parser.add_argument(
        "--ranks",
        dest="mpi_ranks",
        metavar="N",
        type=_ranks,
        help="start so many processes on this machine, which share the work; all: one for each GPU, or else for each "
        "core. Needs MPI; not needed under mpiexec or srun",
    )


def _ranks(text: str) -> int | str:
    if text == "all" or (text.isascii() and text.isdigit() and int(text) > 0):
        return text if text == "all" else int(text)
    raise argparse.ArgumentTypeError(f"{text} is no number of processes; give 1 or more, or all")


def started_by(environment: Mapping[str, str] = os.environ) -> int | None:
    """How many processes a launcher has started this one as one of; 0 where it does not say, None where there is none.

    A shell that srun has started alone, to type commands in, is none.
    """
    for name, size in STARTED:
        number = environment.get(size, "" if size else "0")
        if name in environment and number.isdigit() and (name, number) != ("SLURM_PROCID", "1"):
            return int(number)
    return None


def without_ranks(words: Sequence[str]) -> list[str]:
    """What is typed, without ``--ranks``."""
    options = len([*takewhile("--".__ne__, words)])
    left: list[str] = []
    after = False
    for number, word in enumerate(words):
        if not after and not (number < options and word.startswith("--ranks=")):
            after = number < options and word == "--ranks"
            left += [] if after else [word]
        else:
            after = False
    return left


def typed_ranks(words: Sequence[str]) -> int | None:
    """The number of ranks on a command line that nobody has parsed; None where there are none to start at once."""
    options = [*takewhile("--".__ne__, words), ""]
    given = [word.partition("=")[2] for word in options if word.startswith("--ranks=")]
    given += [value for word, value in pairwise(options) if word == "--ranks"]
    if len(given) != 1 or {"-h", "--help"} & {*options} or started_by() is not None:
        return None
    number = int(given[0]) if given[0].isascii() and given[0].isdigit() else 1
    return number if number > 1 else None


def number_of(asked: int | str, device: str) -> tuple[int, str]:
    """How many ranks are asked for, and what each of them has where it is all: a GPU or a core."""
    if not isinstance(asked, str):
        return asked, ""
    if device != "cpu":
        import torch  # what knows of GPUs

        if gpus := torch.cuda.device_count():
            return gpus, "GPU"
    return node_share(SerialComm()).cores, "core"


def launcher() -> str | None:
    """The mpiexec of this environment, or else the first on the path; None where mpi4py is not installed."""
    if importlib.util.find_spec("mpi4py") is None:
        return None
    beside = Path(sys.executable).with_name("mpiexec")
    return str(beside) if beside.is_file() else shutil.which("mpiexec")


def command_on(ranks: int, command: Sequence[str]) -> list[str]:
    """A command of this Python on so many ranks: what is typed after ``python``, with mpiexec before it.

    Raises
    ------
    BadInput
        There is no MPI here.
    """
    mpiexec = launcher()
    if mpiexec is None:
        raise BadInput(
            f"--ranks {ranks} needs MPI, which is not installed here: pip install 'skipscape[mpich]'; or leave it out"
        )
    return [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py", *command]


def start(call: Sequence[str], ours: str) -> int:
    """Run a command of `command_on` to its end.

    It is in a process group of its own: Ctrl-C is for this process alone to hear of and hand on, once, and what
    launchers say of it is left out. Should this process be killed, the ranks end too.

    Parameters
    ----------
    call : the command
    ours : how lines of the command's own begin, which are shown even when it is stopped

    Returns
    -------
    Its status.

    Raises
    ------
    KeyboardInterrupt
        What this process was sent; by then the ranks have ended.
    """
    process = subprocess.Popen(
        call,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=HERE | os.environ,
        process_group=0,
        preexec_fn=_ends_with_parent(),
    )
    assert process.stderr is not None
    decoded = codecs.getincrementaldecoder("utf-8")("replace").decode
    try:
        while part := os.read(process.stderr.fileno(), 2**16):
            _show(decoded(part))
        status = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            _, rest = process.communicate(timeout=GRACE)
            _show("".join(line for line in decoded(rest).splitlines(True) if line.startswith(f"{ours}: error")))
        raise
    finally:
        process.kill()
        process.stderr.close()
    return status if status >= 0 else 128 - status


def _show(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # who does not read it need not know
        sys.stderr.write(text)
        sys.stderr.flush()


def _ends_with_parent() -> Callable[[], object] | None:
    """What a new process calls so that it is stopped should the one that has started it be gone; on Linux."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError, TypeError):  # the last is what Windows has for None
        return None
    return lambda: prctl(DEATH, signal.SIGTERM)
