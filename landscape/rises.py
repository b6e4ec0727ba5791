"""Numbers from a sharpness table: from a results file's arrays and nothing else."""

from __future__ import annotations

import numpy as np

from landscape.geometry import Interval, interval
from landscape.table import Results

__all__ = ["rises"]


def rises(results: Results, confidence: float = 0.95) -> dict[tuple[str, float], Interval]:
    """Mean rise of the loss over the trials of each kind and radius.

    Parameters
    ----------
    results : of kind "sharpness"
    confidence : as in `landscape.geometry.interval`

    Returns
    -------
    dict
        From (kind, ρ), in the file's order, to the mean in nats per example and its interval. Trials not yet
        measured are left out. The interval is over directions, not over examples; for an ascent, over where it
        starts. Without bounds (NaN) where a rise is not finite: then neither is the mean.
    """
    kinds, radii = results.coordinates["kind"], results.coordinates["rho"]
    found = {}
    for i, kind in enumerate(kinds):
        for j, rho in enumerate(radii):
            rise = results["rise"][i, j][results["done"][i, j]]
            found[str(kind), float(rho)] = _interval(rise, confidence)
    return found


def _interval(rise: np.ndarray, confidence: float) -> Interval:
    if np.isfinite(rise).all():
        return interval(rise, confidence)
    return Interval(float(rise.mean()), float("nan"), float("nan"), len(rise))
