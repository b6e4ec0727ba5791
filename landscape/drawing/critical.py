"""Figures of critical sharpness: over the checkpoints of trainings, with what the learning rate allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from landscape.drawing.layout import LINE, legend
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, looks_of, wrapped
from landscape.drawing.words import titles_of, unit_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["criticals", "sharpnesses_over_training"]

EVERY: dict[str, Any] = {"marker": "o", "markersize": 2.2}
TEST: dict[str, Any] = {"linestyle": (0, (1, 1)), "linewidth": 1.2}
LARGEST: dict[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 0.8}
ALLOWED: dict[str, Any] = {"color": "0.3", "linestyle": "-", "linewidth": 0.8}
BOUND: dict[str, Any] = {"linestyle": "none", "marker": "v", "markersize": 4, "fillstyle": "none"}
LIMITS = (1e-30, 1e30)  # of what an interval without an end is drawn to
ROOM = 1.5  # of the scale, beyond the largest and the smallest value


def criticals(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the critical sharpness over epochs, or over checkpoints where these do not tell their epochs.

    Parameters
    ----------
    files : of kind "critical"
    titles : one a file, by default the networks' names; files of one title are trainings of one network
    width : of the figure, in inches

    Returns
    -------
    Figure
        A line for each file with the 95 % interval, on a logarithmic scale; the second split dotted, λ_max dashed
        where they were measured, and 2 over the learning rate. A loss that did not rise has a mark at the upper end of
        its interval.
    """
    names = titles_of(files, titles)
    steps = {str(file.attributes.get("step")) for file in files}
    if len(steps) > 1:
        raise BadInput("critical sharpness per update and per learning rate have no common scale; draw them apart")
    if not any(_shown(file["lambda_c"]).any() for file in files):
        raise BadInput(f"no critical step of {files[0].source} is known yet; measure more")
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 2.6), layout="constrained")
        axes = sharpnesses_over_training(figure.subplots(), files, titles=names)
        handles: list[Artist] = [
            Line2D([], [], color=looks_of(names)[name]["color"], label=name, **EVERY) for name in dict.fromkeys(names)
        ]
        handles += [Line2D([], [], label=label, **how) for label, how in _legend(files, steps.pop())]
        lines = legend(figure, "outside upper center", handles)
        note = wrapped(_note(files), width - 0.4, NOTE)
        figure.set_figheight(2.4 + LINE * (lines + note.count("\n") + 1))
        figure.supxlabel(note, fontsize=NOTE)
        room = 72 * figure.get_figheight() - 110
        axes.set_ylabel(wrapped(axes.get_ylabel(), max(1.2, room / 72), 8))
    return figure


def sharpnesses_over_training(axes: Axes, files: Sequence[Results], *, titles: Sequence[str] | None = None) -> Axes:
    """The same onto axes."""
    names = titles_of(files, titles)
    shown = []
    by_epoch = all("epoch" in file.variables for file in files)
    for file, name in zip(files, names, strict=True):
        color = looks_of(names)[name]["color"]
        at = file["epoch"] if by_epoch else np.arange(1, len(file["lambda_c"]) + 1)
        for prefix, how in {"": EVERY, "test_": TEST}.items():
            if f"{prefix}lambda_c" not in file.variables:
                continue
            sharp = _positive(file[f"{prefix}lambda_c"])
            axes.plot(at, sharp, color=color, **how)
            shown.append(sharp)
            if not prefix:
                low, high = (np.clip(file[f"lambda_c_{end}"], *LIMITS) for end in ("low", "high"))
                axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
                bound = np.where(file["done"] & (file["lambda_c"] == 0), _positive(file["lambda_c_high"]), np.nan)
                axes.plot(at, bound, color=color, **BOUND)
                shown.append(bound)
        if "lambda_max" in file.variables:
            largest = _positive(file["lambda_max"])
            axes.plot(at, largest, color=color, **LARGEST)
            shown.append(largest)
    for at, allowed in _allowed(files, by_epoch):
        axes.plot(at, allowed, **ALLOWED)
        shown.append(np.atleast_1d(allowed.min()))  # where the learning rate is largest
    values = np.concatenate(shown)
    low, high = np.nanmin(values) / ROOM, np.nanmax(values) * ROOM
    axes.set(yscale="log", ylim=(low, high), xlabel="epoch" if by_epoch else "checkpoint")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if files[0].attributes.get("step") == "update":
        axes.set_ylabel("critical sharpness (per update)")
    else:
        axes.set_ylabel(f"critical sharpness ({unit_of(files)} per weight²)")
    return axes


def _shown(values: np.ndarray) -> np.ndarray:
    """What has a place on a logarithmic scale."""
    return np.isfinite(values) & (values > 0)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(_shown(values), values, np.nan)


def _allowed(files: Sequence[Results], by_epoch: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """What learning rates allow, each course of them once; of updates 2, where the next checkpoint lies."""
    courses: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for file in files:
        at = file["epoch"] if by_epoch else np.arange(1, len(file["lambda_c"]) + 1)
        rate = np.ones(len(at)) if file.attributes.get("step") == "update" else file["learning_rate"]
        known = _shown(rate)
        if known.any():
            courses.setdefault(at[known].tobytes() + rate[known].tobytes(), (at[known], 2 / rate[known]))
    return list(courses.values())


def _legend(files: Sequence[Results], step: str) -> list[tuple[str, dict]]:
    entries = []
    grey = {"color": "0.3"}
    if any("test_lambda_c" in file.variables for file in files):
        entries.append(("of the test loss, along the same step", grey | TEST))
    if any("lambda_max" in file.variables for file in files):
        entries.append((r"$\lambda_\max$ of the Hessian", grey | LARGEST))
    if step == "update":
        entries.append(("2: the next checkpoint", ALLOWED))
    elif any(_shown(file["learning_rate"]).any() for file in files):
        entries.append(("2 / learning rate", ALLOWED))
    if any((file["done"] & (file["lambda_c"] == 0)).any() for file in files):
        entries.append(("the loss did not rise: an upper bound", grey | BOUND))
    return entries


def _note(files: Sequence[Results]) -> str:
    updates = files[0].attributes.get("along") == "update"
    along = "from each checkpoint to the next" if updates else "against the gradient"
    sentences = [f"Steps {along}; bands are 95 % intervals over examples."]
    if lost := sum(int((file["done"] & np.isnan(file["lambda_c"])).sum()) for file in files):
        sentences.append(f"{lost} checkpoints have no point: their loss does not fall first.")
    return " ".join(sentences)
