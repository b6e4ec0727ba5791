"""Loss surfaces and what is read from them (Li et al. 2018, 1712.09913), curvature, sharpness, paths of trainings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from landscape.analysis.geometry import barrier_between, basin, convex
from landscape.analysis.hessian_files import ratio
from landscape.analysis.numbers import KINDS, Levels, Row
from landscape.curvature.maps import curvature
from landscape.curvature.sharpness import sharpness
from landscape.engine.results import Results
from landscape.errors import BadInput
from landscape.planes.surface import surface
from landscape.planes.trajectory import trajectory

__all__ = ["barrier_height", "curvature_ratio", "explained", "interpolation", "sharpness_rise", "surface_number"]


def surface_number(
    case: Case,
    number: str,
    reach: float = 1.0,
    points: int = 11,
    repeats: int = 3,
    lines: bool = False,
    examples: int | None = None,
    error_level: float = 50.0,
    **options: Any,
) -> Number:
    """A number of the surface around a network, the mean over pairs of random directions.

    Parameters
    ----------
    number : str
        As `skipscape compare` names it: "convex part of the slice", "largest loss", ….
    reach, points : float, int
        The axes go from −reach to reach, with so many points each.
    repeats : int
        Number of pairs of directions.
    lines : bool
        Whether to measure lines, along single directions, in place of planes.
    examples : int, optional
    error_level : float
        See `skipscape.compare`.
    **options
        Of `skipscape.surface`.
    """
    axis = (-reach, reach, points)
    axes = {"x": axis} if lines else {"x": axis, "y": axis}
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed, dtype=case.bench.dtype)
    results = case.measured(surface, evaluate, **axes, repeats=repeats, **options)
    return _over_repeats(_row(results, number, Levels(error=error_level)), "directions")


def sharpness_rise(
    case: Case, kind: str = "ascent", rho: float = 0.01, trials: int = 5, steps: int = 10, examples: int | None = None
) -> Number:
    """How far the loss rises in a ball around the weights, in nats; see `landscape.curvature.sharpness.sharpness`."""
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed)
    results = case.measured(sharpness, evaluate, rho=rho, trials=trials, steps=steps)
    each = results["rise"][list(results.coordinates["kind"]).index(kind), 0]
    return Number(float(np.mean(each)), float(stats.sem(each)), "directions")


def curvature_ratio(
    case: Case, where: str = "convex", reach: float = 0.5, points: int = 7, examples: int = 100, precision: float = 0.01
) -> Number:
    """The median of abs(λmin/λmax) of the Hessian over a slice, where the slice is convex, or elsewhere.

    Whether it is convex at a point is told by the loss on the same grid.
    """
    axes = {"x": (-reach, reach, points), "y": (-reach, reach, points)}
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed)
    results = case.measured(curvature, evaluate, **axes, precision=precision)
    losses = case.measured(surface, evaluate, **axes)
    shape = convex(losses["loss"], losses.coordinates["x"], losses.coordinates["y"])
    chosen = ~np.ma.getmaskarray(shape) & (np.ma.getdata(shape) == (where == "convex"))  # of the inner points
    each = ratio(results["lambda_min"], results["lambda_max"])[1:-1, 1:-1][chosen]
    each = each[np.isfinite(each)]
    return Number(float(np.median(each)) if len(each) else math.nan)


def explained(case: Case, of: str = "explained") -> Number:
    """The share of the variance of a training's path in its first two principal components, in percent.

    Parameters
    ----------
    of : {"explained", "explained_random_walk"}
        Of the path, or of a random walk with steps of the same lengths.
    """
    if not case.settings.get("snapshots"):
        raise BadInput("the path of a training is kept in snapshots; give its network snapshots = true")
    results = case.measured(trajectory, case.evaluator(split="train", examples=200), case.snapshots)
    return Number(100 * float(np.sum(results[of][:2])), least=0, most=100)


def interpolation(case: Case, other: Case, points: int = 25, rise: float = 0.5, **options: Any) -> Number:
    """How many times as wide the basin of this network is as that of another, on the straight line between them.

    Parameters
    ----------
    points : int
        On the line, from half its length before this network to half its length behind the other.
    rise : float
        A basin is where the loss is less than this above that of its network, in nats.
    **options
        Of `skipscape.surface`.
    """
    evaluate = case.evaluator(split="train", seed=case.seed)
    results = case.measured(surface, evaluate, x=(-0.5, 1.5, points), to=str(other.path), **options)
    x, loss = results.coordinates["x"], results["loss"]
    ends = [int(np.argmin(np.abs(x - end))) for end in (0.0, 1.0)]
    one, another = (basin(loss, loss[end] + rise, x - x[end]).size for end in ends)
    return Number(one / another)


def barrier_height(case: Case, points: int = 11, examples: int | None = None, **options: Any) -> Number:
    """How high the loss climbs between a training and the next one, over the straight line between their losses.

    The last is followed by the first, so that each training is in two barriers.

    Parameters
    ----------
    points : int
        On the line, both networks among them.
    examples : int, optional
    **options
        Of `skipscape.surface`, such as ``align`` and ``batchnorm``.
    """
    if case.seeds < 2:
        raise BadInput("a barrier is between two trainings of a network; give --seeds 2 or more")
    next_one = case.bench.case(case.network, (case.seed + 1) % case.seeds, case.seeds)
    if next_one.diverged:
        return Number(math.nan)
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed)
    line = case.measured(surface, evaluate, x=(0, 1, points), to=str(next_one.path), **options)
    between = barrier_between(line["loss"], line["loss_se"], line.coordinates["x"])
    assert between is not None
    return Number(*between, "examples", least=0)


def _row(results: Results, name: str, levels: Levels) -> Row:
    rows = {row.name: row for row in KINDS[results.kind](results, levels)}
    chosen = [row for known, row in rows.items() if known == name or known.startswith(name)]
    if not chosen:
        raise BadInput(f"there is no number {name!r} of a {results.kind}; use {', '.join(rows)}")
    return chosen[0]


def _over_repeats(row: Row, over: str) -> Number:
    values = np.asarray(row.values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        return Number(math.nan)
    se = float(stats.sem(values)) if len(values) > 1 else math.nan
    if row.geometric and (values > 0).all():
        mean = float(np.exp(np.log(values).mean()))
        se = mean * float(stats.sem(np.log(values))) if len(values) > 1 else math.nan
        return Number(mean, se, over, row.least, row.most)
    return Number(float(values.mean()), se, over, row.least, row.most)
