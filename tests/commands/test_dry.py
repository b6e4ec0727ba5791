"""--dry-run tells what a run would take, and leaves nothing behind."""

import pytest
from processes import command

GRID = ("--x", -1, 1, 5, "--y", -1, 1, 3, "--examples", 50)


@pytest.mark.mpi
def test_a_dry_run_on_two_ranks_tells_rows_time_memory_and_file(trained, tmp_path):
    said = command("surface", trained / "resnet.pt", tmp_path / "a.h5", *GRID, "--dry-run", "-v", ranks=2).stdout
    for part in ("15 points, 0 of them measured already", "15 points on 2 ranks: about", "rank 1 of 2: ", "2 ranks)"):
        assert part in said
    assert "seed: 0\n" in said and "nothing was written" in said and not any(tmp_path.iterdir())


@pytest.mark.mpi
def test_what_a_run_would_refuse_a_dry_run_refuses_in_one_line_on_any_number_of_ranks(trained, tmp_path):
    out = tmp_path / "none" / "a.h5"
    done = command("surface", trained / "resnet.pt", out, *GRID, "--dry-run", ranks=3, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "mkdir -p" in done.stderr


def test_a_dry_run_counts_what_is_measured_and_refuses_what_differs(trained, tmp_path):
    out = tmp_path / "a.h5"
    command("surface", trained / "resnet.pt", out, *GRID, "--quiet")
    before = out.read_bytes()
    assert "nothing is left to measure" in command("surface", trained / "resnet.pt", out, *GRID, "--dry-run").stdout
    other = command("surface", trained / "resnet.pt", out, *GRID, "--dry-run", "--seed", 1, check=False)
    assert other.returncode == 2 and "seed" in other.stderr
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with net.pt and the snapshots of its training."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "snapshots").mkdir()
    small = ("--depth", 8, "--width", 4, "--epochs", 2, "--examples", 300, "--quiet")
    command("train", folder / "net.pt", *small, "--snapshots", folder / "snapshots")
    return folder


@pytest.mark.parametrize(
    ("script", "more"),
    [
        ("surface", ("--x", -1, 1, 9, "--adaptive", "--tolerance", 0.1)),
        ("lesion", ("--delete", 1, 2)),
        ("lesion", ("--shapley", 20)),
        ("curvature", ("--top", 2, "--precision", 0.1)),
        ("sharpness", ("--rho", 0.01)),
        ("redundancy", ()),
        ("trajectory", ("--snapshots", "PLAIN")),
    ],
)
def test_no_command_writes_in_a_dry_run(run, tmp_path, script, more):
    more = [run / "snapshots" if word == "PLAIN" else word for word in more]
    before = sorted(run.rglob("*"))
    said = command(script, run / "net.pt", run / "a.h5", *more, "--examples", 40, "--dry-run", cwd=tmp_path).stdout
    assert "nothing was written" in said and sorted(run.rglob("*")) == before and not any(tmp_path.iterdir())
