"""One call for every figure and page, of surfaces and of lesions: `draw` finds the function for such results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ensemble.drawing.attribution import interactions, values
from ensemble.drawing.depth import resilience
from ensemble.drawing.flow import flows
from ensemble.drawing.identity import identity
from ensemble.drawing.interaction_network import network
from ensemble.drawing.lesions import blocks, lesions
from ensemble.drawing.page import lesion_page
from ensemble.drawing.paths import paths
from ensemble.drawing.redundancy import redundancies
from ensemble.drawing.reuse import reuse
from ensemble.drawing.stream import streams
from ensemble.drawing.surviving import survivors
from ensemble.drawing.verdicts import verdicts
from landscape.drawing import drawings as surfaces
from landscape.drawing.drawings import Drawing, check_options, drawn, key_of, listed
from landscape.drawing.html import line_page, surface_page
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["DRAWINGS", "ONTO", "PAGES", "draw", "drawing_of", "page"]

DRAWINGS: dict[Hashable, Drawing] = {  # see `landscape.drawing.drawings.DRAWINGS`
    **surfaces.DRAWINGS,
    "claim": verdicts,
    "flow": flows,
    "identity": identity,
    "lesion": lesions,
    "paths": paths,
    "redundancy": redundancies,
    "reuse": reuse,
    "stream": streams,
    frozenset({"lesion", "paths"}): survivors,
}

ONTO: dict[Drawing, Callable[..., Axes]] = {**surfaces.ONTO, lesions: blocks}

PAGES: dict[Hashable, Callable[..., str]] = {
    "lesion": lesion_page,
    ("surface", "x"): line_page,
    ("surface", "repeat", "x"): line_page,
    ("surface", "y", "x"): surface_page,
    ("surface", "repeat", "y", "x"): surface_page,
    ("surface", "z", "y", "x"): surface_page,
    "trajectory": surface_page,
}


def draw(
    results: Results | Iterable[Results], *, ax: Axes | None = None, by_depth: bool = False, **options: Any
) -> Figure | Axes:
    """Draw results as the figure that there is for their kind.

    Parameters
    ----------
    results : Results, or several
        Several are shown in one figure.
    ax : matplotlib Axes, optional
        Where to draw what fits on one axes: a surface over a plane, surfaces along a line, or single deletions.
    by_depth : bool
        Of single deletions in networks of several depths, whether to draw what they cost over depth.
    **options
        Of the function that draws such results, see `DRAWINGS`.

    Returns
    -------
    Figure or Axes
        A new figure, or the axes that were given.

    Raises
    ------
    BadInput
        No figure shows such results together, or an option does not apply to it.

    Examples
    --------
    >>> import torch
    >>> import skipscape as ss
    >>> evaluate = ss.Evaluator(torch.nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> figure = draw(ss.surface(evaluate, x=(-1, 1, 5), quiet=True))
    >>> figure.axes[0].get_ylabel()
    'loss (nats per example)'
    """
    files = listed(results)
    return drawn(drawing_of(files, by_depth, options.get("show")), files, ax, options, ONTO)


def drawing_of(files: Sequence[Results], by_depth: bool = False, show: object = None) -> Drawing:
    """The function that draws such results; `BadInput` if there is none."""
    if by_depth:
        for file in files:
            if file.kind != "lesion":
                raise BadInput(f"--by-depth is for lesions, {file.source} is a {file.kind}; leave it out")
        return resilience
    drawing = surfaces.drawing_of(files, DRAWINGS, show)
    if drawing is lesions and all("interaction" in file for file in files):
        return network if show == "network" else interactions
    if drawing is lesions and any("turn" in file for file in files):
        return values
    return drawing


def page(results: Results | Iterable[Results], **options: Any) -> str:
    """Make a page to explore, one file of HTML, which `landscape.drawing.document.save_page` saves.

    Parameters
    ----------
    results : Results, or several
        Surfaces over planes, with the paths in them; or surfaces along lines; or lesions.
    **options
        Of the function that makes such a page, see `PAGES`.

    Returns
    -------
    str
        The page, with all that it needs.

    Raises
    ------
    BadInput
        No page shows such results together, or an option does not apply to it.
    """
    files = listed(results)
    keys = {key_of(file, PAGES) for file in files}
    makers = {PAGES[key] for key in keys if key in PAGES}
    if len(makers) != 1 or keys - PAGES.keys():
        each = ", ".join(f"{source} is a {kind}" for kind, source in {file.kind: file.source for file in files}.items())
        raise BadInput(
            "a page shows surfaces over planes, with the paths in them, or surfaces along lines, or lesions, "
            f"but {each}; let the name end in .pdf, .png or .svg, or make several pages"
        )
    (make,) = makers
    check_options(make, options)
    return make(files, **options)
