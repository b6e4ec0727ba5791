"""Of several jobs on one output, exactly one writes; a dead one is in nobody's way."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ENVIRONMENT, ROOT

from landscape import running
from landscape.checkpoint import Checkpoint, save
from landscape.errors import BadInput
from landscape.networks import build
from landscape.running import claim
from landscape.table import prepare, read

# Claim an output when told to, and say whether that went well. What it sees is old when it acts on it, so that jobs
# that start at once get in each other's way.
JOB = """
import random, sys, time
from landscape import running
from landscape.errors import BadInput
look = running._look
def late(path):
    seen = look(path)
    time.sleep(random.random() / 200)
    return seen
running._look = late
print("ready", flush=True)
for line in sys.stdin:
    try:
        mark, _ = running.claim(line.strip())
        print("mine", flush=True)
    except BadInput as error:
        print(error, flush=True)
"""


class Job(subprocess.Popen):
    """Another process, which claims what it is told to."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        super().__init__([sys.executable, "-c", JOB], **pipes, text=True, bufsize=1)
        assert self.hears() == "ready"

    def told(self, out):
        self.stdin.write(f"{out}\n")

    def hears(self):
        return self.stdout.readline().strip()

    def claims(self, out):
        self.told(out)
        return self.hears()

    def __exit__(self, *error):
        self.kill()
        super().__exit__(*error)


def mark_of(out):
    return out.with_name(f".{out.name}.running")


def left(out, age=0.0, **changes):
    """A mark that this process might have left, but for some of what it says."""
    claim(out)[0]._ended.set()
    owner = json.loads(mark_of(out).read_text())
    mark_of(out).write_text(json.dumps(owner | changes))
    os.utime(mark_of(out), (time.time() - age,) * 2)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "a.h5"


@pytest.fixture
def quick(monkeypatch):
    """Seconds become hundredths."""
    for name, value in {"SILENCE": 0.3, "LOOK": 0.02, "BEAT": 0.02}.items():
        monkeypatch.setattr(running, name, value)


def test_the_second_job_is_told_who_has_the_output_since_when_and_what_to_do(out):
    with Job() as first, Job() as second:
        assert first.claims(out) == "mine"
        said = second.claims(out)
        now = time.strftime("%Y-%m-%d %H:")
        assert f"{out} is being written by process {first.pid} on host {os.uname().nodename} since {now}" in said
        assert "wait for it, or give another output file" in said
        assert second.claims(out.with_name("b.h5")) == "mine"


def test_a_killed_job_is_in_nobodys_way_not_even_as_a_zombie(out):
    with Job() as first, Job() as second:
        assert first.claims(out) == "mine"
        first.kill()
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
        assert second.claims(out) == "mine"
    assert [path.name for path in out.parent.iterdir()] == [mark_of(out).name]


def test_an_output_that_was_released_is_free_and_nothing_stays_behind(out):
    mark, notes = claim(out)
    mark.release()
    assert notes == [] and list(out.parent.iterdir()) == []


@pytest.mark.parametrize("dead", [False, True], ids=["new", "left by a dead job"])
def test_of_eight_jobs_at_once_exactly_one_gets_the_output(out, dead):
    jobs = [Job() for _ in range(8)]
    try:
        for number in range(40):
            path = out.with_name(f"{number}.h5")
            if dead:
                left(path, process=2**22 + 1)  # more than there can be
            for job in jobs:
                job.told(path)
            said = [job.hears() for job in jobs]
            assert said.count("mine") == 1, said
            assert sum("is being written by process" in line for line in said) == 7, said
            assert [p.name for p in out.parent.glob(f".{path.name}*")] == [mark_of(path).name]
    finally:
        for job in jobs:
            job.__exit__(None, None, None)


def test_who_finds_a_dead_job_too_late_leaves_its_successor_alone(out, monkeypatch):
    left(out, process=2**22 + 1)
    lives = running._lives
    with Job() as other:

        def late(path, found):
            alive = lives(path, found)
            if not alive:
                assert other.claims(out) == "mine"
            return alive

        monkeypatch.setattr(running, "_lives", late)
        with pytest.raises(BadInput, match=f"is being written by process {other.pid}"):
            claim(out)


def test_who_is_about_to_replace_a_dead_job_keeps_others_out(out, monkeypatch):
    left(out, process=2**22 + 1)
    replace = os.replace
    with Job() as other:

        def late(*paths):
            assert f"is being written by process {os.getpid()}" in other.claims(out)
            replace(*paths)

        monkeypatch.setattr(running.os, "replace", late)
        mark, _ = claim(out)
        assert mark_of(out).read_bytes() == mark.text


