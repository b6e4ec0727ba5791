"""The engine fills a table, with the same numbers on any number of ranks, and never hangs."""

import contextlib
import queue
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mail import Mail
from patience import patient

from landscape.engine import sweep as engine
from landscape.engine.sweep import sweep
from landscape.engine.table import Table
from landscape.errors import BadInput


class Lost(Mail):
    """A rank that does its work, but whose messages are lost once it is."""

    lost = False

    def send(self, message, to):
        if not self.lost:
            super().send(message, to)


def table(rows, tmp_path=None):
    values = {"loss": np.full(rows, np.nan)}
    t = Table(None, np.arange(rows, dtype=float)[:, None], values, np.zeros(rows, bool))
    t.flushes = 0

    def flush():
        t.flushes += 1

    t.flush = flush
    return t


def run(function, t, ranks):
    """Sweep on so many threads; returns what each rank raised."""
    boxes = [queue.Queue() for _ in range(ranks)]
    raised = [None] * ranks

    def rank(number):
        try:
            chosen = function[number] if isinstance(function, list) else function
            sweep(chosen, t if number == 0 else None, Mail(number, boxes), quiet=True)
        except BaseException as error:
            raised[number] = error

    others = [threading.Thread(target=rank, args=(n,), daemon=True) for n in range(1, ranks)]
    for thread in others:
        thread.start()
    rank(0)
    for thread in others:
        thread.join(timeout=patient(20))
        assert not thread.is_alive(), "a rank hangs"
    return raised


def squares(points):
    for (x,) in points:
        yield {"loss": x**2}


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 60), ranks=st.integers(1, 5), done=st.sets(st.integers(0, 59)))
def test_every_remaining_row_is_measured_once_on_any_number_of_ranks(rows, ranks, done):
    t = table(rows)
    done = [row for row in done if row < rows]
    t.done[done] = True
    t.values["loss"][done] = -1
    measured = []

    def noted(points):
        for (x,) in points:
            measured.append(x)
            yield {"loss": x**2}

    assert run(noted, t, ranks) == [None] * ranks
    assert sorted(measured) == [row for row in range(rows) if row not in done]
    expected = np.arange(rows, dtype=float) ** 2
    expected[done] = -1
    np.testing.assert_array_equal(t.values["loss"], expected)
    assert t.done.all()


def test_rank_0_computes_too():
    t = table(40)
    counts = [0, 0]

    def counting(rank):
        def function(points):
            for (x,) in points:
                counts[rank] += 1
                time.sleep(0.005)
                yield {"loss": x}

        return function

    run([counting(0), counting(1)], t, 2)
    assert min(counts) > 5


def test_a_slow_rank_is_given_less():
    t = table(120)
    counts = [0, 0]

    def waiting(rank, seconds):
        def function(points):
            for (x,) in points:
                counts[rank] += 1
                time.sleep(seconds)
                yield {"loss": x}

        return function

    run([waiting(0, 0.002), waiting(1, 0.02)], t, 2)
    assert counts[0] > 3 * counts[1]


def test_neighbours_stay_together():
    t = table(400)
    calls = []

    def function(points):
        calls.append(points[:, 0])
        time.sleep(0.01)
        yield from squares(points)

    run(function, t, 2)
    assert all((np.diff(points) == 1).all() for points in calls)
    assert max(map(len, calls)) > 10  # the cost of asking is spread over many cheap rows


def test_the_table_is_flushed_while_one_long_row_is_measured(monkeypatch):
    monkeypatch.setattr(engine, "FLUSH", 0.05)
    t = table(2)

    def slow(points):
        for (x,) in points:
            before = t.flushes
            time.sleep(0.3)
            assert t.flushes > before
            yield {"loss": x}

    assert run(slow, t, 1) == [None]


def test_an_exception_reaches_the_caller_after_a_last_flush():
    t = table(10)

    def failing(points):
        for (x,) in points:
            if x == 5:
                raise RuntimeError("no")
            yield {"loss": x}

    (error,) = run(failing, t, 1)
    assert str(error) == "no"
    assert t.done.sum() >= 4
    assert t.flushes == 1


def test_a_table_that_cannot_be_written_ends_the_sweep(monkeypatch):
    monkeypatch.setattr(engine, "FLUSH", 0.01)
    t = table(1000)

    def full():
        raise OSError("disk full")

    t.flush = full

    def slow(points):
        for (x,) in points:
            time.sleep(0.01)
            yield {"loss": x}

    with pytest.raises(OSError, match="disk full"):
        sweep(slow, t, quiet=True)


def test_a_function_that_yields_too_little_is_a_bug_and_said():
    with pytest.raises(ValueError, match="shorter"):
        sweep(lambda points: iter([]), table(3), quiet=True)


class Flood(Mail):
    """A communicator on which some rank always has something to say."""

    def __init__(self):
        self.rank, self.size = 0, 2

    def iprobe(self, *_):
        return True

    def recv(self, source=None):
        return 1, ({0: {"loss": 1.0}}, 0.1)


