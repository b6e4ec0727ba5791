"""Figure of how hard the identity is to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.ticker import ScalarFormatter

from ensemble.identity import best
from landscape.drawing.style import DASHES, LEGEND, NOTE, STYLE, Figure, abreast, check_width, looks_of, wrapped
from landscape.drawing.views import only
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["identity"]


def identity(files: Sequence[Results], *, titles: Sequence[str] | None = None, width: float = 5.5) -> Figure:
    """Draw the error of networks that regress their input, over their depth, each at its best learning rate.

    Parameters
    ----------
    files : one file of kind "identity"
    titles : one a kind of network; by default their names
    width : of the figure, in inches
    """
    file = only(files)
    names = list(titles or file.coordinates["network"])
    if len(names) != len(file.coordinates["network"]):
        raise BadInput(f"{len(names)} titles for {len(file.coordinates['network'])} kinds of network; give one each")
    error = best(np.where(file["done"], file["error"], np.nan))  # (network, depth, seed)
    depth = file.coordinates["depth"]
    with matplotlib.rc_context(STYLE):
        figure = Figure((check_width(width), 2.5), layout="constrained")
        axes = figure.subplots()
        for name, values in zip(names, error, strict=True):
            color = looks_of(names)[name]["color"]
            plain = name.startswith("plain")
            line: dict[str, Any] = {"dashes": DASHES} if plain else {}
            axes.plot(depth, np.exp(np.log(values).mean(axis=1)), color=color, label=name, **line)
            axes.plot(
                np.repeat(depth, values.shape[1]), values.ravel(), "o", color=color, markersize=2.6, mew=0, alpha=0.6
            )
        axes.axhline(1, color="0.3", linewidth=0.8, linestyle=":", zorder=0, label="an output of 0")
        axes.set(xscale="log", yscale="log", xlabel="depth (blocks)", ylabel="squared error, relative")
        axes.set_xticks(depth)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=abreast(labels, width, 3, LEGEND))
        rates = len(file.coordinates["learning_rate"])
        note = (
            f"Networks are trained by {file.attributes['steps']} steps of Adam, at the best of {rates} learning rates. "
            "Points are seeds, lines their geometric means."
        )
        figure.supxlabel(wrapped(note, width - 0.3), fontsize=NOTE)
    return figure
