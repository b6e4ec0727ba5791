"""Numbers of analytic surfaces in results files are the analytic numbers, and so are intervals and differences."""

import csv
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from landscape.comparison import KINDS, Levels, Row, _line, compare
from landscape.errors import BadInput
from landscape.ranks import Alone
from landscape.table import prepare, read

spec = importlib.util.spec_from_file_location("compare", Path(__file__).parents[1] / "scripts" / "compare.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)

X, Y = np.linspace(-1, 1, 41), np.linspace(-2, 2, 41)
XX, YY = np.meshgrid(X, Y)
BOWL = XX**2 + YY**2
SETTINGS = {"data": "analytic", "split": "train", "loss": "cross_entropy", "classes": 10, "seed": 0}
SURFACE = {"directions": "random, filter-normalised; parameters of one dimension not moved", "batchnorm": "frozen"}


def write(path, kind, dims, coordinates, values, given=None, **attributes):
    """A results file without a network: cells are recorded as the commands do, `interpolated` ones derived."""
    shape = tuple(len(coordinates[name]) for name in dims)
    values = {name: np.broadcast_to(value, shape) for name, value in values.items()}
    derived = {name: values.pop(name) for name in ("interpolated",) if name in values}
    plan = {
        "kind": kind,
        "dims": dims,
        "coordinates": coordinates,
        "given": given,
        "measured": {name: (value.dtype, np.zeros(1, value.dtype)[0], {}) for name, value in values.items()},
        "derived": {name: (bool, False, {}) for name in derived},
    }
    network = {"network": "net", "checkpoint": "c0ffee", **SETTINGS, **attributes}
    table, _ = prepare(path, np.zeros((math.prod(shape), len(dims))), **plan, attributes=network)
    left_out = derived.get("interpolated", np.zeros(shape, bool)).ravel()
    flat = {name: value.ravel() for name, value in values.items()}
    for row in np.flatnonzero(~left_out):
        table.record(row, {name: value[row] for name, value in flat.items()})
    table.derive(**(values if left_out.any() else {}), **derived)
    table.flush()
    return read(path)


@pytest.fixture
def surface(tmp_path):
    """Makes a surface: of a loss over ([repeat,] y, x), or over ([repeat,] x) if `y` is None."""

    def make(field, x=X, y=Y, *, error=0.0, se=1e-3, more=None, **attributes):
        axes = {"x": x} if y is None else {"y": y, "x": x}
        if np.ndim(field) > len(axes):
            axes = {"repeat": np.arange(len(field)), **axes}
        values = {
            "loss": field,
            "loss_se": se,
            "accuracy": 1 - np.asarray(error) / 100,
            "examples": 100,
            **(more or {}),
        }
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        return write(path, "surface", tuple(axes), axes, values, **{**SURFACE, **attributes})

    return make


GUESSING = Levels()


def numbers(*files, levels=GUESSING):
    """What the first network's lines say, by name."""
    return {line.name: line.estimates[0] for line in compare(files, levels).lines}


def values(*files, levels=GUESSING):
    return {name: estimate.mean for name, estimate in numbers(*files, levels=levels).items()}


# Numbers of one surface


def test_a_bowl_in_numbers(surface):
    found = values(surface(BOWL, error=100 * BOWL / 5), levels=Levels(0.5, 10))
    area = math.pi * 0.5
    assert found == {
        "loss at the centre": 0,
        "error at the centre": 0,
        "smallest loss": 0,
        "largest loss": 5,
        "convex part of the slice": 100,
        "basin area around the centre, loss < 0.5 nats": pytest.approx(area, rel=0.01),
        "basin area around the centre, error < 10 %": pytest.approx(area, rel=0.01),  # the same circle
        "minima above the noise": 1,
        "minima above the noise, on the rim": 0,
        "minima above the noise, total persistence": 0,
        "roughness, residual over noise": pytest.approx(0, abs=1e-6),
        "roughness, beyond the noise": pytest.approx(0, abs=1e-6),
        "points not finite": 0,
    }


def test_an_ellipse_has_its_area_and_a_saddle_no_convex_point(surface):
    loss = (XX / 0.5) ** 2 + (YY / 1.2) ** 2
    found = values(surface(loss), levels=Levels(1))
    assert found["basin area around the centre, loss < 1 nats"] == pytest.approx(math.pi * 0.5 * 1.2, rel=0.01)
    found = values(surface(XX**2 - YY**2 + 5))
    assert found["convex part of the slice"] == 0
    assert (found["minima above the noise"], found["minima above the noise, on the rim"]) == (2, 2)
    assert found["minima above the noise, total persistence"] == pytest.approx(4)


def test_a_double_well_has_two_minima_and_the_barriers_of_its_ends(surface):
    well = 16 * (X**2 - 0.25) ** 2 + 0.1 * X + 1  # 1 + 9 ± 0.1 at the ends, the pass is at 2
    found = values(surface(well, y=None))
    assert found["minima above the noise"] == 2
    assert found["minima above the noise, total persistence"] == pytest.approx(1 - 0.05, rel=0.01)
    assert found["barrier over the larger end, x −1 … 1"] == 0
    inside = np.abs(X) <= 0.5
    found = values(surface(well[inside], X[inside], y=None))
    assert found["barrier over the larger end, x −0.5 … 0.5"] == pytest.approx(1 - 0.05, rel=0.01)
    assert found["barrier over the mean of the ends, x −0.5 … 0.5"] == pytest.approx(1, rel=0.01)
    assert found["barrier over the line between them, x −0.5 … 0.5"] == pytest.approx(1, rel=0.01)
    assert found["basin width around the centre, loss < 2.303 nats"] == 1
    assert "convex part of the slice" not in found


def test_a_line_to_another_checkpoint_has_its_barrier_between_the_two(surface):
    x = np.linspace(-0.5, 1.5, 41)
    loss = 1 + 16 * x**2 * (1 - x) ** 2 + x  # at −0.5 and 1.5 higher than anywhere between
    way = {"directions": "to other checkpoints", "to": ["b.pt"], "direction_digest": "d"}
    found = values(surface(loss, x, y=None, **way))
    assert found["barrier over the line between them, x 0 … 1"] == pytest.approx(1)
    assert found["barrier over the mean of the ends, x 0 … 1"] == pytest.approx(loss[10:31].max() - 1.5)
    inner = {name: v for name, v in values(surface(loss[12:], x[12:], y=None, **way)).items() if "barrier" in name}
    assert len(inner) == 3 and all(map(math.isnan, inner.values()))  # the first end is not there


def test_a_plateau_is_convex_and_its_basin_is_all_or_nothing(surface):
    flat = numbers(surface(np.full(BOWL.shape, 3.0)))
    basin = "basin area around the centre, loss < 2.303 nats"
    assert (flat["convex part of the slice"].mean, flat["roughness, beyond the noise"].mean) == (100, 0)
    assert (flat[basin].mean, flat[basin].censored) == (0, 0)
    low = numbers(surface(np.full(BOWL.shape, 2.0)))
    assert (low[basin].mean, low[basin].censored) == (pytest.approx(8), 1)


def test_a_rim_that_is_not_finite_is_counted_and_outside(surface):
    loss = BOWL.copy()
    loss[[0, -1]], loss[:, [0, -1]] = np.nan, np.inf
    found = values(surface(loss))
    assert found["points not finite"] == 160
    assert found["largest loss"] == pytest.approx(0.95**2 + 1.9**2)
    assert found["convex part of the slice"] == 100
    assert found["minima above the noise"] == 1
    lines = compare([surface(loss, seed=1)], GUESSING).lines
    assert {line.unit for line in lines if line.name == "points not finite"} == {"of 1681"}


def test_a_rough_bowl_is_as_rough_as_it_was_made(surface):
    """5 % of structure under 2 % of noise, both white: the ratio of their sum to the noise is √(5² + 2²)/2."""
    generator = np.random.default_rng(0)
    smooth = 1 + BOWL
    loss = smooth * (1 + 0.05 * generator.standard_normal(BOWL.shape))
    loss += 0.02 * smooth * generator.standard_normal(BOWL.shape)
    found = values(surface(loss, se=0.02 * smooth))
    assert found["roughness, beyond the noise"] == pytest.approx(5, rel=0.1)
    assert found["roughness, residual over noise"] == pytest.approx(math.hypot(5, 2) / 2, rel=0.1)
    assert found["minima above the noise"] > 1  # structure makes some
    assert values(surface(loss, se=math.hypot(0.05, 0.02) * smooth))["minima above the noise"] == 1


def test_interpolated_points_have_an_unknown_error(surface):
    """Where every other point is interpolated there is no evidence of roughness, where all is measured there is."""
    spread = 0.05 * np.random.default_rng(0).standard_normal(BOWL.shape)
    skipped = (np.add.outer(np.arange(41), np.arange(41)) % 2 == 1) & (XX > 0)
    file = surface(1 + BOWL + spread, se=np.where(skipped, np.nan, 0.05), more={"interpolated": skipped})
    assert file.known.all() and (file["done"] == ~skipped).all()
    found = numbers(file)
    assert found["roughness, residual over noise"].mean == pytest.approx(1, abs=0.1)
    assert found["minima above the noise"].mean == 1
    assert found["points measured"].mean == 1681 - 410
    alternate = np.add.outer(np.arange(41), np.arange(41)) % 2 == 1
    found = numbers(surface(1 + BOWL, se=np.where(alternate, np.nan, 0.05), more={"interpolated": alternate}))
    assert math.isnan(found["roughness, residual over noise"].mean)
    assert found["roughness, residual over noise"].missing == 1


def test_minima_of_rounding_are_not_counted(surface):
    """All examples were used, so the stored errors are 0: single precision is not exact for that."""
    rounded = (BOWL + 100).astype(np.float32) * (1 + 1e-7 * np.sin(1000 * XX * YY))
    assert values(surface(rounded, se=0.0))["minima above the noise"] == 1
    ripples = (BOWL + 100) * (1 + 1e-2 * np.sin(1000 * XX * YY))
    assert values(surface(ripples, se=0.0))["minima above the noise"] > 1
    twice = {"loss_float32": np.where(np.arange(41) % 5 == 0, BOWL + 100, np.nan)}
    found = values(surface(ripples, se=0.0, more=twice))
    assert found["minima above the noise"] == 1  # they are bfloat16's
    assert 0.9 < found["off float32, at most"] <= 1


def test_levels_are_those_of_guessing_unless_given(surface):
    def named(name, file, **how):
        return [n for n in values(file, **how) if name in n]

    assert named("loss <", surface(BOWL, classes=100)) == ["basin area around the centre, loss < 4.605 nats"]
    assert named("loss <", surface(BOWL, loss="mse", seed=1)) == []
    given = named("loss <", surface(BOWL, loss="mse", seed=2), levels=Levels(0.1))
    assert given == ["basin area around the centre, loss < 0.1 mse"]
    assert named("error", surface(BOWL, error=np.nan)) == []  # regression


def test_the_hessians_map_in_numbers(tmp_path):
    least = np.where(XX < 0, -0.5, -0.001)  # over 2: −0.25 at 20 of 41 columns, −0.0005 at 21
    most = np.full(XX.shape, 2.0)
    least[0], most[1] = np.nan, np.inf
    converged = np.full(XX.shape, True)
    converged[:2] = False
    values = {"loss": 1.0, "lambda_min": least, "lambda_max": most, "converged": converged}
    told = {**SURFACE, "hessian_parameters": "all"}
    file = write(tmp_path / "a.h5", "curvature", ("y", "x"), {"y": Y, "x": X}, values, **told)
    found = numbers(file)
    assert found["median |λ_min/λ_max|"].mean == 0.0005
    assert found["points with λ_min < −0.01 λ_max"].mean == pytest.approx(100 * 20 / 41)
    assert found["λ_max at the centre"].mean == 2
    assert found["points not converged"].mean == 82


def lesions(path, deleted, error, more=None, **attributes):
    coordinates = {"trial": np.arange(len(deleted)), "block": np.array([f"b{i}" for i in range(deleted.shape[1])])}
    values = {"loss": 1.0, "loss_se": 0.1, "accuracy": 1 - np.asarray(error) / 100, "examples": 10}
    plan = {"deleted": (("trial", "block"), deleted), **(more or {})}
    return write(path, "lesion", ("trial",), coordinates, values, plan, **{**attributes, "split": "test"})


def test_lesions_have_a_median_for_each_number_of_blocks(tmp_path):
    """Every set of one block, and sets at random, are two plans, and two parts."""
    single = np.vstack([np.zeros((1, 5), bool), np.eye(5, dtype=bool)])
    some = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0]], bool)
    files = [
        lesions(tmp_path / "a.h5", single, [2, 30, 10, 20, 12, 11]),
        lesions(tmp_path / "b.h5", some, [2, 30, 10, 50, 40]),
        lesions(tmp_path / "c.h5", some[:, ::-1], [2, 12, 14, 30, 20], seed=1),
    ]
    lines = compare(files, GUESSING).lines
    found = [(line.part.rpartition(", ")[2], line.name, line.estimates[0].mean) for line in lines]
    assert found == [
        ("every set of blocks", "error, intact", pytest.approx(2)),
        ("every set of blocks", "median error, 1 deleted", pytest.approx(12)),
        ("2 trials of each number", "error, intact", pytest.approx(2)),
        ("2 trials of each number", "median error, 1 deleted", pytest.approx((20 + 13) / 2)),
        ("2 trials of each number", "median error, 2 deleted", pytest.approx((45 + 25) / 2)),
    ]


