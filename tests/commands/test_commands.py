"""The real commands, on one and several ranks: what users type and what they get."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from files import ROOT, same
from patience import patient
from processes import ENVIRONMENT, command

from landscape.checkpoints.checkpoint import load, save
from landscape.engine.table import read
from landscape.training.train import train
from landscape.weights import digest

GRID = ("--x", -1, 1, 5, "--y", -1, 1, 3, "--examples", 100)


@pytest.fixture(scope="module")
def surface(trained, tmp_path_factory):
    """A 3×5 surface measured by one process without mpiexec."""
    path = tmp_path_factory.mktemp("surface") / "surface.h5"
    command("surface", trained / "resnet.pt", path, *GRID)
    return path


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_any_number_of_ranks_gives_the_same_surface(trained, surface, tmp_path, ranks):
    command("surface", trained / "resnet.pt", tmp_path / "surface.h5", *GRID, ranks=ranks, fresh=ranks == 3)
    same(surface, tmp_path / "surface.h5")


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_lesions(trained, tmp_path):
    plan = ("--delete", 1, 3, "--trials", 2, "--seed", 2, "--quiet")
    command("lesion", trained / "resnet.pt", tmp_path / "one.h5", *plan)
    command("lesion", trained / "resnet.pt", tmp_path / "two.h5", *plan, ranks=2)
    same(tmp_path / "one.h5", tmp_path / "two.h5")
    deleted = read(tmp_path / "one.h5")["deleted"]
    assert deleted.sum(1).tolist() == [0] + [1] * 2 + [2] * 2 + [3]


@pytest.mark.parametrize("how", [("--normalize", "layer"), ("--normalize", "none"), ("--move-biases",)])
def test_other_directions_are_another_measurement(trained, surface, tmp_path, how):
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *GRID, *how)
    one, other = read(surface), read(tmp_path / "a.h5")
    assert one["loss"][1, 2] == other["loss"][1, 2]  # the centre
    assert not np.isclose(one["loss"][0, 0], other["loss"][0, 0], rtol=1e-3)
    assert one.attributes["directions"] != other.attributes["directions"]
    refused = command("surface", trained / "resnet.pt", surface, *GRID, *how, check=False)
    assert refused.returncode == 2 and "its directions is" in refused.stderr


def test_the_row_y_0_is_the_one_dimensional_surface(trained, surface, tmp_path):
    command("surface", trained / "resnet.pt", tmp_path / "line.h5", "--x", -1, 1, 5, "--examples", 100, "--quiet")
    line, plane = read(tmp_path / "line.h5"), read(surface)
    for name in ("loss", "loss_se", "accuracy", "examples"):
        np.testing.assert_array_equal(line[name], plane[name][1])


def test_the_centre_is_the_checkpoints_own_loss(trained, tmp_path):
    said = command("train", trained / "resnet.pt", "--depth", 8, "--width", 4, "--epochs", 2).stdout
    assert "trained already" in said
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", "--x", 0, 0, 1, "--quiet")
    assert f"loss {read(tmp_path / 'a.h5')['loss'][0]:.4f}" in said


def test_provenance_is_in_the_file(surface):
    attributes = read(surface).attributes
    expected = """kind command seed network checkpoint data data_digest split loss dtype device batchnorm
        version_skipscape version_torch version_numpy directions direction_digest cosine"""
    for name in expected.split():
        assert name in attributes
    assert abs(attributes["cosine"]) < 0.3
    assert attributes["command"].startswith("surface.py ")


def test_a_finished_command_does_nothing_and_says_so(trained, surface):
    before = surface.stat()
    assert "complete already" in command("surface", trained / "resnet.pt", surface, *GRID, ranks=2).stdout
    after = surface.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def wrong(folder):
    """Bad input: the arguments, and words of the answer."""
    net, out = folder / "resnet.pt", folder / "wrong.h5"
    return {
        "missing checkpoint": (["surface", folder / "gone.pt", out], "no checkpoint"),
        "descending axis": (["surface", net, out, "--x", 1, -1, 5], "does not ascend"),
        "no tolerance": (["surface", net, out, "--tolerance", 2], "between 0 and 1"),
        "no miss": (["surface", net, out, "--adaptive", 0], "between 0 and 1"),
        "unknown type": (["surface", net, out, "--dtype", "float8"], "bfloat16"),
        "empty axis": (["surface", net, out, "--x", -1, 1, 0], "1 or more"),
        "words for numbers": (["surface", net, out, "--x", "a", "b", "c"], "invalid float"),
        "missing folder": (["surface", net, folder / "no" / "a.h5"], "mkdir -p"),
        "unknown option": (["surface", net, out, "--bogus"], "--bogus"),
        "unknown loss": (["surface", net, out, "--loss", "huber"], "cross_entropy, mse"),
        "negative seed": (["surface", net, out, "--seed", -1], "0 or more"),
        "too many blocks": (["lesion", net, out, "--delete", 4], "3 removable blocks"),
        "descending counts": (["lesion", net, out, "--delete", 3, 1, "--trials", 2], "ascending"),
        "not a checkpoint": (["lesion", folder / "text", out], "not a checkpoint"),
        "other data": (["surface", net, out, "--data", "nowhere"], "nowhere"),
        "unknown network": (["train", folder / "new.pt", "--network", "resnext"], "resnet, plain"),
        "impossible depth": (["train", folder / "new.pt", "--depth", 9], "depth"),
        "another run": (["train", net, "--depth", 8, "--width", 4, "--epochs", 3], "epochs is 2, this command's is 3"),
        "no results": (["compare", folder / "text"], "not an HDF5 file"),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(wrong(ROOT)))
def test_bad_input_gets_one_line_and_status_2_and_changes_nothing(trained, case):
    (trained / "text").write_text("hello")
    arguments, said = wrong(trained)[case]
    before = {path: path.read_bytes() for path in trained.iterdir()}
    done = command(*arguments, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in trained.iterdir()} == before


@pytest.mark.mpi
def test_bad_input_gets_one_line_from_many_ranks_too(trained, surface):
    for arguments, said in [
        (["surface", trained / "gone.pt", surface.parent / "a.h5"], "no checkpoint"),
        (["surface", trained / "resnet.pt", surface, *GRID, "--seed", 1], "its seed is 0, this command's is 1"),
    ]:
        before = surface.read_bytes()
        done = command(*arguments, ranks=3, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert surface.read_bytes() == before


def start(trained, path, ranks, *more):
    script = [sys.executable, "-m", "mpi4py", ROOT / "scripts/surface.py", trained / "resnet.pt", path]
    launch = ["mpiexec", "-n", ranks, *script, "--x", -1, 1, 90, "--y", -1, 1, 90, "--quiet", *more]
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen(list(map(str, launch)), stderr=subprocess.PIPE, text=True, env=environment)
    while not (path.exists() and read(path)["done"].any()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    return process


def ranks_of(path):
    listed = subprocess.run(["pgrep", "-f", f"^{sys.executable}.*{path} "], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]


@pytest.mark.mpi
def test_a_dead_rank_ends_the_job_and_what_was_flushed_stays(trained, tmp_path):
    process = start(trained, tmp_path / "a.h5", 3)
    os.kill(ranks_of(tmp_path / "a.h5")[-1], signal.SIGKILL)
    assert process.wait(timeout=patient(30)) != 0
    assert ranks_of(tmp_path / "a.h5") == []
    results = read(tmp_path / "a.h5")
    assert 0 < results["done"].sum() < 8100
    assert np.isfinite(results["loss"][results["done"]]).all()


@pytest.mark.mpi
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_writes_what_there_is_and_ends(trained, tmp_path, number, status):
    process = start(trained, tmp_path / "a.h5", 2)
    before = read(tmp_path / "a.h5")["done"].sum()
    process.send_signal(number)
    _, said = process.communicate(timeout=patient(30))
    assert process.returncode == status
    assert f"stopped by {number.name}; the same command goes on" in said
    assert "Traceback" not in said, said
    assert read(tmp_path / "a.h5")["done"].sum() >= before


RETURNING = """
from landscape.commands.cli import _abort

