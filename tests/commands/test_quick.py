"""The ways to the same picture for less, as typed: fewer points and examples, a reduced type, compilation."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch
from files import ROOT, same
from processes import BIN, ENVIRONMENT, command

from landscape.drawing import page
from landscape.engine.table import read
from landscape.networks import build

QUICK = ("--x", -1, 1, 13, "--y", -1, 1, 11, "--dtype", "bfloat16", "--tolerance", 0.05, "--adaptive", 0.3)


@pytest.fixture(scope="module")
def quick(trained, tmp_path_factory):
    """A surface with everything that makes it quick, by one process."""
    path = tmp_path_factory.mktemp("quick") / "a.h5"
    said = command("surface", trained / "resnet.pt", path, *QUICK).stdout
    return path, said


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_quick_surface_is_the_same_from_any_number_of_ranks(trained, quick, tmp_path, ranks):
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *QUICK, ranks=ranks)
    same(quick[0], tmp_path / "a.h5")


def test_a_quick_surface_says_what_it_left_out(trained, quick):
    path, said = quick
    results = read(path)
    assert (results["interpolated"] == ~results["done"]).all() and results.known.all()
    assert 0 < results["interpolated"].sum() < 143
    assert np.isfinite(results["loss"]).all()
    measured = results["done"]
    assert (results["loss_se"][measured] <= 0.05 * results["loss"][measured]).all()
    assert results["examples"][measured].min() >= 1000 and (results["examples"][~measured] == 0).all()
    assert {1024} <= {*results["examples"][measured].tolist()} <= {*range(1024, 1202)}
    twice = np.isfinite(results["loss_float32"])
    assert twice.sum() >= 5 and twice[[0, 0, -1, -1, 5], [0, -1, 0, -1, 6]].all() and measured[twice].all()
    np.testing.assert_allclose(results["loss"][twice], results["loss_float32"][twice], rtol=0.05)
    assert "interpolated" in said and "bfloat16 against float32, at" in said
    before = path.stat().st_mtime_ns
    assert "complete already" in command("surface", trained / "resnet.pt", path, *QUICK, ranks=2).stdout
    assert path.stat().st_mtime_ns == before


def test_a_quick_surface_is_near_the_full_one(trained, quick, tmp_path):
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *QUICK[:8])
    full, results = read(tmp_path / "a.h5"), read(quick[0])
    off = np.abs(np.log(results["loss"] / full["loss"]))
    assert np.median(off) < 0.03
    assert off.max() < 0.4
    assert (full["examples"] == 1201).all() and "interpolated" not in full.variables


def test_a_quick_surface_goes_on_after_an_interruption(trained, quick, tmp_path):
    """Half of the rows are taken back: what an interrupted run leaves."""
    path = tmp_path / "a.h5"
    path.write_bytes(quick[0].read_bytes())
    with h5py.File(path, "r+") as file:
        taken = np.zeros(file["done"].shape, bool)
        taken[5:] = True
        for name in ("loss", "loss_se", "accuracy", "loss_float32", "miss"):
            file[name][...] = np.where(taken | file["interpolated"][...], np.nan, file[name][...])
        file["examples"][...] = np.where(taken, 0, file["examples"][...])
        file["done"][...] &= ~taken
        file["interpolated"][...] = False
        file["miss"][...] = np.nan
    command("surface", trained / "resnet.pt", path, *QUICK, ranks=2)
    same(quick[0], path)


@pytest.mark.mpi
def test_a_surface_with_controls_is_the_same_from_any_number_of_ranks_and_after_an_interruption(trained, tmp_path):
    plane = ("--x", -1, 1, 11, "--y", -1, 1, 9, "--tolerance", 0.05, "--estimator", "regression", "--batch-size", 100)
    call = ("surface", trained / "resnet.pt")
    said = command(*call, tmp_path / "one.h5", *plane).stdout
    assert "5 control points for the regression: " in said
    for ranks in (2, 3):
        command(*call, tmp_path / f"{ranks}.h5", *plane, ranks=ranks)
        same(tmp_path / "one.h5", tmp_path / f"{ranks}.h5")
    with h5py.File(tmp_path / "3.h5", "r+") as file:
        for name in ("loss", "loss_se", "accuracy"):
            file[name][4:] = np.nan
        file["examples"][4:] = 0
        file["done"][4:] = False
    assert "control points" in command(*call, tmp_path / "3.h5", *plane, ranks=2).stdout
    same(tmp_path / "one.h5", tmp_path / "3.h5")
    assert "control points" not in command(*call, tmp_path / "3.h5", *plane).stdout  # complete: nothing is measured
    results = read(tmp_path / "3.h5")
    assert 500 <= results["examples"].min() < 1000 and results.attributes["estimator"] == "regression"


def test_a_quick_surface_is_drawn_and_compared(quick, tmp_path):
    command("figure", tmp_path / "a.svg", quick[0])
    assert (tmp_path / "a.svg").stat().st_size > 10_000
    part = 100 * read(quick[0])["interpolated"].mean()
    (note,) = [a for a in page.planes([read(quick[0])]).legends[0].get_texts() if "interpolated" in a.get_text()]
    assert note.get_text() == f"{part:.0f} % of the points are interpolated"
    said = command("compare", quick[0]).stdout
    assert "points measured" in said and "off float32" in said


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
def test_a_compiled_surface_is_the_same_surface(trained, tmp_path):
    few = ("--x", -1, 1, 5, "--examples", 100, "--quiet")
    command("surface", trained / "resnet.pt", tmp_path / "eager.h5", *few)
    command("surface", trained / "resnet.pt", tmp_path / "a.h5", *few, "--compile")
    eager, compiled = read(tmp_path / "eager.h5"), read(tmp_path / "a.h5")
    np.testing.assert_allclose(compiled["loss"], eager["loss"], rtol=1e-5)
    assert compiled.attributes["compiled"]


PEAK = """
import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_a_plane_takes_four_copies_of_the_weights(tmp_path):
    """From two widths, so that what does not grow with the weights drops out."""
    (tmp_path / "peak.py").write_text(PEAK)
    peaks, sizes = [], []
    for width in (32, 152):
        network = build("resnet", depth=20, width=width, channels=1)
        torch.save(network.state_dict(), tmp_path / "a.pt")
        sizes.append(4 * sum(p.numel() for p in network.parameters()))
        text = ("--network", "resnet", "--argument", "depth=20", f"width={width}", "--data", "digits")
        grid = ("--examples", 20, "--x", -1, 1, 2, "--y", -1, 1, 2, "--quiet")
        call = [sys.executable, tmp_path / "peak.py", ROOT / "scripts/surface.py", tmp_path / "a.pt"]
        environment = {**os.environ, **ENVIRONMENT}
        call = [*map(str, [*call, tmp_path / f"{width}.h5", *text, *grid])]
        said = subprocess.run(call, capture_output=True, text=True, env=environment, check=True).stdout
        peaks.append(int(said.split()[-1]))
    assert sizes[1] > 4 * 24e6
    assert (peaks[1] - peaks[0]) / (sizes[1] - sizes[0]) < 4.5  # and the product of one layer at a time


