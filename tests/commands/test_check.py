"""check.py says whether files are whole, marks what is not, and the command that made a file mends it."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
from files import ROOT, same
from hostile import complaint, ran
from processes import command

from landscape.checkpoints.checkpoint import sha256_of
from landscape.engine import check as module
from landscape.engine.check import check, flaws, repair
from landscape.engine.results import damaged, load, read
from landscape.engine.table import prepare

GRID = ("--x", -1, 1, 4, "--y", -1, 1, 3, "--examples", 20, "--device", "cpu", "--quiet")


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    """A surface of 3×4 points."""
    path = tmp_path_factory.mktemp("check") / "surface.h5"
    command("surface", trained / "resnet.pt", path, *GRID)
    return path


@pytest.fixture
def path(measured, tmp_path):
    return shutil.copy(measured, tmp_path / "a.h5")


def spoil(path, *rows, name="loss"):
    """Flip a bit of some rows, as a disk might."""
    with h5py.File(path) as file:
        start = file[name].id.get_offset()
    with open(path, "r+b") as raw:
        for row in rows:
            raw.seek(start + 8 * row + 3)
            byte = raw.read(1)[0]
            raw.seek(start + 8 * row + 3)
            raw.write(bytes([byte ^ 4]))


def checked(*typed):
    done = command("check", *typed, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_file_that_is_whole_ends_with_status_0(path, trained):
    said = f"{path} is whole: 12 rows of kind surface, each as it was written\n"
    assert checked(path) == (0, said, "")
    assert checked(path, "--checkpoint", trained / "resnet.pt") == (0, said, "")
    before = path.read_bytes()
    assert checked(path, "--repair") == (0, said, "")
    assert path.read_bytes() == before


def test_another_checkpoint_is_said_with_both(path, trained):
    status, said, _ = checked(path, "--checkpoint", trained / "plain.pt")
    mine, other = sha256_of(trained / "resnet.pt"), sha256_of(trained / "plain.pt")
    assert status == 1 and said == f"{path}: it is of the checkpoint with SHA-256 {mine}, not of the one with {other}\n"
    status, _, said = checked(path, "--checkpoint", trained / "gone.pt")
    assert status == 2 and said.count("\n") == 1 and "there is no checkpoint" in said


def test_damaged_rows_are_marked_measured_again_and_nothing_else_is(path, measured, trained):
    whole = read(measured)
    spoil(path, 2, 7)
    spoil(path, 7, name="accuracy")
    status, said, _ = checked(path)
    assert status == 1 and said.count("\n") == 1
    assert "of 2 of 12 rows are not those that were written, the first at y = -1.0, x = 0.3" in said
    assert "2 of 12 rows" in complaint(read, path)  # nor does any other command take it
    status, said, _ = checked(path, "--repair")
    assert status == 1 and said.endswith(f"{path}: 2 rows are marked as not measured\n")
    assert np.flatnonzero(~read(path)["done"]).tolist() == [2, 7]
    status, said, _ = checked(path)
    assert status == 1 and "2 of 12 rows are not measured yet" in said
    done = command("surface", trained / "resnet.pt", path, *GRID)
    assert "complete already" not in done.stdout
    same(path, measured)
    assert path.read_bytes() == measured.read_bytes()
    assert checked(path)[0] == 0 and read(path).attributes["seed"] == whole.attributes["seed"]


def test_what_follows_from_damaged_rows_is_worked_out_again(trained, tmp_path):
    line = ("--x", -1, 1, 129, "--adaptive", 0.2, "--examples", 20, "--device", "cpu", "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *line)
    path = shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    before = read(path)
    assert before["interpolated"].any()
    rows = np.flatnonzero(before["done"])[2], np.flatnonzero(before["interpolated"])[0]
    spoil(path, *rows)
    assert checked(path, "--repair")[0] == 1
    after = read(path)
    assert not after["interpolated"].any() and after["done"].sum() == before["done"].sum() - 1
    command("surface", trained / "resnet.pt", path, *line)
    same(tmp_path / "a.h5", path)


def test_the_worst_of_several_files_is_the_status_and_each_is_told(path, tmp_path):
    (tmp_path / "b.h5").write_bytes(path.read_bytes()[:5000])
    shutil.copy(path, tmp_path / "c.h5")
    spoil(tmp_path / "c.h5", 0)
    status, said, wrong = checked(tmp_path / "c.h5", tmp_path / "b.h5", path)
    assert status == 2
    assert [line.split(":")[0].split()[0] for line in said.splitlines()] == [str(tmp_path / "c.h5"), str(path)]
    assert wrong.startswith(f"check.py: error: {tmp_path / 'b.h5'} is") and wrong.count("\n") == 1


def test_what_cannot_be_read_ends_with_status_2_in_one_line(tmp_path):
    (tmp_path / "empty.h5").touch()
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "pipe.h5")
    names = ("empty", "folder", "pipe", "gone")
    status, said, wrong = checked(*(tmp_path / f"{name}.h5" for name in names))
    assert status == 2 and said == "" and wrong.count("\n") == len(names)
    assert [line.startswith("check.py: error: ") for line in wrong.splitlines()] == [True] * len(names)


RUNNING = (
    "import sys; from landscape.engine.lock import acquire; lock = acquire(sys.argv[1]); print(flush=True); input()"
)


def test_the_file_of_a_running_job_is_not_repaired(path):
    spoil(path, 0)
    before = path.read_bytes()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", RUNNING, path], **pipes) as job:
        job.stdout.readline()
        assert f"is being written by process {job.pid}" in complaint(repair, path, damaged(load(path)))
        assert path.read_bytes() == before
        job.kill()
    repair(path, damaged(load(path)))
    assert path.read_bytes() != before
    assert [p.name for p in path.parent.iterdir()] == ["a.h5"]


def results(tmp_path, **changes):
    """A finished file with values that may be impossible."""
    values = {"loss": 1.0, "loss_se": 0.1, "accuracy": 0.5, "examples": 10} | changes
    table, _ = prepare(
        tmp_path / "a.h5",
        np.zeros((3, 1)),
        kind="reading",
        dims=("x",),
        coordinates={"x": np.arange(3.0)},
        attributes=dict.fromkeys(module.ALWAYS, "a"),
    )
    for row in range(3):
        table.record(row, values if row else {"loss": 1.0, "loss_se": 0.1, "accuracy": 0.5, "examples": 10})
    table.flush()
    return table.path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"accuracy": 1.5}, ["2 values of accuracy are outside 0 to 1"]),
        ({"accuracy": -0.1}, ["2 values of accuracy are outside 0 to 1"]),
        ({"examples": 0}, ["2 values of examples are not positive"]),
        ({"loss_se": -1.0}, ["2 values of loss_se are negative"]),
        ({"loss_se": -np.inf}, ["2 values of loss_se are negative"]),
        ({"loss": np.nan, "loss_se": np.nan, "accuracy": np.nan}, []),
        ({"loss": np.inf, "loss_se": np.inf}, []),
        ({"loss": -1.0, "loss_se": 0.0, "accuracy": 0.0}, []),
        ({"loss": 0.0, "accuracy": 1.0}, []),
        ({"loss": 1e308}, []),
    ],
)
def test_only_what_cannot_be_is_a_flaw(tmp_path, changes, said):
    loaded = load(results(tmp_path, **changes))
    assert [*flaws(loaded, damaged(loaded))] == said


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_no_error(tmp_path, loss):
    verdict = check(results(tmp_path, loss=loss))
    assert verdict.status == 0
    assert verdict.lines[0].endswith("2 values of loss are not finite; that is a result, not an error")
    assert "is whole" in verdict.lines[1]


def test_a_file_that_does_not_say_where_it_comes_from_is_not_whole(tmp_path):
    path = shutil.copy(ROOT / "tests" / "archive" / "surface.h5", tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs["seed"], file.attrs["data_digest"]
    said = f"{path}: it does not say where it comes from: the attributes seed, data_digest are missing\n"
    assert checked(path) == (1, said, "")


def test_help_says_what_each_status_means():
    said = command("check", "--help").stdout
    assert all(words in said for words in ("Status 0", "--repair", "--checkpoint NET.pt", "FILE.h5"))
    assert ran("check", folder=".")[0] == 2