class Comm:
    size = 2
    def Abort(self, status):
        pass

_abort(Comm(), 130)
print("went on")
"""


def test_an_abort_that_returns_ends_the_process_all_the_same():
    done = subprocess.run([sys.executable, "-c", RETURNING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


LOSS = """
import os, torch
from torch.nn import functional as F
count = 0
def failing(outputs, targets):
    global count
    count += 1
    if int(os.environ.get("PMI_RANK", 0)) == 1 and count > 3:
        raise RuntimeError("this loss has had enough")
    return F.cross_entropy(outputs, targets, reduction="none")
"""


@pytest.mark.mpi
def test_a_rank_that_raises_ends_the_job_with_its_message(trained, tmp_path):
    (tmp_path / "mine.py").write_text(LOSS)
    done = command(
        "surface", trained / "resnet.pt", tmp_path / "a.h5", "--loss", "mine:failing", "--quiet",
        ranks=3, check=False, fresh=True, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "this loss has had enough" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.mpi
def test_a_file_that_is_taken_away_ends_the_job_in_one_line(trained, tmp_path):
    process = start(trained, tmp_path / "a.h5", 2)
    (tmp_path / "a.h5").unlink()
    assert process.wait(timeout=patient(60)) == 2
    said = process.stderr.read()
    assert "surface.py: error: cannot write" in said and "SIGINT" not in said and "Traceback" not in said


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path):
    small = ["--depth", 8, "--width", 4, "--epochs", 12, "--examples", 300, "--save-every", 0]
    script = [sys.executable, ROOT / "scripts/train.py", tmp_path / "a.pt", *small]
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen(
        list(map(str, script)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    while not (tmp_path / "a.pt").exists():
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 1 <= load(tmp_path / "a.pt").state["epoch"] < 12
    assert "going on from epoch" in command("train", tmp_path / "a.pt", *small).stdout
    whole = train(depth=8, width=4, epochs=12, examples=300, quiet=True)
    assert digest(load(tmp_path / "a.pt").weights) == digest(whole.weights)


def test_training_is_not_silent_while_its_errors_are_measured(tmp_path):
    done = command("train", tmp_path / "a.pt", "--depth", 8, "--width", 4, "--epochs", 1, "--examples", 1200)
    assert "5/5 batches measured" in done.stderr  # of 500 images: 3 of training, 2 of test


@pytest.mark.mpi
def test_training_on_many_ranks_is_refused_once(tmp_path):
    done = command("train", tmp_path / "a.pt", ranks=2, check=False)
    assert done.returncode == 2
    assert "without mpiexec" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_network_in_training_is_not_measured_yet(trained, tmp_path):
    unfinished = load(trained / "resnet.pt")
    unfinished.state = {"epoch": 1}
    save(unfinished, tmp_path / "a.pt")
    done = command("surface", tmp_path / "a.pt", tmp_path / "a.h5", check=False)
    assert done.returncode == 2
    assert "is in training, at epoch 1" in done.stderr


def test_compare_prints_a_column_a_network(trained, surface, tmp_path):
    for network in ("resnet", "plain"):
        command("lesion", trained / f"{network}.pt", tmp_path / f"{network}.h5", "--quiet")
    table = command("compare", surface, tmp_path / "resnet.h5", tmp_path / "plain.h5").stdout
    columns = re.split(r"  +", table.split("\n")[0].strip())
    assert columns == ["ResNet-8, width 4", "plain, 8 layers, width 4", "difference"]
    for row in ("training data", "loss at the centre (nats)", "convex part of the slice", "median error, 1 deleted"):
        assert row in table


def test_a_figure_is_drawn_as_it_is_asked_for(surface, trained, tmp_path):
    command("figure", tmp_path / "a.png", surface)
    looks = (["--levels", 1, 3], ["--linear"], ["--vmin", 0.5, "--vmax", 5], ["--cmap", "cividis"], ["--view", 60, 10])
    drawn = {(tmp_path / "a.png").read_bytes()}
    for how in looks:
        command("figure", tmp_path / "b.png", surface, *how)
        drawn.add((tmp_path / "b.png").read_bytes())
    assert len(drawn) == len(looks) + 1
    for kind in ("repeats", "z"):
        name = tmp_path / f"{kind}.h5"
        axes = ["--repeats", 2] if kind == "repeats" else ["--z", 0, 1, 2]
        net = trained / "resnet.pt"
        command("surface", net, name, "--x", -1, 1, 3, "--y", -1, 1, 3, *axes, "--examples", 60, "--quiet")
        done = command("figure", tmp_path / "c.png", name, "--cmap", "rainboww", check=False)
        assert done.returncode == 2 and "there is no colour map 'rainboww'" in done.stderr


def test_a_processor_is_taken_where_it_is_asked_for(trained, tmp_path):
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", "--x", 0, 0, 1, "--device", "cpu", "--quiet")
    assert read(tmp_path / "a.h5").attributes["device"] == "cpu"
