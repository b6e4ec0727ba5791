"""A results file is plan and result, survives what happens to it, and refuses what it is not."""

import itertools

import h5py
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from landscape.engine import table
from landscape.engine.checksum import row_checksums
from landscape.engine.ranks import SerialComm
from landscape.engine.sweep import sweep
from landscape.engine.table import MEASURED, OWN, prepare, read, results_of
from landscape.errors import BadInput

ROW = {"loss": 1.5, "loss_se": 0.1, "accuracy": 0.5, "examples": 10}


def surface(path, ny=2, nx=3, **attributes):
    y, x = np.linspace(-1, 1, ny), np.linspace(-1, 1, nx)
    return prepare(
        path,
        np.zeros((ny * nx, 2)),
        kind="surface",
        dims=("y", "x"),
        coordinates={"y": y, "x": x},
        attributes={"seed": 0, "command": "c", **attributes},
    )


def test_every_row_exists_before_the_first_is_measured(tmp_path):
    surface(tmp_path / "a.h5")
    results = read(tmp_path / "a.h5")
    assert results["loss"].shape == (2, 3)
    assert not results["done"].any()
    assert np.isnan(results["loss"]).all()


def test_a_row_lands_where_its_coordinates_say(tmp_path):
    t, _ = surface(tmp_path / "a.h5")
    t.record(4, ROW)  # y index 1, x index 1
    t.flush()
    results = read(tmp_path / "a.h5")
    assert results["loss"][1, 1] == 1.5
    assert results["done"].sum() == 1
    assert results["examples"][1, 1] == 10


def test_a_file_of_version_01_goes_on_under_the_networks_new_name(tmp_path):
    surface(tmp_path / "a.h5", network="resnet-8", checkpoint="a")
    for name in ("preact-resnet-8", "resnet-8:width=4", "preact-resnet-8:width=4,join=pooled-gate", "resnet-8"):
        assert surface(tmp_path / "a.h5", network=name, checkpoint="a")[1] == []
        with pytest.raises(BadInput, match="its checkpoint is a, this command's is b"):
            surface(tmp_path / "a.h5", network=name, checkpoint="b")
    for name in ("resnet-14", "preact-plain-8"):
        with pytest.raises(BadInput, match=f"its network is resnet-8, this command's is {name}"):
            surface(tmp_path / "a.h5", network=name, checkpoint="a")
    surface(tmp_path / "b.h5", network="preact-resnet-8", checkpoint="a")
    with pytest.raises(BadInput, match="its network is preact-resnet-8"):
        surface(tmp_path / "b.h5", network="resnet-8", checkpoint="a")


def test_nan_infinity_zero_and_negative_values_are_results(tmp_path):
    t, _ = surface(tmp_path / "a.h5")
    values = [np.nan, np.inf, -np.inf, 0.0, -1.0]
    for row, value in enumerate(values):
        t.record(row, {**ROW, "loss": value})
    t.flush()
    again, _ = surface(tmp_path / "a.h5")
    assert again.remaining().tolist() == [5]
    np.testing.assert_array_equal(again.values["loss"].ravel()[:5], values)


