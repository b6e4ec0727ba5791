"""Of several jobs on one output, exactly one writes; a dead one is in nobody's way."""

import os
import re
import threading
import time

import pytest
from patience import patient

from landscape.engine.lock import acquire
from landscape.errors import BadInput

QUICK = {"silence": 1.0, "beat": 0.1}  # seconds


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


@pytest.fixture
def out(tmp_path):
    return tmp_path / "a.h5"


def test_an_output_that_was_released_is_free_and_nothing_stays_behind(out):
    lock, notes = acquire(out)
    lock.release()
    assert notes == [] and list(out.parent.iterdir()) == []


def test_a_job_on_another_host_counts_as_long_as_it_is_heard(out):
    left(out, host="far")
    _, (note,) = acquire(out, **QUICK)
    assert f"{out} was being written by process {os.getpid()} on host far since 2" in note
    assert note.endswith("which has been silent for 1 s or more; going on in its place")

    left(out, host="far")
    end = threading.Event()

    def renew():
        while not end.wait(QUICK["beat"]):
            os.utime(marker_of(out))

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(BadInput, match=r"is being written by process \d+ on host far since"):
            acquire(out, **QUICK)
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("text", ["", "{", "filelock/2\npid=1\nhost=\033[0m\n", '{"process": 1}', "x" * 9999])
@pytest.mark.slow
def test_a_marker_that_says_nothing_counts_as_anybodys(out, text):
    marker_of(out).write_text(text)
    lock, (note,) = acquire(out, **QUICK)
    assert f"{out} was being written by another process, which has been silent" in note
    lock.check()


def test_no_folder_is_made_for_a_marker(out):
    with pytest.raises(FileNotFoundError):
        acquire(out.parent / "none" / "a.h5")
    assert list(out.parent.iterdir()) == []


def test_a_marker_is_renewed_as_long_as_its_job_lives(out):
    lock, _ = acquire(out, **QUICK)
    os.utime(marker_of(out), (0, 0))
    begun = time.monotonic()
    while marker_of(out).stat().st_mtime == 0:
        assert time.monotonic() - begun < patient(20), "nobody renews it"
        time.sleep(0.01)
    lock.release()


def test_of_one_process_the_last_lock_counts(out):
    first, _ = acquire(out, **QUICK)
    last, notes = acquire(out, **QUICK)
    assert notes == []
    with pytest.raises(BadInput, match=f"was taken over by process {os.getpid()}"):
        first.check()
    last.check()
