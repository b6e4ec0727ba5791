"""Running the real commands, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

from files import ROOT
from warm import Warm

BIN = Path(sys.executable).parent

# One thread each: a test machine is busy, and threads that wait for each other on busy cores are slow.
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
WARM = Warm({**os.environ, **ENVIRONMENT})


def command(script, *arguments, ranks=None, check=True, fresh=False, env=None, cwd=None):
    """Run scripts/NAME.py, on so many ranks, and return the finished process.

    In forks of a process that has torch imported, see `warm`; with ``fresh``, in interpreters of their own.
    """
    call = [str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
    environment, cwd = {**os.environ, **ENVIRONMENT, **(env or {})}, str(cwd or os.getcwd())
    if not ranks and not fresh:
        done = WARM.run(call, cwd, environment, timeout=300)
    else:
        python = [sys.executable] if fresh else [sys.executable, "-S", *WARM.rank()]
        call = ["mpiexec", "-n", str(ranks), *python, "-m", "mpi4py", *call] if ranks else [*python, *call]
        done = subprocess.run(call, capture_output=True, text=True, timeout=300, env=environment, cwd=cwd)
    if check:
        assert done.returncode == 0, done.stderr
    return done
