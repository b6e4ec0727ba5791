"""Results become other tools' files, and the 2018 code's files ours, without a number changed or invented."""

import base64
import itertools
import json
import logging
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
import torch
from files import ROOT
from of_2018 import LOSS, OWN, X, Y, foreign, in_2018, measured_in_2018, old, script, surface

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.commands import cli
from landscape.engine.ranks import SerialComm
from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.formats import mesh
from landscape.formats.li2018 import read_surface
from landscape.networks import build
from landscape.planes import direction_files as saved

foreign = pytest.fixture(params=["pad", "project"])(foreign)


def convert(*arguments):
    """The command, within this process, with what it prints."""
    with cli._printing(logging.INFO):
        script.main(script.parser().parse_args(list(map(str, arguments))), SerialComm())


def refused(*arguments):
    with pytest.raises(BadInput) as caught:
        convert(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lesions(path):
    plan = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1]], bool)
    table, _ = prepare(
        path,
        plan,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(3), "block": np.array(["stages.0.0", "stages.0.1", "stages.1.0"])},
        given={
            "deleted": (("trial", "block"), plan),
            "order": (("trial", "block"), np.arange(9).reshape(3, 3)),
            "depth": (("block",), np.array([1, 2, 3])),
        },
    )
    for row in (0, 1):
        table.record(row, {"loss": 0.1 + row, "loss_se": 0.01, "accuracy": 0.9, "examples": 400})
    table.flush()
    return path


def trajectory(path, loss=(3.0, 0.2, 0.01)):
    n = len(loss)
    table, _ = prepare(
        path,
        np.arange(n)[:, None],
        kind="trajectory",
        dims=("checkpoint",),
        coordinates={"checkpoint": np.array([f"epoch-{i}" for i in range(n)]), "component": np.arange(1, 3)},
        given={
            "alpha": (("checkpoint",), np.array([5.0, 1.0, 0.0])),
            "beta": (("checkpoint",), np.array([-1.0, 2.0, 0.0])),
            "explained": (("component",), np.array([0.8, 0.15])),
        },
    )
    for row, value in enumerate(loss):
        table.record(row, {"loss": value, "loss_se": 0.01, "accuracy": 0.9, "examples": 400})
    table.flush()
    return path


# Tables and arrays


