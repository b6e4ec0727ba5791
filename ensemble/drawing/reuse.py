"""Figure of what the layers of a DenseNet use."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from landscape.drawing.maps import sheet
from landscape.drawing.style import NOTE, STYLE, Figure, check_width, wrapped
from landscape.drawing.views import only
from landscape.engine.table import Results

__all__ = ["reuse"]

PARTS = (0.0, 0.35, 0.45, 1.0)  # of a scale: ends of what reads last, and of the layers


def reuse(files: Sequence[Results], *, width: float = 5.5) -> Figure:
    """Draw mean absolute weights from each source (down) to each target (across), one map a stage, on its scale.

    Where the last reader, which is no layer, has less weight throughout than any layer has, the lower part of the
    scale is its own: else it would leave few colours to the layers.
    """
    file = only(files)
    stages = file.coordinates["stage"]
    note = (
        "A layer reads from those before it; what reads last in a stage is the transition or classifier that follows. "
        "Each stage has a scale of its own"
    )
    apart = any(isinstance(_norm(weight), FuncNorm) for weight in file["weight"])
    note += ", whose lower part is of what reads last." if apart else "."
    stacked = check_width(width) < 1.2 * len(stages) + 1  # narrower, numbers run into each other
    with matplotlib.rc_context(STYLE):
        note = wrapped(note, width - 0.3)
        shape = (len(stages), 1) if stacked else (1, len(stages))
        foot = 0.12 + 0.11 * (1 + note.count("\n"))
        figure, panels, bars = sheet(width, *shape, head=0.23, foot=foot, gap=(0.34, 0.4), below=not stacked)
        for axes, bar_axes, stage, weight in zip(panels.flat, bars, stages, file["weight"], strict=True):
            bar = figure.colorbar(
                _weights(axes, weight),
                cax=bar_axes,
                orientation="vertical" if stacked else "horizontal",
                label="mean |weight|",
            )
            if isinstance(bar.norm, FuncNorm):
                last, rest = weight[-1], weight[:-1]
                ends = [np.nanmin(last), np.nanmin(rest), np.nanmax(rest)]
                bar.set_ticks(ends, labels=[f"{end:.3g}" for end in ends])
                if not stacked:  # numbers of the ends stand below the bar, not beside
                    first, _, end = bar.ax.get_xticklabels()
                    first.set_horizontalalignment("left")
                    end.set_horizontalalignment("right")
            else:
                bar.locator = MaxNLocator(nbins=5 if stacked else 3)
                bar.update_ticks()
            bar.outline.set_linewidth(0.5)
            axes.set_title(f"stage {stage}")
        for axes in panels[-1]:
            axes.set_xlabel("layer that reads")
        for axes in panels[:, 0]:
            axes.set_ylabel("layer that is read (0: input)")
        figure.text(0.5, 0.06 / figure.get_figheight(), note, ha="center", va="bottom", fontsize=NOTE)
    return figure


def _weights(axes: Axes, weight: np.ndarray) -> AxesImage:
    """(targets, sources) as a map of sources (down) over targets (across); returns it, for a colour bar."""
    n = len(weight)
    drawn = axes.imshow(weight.T, norm=_norm(weight), cmap="viridis", extent=(0.5, n + 0.5, n - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    return drawn


def _norm(weight: np.ndarray) -> Normalize:
    """A linear scale; in two parts, with a gap between, where all that reads last has less weight than any layer."""
    last, rest = weight[-1], weight[:-1]
    knots = [np.nanmin(last), np.nanmax(last), np.nanmin(rest), np.nanmax(rest)] if rest.size else []
    if not knots or not (np.diff(knots) > 0).all():
        return Normalize(np.nanmin(weight), np.nanmax(weight))
    there = (lambda values: np.interp(values, knots, PARTS), lambda colors: np.interp(colors, PARTS, knots))
    return FuncNorm(there, knots[0], knots[-1])
