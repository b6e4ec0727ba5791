"""--ranks: the same file to the bit as without it, the status of the ranks, and an end that takes all of them along."""

import os
import signal
import subprocess
import sys
import time

import pytest
from files import ROOT
from patience import patient
from processes import ENVIRONMENT, command

from landscape.engine.table import read

pytestmark = pytest.mark.mpi
LINE = ("--x", -1, 1, 5, "--examples", 100)


def test_ranks_that_a_command_starts_give_the_same_file(trained, tmp_path):
    for folder, ranks in (("without", ()), ("one", ("--ranks", 1)), ("two", ("--ranks=2",))):
        (tmp_path / folder).mkdir()
        command("surface", trained / "resnet.pt", "a.h5", *LINE, *ranks, "--quiet", cwd=tmp_path / folder)
    without, one, two = ((tmp_path / name / "a.h5").read_bytes() for name in ("without", "one", "two"))
    assert without == one == two


def test_what_ranks_refuse_the_command_refuses_in_the_same_line_with_their_status(trained, tmp_path):
    done = command("surface", tmp_path / "gone.pt", tmp_path / "a.h5", *LINE, "--ranks", 2, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("surface.py: error: there is no checkpoint") and done.stderr.count("\n") == 1


def test_under_a_launcher_no_ranks_are_started_and_another_number_is_said(trained, tmp_path):
    typed = ("surface", trained / "resnet.pt", tmp_path / "a.h5", *LINE, "-v")
    done = command(*typed, "--ranks", 3, ranks=2)
    assert done.stderr.count("--ranks 3 is left aside") == 1
    assert "rank 1 of 2" in done.stdout and "of 3" not in done.stdout
    assert "--ranks" not in read(tmp_path / "a.h5").attributes["command"]


def test_processes_of_torchrun_are_told_to_start_without_it(trained, tmp_path):
    environment = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
    done = command("surface", trained / "resnet.pt", tmp_path / "a.h5", *LINE, "--quiet", env=environment, check=False)
    assert done.returncode == 2 and "without it: --ranks 2" in done.stderr and not (tmp_path / "a.h5").exists()


def of_job(path):
    listed = subprocess.run(["pgrep", "-f", f"-m mpi4py .*{path} "], capture_output=True, text=True).stdout
    return listed.split()


@pytest.fixture
def job(trained, tmp_path):
    """A command that is measuring on ranks of its own, in an installation where nobody has typed mpiexec."""
    call = [sys.executable, ROOT / "scripts/surface.py", trained / "resnet.pt", tmp_path / "a.h5"]
    call += ["--x", -1, 1, 300, "--y", -1, 1, 300, "--quiet", "--ranks", 2]
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen([*map(str, call)], stderr=subprocess.PIPE, text=True, env=environment)
    while not ((tmp_path / "a.h5").exists() and read(tmp_path / "a.h5")["done"].any()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    yield process
    process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_ranks_in_one_line(job, tmp_path, number):
    before = read(tmp_path / "a.h5")["done"].sum()
    job.send_signal(number)
    _, said = job.communicate(timeout=patient(30))
    assert job.returncode == 128 + number
    assert said == f"surface.py: stopped by {number.name}; the same command goes on from here\n"
    assert not of_job(tmp_path / "a.h5") and read(tmp_path / "a.h5")["done"].sum() >= before


@pytest.mark.skipif(sys.platform != "linux", reason="what ends with its parent is Linux's to offer")
def test_ranks_do_not_outlive_the_command_that_has_started_them(job, tmp_path):
    job.kill()
    died = time.monotonic()
    while of_job(tmp_path / "a.h5"):
        assert time.monotonic() - died < patient(20)
        time.sleep(0.1)
