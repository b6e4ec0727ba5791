"""Ranks tell each other that they are there, from the roll call to the last goodbye."""

import queue
import threading

import pytest
from mail import Mail
from patience import patient

from landscape.engine import heartbeat
from landscape.engine.heartbeat import Heart, Watchdog


class Ended(Exception):
    """What a rank does in these tests in the place of ending its process."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Silences of a fraction of a second; a rank that ends the job raises instead."""
    for name, seconds in {"BEAT": 0.02, "SILENCE": 0.5, "STALL": 0.5, "LATE": 0.1, "ABSENT": 0.5}.items():
        monkeypatch.setattr(heartbeat, name, seconds)
    monkeypatch.setattr(Watchdog, "LOOK", 0.04)

    def end(abort, complaint):
        raise Ended(complaint)

    monkeypatch.setattr(heartbeat, "_end", end)


def boxes(size):
    return [queue.Queue() for _ in range(size)]


def together(function, size):
    """What a function of a communicator gives on each of so many ranks."""
    mail, given = boxes(size), [None] * size

    def one(rank):
        given[rank] = function(Mail(rank, mail))

    threads = [threading.Thread(target=one, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=patient(20))
    return given


def test_when_the_roll_is_called_rank_0_learns_where_all_live_and_they_where_it_does(monkeypatch):
    monkeypatch.setattr(heartbeat.socket, "gethostname", lambda: threading.current_thread().name)
    first, *others = together(heartbeat._roll, 3)
    assert [*sorted(first)] == [1, 2] and len({*first.values()}) == 2
    assert others[0] == others[1] and [*others[0]] == [0] and others[0][0] not in first.values()


def test_a_rank_that_does_not_start_is_named_and_in_the_end_waited_for_no_longer(capsys):
    mail = boxes(4)
    mail[0].put((2, "elsewhere"))
    with pytest.raises(Ended, match=r"^ranks 1, 3 of 4 have not started"):
        heartbeat._roll(Mail(0, mail))
    assert capsys.readouterr().err.count("ranks 1, 3 of 4 have not started after 0.1 s; waiting") == 1


def test_of_many_that_do_not_start_five_are_named(capsys):
    with pytest.raises(Ended, match=r"^ranks 1, 2, 3, 4, 5 and 15 more of 21 have not started"):
        heartbeat._roll(Mail(0, boxes(21)))


def test_a_rank_that_rank_0_never_answers_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(heartbeat, "ABSENT", -0.5)  # and a second for each rank
    with pytest.raises(Ended, match=r"^rank 0 of 2 has not started"):
        heartbeat._roll(Mail(1, boxes(2)))


def test_ranks_that_come_to_their_end_at_different_times_wait_for_each_other():
    order = []

    def one(comm):
        heart = Heart(comm, ["here"] * comm.size, None)
        heart.start()
        threading.Event().wait(0.3 * comm.rank)
        order.append(comm.rank)
        heart.rest()
        return len(order)

    assert together(one, 3) == [3, 3, 3]
    assert order == [0, 1, 2]


def test_a_rank_that_falls_silent_is_named_with_its_host():
    heart = Heart(Mail(0, boxes(2)), ["here", "there"], None)
    with pytest.raises(Ended, match=r"^rank 1 on there has been silent for 0.5 s"):
        heart.rest()


def test_a_rank_that_answers_is_not_taken_for_lost():
    mail = boxes(2)
    heart, asked = Heart(Mail(0, mail), ["here", "there"], None), []

    def other():
        for _ in range(20):
            asked.append(mail[1].get(timeout=patient(20)))
            threading.Event().wait(0.1)
            mail[0].put((1, heartbeat.HERE))
        mail[0].put((1, heartbeat.BYE))

    threading.Thread(target=other, daemon=True).start()
    heart.rest()
    assert asked == [(0, heartbeat.HERE)] * 20


def test_who_does_not_answer_is_asked_once_and_rank_0_is_not_answered_before_it_asks():
    mail = boxes(2)
    for rank in (0, 1):
        with pytest.raises(Ended):
            heart = Heart(Mail(rank, mail), ["here", "there"], None)
            heart.run() if rank == 0 else heart.rest()
    assert mail[0].qsize() == 2  # the answer and the goodbye
    assert mail[1].empty()


def test_patience_counts_silence_but_not_the_time_in_which_nobody_listened(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(Watchdog, "LOOK", 1.0)
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    patience = Watchdog(3)

    def after(seconds):
        now[0] += seconds
        return patience.over()

    assert [after(1) for _ in range(3)] == [False] * 3
    patience.heard()
    assert not after(3600)  # this process was stopped: that counts as one look
    assert [after(1) for _ in range(3)] == [False, False, True]
