"""How a command ends: by a signal, whatever a library makes of it, with one line and the signal's status."""

import os
import signal
import subprocess
import sys

import pytest
from files import ROOT
from patience import patient
from processes import ENVIRONMENT, WARM

SCRIPT = """
import os, signal, sys
from landscape.commands.cli import Parser, run

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
    return run(folder, SCRIPT, str(int(number)), str(swallowed))


def run(folder, script, *words):
    """The finished process of a script, a fork of one that has torch imported."""
    (folder / "measure.py").write_text(script)
    return WARM.run(
        [str(folder / "measure.py"), *words], str(folder), {**os.environ, **ENVIRONMENT}, timeout=patient(300)
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_signal_is_a_signal_even_if_a_library_makes_another_error_of_it(tmp_path, number, swallowed):
    done = ended(tmp_path, number, swallowed)
    assert done.returncode == 128 + number
    assert done.stderr == f"measure.py: stopped by {number.name}; the same command goes on from here\n"


def test_a_bug_is_told_with_its_traceback(tmp_path):
    done = ended(tmp_path, 0, False)
    assert done.returncode == 1 and "rank 0 of 1 failed" in done.stderr and "TypeError: a bug" in done.stderr


TALKS = """
from landscape.commands.cli import Parser, run
from landscape.log import note, say

def main(arguments, comm):
    note("about to talk")
    for number in range(3):
        say(comm, f"line {number}")

run(main, Parser(prog="talk.py", description="talks " * 2000))
"""


@pytest.mark.parametrize(("words", "both"), [([], False), ([], True), (["--help"], False)])
def test_a_command_whose_output_nobody_reads_ends_without_a_word(tmp_path, words, both):
    (tmp_path / "talk.py").write_text(TALKS)
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, tmp_path / "talk.py", *words]
    done = subprocess.run(call, stdout=writer, stderr=writer if both else subprocess.PIPE, env=environment)
    os.close(writer)
    assert done.returncode in ([128 + signal.SIGPIPE] if not words else [0, 128 + signal.SIGPIPE])
    if not both:
        assert done.stderr == (b"" if words else b"about to talk\n")


def test_what_another_pipe_breaks_is_a_bug(tmp_path):
    done = run(tmp_path, SCRIPT.replace('TypeError("a bug")', 'BrokenPipeError("elsewhere")'), "0", "False")
    assert done.returncode == 1 and "BrokenPipeError: elsewhere" in done.stderr
