"""A rank takes its share of the machine, and progress says how long is left."""

from types import SimpleNamespace

import pytest
import torch

from ensemble.flow.gradient_flow import gradient_flow
from ensemble.identity import identity
from landscape.engine.progress import bar
from landscape.engine.ranks import NodeShare, SerialComm
from landscape.errors import BadInput
from landscape.evaluation import device as placing
from landscape.evaluation.device import choose_device, restored
from landscape.training.trainings import trainings


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_rank_keeps_its_share_of_the_cores_busy(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(placing, "node_share", lambda comm: NodeShare(1, 3))
    assert choose_device(SerialComm(), "cpu") == torch.device("cpu")
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("threads")
def test_a_number_of_threads_that_the_user_sets_is_obeyed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    monkeypatch.setattr(placing, "node_share", lambda comm: NodeShare(0, 3))
    choose_device(SerialComm(), "cpu")
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("threads")
def test_threads_and_random_numbers_are_given_back_after_an_error_too():
    torch.set_num_threads(2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with pytest.raises(ZeroDivisionError), restored():
        torch.set_num_threads(1)
        torch.manual_seed(0)
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2 and torch.equal(torch.rand(3), expected)


@pytest.mark.usefixtures("threads")
def test_a_measurement_on_one_thread_gives_the_others_back():
    torch.set_num_threads(2)
    identity(kinds=["plain"], depth=1, learning_rate=0.1, seeds=1, steps=1, quiet=True)
    trainings("plain", depth=8, width=2, seeds=1, epochs=1, examples=20, quiet=True)
    gradient_flow("plain", depth=8, width=2, seeds=1, batches=1, batch_size=4, quiet=True)
    assert torch.get_num_threads() == 2


def test_ranks_take_the_gpus_of_their_machine_in_turn(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for local_rank in (0, 3, 5):
        monkeypatch.setattr(placing, "node_share", lambda comm, n=local_rank: NodeShare(n, 1))
        choose_device(SerialComm())
    assert chosen == [torch.device("cuda", n) for n in (0, 3, 1)]


@pytest.mark.parametrize(
    ("uuids", "said"),
    [
        (["a", "b"], "each has a GPU of its own"),
        (["a", "a"], "some share a GPU"),
    ],
)
def test_each_ranks_gpu_is_said_and_whether_it_is_its_own(monkeypatch, caplog, uuids, said):
    """Both call theirs cuda:0, as where a batch system gives each rank one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: None)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda chosen: SimpleNamespace(name="H200", uuid=uuids[0]), raising=False
    )
    monkeypatch.setattr(placing, "node_share", lambda comm: NodeShare(0, 1))

    class Two:
        rank, size = 0, 2

        def allgather(self, mine):
            (machine, (label, _)) = mine
            return [mine, (machine, (label, uuids[1]))]

    with caplog.at_level("INFO", "skipscape"):
        choose_device(Two())
    assert caplog.messages[0].endswith(f": rank 0 on cuda:0 (H200), rank 1 on cuda:0 (H200); {said}")


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="sees no GPU"):
        choose_device(SerialComm(), "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_used_when_there_is_one():
    assert choose_device(SerialComm()).type == "cuda"


def test_progress_in_a_log_is_whole_lines_with_the_time_left(capsys):
    progress = bar(10, "points", note="2 ranks")
    progress.update(10)
    progress.close()
    lines = capsys.readouterr().err.strip().split("\n")
    assert lines[-1].startswith("10/10 points")
    assert "left" in lines[-1]
    assert "2 ranks" in lines[-1]
    bar(10, "points", quiet=True).close()
    assert capsys.readouterr().err == ""
