"""Figures of what deletions leave: the error beside the paths, and the gradient by them, that survive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ensemble.drawing.marks import by_number
from ensemble.drawing.measure import as_errors, bounded, label
from ensemble.lesions.kinds import change_of
from ensemble.paths.surviving import of_file
from landscape.drawing.style import COLORS, DASHES, NOTE, STYLE, Figure, abreast, check_width
from landscape.drawing.words import titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["survivors", "what_is_left"]

ERROR, PATHS, GRADIENT = COLORS[:3]
BESIDE: tuple[dict[str, Any], ...] = (
    {"color": PATHS, "linewidth": 1.0, "dashes": (1.5, 1.5)},
    {"color": GRADIENT, "linewidth": 1.0, "dashes": DASHES},
)


def survivors(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the error by number of deleted blocks, and on a second axis what survives (after Veit et al. 2016, §4).

    Parameters
    ----------
    files : of kind "paths" and of kind "lesion", any number of the latter for each of the former, of the same
        checkpoint; a panel for each file of paths
    titles : one a file of paths; by default the networks' names
    width : of the figure, in inches

    Raises
    ------
    BadInput
        A file has no partner of the same network, or holds lesions other than deletions.
    """
    spectra = [file for file in files if file.kind == "paths"]
    groups = [[file for file in files if file.kind == "lesion" and _same(file, one)] for one in spectra]
    paired = [file for one, group in zip(spectra, groups, strict=True) if group for file in (one, *group)]
    for file in files:
        if not any(file is other for other in paired):
            partner = "paths" if file.kind == "lesion" else "deletions"
            others = ", ".join(_named(other) for other in files if other.kind != file.kind)
            raise BadInput(
                f"{file.source} is of {_named(file)}, the others are of {others}; add a file of {partner} of that one"
            )
    titles = titles_of(spectra, titles)
    of_lesions = [file for group in groups for file in group]
    errors = as_errors(of_lesions)
    columns = min(len(spectra), max(1, int(check_width(width) // 2.2)))
    rows = -(-len(spectra) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((width, 0.7 + 1.8 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(spectra) :]:
            axes.set_axis_off()
        seconds: list[Axes] = []
        for place, (axes, one, group, title) in enumerate(zip(panels, spectra, groups, titles, strict=False)):
            last = place % columns == columns - 1 or place == len(spectra) - 1
            seconds.append(beside := what_is_left(axes, one, group, errors))
            axes.set_title(title)
            if place % columns == 0:
                axes.set_ylabel(label(of_lesions, errors))
            else:
                axes.tick_params(labelleft=False)
            if last:
                beside.set_ylabel("surviving (%)")
            else:
                beside.tick_params(labelright=False)
        ends = [beside.dataLim.intervaly for beside in seconds]  # signed shares may be below 0, or above 100 %
        for axes in panels[: len(spectra)] if not errors else ():
            bounded(axes, of_lesions, errors)
        for axes in (*panels[: len(spectra)], *seconds) if errors else seconds:
            axes.set_ylim(1.05 * min(0, np.min(ends)), 1.05 * np.max(ends) if np.max(ends) > 100.5 else 100)
        looks: dict[str, dict[str, Any]] = {
            f"median {'error' if errors else 'loss'}": {"color": ERROR},
            "quartiles": {"color": ERROR, "linewidth": 5, "alpha": 0.2},
            "one trial": {"color": ERROR, "linestyle": "none", "marker": ".", "markersize": 4},
            "surviving paths": BESIDE[0],
            "gradient by surviving paths": BESIDE[1],
        }
        keys = [Line2D([], [], label=label, **look) for label, look in looks.items()]
        figure.legend(handles=keys, loc="outside lower center", ncols=abreast(list(looks), width, 5), fontsize=NOTE)
    return figure


def what_is_left(axes: Axes, spectrum: Results, lesions: Sequence[Results], errors: bool | None = None) -> Axes:
    """Draw the error by number of deleted blocks, and on a second axis the parts of paths and gradient that survive.

    Parameters
    ----------
    axes : Axes
    spectrum : of kind "paths"
    lesions : deletions in the same network
    errors : draw errors, or else losses; by default, whether each file has an accuracy

    Returns
    -------
    Axes
        The second one; a band of two standard errors over examples is drawn around the gradient's part.
    """
    left, number = of_file(spectrum), len(spectrum.coordinates["length"]) - 1
    for file in lesions:
        _check(file, number)
        by_number(axes, file, color=ERROR, errors=errors)
    most = max(int(file["deleted"].sum(axis=1).max(initial=0)) for file in lesions)
    k = np.arange(most + 1)
    beside = axes.twinx()
    for part, look in zip((left.paths, left.gradient), BESIDE, strict=True):
        beside.plot(k, 100 * part[: most + 1], **look)
    low, high = (100 * (left.gradient + sign * 2 * left.gradient_se)[: most + 1] for sign in (-1, 1))
    beside.fill_between(k, low, high, color=GRADIENT, alpha=0.2, linewidth=0)
    axes.set_xlabel("number of deleted blocks")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return beside


def _check(file: Results, number: int) -> None:
    """Refuse what is no deletion of any of the network's blocks."""
    if (change := change_of(file)).variable != "deleted":
        other = f"{file.source} has lesions of another kind ({change.label})"
        raise BadInput(f"{other}, and paths die by deletions; give deletions")
    if len(file.coordinates["block"]) != number:
        raise BadInput(
            f"{file.source} deletes among {len(file.coordinates['block'])} blocks, the paths are of {number}; "
            "measure both with the same blocks"
        )


def _same(one: Results, other: Results) -> bool:
    return one.attributes.get("checkpoint", one.source) == other.attributes.get("checkpoint")


def _named(file: Results) -> str:
    return f"{file.attributes.get('network')} ({str(file.attributes.get('checkpoint'))[:8]})"
