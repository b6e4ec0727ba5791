"""Ranks share a machine fairly, and agree on what is wrong."""

import threading

import pytest

from landscape.engine import ranks
from landscape.engine.ranks import SerialComm, collective_errors, node_share, require_same, world
from landscape.errors import BadInput


class Everyone:
    """A communicator that already knows what the others say."""

    def __init__(self, rank, said):
        self.rank, self.size, self.said = rank, len(said), said

    def allgather(self, value):
        return [value if i == self.rank else other for i, other in enumerate(self.said)]


def shared(monkeypatch, rank, cores):
    """The share of a rank, given each rank's machine and the cores it may run on."""
    machine, mine = cores[rank]
    monkeypatch.setattr(ranks.socket, "gethostname", lambda: machine)
    monkeypatch.setattr(ranks.os, "sched_getaffinity", lambda _: mine, raising=False)
    return node_share(Everyone(rank, [(name, frozenset(c)) for name, c in cores]))


def test_unbound_ranks_divide_the_cores_of_their_machine(monkeypatch):
    two_machines = [("a", range(8))] * 4 + [("b", range(8))] * 2
    assert shared(monkeypatch, 3, two_machines) == (3, 2)
    assert shared(monkeypatch, 4, two_machines) == (0, 4)


def test_bound_ranks_keep_the_cores_they_were_given(monkeypatch):
    bound = [("a", {0, 1, 2}), ("a", {3, 4, 5})]
    assert shared(monkeypatch, 1, bound) == (1, 3)


def test_more_ranks_than_cores_get_one_thread_each(monkeypatch):
    assert shared(monkeypatch, 2, [("a", {0, 1})] * 3) == (2, 1)


def test_what_is_wrong_for_one_is_raised_by_all():
    with (
        pytest.raises(BadInput, match="no file here") as caught,
        collective_errors(Everyone(0, [None, "no file here"])),
    ):
        pass
    assert caught.value.collective
    with pytest.raises(BadInput, match="mine"), collective_errors(Everyone(0, [None, None])):
        raise BadInput("mine")


def test_a_bug_is_not_disguised_as_bad_input():
    with pytest.raises(ZeroDivisionError), collective_errors(SerialComm()):
        _ = 1 / 0


def test_processes_that_cannot_see_each_other_are_refused(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")
    seen = []

    def look():  # in a thread, so that an MPI that is up already does not matter
        try:
            world()
        except BadInput as error:
            seen.append(str(error))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert len(seen) == 1
    assert "one of 4 processes" in seen[0]


def complaint(rank, *everyone):
    """What a rank says of what everyone has."""
    said = [(f"host{n}", {name: str(value) for name, value in mine.items()}) for n, mine in enumerate(everyone)]
    try:
        require_same(Everyone(rank, said), everyone[rank])
    except BadInput as error:
        assert error.collective
        return str(error)


def test_ranks_that_have_the_same_are_alike():
    mine = {"version": "1", "learning_rate": float("nan"), "sizes": [1, 2]}
    assert complaint(0, mine, dict(mine), dict(mine)) is None


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_rank_that_has_something_else_is_named_by_all_with_both_values(rank):
    said = complaint(rank, {"version": "1", "seed": 0}, {"version": "1", "seed": 0}, {"version": "2", "seed": 1})
    assert said.startswith("the version of rank 2 on ") and " is 2, that of rank 0 on " in said
    assert said.endswith(" 1; start all ranks with the same")


def test_a_rank_that_lacks_something_is_not_alike():
    assert "the seed of rank 1 on host1 is nothing" in complaint(0, {"seed": 0}, {})
    assert "the seed of rank 1 on host1 is 3" in complaint(0, {}, {"seed": 3})


def test_code_is_told_apart_by_its_content(monkeypatch, tmp_path):
    for folder in ("landscape", "ensemble"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text("x = 1")
    monkeypatch.setattr(ranks, "__file__", str(tmp_path / "landscape" / "engine" / "ranks.py"))
    first = ranks._code()
    assert ranks._code() == first
    (tmp_path / "ensemble" / "a.py").write_text("x = 2")
    assert ranks._code() != first
