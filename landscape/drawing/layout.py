"""Parts of a figure, each with its place: axes in inches, a bar of colours, legends at the rim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LogNorm, Normalize

from landscape.drawing.scale import is_decade, labels_of, levels_of
from landscape.drawing.style import LEGEND, NOTE, Figure, abreast, width_of, wrapped

__all__ = ["LINE", "arranged", "colour_bar", "legend", "panel"]

LINE = 0.14  # inches of a line of a legend
CHARACTERS = 40  # that stand beside a colour bar without touching


def panel(figure: Figure, left: float, bottom: float, width: float, height: float, **how: Any) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **how)


def colour_bar(
    figure: Figure,
    norm: Normalize,
    colours: Colormap,
    levels: Sequence[float] | np.ndarray | None,
    beyond: str,
    label: str,
    **where: Any,
) -> None:
    """A colour bar of losses; where it goes is told as to matplotlib's."""
    bar = figure.colorbar(ScalarMappable(norm, colours), extend=beyond, **where)
    ticks = levels_of(norm) if levels is None else np.asarray(levels)
    crowded = len(ticks) > 9 and isinstance(norm, LogNorm)
    names = labels_of(ticks)
    if crowded and not _fit(bar.ax, np.asarray(norm(ticks)), names, bar.orientation == "horizontal"):
        names = [name if is_decade(tick) else "" for tick, name in zip(ticks, names, strict=True)]
    elif sum(map(len, names)) > CHARACTERS and not any("$" in name for name in names):
        names[1::2] = [""] * len(names[1::2])
    bar.set_ticks(list(ticks), labels=names)
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)
    bar.set_label(label)


def _fit(axes: Axes, places: np.ndarray, names: Sequence[str], across: bool) -> bool:
    """Whether numbers at places, from 0 to 1, of a bar stand apart."""
    box = axes.get_window_extent()
    inches = places * (box.width if across else box.height) / axes.figure.dpi
    sizes = np.array([width_of(name) if across else NOTE / 72 for name in names])
    return bool((np.diff(inches) > (sizes[1:] + sizes[:-1]) / 2 + 0.07).all())


def legend(figure: Figure, where: str, handles: Sequence[Artist]) -> int:
    """A legend at the rim, in as many lines as its entries need; how many these are."""
    size = NOTE if "lower" in where else LEGEND
    beside, lines = arranged(handles, figure.get_figwidth(), size)
    if handles:
        room: dict[str, Any] = {"loc": where, "borderpad": 0.1, "columnspacing": 1.4, "handletextpad": 0.6}
        figure.legend(handles=list(handles), ncols=beside, fontsize=size, **room)
    return lines


def arranged(handles: Sequence[Artist], width: float, size: float = NOTE, most: int = 4) -> tuple[int, int]:
    """How many entries of a legend stand beside each other, and in how many lines; too long ones are wrapped."""
    if not handles:
        return 1, 0
    for handle in handles:
        handle.set_label(wrapped(str(handle.get_label()), width - 0.4, size))
    labels = [str(handle.get_label()) for handle in handles]
    beside = abreast(labels, width, most, size)
    more = [label.count("\n") for label in labels]
    return beside, -(-len(handles) // beside) + (sum(more) if beside == 1 else max(more))
