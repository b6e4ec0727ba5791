"""--ranks: who has started this process already, and what an mpiexec of our own is told."""

import sys

import pytest

from landscape.commands import launch
from landscape.commands.cli import Parser
from landscape.commands.launch import command_on, number_of, ranks_option, started_by, without_ranks
from landscape.engine.ranks import NodeShare
from landscape.errors import BadInput


@pytest.mark.parametrize(
    ("environment", "processes"),
    [
        ({}, None),
        ({"PMI_RANK": "0", "PMI_SIZE": "4"}, 4),  # MPICH, and srun --mpi=pmi2
        ({"PMI_RANK": "0", "PMI_SIZE": "1"}, 1),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"}, 2),
        ({"PMIX_RANK": "1"}, 0),  # it does not say how many
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "3"}, 8),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, None),  # the script of a job, outside srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, None),  # srun --pty bash
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}, 2),
        ({"RANK": "0", "WORLD_SIZE": "2"}, 2),
        ({"RANK": "major"}, None),
    ],
)
def test_a_launcher_is_known_by_what_it_tells_its_processes(environment, processes):
    assert started_by(environment) == processes


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("net.pt a.h5 --ranks 2 --x -1 1 5", "net.pt a.h5 --x -1 1 5"),
        ("--ranks=all net.pt a.h5", "net.pt a.h5"),
        ("--ranks 2 net.pt --ranks 3", "net.pt"),
        ("net.pt -- --ranks 2", "net.pt -- --ranks 2"),  # names of files
        ("net.pt a.h5", "net.pt a.h5"),
    ],
)
def test_ranks_are_not_told_the_option(typed, left):
    assert without_ranks(typed.split()) == left.split()


@pytest.mark.parametrize("word", ["0", "-1", "two", "1.5", "", "²"])
def test_what_is_no_number_of_processes_is_refused(word):
    parser = Parser(prog="measure.py")
    ranks_option(parser)
    with pytest.raises(BadInput, match="is no number of processes"):
        parser.parse_args([f"--ranks={word}"])


def test_all_is_a_rank_for_each_gpu_or_else_for_each_core(monkeypatch):
    monkeypatch.setattr(launch, "node_share", lambda comm: NodeShare(0, 6))
    for gpus, ranks in ((4, (4, "GPU")), (0, (6, "core"))):
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        assert number_of("all", "auto") == ranks
        assert number_of("all", "cpu") == (6, "core")
        assert number_of(3, "auto") == (3, "")


def test_the_mpiexec_beside_this_python_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(launch.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(launch.shutil, "which", lambda name: "/usr/bin/mpiexec")
    assert command_on(2, ["a.py", "x"]) == ["/usr/bin/mpiexec", "-n", "2", sys.executable, "-m", "mpi4py", "a.py", "x"]
    (tmp_path / "mpiexec").touch()
    assert command_on(2, [])[0] == str(tmp_path / "mpiexec")


def test_without_mpi_it_is_said_what_to_install():
    with pytest.raises(BadInput, match=r"ranks 2 needs MPI.*pip install 'skipscape\[mpich\]'"):
        command_on(2, [])


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("net.pt a.h5 --ranks 4", 4),
        ("net.pt a.h5 --ranks=12 --quiet", 12),
        ("net.pt a.h5", None),
        ("net.pt --ranks 1", None),
        ("net.pt --ranks all", None),  # whose number is known only to who has looked for GPUs
        ("net.pt --ranks", None),
        ("net.pt --ranks 2 --ranks 3", None),
        ("net.pt --ranks 2 --help", None),
        ("net.pt -- --ranks 2", None),
    ],
)
def test_a_number_of_ranks_is_read_off_what_is_typed(monkeypatch, typed, number):
    monkeypatch.setattr(launch, "started_by", lambda: None)
    assert launch.typed_ranks(typed.split()) == number
    monkeypatch.setattr(launch, "started_by", lambda: 2)
    assert launch.typed_ranks(typed.split()) is None
