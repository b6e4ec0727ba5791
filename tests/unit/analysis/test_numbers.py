"""Numbers of analytic surfaces in results files are the analytic numbers."""

import math

import numpy as np
import pytest
from analytic import BOWL, SURFACE, XX, YY, X, Y, lesions, maker, numbers, values, write
from scipy import stats

from landscape.analysis.comparison import compare
from landscape.engine.table import prepare, read
from landscape.errors import BadInput


@pytest.fixture
def surface(tmp_path):
    return maker(tmp_path)


def test_a_bowl_in_numbers(surface):
    by_name = values(surface(BOWL, error=100 * BOWL / 5), loss_level=0.5, error_level=10)
    area = math.pi * 0.5
    assert by_name == {
        "loss at the centre": 0,
        "error at the centre": 0,
        "smallest loss": 0,
        "largest loss": 5,
        "convex part of the slice": 100,
        "points whose convexity is within the noise": 0,
        "basin area around the centre, loss < 0.5 nats": pytest.approx(area, rel=0.01),
        "basin area around the centre, error < 10 %": pytest.approx(area, rel=0.01),  # the same circle
        "minima above the noise": 1,
        "minima above the noise, on the rim": 0,
        "minima above the noise, total persistence": 0,
        "saddle–minimum distance, minima above the noise": pytest.approx(math.nan, nan_ok=True),
        "saddle–minimum height, minima above the noise": pytest.approx(math.nan, nan_ok=True),
        "roughness, residual over noise": pytest.approx(0, abs=1e-6),
        "roughness, beyond the noise": pytest.approx(0, abs=1e-6),
        "minima of the loss on these examples": 1,
        "minima of the loss on these examples, total persistence": 0,
        "roughness of the loss on these examples": pytest.approx(0, abs=1e-6),
        "points not finite": 0,
    }


def test_an_ellipse_has_its_area_and_a_saddle_no_convex_point(surface):
    loss = (XX / 0.5) ** 2 + (YY / 1.2) ** 2
    by_name = values(surface(loss), loss_level=1)
    assert by_name["basin area around the centre, loss < 1 nats"] == pytest.approx(math.pi * 0.5 * 1.2, rel=0.01)
    by_name = values(surface(XX**2 - YY**2 + 5))
    assert by_name["convex part of the slice"] == 0
    assert (by_name["minima above the noise"], by_name["minima above the noise, on the rim"]) == (2, 2)
    assert by_name["minima above the noise, total persistence"] == pytest.approx(4)


def test_a_double_well_has_two_minima_and_the_barriers_of_its_ends(surface):
    well = 16 * (X**2 - 0.25) ** 2 + 0.1 * X + 1  # 1 + 9 ± 0.1 at the ends, the pass is at 2
    by_name = values(surface(well, y=None))
    assert by_name["minima above the noise"] == 2
    assert by_name["minima above the noise, total persistence"] == pytest.approx(1 - 0.05, rel=0.01)
    assert by_name["saddle–minimum height, minima above the noise"] == pytest.approx(1 - 0.05, rel=0.01)
    assert by_name["saddle–minimum distance, minima above the noise"] == pytest.approx(0.5)
    assert by_name["barrier over the larger end, x −1 … 1"] == 0
    inside = np.abs(X) <= 0.5
    by_name = values(surface(well[inside], X[inside], y=None))
    assert by_name["barrier over the larger end, x −0.5 … 0.5"] == pytest.approx(1 - 0.05, rel=0.01)
    assert by_name["barrier over the mean of the ends, x −0.5 … 0.5"] == pytest.approx(1, rel=0.01)
    assert by_name["barrier over the line between them, x −0.5 … 0.5"] == pytest.approx(1, rel=0.01)
    assert by_name["basin width around the centre, loss < 2.303 nats"] == 1
    assert "convex part of the slice" not in by_name


