"""The engine fills a table, with the same numbers on any number of ranks, and never hangs."""

import queue
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape import sweep as engine
from landscape.sweep import sweep
from landscape.table import Table


class Mail:
    """One rank of a communicator whose ranks are threads: the few MPI calls that the engine uses."""

    def __init__(self, rank, boxes):
        self.rank, self.size, self.boxes = rank, len(boxes), boxes

    def send(self, message, to):
        self.boxes[to].put(message)

    def iprobe(self, *_):
        return not self.boxes[self.rank].empty()

    def recv(self, source=None):
        return self.boxes[self.rank].get(timeout=20)


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
        thread.join(timeout=20)
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
    assert time.monotonic() - begun < 5