def test_a_surface_is_a_row_for_each_point_with_its_coordinates_first(tmp_path):
    loss = LOSS.copy()
    loss[0, 1], loss[1, 0], loss[2, 3] = np.nan, np.inf, -np.inf
    done = np.full(loss.shape, True)
    done[1, 2] = False
    path = surface(tmp_path / "a.h5", loss, done)
    convert(path, tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "y,x,accuracy,done,examples,loss,loss_se"
    assert lines[2] == "0.0,-0.25,0.5,True,101,nan,nan"
    assert ",inf," in lines[5] and ",-inf," in lines[-1]
    table = pandas.read_csv(tmp_path / "a.csv")
    for name, array in {**read(path).variables, "y": np.repeat(Y, 4), "x": np.tile(X, 3)}.items():
        np.testing.assert_allclose(table[name], array.ravel(), rtol=1e-15, err_msg=name)  # pandas 1.5 misses last bits
    assert table.done.dtype == bool and not table.done[6] and np.isnan(table.loss[6])


def test_the_blocks_that_are_deleted_are_one_column_that_names_them(tmp_path, capsys):
    convert(lesions(tmp_path / "a.h5"), tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert table.columns[0] == "trial"
    assert table.deleted.str.split().tolist() == [[], ["stages.0.0"], ["stages.0.0", "stages.1.0"]]
    assert table.deleted_number.tolist() == ["", "1", "1 3"]  # as in figures
    assert table["order[stages.0.1]"].tolist() == [1, 4, 7]
    assert "depth left out, not being over (trial)" in capsys.readouterr().err


def test_what_is_over_some_of_the_dimensions_is_repeated_along_the_others(tmp_path):
    prepare(
        tmp_path / "a.h5",
        np.zeros((6, 1)),
        kind="surface",
        dims=("y", "x"),
        coordinates={"y": np.arange(2), "x": np.arange(3)},
        given={"width": (("x",), np.array([7, 8, 9])), "turned": (("x", "y"), np.arange(6).reshape(3, 2))},
    )
    convert(tmp_path / "a.h5", tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    assert table.width.tolist() == [7, 8, 9, 7, 8, 9]
    assert table.turned.tolist() == [0, 2, 4, 1, 3, 5]


def test_plain_arrays_hold_everything_and_no_pickle(tmp_path):
    path = lesions(tmp_path / "a.h5")
    convert(path, tmp_path / "a.npz")
    convert(path, tmp_path / "b.npz")
    arrays, results = np.load(tmp_path / "a.npz", allow_pickle=False), read(path)
    for name, array in {**results.coordinates, **results.variables}.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    about = json.loads(str(arrays["about"]))
    assert about["dimensions"]["deleted"] == ["trial", "block"] and about["attributes"]["kind"] == "lesion"
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


# VTK


def vtk(path):
    """The piece of a VTK file and its arrays, by the rules of the format and nothing else."""
    root = ElementTree.parse(path).getroot()
    assert root.attrib == {
        "type": root[0].tag,
        "version": "1.0",
        "byte_order": "LittleEndian",
        "header_type": "UInt64",
    }
    types = {"Float64": "<f8", "Int64": "<i8", "UInt8": "u1"}
    by_name = {}
    for array in root.iter("DataArray"):
        assert array.attrib["format"] == "binary"
        raw = base64.b64decode(array.text, validate=True)
        assert int.from_bytes(raw[:8], "little") == len(raw) - 8
        values = np.frombuffer(raw[8:], types[array.attrib["type"]])
        components = int(array.attrib["NumberOfComponents"])
        by_name[array.attrib["Name"]] = values.reshape(-1, components) if components > 1 else values
    return root[0][0], by_name


def test_a_surface_is_a_relief_for_paraview(tmp_path):
    convert(surface(tmp_path / "a.h5"), tmp_path / "a.vts")
    piece, arrays = vtk(tmp_path / "a.vts")
    assert piece.attrib["Extent"] == "0 3 0 2 0 0"  # x is the fastest
    expected = [(x, y, np.log10(LOSS[j, i])) for j, y in enumerate(Y) for i, x in enumerate(X)]
    np.testing.assert_allclose(arrays["Points"], expected, rtol=1e-15)
    np.testing.assert_array_equal(arrays["loss"], LOSS.ravel())
    np.testing.assert_allclose(arrays["log10_loss"], np.log10(LOSS).ravel())
    np.testing.assert_array_equal(arrays["accuracy"], 1 / (1 + np.arange(12)))
    assert arrays["done"].tolist() == [1] * 12 and "vtkGhostType" not in arrays


def test_what_has_no_height_is_hidden_and_keeps_its_value(tmp_path, capsys):
    loss, done = LOSS.copy(), np.full(LOSS.shape, True)
    loss[0, 1], loss[0, 2], done[2, 3] = np.inf, np.nan, False
    path = surface(tmp_path / "a.h5", loss, done)
    convert(path, tmp_path / "a.vts")
    _, arrays = vtk(tmp_path / "a.vts")
    assert np.flatnonzero(arrays["vtkGhostType"] == 2).tolist() == [1, 2, 11]
    assert np.isfinite(arrays["Points"]).all() and arrays["loss"][1] == np.inf and arrays["done"][11] == 0
    assert "points not finite or not measured: 3 of 12; they are hidden" in capsys.readouterr().err
    convert(path, tmp_path / "a.vts", "--clip", 20, "--linear", "--height", 0.5)
    _, arrays = vtk(tmp_path / "a.vts")
    assert np.flatnonzero(arrays["vtkGhostType"]).tolist() == [2, 11]
    np.testing.assert_array_equal(arrays["Points"][[0, 1, 10], 2], [0.75, 10, 10])


def test_a_space_is_a_grid_for_paraview(tmp_path):
    coordinates = {"z": np.array([0.0, 5.0]), "y": Y, "x": X}
    loss = 1 + np.arange(24.0).reshape(2, 3, 4)
    convert(surface(tmp_path / "a.h5", loss, coordinates=coordinates), tmp_path / "a.vts")
    piece, arrays = vtk(tmp_path / "a.vts")
    assert piece.attrib["Extent"] == "0 3 0 2 0 1"
    np.testing.assert_array_equal(arrays["Points"][17], [X[1], Y[1], 5])
    np.testing.assert_array_equal(arrays["loss"], loss.ravel())


def test_a_path_is_a_line_for_paraview(tmp_path, capsys):
    convert(trajectory(tmp_path / "a.h5", (100.0, np.nan, 0.01)), tmp_path / "a.vtp")
    piece, arrays = vtk(tmp_path / "a.vtp")
    assert (piece.attrib["NumberOfPoints"], piece.attrib["NumberOfLines"]) == ("3", "1")
    np.testing.assert_allclose(arrays["Points"], [[5, -1, 2], [1, 2, 2], [0, 0, -2]])
    assert arrays["connectivity"].tolist() == [0, 1, 2] and arrays["offsets"].tolist() == [3]
    assert np.isnan(arrays["loss"][1]) and "explained" not in arrays
    assert "they lie at the greatest height" in capsys.readouterr().err


def test_vtk_itself_reads_them(tmp_path):
    vtk_ = pytest.importorskip("vtk")
    numpy_support = pytest.importorskip("vtk.util.numpy_support")
    loss = LOSS.copy()
    loss[1, 1] = np.nan
    convert(surface(tmp_path / "a.h5", loss), tmp_path / "a.vts")
    reader = vtk_.vtkXMLStructuredGridReader()
    reader.SetFileName(str(tmp_path / "a.vts"))
    reader.Update()
    grid = reader.GetOutput()
    values = numpy_support.vtk_to_numpy(grid.GetPointData().GetArray("loss"))
    np.testing.assert_array_equal(values, loss.ravel())
    assert grid.HasAnyBlankPoints()


# Meshes


def triangles_of(path):
    """The triangles of a binary STL file, (m, 3 corners, 3), and their normals."""
    raw = path.read_bytes()
    assert not raw.startswith(b"solid")
    number = int.from_bytes(raw[80:84], "little")
    assert len(raw) == 84 + 50 * number
    facets = np.array([np.frombuffer(raw[84 + 50 * i :][:48], "<f4").reshape(4, 3) for i in range(number)], float)
    return facets[:, 1:], facets[:, 0]


def check_closed(corners):
    """Each edge is shared by exactly two triangles, which run along it in opposite directions."""
    _, number = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    edges = [(a, b) for t in number.reshape(-1, 3).tolist() for a, b in zip(t, t[1:] + t[:1], strict=True)]
    assert len(set(edges)) == len(edges)
    assert {(b, a) for a, b in edges} == set(edges)


def volume(corners):
    return np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (3, 4)])
def test_a_surface_is_a_closed_body_for_a_printer(tmp_path, shape):
    y, x = np.arange(shape[0]) ** 1.5, np.arange(shape[1]) - 1.0
    # What is linear is met exactly by any triangles.
    loss = 7 + np.add.outer(0.5 * y, -x)
    path = surface(tmp_path / "a.h5", loss, coordinates={"y": y, "x": x})
    convert(path, tmp_path / "a.stl", "--linear", "--height", 2)
    corners, normals = triangles_of(tmp_path / "a.stl")
    check_closed(corners)
    base = 0.05 * max(np.ptp(x), np.ptp(y))
    mean = 2 * (loss.min() + loss.max()) / 2  # at the middle of a plane
    assert volume(corners) == pytest.approx(np.ptp(x) * np.ptp(y) * (mean - 2 * loss.min() + base), rel=1e-6)
    assert corners[..., 2].min() == pytest.approx(2 * loss.min() - base)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-6)
    turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", turned, normals) > 0).all()
    outwards = np.einsum("ij,ij->i", corners.mean(axis=1) - corners.mean(axis=(0, 1)), normals)
    assert (outwards > 0).all()  # of a convex body