def test_a_line_to_another_checkpoint_has_its_barrier_between_the_two(surface):
    x = np.linspace(-0.5, 1.5, 41)
    loss = 1 + 16 * x**2 * (1 - x) ** 2 + x  # at −0.5 and 1.5 higher than anywhere between
    way = {"directions": "to other checkpoints", "to": ["b.pt"], "direction_digest": "d"}
    by_name = values(surface(loss, x, y=None, **way))
    assert by_name["barrier over the line between them, x 0 … 1"] == pytest.approx(1)
    assert by_name["barrier over the mean of the ends, x 0 … 1"] == pytest.approx(loss[10:31].max() - 1.5)
    inner = {name: v for name, v in values(surface(loss[12:], x[12:], y=None, **way)).items() if "barrier" in name}
    assert len(inner) == 4 and all(map(math.isnan, inner.values()))  # the first end is not there


def test_of_a_plateau_nothing_is_convex_or_not_and_its_basin_is_all_or_nothing(surface):
    flat = numbers(surface(np.full(BOWL.shape, 3.0)))
    basin = "basin area around the centre, loss < 2.303 nats"
    assert (flat["points whose convexity is within the noise"].mean, flat["roughness, beyond the noise"].mean) == (
        100,
        0,
    )
    assert math.isnan(flat["convex part of the slice"].mean)
    assert (flat[basin].mean, flat[basin].censored) == (0, 0)
    low = numbers(surface(np.full(BOWL.shape, 2.0)))
    assert (low[basin].mean, low[basin].censored) == (pytest.approx(8), 1)


def test_a_rim_that_is_not_finite_is_counted_and_outside(surface):
    loss = BOWL.copy()
    loss[[0, -1]], loss[:, [0, -1]] = np.nan, np.inf
    by_name = values(surface(loss))
    assert by_name["points not finite"] == 160
    assert by_name["largest loss"] == pytest.approx(0.95**2 + 1.9**2)
    assert by_name["convex part of the slice"] == 100
    assert by_name["minima above the noise"] == 1
    lines = compare([surface(loss, seed=1)]).lines
    assert {line.unit for line in lines if line.name == "points not finite"} == {"of 1681"}


def test_a_rough_bowl_is_as_rough_as_it_was_made(surface):
    """5 % of structure under 2 % of noise, both white: the ratio of their sum to the noise is √(5² + 2²)/2."""
    generator = np.random.default_rng(0)
    smooth = 1 + BOWL
    loss = smooth * (1 + 0.05 * generator.standard_normal(BOWL.shape))
    loss += 0.02 * smooth * generator.standard_normal(BOWL.shape)
    by_name = values(surface(loss, se=0.02 * smooth))
    assert by_name["roughness, beyond the noise"] == pytest.approx(5, rel=0.1)
    assert by_name["roughness, residual over noise"] == pytest.approx(math.hypot(5, 2) / 2, rel=0.1)
    assert by_name["minima above the noise"] > 1  # structure makes some
    assert values(surface(loss, se=math.hypot(0.05, 0.02) * smooth))["minima above the noise"] == 1


def test_interpolated_points_have_an_unknown_error(surface):
    """Where every other point is interpolated there is no evidence of roughness, where all is measured there is."""
    spread = 0.05 * np.random.default_rng(0).standard_normal(BOWL.shape)
    skipped = (np.add.outer(np.arange(41), np.arange(41)) % 2 == 1) & (XX > 0)
    file = surface(1 + BOWL + spread, se=np.where(skipped, np.nan, 0.05), more={"interpolated": skipped})
    assert file.known.all() and (file["done"] == ~skipped).all()
    by_name = numbers(file)
    assert by_name["roughness, residual over noise"].mean == pytest.approx(1, abs=0.1)
    assert by_name["minima above the noise"].mean == 1
    assert by_name["points measured"].mean == 1681 - 410
    alternate = np.add.outer(np.arange(41), np.arange(41)) % 2 == 1
    by_name = numbers(surface(1 + BOWL, se=np.where(alternate, np.nan, 0.05), more={"interpolated": alternate}))
    assert math.isnan(by_name["roughness, residual over noise"].mean)
    assert by_name["roughness, residual over noise"].missing == 1


