"""Running the real commands."""

import os
import subprocess
import sys
from pathlib import Path

from files import ROOT
from patience import patient
from typed import typed
from warm import Warm

BIN = Path(sys.executable).parent

# One thread each: a test machine is busy, and threads that wait for each other on busy cores are slow.
ENVIRONMENT = {"PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
WARM = Warm({**os.environ, **ENVIRONMENT})


def command(script, *arguments, ranks=None, check=True, fresh=False, env=None, cwd=None):
    """Run scripts/NAME.py and give the finished process.

    It runs in this process, see `typed`; with an environment of its own in a fork of one that has torch imported, see
    `warm`; on so many ``ranks`` in such forks too; and ``fresh`` in interpreters of its own.
    """
    call = [str(ROOT / "scripts" / f"{script}.py"), *map(str, arguments)]
    environment, folder = {**os.environ, **ENVIRONMENT, **(env or {})}, str(cwd or os.getcwd())
    if ranks or fresh:
        python = [sys.executable] if fresh else [sys.executable, "-S", *WARM.rank()]
        call = ["mpiexec", "-n", str(ranks), *python, "-m", "mpi4py", *call] if ranks else [*python, *call]
        done = subprocess.run(call, capture_output=True, text=True, timeout=patient(300), env=environment, cwd=folder)
    elif env:
        done = WARM.run(call, folder, environment, timeout=patient(300))
    else:
        done = subprocess.CompletedProcess(call, *typed(script, *arguments, folder=folder))
    if check:
        assert done.returncode == 0, done.stderr
    return done