@pytest.mark.parametrize(
    ("how", "name", "given", "expected"),
    [
        ("replace by mean", "replaced", [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], {
            "1 replaced by mean": 15, "2 replaced by mean": 40}),
        ("repeat", "repeated", [[0, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], {
            "1 applied twice": 40, "2 applied twice": 15}),
        ("parallel", "parallel", [[0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 0]], {"two in parallel": 20}),
        ("permute", "order", [[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 2, 1]], {"permuted": 20}),
        ("reverse", "order", [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]], {"reversed": 20}),
        ("swap", "swaps", [0, 1, 1, 2], {"1 swaps": 15, "2 swaps": 40}),
    ],
)  # fmt: skip
def test_blocks_changed_otherwise_are_not_intact(tmp_path, how, name, given, expected):
    dims = ("trial", "block")[: np.ndim(given)]
    file = lesions(
        tmp_path / "a.h5", np.zeros((4, 3), bool), [2, 10, 20, 40], {name: (dims, np.array(given))}, lesion=how
    )
    found = {name: pytest.approx(v) for name, v in values(file).items()}
    assert found == {"error, intact": 2, **{f"median error, {name}": error for name, error in expected.items()}}


def test_gates_are_no_directions(tmp_path):
    file = write(tmp_path / "a.h5", "surface", ("x",), {"x": X}, {"loss": 1.0}, gates=["b0"])
    with pytest.raises(BadInput, match="over gates of blocks"):
        compare([file], GUESSING)


