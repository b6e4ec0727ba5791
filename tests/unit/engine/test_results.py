"""Nobody is given values that are not those that were written: what is wrong with a file is said in one line."""

import functools
import itertools
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
import xarray
from files import ROOT
from hostile import complaint, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape.engine import results as module
from landscape.engine.results import damaged, describe_row, load, read
from landscape.engine.table import Table, prepare, results_of
from landscape.errors import BadInput
from landscape.planes.adaptive import INTERPOLATED

ARCHIVE = ROOT / "tests" / "archive"
AXES = {"y": np.array([-1.0, 1]), "x": np.array([-0.5, 0, 0.5]), "block": np.array(["a.b", "é"])}
ROW = {"loss_se": 0.1, "accuracy": 0.5, "examples": 10}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0)


def surface(path, rows=(0, 2, 3, 5), **more) -> Table:
    """A surface of 2×3 points with all that a file can hold; some of them measured."""
    table, _ = prepare(
        path,
        np.zeros((6, 2)),
        kind="surface",
        dims=("y", "x"),
        coordinates=AXES,
        given={"deleted": (("y", "block"), np.eye(2, dtype=bool))},
        derived=INTERPOLATED,
        attributes={"network": "resnet-8", "loss": "cross_entropy", "seed": 3, "along": ["a", "b"], "cosine": 0.1},
        **more,
    )
    for row in rows:
        table.record(row, {**ROW, "loss": 1.5 + row})
    table.flush()
    return table


def finished(path) -> Table:
    """The same with the others interpolated."""
    table = surface(path)
    loss, accuracy = (np.where(table.done, table.values[name], 0.25) for name in ("loss", "accuracy"))
    table.derive(loss=loss, accuracy=accuracy, interpolated=~table.done, miss=np.full((2, 3), 0.1))
    table.flush()
    return table


@functools.cache
def whole(make=finished) -> bytes:
    """The bytes of such a file."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"skipscape-test-{os.getpid()}.h5"
    try:
        make(path)
        return path.read_bytes()
    finally:
        path.unlink()


@functools.cache
def where() -> dict[str, tuple[int, int]]:
    """Where the arrays are in it."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"skipscape-test-{os.getpid()}.h5"
    try:
        path.write_bytes(whole())
        with h5py.File(path) as file:
            return {name: (d.id.get_offset(), d.id.get_storage_size()) for name, d in file.items()}
    finally:
        path.unlink()


def same(one, other, but=()):
    """Whether two results hold the same, to the bit."""

    def content(results):
        arrays = {**results.coordinates, **results.variables}
        plain = {n: (a.dtype, a.shape, a.tolist() if a.dtype.kind == "O" else a.tobytes()) for n, a in arrays.items()}
        rest = results.kind, results.dims, results.metadata, results.summed, repr(results.attributes)
        return {name: value for name, value in plain.items() if name not in but}, rest

    return content(one) == content(other)


def flipped(path, byte, bit=0):
    content = bytearray(whole())
    content[byte] ^= 1 << bit
    path.write_bytes(content)
    return path


# Every kind of byte: the signature, HDF5's structure, texts, attributes, what is given, what is measured.

SPREAD = sorted({*np.linspace(0, len(whole()) - 1, 40).astype(int).tolist()})


@pytest.mark.parametrize("length", SPREAD)
def test_a_file_that_was_cut_off_is_refused(tmp_path, length):
    (tmp_path / "a.h5").write_bytes(whole()[:length])
    complaint(read, tmp_path / "a.h5")
    if length % 3 == 0:  # a command says the same, of a file and of its output
        assert "a.h5" in refused("figure", "b.png", "a.h5", folder=tmp_path)


@pytest.mark.parametrize(("name", "row"), [*itertools.product(["loss", "loss_se", "accuracy", "examples"], range(6))])
@pytest.mark.slow
def test_a_flipped_bit_of_a_value_is_noticed_and_its_row_named(tmp_path, name, row):
    path = flipped(tmp_path / "a.h5", where()[name][0] + 8 * row + row % 8, bit=row)
    point = f"y = {AXES['y'][row // 3]}, x = {AXES['x'][row % 3]}"
    said = complaint(read, path)
    assert f"of 1 of 6 rows are not those that were written, the first at {point}; take another copy" in said
    assert f"skipscape check --repair {path}" in said
    assert np.flatnonzero(damaged(load(path))).tolist() == [row]