def test_a_rough_body_is_closed_too_and_infinity_lies_on_top(tmp_path, capsys):
    loss = np.random.default_rng(0).lognormal(0, 2, (9, 12))
    loss[3, 4] = np.inf
    coordinates = {"y": np.linspace(-1, 1, 9), "x": np.linspace(-1, 1, 12)}
    path = surface(tmp_path / "a.h5", loss, coordinates=coordinates)
    convert(path, tmp_path / "a.stl")
    corners, _ = triangles_of(tmp_path / "a.stl")
    check_closed(corners)
    assert volume(corners) > 0
    top = np.log10(loss[np.isfinite(loss)].max())
    assert corners[..., 2].max() == pytest.approx(top) and "losses not finite: 1 of 108" in capsys.readouterr().err
    convert(path, tmp_path / "b.stl", "--clip", 1.5)
    assert triangles_of(tmp_path / "b.stl")[0][..., 2].max() == pytest.approx(np.log10(1.5))


def test_what_is_not_measured_is_not_printed(tmp_path):
    done = np.full(LOSS.shape, True)
    done[0, 0] = False
    path = surface(tmp_path / "a.h5", LOSS, done)
    assert "1 of 12 points are not measured yet; finish it first" in refused(path, tmp_path / "a.stl")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_points_that_single_precision_does_not_tell_apart_are_refused(tmp_path):
    path = surface(tmp_path / "a.h5", coordinates={"y": Y, "x": 1 + 1e-9 * X})
    assert "too close or too far for STL's single precision" in refused(path, tmp_path / "a.stl")