def test_a_flush_touches_values_only_and_never_the_structure(tmp_path):
    t, _ = surface(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    t.record(0, ROW)
    t.flush()
    after = (tmp_path / "a.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        places = [(d.id.get_offset(), d.id.get_storage_size()) for d in file.values()]
    assert len(before) == len(after)
    changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed
    assert all(any(start <= i < start + size for start, size in places) for i in changed)


def test_values_are_on_disk_before_the_done_that_vouches_for_them(tmp_path, monkeypatch):
    t, _ = surface(tmp_path / "a.h5")
    t.record(0, ROW)
    seen = []
    monkeypatch.setattr(table.os, "fsync", lambda fd: seen.append(read(tmp_path / "a.h5")))
    t.flush()
    assert [(s["loss"][0, 0], bool(s["done"][0, 0])) for s in seen] == [(1.5, False), (1.5, True)]


def test_equal_runs_give_equal_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        t, _ = surface(tmp_path / name)
        for row in range(6):
            t.record(row, ROW)
        t.flush()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_rows_far_from_each_other_are_written_and_what_lies_between_stays(tmp_path):
    t, _ = surface(tmp_path / "a.h5", 1, 5000)
    t.record(17, ROW)
    t.flush()
    for rows in ([3, 40, 4000], [4999, 2000]):
        for row in rows:
            t.record(row, {**ROW, "loss": row})
        t.flush()
    loss = read(tmp_path / "a.h5")["loss"].ravel()
    assert {row: loss[row] for row in np.flatnonzero(~np.isnan(loss))} == {
        3: 3, 17: 1.5, 40: 40, 2000: 2000, 4000: 4000, 4999: 4999,
    }  # fmt: skip


@pytest.mark.parametrize("how", ["another of the same plan", "rows", "gone on with", "another plan"])
def test_a_file_that_was_replaced_under_the_run_is_left_alone(tmp_path, how):
    t, _ = surface(tmp_path / "a.h5")
    other, _ = surface(tmp_path / "b.h5", seed=int(how == "another plan"))
    if how == "gone on with":
        again, _ = surface(tmp_path / "a.h5")
        again.record(1, ROW)
        again.flush()
    else:
        if how == "rows":
            other.record(1, ROW)
            other.flush()
        (tmp_path / "b.h5").replace(tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    t.record(0, ROW)
    with pytest.raises(BadInput, match="was replaced or changed while this command was measuring into it"):
        t.flush()
    assert (tmp_path / "a.h5").read_bytes() == before


def test_what_is_interpolated_is_under_a_checksum_too(tmp_path):
    derived = {"interpolated": ("?", False, {})}
    coordinates = {"x": np.arange(3)}

    def take():
        how = {"kind": "line", "dims": ("x",), "coordinates": coordinates, "derived": derived}
        return prepare(tmp_path / "a.h5", np.zeros((3, 1)), **how)[0]

    t = take()
    t.record(0, ROW)
    t.derive(loss=np.array([1.5, 2, 3]), interpolated=~t.done)
    t.flush()
    assert read(tmp_path / "a.h5").known.all()
    stamp = (tmp_path / "a.h5").stat().st_mtime_ns
    t = take()
    t.derive(loss=np.array([1.5, 2, 3]), interpolated=~t.done)
    t.flush()
    assert (tmp_path / "a.h5").stat().st_mtime_ns == stamp  # a finished file is left alone
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["loss"][2] = 4
    with pytest.raises(BadInput, match="of 1 of 3 rows are not those that were written, the first at x = 2"):
        read(tmp_path / "a.h5")


def test_xarray_shows_named_dimensions_and_coordinates(tmp_path):
    surface(tmp_path / "a.h5")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as dataset:
        assert dataset.loss.dims == ("y", "x")
        assert dataset.done.dtype == bool
        np.testing.assert_array_equal(dataset.x, [-1, 0, 1])
        assert dataset.loss.attrs["units"] == "nats"
        assert dataset.attrs["kind"] == "surface"


def test_a_rows_value_may_be_an_array(tmp_path):
    def take():
        measured = {"node": ("f8", np.nan, {"units": "1"}, ("step",)), "loss": ("f8", np.nan, {})}
        return prepare(
            tmp_path / "a.h5",
            np.zeros((6, 1)),
            kind="density",
            dims=("repeat", "probe"),
            coordinates={"repeat": np.arange(2), "probe": np.arange(3), "step": np.arange(4)},
            measured=measured,
        )[0]

    table = take()
    table.record(4, {"node": np.arange(4.0), "loss": 7})
    table.flush()
    again = take()
    assert again.remaining().tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_array_equal(again.values["node"][1, 1], np.arange(4))
    assert read(tmp_path / "a.h5").dims["node"] == ("repeat", "probe", "step")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as dataset:
        assert dataset.node.dims == ("repeat", "probe", "step")
        assert dataset.loss.values[1, 1] == 7 and dataset.done.values.sum() == 1


def test_names_of_blocks_survive(tmp_path):
    prepare(
        tmp_path / "a.h5",
        np.zeros((2, 2)),
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(2), "block": np.array(["stages.0.0", "é"])},
        given={"deleted": (("trial", "block"), np.eye(2, dtype=bool))},
    )
    assert read(tmp_path / "a.h5").coordinates["block"].tolist() == ["stages.0.0", "é"]
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as dataset:
        assert dataset.deleted.dims == ("trial", "block")
        assert dataset.block.values.tolist() == ["stages.0.0", "é"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *(({"seed": 1}, "seed"), ({"loss": "mse"}, "loss"), ({"nx": 4}, "x"), ({"ny": 3}, "y")),
        # A digest says little, and only where nothing that it follows from differs.
        *(({"ny": 3, "plane_digest": "b"}, "y"), ({"plane_digest": "b"}, "plane_digest")),
    ],
)
def test_another_measurement_is_refused_by_the_name_of_what_differs(tmp_path, change, named):
    surface(tmp_path / "a.h5", plane_digest="a")
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(BadInput, match=f"its {named} is"):
        surface(tmp_path / "a.h5", **{"plane_digest": "a", **change})
    assert (tmp_path / "a.h5").read_bytes() == before


@pytest.mark.parametrize(("second", "same"), [([0.5, np.nan], True), ([np.nan, 0.5], False), ([0.5, 0.5], False)])
def test_what_is_not_known_of_a_coordinate_does_not_make_it_another(tmp_path, second, same):
    def begin(rates):
        rows = {"kind": "experiment", "dims": ("trial",), "coordinates": {"trial": np.arange(2)}, "attributes": {}}
        return prepare(tmp_path / "a.h5", np.zeros((2, 1)), given={"rate": (("trial",), np.array(rates))}, **rows)

    begin([0.5, np.nan])
    if same:
        begin(second)
    else:
        with pytest.raises(BadInput, match="its rate is"):
            begin(second)


def test_another_version_is_a_warning_and_another_spelling_nothing(tmp_path):
    surface(tmp_path / "a.h5", version_torch="1")
    _, warnings = surface(tmp_path / "a.h5", version_torch="2", command="other")
    assert len(warnings) == 1
    assert "version_torch 1, this is 2" in warnings[0]


def test_what_is_not_ours_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    h5py.File(tmp_path / "other.h5", "w").close()
    for name, said in (("text.h5", "not an HDF5 file"), ("other.h5", "not a results file"), ("gone.h5", "no file")):
        with pytest.raises(BadInput, match=said) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="does not exist"):
        surface(tmp_path / "no" / "a.h5")