@pytest.mark.parametrize("name", ["x", "y", "block", "deleted"])
def test_a_flipped_bit_of_what_was_given_is_noticed(tmp_path, name):
    start, size = where()[name]
    for byte in range(start, start + size, 3):
        assert "is damaged" in complaint(read, flipped(tmp_path / "a.h5", byte))


@pytest.mark.parametrize("row", range(6))
def test_a_flipped_bit_of_a_checksum_is_noticed(tmp_path, row):
    assert "1 of 6 rows" in complaint(read, flipped(tmp_path / "a.h5", where()["crc"][0] + 4 * row, bit=row))


def test_a_done_that_nobody_wrote_makes_nothing_measured(tmp_path):
    for row in (1, 4):  # interpolated
        assert "1 of 6 rows" in complaint(read, flipped(tmp_path / "a.h5", where()["done"][0] + row))
    table = surface(tmp_path / "b.h5")  # nothing there
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file["done"][0, 1] = True
    assert "1 of 6 rows" in complaint(read, table.path)


def test_a_done_that_was_lost_is_a_row_not_measured(tmp_path):
    results = read(flipped(tmp_path / "a.h5", where()["done"][0] + 2))
    assert not results.known[0, 2] and results.known.sum() == 5


def test_an_interpolated_value_can_not_pass_for_measured_nor_the_reverse(tmp_path):
    results = read(flipped(tmp_path / "a.h5", where()["interpolated"][0] + 1))
    assert not results.known[0, 1]  # as if it were missing
    results = read(flipped(tmp_path / "a.h5", where()["interpolated"][0]))
    assert results["done"][0, 0] and results["loss"][0, 0] == 1.5


# What is worked out from the rows is worked out again by the same command.
AGAIN = ("miss", "interpolated", "done")


@settings(max_examples=200, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, len(whole()) - 1), st.integers(0, 7)), min_size=1, max_size=3))
def test_flipped_bits_are_noticed_or_change_nothing(tmp_path_factory, flips):
    path = tmp_path_factory.getbasetemp() / "flipped.h5"
    content = bytearray(whole())
    for byte, bit in flips:
        content[byte] ^= 1 << bit
    path.write_bytes(content)
    try:
        results = read(path)
    except BadInput as error:
        assert str(path) in str(error)
        return
    path.write_bytes(whole())
    assert same(results, read(path), but=AGAIN)


@settings(max_examples=100, deadline=None)
@given(start=st.integers(0, len(whole()) - 1), size=st.integers(1, 2000), fill=st.sampled_from([0, 255, None]))
def test_a_lost_block_is_noticed_or_changes_nothing(tmp_path_factory, start, size, fill):
    path = tmp_path_factory.getbasetemp() / "lost.h5"
    content, end = whole(), min(start + size, len(whole()))
    path.write_bytes(content[:start] + (b"" if fill is None else bytes([fill]) * (end - start)) + content[end:])
    try:
        results = read(path)
    except BadInput:
        return
    path.write_bytes(content)
    assert same(results, read(path), but=AGAIN)


def test_a_row_in_the_place_of_another_is_noticed(tmp_path):
    path = finished(tmp_path / "a.h5").path
    with h5py.File(path, "r+") as file:
        for name in (*ROW, "loss", "crc"):
            file[name][0, 0] = file[name][0, 2]
    assert "1 of 6 rows" in complaint(read, path)


def test_checksums_without_a_seal_are_a_damaged_file(tmp_path):
    path = finished(tmp_path / "a.h5").path
    content = path.read_bytes()
    path.write_bytes(content.replace(b"skipscape's seal", b"skipscape's Seal"))
    assert "is damaged, or another program has changed it" in complaint(read, path)
    path.write_bytes(content.replace(b"skipscape's seal", b"skipscape's Seal").replace(b"SHA-256 of", b"SHA-257 of"))
    assert "is damaged, or another program has changed it" in complaint(read, path)
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = 1  # nor does it help to say that there are none
    assert "is damaged, or another program has changed it" in complaint(read, path)