def test_a_surface_is_a_mesh_with_holes_for_blender(tmp_path, capsys):
    loss = LOSS.copy()
    loss[0, 0] = np.nan  # a corner: of one cell, and its diagonal goes through it
    convert(surface(tmp_path / "a.h5", loss), tmp_path / "a.obj")
    lines = [line.split() for line in (tmp_path / "a.obj").read_text().splitlines()]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    assert len(vertices) == 11 and len(faces) == 10
    at = {(x, y): np.log10(LOSS[j, i]) for j, y in enumerate(Y) for i, x in enumerate(X)}
    for x, y, z in vertices:
        assert z == at[x, y]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()  # seen from above
    assert "1 of 12; they are holes" in capsys.readouterr().err


def test_a_loss_of_0_has_no_logarithm(tmp_path, capsys):
    loss = LOSS.copy()
    loss[1, 1] = 0
    convert(surface(tmp_path / "a.h5", loss), tmp_path / "a.vts")
    _, arrays = vtk(tmp_path / "a.vts")
    assert arrays["Points"][5, 2] == arrays["Points"][:, 2].min() == np.log10(LOSS.min())
    assert "losses of 0 or less: 1" in capsys.readouterr().err
    assert "no loss with a height" in refused(surface(tmp_path / "b.h5", 0 * LOSS), tmp_path / "b.obj")


def test_one_of_several_surfaces_is_named(tmp_path):
    coordinates = {"repeat": np.arange(2), "y": Y, "x": X}
    path = surface(tmp_path / "a.h5", np.stack([LOSS, 2 * LOSS]), coordinates=coordinates)
    assert "has 2 surfaces; say which with --repeat 0 … 1" in refused(path, tmp_path / "a.vts")
    assert "say which" in refused(path, tmp_path / "a.vts", "--repeat", 2)
    convert(path, tmp_path / "a.vts", "--repeat", 1)
    np.testing.assert_array_equal(vtk(tmp_path / "a.vts")[1]["loss"], 2 * LOSS.ravel())
    convert(path, tmp_path / "a.csv")
    assert len(pandas.read_csv(tmp_path / "a.csv")) == 24
    assert "has no repeats" in refused(surface(tmp_path / "b.h5"), tmp_path / "b.vts", "--repeat", 0)


# The code of 2018


def bowl(x, y):
    return 0.5 + x**2 + 10 * y


@pytest.mark.parametrize("y", [Y, np.array([0.0, 1.0, 3.0, 4.0])], ids=["not square", "square"])
def test_a_surface_becomes_what_that_code_would_have_written(tmp_path, capsys, y):
    loss = 0.5 + np.add.outer(10 * y, X**2)
    done = np.full(loss.shape, True)
    done[1, 2] = False
    convert(surface(tmp_path / "a.h5", loss, done, coordinates={"y": y, "x": X}), tmp_path / "a.2018.h5")
    expected = measured_in_2018(X, y, lambda a, b: -1 if (a, b) == (X[2], y[1]) else bowl(a, b))
    with h5py.File(tmp_path / "a.2018.h5") as file:
        np.testing.assert_array_equal(file["xcoordinates"], X)
        np.testing.assert_array_equal(file["ycoordinates"], y)
        np.testing.assert_allclose(file["train_loss"], expected)
        percent = np.where(expected.ravel() == -1, -1, 100 / (1 + np.arange(expected.size)))
        np.testing.assert_allclose(file["train_acc"][...].ravel(), percent)
        assert "test_loss" not in file
        assert json.loads(file["converted"].asstr()[()])["attributes"]["network"] == "resnet-56"
    assert ("not square" in capsys.readouterr().err) == (len(y) != len(X))


