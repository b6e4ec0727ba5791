"""Whatever the grid, the number of ranks and the moments of death: the table is the same, and no work is done twice."""

import queue
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from mail import Mail
from patience import patient

from landscape.engine import sweep as engine
from landscape.engine.grid import grid
from landscape.engine.sweep import sweep
from landscape.engine.table import prepare, read

LETTERS = ("x", "y", "z")


class Killed(Exception):
    pass


class Job(Mail):
    """One rank of a job that ends as a whole when one of its ranks dies, as `MPI_Abort` ends it."""

    def __init__(self, rank, boxes, ended):
        super().__init__(rank, boxes)
        self.ended = ended

    def alive(self):
        if self.ended.is_set():
            raise Killed

    def send(self, message, to):
        self.alive()
        super().send(message, to)

    def iprobe(self, *_):
        self.alive()
        return super().iprobe()


def table(path, shape):
    """A results file over axes of so many points, no two of which have a coordinate in common; x is the fastest."""
    axes = {name: 10 * i + np.arange(n) / 8 for i, (name, n) in enumerate(zip(LETTERS, shape, strict=False))}
    results, _ = prepare(
        path,
        grid(*axes.values()),
        kind="surface",
        dims=tuple(reversed(axes)),
        coordinates={**axes, "axis": np.arange(len(axes))},
        measured={"loss": ("f8", np.nan, {}), "place": ("f8", np.nan, {}, ("axis",))},
    )
    return results


def loss(point):
    """Of no two points the same, but for those where it is NaN, which is a result like any other."""
    value = point @ [1.0, np.pi, np.e][: len(point)]
    return np.nan if int(8 * point.sum()) % 3 == 0 else value


def attempt(path, shape, ranks, order, kill=None):
    """Run a job on threads until it is done or a rank is killed; returns the rows measured and those done before.

    `kill` is the part of the rows that is measured before the rank that has the next one dies, and whether what
    has not been flushed by then is lost.
    """
    t = table(path, shape)
    done = t.done.ravel().copy()
    row_of = {tuple(point): row for row, point in enumerate(t.points)}
    ended, boxes = threading.Event(), [queue.Queue() for _ in range(ranks)]
    measured, dead, raised = [], [], []

    def function(rank):
        def measure(points):
            for point in points:
                time.sleep(0.0003)  # so that every rank has a turn
                if not ended.is_set() and kill and len(measured) >= kill[0] * (~done).sum():
                    if kill[1]:
                        t.flush = lambda: None
                    dead.append(rank)
                    ended.set()
                if ended.is_set():
                    raise Killed
                measured.append(row_of[tuple(point)])
                yield {"loss": loss(point), "place": point}

        return measure

    def run(rank):
        rows = np.random.default_rng(order).permutation(t.remaining()) if order else None
        try:
            sweep(function(rank), None if rank else t, Job(rank, boxes, ended), rows=None if rank else rows, quiet=True)
        except BaseException as error:
            raised.append(error)
            ended.set()

    others = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(1, ranks)]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join(timeout=patient(20))
        assert not thread.is_alive(), "a rank hangs"
    assert all(isinstance(error, Killed | KeyboardInterrupt) for error in raised)  # the keeper interrupts rank 0
    assert bool(raised) == bool(dead)
    return measured, done, dead


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3)
KILLS = st.lists(st.tuples(st.sampled_from([0.7, 0.5, 0.9, 0.3, 0.1, 0.0]), st.booleans()), min_size=1, max_size=3)


@settings(max_examples=50, deadline=None)
@given(
    shape=SHAPES,
    ranks=st.lists(st.sampled_from([3, 2, 4, 1]), min_size=4, max_size=4),
    kills=KILLS,
    flush=st.sampled_from([0.0, 2.0]),
    order=st.integers(0, 3),
)
@pytest.mark.slow
def test_a_table_is_whole_and_the_same_whatever_happens_on_the_way(shape, ranks, kills, flush, order):
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(engine, "FLUSH", flush):
        path, undisturbed = Path(folder) / "a.h5", Path(folder) / "b.h5"
        deaths = 0
        for size, kill in zip(ranks, [*kills, None], strict=False):
            measured, done, dead = attempt(path, shape, size, order, kill)
            assert len(measured) == len({*measured})  # none twice in one job
            assert not done[measured].any()  # none again that was on the disk
            deaths += len(dead)
            for rank in dead:
                event(f"rank {rank} dies with {'some' if done.any() else 'no'} rows done before")
            if not dead:
                assert sorted(measured) == np.flatnonzero(~done).tolist()
        event(f"killed {deaths} times")

        results = read(path)
        assert results["done"].all()
        for where in np.ndindex(results["done"].shape):
            names = results.dims["done"]
            point = [results.coordinates[name][i] for name, i in zip(names, where, strict=True)][::-1]  # x first
            np.testing.assert_array_equal(results["place"][where], point)
            np.testing.assert_equal(results["loss"][where], loss(np.array(point)))

        assert attempt(undisturbed, shape, 1, 0)[0] == list(range(results["done"].size))
        assert path.read_bytes() == undisturbed.read_bytes()
        assert attempt(path, shape, ranks[0], order)[0] == []
