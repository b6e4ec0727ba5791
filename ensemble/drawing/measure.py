"""What figures of lesions show: the error where accuracy is defined, else the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from landscape.drawing.words import loss_label, split_of
from landscape.engine.table import Results

__all__ = [
    "LOST",
    "SAME",
    "WIDE",
    "Z95",
    "accuracy_interval",
    "as_errors",
    "bounded",
    "interval",
    "label",
    "lost",
    "measured",
    "wilson",
]

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
WIDE = 30  # largest over smallest loss from which on a scale is logarithmic
LOST: dict[str, Any] = {"linestyle": "none", "marker": "x", "markersize": 3}

# What lesions of one network share; the rest says which of them were measured, and by whom.
SAME = ("network", "checkpoint", "data_digest", "split", "loss", "batchnorm", "dtype", "tolerance")


def as_errors(files: Sequence[Results]) -> bool:
    """Whether files are drawn as errors: where any of them has no accuracy, all are drawn as losses."""
    return all(file.has_accuracy for file in files)


def measured(file: Results, errors: bool | None = None) -> np.ndarray:
    """Of each trial the error in percent, or the loss; NaN where it is not measured yet.

    Parameters
    ----------
    file : a lesion table
    errors : by default, whether the file has an accuracy
    """
    errors = file.has_accuracy if errors is None else errors
    return np.where(file["done"], 100 * (1 - file.accuracy()) if errors else file["loss"], np.nan)


def interval(file: Results, errors: bool | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of each trial: of the error (`accuracy_interval`), or loss ± 1.96 standard errors."""
    errors = file.has_accuracy if errors is None else errors
    if errors:
        low, high = accuracy_interval(file)
        return 100 * (1 - high), 100 * (1 - low)
    se = file.variables.get("loss_se", np.zeros(file["loss"].shape))
    half = Z95 * np.where(np.isfinite(se), se, 0)
    return file["loss"] - half, file["loss"] + half


def accuracy_interval(file: Results) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % interval of each trial's accuracy, as fractions.

    Wilson's, or ± 1.96 standard errors where the file has them, as of tokens and pixels.
    """
    accuracy, se = file.accuracy(), file.variables.get("accuracy_se")
    if se is None:
        return wilson(accuracy, np.maximum(file["examples"], 1))
    half = Z95 * np.where(np.isfinite(se), se, 0)
    return np.clip(accuracy - half, 0, 1), np.clip(accuracy + half, 0, 1)


def wilson(fraction: np.ndarray, n: np.ndarray, z: float = Z95) -> tuple[np.ndarray, np.ndarray]:
    """The score interval of a proportion (Wilson 1927), which holds near 0 and 1 too.

    Parameters
    ----------
    fraction : observed, of `n` independent examples
    n : examples
    z : quantile of the normal distribution; by default that of 95 %

    Returns
    -------
    low, high : ndarray, within [0, 1]
    """
    fraction, n = np.asarray(fraction, float), np.asarray(n, float)
    centre = fraction + z**2 / (2 * n)
    half = z * np.sqrt(fraction * (1 - fraction) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return np.clip(low, 0, fraction), np.clip(high, fraction, 1)  # rounding must not exclude the fraction


def label(files: Sequence[Results], errors: bool) -> str:
    """Such as "test error (%)" or "test loss (nats per example)"."""
    return f"{split_of(files)}error (%)" if errors else loss_label(files)


def bounded(axes: Axes, files: Sequence[Results], errors: bool, most: float = 100, which: str = "y") -> None:
    """Give an axis its ends: errors begin at 0, and losses unless they span decades, which takes logarithms."""
    ends, scale = getattr(axes, f"set_{which}lim"), getattr(axes, f"set_{which}scale")
    if errors:
        ends(0, min(most, getattr(axes, f"get_{which}lim")()[1]))
        return
    losses = np.concatenate([file["loss"][file["done"] & np.isfinite(file["loss"])] for file in files])
    if losses.size and losses.min() > 0 and losses.max() > WIDE * losses.min():
        scale("log")
    elif losses.size and losses.min() >= 0:
        ends(0, None)


def lost(axes: Axes, x: np.ndarray, gone: np.ndarray, color: str) -> None:
    """Crosses on the upper rim where a loss is measured but not finite."""
    if gone.any():
        axes.plot(
            x[gone], np.ones(gone.sum()), color=color, transform=axes.get_xaxis_transform(), clip_on=False, **LOST
        )