# Repeats


def bowls(*widths):
    return np.stack([1 + (XX / w) ** 2 + (YY / w) ** 2 for w in widths])


def test_repeats_in_a_file_and_files_of_other_seeds_are_pooled(surface):
    """Areas πw² below 2, each from a circle on the grid of its own; an interval is Student's."""
    widths = [0.5, 0.6, 0.7, 0.8]
    together = numbers(surface(bowls(*widths)), levels=Levels(2))
    apart = numbers(*(surface(bowls(w)[0], seed=i) for i, w in enumerate(widths)), levels=Levels(2))
    mixed = numbers(surface(bowls(*widths[:3])), surface(bowls(*widths[3:]), seed=1), levels=Levels(2))
    assert repr(together) == repr(apart) == repr(mixed)  # NaN and all
    found = together["basin area around the centre, loss < 2 nats"]
    areas = math.pi * np.square(widths)
    low, high = stats.ttest_1samp(areas, 0).confidence_interval()
    assert found == (
        pytest.approx(areas.mean(), rel=0.01),
        pytest.approx(low, rel=0.05),
        pytest.approx(high, rel=0.01),
        *(4, 0, 0),
    )


def test_largest_losses_have_a_geometric_mean(surface):
    tops = [10.0, 1000.0, 30.0]
    lines = compare([surface(np.stack([top * (1 + BOWL) / 6 for top in tops]))], GUESSING).lines
    (line,) = (line for line in lines if line.name.startswith("largest"))
    assert line.name == "largest loss, geometric mean" and line.geometric
    low, high = np.exp(stats.ttest_1samp(np.log(tops), 0).confidence_interval())
    assert line.estimates[0][:3] == pytest.approx((math.exp(np.log(tops).mean()), low, high))


