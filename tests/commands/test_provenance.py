"""A file is gone on with only by the command that made it: what differs is named, and the file stays as it is."""

from unittest import mock

import numpy as np
import pytest
import torch
from hostile import ran
from processes import command

import landscape.engine.run
from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.engine.results import read
from landscape.networks import build

FEW = ("--examples", 20, "--device", "cpu")
MADE = {
    "surface": ("resnet.pt", "surface.h5", "--x", -1, 1, 3, "--y", -1, 1, 2, "--data", "some.npz", *FEW),
    "line": ("resnet.pt", "line.h5", "--to", "other.pt", "--x", 0, 1, 3, *FEW),
    "lesion": ("resnet.pt", "lesion.h5", "--delete", 1, 2, "--trials", 2, *FEW),
    "curvature": ("resnet.pt", "curvature.h5", "--x", -1, 1, 2, "--y", -1, 1, 2, "--precision", 0.5, *FEW),
    "trajectory": ("other.pt", "trajectory.h5", "--snapshots", "a.pt", "b.pt", *FEW),
}
SCRIPT = {"line": "surface"}


def pictures(seed):
    """Digits' shapes and classes, of noise."""
    rng = np.random.default_rng(seed)
    return {
        f"{split}_{what}": value
        for split in ("train", "test")
        for what, value in {
            "images": rng.integers(0, 256, (40, 8, 8), np.uint8),
            "labels": np.arange(40) % 10,
        }.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Networks of equal shape, two files of data of one name, and what each command made of them."""
    path = tmp_path_factory.mktemp("provenance")
    for number, name in enumerate(("resnet", "other", "a", "b", "plain")):
        network = "plain" if name == "plain" else "resnet"
        small = {"depth": 8, "width": 2, "channels": 1}
        torch.manual_seed(number)
        made = build(network, **small)
        save(Checkpoint(network, small, made.state_dict(), data={"name": "digits"}), path / f"{name}.pt")
    (path / "again").mkdir()
    for number, name in enumerate(("some.npz", "else.npz", "again/some.npz")):
        np.savez(path / name, **pictures(number))
    with mock.patch.object(landscape.engine.run, "__version__", "0.0.1"):
        for name, typed in MADE.items():
            assert ran(SCRIPT.get(name, name), *typed, folder=path)[0] == 0
    return path


@pytest.mark.parametrize("name", MADE)
def test_another_version_goes_on_with_a_warning(folder, name):
    said = command(SCRIPT.get(name, name), *MADE[name], cwd=folder).stdout
    now = landscape.engine.run.__version__
    assert f"{name}.h5 was begun with version_skipscape 0.0.1, this is {now}; going on" in said
    assert "is complete already" in said
    assert read(folder / f"{name}.h5").attributes["version_skipscape"] == "0.0.1"


LOSSES = """
import torch
def zero(outputs, targets): return 0 * outputs[:, 0].detach().nan_to_num()
def negative(outputs, targets): return zero(outputs, targets) - 2
def huge(outputs, targets): return zero(outputs, targets) + 3e38
def infinite(outputs, targets): return zero(outputs, targets) + float("inf")
def nothing(outputs, targets): return zero(outputs, targets) + float("nan")
"""


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        ("zero", 0.0),
        ("negative", -2.0),
        ("huge", float(np.float32(3e38))),
        ("infinite", np.inf),
        ("nothing", np.nan),
    ],
)
def test_any_loss_is_kept_gone_on_with_drawn_and_counted(folder, loss, value):
    (folder / "mine.py").write_text(LOSSES)
    typed = ("resnet.pt", f"{loss}.h5", "--loss", f"mine:{loss}", "--x", -1, 1, 3, "--y", -1, 1, 2, *FEW)
    command("surface", *typed, cwd=folder)
    results = read(folder / f"{loss}.h5")
    np.testing.assert_allclose(results["loss"], np.full((2, 3), value), rtol=1e-6)
    assert results["done"].all() and (results["examples"] == 20).all()
    assert "is complete already: 6 points" in command("surface", *typed, cwd=folder).stdout
    said = command("check", f"{loss}.h5", cwd=folder).stdout
    assert "is whole: 6 rows" in said
    assert ("6 values of loss are not finite" in said) == (not np.isfinite(value))
    command("figure", f"{loss}.png", f"{loss}.h5", cwd=folder)
    table = command("compare", f"{loss}.h5", cwd=folder).stdout
    (told,) = (line for line in table.splitlines() if line.startswith("points not finite"))
    assert told.split()[-1] == ("0" if np.isfinite(value) else "100" if "%" in told else "6"), told