def test_lines_test_splits_and_paths_have_their_old_layout(tmp_path):
    line = surface(tmp_path / "a.h5", LOSS[0], coordinates={"x": X}, split="test")
    convert(line, tmp_path / "b.h5", "--layout", "2018")
    with h5py.File(tmp_path / "b.h5") as file:
        assert {*file} == {"xcoordinates", "test_loss", "test_acc", "converted"}
        np.testing.assert_array_equal(file["test_loss"], LOSS[0])
    convert(trajectory(tmp_path / "c.h5"), tmp_path / "c.2018.h5")
    with h5py.File(tmp_path / "c.2018.h5") as file:
        assert file["proj_xcoord"][...].tolist() == [5, 1, 0] and file["proj_ycoord"][...].tolist() == [-1, 2, 0]
        assert file["explained_variance_ratio_"][...].tolist() == [0.8, 0.15]
    assert "is a lesion" in refused(lesions(tmp_path / "d.h5"), tmp_path / "d.2018.h5")


def test_a_square_surface_of_that_code_keeps_its_orientation(tmp_path, capsys):
    y = np.array([3.0, 1.0, 0.0, -2.0])  # that code takes any order
    loss, accuracy = measured_in_2018(X, y, bowl), measured_in_2018(X, y, lambda a, b: 50 + a + b)
    path = old(tmp_path / "a.h5", X, y, train_loss=loss + 40, train_acc=accuracy)
    convert(path, tmp_path / "b.h5", "--network", "resnet56", "--data", "cifar10")
    results = read(tmp_path / "b.h5")
    assert results.dims["loss"] == ("y", "x") and results.coordinates["y"].tolist() == [-2, 0, 1, 3]
    for (j, b), (i, a) in itertools.product(enumerate(results.coordinates["y"]), enumerate(X)):
        assert results["loss"][j, i] == 40 + bowl(a, b)
        assert results["accuracy"][j, i] == pytest.approx((50 + a + b) / 100)
    assert results["done"].all() and np.isnan(results["loss_se"]).all() and (results["examples"] == 0).all()
    attributes = results.attributes
    assert (attributes["kind"], attributes["network"], attributes["data"], attributes["split"]) == (
        "surface",
        "resnet56",
        "cifar10",
        "train",
    )
    assert (
        attributes["command"] == "imported from a.h5 by convert.py"
        and "layout of Li et al. 2018" in attributes["imported"]
    )
    assert attributes["direction_file"] == "model_300.t7_weights_xignore=biasbn_xnorm=filter.h5"
    assert "doubts" not in attributes and not capsys.readouterr().err


def test_what_is_doubtful_in_a_surface_of_that_code_is_said_there_and_here(tmp_path, capsys):
    loss = measured_in_2018(X, Y, bowl)
    flat = loss.reshape(-1)  # a view
    flat[1], flat[2], flat[3], flat[4] = -1, 0, np.nan, -0.5
    path = old(tmp_path / "a.h5", X, Y, train_loss=loss, train_acc=np.full(loss.shape, 10.0))
    convert(path, tmp_path / "b.h5")
    results = read(tmp_path / "b.h5")
    expected = np.array([[bowl(a, b) for a in X] for b in Y])
    assert np.flatnonzero(~results["done"]).tolist() == [1]
    np.testing.assert_array_equal(results["loss"].ravel()[5:], expected.ravel()[5:])
    assert results["loss"].ravel()[[2, 4]].tolist() == [0, -0.5] and np.isnan(results["loss"].ravel()[[1, 3]]).all()
    said, doubts = capsys.readouterr().err, "\n".join(results.attributes["doubts"])
    for words in ("not trustworthy: 4 × 3 points", "losses of 0 or less: 2", "losses that are NaN: 1"):
        assert words in said and words in doubts