def test_without_repeats_there_is_the_number_alone(surface):
    for line in compare([surface(BOWL)], GUESSING).lines:
        assert np.isnan(line.estimates[0][1:3]).all() and line.difference is None
        assert "geometric" not in line.name
    assert values(surface(7.1 * (1 + BOWL), seed=1))["largest loss"] == 7.1 * 6


def test_the_centre_is_one_point_in_all_repeats_and_no_interval_of_copies(surface):
    found = numbers(surface(bowls(0.4, 0.5, 0.7)), surface(bowls(0.6, 0.8), seed=1))
    assert found["loss at the centre"] == pytest.approx((1, np.nan, np.nan, 1, 0, 0), nan_ok=True)
    assert found["convex part of the slice"] == (100, 100, 100, 5, 0, 0)


def test_intervals_end_where_numbers_do(surface):
    """Shares of 100, 100 and 59 %: Student's interval goes beyond 100 %."""
    rippled = 1 + np.cos(6 * XX) + 0 * YY
    found = numbers(surface(np.stack([1 + BOWL, 2 + BOWL, rippled])))
    assert found["convex part of the slice"].low < found["convex part of the slice"].mean < 100
    assert found["convex part of the slice"].high == 100
    assert found["minima above the noise, on the rim"].low == 0


def test_what_does_not_exist_is_left_out_of_intervals(surface):
    loss = bowls(0.4, 0.5, 0.7)
    loss[1] = np.nan
    found = numbers(surface(loss), levels=Levels(2))["basin area around the centre, loss < 2 nats"]
    assert found.mean == pytest.approx(math.pi * (0.4**2 + 0.7**2) / 2, rel=0.01)
    assert (found.repeats, found.missing) == (2, 1)


def test_basins_at_the_edge_make_the_mean_a_lower_bound(surface):
    found = numbers(surface(bowls(0.4, 0.5, 3.0)), levels=Levels(2))["basin area around the centre, loss < 2 nats"]
    assert found.mean == pytest.approx((math.pi * (0.4**2 + 0.5**2) + 8) / 3, rel=0.01)
    assert (found.high, found.censored, found.repeats) == (math.inf, 1, 3)


def test_an_infinite_barrier_is_an_infinite_mean(surface):
    x = np.linspace(0, 1, 11)
    lines = np.stack([1 + x * (1 - x)] * 3)
    lines[1, 5] = np.inf
    found = numbers(surface(lines, x, y=None))["barrier over the larger end, x 0 … 1"]
    assert (found.mean, found.repeats) == (math.inf, 3) and math.isnan(found.high)


