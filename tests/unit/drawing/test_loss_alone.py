"""Results measured in a loss alone, where accuracy is not defined: every figure, page and table there is of others."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hostile import ran
from matplotlib.figure import Figure

from ensemble.attribution import shapley
from ensemble.attribution.interaction import INTERACTION
from ensemble.drawing.attribution import interactions, values
from ensemble.drawing.depth import damages, resilience
from ensemble.drawing.lesions import lesions
from ensemble.drawing.marks import by_block, by_number
from ensemble.drawing.page import lesion_page, numbers, trials
from ensemble.drawing.surviving import survivors
from landscape.analysis.comparison import compare
from landscape.drawing import save
from landscape.drawing.words import loss_label, titles_of
from landscape.engine.table import MEASURED, prepare, read
from landscape.planes.adaptive import INTERPOLATED

X, Y, Z = np.linspace(-1, 1, 5), np.linspace(-1, 1, 4), np.linspace(-1, 1, 3)
BLOCKS = [f"layers.{stage}.{block}" for stage in range(2) for block in range(3)]
ALONE = {name: MEASURED[name] for name in ("loss", "loss_se", "examples")}


def made(name, *typed, folder):
    status, said = ran(name, *typed, folder=folder)
    assert status == 0 and "Warning" not in said, said


def units(said, names=("loss", "loss_se")):
    return {name: (*MEASURED[name][:2], MEASURED[name][2] | {"units": said}) for name in names}


def filled(path, kind, coordinates, over, values, *, measured=ALONE, given=None, nan=False, loss="mse", **attributes):
    """A file with these losses; with `nan`, as files of version 0.1 have what is not defined."""
    measured = measured | units("nats" if loss == "cross_entropy" or nan else "as the loss")
    measured |= {"accuracy": MEASURED["accuracy"]} if nan else {}
    values = np.asarray(values, float)
    table, _ = prepare(
        path,
        np.zeros((values.size, 1)),
        kind=kind,
        dims=over,
        coordinates=coordinates,
        given=given,
        measured=measured,
        attributes={"network": "net", "data": "series", "split": "test", "loss": loss, "checkpoint": "a"} | attributes,
    )
    for row, value in enumerate(values.ravel()):
        one = dict.fromkeys(measured, 0.01 * (1 + row)) | {"loss": value, "loss_se": abs(value) / 50, "examples": 64}
        table.record(row, one | ({"accuracy": np.nan} if nan else {}))
    table.flush()
    return read(path)


def surface(path, over=("y", "x"), **how):
    axes = {"repeat": np.arange(3), "z": Z, "y": Y, "x": X}
    grid = np.meshgrid(*(np.asarray(axes[name], float) for name in over), indexing="ij")
    loss = 0.1 + sum(axis**2 for axis in grid)
    return filled(path, "surface", {name: axes[name] for name in over}, over, loss, seed=0, **how)


def lesion(path, plan, losses=None, lesion="delete", variable="deleted", blocks=BLOCKS, given=None, **how):
    plan = np.array(plan, bool)
    losses = 0.3 + plan @ np.linspace(0.1, 0.6, len(blocks)) if losses is None else losses
    coordinates = {"trial": np.arange(len(plan)), "block": np.array(blocks)}
    given = {variable: (("trial", "block"), plan)} | (given or {})
    if variable != "deleted":
        given["deleted"] = (("trial", "block"), np.zeros_like(plan))
    how = {"measured": ALONE, **how}
    return filled(path, "lesion", coordinates, ("trial",), losses, given=given, lesion=lesion, **how)


SINGLE = np.vstack([np.zeros(6), np.eye(6)])
MANY = np.vstack([np.zeros(6), np.tril(np.ones((6, 6))).repeat(3, 0)])
PAIRS = np.vstack([SINGLE, [np.eye(6)[i] + np.eye(6)[j] for i in range(6) for j in range(i)]])
PAIRED = ALONE | INTERACTION


def every_lesion(folder, **how):
    order = np.argsort(np.random.default_rng(0).random((20, 6)), axis=1)
    tau = {"order": (("trial", "block"), order), "kendall_tau": (("trial",), np.linspace(1, 0.5, 20))}
    return [
        lesion(folder / "single.h5", SINGLE, **how),
        lesion(folder / "many.h5", MANY, **how),
        lesion(folder / "swap.h5", np.zeros((20, 6)), np.linspace(0.3, 2, 20), "swap", given=tau, **how),
        lesion(folder / "twice.h5", MANY, None, "repeat", "repeated", **how),
        lesion(folder / "mean.h5", SINGLE, None, "replace by mean", "replaced", **how),
        lesion(folder / "side.h5", PAIRS[7:], None, "parallel", "parallel", **how),
    ]


def ordered(path, **how):
    ways = shapley.orders(6, 80, seed=0)
    given = {"turn": (("order", "block"), ways.argsort(axis=1))}
    plan = shapley.sets(ways)
    coordinates = {"trial": np.arange(len(plan)), "block": np.array(BLOCKS), "order": np.arange(len(ways))}
    given["deleted"] = (("trial", "block"), plan)
    return filled(path, "lesion", coordinates, ("trial",), 0.3 + plan @ np.arange(6.0), given=given, **how)


OVER = [("x",), ("repeat", "x"), ("y", "x"), ("repeat", "y", "x"), ("z", "y", "x")]


@pytest.mark.parametrize("nan", [False, True], ids=["absent", "NaN"])
@pytest.mark.parametrize("over", OVER, ids="-".join)
@pytest.mark.slow
def test_a_surface_is_drawn_put_on_a_page_and_compared(tmp_path, over, nan):
    surface(tmp_path / "a.h5", over, nan=nan)
    for out in ("a.png", "a.html"):
        made("figure", out, "a.h5", folder=tmp_path)
        assert (tmp_path / out).stat().st_size > 1000
    if "z" not in over:
        rows = compare([read(tmp_path / "a.h5")]).lines
        assert rows and not any("error" in line.name for line in rows)
        assert {line.unit for line in rows if line.name.startswith("smallest loss")} == {"mse"}


@pytest.mark.parametrize("suffix", ["csv", "npz", "vts", "obj", "stl", "2018.h5"])
def test_a_surface_is_converted(tmp_path, suffix):
    surface(tmp_path / "a.h5", given={"row": (("y",), np.array(["a", "b", "c", "d"]))})
    made("convert", "a.h5", f"b.{suffix}", folder=tmp_path)
    assert (tmp_path / f"b.{suffix}").stat().st_size > 100
    if suffix == "csv":
        with open(tmp_path / "b.csv") as file:
            assert "accuracy" not in next(csv.reader(file))
    if suffix == "2018.h5":  # and back
        made("convert", "b.2018.h5", "c.h5", "--loss", "mse", folder=tmp_path)
        there, back = read(tmp_path / "a.h5"), read(tmp_path / "c.h5")
        np.testing.assert_array_equal(back["loss"], there["loss"])
        assert "accuracy" not in back and back.unit == "mse"


@pytest.mark.parametrize("nan", [False, True], ids=["absent", "NaN"])
@pytest.mark.slow
def test_lesions_of_every_kind_are_drawn_as_losses(tmp_path, nan):
    files = every_lesion(tmp_path, nan=nan)
    figure = lesions(files)
    *panels, bars = figure.axes
    assert [axes.get_ylabel().replace("\n", " ") for axes in panels] == ["test loss (mean squared error)"] * 4
    assert bars.get_xlabel().replace("\n", " ") == "test loss (mean squared error), median and quartiles"
    save(figure, tmp_path / "a.png")
    made("figure", "b.png", *(file.path.name for file in files), folder=tmp_path)


def test_losses_of_single_deletions_stand_with_their_intervals_over_the_blocks(tmp_path):
    file = lesion(tmp_path / "a.h5", SINGLE)
    axes = by_block(Figure().subplots(), file, BLOCKS)
    drawn = {x: y for line in axes.lines if line.get_marker() in ("o", "D") for x, y in line.get_xydata().tolist()}
    assert drawn == {k: file["loss"][k] for k in range(1, 7)}
    (bars,) = axes.collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, file["loss"][1:, None] * [1 - 1.96 / 50, 1 + 1.96 / 50], rtol=1e-4)
    assert axes.lines[-1].get_ydata()[0] == file["loss"][0]  # dashed: nothing deleted


def test_losses_over_decades_have_a_logarithmic_axis_and_infinite_ones_a_cross(tmp_path):
    loss = np.array([0.01, 0.02, 50, 7, np.inf, np.nan, 0.3])
    figure = lesions([lesion(tmp_path / "a.h5", SINGLE, loss)])
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert crosses.get_xdata().tolist() == [4, 5]
    assert any("not finite" in text.get_text() for legend in figure.legends for text in legend.get_texts())
    negative = lesions([lesion(tmp_path / "b.h5", SINGLE, -loss[::-1])]).axes[0]
    assert negative.get_yscale() == "linear" and negative.get_ylim()[0] < -50


def test_the_median_of_many_deletions_is_of_losses(tmp_path):
    file = lesion(tmp_path / "a.h5", MANY, np.linspace(1, 5, 19))
    axes = by_number(Figure().subplots(), file)
    expected = [np.median(file["loss"][file["deleted"].sum(axis=1) == k]) for k in range(7)]
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), expected)


@pytest.mark.parametrize("nan", [False, True], ids=["absent", "NaN"])
@pytest.mark.slow
def test_pairs_and_values_and_depths_are_drawn_as_losses(tmp_path, nan):
    single = lesion(tmp_path / "single.h5", SINGLE, nan=nan)
    pairs = interactions([lesion(tmp_path / "pairs.h5", PAIRS, measured=PAIRED, nan=nan)])
    assert pairs.axes[-1].get_ylabel() == "rise of test loss\n(mean squared error)"
    worth = values([ordered(tmp_path / "ordered.h5", nan=nan), single])
    (axes,) = worth.axes
    assert axes.get_ylabel() == "rise of test loss\n(mean squared error)"
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], single["loss"][1:] - single["loss"][0])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), np.arange(6.0))  # additive, so each has its own worth
    np.testing.assert_allclose(damages(single)[0], single["loss"][1:])
    depth = resilience([single])
    assert depth.axes[0].get_ylabel() == "test loss after one deletion (mean squared error)"
    for name, figure in {"a": pairs, "b": worth, "c": depth}.items():
        save(figure, tmp_path / f"{name}.png")


def test_what_survives_is_drawn_beside_losses(tmp_path):
    from shares import BINOMIAL, SHARES, N, spectrum

    paths = spectrum(tmp_path / "p.h5", BINOMIAL, SHARES)
    plan = np.vstack([np.zeros(N), np.eye(N)])
    how = {"blocks": [f"b.{i}" for i in range(N)], "checkpoint": paths.attributes["checkpoint"]}
    left, right = survivors([paths, lesion(tmp_path / "a.h5", plan, np.linspace(1, 3, N + 1), **how)]).axes
    assert left.get_ylabel() == "test loss (mean squared error)" and left.get_ylim()[1] < 4
    assert right.get_ylim()[1] >= 100


def test_a_page_of_deletions_shows_losses(tmp_path):
    files = [lesion(tmp_path / "a.h5", SINGLE), lesion(tmp_path / "b.h5", MANY)]
    table = trials(files)
    assert "error" not in table
    np.testing.assert_allclose(table["high"] - table["loss"], 1.96 * table["loss"] / 50, rtol=1e-4)
    drawn = [trace for trace in numbers(table, ["a", "b"]).data if trace.customdata is not None]
    rows = np.concatenate([trace.customdata for trace in drawn])
    np.testing.assert_array_equal(np.concatenate([trace.y for trace in drawn]), table["loss"][rows[:, 0]])
    text = lesion_page(files)
    assert "test loss <strong" in text and "test error" not in text and "test loss (mean squared error)" in text


def test_numbers_of_lesions_are_losses_in_their_unit(tmp_path):
    lines = compare([lesion(tmp_path / "a.h5", SINGLE)]).lines
    assert [(line.name, line.unit) for line in lines] == [("loss, intact", "mse"), ("median loss, 1 deleted", "mse")]
    assert lines[1].estimates[0].mean == pytest.approx(0.3 + np.median(np.linspace(0.1, 0.6, 6)))


@pytest.mark.parametrize(
    ("loss", "said", "unit", "label"),
    [
        ("cross_entropy", "nats", "nats", "test loss (nats per example)"),
        ("mse", "as the loss", "mse", "test loss (mean squared error)"),
        ("mse", "nats", "mse", "test loss (mean squared error)"),  # as version 0.1 wrote
        ("energy", "1", "energy", "test loss (energy)"),
        ("energy", "eV", "eV", "test loss (eV)"),
        ("<lambda>", "as the loss", "<lambda>", "test loss"),
        ("cross_entropy", "nats per token", "nats per token", "test loss (nats per token)"),
    ],
)
def test_a_label_has_the_unit_of_the_loss(tmp_path, loss, said, unit, label):
    measured = {"loss": units(said)["loss"]}
    coordinates = {"x": X}
    prepare(
        tmp_path / "a.h5",
        np.zeros((5, 1)),
        kind="surface",
        dims=("x",),
        coordinates=coordinates,
        measured=measured,
        attributes={"loss": loss, "split": "test"},
    )
    file = read(tmp_path / "a.h5")
    assert (file.unit, loss_label([file])) == (unit, label)


def test_two_files_of_one_network_are_told_apart_by_what_they_differ_in(tmp_path):
    def titles(**differing):
        number = len(next(iter(differing.values())))
        how = [{name: values[i] for name, values in differing.items()} for i in range(number)]
        folder = tmp_path / "-".join(differing)
        folder.mkdir()
        return titles_of([surface(folder / f"{'abcdef'[i]}.h5", given=None, **each) for i, each in enumerate(how)])

    assert titles(split=["train", "test"]) == ["net (train)", "net (test)"]
    assert titles(loss=["mse", "cross_entropy"]) == ["net (mse)", "net (cross_entropy)"]
    assert titles(dtype=["float32", "bfloat16"]) == ["net (float32)", "net (bfloat16)"]
    assert titles(batchnorm=["frozen", "recalibrated"]) == ["net (BatchNorm frozen)", "net (BatchNorm recalibrated)"]
    assert titles(seed_=["a", "b"]) == ["net (a)", "net (b)"]  # by nothing that is known: by their files
    assert titles(checkpoint=["a", "b"]) == ["net (a)", "net (b)"]
    assert titles(network=["one", "two"], split=["train", "test"]) == ["one", "two"]
    four = titles(split=["train", "test", "train", "test"], dtype=["float32"] * 2 + ["bfloat16"] * 2)
    assert four == ["net (train, float32)", "net (test, float32)", "net (train, bfloat16)", "net (test, bfloat16)"]
    assert titles_of([surface(tmp_path / "a.h5"), surface(tmp_path / "b.h5")], ["one", "one"]) == ["one", "one"]


def test_lesions_of_one_network_share_a_title_if_they_were_measured_alike(tmp_path):
    files = [lesion(tmp_path / "a.h5", SINGLE), lesion(tmp_path / "b.h5", MANY, seed=1)]
    assert [text.get_text() for text in lesions(files).legends[0].get_texts()] == ["net"]
    other = lesion(tmp_path / "c.h5", SINGLE, split="train")
    assert [text.get_text() for text in lesions([files[0], other]).legends[0].get_texts()] == [
        "net (test)",
        "net (train)",
    ]


def test_lesions_of_networks_of_different_depth_are_not_aligned_by_stage(tmp_path):
    def names(*sizes):
        return [f"layers.{stage}.{block}" for stage, size in enumerate(sizes) for block in range(size)]

    def drawn(one, other):
        files = [
            lesion(tmp_path / f"{'-'.join(blocks)[:90]}{i}.h5", np.eye(len(blocks)), blocks=blocks, checkpoint=str(i))
            for i, blocks in enumerate((one, other))
        ]
        axes = lesions(files).axes[0]
        return axes.get_xlabel(), any("stage" in text.get_text() for text in axes.texts)

    assert drawn(names(3, 3, 3), names(9, 9, 9)) == ("deleted block, by relative depth", False)
    assert drawn(names(9, 9, 9), names(3, 9, 9)) == ("deleted block, by relative depth", False)
    assert drawn(names(3, 3), names(3, 3, 3)) == ("deleted block, by relative depth", False)
    assert drawn([f"h.{i}" for i in range(6)], [f"h.{i}" for i in range(12)]) == (
        "deleted block, by relative depth",
        False,
    )
    # The first block of a stage, which a network without shortcuts cannot do without, is no difference of depth.
    lacking = [name for name in names(3, 3, 3) if name not in ("layers.1.0", "layers.2.0")]
    assert drawn(names(3, 3, 3), lacking) == ("deleted block, by depth", True)


def test_interpolated_points_need_no_accuracy(tmp_path):
    table, _ = prepare(
        tmp_path / "a.h5",
        np.zeros((20, 1)),
        kind="surface",
        dims=("y", "x"),
        coordinates={"y": Y, "x": X},
        measured=ALONE,
        derived=INTERPOLATED,
        attributes={"network": "net", "loss": "mse", "split": "test"},
    )
    for row in range(10):
        table.record(row, {"loss": 1.0 + row, "loss_se": 0.1, "examples": 5})
    interpolated = ~table.done
    table.derive(interpolated=interpolated, loss=np.where(interpolated, 3.0, table.values["loss"]))
    table.flush()
    for out in ("a.png", "a.html"):
        made("figure", out, "a.h5", folder=tmp_path)
    assert Path(tmp_path / "a.html").stat().st_size > 1000