def test_both_splits_of_that_code_are_taken(tmp_path):
    both = {"train_loss": X + 3, "train_acc": X + 50, "test_loss": X + 4, "test_acc": X + 40}
    results, doubts = read_surface(old(tmp_path / "a.h5", X, **both))
    assert results["test_loss"].tolist() == (X + 4).tolist() and results.attributes["second_split"] == "test"
    assert not doubts
    both["test_loss"][1] = -1
    results, doubts = read_surface(old(tmp_path / "b.h5", X, **both))
    assert "test_loss" not in results.variables and "test_loss left out" in doubts[0]
    results, _ = read_surface(old(tmp_path / "c.h5", X, test_loss=X + 4))
    assert results.attributes["split"] == "test" and "accuracy" not in results


def test_a_surface_goes_there_and_back(tmp_path):
    path = surface(tmp_path / "a.h5")
    convert(path, tmp_path / "b.2018.h5")
    convert(tmp_path / "b.2018.h5", tmp_path / "c.h5")
    convert(tmp_path / "c.h5", tmp_path / "d.2018.h5")
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(read(tmp_path / "c.h5")[name], read(path)[name], rtol=1e-15)
    with h5py.File(tmp_path / "b.2018.h5") as one, h5py.File(tmp_path / "d.2018.h5") as other:
        np.testing.assert_array_equal(one["train_loss"], other["train_loss"])