def test_a_flood_of_messages_keeps_nobody_from_flushing_or_stopping(monkeypatch):
    monkeypatch.setattr(engine, "FLUSH", 0.2)
    t = table(5)
    keeper = engine._Keeper(t, np.arange(5), Flood(), "rows", quiet=True)
    keeper._missing = 10**9  # so many rows are still to come
    keeper.start()
    time.sleep(1)
    assert t.flushes >= 2
    begun = time.monotonic()
    keeper.stop()
    assert time.monotonic() - begun < patient(5)


@pytest.fixture
def quick(monkeypatch):
    """Silences of a fraction of a second."""
    for name, seconds in {"BEAT": 0.02, "SILENCE": 0.6, "STALL": 0.6}.items():
        monkeypatch.setattr(engine, name, seconds)


def test_a_rank_that_falls_silent_is_named_and_what_was_measured_is_flushed(quick):
    t = table(60)
    boxes = [queue.Queue(), queue.Queue()]
    other = Lost(1, boxes)

    def falls_silent(points):
        for (x,) in points:
            other.lost = t.done.sum() > 10
            yield {"loss": x}

    def slow(points):
        for (x,) in points:
            time.sleep(0.02)
            yield {"loss": x}

    def rank_1():
        with contextlib.suppress(BadInput):  # in the end it hears nothing of rank 0
            sweep(falls_silent, None, other)

    threading.Thread(target=rank_1, daemon=True).start()
    with pytest.raises(BadInput, match=r"rank 1 on \S+ has been silent for 0.6 s") as caught:
        sweep(slow, t, Mail(0, boxes), quiet=True)
    assert not caught.value.collective  # nobody else knows: the job must be aborted
    assert t.flushes and t.done.sum() > 10


def test_a_rank_that_was_never_heard_of_is_named_too(quick):
    with pytest.raises(BadInput, match="rank 1 on an unknown host has been silent"):
        sweep(squares, table(5), Mail(0, [queue.Queue(), queue.Queue()]), quiet=True)


@pytest.mark.slow
def test_a_rank_that_takes_long_over_a_row_is_not_taken_for_lost(quick):
    t = table(2)

    def long(points):
        for (x,) in points:
            time.sleep(1.5)
            yield {"loss": x}

    assert run(long, t, 3) == [None] * 3  # one rank has nothing to do meanwhile, and is not given up either
    assert t.done.all()


def test_a_rank_does_not_wait_for_ever_for_rank_0(quick, monkeypatch):
    monkeypatch.setattr(engine, "STALL", -0.5)  # and a second for each rank
    with pytest.raises(BadInput, match="rank 0 has been silent"):
        sweep(squares, None, Mail(1, [queue.Queue(), queue.Queue()]))


def test_no_message_is_left_unread_when_ranks_go(quick, monkeypatch):
    monkeypatch.setattr(engine, "BEAT", 0.001)
    boxes = [queue.Queue() for _ in range(4)]
    others = [
        threading.Thread(target=sweep, args=(squares, None, Mail(rank, boxes)), daemon=True) for rank in (1, 2, 3)
    ]
    for thread in others:
        thread.start()
    sweep(squares, table(200), Mail(0, boxes), quiet=True)
    for thread in others:
        thread.join(timeout=patient(20))
    assert all(box.empty() for box in boxes)


def test_what_other_ranks_send_when_they_are_stopped_is_taken_in():
    """A batch system's signal reaches all ranks at once; those other than 0 then send what they have."""
    t = table(100)
    boxes = [queue.Queue(), queue.Queue()]
    stop = threading.Event()

    def stopped(points):
        for (x,) in points:
            yield {"loss": x}
            stop.wait(20)
            time.sleep(0.7)  # it is in the middle of something
            raise KeyboardInterrupt

    def other():
        with pytest.raises(KeyboardInterrupt):
            sweep(stopped, None, Mail(1, boxes))

    def first(points):
        time.sleep(0.1)
        stop.set()
        raise KeyboardInterrupt
        yield

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    while boxes[0].qsize() < 2:  # it says that it is there, and asks
        time.sleep(0.01)
    with pytest.raises(KeyboardInterrupt):
        sweep(first, t, Mail(0, boxes), quiet=True)
    thread.join(timeout=patient(20))
    assert t.done.sum() == 1 and t.flushes == 1


def test_rank_0_that_notices_by_itself_that_the_table_cannot_be_written_says_why(monkeypatch):
    monkeypatch.setattr(engine, "FLUSH", 0.01)
    interrupt = engine._thread.interrupt_main

    def late():
        time.sleep(0.2)
        interrupt()

    monkeypatch.setattr(engine._thread, "interrupt_main", late)
    t = table(10**6)

    def full():
        raise OSError("disk full")

    t.flush = full
    with pytest.raises(OSError, match="disk full"):
        sweep(squares, t, quiet=True)
