"""Curvature along steps (Kalra et al. 2026, 2601.16979), and how far basins reach (Chen et al. 2025, 2505.17646)."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ensemble.claims.verdict import Number, of_ranks
from ensemble.claims.workbench import Case
from landscape.analysis.basins import certified_radius, inside
from landscape.curvature.basin import basin_radius
from landscape.curvature.critical import critical_sharpness
from landscape.errors import BadInput

__all__ = ["basin_reach", "critical_rank"]


def critical_rank(case: Case, examples: int = 200) -> Number:
    """The rank correlation of critical sharpness with the Hessian's largest eigenvalue, over a training's checkpoints.

    Both are of the loss with the BatchNorm statistics of the batch, along the gradient of the same examples.
    """
    if not case.settings.get("snapshots"):
        raise BadInput("the course of a training is kept in snapshots; give its network snapshots = true")
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed)
    results = case.measured(critical_sharpness, evaluate, case.snapshots, lambda_max=True)
    sharp, largest = results["lambda_c"], results["lambda_max"]
    known = np.isfinite(sharp) & np.isfinite(largest)
    return of_ranks(float(stats.spearmanr(sharp[known], largest[known])[0]), int(known.sum()), "checkpoints")


def basin_reach(
    case: Case,
    ball: str = "weights",
    reach: float = 1.0,
    points: int = 21,
    directions: int = 30,
    level: str = "+5%",
    steps: int = 10,
    examples: int = 200,
) -> Number:
    """The radius of the basin: certified for nine of ten random directions, or up to which no ascent leaves it.

    Parameters
    ----------
    ball, level, directions, steps
        See `skipscape.basin_radius`.
    reach, points : float, int
        The radii go from 0 to reach, so many of them.
    examples : int
    """
    evaluate = case.evaluator(split="train", examples=examples, seed=case.seed)
    how = {"radius": [0, reach, points], "directions": directions, "ball": ball, "level": level, "steps": steps}
    results = case.measured(basin_radius, evaluate, **how)
    if ball != "worst":
        return Number(certified_radius(results).radius)
    stays = inside(results["excess"]).all(axis=0)
    return Number(float(results.coordinates["radius"][stays.sum() - 1]) if stays.any() else math.nan)