def test_a_failed_creation_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(table.os, "fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        surface(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_vanishes_under_the_run_is_said(tmp_path):
    t, _ = surface(tmp_path / "a.h5")
    t.record(0, ROW)
    (tmp_path / "a.h5").unlink()
    with pytest.raises(BadInput, match=r"cannot write \S+: No such file or directory; what was flushed"):
        t.flush()


@given(st.sets(st.integers(0, 40), min_size=1), st.integers(1, 9))
def test_runs_that_are_near_are_one_and_all_begin_and_end_with_an_index(indices, near):
    runs = table._runs(sorted(indices), near)
    assert all(indices & {*range(a, b)} for a, b in runs) and all({a, b - 1} <= indices for a, b in runs)
    assert indices <= {*itertools.chain.from_iterable(range(a, b) for a, b in runs)}
    assert all(c - b > near for (_, b), (c, _) in itertools.pairwise(runs))
    for a, b in runs:
        inside = sorted(indices & {*range(a, b)})
        assert all(j - i - 1 <= near for i, j in itertools.pairwise(inside))


@given(st.sets(st.integers(0, 40), min_size=1))
def test_runs_cover_exactly_the_given_indices(indices):
    runs = table._runs(sorted(indices))
    assert sorted(itertools.chain.from_iterable(range(a, b) for a, b in runs)) == sorted(indices)
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(runs))


def test_an_experiment_with_coordinates_of_names_is_measured_read_and_gone_on_with(tmp_path):
    names = ["conv1", "layer1.0", "é"]
    size = {name: float(len(name)) for name in names}

    def plan(kind, last="é"):
        coordinates = {"layer": [*names[:2], last]}
        given = {"role": (("layer",), np.array(["first", "middle", "last"]))}
        if kind == "mine":  # names that stand for something else in files of ours
            coordinates |= {"stage": ["a", "b"], "block": np.arange(2)}
            given |= {"deleted": (("layer",), np.arange(3.0))}
        return prepare(
            tmp_path / f"{kind}.h5",
            np.arange(3)[:, None],
            kind=kind,
            dims=("layer",),
            coordinates=coordinates,
            given=given,
            measured={"loss": MEASURED["loss"]},
            attributes={"network": "mine"},
        )

    for kind in ("mine", "surface", "lesion"):
        table, _ = plan(kind)
        sweep(lambda points: ({"loss": size[names[int(i)]]} for (i,) in points), table, SerialComm())
        file = read(tmp_path / f"{kind}.h5")
        assert file.coordinates["layer"].tolist() == names and file["role"].tolist() == ["first", "middle", "last"]
        assert file["loss"].tolist() == [5, 8, 1]
        again, warnings = plan(kind)
        assert not len(again.remaining()) and not warnings
        with pytest.raises(BadInput, match="its layer is 3 from conv1 to é"):
            plan(kind, last="other")


