"""A damaged HDF5 file, or another program's, is read as labelled arrays or refused in one line."""

import os

import h5py
import numpy as np
import pytest
from files import ROOT
from hostile import complaint, listed

from landscape.engine.hdf5 import LabelledArrays, read_all
from landscape.engine.results import read

TEXT = h5py.string_dtype()
ARCHIVE = ROOT / "tests" / "archive"


def file_of(path, replaced=None, put=None, **how):
    """A results file of the first format, but for one array that `put` writes in another way."""
    arrays = {
        "y": np.arange(2.0),
        "x": np.arange(3.0),
        "loss": np.arange(6.0).reshape(2, 3),
        "done": np.ones((2, 3), bool),
    }
    with h5py.File(path, "w", **how) as file:
        file.attrs.update(kind="surface", format=1, network="resnet-8", seed=0)
        for name, array in arrays.items():
            (put if name == replaced else h5py.Group.__setitem__)(file, name, array)
        ours = {name: file[name] for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)}
        ours = {name: entry for name, entry in ours.items() if isinstance(entry, h5py.Dataset)}
        for name in ours.keys() & {"x", "y"}:
            ours[name].make_scale(name)
        for name in ours.keys() & {"loss", "done"}:
            for axis, dim in list(enumerate("yx"))[: ours[name].ndim]:
                if dim in ours:
                    ours[name].dims[axis].attach_scale(ours[dim])
    return path


def late(shape):
    """An array whose values are not there, as large as one likes."""

    def put(file, name, array):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        file.create_dataset(name, shape, "f8", dcpl=creation)

    return put


def created(**how):
    return lambda file, name, array: file.create_dataset(name, data=array, **how)


def typed(dtype):
    return lambda file, name, array: file.create_dataset(name, array.shape, dtype)


def shaped(change):
    return lambda file, name, array: file.create_dataset(name, data=change(array))


# How an array may be in a file that another program has made or changed.
ODD = {
    "an external link": lambda f, name, _: f.__setitem__(name, h5py.ExternalLink("other.h5", "secret")),
    "a soft link to nothing": lambda f, name, _: f.__setitem__(name, h5py.SoftLink("/nothing")),
    "a group": lambda f, name, _: f.create_group(name),
    "chunked": created(chunks=True),
    "compressed": created(compression="gzip"),
    "growing": lambda f, name, array: f.create_dataset(name, data=array, maxshape=(None,) * array.ndim),
    "not there": late((3,)),
    "compound": typed([("a", "f8"), ("b", "i4")]),
    "complex": typed("c16"),
    "text of fixed length": typed("S5"),
    "nothing": lambda f, name, _: f.create_dataset(name, dtype="f8"),
    "too long": shaped(lambda a: np.zeros((len(a) + 1, *a.shape[1:]))),
    "empty": shaped(lambda a: np.zeros((0, *a.shape[1:]))),
    "of more dimensions": shaped(lambda a: np.zeros((*a.shape, 2))),
}


@pytest.mark.parametrize("name", ["loss", "x"])
@pytest.mark.parametrize("how", ODD)
def test_an_array_that_is_none_of_ours_is_refused(tmp_path, how, name):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.ones(3)
    path = file_of(tmp_path / "a.h5", name, ODD[how])
    before = listed(tmp_path)
    said = complaint(read, path)
    assert str(path) in said and said.endswith(("name another one", "take another copy"))
    assert listed(tmp_path) == before


def test_a_dimension_of_one_number_is_refused(tmp_path):
    assert "has 3 values along" in complaint(read, file_of(tmp_path / "a.h5", "x", shaped(lambda a: a[0])))


@pytest.mark.parametrize("name", ["x", "done"])
def test_a_file_that_lacks_what_its_arrays_are_over_is_refused(tmp_path, name):
    said = complaint(read, file_of(tmp_path / "a.h5", name, lambda *_: None))
    assert "without a name" in said or "not a results file" in said


def test_two_names_for_a_dimension_are_one_too_many(tmp_path):
    path = file_of(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["other"] = np.arange(3.0)
        file["other"].make_scale("other")
        file["loss"].dims[1].attach_scale(file["other"])
    assert "a dimension without a name" in complaint(read, path)


@pytest.mark.parametrize(
    "value",
    [h5py.Empty("f8"), np.void(b"abc"), 1j, np.zeros(3, "f4,f4"), np.zeros(8193), np.array([b"\xff\xfe"], TEXT)],
    ids=["nothing", "raw bytes", "complex", "compound", "too many numbers", "no Unicode"],
)
def test_an_attribute_that_is_neither_text_nor_number_is_refused(tmp_path, value):
    path = file_of(tmp_path / "a.h5", libver="latest")  # which takes long attributes
    with h5py.File(path, "r+", libver="latest") as file:
        file.attrs["network"] = value
    assert "attribute" in (said := complaint(read, path)) or "damaged" in said


@pytest.mark.parametrize("libver", [("earliest", "v108"), "v110", "latest"])
def test_files_of_any_version_of_hdf5_are_read(tmp_path, libver):
    results = read(file_of(tmp_path / "a.h5", libver=libver))
    np.testing.assert_array_equal(results["loss"], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("dtype", [">f8", "<f4", "<f2", "<i2", ">u4"])
def test_numbers_of_any_size_and_order_are_read(tmp_path, dtype):
    results = read(file_of(tmp_path / "a.h5", "loss", lambda f, name, a: f.create_dataset(name, data=a.astype(dtype))))
    np.testing.assert_array_equal(results["loss"], np.arange(6.0).reshape(2, 3))


def test_a_truth_is_one_byte_that_is_1(tmp_path):
    path = file_of(tmp_path / "a.h5")
    with h5py.File(path) as file:
        start = file["done"].id.get_offset()
    with open(path, "r+b") as raw:
        raw.seek(start)
        raw.write(bytes([0, 1, 2, 255, 1, 0]))
    assert read(path)["done"].tolist() == [[False, True, False], [False, True, False]]


def test_what_is_asked_for_first_is_read_first_and_the_order_stays(tmp_path, monkeypatch):
    path, order = file_of(tmp_path / "a.h5"), []
    monkeypatch.setattr("landscape.engine.hdf5._array", lambda dataset: order.append(os.path.basename(dataset.name)))
    with h5py.File(path) as file:
        arrays = read_all(file, first=("x",))
    assert isinstance(arrays, LabelledArrays) and order == ["x", "done", "loss", "y"]
    assert list(arrays.arrays) == ["done", "loss", "x", "y"]


def test_a_heap_with_a_hole_is_refused(tmp_path):
    """What HDF5 would go through for ever: a block of zeros where texts and lists of dimensions lie."""
    path = tmp_path / "a.h5"
    content = bytearray((ARCHIVE / "surface.h5").read_bytes())
    heap = content.index(b"GCOL")
    for start in range(heap + 16, heap + 1000, 16):  # sizes of objects are in every other sixteen bytes
        path.write_bytes(content[:start] + bytes(512) + content[start + 512 :])
        assert "take another copy" in complaint(read, path)
