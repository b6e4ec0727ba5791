#!/usr/bin/env python3
"""Up to how many ranks does the engine scale? A simulation of its scheduling in virtual time.

    python scripts/development/scaling.py
    mpiexec -n 4 python -m mpi4py scripts/development/scaling.py

The policy is the engine's own; what the keeper needs for a message and a flush is timed here, on the
engine's own code; what MPI and the network add is assumed. Rows differ in cost (alike to a tenth, as points of a
surface are; lognormal, or Pareto with a heavier tail) and ranks in speed (half of them 1, three eighths 1/2, one
eighth 1/5). Efficiency is the work done over the work that all ranks, never idle, could have done meanwhile; what is
missing from 1 went in waiting for an answer, or in the tail, when no rows were left. Beside it stands that of a
schedule that costs nothing and knows all costs beforehand, which no engine does: what it misses is for want of rows.
Not simulated: how MPI starts and connects so many ranks, and that rank 0's interpreter runs its keeper and its
measuring in turn.

On several ranks: a true sweep of rows that sleep, beside its simulation.
"""

import argparse
import heapq
import math
import pickle
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from landscape.commands.cli import Parser, run
from landscape.engine.ranks import Communicator
from landscape.engine.sweep import CHUNK, FLUSH, POLL, _Keeper, piece, sweep
from landscape.engine.table import MEASURED, Table, prepare
from landscape.log import say

SPEEDS = (1, 1, 1, 1, 0.5, 0.5, 0.5, 0.2)  # of ranks in turn; the cost of a row is its time at speed 1
GOOD = 0.9  # an efficiency that needs no explanation
SLEEPS = (20, 0.1)  # the true sweep: points a side, mean seconds of a row


class Costs(NamedTuple):
    """What scheduling costs, in seconds; by default nothing."""

    ask: float = 0.0  # the keeper's, to answer a rank that asks
    row_out: float = 0.0  # … and for each row it hands out
    give: float = 0.0  # to take in a message of measurements
    row_in: float = 0.0  # … and for each measurement
    flush: float = 0.0  # to flush
    line: float = 0.0  # … and for each line of the table that has changed
    latency: float = 0.0  # of a message
    poll: float = 0.0  # between two looks for a message


class Outcome(NamedTuple):
    """What became of a simulated sweep; times in seconds."""

    makespan: float  # until the keeper has every row and every rank waits
    efficiency: float
    waiting: float  # share of the ranks' power that waited for an answer
    tail: float  # … that was left without rows
    load: float  # share of the time that the keeper was busy
    start: float  # when the last rank began its first row
    second: float  # … and its second piece
    unsaved: float  # longest time that a measured row was not on the disk
    last: tuple[float, int, float, float]  # the piece that ended last: when, rows, speed of its rank, how long it took
    paid: dict[str, int]  # how often each of the keeper's costs
    times: np.ndarray  # how often each row was recorded