@pytest.mark.parametrize(
    ("kind", "coordinates"),
    [("surface", {"x": ["a", "b"]}), ("lesion", {"trial": ["a", "b"]}), ("lesion", {"block": np.arange(2)})],
)
def test_what_could_not_be_read_again_is_refused_before_anything_is_measured(tmp_path, kind, coordinates):
    with pytest.raises(BadInput, match="could not be read again"):
        prepare(tmp_path / "a.h5", np.zeros((2, 1)), kind=kind, dims=tuple(coordinates), coordinates=coordinates)
    assert not list(tmp_path.iterdir())


def test_results_are_a_mapping_of_their_variables(tmp_path):
    prepare(tmp_path / "a.h5", np.zeros((2, 1)), kind="surface", dims=("x",), coordinates={"x": np.array([0.0, 1])})
    file = read(tmp_path / "a.h5")
    assert "loss" in file and "nothing" not in file
    assert [*file] == [*file.keys()] and {*file} == {"loss", "loss_se", "accuracy", "examples", "done"}
    assert len(repr(file)) < 200 and "surface" in repr(file) and "x: 2" in repr(file)


# In memory, where there is no file


def everything(path):
    """A table with all that a file can hold, some of it measured."""
    table, _ = prepare(
        path,
        np.zeros((6, 2)),
        kind="mine",
        dims=("layer", "x"),
        coordinates={"layer": ["é", "a.b"], "x": np.array([-0.5, 0, 0.5]), "block": np.arange(2)},
        given={"picked": (("layer", "block"), np.eye(2, dtype=bool)), "role": (("x",), np.array(["in", "", "out"]))},
        measured={**MEASURED, "each": ("f4", 0.0, {"units": "1", "note": "no reader is told"}, ("block",))},
        derived={"interpolated": ("?", False, {"long_name": "whether interpolated"})},
        attributes={"network": "net", "seed": 3, "cosine": 0.1, "along": ["a", "b"], "ends": (0.5, 1.5), "whole": True},
    )
    for row in (4, 0, 5):
        table.record(row, {**ROW, "loss": 1.5 + row, "each": [row, -row]})
    table.flush()
    table.derive(interpolated=~table.done)
    table.flush()
    return table


def described(results):
    """Everything that results say, with types and bytes."""
    arrays = {**results.coordinates, **results.variables}
    values = {n: (a.dtype.str, a.tolist() if a.dtype.kind == "O" else a.tobytes()) for n, a in arrays.items()}
    attributes = {n: (type(v), np.asarray(v).dtype, repr(v)) for n, v in results.attributes.items() if n not in OWN}
    dims = {n: over for n, over in results.dims.items()}
    return results.kind, [*results.coordinates], [*results], values, dims, attributes, results.metadata


def test_a_table_in_memory_gives_what_its_file_reads(tmp_path):
    file = results_of(everything(tmp_path / "a.h5"))
    memory = results_of(everything(None))
    assert memory.path is None and memory.crc is None and file.crc is not None
    assert described(memory) == described(file) == described(read(tmp_path / "a.h5"))


def test_a_table_in_memory_touches_no_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("a file was opened"))
    assert results_of(everything(None))["done"].sum() == 3
    assert not list(tmp_path.iterdir())


def test_results_in_memory_stay_as_they_were_when_the_table_goes_on():
    table = everything(None)
    before = results_of(table)
    table.record(1, {**ROW, "each": [0, 0]})
    assert before["done"].sum() == 3 and results_of(table)["done"].sum() == 4


def test_a_sweep_fills_a_table_in_memory():
    table, _ = surface(None)
    sweep(lambda points: (ROW for _ in points), table, SerialComm())
    assert results_of(table)["loss"].tolist() == [[1.5] * 3] * 2


def test_what_no_file_could_hold_is_refused_in_memory_too():
    with pytest.raises(BadInput, match="x has values of type object"):
        prepare(None, np.zeros((2, 1)), kind="surface", dims=("x",), coordinates={"x": ["a", "b"]})


def test_each_row_that_is_flushed_has_its_checksum(tmp_path):
    """In any order, with others flushed before."""
    path, axes = tmp_path / "a.h5", {"y": np.arange(3), "x": np.arange(4)}
    table, _ = prepare(path, np.zeros((12, 2)), kind="surface", dims=("y", "x"), coordinates=axes)
    for rows in ([5], [0, 11], [1, 2, 7]):
        for row in rows:
            table.record(row, {name: row + 0.5 for name in table.values})
        table.flush()
        there = read(path)
        values = [there[name] for name in table.values]
        done = np.flatnonzero(there["done"])
        np.testing.assert_array_equal(there.crc.flat[done], row_checksums(values, done, there["done"]))
