"""The command aligns as the call does, with the same bits on any number of ranks, and its lines are one figure."""

import pytest
from files import same
from processes import command

from landscape.engine.table import read
from landscape.training.train import train


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for seed in range(2):
        train(folder / f"{seed}.pt", depth=8, width=4, epochs=2, seed=seed, examples=600, quiet=True)
    return folder


@pytest.mark.mpi
@pytest.mark.parametrize("by", ["weights", "activations"])
def test_lines_are_the_same_on_any_number_of_ranks_and_a_finished_one_is_left_alone(two, tmp_path, by):
    words = (two / "0.pt", "--to", two / "1.pt", "--x", 0, 1, 5, "--examples", 200, "--align", by)
    done = command("surface", *words[:1], tmp_path / "a.h5", *words[1:])
    assert (
        "of 28 units moved" in done.stdout and "barrier over the straight line" in done.stdout and " ± " in done.stdout
    )
    for ranks in (2, 3):
        command("surface", *words[:1], tmp_path / f"{ranks}.h5", *words[1:], ranks=ranks)
        same(tmp_path / "a.h5", tmp_path / f"{ranks}.h5")
    before = (tmp_path / "a.h5").read_bytes()
    assert "complete already" in command("surface", *words[:1], tmp_path / "a.h5", *words[1:]).stdout
    assert (tmp_path / "a.h5").read_bytes() == before


def test_lines_before_and_after_are_one_figure_and_parts_of_one_table(two, tmp_path):
    how = {
        "line": (),
        "aligned": ("--align", "weights"),
        "corrected": ("--align", "weights", "--batchnorm", "recalibrated"),
    }
    files = [tmp_path / f"{name}.h5" for name in how]
    for file, words in zip(files, how.values(), strict=True):
        command(
            "surface", two / "0.pt", file, "--to", two / "1.pt", "--x", 0, 1, 5, "--examples", 200, "--quiet", *words
        )
    assert [read(file).attributes.get("align") for file in files] == [None, "weights", "weights"]
    command("figure", tmp_path / "a.svg", *files)
    drawn = (tmp_path / "a.svg").read_text()
    assert all(text in drawn for text in ("not aligned", "aligned by weights, BatchNorm recalibrated: barrier"))
    table = command("compare", *files).stdout
    assert "aligned by weights" in table and table.count("standard error of the barrier over the line") == 3


def test_a_mistake_is_refused_in_one_line(two, tmp_path):
    done = command("surface", two / "0.pt", tmp_path / "a.h5", "--align", "weights", check=False)
    assert done.returncode == 2 and "name one with --to" in done.stderr and done.stderr.count("\n") == 1
