"""A loss surface as a relief: which plane of a file, and how high it is."""

from __future__ import annotations

import numpy as np

from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["heights", "plane"]


def plane(results: Results, repeat: int | None = None) -> Results:
    """A surface over (y, x).

    Parameters
    ----------
    results : over (y, x), or over (repeat, y, x)
    repeat : which of them, from 0

    Raises
    ------
    BadInput
        It is no surface over a plane, or one of several and not said which, or fewer than two points wide.
    """
    over = results.dims.get("loss", ())
    if over == ("repeat", "y", "x"):
        number = len(results.coordinates["repeat"])
        if repeat is None or not 0 <= repeat < number:
            raise BadInput(f"{results.source} has {number} surfaces; say which with --repeat 0 … {number - 1}")
        results, over, repeat = results.isel(repeat=repeat), over[1:], None
    if repeat is not None:
        raise BadInput(f"{results.source} has no repeats; leave out --repeat")
    if over != ("y", "x") or min(results["loss"].shape) < 2:
        size = " × ".join(map(str, results["loss"].shape)) if over else "no"
        raise BadInput(
            f"{results.source} is a {results.kind} with {size} losses over ({', '.join(over)}); a relief needs a plane "
            "(y, x), two points each way or more: write .csv or .npz instead"
        )
    return results


def heights(
    results: Results, linear: bool = False, clip: float | None = None, height: float = 1.0
) -> tuple[np.ndarray, list[str]]:
    """How high each loss lies.

    Parameters
    ----------
    results : with a variable `loss`
    linear : the loss itself instead of its log10
    clip : losses above it, infinite ones too, lie at it
    height : factor of all

    Returns
    -------
    The heights, NaN where the loss is not known or has none, and lines that tell of losses that were moved.

    Raises
    ------
    BadInput
        No loss has a height, or the options make none.
    """
    if clip is not None and not (np.isfinite(clip) and (linear or clip > 0)):
        raise BadInput(f"--clip is {clip:g}; give a finite loss, above 0 unless --linear")
    if not (np.isfinite(height) and height > 0):
        raise BadInput(f"--height is {height:g}; give a factor above 0")
    loss = np.where(results.known, results["loss"], np.nan)
    notes = []
    if clip is not None:
        loss = np.minimum(loss, clip)  # NaN stays
    loss = np.where(np.isfinite(loss), loss, np.nan)
    if not linear:
        positive = loss[loss > 0]
        if positive.size and (low := loss <= 0).any():
            notes.append(
                f"losses of 0 or less: {low.sum()}, without a logarithm; they lie at the least, {positive.min():.3g}"
            )
            loss = np.where(low, positive.min(), loss)
        loss = np.log10(np.where(loss > 0, loss, np.nan))
    if not np.isfinite(loss).any():
        raise BadInput(f"{results.source} has no loss with a height; measure it first, or use --linear")
    return height * loss, notes