def test_a_surface_of_that_code_becomes_anything_ours_can(tmp_path):
    path = old(tmp_path / "a.h5", X, Y, train_loss=measured_in_2018(X, Y, bowl), train_acc=np.ones((4, 3)))
    convert(path, tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(table.loss, bowl(table.x, table.y))
    convert(path, tmp_path / "a.stl")
    check_closed(triangles_of(tmp_path / "a.stl")[0])


# Directions of 2018


def test_directions_over_states_lose_what_moves_statistics(tmp_path, foreign, capsys):
    network, path, (direction, _) = foreign
    parameters = dict(zip((n for n, _ in network.named_parameters()), direction, strict=True))
    convert(in_2018(tmp_path / "d.h5", direction), tmp_path / "d.pt", "--checkpoint", path, *OWN)
    expected = saved.load(tmp_path / "d.pt")
    for old_torch in (False, True):
        names = [n for n in network.state_dict() if not (old_torch and n.endswith("num_batches_tracked"))]
        states = [parameters.get(n, torch.ones(network.state_dict()[n].shape)) for n in names]
        out = tmp_path / f"{old_torch}.pt"
        convert(in_2018(tmp_path / f"{old_torch}.h5", states), out, "--checkpoint", path, *OWN)
        assert "xdirection moves" in capsys.readouterr().err
        (loaded,) = saved.load(out)
        assert loaded.keys() == expected[0].keys()
        assert all(torch.equal(loaded[n], d) for n, d in expected[0].items())


def test_our_directions_become_theirs_and_ours_again(tmp_path, foreign):
    _, path, directions = foreign
    one, again, back = (tmp_path / name for name in ("d.pt", "e.2018.h5", "e.pt"))
    convert(in_2018(tmp_path / "d.h5", *directions), one, "--checkpoint", path, *OWN)
    convert(one, again, "--checkpoint", path, *OWN)
    convert(again, back, "--checkpoint", path, *OWN)
    with h5py.File(again) as file:
        for name, direction in zip(("xdirection", "ydirection"), directions, strict=True):
            for number, tensor in enumerate(direction):
                np.testing.assert_array_equal(file[name][str(number)], tensor.numpy())
    assert all(torch.equal(a[n], b[n]) for a, b in zip(saved.load(one), saved.load(back), strict=True) for n in a)


def test_our_own_checkpoint_needs_no_network(tmp_path):
    network = build("resnet", depth=8, width=4)
    save(Checkpoint("resnet", {"depth": 8, "width": 4}, network.state_dict()), tmp_path / "a.pt")
    weights = dict(network.named_parameters())
    named = list(weights)
    saved.save([{named[3]: weights[named[3]]}], tmp_path / "d.pt")
    convert(tmp_path / "d.pt", tmp_path / "d.h5", "--checkpoint", tmp_path / "a.pt")
    with h5py.File(tmp_path / "d.h5") as file:
        assert len(file["xdirection"]) == len(named)
        np.testing.assert_array_equal(file["xdirection/3"], weights[named[3]].detach())
        assert not any(file[f"xdirection/{i}"][...].any() for i in range(len(named)) if i != 3)


def test_directions_of_another_network_are_refused(tmp_path, foreign):
    _, path, (direction, _) = foreign
    own = ("--checkpoint", path, *OWN)
    out = tmp_path / "d.pt"
    assert "add --checkpoint" in refused(in_2018(tmp_path / "d.h5", direction), out)
    assert "parameters and" in refused(in_2018(tmp_path / "e.h5", direction[1:]), out, *own)
    wrong = [direction[0][:1], *direction[1:]]
    assert "array 0 of xdirection has shape (1, 3, 3, 3)" in refused(in_2018(tmp_path / "f.h5", wrong), out, *own)
    saved.save([{"elsewhere": torch.zeros(1)}], tmp_path / "g.pt")
    assert "moves elsewhere" in refused(tmp_path / "g.pt", tmp_path / "g.h5", *own)
    assert "lost the order" in refused(tmp_path / "d.h5", out, "--checkpoint", tmp_path / "a.safetensors")
    assert not out.exists()


# Strangers' files, and the command


def hostile(folder):
    """Files that lead elsewhere or claim too much, and words of the answer."""
    other = h5py.File(folder / "other.h5", "w")
    other["secret"] = np.ones(4)
    other.close()
    (folder / "raw.bin").write_bytes(bytes(32))
    cases = {
        "external link": (lambda f: f.__setitem__("xcoordinates", h5py.ExternalLink("other.h5", "secret")), "a link"),
        "soft link": (lambda f: f.__setitem__("xcoordinates", h5py.SoftLink("/train_loss")), "a link"),
        "external storage": (
            lambda f: f.create_dataset("xcoordinates", (4,), "f8", external=[(folder / "raw.bin", 0, 32)]),
            "in another file",
        ),
        "virtual": (virtual, "in another file"),
        "huge": (lambda f: f.create_dataset("xcoordinates", (10**12,), "f8", chunks=(1000,)), "more than can be meant"),
        "compound": (lambda f: f.create_dataset("xcoordinates", (4,), [("a", "f8")]), "neither numbers nor text"),
        "references": (lambda f: f.create_dataset("xcoordinates", (4,), h5py.ref_dtype), "neither numbers nor text"),
        "a group": (lambda f: f.create_group("xcoordinates"), "is no array"),
        "empty": (lambda f: f.create_dataset("xcoordinates", dtype="f8"), "is no array"),
        "text": (lambda f: f.__setitem__("xcoordinates", list("abcd")), "not finite and different"),
        "not finite": (lambda f: f.__setitem__("xcoordinates", [0, 1, 2, np.nan]), "not finite and different"),
        "twice": (lambda f: f.__setitem__("xcoordinates", [0, 1, 1, 2]), "not finite and different"),
        "matrix": (lambda f: f.__setitem__("xcoordinates", np.eye(2)), "has shape (4,)"),
        "shapes": (lambda f: f.__setitem__("xcoordinates", np.arange(5)), "has shape (4,) for coordinates of (5,)"),
    }
    return cases


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
    file.create_virtual_dataset("xcoordinates", layout)


CASES = ["external link", "soft link", "external storage", "virtual", "huge", "compound", "references", "a group"]
CASES += ["empty", "text", "not finite", "twice", "matrix", "shapes"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("ours", [False, True], ids=["2018", "ours"])
def test_a_strangers_file_leads_nowhere_and_is_refused_in_one_line(tmp_path, case, ours):
    cases = hostile(tmp_path)
    assert list(cases) == CASES
    make, words = cases[case]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
        file["train_loss"] = np.ones(4)
        if ours:
            file.attrs["kind"], file["done"] = "surface", np.ones(4, bool)
    before = {path.name for path in tmp_path.iterdir()}
    said = refused(tmp_path / "a.h5", tmp_path / "b.csv" if ours else tmp_path / "b.h5")
    assert ("is not what skipscape writes" in said or "is damaged" in said) if ours else words in said
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n" + bytes(40)])
def test_what_is_no_hdf5_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    assert "is not an HDF5 file" in refused(tmp_path / "a.h5", tmp_path / "b.csv")
    assert "there is no file" in refused(tmp_path / "c.h5", tmp_path / "b.csv")


def test_a_damaged_file_is_refused_in_one_line(tmp_path):
    path = surface(tmp_path / "a.h5")
    whole = path.read_bytes()
    for length in range(0, len(whole), 512):
        path.write_bytes(whole[:length])
        refused(path, tmp_path / "b.csv")
    path.write_bytes(whole.replace(b"accuracy", b"\xd0ccuracy"))
    assert "is damaged" in refused(path, tmp_path / "b.csv")


def test_results_without_what_their_kind_has_are_refused(tmp_path):
    for kind, name in (("trajectory", "alpha"), ("surface", "loss")):
        path = Path(shutil.copy(ROOT / "tests" / "archive" / f"{kind}.h5", tmp_path))
        with h5py.File(path, "r+") as file:
            del file[name]
        assert f"has no variable {name}" in refused(path, tmp_path / "a.2018.h5")


def test_what_may_hold_hours_of_work_is_not_overwritten(tmp_path):
    path = old(tmp_path / "a.h5", X, train_loss=X + 3, train_acc=X)
    mine = surface(tmp_path / "mine.h5")
    before = mine.read_bytes()
    assert "exists, and may hold hours of work" in refused(path, mine)
    assert "exists" in refused(mine, mine, "--layout", "2018")
    assert mine.read_bytes() == before
    convert(path, tmp_path / "b.h5")
    convert(path, tmp_path / "b.h5")  # the same again
    convert(mine, tmp_path / "a.csv")
    convert(path, tmp_path / "a.csv")  # no work is lost with a table
    assert len(pandas.read_csv(tmp_path / "a.csv")) == 4
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_what_does_not_go_together_is_said_in_one_line(tmp_path):
    ours, theirs_ = surface(tmp_path / "a.h5"), old(tmp_path / "b.h5", X, train_loss=X + 3)
    csv = tmp_path / "a.csv"
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["proj_xcoord"] = X
    cases = {
        (ours, tmp_path / "a.xls"): "ends in none of .csv, .npz",
        (ours, tmp_path / "d.h5"): "cannot become .h5",
        (ours, tmp_path / "d.pt"): "cannot become .pt",
        (ours, csv, "--clip", 3): "--clip does not apply to results as .csv",
        (ours, csv, "--data", "x"): "--data does not apply to results",
        (ours, csv, "--layout", "2018"): "--layout 2018 is for .h5 files",
        (ours, csv, "--variable", "test_loss"): "--variable does not apply to .csv",
        (ours, tmp_path / "a.vts", "--variable", "mse"): "has no loss 'mse'",
        (ours, tmp_path / "a.vts", "--clip", 0): "--clip is 0; give a finite loss, above 0 unless --linear",
        (ours, tmp_path / "a.vts", "--height", -1): "--height is -1; give a factor above 0",
        (ours, tmp_path / "a.vtp"): "holds the path of a trajectory",
        (ours, tmp_path / "no" / "a.csv"): "create it: mkdir -p",
        (lesions(tmp_path / "l.h5"), tmp_path / "a.obj"): "a relief needs a plane",
        (theirs_, tmp_path / "a.stl"): "a relief needs a plane (y, x)",
        (theirs_, tmp_path / "a.csv", "--repeat", 0): "--repeat does not apply",
        (tmp_path / "c.h5", csv): "neither results nor a surface or directions of 2018",
    }
    for arguments, words in cases.items():
        assert words in refused(*arguments), arguments
    assert not csv.exists()


def test_another_loss_in_the_place_of_the_loss(tmp_path):
    both = {"train_loss": np.eye(4) + 1, "train_acc": np.eye(4), "test_loss": np.eye(4) + 2, "test_acc": np.eye(4)}
    path = old(tmp_path / "a.h5", X, X, **both)
    convert(path, tmp_path / "a.vts", "--variable", "test_loss")
    np.testing.assert_array_equal(vtk(tmp_path / "a.vts")[1]["loss"], both["test_loss"].ravel())


def test_a_solid_needs_each_of_its_parts():
    body = mesh.solid(X, Y, LOSS, 1.0)
    check_closed(body.vertices[body.triangles])
    for number in range(len(body.triangles)):
        with pytest.raises(AssertionError):
            check_closed(body.vertices[np.delete(body.triangles, number, axis=0)])