def test_who_dies_while_replacing_a_dead_job_is_replaced_too(out):
    left(out, process=2**22 + 1)
    dies = (
        "import os, sys; from landscape import running; os.replace = lambda *_: os._exit(9); running.claim(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", dies, out]).returncode == 9
    assert len([*out.parent.iterdir()]) == 2  # the dead one's mark, and the turn of who died over it
    with Job() as other:
        assert other.claims(out) == "mine"
    assert [path.name for path in out.parent.iterdir()] == [mark_of(out).name]


def test_a_process_number_that_came_back_is_not_the_job(out):
    with Job() as other:
        left(out, process=os.getppid(), started="1")
        assert other.claims(out) == "mine"
        if running._started(os.getppid()):  # where it can be known
            left(out.with_name("b.h5"), process=os.getppid(), started=running._started(os.getppid()))
            assert "is being written" in other.claims(out.with_name("b.h5"))


def test_a_job_on_another_host_counts_as_long_as_it_is_heard(out, quick):
    before = time.strftime("%Y-%m-%d %H:%M")
    left(out, host="far", place="far")
    since = {before, time.strftime("%Y-%m-%d %H:%M")}  # a minute may have ended
    mark, (note,) = claim(out)  # after a silence
    assert note in {
        f"{out} was being written by process {os.getpid()} on host far since {minute}, "
        "which has been silent for 0.3 s or more; going on in its place"
        for minute in since
    }
    mark.release()

    left(out, host="far", place="far")
    mark = running.Mark(out, mark_of(out).read_bytes())  # it renews its mark, as that job would
    with pytest.raises(BadInput, match=r"is being written by process \d+ on host far"):
        claim(out)
    mark.release()
    assert not mark_of(out).exists()


def test_a_long_silence_need_not_be_waited_for(out, monkeypatch):
    left(out, age=60, host="far", place="far")
    monkeypatch.setattr(running.time, "sleep", lambda _: pytest.fail("waits"))
    assert len(claim(out)[1]) == 1


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"process": "1"}', b'{"host": "\\n", "process": 1}', b"\xff" * 9999]
)
def test_a_mark_that_says_nothing_counts_as_anybodys(out, quick, text):
    mark_of(out).write_bytes(text)
    assert "another process" in claim(out)[1][0]


def test_where_there_are_no_links_a_mark_is_made_all_the_same(out, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(running.os, "link", link)
    mark, _ = claim(out)
    assert mark_of(out).read_bytes() == mark.text
    with Job() as other:
        assert "is being written" in other.claims(out)
    mark.release()
    assert list(out.parent.iterdir()) == []


def surface(path):
    axes = {"y": np.arange(2), "x": np.arange(3)}
    return prepare(path, np.zeros((6, 2)), kind="surface", dims=("y", "x"), coordinates=axes)[0]


ROW = {"loss": 1.5, "loss_se": 0.1, "accuracy": 0.5, "examples": 10}


def test_a_job_that_lost_its_output_writes_nothing_more_and_says_so(out):
    table = surface(out)
    table.mark, _ = claim(out)
    table.record(0, ROW)
    mark_of(out).unlink()  # somebody has tidied up: the mark is made again
    table.flush()
    assert mark_of(out).read_bytes() == table.mark.text
    before = out.read_bytes()
    table.record(1, ROW)
    with Job() as other:
        mark_of(out).unlink()
        assert other.claims(out) == "mine"
        with pytest.raises(BadInput, match=f"was taken over by process {other.pid}") as caught:
            table.flush()
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == before
    theirs = mark_of(out).read_bytes()
    table.mark.release()
    assert mark_of(out).read_bytes() == theirs


def test_a_mark_lives_as_long_as_its_job(out, quick):
    mark, _ = claim(out)
    os.utime(mark_of(out), (0, 0))
    begun = time.monotonic()
    while mark_of(out).stat().st_mtime == 0:
        assert time.monotonic() - begun < 20, "nobody renews it"
        time.sleep(0.01)
    mark.release()


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
            assert time.monotonic() - begun < 120, "both measure"
            time.sleep(0.01)
        late, first = sorted(jobs, key=lambda job: job.returncode is None)
        said = late.communicate()
        assert late.returncode == 2 and "points" not in said[0] and said[1].count("\n") == 1
        assert f"a.h5 is being written by process {first.pid} on host" in said[1]
        (tmp_path / "go").touch()
        said = first.communicate(timeout=60)
        assert first.returncode == 0 and "3 points of resnet-8" in said[0]
    finally:
        for job in jobs:
            job.kill()
            job.communicate()
    assert read(tmp_path / "a.h5")["done"].all()
    assert not mark_of(tmp_path / "a.h5").exists()