def test_the_same_directions_twice_are_no_repeats(surface):
    a, b = surface(BOWL), surface(BOWL)
    with pytest.raises(BadInput, match="both have seed 0; leave one out"):
        compare([a, b], GUESSING)
    way = {"directions": "to other checkpoints", "to": ["b.pt"]}
    one, two = (surface(X**2, y=None, direction_digest=digest, **way) for digest in "ab")
    assert numbers(one, two)["roughness, beyond the noise"].repeats == 2
    again = surface(X**2, y=None, direction_digest="b", seed=5, **way)
    with pytest.raises(BadInput, match="both go along the same directions"):
        compare([one, two, again], GUESSING)


def test_the_same_sets_of_blocks_twice_are_no_repeats(tmp_path):
    plan = np.vstack([np.zeros((1, 3), bool), np.eye(3, dtype=bool)])
    files = [lesions(tmp_path / f"{i}.h5", plan, [1, 2, 3, 4], seed=i) for i in range(2)]
    with pytest.raises(BadInput, match="both have the same lesions"):
        compare(files, GUESSING)


# Two networks


def other(make, *arguments, **options):
    return make(*arguments, network="other", checkpoint="decaf", **options)


def test_a_difference_is_welchs(surface):
    a, b = [0.4, 0.5, 0.7, 0.9], [0.3, 0.35, 0.5]
    table = compare([surface(bowls(*a)), other(surface, bowls(*b))], Levels(2))
    assert table.networks == ("net", "other")
    (line,) = (line for line in table.lines if "loss < 2" in line.name)
    areas = [
        [e.mean for e in (numbers(surface(bowls(w)[0], seed=9), levels=Levels(2))[line.name] for w in c)]
        for c in (a, b)
    ]
    welch = stats.ttest_ind(*areas, equal_var=False)
    assert line.difference[:3] == pytest.approx((np.mean(areas[0]) - np.mean(areas[1]), *welch.confidence_interval()))
    assert line.apart == (welch.pvalue < 0.05)
    (line,) = (line for line in table.lines if line.name.startswith("largest loss"))
    tops = [np.log([1 + 5 / w**2 for w in c]) for c in (a, b)]
    welch = stats.ttest_ind(*tops, equal_var=False)
    expected = np.exp([tops[0].mean() - tops[1].mean(), *welch.confidence_interval()])
    assert line.difference[:3] == pytest.approx(tuple(expected))


def test_only_what_was_measured_alike_is_set_against_each_other(surface):
    wide = other(surface, BOWL, 2 * X, Y)
    table = compare([surface(BOWL), surface(X**2, y=None), wide, other(surface, X**2, y=None)], GUESSING)
    assert len({line.part for line in table.lines}) == 3
    compared = {line.part for line in table.lines if line.difference}
    assert compared == {"surface on analytic, training data, x −1 … 1 (41 points), random, filter-normalised"}
    splits = compare([surface(BOWL), other(surface, BOWL, split="test")], GUESSING)
    assert not any(line.difference for line in splits.lines)
    assert script.notes(splits) == [
        ">, <: at least, at most, since a basin reaches the edge of what is known.",
        "Nothing was measured alike of net and other, so they are not told apart.",
    ]
    assert [line.part for line in splits.lines] == sorted((line.part for line in splits.lines), reverse=True)


def test_what_basins_at_the_edge_leave_open_is_not_told_apart(surface):
    """If the first is at least this, the difference is at least this; of two bounds there is none."""
    name = "basin area around the centre, loss < 2 nats"

    def line(first, second):
        lines = compare([surface(bowls(*first)), other(surface, bowls(*second))], Levels(2)).lines
        return next(line for line in lines if line.name == name)

    small, large, edge = (0.3, 0.31, 0.32), (0.9, 0.91, 0.92), (0.9, 0.91, 3.0)
    assert line(small, large).apart and line(large, small).apart
    larger = line((3.0, 3.1, 3.2), small)
    assert larger.apart and larger.difference.high == math.inf and larger.difference.low > 0
    smaller = line(small, (3.0, 3.1, 3.2))
    assert smaller.apart and smaller.difference.low == -math.inf
    open_ = line((0.3, 0.31, 3.0), large)
    assert open_.difference.high == math.inf and not open_.apart
    both = line(edge, (3.0, 3.1, 3.2))
    assert math.isnan(both.difference.mean) and not both.apart


def test_networks_of_one_name_stay_apart_by_their_checkpoints(surface):
    table = compare([surface(BOWL), surface(BOWL, checkpoint="decaf" * 10)], GUESSING)
    assert table.networks == ("net c0ffee", "net decafde")


def test_three_networks_have_no_differences(surface):
    files = [surface(BOWL), other(surface, BOWL), surface(BOWL, checkpoint="third", network="third")]
    assert all(line.difference is None for line in compare(files, GUESSING).lines)


