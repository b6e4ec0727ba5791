"""One look for every figure, and the one way to save it."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.colors import Colormap, to_hex, to_rgb
from PIL import Image

from landscape.engine.atomic import write_atomically
from landscape.errors import BadInput

__all__ = [
    "COLORS",
    "DASHES",
    "LEGEND",
    "NOTE",
    "STYLE",
    "SUFFIXES",
    "Figure",
    "abreast",
    "check_output",
    "check_width",
    "colormap",
    "looks_of",
    "save",
    "width_of",
    "wrapped",
]

LEGEND = 7  # points
NOTE = 6.5  # points; the smallest text of a figure
LETTER = 0.56  # of the size: how wide a letter is
DASHES = (4, 2)
SHOWN = 150  # dots an inch, in a notebook

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "mathtext.fontset": "dejavusans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": LEGEND,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "axes.linewidth": 0.5,
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.3,
    "ytick.minor.width": 0.3,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.4,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType: what publishers ask for
    "svg.hashsalt": "skipscape",  # else the identifiers in an SVG are drawn by lot
}

# Okabe and Ito's colours and Tol's wine, told apart by all kinds of colour vision; yellow is too faint for lines.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#882255")
MARKERS = ("", "s", "^", "D", "v", "P")  # of as many networks as there are colours; then of as many more, and so on

# The colour that a kind of network has in every figure, by what its name has first in this order.
KINDS = {
    "pre-activation|preact": COLORS[2],
    "densenet": COLORS[3],
    "vgg": COLORS[4],
    r"transformer|\bvit\b": COLORS[5],
    "plain": COLORS[0],
    "resnet|residual": COLORS[1],
}

# How light these are, by the number of layers from which on: deeper is darker.
SHADES = {80: 0.4, 40: 0.65, 0: 1.0}

# What each format would say about the clock and must not.
SUFFIXES: dict[str, dict[str, Any]] = {".pdf": {"CreationDate": None}, ".png": {}, ".svg": {"Date": None}}


class Figure(matplotlib.figure.Figure):
    """A figure that keeps this look wherever it is drawn, and that a notebook shows without pyplot."""

    def draw(self, renderer: Any) -> None:
        with matplotlib.rc_context(STYLE):  # ticks are made while drawing
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=SHOWN)
        return image.getvalue()


def check_output(path: str | os.PathLike) -> Path:
    """The path, if a figure can be saved there; `BadInput` if not."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise BadInput(
            f"a figure cannot be saved as {path.name}; let its name end in {', '.join(SUFFIXES)}, "
            "in .gif or .mp4 for a film of a training, or in .html for a page to explore"
        )
    if not path.parent.is_dir():
        raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")
    return path


def check_width(width: float, least: float = 2.0) -> float:
    """The width in inches, if a figure can be that narrow; `BadInput` if not."""
    if not least <= width <= 50:
        raise BadInput(f"a width of {width:g} inches does not hold this figure; give {least:g} to 50")
    return width


def colormap(name: str) -> Colormap:
    """A colour map by its name; `BadInput` if there is none."""
    if name not in matplotlib.colormaps:
        raise BadInput(f"there is no colour map {name!r}; take one of matplotlib's: viridis, cividis, magma, …")
    return matplotlib.colormaps[name]


def looks_of(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and marker of each network of a figure: the same in every figure, as far as can be.

    Plain networks, ResNets, pre-activation ResNets, DenseNets, VGGs and transformers have a colour of their own, which
    is darker from 40 layers on, and from 80. The first network of such a shade gets it. The others get the colours that
    are left, in their order; when all are taken, colours with a marker.

    Examples
    --------
    >>> looks_of(["ResNet-20"]) == {"ResNet-20": looks_of(["plain, 20 layers", "ResNet-20"])["ResNet-20"]}
    True
    """
    kinds = {
        name: next((_shaded(c, name) for kind, c in KINDS.items() if re.search(kind, name.lower())), None)
        for name in names
    }
    first = {color: name for name, color in reversed(kinds.items()) if color}
    left = [color for color in COLORS if color not in first]
    if first:  # rather a colour that stands for no kind
        left.sort(key=list(KINDS.values()).__contains__)
    spare = [(color, MARKERS[0]) for color in left] + list(product(COLORS, MARKERS[1:]))
    looks = {name: (color, MARKERS[0]) for color, name in first.items()}
    looks |= zip([name for name in kinds if name not in looks], cycle(spare), strict=False)
    return {name: {"color": looks[name][0], "marker": looks[name][1]} for name in kinds}


def _shaded(color: str, name: str) -> str:
    """A colour, darker for a network whose name says that it is deep."""
    depth = re.search(r"-(\d+)|(\d+) layers", name)
    layers = int(next(filter(None, depth.groups()))) if depth else 0
    shade = next(shade for least, shade in SHADES.items() if layers >= least)
    red, green, blue = (shade * part for part in to_rgb(color))
    return color if shade == 1 else to_hex((red, green, blue)).upper()


def abreast(labels: Sequence[str], width: float, most: int = 4, size: float = NOTE) -> int:
    """How many entries of a legend stand beside each other in a figure of so many inches, `size` points high."""
    points = [(LETTER * len(_seen(label)) + 5) * size for label in labels]  # 5: what stands before and between
    for number in range(min(most, len(labels)), 1, -1):
        if sum(max(column) for column in np.array_split(points, number)) <= 72 * width:
            return number
    return 1


def width_of(label: str, size: float = NOTE) -> float:
    """About how many inches a label is wide, `size` points high."""
    return LETTER * len(_seen(label)) * size / 72


def _seen(label: str) -> str:
    """What is seen of a label: of formulas no markup."""
    return re.sub(r"[$^{}]", "", label.replace(r"\times", "×"))


def wrapped(text: str, width: float, size: float = NOTE) -> str:
    """A note in as many lines as a figure of so many inches needs."""
    return textwrap.fill(text, max(20, int(72 * width / (LETTER * size))))


def save(figure: matplotlib.figure.Figure, path: str | os.PathLike, dpi: float = 300) -> None:
    """Save a figure, whole or not at all; the same figure is saved as the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Such as `ensemble.drawing.draw.draw` gives.
    path : path
        Its suffix is the format, one of `SUFFIXES`.
    dpi : float
        Pixels an inch: of a PNG, and of those parts of the others that are not lines.

    Raises
    ------
    BadInput
        The folder does not exist or cannot be written in, the suffix is unknown, or there would be far too many pixels.

    Examples
    --------
    >>> from pathlib import Path
    >>> from matplotlib.figure import Figure
    >>> save(Figure(), "empty.pdf")
    >>> Path("empty.pdf").read_bytes()[:4]
    b'%PDF'
    """
    path = check_output(path)
    if not 10 <= dpi <= 2400:
        raise BadInput(f"{dpi:g} pixels an inch make no picture; give 10 to 2400")
    # Ticks are made while drawing, so the style must hold here too.
    with write_atomically(path) as draft, matplotlib.rc_context(STYLE):
        figure.savefig(draft, format=path.suffix[1:], metadata=SUFFIXES[path.suffix], dpi=dpi)
        if path.suffix == ".png":
            _pack(draft)


def _pack(path: Path) -> None:
    """Write a PNG anew with the same pixels in fewer bytes: compressed as well as can be, and opaque where it is."""
    with Image.open(path) as image:
        opaque = image.mode != "RGBA" or image.getchannel("A").getextrema() == (255, 255)
        packed = image.convert("RGB") if opaque else image.copy()
        packed.save(path, format="PNG", optimize=True, dpi=image.info["dpi"])
