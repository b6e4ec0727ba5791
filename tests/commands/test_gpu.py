"""On a GPU: the same bits each time and on any number of ranks, and near those of a processor."""

import numpy as np
import pytest
import torch
from files import same
from processes import command

from landscape.checkpoints import checkpoint
from landscape.engine.table import read

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
GRID = ("--x", -1, 1, 5, "--y", -1, 1, 3, "--examples", 200, "--quiet")
STUDIES = {
    "surface": GRID,
    "lesion": ("--delete", 1, 2, "--trials", 5, "--quiet"),
    "curvature": ("--x", -0.5, 0.5, 3, "--examples", 100, "--quiet"),
    "redundancy": ("--quiet",),
}


@pytest.mark.parametrize("study", STUDIES)
def test_a_gpu_gives_the_same_bits_on_any_number_of_ranks(trained, tmp_path, study):
    for ranks in (1, 2):
        command(
            study, trained / "resnet.pt", tmp_path / f"{ranks}.h5", *STUDIES[study], "--device", "cuda", ranks=ranks
        )
    same(tmp_path / "1.h5", tmp_path / "2.h5")


def test_a_gpu_and_a_processor_agree_to_rounding(trained, tmp_path):
    for device in ("cpu", "cuda"):
        command("surface", trained / "resnet.pt", tmp_path / f"{device}.h5", *GRID, "--device", device)
    one, other = (read(tmp_path / f"{device}.h5")["loss"] for device in ("cpu", "cuda"))
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.mpi
def test_compiled_on_a_gpu_gives_the_same_bits_on_any_number_of_ranks(trained, tmp_path):
    for ranks in (1, 2):
        how = (*GRID, "--device", "cuda", "--compile")
        command("surface", trained / "resnet.pt", tmp_path / f"{ranks}.h5", *how, ranks=ranks)
    same(tmp_path / "1.h5", tmp_path / "2.h5")


@pytest.mark.parametrize("bfloat16", [(), ("--bfloat16",)])
def test_a_recorded_step_trains_as_one_that_is_not(tmp_path, bfloat16):
    """450 examples: each epoch has batches that are replayed and a short one that is not."""
    how = ("--depth", 8, "--epochs", 3, "--examples", 450, "--augment", "--quiet", *bfloat16)
    for name, recorded in (("plain", ()), ("replayed", ("--record",))):
        command("train", tmp_path / f"{name}.pt", *how, *recorded)
    one, other = (checkpoint.load(tmp_path / f"{name}.pt").history for name in ("plain", "replayed"))
    for quantity in ("train_loss", "test_loss"):
        np.testing.assert_allclose(one[quantity], other[quantity], rtol=0.05 if bfloat16 else 1e-3)
    assert one["train_loss"][-1] < 0.9 * one["train_loss"][0]