FINITE = st.floats(-1e3, 1e3).map(lambda v: round(v, 3))
VALUES = st.lists(st.one_of(FINITE, st.just(np.nan)), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES, st.booleans(), st.data())
def test_swapping_two_networks_turns_differences_round(a, b, geometric, data):
    if geometric:
        a, b = (np.abs(values) + 1e-3 for values in (a, b))
    marks = [data.draw(st.lists(st.booleans(), min_size=len(v), max_size=len(v))) for v in (a, b)]
    rows = {
        name: [Row("n", "u", v, m, least=-math.inf, geometric=geometric)]
        for name, v, m in zip("ab", (a, b), marks, strict=True)
    }
    one, two = _line("p", "n", "u", rows, ["a", "b"]), _line("p", "n", "u", rows, ["b", "a"])
    np.testing.assert_array_equal(one.estimates, two.estimates[::-1])
    mean, low, high, *counts = one.difference
    with np.errstate(divide="ignore"):
        turned = 1 / np.array([mean, high, low]) if geometric else -np.array([mean, high, low])
        np.testing.assert_allclose(two.difference[:3], turned, rtol=1e-9, atol=1e-9)
    assert [*two.difference[3:]] == counts
    assert one.apart == two.apart


# As text, CSV and LaTeX


@pytest.fixture
def two(surface, tmp_path):
    """Files of two networks: repeats, a basin at the edge, numbers that do not exist, and lesions of the first."""
    missing = bowls(0.3, 0.35, 0.4)
    missing[0] = np.nan
    name = r"50%_&\net"
    plan = np.vstack([np.zeros((1, 3), bool), np.eye(3, dtype=bool)])
    return [
        surface(bowls(0.5, 0.9, 3.0)),
        surface(missing, checkpoint="decaf", network=name),
        lesions(tmp_path / "lesions.h5", plan, [1, 2, 3, 4]),
    ]


def test_the_terminal_shows_intervals_bounds_and_what_tells_two_networks_apart(two):
    lines = script.as_text(compare(two, Levels(2)))
    assert lines[0].split() == ["net", r"50%_&\net", "difference"]
    shown = {line.partition(" (")[0]: re.split(r"  +", line)[1:] for line in lines}
    assert shown["loss at the centre"] == ["1", "1", "0"]
    assert shown["convex part of the slice"] == ["100 [100, 100]", "100 [100, 100] (n = 2)", "0 [0, 0]"]
    assert shown["repeats"] == ["3", "3"]
    basin = next(line for line in lines if line.startswith("basin") and "loss" in line)
    assert re.search(r" > 3\.8 \[0\.0, ∞\] \(1 of 3 censored\) .* > 3\.3 \[-6\.0, ∞\]$", basin)
    assert shown["median error, 1 deleted"] == ["3", "–", "–"]
    assert re.match(r"× 0\.\d+ \[0\.\d+, \d", shown["largest loss, geometric mean"][2])
    assert "numbers differ beyond their intervals" in " ".join(lines[-3:])


def test_without_repeats_the_last_line_says_what_intervals_take(surface):
    lines = script.as_text(compare([surface(BOWL), other(surface, 2 * BOWL)], GUESSING))
    assert "No difference has an interval" in lines[-1] and "--repeats" in lines[-1]
    assert "[" not in "".join(lines)
    alone = script.as_text(compare([surface(BOWL)], GUESSING))
    assert "difference" not in "".join(alone)


def test_csv_holds_every_number_to_the_last_digit(two):
    table = compare(two, Levels(2))
    records = list(csv.DictReader(script.as_csv(table).splitlines()))
    assert list(records[0]) == ["part", "number", "unit", "network", "mean", "low", "high", "repeats", "censored"]
    keyed = {(r["part"], r["number"], r["network"]): r for r in records}
    assert len(keyed) == len(records)
    ways = {True: r"net / 50%_&\net", False: r"net − 50%_&\net"}
    for line in table.lines:
        for network, e in zip((*table.networks, ways[line.geometric]), (*line.estimates, line.difference), strict=True):
            record = keyed.pop((line.part, line.name, network), None)
            assert (record is None) == (e is None)
            if e:
                found = [float(record[name] or "nan") for name in ("mean", "low", "high", "repeats", "censored")]
                np.testing.assert_array_equal(found, e[:5])
    assert not keyed


def columns(row):
    """How many columns a row of a tabular fills."""
    cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
    spans = [re.match(r"\s*\\multicolumn\{(\d+)\}\{l\}\{.*\}\s*$", cell) for cell in cells]
    return sum(int(span[1]) if span else 1 for span in spans)