def test_a_sample_of_examples_errs_alike_from_point_to_point_and_its_own_surface_is_known(surface):
    """A twentieth of ripples under an error of 20 % that all points share: of the training loss nothing is sure."""
    ripples = (1 + BOWL) * (1 + 0.05 * np.random.default_rng(0).standard_normal(BOWL.shape))
    by_name = values(surface(ripples, se=0.2 * ripples))
    assert (by_name["minima above the noise"], by_name["roughness, beyond the noise"]) == (1, 0)
    assert by_name["minima of the loss on these examples"] > 20
    assert by_name["roughness of the loss on these examples"] == pytest.approx(5, rel=0.1)
    smooth = values(surface(1 + BOWL, se=0.2 * ripples))
    assert smooth["minima of the loss on these examples"] == 1
    assert smooth["roughness of the loss on these examples"] == pytest.approx(0, abs=0.01)
    apart = surface(ripples, se=0.2 * ripples, more={"examples": np.where(XX > 0, 100, 200)})
    assert not any("these examples" in name for name in values(apart))


def test_minima_of_rounding_are_not_counted(surface):
    """All examples were used, so the stored errors are 0: single precision is not exact for that."""
    rounded = (BOWL + 100).astype(np.float32) * (1 + 1e-7 * np.sin(1000 * XX * YY))
    assert values(surface(rounded, se=0.0))["minima above the noise"] == 1
    ripples = (BOWL + 100) * (1 + 1e-2 * np.sin(1000 * XX * YY))
    assert values(surface(ripples, se=0.0))["minima above the noise"] > 1
    twice = {"loss_float32": np.where(np.arange(41) % 5 == 0, BOWL + 100, np.nan)}
    by_name = values(surface(ripples, se=0.0, more=twice))
    assert by_name["minima above the noise"] == 1  # they are bfloat16's
    assert 0.9 < by_name["off float32, at most"] <= 1


def test_levels_are_those_of_guessing_unless_given(surface):
    def named(name, file, **how):
        return [n for n in values(file, **how) if name in n]

    assert named("loss <", surface(BOWL, classes=100)) == ["basin area around the centre, loss < 4.605 nats"]
    assert named("loss <", surface(BOWL, loss="mse", seed=1)) == []
    given = named("loss <", surface(BOWL, loss="mse", seed=2), loss_level=0.1)
    assert given == ["basin area around the centre, loss < 0.1 mse"]
    assert named("error", surface(BOWL, error=np.nan)) == []  # regression


def test_the_hessians_map_in_numbers(tmp_path):
    least = np.where(XX < 0, -0.5, -0.001)  # over 2: −0.25 at 20 of 41 columns, −0.0005 at 21
    most = np.full(XX.shape, 2.0)
    least[0], most[1] = np.nan, np.inf
    converged = np.full(XX.shape, True)
    converged[:2] = False
    values = {"loss": 1.0, "lambda_min": least, "lambda_max": most, "converged": converged}
    attributes = {**SURFACE, "hessian_parameters": "all"}
    file = write(tmp_path / "a.h5", "curvature", ("y", "x"), {"y": Y, "x": X}, values, **attributes)
    by_name = numbers(file)
    assert by_name["median |λ_min/λ_max|"].mean == 0.0005
    assert by_name["points with λ_min < −0.01 λ_max"].mean == pytest.approx(100 * 20 / 41)
    assert by_name["λ_max at the centre"].mean == 2
    assert by_name["points not converged"].mean == 82


