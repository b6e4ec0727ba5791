"""Files of the first format, made before rows had checksums, are read, drawn, compared and gone on with.

They are of ``archive/net.pt``, a residual network of depth 8 and width 2, over 100 digits; all but the first were
stopped half way. Those that commands go on with here have no normalised directions and no cosines, which differ in
their last bits from processor to processor and would make them another measurement.
"""

import shutil

import numpy as np
import pytest
from files import ROOT
from processes import command

from landscape.engine.table import read

ARCHIVE = ROOT / "tests" / "archive"
FEW = ("--examples", 100, "--device", "cpu")
HOW = {
    "line": ("surface", "--x", -1, 1, 129, "--normalize", "none", "--adaptive"),
    "lesion": ("lesion", "--delete", 1),
}


@pytest.fixture
def folder(tmp_path):
    for path in ARCHIVE.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", HOW)
def test_old_files_are_gone_on_with_as_what_they_are(name, folder):
    script, *how = HOW[name]
    path, before = folder / f"{name}.h5", read(ARCHIVE / f"{name}.h5")
    command(script, folder / "net.pt", path, *how, *FEW)
    after = read(path)
    assert after.known.all() and after.crc is None and after.attributes["format"] == 1
    for variable in before.variables.keys() - {"done", "interpolated", "miss"}:
        np.testing.assert_array_equal(after[variable][before["done"]], before[variable][before["done"]])
    stamp = path.stat().st_mtime_ns
    assert "is complete already" in command(script, folder / "net.pt", path, *how, *FEW).stdout
    assert path.stat().st_mtime_ns == stamp
    fresh = folder / "fresh.h5"
    command(script, folder / "net.pt", fresh, *how, *FEW)
    new = read(fresh)
    assert new.crc is not None
    np.testing.assert_array_equal(new["done"], after["done"])
    np.testing.assert_allclose(new["loss"], after["loss"], rtol=1e-4)


def test_old_files_are_drawn_and_compared(folder):
    for names in (["surface"], ["line"], ["lesion"], ["curvature"]):
        command("figure", folder / "a.png", *(folder / f"{name}.h5" for name in names))
        assert (folder / "a.png").stat().st_size > 10_000
    said = command("compare", *(folder / f"{name}.h5" for name in ("surface", "lesion", "curvature"))).stdout
    assert "ResNet-8" in said


def test_old_files_are_checked_as_far_as_that_goes(folder):
    done = command("check", folder / "surface.h5", "--checkpoint", folder / "net.pt")
    assert done.stdout == f"{folder / 'surface.h5'} is whole: 20 rows of kind surface, of a format without checksums\n"
    done = command("check", folder / "line.h5", check=False)
    assert done.returncode == 1 and "89 of 129 rows are not measured yet" in done.stdout