def test_latex_is_a_whole_tabular_with_its_signs_escaped(two, tmp_path):
    values = {"loss": 1.0, "lambda_min": -1e-7, "lambda_max": 2.0, "converged": True}
    hessian = write(tmp_path / "h.h5", "curvature", ("x",), {"x": X}, values, **SURFACE, hessian_parameters="all")
    text = script.as_latex(compare([*two, hessian], Levels(2)))
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    assert (lines[0], lines[-1]) == (r"\begin{tabular}{lrrr}", r"\end{tabular}")
    assert lines[1] == r"\toprule" and lines[-2] == r"\bottomrule"
    rows = [line for line in lines[1:-1] if not re.fullmatch(r"\\(top|mid|bottom)rule", line)]
    assert len(rows) > 20 and all(row.endswith(r" \\") and columns(row) == 4 for row in rows)
    assert " & net & 50\\%\\_\\&\\textbackslash{}net & difference" in rows[0]
    body = "\n".join(rows)
    assert body.isascii()
    bare = re.sub(r"\\[\\&%$#_{}]", "", body)  # what is escaped
    assert not re.search(r"[%#~]", bare)
    assert bare.count("$") % 2 == 0 and bare.count("{") == bare.count("}")
    outside = re.sub(r"\$[^$]*\$", "", bare)
    assert not re.search(r"[_^<>|]", outside)
    assert r"median $|$$\lambda_{\min}$/$\lambda_{\max}$$|$ (1) & $5 \times 10^{-8}$ & -- & --" in body
    assert re.search(r"\$> 3\.8\$ \$\[0\.0, \\infty\]\$ \(1 of 3 censored\)", body)


def test_a_mark_tells_what_separates_two_networks(surface):
    rough = 0.02 * np.random.default_rng(0).standard_normal((6, *BOWL.shape))
    files = [
        surface(bowls(0.3, 0.31, 0.32) * (1 + rough[:3]), se=0.02 * bowls(0.3, 0.31, 0.32)),
        other(surface, bowls(0.9, 0.91, 0.92) * (1 + rough[3:]), se=0.02 * bowls(0.9, 0.91, 0.92)),
    ]
    table = compare(files, Levels(2))
    *_, last = script.notes(table)
    named = ["largest loss, geometric mean", "convex part of the slice", "basin area around the centre, loss < 2 nats"]
    assert last == f"*: 3 of 10 numbers differ beyond their intervals: {'; '.join(named)}."
    marked = [line for line in script.as_text(table)[1:-1] if line.endswith("*")]
    assert [line.partition(" (")[0] for line in marked] == named
    assert script.as_latex(table).count("$^*$") == 3


def call(*arguments):
    """The command in this process, which is quicker."""
    script.main(script.parser().parse_args([*map(str, arguments)]), Alone())


def test_files_are_written_whole_or_not_at_all(surface, tmp_path):
    file = surface(BOWL).path
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(BadInput, match="name a file in a folder that exists"):
        call(file, "--csv", tmp_path / "a.csv", "--latex", tmp_path / "no" / "a.tex")
    assert (tmp_path / "a.csv").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.h5", "a.csv"]
    with pytest.raises(BadInput, match=r"would become a \.csv file; name it so"):
        call("--csv", file, file)
    assert read(file)["done"].all()
    call(file, "--csv", tmp_path / "a.csv", "--latex", tmp_path / "a.tex")
    assert (tmp_path / "a.csv").read_text().startswith("part,")
    assert (tmp_path / "a.tex").read_text().startswith(r"\begin{tabular}")


@pytest.mark.mpi
def test_on_two_ranks_the_table_is_the_same_and_printed_once(surface, tmp_path):
    files = [surface(bowls(0.4, 0.5)).path, other(surface, bowls(0.7, 0.9)).path]
    one = command("compare", *files, "--csv", tmp_path / "one.csv").stdout
    assert command("compare", *files, "--csv", tmp_path / "two.csv", ranks=2).stdout == one
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_levels_are_given_on_the_command_line(surface, capsys):
    file = surface(BOWL, error=BOWL).path
    call(file, "--loss-level", 0.5, "--error-level", 2)
    said = capsys.readouterr().out
    assert "loss < 0.5 nats" in said and "error < 2 %" in said
    for wrong in (["--error-level", 0], ["--error-level", "nan"], ["--loss-level", "inf"]):
        with pytest.raises(BadInput, match="--error-level more than 0"):
            call(file, *wrong)


def test_other_kinds_are_left_out_with_a_line(surface, tmp_path, capsys):
    stranger = write(tmp_path / "stranger.h5", "astrology", ("x",), {"x": X}, {"loss": 1.0}).path
    call(surface(BOWL).path, stranger)
    said = capsys.readouterr()
    told = f"{stranger} is of kind astrology; there are numbers of {', '.join(KINDS)}"
    assert said.err == f"{told}: left out\n"
    assert "convex part of the slice" in said.out
    with pytest.raises(BadInput, match=re.escape(told)):
        call(stranger)


