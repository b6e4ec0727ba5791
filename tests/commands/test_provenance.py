"""A file is gone on with only by the command that made it: what differs is named, and the file stays as it is."""

import numpy as np
import pytest
from measured_twice import FEW, MADE, SCRIPT, folder
from processes import command

import landscape.engine.run
from landscape.engine.results import read

folder = pytest.fixture(scope="module")(folder)


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
    (text,) = (line for line in table.splitlines() if line.startswith("points not finite"))
    assert text.split()[-1] == ("0" if np.isfinite(value) else "100" if "%" in text else "6"), text
