"""What blocks do, against closed forms: downhill or not, how much, what layers share, whether nothing can be learnt."""

import numpy as np
import pytest
from files import same
from processes import command

from ensemble.flow.reuse import reuse
from ensemble.identity import identity
from landscape.errors import BadInput
from landscape.training.train import train

# The tables


@pytest.mark.mpi
def test_the_identity_is_regressed_alike_on_any_number_of_ranks(tmp_path):
    few = {"depth": [1, 3], "learning_rate": [0.01, 1e20], "seeds": 2, "steps": 20, "quiet": True}
    results = identity(kinds=["plain", "residual, BatchNorm"], **few, out=tmp_path / "a.h5")
    words = ("--depth", 1, 3, "--learning-rate", 0.01, 1e20, "--seeds", 2, "--steps", 20, "--quiet")
    command("identity", tmp_path / "b.h5", "--kinds", "plain", "residual, BatchNorm", *words, ranks=2)
    same(tmp_path / "a.h5", tmp_path / "b.h5")
    assert results["error"].shape == (2, 2, 2, 2) and results["done"].all()
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_a_densenet_uses_is_two_calls_away(trained, tmp_path):
    small = {"depth": 10, "arguments": {"growth": 3}, "epochs": 1, "examples": 100, "quiet": True}
    train(tmp_path / "a.pt", network="densenet", **small)
    results = reuse(tmp_path / "a.pt", out=tmp_path / "a.h5", quiet=True)
    assert np.isfinite(results["weight"]).sum() == 3 * 6
    assert "complete already" in command("reuse", tmp_path / "a.pt", tmp_path / "a.h5").stdout
    command("figure", tmp_path / "a.png", tmp_path / "a.h5")
    assert (tmp_path / "a.png").stat().st_size > 10_000
    with pytest.raises(BadInput, match="densenet"):
        reuse(trained / "resnet.pt", out=tmp_path / "b.h5")
