"""Numbers of surfaces, sharpness and trajectories in claims are those of the library's own calls."""

import numpy as np
import pytest
from scipy import stats

from ensemble.claims.measures import MEASURES
from ensemble.claims.specification import Network
from ensemble.claims.workbench import Workbench
from landscape.curvature.maps import curvature
from landscape.curvature.sharpness import sharpness
from landscape.engine.ranks import SerialComm
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface
from landscape.planes.trajectory import trajectory

SMALL = {"network": "resnet", "depth": 8, "width": 4, "data": "digits", "examples": 100, "epochs": 3, "snapshots": True}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Workbench(tmp_path_factory.mktemp("bench"), SerialComm(), quiet=True)
    bench.train([(Network(SMALL), 0)])
    return bench


@pytest.fixture(scope="module")
def case(bench):
    return bench.case(Network(SMALL), 0)


def evaluator(case, examples):
    return Evaluator.from_checkpoint(case.path, split="train", examples=examples, seed=0)


def test_the_convex_part_of_the_slice_is_counted_over_the_points_of_each_pair_of_directions(case):
    number = MEASURES["surface_number"](case, "convex part of the slice", points=7, examples=60)
    plane = surface(evaluator(case, 60), x=(-1, 1, 7), y=(-1, 1, 7), repeats=3, quiet=True)
    parts = []
    for f in plane["loss"]:
        convex = 0
        for i in range(1, 6):
            for j in range(1, 6):
                yy, xx = f[i + 1, j] + f[i - 1, j] - 2 * f[i, j], f[i, j + 1] + f[i, j - 1] - 2 * f[i, j]
                xy = (f[i + 1, j + 1] - f[i + 1, j - 1] - f[i - 1, j + 1] + f[i - 1, j - 1]) / 4
                convex += np.linalg.eigvalsh([[xx, xy], [xy, yy]]).min() >= 0
        parts.append(100 * convex / 25)
    assert len(parts) == 3 and number.value == pytest.approx(np.mean(parts)) and 0 < number.value < 100
    assert number.se == pytest.approx(stats.sem(parts))


def test_the_largest_loss_of_lines_is_a_geometric_mean_over_single_directions(case):
    number = MEASURES["surface_number"](case, "largest loss", points=5, repeats=2, lines=True, examples=60)
    line = surface(evaluator(case, 60), x=(-1, 1, 5), repeats=2, quiet=True)
    largest = line["loss"].max(axis=1)
    assert number.value == pytest.approx(np.sqrt(largest.prod()))
    assert number.se == pytest.approx(number.value * abs(np.log(largest[0] / largest[1])) / 2)


def test_a_number_that_a_surface_does_not_have_is_refused(case):
    with pytest.raises(BadInput, match="convex part"):
        MEASURES["surface_number"](case, "convex parts of the slice", points=5, examples=60)


def test_surfaces_and_lesions_are_computed_in_the_type_of_the_scale(bench):
    quick = Workbench(bench.folder, SerialComm(), quiet=True, dtype="bfloat16").case(Network(SMALL), 0)
    # other sizes than in the tests above: one measurement has one file
    MEASURES["surface_number"](quick, "largest loss", points=3, repeats=1, lines=True, examples=50)
    MEASURES["deletions"](quick, statistic="mean", examples=50)
    files = [
        *(bench.folder / "measurements").glob("*-surface-*-50.h5"),
        *(bench.folder / "measurements").glob("*lesions*-50.h5"),
    ]
    assert len(files) == 2 and all(read(file).attributes["dtype"] == "bfloat16" for file in files)


def test_the_rise_in_a_ball_is_the_mean_over_its_ascents(case):
    number = MEASURES["sharpness_rise"](case, rho=0.02, trials=2, steps=3, examples=60)
    results = sharpness(evaluator(case, 60), rho=0.02, trials=2, steps=3, quiet=True)
    each = results["rise"][list(results.coordinates["kind"]).index("ascent"), 0]
    assert (
        len(each) == 2 and number.value == pytest.approx(each.mean()) and number.se == pytest.approx(np.ptp(each) / 2)
    )


def test_the_ratio_of_curvatures_is_a_median_over_points_where_the_slice_is_convex_or_elsewhere(case):
    axes = {"x": (-1, 1, 5), "y": (-1, 1, 5)}
    hessian = curvature(evaluator(case, 50), **axes, precision=0.01, quiet=True)
    f = surface(evaluator(case, 50), **axes, quiet=True)["loss"]
    ratios = {True: [], False: []}
    for i in range(1, 4):
        for j in range(1, 4):
            yy, xx = f[i + 1, j] + f[i - 1, j] - 2 * f[i, j], f[i, j + 1] + f[i, j - 1] - 2 * f[i, j]
            xy = (f[i + 1, j + 1] - f[i + 1, j - 1] - f[i - 1, j + 1] + f[i - 1, j - 1]) / 4
            least, most = hessian["lambda_min"][i, j], hessian["lambda_max"][i, j]
            ratios[xx * yy >= xy**2 and xx + yy >= 0].append(abs(least / most))
    for where, convex in {"convex": True, "elsewhere": False}.items():
        number = MEASURES["curvature_ratio"](case, where=where, reach=1.0, points=5, examples=50)
        assert number.value == pytest.approx(np.median(ratios[convex]) if ratios[convex] else np.nan, nan_ok=True)


def test_what_two_components_explain_is_that_of_the_path(case):
    path = trajectory(evaluator(case, 200), case.snapshots, quiet=True)
    for of in ("explained", "explained_random_walk"):
        assert MEASURES["explained"](case, of=of).value == pytest.approx(100 * path[of][:2].sum())


def test_a_path_needs_snapshots(bench):
    with pytest.raises(BadInput, match="give its network snapshots = true"):
        MEASURES["explained"](bench.case(Network({**SMALL, "snapshots": False}), 0))