def parser() -> Parser:
    p = Parser(prog="scaling.py", description=__doc__)
    p.add_argument("--ranks", nargs="+", type=int, default=[1, 64, 1024, 10240], help="numbers of ranks")
    p.add_argument("--sides", nargs="+", type=int, default=[51, 251, 1001], help="grids: points a side")
    p.add_argument("--means", nargs="+", type=float, default=[0.01, 1.0, 10.0], help="mean seconds of a row")
    p.add_argument("--spreads", nargs="+", choices=list(SPREADS), default=list(SPREADS), help="how rows differ")
    p.add_argument("--speeds", nargs="+", type=float, default=SPEEDS, help="of ranks, in turn; 1: all alike")
    p.add_argument("--latency", type=float, default=20e-6, help="seconds that a message travels; assumed")
    p.add_argument("--message", type=float, default=5e-6, help="seconds that MPI takes rank 0 for a message; assumed")
    p.add_argument("--seed", type=int, default=0, help="of the rows' costs")
    p.add_argument(
        "--costs",
        nargs=6,
        type=float,
        metavar=("ASK", "ROW_OUT", "GIVE", "ROW_IN", "FLUSH", "LINE"),
        default=argparse.SUPPRESS,
        help="seconds, instead of timing them here: of the keeper for a request, for each row it hands out, for a "
        "message of measurements, for each of them; of a flush, for each line of the table in it",
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    if comm.size > 1:
        compare(arguments, comm)
        return
    for side in arguments.sides:
        costs = costs_of(arguments, side)
        say(comm, "", f"{side}² rows", *described(costs), "", HEADER)
        for spread in arguments.spreads:
            relative = SPREADS[spread](np.random.default_rng(arguments.seed), side**2)
            for mean in arguments.means:
                for ranks in arguments.ranks:
                    shown = line(relative * mean, np.resize(arguments.speeds, ranks), costs, side)
                    say(comm, f"{spread:9} {mean:6g} {ranks:6} {shown}".rstrip())


HEADER = (
    "row costs   mean  ranks rows/rank     time efficiency  known waiting   tail keeper   start  second unsaved  "
    f"why below {GOOD:g}"
)

SPREADS: dict[str, Callable] = {  # all of mean 1
    "alike": lambda draw, rows: draw.lognormal(-0.005, 0.1, rows),
    "lognormal": lambda draw, rows: draw.lognormal(-0.5, 1.0, rows),
    "pareto": lambda draw, rows: 0.6 * (1 + draw.pareto(2.5, rows)),
}


def line(rows: np.ndarray, speeds: np.ndarray, costs: Costs, side: int) -> str:
    """A simulated sweep as a line of the table."""
    each = len(rows) / len(speeds)
    if each < 1:
        return f"{each:9.1f}  not enough rows: some ranks would never get one"
    made = simulate(rows, speeds, costs, side)
    known = rows.sum() / speeds.sum() / longest_first(rows, speeds)
    return (
        f"{each:9.1f} {made.makespan:8.5g} {made.efficiency:10.3f} {known:6.3f} {made.waiting:7.3f} {made.tail:6.3f} "
        f"{made.load:6.3f} {made.start:7.3g} {made.second:7.3g} {made.unsaved:7.3g}  {reason(made, rows, speeds)}"
    )


def longest_first(rows: np.ndarray, speeds: np.ndarray) -> float:
    """When all is done if every cost is known: the longest row first, each to the rank that ends it soonest.

    Parameters
    ----------
    rows : cost of each row: seconds at speed 1
    speeds : of each rank

    Examples
    --------
    >>> longest_first(np.array([2.0, 4.0, 3.0]), np.array([1.0, 0.5]))  # 4 and 2 s on the first, 3 on the slow one
    6.0
    """
    free = {speed: [0.0] * int(np.sum(speeds == speed)) for speed in speeds.tolist()}  # when each rank is
    last = 0.0
    for cost in np.sort(rows)[::-1].tolist():
        end, speed = min((ranks[0] + cost / speed, speed) for speed, ranks in free.items())
        heapq.heapreplace(free[speed], end)
        last = max(last, end)
    return last


def reason(outcome: Outcome, rows: np.ndarray, speeds: np.ndarray) -> str:
    if outcome.efficiency >= GOOD:
        return ""
    if outcome.waiting > outcome.tail:
        return "keeper saturated" if outcome.load > GOOD else "pieces are short against asking for them"
    longest, even = rows.max() / speeds.max(), rows.sum() / speeds.sum()
    if longest > even:
        return f"tail: the longest row takes {longest / even:.1f} times an even share of all"
    _, size, speed, seconds = outcome.last
    some = f"{size} rows" if size > 1 else "a row"
    return f"tail: {some} on a rank of speed {speed:g} ended last and took {seconds / outcome.makespan:.0%} of the time"


def described(costs: Costs) -> list[str]:
    pieces = 1 / (costs.ask + costs.row_out + costs.give + costs.row_in or math.inf)
    return [
        f"keeper, µs: {1e6 * costs.ask:.1f} for a request + {1e6 * costs.row_out:.2f} a row; "
        f"{1e6 * costs.give:.1f} for measurements + {1e6 * costs.row_in:.2f} a row; latency {1e6 * costs.latency:g}",
        f"flush, ms: {1e3 * costs.flush:.1f} + {1e3 * costs.line:.4f} a line",
        f"so the keeper keeps {CHUNK * pieces:,.0f} ranks busy if a piece is one row of {CHUNK:g} s",
    ]


class Keeper:
    """The engine's keeper in virtual time: answers one message at a time, and flushes between messages."""

    def __init__(self, costs: Costs, rows: int, width: int):
        self.costs, self.width = costs, width
        self.paid = dict.fromkeys(Costs._fields[:6], 0)
        self.times = np.zeros(rows, np.int8)
        self.free = self.busy = 0.0  # from when on it is, for how long it was
        self.unsaved = 0.0
        self.flushed = 0.0  # when it last did, or could have
        self._oldest = 0.0
        self._changed: set[int] = set()

    def rest(self, until: float) -> None:
        """Nobody writes until then, so flush if it is time."""
        due = max(self.free, self.flushed + FLUSH)
        if not self._changed:
            self.flushed += FLUSH * max(0, math.floor((until - self.flushed) / FLUSH))
        elif due < until:
            self.free = due
            self.pay("flush", 1)
            self.pay("line", len(self._changed))
            self.flushed = self.free
            self.unsaved = max(self.unsaved, self.free - self._oldest)
            self._changed.clear()

    def pay(self, what: str, times: int) -> None:
        self.paid[what] += times
        seconds = times * getattr(self.costs, what)
        self.free += seconds
        self.busy += seconds

    def record(self, first: int, beyond: int, now: float) -> None:
        self.times[first:beyond] += 1
        if not self._changed:
            self._oldest = now
        self._changed.update(range(first // self.width, (beyond - 1) // self.width + 1))

    def end(self, makespan: float) -> None:
        if self._changed:
            self.unsaved = max(self.unsaved, makespan - self._oldest)


def simulate(rows: np.ndarray, speeds: np.ndarray, costs: Costs | None = None, width: int | None = None) -> Outcome:
    """One sweep in virtual time.

    Parameters
    ----------
    rows : cost of each row: seconds at speed 1
    speeds : of each rank; rank 0 keeps the table too
    costs : of scheduling, by default none
    width : rows in a line of the table, which is what a flush writes; by default all
    """
    costs, ranks = costs or Costs(), len(speeds)
    speed = [float(s) for s in speeds]
    keeper = Keeper(costs, len(rows), width or len(rows))
    away = [0.0] + [costs.latency] * (ranks - 1)  # of each rank from the table
    seconds_per_row, pieces, ended = [CHUNK] * ranks, [0] * ranks, [0.0] * ranks
    handed_out, makespan, waited, begun, last = 0, 0.0, 0.0, [0.0, 0.0], (0.0, 0, 0.0, 0.0)
    number = count()
    # When it reaches the keeper, an order among equals, the rank, the rows measured, whether it gives and asks.
    events = [(away[rank], next(number), rank, 0, 0, False, True) for rank in range(ranks)]
    heapq.heapify(events)
    while events:
        arrived, _, rank, first, beyond, gives, asks = heapq.heappop(events)
        if arrived > keeper.free:
            keeper.rest(arrived)
        if rank and arrived > keeper.free:
            keeper.free += steps(arrived - keeper.free, costs.poll)
        if gives and rank:
            keeper.pay("give", 1)
            keeper.pay("row_in", beyond - first)
        # Rank 0 needs no message, just the table; a flush that holds it may be under way.
        now = keeper.free if rank else max(arrived, keeper.flushed)
        if beyond > first:
            keeper.record(first, beyond, now)
        if asks:
            left = len(rows) - handed_out
            size = piece(left, ranks, seconds_per_row[rank]) if left else 0
            if rank:
                keeper.pay("ask", 1)
                keeper.pay("row_out", size)
                now = keeper.free
        makespan = max(makespan, now)
        if not asks or not size:
            continue
        asked = arrived - away[rank]
        start = asked + steps(now + away[rank] - asked, costs.poll if rank else 0.0)
        waited += (start - asked) * speed[rank]
        if pieces[rank] < len(begun):
            begun[pieces[rank]] = max(begun[pieces[rank]], start)
        pieces[rank] += 1
        ends = start + np.cumsum(rows[handed_out : handed_out + size]) / speed[rank]
        unsent, reported, end = handed_out, start, float(ends[-1])
        if end - start > CHUNK:  # it tells meanwhile
            for so_far, at in enumerate(ends.tolist(), handed_out + 1):
                if at - reported > CHUNK:
                    heapq.heappush(events, (at + away[rank], next(number), rank, unsent, so_far, True, False))
                    unsent, reported = so_far, at
        handed_out += size
        heapq.heappush(events, (end + away[rank], next(number), rank, unsent, handed_out, True, True))
        seconds_per_row[rank] = (end - start) / size  # the keeper learns it before this rank asks again
        ended[rank] = end
        last = max(last, (end, size, speed[rank], end - start))
    keeper.end(makespan)
    power = sum(speed) * makespan or 1.0
    return Outcome(
        makespan,
        efficiency=float(np.sum(rows)) / power,
        waiting=waited / power,
        tail=sum(s * (makespan - end) for s, end in zip(speed, ended, strict=True)) / power,
        load=keeper.busy / (makespan or 1.0),
        start=begun[0],
        second=begun[1],
        unsaved=keeper.unsaved,
        last=last,
        paid=keeper.paid,
        times=keeper.times,
    )


def steps(span: float, poll: float) -> float:
    """A span as it is noticed by one who looks now and then."""
    return math.ceil(span / poll) * poll if poll else span


def costs_of(arguments: argparse.Namespace, side: int) -> Costs:
    """Timed on the engine's own code, or as given; with MPI's share."""
    given = getattr(arguments, "costs", None)
    with tempfile.TemporaryDirectory() as folder:
        timed = given or [*keeper_costs(table_of(side, folder)), *flush_costs(table_of(side, folder))]
    costs = Costs._make([*timed, arguments.latency, POLL])
    return costs._replace(ask=costs.ask + 2 * arguments.message, give=costs.give + arguments.message)


def table_of(side: int, folder: str, points: np.ndarray | None = None) -> Table:
    """A results file of a surface."""
    points = np.zeros((side**2, 2)) if points is None else points
    axes = {"y": np.arange(side), "x": np.arange(side)}
    path = Path(folder) / f"{time.monotonic_ns()}.h5"
    return prepare(path, points, kind="scaling", dims=("y", "x"), coordinates=axes)[0]


class Post:
    """A communicator without a network: messages are pickled, as mpi4py does, and wait here."""

    rank, size = 0, 2

    def __init__(self):
        self.inbox: deque[bytes] = deque()

    def iprobe(self) -> bool:
        return bool(self.inbox)

    def recv(self):
        return pickle.loads(self.inbox.popleft())

    def send(self, message: Any, to: int) -> None:
        pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def keeper_costs(table: Table, few: int = 1, many: int = 25, messages: int = 50) -> list[float]:
    """Seconds of the keeper for a request, for each row handed out, for measurements, for each of them."""
    measurement = {name: 0.5 for name in MEASURED}

    def seconds(message: Any, rows: int) -> float:
        post = Post()
        keeper = _Keeper(table, np.arange(len(table)), post, "rows", quiet=True)
        keeper._seconds_per_row[1] = CHUNK / (rows + 0.5)
        post.inbox.extend([pickle.dumps((1, message), pickle.HIGHEST_PROTOCOL)] * messages)
        begun = time.perf_counter()
        keeper._listen()
        return (time.perf_counter() - begun) / messages

    def fitted(message_of: Callable) -> list[float]:
        least, most = (statistics.median(seconds(message_of(rows), rows) for _ in range(30)) for rows in (few, many))
        slope = max(0.0, (most - least) / (many - few))
        return [max(0.0, least - few * slope), slope]

    asked = fitted(lambda rows: None)
    return asked + fitted(lambda rows: (dict.fromkeys(range(rows), measurement), 0.01))


def flush_costs(table: Table) -> list[float]:
    """Seconds of a flush, and for each line of the table in it."""
    side = len(table.done)

    def seconds(lines: int) -> float:
        for row in range(0, lines * side, side):
            table.record(row, {name: 0.5 for name in MEASURED})
        begun = time.perf_counter()
        table.flush()
        return time.perf_counter() - begun

    least, most = (statistics.median(seconds(lines) for _ in range(7)) for lines in (1, side))
    slope = max(0.0, (most - least) / (side - 1)) if side > 1 else 0.0
    return [max(0.0, least - slope), slope]


def compare(arguments: argparse.Namespace, comm: Communicator) -> None:
    """A true sweep of rows that sleep, and its simulation."""
    side, mean = SLEEPS
    speeds = np.resize(SPEEDS[::-1], comm.size)  # the slow one first, so that few ranks differ too
    costs = costs_of(arguments, side) if comm.rank == 0 else None
    for spread in arguments.spreads:
        rows = mean * SPREADS[spread](np.random.default_rng(arguments.seed), side**2)
        with tempfile.TemporaryDirectory() as folder:
            table = table_of(side, folder, rows[:, None]) if comm.rank == 0 else None
            comm.allgather(None)  # all ranks are ready
            begun = time.perf_counter()
            sweep(sleeping(speeds[comm.rank]), table, comm, quiet=True)
            seconds = time.perf_counter() - begun
        if comm.rank == 0:
            simulated = simulate(rows, speeds, costs, side).makespan
            say(
                comm,
                f"{side}² rows of {mean:g} s ({spread}) on ranks of speeds {' '.join(f'{s:g}' for s in speeds)}: "
                f"{seconds:.3f} s, simulated {simulated:.3f} s, never idle {rows.sum() / speeds.sum():.3f} s",
            )


def sleeping(speed: float) -> Callable:
    def function(points):
        for (cost,) in points:
            time.sleep(cost / speed)
            yield {name: 0.5 for name in MEASURED}

    return function


if __name__ == "__main__":
    run(main, parser())
