"""How far a reduced type is from float32: a few rows of a table are measured in both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

__all__ = ["FEWEST", "FLOAT32", "difference", "differences", "sample"]

RANDOM = 8
FEWEST = 8  # rows that a reduced type is worth being compared for: the comparison would take what it saves
SHARE = 8  # of so many rows one is measured twice: in float32 it takes two to five times as long
LEAST = 2  # but not fewer than these

FLOAT32 = {
    "loss_float32": ("f8", np.nan, {"long_name": "loss in float32, where it was measured too", "units": "nats"}),
}


def sample(shape: Sequence[int], seed: int) -> np.ndarray:
    """Rows to measure twice: the middle of the grid, its corners, and some at random, in ascending order.

    Of a small grid they are the middle and some of the others, an eighth of all rows or two.
    """
    rows = np.arange(np.prod(shape)).reshape(shape)
    corners = [rows[where] for where in product((0, -1), repeat=len(shape))]
    middle = rows[tuple(n // 2 for n in shape)]
    generator = np.random.default_rng(seed)
    drawn = generator.choice(rows.size, min(RANDOM, rows.size), replace=False)
    others = np.setdiff1d([*corners, *drawn], middle)
    number = max(LEAST, rows.size // SHARE) - 1
    if number < len(others):
        others = generator.choice(others, number, replace=False)
    return np.unique([middle, *others])


def differences(loss: np.ndarray, loss_float32: np.ndarray) -> np.ndarray:
    """How far apart the two are, relative to the loss in float32, where both are finite."""
    both = np.isfinite(loss_float32) & np.isfinite(loss) & (loss_float32 != 0)
    return np.abs(loss[both] / loss_float32[both] - 1)


def difference(dtype: str, loss: np.ndarray, loss_float32: np.ndarray) -> str:
    """A line that says how far apart they are at most."""
    apart = differences(loss, loss_float32)
    if not apart.size:
        return f"{dtype} could not be compared with float32: no loss was finite"
    return (
        f"{dtype} against float32, at {apart.size} of {np.isfinite(loss).sum()} points: losses differ there by "
        f"{100 * apart.max():.2g} % at most, {100 * np.median(apart):.2g} % in the median"
    )
