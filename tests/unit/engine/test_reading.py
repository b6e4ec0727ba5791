"""What users open our files with reads them: xarray, pandas, NumPy and plain h5py."""

import h5py
import numpy as np
import pandas
import pytest
import xarray
from files import ROOT

from landscape.engine.table import prepare, read
from landscape.formats.tidy import write_csv, write_npz


@pytest.fixture
def everything(tmp_path):
    """A file with every kind of value that our files have, half filled."""
    table, _ = prepare(
        tmp_path / "a.h5",
        np.zeros((6, 1)),
        kind="reading",
        dims=("kind", "trial"),
        coordinates={"kind": np.array(["random", "worst"]), "trial": np.arange(3), "block": np.array(["α", "b.c"])},
        given={
            "deleted": (("trial", "block"), np.eye(3, 2, dtype=bool)),
            "name": (("trial",), np.array(["", "x", "y"])),
        },
        measured={
            "loss": ("f8", np.nan, {"long_name": "loss, mean per example", "units": "nats"}),
            "examples": ("i8", 0, {}),
            "each": ("f8", np.nan, {}, ("block",)),
        },
        attributes={"network": "resnet-8", "seed": 3, "along": ["one.pt", "other.pt"]},
    )
    for row, loss in enumerate([0.5, np.nan, np.inf, -np.inf]):
        table.record(row, {"loss": loss, "examples": 10 + row, "each": [row, -row]})
    table.flush()
    return tmp_path / "a.h5"


def test_xarray_shows_names_units_and_bools(everything):
    with xarray.open_dataset(everything, engine="h5netcdf") as data:
        assert dict(data.sizes) == {"block": 2, "kind": 2, "trial": 3}
        assert data.loss.dims == ("kind", "trial") and data.each.dims == ("kind", "trial", "block")
        assert data.loss.attrs["units"] == "nats" and data.attrs["network"] == "resnet-8" and data.attrs["seed"] == 3
        assert list(data.attrs["along"]) == ["one.pt", "other.pt"]
        assert data.block.values.tolist() == ["α", "b.c"] and data.name.values.tolist() == ["", "x", "y"]
        assert data.done.dtype == bool and data.deleted.dtype == bool
        np.testing.assert_array_equal(data.loss.sel(kind="random"), [0.5, np.nan, np.inf])
        assert data.loss.where(data.done).sel(kind="worst").values[0] == -np.inf
        assert data.each.sel(kind="random", trial=2, block="b.c") == -2
        assert data.deleted.sum("block").values.tolist() == [1, 1, 0]


def test_xarray_makes_a_data_frame_of_it(everything):
    with xarray.open_dataset(everything, engine="h5netcdf") as data:
        frame = data.to_dataframe()
        assert len(frame) == 12 and set(frame.index.names) == {"kind", "trial", "block"}
        frame = data.drop_dims("block").to_dataframe().reset_index()
    assert len(frame) == 6 and frame.done.dtype == bool and frame.examples.dtype == np.int64
    row = frame[(frame.kind == "worst") & (frame.trial == 0)].iloc[0]
    assert row.loss == -np.inf and row.examples == 13 and row.done
    assert frame[~frame.done].loss.isna().all() and len(frame[~frame.done]) == 2


def test_plain_h5py_reads_it(everything):
    with h5py.File(everything) as file:
        assert [axis[0].name for axis in file["each"].dims] == ["/kind", "/trial", "/block"]
        assert file["block"].asstr()[...].tolist() == ["α", "b.c"]
        assert file["done"].dtype == bool and file["done"][...].tolist() == [[True] * 3, [True, False, False]]
        np.testing.assert_array_equal(file["loss"][0], [0.5, np.nan, np.inf])
        assert file["loss"].attrs["units"] == "nats" and file.attrs["seed"] == 3


def test_numpy_and_pandas_read_what_it_is_converted_to(everything, tmp_path):
    write_csv(read(everything), tmp_path / "b.csv")
    write_npz(read(everything), tmp_path / "b.npz")
    frame, arrays = pandas.read_csv(tmp_path / "b.csv"), np.load(tmp_path / "b.npz")
    assert frame.columns[:2].tolist() == ["kind", "trial"] and frame.done.dtype == bool
    np.testing.assert_array_equal(frame.loss, arrays["loss"].ravel())
    np.testing.assert_array_equal(frame["each[b.c]"], arrays["each"][..., 1].ravel())
    assert frame.deleted.fillna("").tolist() == ["α", "b.c", ""] * 2
    assert arrays["done"].dtype == bool and arrays["block"].tolist() == ["α", "b.c"]


def smallest_of_each_kind():
    """Of all results with the same variables over the same dimensions, the smallest file."""
    files = {}
    for path in sorted((ROOT / "results").glob("*/*.h5"), key=lambda path: -path.stat().st_size):
        with h5py.File(path) as file:
            over = {name: tuple(axis[0].name for axis in array.dims if len(axis)) for name, array in file.items()}
            files[file.attrs["kind"], *sorted(over.items())] = path
    return sorted(files.values())


@pytest.mark.slow
def test_results_of_every_kind_are_data_frames():
    paths = smallest_of_each_kind()
    assert len(paths) > 20
    for path in paths:
        with xarray.open_dataset(path, engine="h5netcdf") as data, h5py.File(path) as file:
            assert data.attrs["kind"] == file.attrs["kind"]
            frame = data.to_dataframe()
            assert len(frame) == np.prod(list(data.sizes.values()))
            for name, array in file.items():
                if array.is_scale:
                    continue
                over = [axis[0].name[1:] for axis in array.dims]
                text = h5py.check_string_dtype(array.dtype) is not None
                assert list(data[name].dims) == over and (text or frame[name].dtype == array.dtype), (path, name)
                one = data[name].to_dataframe().reset_index()
                stored = array.asstr()[...] if text else array[...]
                np.testing.assert_array_equal(one[name], stored.ravel(), err_msg=f"{path}: {name}")


@pytest.mark.slow
def test_what_made_a_result_names_no_folder_of_a_machine():
    files = sorted((ROOT / "results").rglob("*.h5"))
    assert files
    for path in files:
        assert not [word for word in read(path).attributes["command"].split() if word.startswith("/")], path