def test_a_surface_that_is_not_finished_says_so(surface, tmp_path, capsys):
    file = surface(BOWL)
    plan = {"dims": ("y", "x"), "coordinates": {"y": Y, "x": X}}
    attributes = {name: value for name, value in file.attributes.items() if name not in ("kind", "format")}
    table, _ = prepare(tmp_path / "half.h5", np.zeros((1681, 2)), kind="surface", **plan, attributes=attributes)
    for row in range(0, 21 * 41):
        table.record(row, {"loss": BOWL.flat[row], "loss_se": 0, "accuracy": 1, "examples": 1})
    table.flush()
    call(tmp_path / "half.h5")
    assert capsys.readouterr().err == f"{tmp_path / 'half.h5'}: 820 of 1681 points are not measured yet\n"
    found = numbers(read(tmp_path / "half.h5"))
    assert found["convex part of the slice"].mean == 100
    assert found["points not finite"].mean == 0
    assert found["basin area around the centre, loss < 2.303 nats"].censored == 1


def test_surfaces_over_a_space_are_refused(tmp_path):
    axes = {"z": X[:2], "y": X[:2], "x": X[:2]}
    file = write(tmp_path / "a.h5", "surface", ("z", "y", "x"), axes, {"loss": 1.0}, **SURFACE)
    with pytest.raises(BadInput, match=r"is over \(z, y, x\)"):
        compare([file], GUESSING)


def test_numbers_need_no_torch():
    code = "import sys, landscape.comparison; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def at_checkpoint(path, kind, dims, coordinates, values, network="plain", **attributes):
    """A file of what was measured at a checkpoint: values by name, with the dimensions that each has."""
    shape = [len(coordinates[d]) for d in dims]
    measured = {name: (array.dtype, 0, {}, tuple(further)) for name, (array, *further) in values.items()}
    told = {"network": network, "checkpoint": network, "data": "digits", "split": "train", "loss": "cross_entropy"}
    points = np.zeros((np.prod(shape), 1))
    table, _ = prepare(
        path, points, kind=kind, dims=dims, coordinates=coordinates, measured=measured,
        attributes={**told, "seed": 0, "batchnorm": "frozen", **attributes},
    )  # fmt: skip
    for row in range(len(points)):
        cell = np.unravel_index(row, shape)
        table.record(row, {name: array[cell] for name, (array, *_) in values.items()})
    table.flush()
    return read(path)


def test_probes_and_trials_are_the_repeats_of_what_is_measured_at_a_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    probes = rng.normal(5, 1, (2, 8))
    rises = rng.normal(1, 0.1, (2, 1, 2, 6))  # network, kind, rho, trial
    files = []
    for name, probe, rise in zip(("plain", "resnet"), probes, rises, strict=True):
        files.append(
            at_checkpoint(
                tmp_path / f"t{name}.h5", "trace", ("probe",), {"probe": np.arange(8)}, {"trace": (probe,)}, name
            )
        )
        ball = {"kind": np.array(["ascent"]), "rho": np.array([0.1, 0.2]), "trial": np.arange(6)}
        files.append(at_checkpoint(tmp_path / f"s{name}.h5", "sharpness", tuple(ball), ball, {"rise": (rise,)}, name))
    lines = {line.name: line for line in compare(files, Levels()).lines}
    welch = stats.ttest_ind(*probes, equal_var=False).confidence_interval()
    trace = lines["trace of the Hessian"]
    assert trace.estimates[0].mean == pytest.approx(probes[0].mean())
    assert (trace.difference.low, trace.difference.high) == pytest.approx((welch.low, welch.high))
    welch = stats.ttest_ind(rises[0, 0, 1], rises[1, 0, 1], equal_var=False).confidence_interval()
    rise = lines["rise of the loss, ascent, ρ = 0.2"]
    assert (rise.difference.low, rise.difference.high) == pytest.approx((welch.low, welch.high))


def test_a_density_gives_its_ends_its_trace_and_how_much_of_it_is_flat(tmp_path):
    node = np.array([[-1.0, 0.0, 10.0], [-2.0, 0.05, 9.0]])
    weight = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    axes = {"probe": np.arange(2), "step": np.arange(3)}
    values = {"node": (node, "step"), "weight": (weight, "step")}
    file = at_checkpoint(tmp_path / "a.h5", "density", ("probe",), axes, values, parameters=50)
    lines = {line.name: line.estimates[0] for line in compare([file], Levels()).lines}
    assert lines["λ_min"].mean == -2 and lines["λ_max"].mean == 10
    assert lines["trace of the Hessian"].mean == pytest.approx(50 * ((weight * node).sum(axis=1)).mean())
    assert lines["eigenvalues within ±0.01 λ_max"].mean == pytest.approx(75)


def test_eigenvalues_that_did_not_converge_are_no_numbers(tmp_path):
    values = {"eigenvalue": (np.array([3.0, 2.0]),), "converged": (np.array([True, False]),)}
    axes = {"eigenpair": np.array([1, 2])}
    file = at_checkpoint(tmp_path / "a.h5", "eigenvalues", ("eigenpair",), axes, values, end="largest")
    lines = {line.name: line.estimates[0] for line in compare([file], Levels()).lines}
    assert lines["eigenvalue 1 (largest)"].mean == 3
    assert lines.get("eigenvalue 2 (largest)") is None or np.isnan(lines["eigenvalue 2 (largest)"].mean)
