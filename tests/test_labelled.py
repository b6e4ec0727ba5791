"""Whatever an HDF5 file holds, it is read as labelled arrays or refused, and leads nowhere else."""

import os

import h5py
import numpy as np
import pytest
from hostile import complaint, listed

from landscape.labelled import MANY, Labelled, labelled
from landscape.results import read

TEXT = h5py.string_dtype()


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
        ours = {name: found for name, found in ours.items() if isinstance(found, h5py.Dataset)}
        for name in ours.keys() & {"x", "y"}:
            ours[name].make_scale(name)
        for name in ours.keys() & {"loss", "done"}:
            for axis, dim in list(enumerate("yx"))[: ours[name].ndim]:
                if dim in ours:
                    ours[name].dims[axis].attach_scale(ours[dim])
    return path


def virtual(file, name, array):
    layout = h5py.VirtualLayout(array.shape, "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", array.shape)
    file.create_virtual_dataset(name, layout)


def external(file, name, array):
    file.create_dataset(name, array.shape, "f8", external=[("raw.bin", 0, 8 * array.size)])


def late(shape):
    """An array whose values are not there, as large as one likes."""

    def put(file, name, array):
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        file.create_dataset(name, shape, "f8", dcpl=creation)

    return put


def compact(file, name, array):
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    file.create_dataset(name, data=array, dcpl=creation)


def created(**how):
    return lambda file, name, array: file.create_dataset(name, data=array, **how)


def typed(dtype):
    return lambda file, name, array: file.create_dataset(name, array.shape, dtype)


def shaped(change):
    return lambda file, name, array: file.create_dataset(name, data=change(array))


# How an array may be that is none of ours.
ODD = {
    "an external link": lambda f, name, _: f.__setitem__(name, h5py.ExternalLink("other.h5", "secret")),
    "an external link to itself": lambda f, name, _: f.__setitem__(name, h5py.ExternalLink(f.filename, name)),
    "a soft link": lambda f, name, _: f.__setitem__(name, h5py.SoftLink("/done")),
    "a soft link to itself": lambda f, name, _: f.__setitem__(name, h5py.SoftLink(f"/{name}")),
    "a soft link to nothing": lambda f, name, _: f.__setitem__(name, h5py.SoftLink("/nothing")),
    "external storage": external,
    "virtual": virtual,
    "a group": lambda f, name, _: f.create_group(name),
    "the root": lambda f, name, _: f.__setitem__(name, f["/"]),
    "a group in itself": lambda f, name, _: f.create_group(name).__setitem__("again", f[name]),
    "a type": lambda f, name, _: f.__setitem__(name, np.dtype("f8")),
    "chunked": created(chunks=True),
    "compressed": created(compression="gzip"),
    "shuffled": created(shuffle=True),
    "with checksums of HDF5's": created(fletcher32=True),
    "scaled": created(scaleoffset=2),
    "growing": lambda f, name, array: f.create_dataset(name, data=array, maxshape=(None,) * array.ndim),
    "a bomb": lambda f, name, _: f.create_dataset(name, (10**12,), "f8", chunks=(10**6,), compression="gzip"),
    "compact": compact,
    "huge": late((2**60,)),
    "huge in many dimensions": late((2**16,) * 3),
    "not there": late((3,)),
    "compound": typed([("a", "f8"), ("b", "i4")]),
    "references": typed(h5py.ref_dtype),
    "regions": typed(h5py.regionref_dtype),
    "opaque": typed(h5py.opaque_dtype(np.dtype("datetime64[s]"))),
    "raw bytes": typed("V7"),
    "lists": typed(h5py.vlen_dtype("f8")),
    "vectors": typed(np.dtype(("f8", (3,)))),
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
    (tmp_path / "raw.bin").write_bytes(bytes(64))
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


ATTRIBUTES = {
    "nothing": h5py.Empty("f8"),
    "bytes": np.bytes_(b"abc"),
    "raw bytes": np.void(b"abc"),
    "complex": 1j,
    "a compound": np.array((1, 2.0), [("a", "i4"), ("b", "f8")]),
    "vectors": np.zeros(3, "f4,f4"),
    "too many numbers": np.zeros(8192),
    "too many texts": np.array(["a"] * (MANY + 1), TEXT),
    "no unicode": np.array(b"\xff\xfe", h5py.string_dtype("utf-8", 2)),
}


@pytest.mark.parametrize("what", [*ATTRIBUTES, "a reference", "references", "a list of lists", "a long text", "none"])
def test_an_attribute_that_is_neither_text_nor_number_is_refused(tmp_path, what):
    path = file_of(tmp_path / "a.h5", libver="latest")  # which takes long attributes
    with h5py.File(path, "r+", libver="latest") as file:
        if what == "a reference":
            file.attrs["network"] = file["loss"].ref
        elif what == "references":
            file.attrs.create("network", [file["loss"].ref] * 2, dtype=h5py.ref_dtype)
        elif what == "a list of lists":
            lists = np.empty(2, object)
            lists[:] = [np.arange(2), np.arange(3)]
            file.attrs.create("network", lists, dtype=h5py.vlen_dtype("i4"))
        elif what == "none":
            file.attrs.create("network", b"\xff\xfe", dtype=TEXT)
        elif what == "a long text":
            file.attrs.create("network", np.bytes_(b"a" * 2**17), dtype=f"S{2**17}")
        else:
            file.attrs["network"] = ATTRIBUTES[what]
    assert "attribute" in (said := complaint(read, path)) or "damaged" in said


def test_too_many_objects_are_refused(tmp_path):
    path = file_of(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        for number in range(1100):
            file.create_group(f"{number}")
    assert "more than 1000 objects" in complaint(read, path)


def test_texts_that_are_all_one_long_one_do_not_fill_the_memory(tmp_path):
    path, long = tmp_path / "a.h5", "a" * 100_000
    with h5py.File(file_of(path), "r+") as file:
        texts = file.create_dataset("block", (5000,), TEXT)
        texts[0] = long
        texts.make_scale("block")
        start = texts.id.get_offset()
    content = path.read_bytes()
    path.write_bytes(content[:start] + content[start : start + 16] * 5000 + content[start + 16 * 5000 :])
    assert "longer texts than the file" in complaint(read, path)


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
    monkeypatch.setattr("landscape.labelled._array", lambda dataset, size: order.append(os.path.basename(dataset.name)))
    with h5py.File(path) as file:
        found = labelled(file, first=("x",))
    assert isinstance(found, Labelled) and order == ["x", "done", "loss", "y"]
    assert list(found.arrays) == ["done", "loss", "x", "y"]