def test_what_another_program_has_changed_is_refused(tmp_path):
    for change in (
        lambda file: file.attrs.__setitem__("seed", 4),
        lambda file: file["x"].__setitem__(0, 9.0),
        lambda file: file.__setitem__("note", [1.0]),
        lambda file: file.__delitem__("deleted"),
    ):
        path = finished(tmp_path / "a.h5").path
        with h5py.File(path, "r+") as file:
            change(file)
        assert "another program has changed it" in complaint(read, path)
        path.unlink()


# Files that are no results, whatever their names say.


def test_what_is_no_file_of_ours_is_refused(tmp_path):
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    os.mkfifo(tmp_path / "pipe.h5")
    for name, content in {
        "empty.h5": b"",
        "text.h5": b"hello",
        "signature.h5": b"\x89HDF\r\n\x1a\n",
        "zeros.h5": bytes(10_000),
        "zip.h5": b"PK\x03\x04" + bytes(100),
        "seal.h5": whole()[: whole().index(b"skipscape's seal") + 200],
    }.items():
        (tmp_path / name).write_bytes(content)
    for path in sorted(tmp_path.iterdir()):
        for name, typed in {"figure": ("a.png",), "compare": ()}.items():
            assert path.name in refused(name, *typed, path.name, folder=tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kind": 3},
        {"kind": ["surface", "lesion"]},
        {"format": 99},
        {"format": "two"},
        {"format": [1, 1]},
        {"format": np.nan},
        {"format": 2},
        {"network": 3},
        {"loss": ["a", "b"]},
        {"loss": 1.5},
        {"split": 0},
        {"checkpoint": [1, 2]},
        {"batchnorm": [0.5]},
        {"directions": 1},
        {"seed": "a"},
        {"seed": [1, 2]},
        {"classes": "ten"},
        {"lesion": [1.5]},
    ],
    ids=str,
)
def test_an_attribute_of_another_type_is_refused_by_every_reader(tmp_path, attributes):
    with h5py.File(tmp_path / "a.h5", "w") as new, h5py.File(ARCHIVE / "lesion.h5") as old:
        for name in old:
            old.copy(name, new)
        for name in {**old.attrs, **attributes}:
            new.attrs[name] = attributes.get(name, old.attrs.get(name))
    complaint(read, tmp_path / "a.h5")
    for name, typed in {"figure": ("b.png", "a.h5"), "compare": ("a.h5",), "convert": ("a.h5", "b.csv")}.items():
        refused(name, *typed, folder=tmp_path)


CONTENTS = [
    *itertools.product(["surface", "lesion"], ["loss", "accuracy"], ["text", "truth", "compound"]),
    *itertools.product(["surface"], ["x", "y"], ["text", "truth", "not finite"]),
    *itertools.product(["lesion"], ["block"], ["number", "truth"]),
    ("lesion", "deleted", "text"),
    ("lesion", "deleted", "number"),
    ("surface", "loss", "absent"),
]


