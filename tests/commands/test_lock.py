"""Of several jobs on one output, exactly one writes; a dead one is in nobody's way."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from files import ROOT
from patience import patient
from processes import ENVIRONMENT

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.engine.lock import _clear, _look, acquire
from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.networks import build

QUICK = {"silence": 1.0, "beat": 0.1}  # seconds

# Lock an output when told to, or see whether that still holds, and say whether that went well. What filelock takes for
# the machine decides whether it knows how to exchange two names; no file system can on one that it does not know.
JOB = """
import platform, sys
if sys.argv[1] == "cannot exchange names":
    platform.machine = lambda: "unknown"
from landscape.errors import BadInput
from landscape.engine.lock import acquire
print("ready", flush=True)
for line in sys.stdin:
    try:
        if line.strip():
            lock, _ = acquire(line.strip(), silence=1.0, beat=0.1)
        else:
            lock.check()
        print("mine", flush=True)
    except BadInput as error:
        print(error, flush=True)
if len(sys.argv) > 2:
    raise ValueError(sys.argv[2])
"""


class Job(subprocess.Popen):
    """Another process, which locks what it is told to."""

    def __init__(self, *words):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        super().__init__([sys.executable, "-c", JOB, *(words or [""])], **pipes, text=True, bufsize=1)
        assert self.hears() == "ready"

    def tell(self, out=""):
        self.stdin.write(f"{out}\n")

    def hears(self):
        return self.stdout.readline().strip()

    def locks(self, out):
        self.tell(out)
        return self.hears()

    def __exit__(self, *error):
        self.kill()
        super().__exit__(*error)


def marker_of(out):
    return out.with_name(f".{out.name}.running")


def left(out, **changes):
    """The marker of a job that was killed, but for some of what it says."""
    lock, _ = acquire(out, **QUICK)
    text = marker_of(out).read_text()
    lock.release()
    for name, value in changes.items():
        text = re.sub(f"^{name}=.*$", f"{name}={value}", text, flags=re.M)
    marker_of(out).write_text(text)


GONE = {"pid": 2**31 - 1}  # more than there can be


@pytest.fixture
def out(tmp_path):
    return tmp_path / "a.h5"


def test_the_second_job_is_told_who_has_the_output_since_when_and_what_to_do(out):
    with Job() as first, Job() as second:
        assert first.locks(out) == "mine"
        said = second.locks(out)
        host = re.escape(os.uname().nodename)
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
        assert re.search(rf"a.h5 is being written by process {first.pid} on host {host} since {since}; wait", said)
        assert said.endswith("wait for it, or give another output file")
        assert second.locks(out.with_name("b.h5")) == "mine"


@pytest.mark.parametrize("words", [["", "a bug"], [""]], ids=["by an exception", "normally"])
def test_a_job_that_ends_leaves_nothing(out, words):
    with Job(*words) as job:
        assert job.locks(out) == "mine"
        assert marker_of(out).exists()
        job.stdin.close()
        assert job.wait(60) == len(words) - 1
        assert list(out.parent.iterdir()) == []


def test_a_killed_job_is_in_nobodys_way_not_even_as_a_zombie(out):
    with Job() as first, Job() as second:
        assert first.locks(out) == "mine"
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
        assert second.locks(out) == "mine"
        assert [path.name for path in out.parent.iterdir()] == [marker_of(out).name]


@pytest.mark.parametrize("where", ["can exchange names", "cannot exchange names"])
@pytest.mark.parametrize("before", ["nobody", "a dead job", "a dead job on another host"])
def test_of_four_jobs_at_once_exactly_one_gets_the_output(out, before, where):
    jobs = [Job(where) for _ in range(4)]
    paths = [out.with_name(f"{number}.h5") for number in range(3)]
    try:
        for path in paths:
            if before != "nobody":
                left(path, **GONE, **({"host": "far"} if "host" in before else {}))
            for job in jobs:
                job.tell(path)
            said = [job.hears() for job in jobs]
            assert said.count("mine") == 1, said
            assert sum("is being written by" in line for line in said) == 3, said
            assert [p.name for p in out.parent.glob(f".{path.name}*")] == [marker_of(path).name]
    finally:
        for job in jobs:
            job.__exit__(None, None, None)


def test_who_finds_a_dead_job_too_late_leaves_its_successor_alone(out):
    left(out, **GONE)
    dead = _look(marker_of(out))
    with Job() as other:
        assert other.locks(out) == "mine"
        theirs = marker_of(out).read_text()
        _clear(marker_of(out), dead)
        assert marker_of(out).read_text() == theirs
        assert [path.name for path in out.parent.iterdir()] == [marker_of(out).name]


def test_a_job_that_was_stopped_and_goes_on_sees_that_its_output_is_anothers(out):
    with Job() as job:
        assert job.locks(out) == "mine"
        job.send_signal(signal.SIGSTOP)
        lock, (note,) = acquire(out, **QUICK)
        assert f"was being written by process {job.pid}" in note
        job.send_signal(signal.SIGCONT)
        job.tell()
        assert f"{out} was taken over by process {os.getpid()} on host" in job.hears()
        lock.check()


def test_a_forked_process_neither_has_the_lock_nor_takes_it_away(out):
    lock, _ = acquire(out, **QUICK)
    if not (child := os.fork()):
        lock.release()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert marker_of(out).exists()
    lock.check()


def surface(path):
    axes = {"y": np.arange(2), "x": np.arange(3)}
    return prepare(path, np.zeros((6, 2)), kind="surface", dims=("y", "x"), coordinates=axes)[0]


ROW = {"loss": 1.5, "loss_se": 0.1, "accuracy": 0.5, "examples": 10}


def test_a_job_that_lost_its_output_writes_nothing_more_and_says_so(out):
    table = surface(out)
    table.lock, _ = acquire(out, **QUICK)
    table.record(0, ROW)
    marker_of(out).unlink()  # somebody has tidied up: the marker is made again
    table.flush()
    assert f"pid={os.getpid()}\n" in marker_of(out).read_text()
    before = out.read_bytes()
    table.record(1, ROW)
    with Job() as other:
        marker_of(out).unlink()
        assert other.locks(out) == "mine"
        with pytest.raises(BadInput, match=f"was taken over by process {other.pid}") as caught:
            table.flush()
        assert "\n" not in str(caught.value)
        assert out.read_bytes() == before
        theirs = marker_of(out).read_bytes()
        table.lock.release()
        assert marker_of(out).read_bytes() == theirs


# A loss of all examples that is ready when the test says so: no job is done before the other has begun.
WAITING = """
import os, time
def loss(outputs, targets):
    while len(outputs) == 20 and not os.path.exists("go"):
        time.sleep(0.01)
    return outputs[:, 0].detach() ** 2
