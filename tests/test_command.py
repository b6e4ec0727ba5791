"""How a command ends: by a signal, whatever a library makes of it, with one line and the signal's status."""

import signal
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, ROOT

SCRIPT = """
import os, signal, sys
from landscape.command import Parser, run

def main(arguments, comm):
    number, swallowed = int(arguments.number), arguments.swallowed == "True"
    try:
        if number:
            os.kill(os.getpid(), number)
            signal.pause()
        raise TypeError("a bug")
    except KeyboardInterrupt as error:
        if swallowed:  # as NumPy does where it compares structured arrays
            raise TypeError("cannot compare") from error
        raise

parser = Parser(prog="measure.py")
parser.add_argument("number")
parser.add_argument("swallowed")
run(main, parser)
"""


def ended(folder, number, swallowed):
    (folder / "measure.py").write_text(SCRIPT)
    call = [sys.executable, folder / "measure.py", str(int(number)), str(swallowed)]
    return subprocess.run(call, capture_output=True, text=True, env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_is_a_signal_even_if_a_library_makes_another_error_of_it(tmp_path, number, swallowed):
    done = ended(tmp_path, number, swallowed)
    assert done.returncode == 128 + number
    assert done.stderr == f"measure.py: stopped by {number.name}; the same command goes on from here\n"


def test_a_bug_is_told_with_its_traceback(tmp_path):
    done = ended(tmp_path, 0, False)
    assert done.returncode == 1 and "rank 0 of 1 failed" in done.stderr and "TypeError: a bug" in done.stderr
