"""Files of the Hessian's spectrum: their variables, and what follows from them.

Kind "curvature" has both ends of the spectrum at points of a plane; "eigenvalues", "trace" and "density" are of
one network. Eigenvalues are in nats per squared unit of weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from landscape.analysis.geometry import convex
from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.linalg.density import Density, smoothed

__all__ = [
    "CURVATURE",
    "DENSITY",
    "EIGENVALUES",
    "TRACE",
    "UNIT",
    "Convexity",
    "Ratios",
    "convexity",
    "density_of",
    "ratio",
]

UNIT = "nats per squared unit of weight"

CURVATURE = {
    "lambda_min": ("f8", np.nan, {"long_name": "smallest eigenvalue of the Hessian", "units": UNIT}),
    "lambda_max": ("f8", np.nan, {"long_name": "largest eigenvalue of the Hessian", "units": UNIT}),
    "residual_min": ("f8", np.nan, {"long_name": "residual of the smallest eigenvalue", "units": UNIT}),
    "residual_max": ("f8", np.nan, {"long_name": "residual of the largest eigenvalue", "units": UNIT}),
    "converged": ("?", False, {"long_name": "whether both residuals are within the tolerance"}),
    "products": ("i8", 0, {"long_name": "products with the Hessian", "units": "1"}),
}
EIGENVALUES = {
    "eigenvalue": ("f8", np.nan, {"long_name": "eigenvalue of the Hessian", "units": UNIT}),
    "residual": ("f8", np.nan, {"long_name": "residual of the eigenvalue", "units": UNIT}),
    "converged": ("?", False, {"long_name": "whether the residual is within the tolerance"}),
    "products": ("i8", 0, {"long_name": "products with the Hessian, for all eigenpairs together", "units": "1"}),
}
TRACE = {"trace": ("f8", np.nan, {"long_name": "one probe's estimate of the Hessian's trace", "units": UNIT})}
DENSITY = {
    "node": ("f8", np.nan, {"long_name": "node of a probe's quadrature", "units": UNIT}, ("step",)),
    "weight": ("f8", np.nan, {"long_name": "weight of the node", "units": "1"}, ("step",)),
}


class Ratios(NamedTuple):
    """|λ_min/λ_max| over some points.

    Attributes
    ----------
    median, most : NaN where there is no point
    number : how many points there are
    """

    median: float
    most: float
    number: int


class Convexity(NamedTuple):
    """What the Hessian says where a slice looks convex, and elsewhere.

    Attributes
    ----------
    share : of the inner points, where the slice is convex
    points : how many inner points there are
    there, elsewhere : Ratios
        Points whose ratio is not known are left out.
    """

    share: float
    points: int
    there: Ratios
    elsewhere: Ratios


def ratio(smallest: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """|λ_min/λ_max| (Li et al. 2018, 1712.09913 §6): near 0 where the loss is convex but for little."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(smallest / largest)


def convexity(loss: np.ndarray, ratios: np.ndarray, x: np.ndarray, y: np.ndarray) -> Convexity:
    """Compare the convexity of a slice with the ratio of the Hessian's ends at its points.

    Parameters
    ----------
    loss, ratios : ndarray, shape (len(y), len(x))
        Ratios that are not finite are not known.
    x, y : evenly spaced coordinates
    """
    seen = convex(loss, x, y)
    inner = np.where(np.isfinite(ratios), ratios, np.nan)[1:-1, 1:-1]
    there, elsewhere = (_ratios(inner[part.filled(False)]) for part in (seen, ~seen))
    return Convexity(float(seen.mean()) if seen.count() else float("nan"), int(seen.count()), there, elsewhere)


def _ratios(values: np.ndarray) -> Ratios:
    values = values[np.isfinite(values)]
    if not values.size:
        return Ratios(float("nan"), float("nan"), 0)
    return Ratios(float(np.median(values)), float(values.max()), values.size)


def density_of(
    file: Results, grid: np.ndarray | None = None, width: float | None = None, linear: float | None = None
) -> Density:
    """The spectral density in a file, from the probes that it has so far.

    Parameters
    ----------
    file : of kind "density"
    grid, width : see `landscape.linalg.density.smoothed`
    linear : in units of the eigenvalues
        If given, they are smoothed on the axis asinh(λ/linear), and `width` is in its units: near 0 the Gaussian
        is width · linear wide, and far from it width · |λ|. So both a bulk at 0 and single eigenvalues far off are
        told. The density is still per unit of λ.

    Raises
    ------
    BadInput
        There are fewer than two probes, which have no standard error.
    """
    done = file["done"]
    if done.sum() < 2:
        raise BadInput(f"{file.source} has {done.sum()} probes so far; a density needs 2 or more, so let it go on")
    nodes, weights, n = file["node"][done], file["weight"][done], int(file.attributes["parameters"])
    if linear is None:
        return smoothed(nodes, weights, n, grid, width)
    density = smoothed(
        np.arcsinh(nodes / linear), weights, n, None if grid is None else np.arcsinh(grid / linear), width
    )
    slope = 1 / (linear * np.cosh(density.grid))  # of the axis
    return replace(
        density,
        grid=linear * np.sinh(density.grid),
        values=density.values * slope,
        standard_error=density.standard_error * slope,
        nodes=nodes,
    )