"""


def test_of_two_commands_at_the_same_moment_one_measures_and_the_other_ends_with_one_line(tmp_path):
    small = {"depth": 8, "width": 2, "channels": 1}
    save(Checkpoint("resnet", small, build("resnet", **small).state_dict(), {"name": "digits"}), tmp_path / "net.pt")
    (tmp_path / "mine.py").write_text(WAITING)
    typed = ["net.pt", "a.h5", "--loss", "mine:loss", "--x", -1, 1, 3, "--examples", 20, "--device", "cpu"]
    script = [sys.executable, ROOT / "scripts" / "surface.py", *map(str, typed)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    jobs = [subprocess.Popen(script, **pipes, env={**os.environ, **ENVIRONMENT}) for _ in range(2)]
    try:
        begun = time.monotonic()
        while all(job.poll() is None for job in jobs):
            assert time.monotonic() - begun < patient(120), "both measure"
            time.sleep(0.01)
        late, first = sorted(jobs, key=lambda job: job.returncode is None)
        said = late.communicate()
        assert late.returncode == 2 and "points" not in said[0] and said[1].count("\n") == 1
        assert f"a.h5 is being written by process {first.pid} on host" in said[1]
        (tmp_path / "go").touch()
        said = first.communicate(timeout=patient(60))
        assert first.returncode == 0 and "3 points of resnet-8" in said[0]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    assert read(tmp_path / "a.h5")["done"].all()
    assert not marker_of(tmp_path / "a.h5").exists()
