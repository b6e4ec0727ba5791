"""Files of the first format, made before rows had checksums, are read, drawn, compared and gone on with.

They are of ``archive/net.pt``, a residual network of depth 8 and width 2, over 100 digits; all but the first were
stopped half way. Those that commands go on with here have no normalised directions and no cosines, which differ in
their last bits from processor to processor and would make them another measurement.
"""

import shutil

import h5py
import numpy as np
import pytest
from files import ROOT

from landscape.engine.table import prepare, read

ARCHIVE = ROOT / "tests" / "archive"
DONE = {"surface": (20, 20), "line": (40, 129), "lesion": (2, 4), "curvature": (4, 6), "trajectory": (1, 3)}


@pytest.fixture
def folder(tmp_path):
    for path in ARCHIVE.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_archive_is_of_the_first_format_and_small():
    assert {path.stem for path in ARCHIVE.glob("*.h5")} == DONE.keys()
    assert sum(path.stat().st_size for path in ARCHIVE.iterdir()) < 100_000
    for path in ARCHIVE.glob("*.h5"):
        with h5py.File(path) as file:
            assert file.attrs["format"] == 1 and "crc" not in file and "seal" not in file.attrs


@pytest.mark.parametrize("name", DONE)
def test_old_files_are_read(name):
    results = read(ARCHIVE / f"{name}.h5")
    assert (results["done"].sum(), results["done"].size) == DONE[name]
    assert results.crc is None and np.isfinite(results["loss"][results["done"]]).all()


@pytest.mark.parametrize(
    ("name", "names"), [("curvature", []), ("trajectory", ["alpha", "beta", "epoch", "explained"])]
)
def test_old_files_are_gone_on_with_wherever_their_plans_come_from(name, names, folder):
    path = folder / f"{name}.h5"
    there = read(path)
    names = [n for n in there.dims if n in (*names, "distance", "off_plane", "explained_random_walk")]
    measured = {n: (there[n].dtype, 0, {}) for n in there.dims if n not in (*names, "done")}
    table, warnings = prepare(
        path,
        np.zeros((there["done"].size, 1)),
        kind=name,
        dims=there.dims["done"],
        coordinates=there.coordinates,
        given={n: (there.dims[n], there[n]) for n in names},
        measured=measured,
        attributes=there.attributes,
    )
    assert warnings == [] and len(table.remaining()) == DONE[name][1] - DONE[name][0]
    for row in table.remaining():
        table.record(row, dict.fromkeys(measured, row))
    table.flush()
    after = read(path)
    assert after["done"].all() and after["loss"].flat[-1] == after["done"].size - 1
    np.testing.assert_array_equal(after["loss"][there["done"]], there["loss"][there["done"]])
