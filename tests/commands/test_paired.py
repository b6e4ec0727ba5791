"""The rise of the loss and its standard error, against the differences written out."""

import numpy as np
from processes import command

from landscape.engine.table import read


def test_in_a_reduced_type_some_of_many_trials_are_measured_in_float32_too(trained, tmp_path):
    how = ("--gate", "stages.0.0", "--alpha", 0, 1, 21, "--examples", 100, "--dtype", "bfloat16", "--quiet")
    command("lesion", trained / "resnet.pt", tmp_path / "a.h5", *how)
    results = read(tmp_path / "a.h5")
    assert results["done"].all() and np.isfinite(results["rise"]).all()
    twice = np.isfinite(results["loss_float32"])
    assert 2 <= twice.sum() < twice.size
    np.testing.assert_allclose(results["loss"][twice], results["loss_float32"][twice], rtol=0.05)
