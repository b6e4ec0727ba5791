"""The command gives the numbers of the call on any number of ranks, and its figures are one command."""

import pytest
from files import same
from processes import command

from ensemble.flow.stream import stream

SMALL = {"width": 4, "examples": 200, "batches": 2, "batch_size": 32, "quiet": True}
VARIANTS = ("plain", "resnet:order=pre")
WORDS = ("--depth", 8, "--seeds", 1, "--epochs", 1, "--width", 4, "--examples", 200, "--batches", 2, "--batch-size", 32)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "a.h5"
    stream(VARIANTS, depth=8, seeds=1, epochs=1, **SMALL, out=path)
    return path


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_file_of_the_call_and_a_finished_one_is_left_alone(file, tmp_path):
    command("stream", tmp_path / "a.h5", *VARIANTS, *WORDS, ranks=2)
    same(file, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    assert "complete already" in command("stream", tmp_path / "a.h5", *VARIANTS, *WORDS).stdout
    assert (tmp_path / "a.h5").read_bytes() == before


@pytest.mark.parametrize("show", [(), ("--show", "effect"), ("--show", "norm")])
def test_a_figure_is_one_command(file, tmp_path, show):
    command("figure", tmp_path / "a.png", file, *show, "--titles", "without", "with")
    assert (tmp_path / "a.png").stat().st_size > 20_000


def test_a_checkpoint_is_measured_by_the_command(trained, tmp_path):
    words = ("--checkpoints", trained / "plain.pt", trained / "resnet.pt", "--batches", 1, "--batch-size", 16)
    assert "2 networks" in command("stream", tmp_path / "a.h5", *words).stdout
    command("figure", tmp_path / "a.pdf", tmp_path / "a.h5")


def test_a_mistake_is_refused_in_one_line(tmp_path):
    done = command("stream", tmp_path / "a.h5", "plain", "--batches", 99, "--quiet", check=False)
    assert done.returncode == 2 and "fewer --batches" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "a.h5").exists()