@pytest.mark.parametrize(("kind", "name", "how"), CONTENTS)
def test_what_a_name_does_not_hold_in_files_of_ours_is_refused(tmp_path, kind, name, how):
    path = tmp_path / "a.h5"
    path.write_bytes((ARCHIVE / f"{kind}.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        old = file[name]
        values = {
            "text": np.full(old.shape, "a", object),
            "truth": np.ones(old.shape, bool),
            "number": np.ones(old.shape),
            "not finite": np.full(old.shape, np.inf),
            "compound": np.zeros(old.shape, "f8,i4"),
        }
        dims = [axis[0] for axis in old.dims] if not old.is_scale else []
        scale = old.is_scale
        if scale:
            values = values[how]
            del file[name]
            file[name] = values
            file[name].make_scale(name)
            for other in file.values():
                for axis in range(0 if other.is_scale else other.ndim):
                    if not len(other.dims[axis]):
                        other.dims[axis].attach_scale(file[name])
        else:
            del file[name]
            if how != "absent":
                file[name] = values[how]
                for axis, dim in enumerate(dims):
                    file[name].dims[axis].attach_scale(dim)
    said = refused("figure", "b.png", "a.h5", folder=tmp_path)
    assert "a.h5" in said and ("values" in said or "has no variable" in said or "damaged" in said), said


def test_what_a_file_lacks_is_said_by_whoever_asks():
    results = read(ARCHIVE / "surface.h5")
    for what, values in {
        "variable nothing": results.variables,
        "coordinate nothing": results.coordinates,
        "attribute nothing": results.attributes,
    }.items():
        with pytest.raises(BadInput, match=f"surface.h5 has no {what}, which is needed here"):
            values["nothing"]
        assert "nothing" not in values and values.get("nothing") is None


def test_a_row_is_known_if_it_is_done_or_vouched_for(tmp_path):
    finished(tmp_path / "a.h5")
    assert read(tmp_path / "a.h5").known.all()
    surface(tmp_path / "b.h5")
    assert read(tmp_path / "b.h5").known.tolist() == [[True, False, True], [True, False, True]]
    assert describe_row(read(tmp_path / "b.h5"), ~read(tmp_path / "b.h5").known) == "at y = -1.0, x = 0.0"


# What people do with results


@pytest.mark.parametrize("path", sorted(ARCHIVE.glob("*.h5")), ids=lambda path: path.stem)
def test_to_xarray_gives_what_xarray_opens(path):
    ours = read(path).to_xarray()
    with xarray.open_dataset(path, engine="h5netcdf") as opened:
        theirs = opened.load().drop_vars("crc", errors="ignore")
    one, other = (repr({n: np.atleast_1d(v).tolist() for n, v in each.attrs.items()}) for each in (ours, theirs))
    assert one == other
    ours.attrs = theirs.attrs  # h5netcdf makes a text of a list of one
    xarray.testing.assert_identical(ours, theirs)


def test_to_dataframe_has_a_row_for_each_point(tmp_path):
    results = results_of(finished(tmp_path / "a.h5"))
    frame = results.to_dataframe()
    xarrays = results.to_xarray()[["loss", "accuracy", "done"]].to_dataframe()  # the oracle
    pandas.testing.assert_frame_equal(frame.set_index(["y", "x"])[["loss", "accuracy", "done"]], xarrays)
    assert frame["deleted"].tolist() == ["a.b"] * 3 + ["é"] * 3


@pytest.mark.parametrize(
    "indices",
    [
        {"x": 1},
        {"x": -1, "y": 0},
        {"x": slice(1, None)},
        {"x": [2, 0], "y": slice(None, None, -1)},
        {"block": np.array([True, False])},
        {"y": 0, "block": 1, "x": slice(0, 0)},
        {},
    ],
    ids=str,
)
def test_isel_takes_the_parts_that_xarray_takes(tmp_path, indices):
    results = results_of(finished(tmp_path / "a.h5"))
    part = results.isel(**indices)
    xarray.testing.assert_identical(part.to_xarray(), results.to_xarray().isel(indices, drop=True))
    assert part.crc is None and part.path == results.path and results["loss"].shape == (2, 3)


def test_isel_says_what_there_is(tmp_path):
    results = results_of(finished(tmp_path / "a.h5"))
    with pytest.raises(BadInput, match=r"a\.h5 has no dimension z; it has block, x, y"):
        results.isel(z=0)
    with pytest.raises(BadInput, match=r"a\.h5 has 3 places along x, from 0; 3 is none"):
        results.isel(x=3)


@pytest.mark.parametrize("method, package", [("to_xarray", "xarray"), ("to_dataframe", "pandas")])
def test_a_package_that_is_not_installed_is_named_with_its_cure(method, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInput, match=rf"{package} is not installed here: pip install 'skipscape\[{package}\]'"):
        getattr(read(ARCHIVE / "surface.h5"), method)()


def test_results_in_memory_have_a_name_in_messages_and_titles():
    results = results_of(surface(None))
    assert results.path is None and results.network == "resnet-8" and "<surface in memory (" in repr(results)
    with pytest.raises(BadInput, match="<results in memory> has no variable nothing, which is needed here"):
        results["nothing"]
