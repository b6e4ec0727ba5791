"""Numbers from a surface: numpy only, from a results file's arrays.

A surface is an array over (y, x) on evenly spaced coordinates; NaN and infinity may occur.
"""

from __future__ import annotations

import numpy as np

__all__ = ["centre", "convex_fraction", "loss_range"]


def centre(loss: np.ndarray, x: np.ndarray, y: np.ndarray | None = None) -> float:
    """The loss at the origin of the plane; NaN if the grid does not hold that point."""
    axes = [x] if y is None else [y, x]
    places = [np.flatnonzero(a == 0) for a in axes]
    return float(loss[tuple(p[0] for p in places)]) if all(map(len, places)) else float("nan")


def loss_range(loss: np.ndarray) -> tuple[float, float]:
    """Smallest and largest finite loss."""
    finite = loss[np.isfinite(loss)]
    return (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))


def convex_fraction(loss: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Fraction of the slice in which the loss is convex.

    Parameters
    ----------
    loss : ndarray, shape (len(y), len(x))
    x, y : evenly spaced coordinates, three or more each

    Returns
    -------
    float
        Among the inner grid points whose eight neighbours are finite, the fraction where the 2×2
        Hessian by central differences is positive semi-definite, up to rounding. NaN if there is none.
    """
    if min(loss.shape) < 3:
        return float("nan")
    hx, hy = x[1] - x[0], y[1] - y[0]
    f = np.where(np.isfinite(loss), loss, np.nan)
    here = f[1:-1, 1:-1]
    xx = (f[1:-1, 2:] - 2 * here + f[1:-1, :-2]) / hx**2
    yy = (f[2:, 1:-1] - 2 * here + f[:-2, 1:-1]) / hy**2
    xy = (f[2:, 2:] - f[2:, :-2] - f[:-2, 2:] + f[:-2, :-2]) / (4 * hx * hy)
    # The smaller eigenvalue, so that one tolerance in units of curvature serves all three conditions.
    smaller = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    size = np.nanmax(np.abs(f)) if np.isfinite(f).any() else np.nan
    rounding = 16 * np.finfo(float).eps * size / min(hx, hy) ** 2
    known = np.isfinite(smaller)
    return float(np.mean(smaller[known] >= -rounding)) if known.any() else float("nan")
