"""One call for every figure: `draw` finds the function that draws such results.

A new figure is one function in one file, and its entry in `DRAWINGS`; the options that it takes are its keyword-only
parameters. What fits on one axes has a second function, in `ONTO`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from landscape.drawing.basin import basins, shares
from landscape.drawing.critical import criticals, sharpnesses_over_training
from landscape.drawing.curvature import curvature
from landscape.drawing.lines import curves, profiles
from landscape.drawing.page import contour, planes
from landscape.drawing.several import repeats, spaces
from landscape.drawing.sharpness import sharpnesses
from landscape.drawing.spectrum import densities, eigenvalues
from landscape.drawing.topology import SHOWN, shape, topology
from landscape.drawing.trainings import trainings
from landscape.drawing.trajectory import trajectories
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["DRAWINGS", "ONTO", "check_options", "draw", "drawing_of", "drawn", "key_of", "listed"]

Drawing = Callable[..., Figure]

# By kind of results, of surfaces with what they are over; a set of kinds is what one figure shows together.
DRAWINGS: dict[Hashable, Drawing] = {
    "basin": basins,
    "critical": criticals,
    "curvature": curvature,
    "density": densities,
    "eigenvalues": eigenvalues,
    "sharpness": sharpnesses,
    ("surface", "x"): profiles,
    ("surface", "repeat", "x"): profiles,
    ("surface", "y", "x"): planes,
    ("surface", "repeat", "y", "x"): repeats,
    ("surface", "z", "y", "x"): spaces,
    "trainings": trainings,
    "trajectory": trajectories,
    frozenset({"surface", "trajectory"}): trajectories,
}

# What draws on one axes the same as a whole figure does, or its main part.
ONTO: dict[Drawing, Callable[..., Axes]] = {
    basins: shares,
    criticals: sharpnesses_over_training,
    planes: contour,
    profiles: curves,
    topology: shape,
}


def draw(results: Results | Iterable[Results], *, ax: Axes | None = None, **options: Any) -> Figure | Axes:
    """Draw results as the figure that there is for their kind.

    Parameters
    ----------
    results : one, or several that one figure shows
    ax : to be drawn onto, for what fits on one axes: a surface over a plane, surfaces along a line
    **options : of the function that draws such results, see `DRAWINGS`

    Returns
    -------
    Figure, or the axes given.

    Raises
    ------
    BadInput
        No figure shows such results together, or an option does not apply to it.
    """
    files = listed(results)
    return drawn(drawing_of(files, DRAWINGS, options.get("show")), files, ax, options, ONTO)


def listed(results: Results | Iterable[Results]) -> list[Results]:
    """One or several results as a list; `BadInput` for none."""
    files = [results] if isinstance(results, Results) else list(results)
    if not files:
        raise BadInput("there are no results to draw; give one or more")
    return files


def key_of(file: Results, drawings: Mapping[Hashable, Callable]) -> str | tuple[str, ...]:
    """What stands for such results in a table of drawings: their kind, or that and what their loss is over."""
    return (file.kind, *file.dims["loss"]) if _dims_of(file.kind, drawings) else file.kind


def drawing_of(files: Sequence[Results], drawings: Mapping[Hashable, Drawing], show: object = None) -> Drawing:
    """The function that draws such results, from a table like `DRAWINGS`; `BadInput` if there is none."""
    kinds = {file.kind: file.source for file in files}
    if show in SHOWN and kinds.keys() == {"surface"}:
        return topology
    if frozenset(kinds) in drawings:
        return drawings[frozenset(kinds)]
    if len(kinds) > 1:
        each = ", ".join(f"{source} is a {kind}" for kind, source in kinds.items())
        raise BadInput(f"one figure shows one kind of results, but {each}; draw them apart")
    keys = {key_of(file, drawings): file for file in files}
    if len(keys) > 1:
        each = ", ".join(
            f"{file.source} is over ({', '.join(dims)})" for key, file in keys.items() for dims in [key[1:]]
        )
        raise BadInput(f"one figure shows surfaces over the same dimensions, but {each}; draw them apart")
    ((key, file),) = keys.items()
    if key in drawings:
        return drawings[key]
    if file.kind == "trace":
        raise BadInput(f"{file.source} holds a trace, which is a number and no figure; curvature.py prints it")
    if known := _dims_of(file.kind, drawings):
        raise BadInput(f"{file.source} is over ({', '.join(key[1:])}); surfaces are drawn over {', '.join(known)}")
    raise BadInput(f"no drawing of kind {file.kind} is known; update skipscape, or give another file")


def drawn(
    drawing: Drawing,
    files: Sequence[Results],
    ax: Axes | None,
    options: Mapping[str, object],
    onto: Mapping[Drawing, Callable[..., Axes]],
) -> Figure | Axes:
    """What a drawing function makes of results, or what its other one makes on the axes given."""
    if ax is None:
        check_options(drawing, options)
        return drawing(files, **options)
    if drawing not in onto:
        raise BadInput(f"a figure of {drawing.__name__} is drawn as a whole; leave out ax")
    check_options(onto[drawing], options)
    return onto[drawing](ax, files, **options)


def check_options(function: Callable, options: Iterable[str]) -> None:
    """See that a function has such keyword-only parameters; `BadInput` names the first that it has not."""
    parameters = signature(function).parameters.values()
    known = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    if unknown := {*options} - known:
        raise BadInput(f"--{min(unknown).replace('_', '-')} does not apply to {function.__name__}; leave it out")


def _dims_of(kind: str, drawings: Iterable[Hashable]) -> list[str]:
    """What results of a kind may be over, such as "(y, x)"; empty where that does not matter."""
    return [f"({', '.join(key[1:])})" for key in drawings if isinstance(key, tuple) and key[0] == kind]