@pytest.mark.mpi
def test_quick_lesions_are_the_same_from_two_ranks_and_near_the_full_ones(trained, tmp_path):
    how = ("--delete", 1, 2, "--split", "train")
    less = ("--tolerance", 0.05, "--dtype", "bfloat16")
    said = command("lesion", trained / "resnet.pt", tmp_path / "one.h5", *how, *less).stdout
    assert "bfloat16 against float32" in said
    command("lesion", trained / "resnet.pt", tmp_path / "two.h5", *how, *less, ranks=2)
    same(tmp_path / "one.h5", tmp_path / "two.h5")
    command("lesion", trained / "resnet.pt", tmp_path / "full.h5", *how)
    quick, full = read(tmp_path / "one.h5"), read(tmp_path / "full.h5")
    np.testing.assert_allclose(quick["loss"], full["loss"], rtol=0.2)
    assert np.isfinite(quick["loss_float32"]).sum() >= 2


@pytest.mark.parametrize("script", ["surface", "train"])
def test_where_there_is_no_compiler_one_line_says_so(trained, tmp_path, script):
    none = {"CXX": "/nowhere/c++", "PATH": str(BIN), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    first = [trained / "resnet.pt"] if script == "surface" else []
    small = ["--x", 0, 0, 1] if script == "surface" else ["--depth", 8, "--width", 4, "--epochs", 1]
    done = command(
        script, *first, tmp_path / "a", *small, "--examples", 100, "--quiet", "--compile", check=False, env=none
    )
    assert done.returncode == 2
    assert "torch.compile fails here" in done.stderr and "leave out --compile" in done.stderr
    assert "Traceback" not in done.stderr