def test_lesions_have_a_median_for_each_number_of_blocks(tmp_path):
    """Every set of one block, and sets at random, are two plans, and two parts."""
    single = np.vstack([np.zeros((1, 5), bool), np.eye(5, dtype=bool)])
    some = np.array([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0]], bool)
    files = [
        lesions(tmp_path / "a.h5", single, [2, 30, 10, 20, 12, 11]),
        lesions(tmp_path / "b.h5", some, [2, 30, 10, 50, 40]),
        lesions(tmp_path / "c.h5", some[:, ::-1], [2, 12, 14, 30, 20], seed=1),
    ]
    lines = compare(files).lines
    each = [(line.part.rpartition(", ")[2], line.name, line.estimates[0].mean) for line in lines]
    assert each == [
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
        ("repeat", "repeated", [[False] * 3, [True, True, False], [False, True, True], [False, False, True]], {
            "1 repeated": 40, "2 repeated": 15}),
        ("parallel", "parallel", [[0, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 0]], {"2 parallel": 20}),
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
    by_name = {name: pytest.approx(v) for name, v in values(file).items()}
    assert by_name == {"error, intact": 2, **{f"median error, {name}": error for name, error in expected.items()}}


def test_gates_are_no_directions(tmp_path):
    file = write(tmp_path / "a.h5", "surface", ("x",), {"x": X}, {"loss": 1.0}, gates=["b0"])
    with pytest.raises(BadInput, match="over gates of blocks"):
        compare([file])


def test_surfaces_over_a_space_are_refused(tmp_path):
    axes = {"z": X[:2], "y": X[:2], "x": X[:2]}
    file = write(tmp_path / "a.h5", "surface", ("z", "y", "x"), axes, {"loss": 1.0}, **SURFACE)
    with pytest.raises(BadInput, match=r"is over \(z, y, x\)"):
        compare([file])


def at_checkpoint(path, kind, dims, coordinates, values, network="plain", **attributes):
    """A file of what was measured at a checkpoint: values by name, with the dimensions that each has."""
    shape = [len(coordinates[d]) for d in dims]
    measured = {name: (array.dtype, 0, {}, tuple(others)) for name, (array, *others) in values.items()}
    about = {"network": network, "checkpoint": network, "data": "digits", "split": "train", "loss": "cross_entropy"}
    points = np.zeros((np.prod(shape), 1))
    table, _ = prepare(
        path, points, kind=kind, dims=dims, coordinates=coordinates, measured=measured,
        attributes={**about, "seed": 0, "batchnorm": "frozen", **attributes},
    )  # fmt: skip
    for row in range(len(points)):
        cell = np.unravel_index(row, shape)
        table.record(row, {name: array[cell] for name, (array, *_) in values.items()})
    table.flush()
    return read(path)


def test_a_density_gives_its_ends_its_trace_and_how_much_of_it_is_flat(tmp_path):
    node = np.array([[-1.0, 0.0, 10.0], [-2.0, 0.05, 9.0]])
    weight = np.array([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    axes = {"probe": np.arange(2), "step": np.arange(3)}
    values = {"node": (node, "step"), "weight": (weight, "step")}
    file = at_checkpoint(tmp_path / "a.h5", "density", ("probe",), axes, values, parameters=50)
    lines = {line.name: line.estimates[0] for line in compare([file]).lines}
    assert lines["λ_min"].mean == -2 and lines["λ_max"].mean == 10
    assert lines["trace of the Hessian"].mean == pytest.approx(50 * ((weight * node).sum(axis=1)).mean())
    assert lines["eigenvalues within ±0.01 λ_max"].mean == pytest.approx(75)


def test_eigenvalues_that_did_not_converge_are_no_numbers(tmp_path):
    values = {"eigenvalue": (np.array([3.0, 2.0]),), "converged": (np.array([True, False]),)}
    axes = {"eigenpair": np.array([1, 2])}
    file = at_checkpoint(tmp_path / "a.h5", "eigenvalues", ("eigenpair",), axes, values, end="largest")
    lines = {line.name: line.estimates[0] for line in compare([file]).lines}
    assert lines["eigenvalue 1 (largest)"].mean == 3
    assert lines.get("eigenvalue 2 (largest)") is None or np.isnan(lines["eigenvalue 2 (largest)"].mean)


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
    lines = {line.name: line for line in compare(files).lines}
    welch = stats.ttest_ind(*probes, equal_var=False).confidence_interval()
    trace = lines["trace of the Hessian"]
    assert trace.estimates[0].mean == pytest.approx(probes[0].mean())
    assert (trace.difference.low, trace.difference.high) == pytest.approx((welch.low, welch.high))
    welch = stats.ttest_ind(rises[0, 0, 1], rises[1, 0, 1], equal_var=False).confidence_interval()
    rise = lines["rise of the loss, ascent, ρ = 0.2"]
    assert (rise.difference.low, rise.difference.high) == pytest.approx((welch.low, welch.high))
