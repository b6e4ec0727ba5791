"""Pages of loss surfaces to explore: reliefs that turn together on one scale, with a player of paths; and lines."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files as resources

import numpy as np
from matplotlib.colors import LogNorm

from landscape.drawing.animation import pace
from landscape.drawing.document import document, packed, plain, provenance
from landscape.drawing.film import INKS, known, moments_of, off_plane
from landscape.drawing.interactive import examples, line, path, relief
from landscape.drawing.scale import common_norm, limits_of
from landscape.drawing.trajectory import plane_of
from landscape.drawing.views import metrics_of, shown
from landscape.drawing.words import loss_label, split_of, titles_of
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["line_page", "surface_page"]

HELP = "Point at the surface for its numbers; drag to turn it, scroll to zoom."
UNKNOWN, MEASURED, INTERPOLATED = 0, 1, 2
_PLAYER = """<div class="controls">
<button id="play">play</button>
<label>moment <input type="range" id="moment" min="0" max="{}" step="1"></label>
<output id="clock"></output>
<span class="note">Space plays, ← and → step.</span>
</div>"""


def surface_page(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    cmap: str = "viridis",
    variable: str = "loss",
    fps: float | None = None,
    seconds: float | None = None,
) -> str:
    """A page of reliefs side by side, on one scale and under one camera.

    Parameters
    ----------
    files : surfaces over (y, x); over (repeat, y, x) or (z, y, x), of which one plane is shown at a time; and the paths
        of trainings (kind "trajectory") in the plane of one of them, in any order
    titles : one a surface; by default the names of the networks
    vmin, vmax, linear : the scale that the page opens with; see `common_norm`
    cmap : name of a colour map
    variable : which loss, where a file has several: test_loss, mse, objective, …
    fps, seconds : of the player of the paths, see `landscape.drawing.animation.pace`

    Returns
    -------
    str
        See `landscape.drawing.document.save_page`.

    Raises
    ------
    BadInput
        A path in the plane of no surface here, or losses of different kinds.
    """
    surfaces = [file for file in files if file.kind != "trajectory"]
    on = _paths(surfaces, [file for file in files if file.kind == "trajectory"], variable)
    player, players = _player(on, fps, seconds)
    titles = titles_of(surfaces, titles)
    planes = [_planes(shown(file, variable)) for file in surfaces]
    for file in surfaces:
        if min(file["loss"].shape[-2:]) < 2:
            raise BadInput(f"{file.source} is {file['loss'].shape[-2:]} points; a relief needs 2 or more each way")
    label = loss_label([shown(file, variable) for file in surfaces])
    panels, body = [], []
    for i, (surface, title, layers) in enumerate(zip(surfaces, titles, planes, strict=True)):
        figure = relief([layer for _, layer in layers], label, cmap=cmap, opacity=0.85 if on[i] else 1.0)
        paths = on[i]
        for each, file in zip(players[i], paths, strict=True):
            each["first"] = len(figure.data)
            figure.add_traces(path(file, each["color"], each["name"]))
        panels.append({"figure": plain(figure), "values": [_values(layer, variable) for _, layer in layers]})
        panels[-1]["metrics"] = [_metrics(layer, variable) for _, layer in layers]
        panels[-1]["name"] = (
            variable if variable in np.atleast_1d(surface.attributes.get("metrics", [])).tolist() else "loss"
        )
        panels[-1]["paths"] = players[i]
        body += _panel(i, title, _notes(layers, paths), [surface, *paths], [each["color"] for each in players[i]])
    losses = [layer["loss"][layer.known] for layers in planes for _, layer in layers]
    names = max(([name for name, _ in layers] for layers in planes), key=len)
    return _page(f"Loss surface: {'; '.join(titles)}", panels, body, _scales(losses, vmin, vmax, linear), names, player)


def line_page(
    files: Sequence[Results],
    *,
    titles: Sequence[str] | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
    linear: bool = False,
    variable: str = "loss",
) -> str:
    """A page of losses along one direction, with the error on a second axis.

    Parameters
    ----------
    files : surfaces over (x,) or (repeat, x)
    titles, vmin, vmax, linear, variable : as for `surface_page`
    """
    titles = titles_of(files, titles)
    lines = [_planes(shown(file, variable)) for file in files]
    figure = line(lines, titles, loss_label([layer for layers in lines for _, layer in layers]), variable)
    losses = [layer["loss"][layer.known] for layers in lines for _, layer in layers]
    notes = [f"{title}: {note}" for title, layers in zip(titles, lines, strict=True) for note in _notes(layers, [])]
    body = _panel(0, None, notes, files)
    scales = _scales(losses, vmin, vmax, linear)
    return _page(f"Loss along a line: {'; '.join(titles)}", [{"figure": plain(figure)}], body, scales, [])


def _page(
    title: str, panels: list, body: list[str], scales: dict, layers: list[str], player: dict | None = None
) -> str:
    picks = "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(layers))
    pick = f'<label>plane <select id="layer">{picks}</select></label>' * (len(layers) > 1)
    turn = '<span><button id="above">from above</button> <button id="side">from the side</button></span>'
    controls = [
        '<div class="controls">',
        "<fieldset>",
        *(f'<label><input type="radio" name="scale" value="{kind}"> {kind}</label>' for kind in ("log", "linear")),
        "</fieldset>",
        '<label>clip above <input type="range" id="clip" min="0" max="1" step="0.005">',
        '<output id="level"></output></label>',
        pick,
        turn * ("scene" in panels[0]["figure"]["layout"]),
        "</div>",
        *(_PLAYER.format(len(player["moments"]) - 1) for player in [player] if player),
        '<div class="panels">',
        *body,
        "</div>",
    ]
    names = ["surface.js", "film.js"] if player else ["surface.js"]
    script = "\n".join((resources(__package__) / name).read_text("utf-8") for name in names)
    data = {"panels": panels, "scales": scales, **({"player": player} if player else {})}
    return document(title, "\n".join(controls), data, script)


def _player(on: Sequence[Sequence[Results]], fps: float | None, seconds: float | None) -> tuple[dict | None, list]:
    """What the page's player shows, the moments of all paths; and of each surface what is told of its paths."""
    paths = [file for each in on for file in each]
    if not paths:
        if (fps, seconds) != (None, None):
            raise BadInput("--fps and --seconds are of paths of trainings, and none is here; leave them out")
        return None, [[] for _ in on]
    moments, names = moments_of(paths), titles_of(paths)
    player = {
        "moments": [f"{moments.name} {time:g}" for time in moments.times],
        "fps": pace(len(moments.times), fps, seconds),
    }
    players: list[list[dict]] = []
    i = 0
    for mine in on:
        players.append([])
        for j, file in enumerate(mine):
            losses = {"loss": f"{split_of([file])}loss", "test_loss": "test loss"}
            players[-1].append(
                {
                    "name": names[i] if len(mine) > 1 else None,
                    "color": INKS[j % len(INKS)],
                    "numbers": moments.numbers[i].tolist(),
                    "known": [[label, packed(known(file, each))] for each, label in losses.items() if each in file],
                    "off": packed(off_plane(file)),
                }
            )
            i += 1
    return player, players


def _panel(
    i: int, title: str | None, notes: Sequence[str], files: Sequence[Results], inks: Sequence[str] = ()
) -> list[str]:
    return [
        f'<section class="panel{" relief" * (title is not None)}">',
        "" if title is None else f'<h2>{escape(title)}</h2><p class="readout" id="readout-{i}">{HELP}</p>',
        *(f'<p class="path" id="path-{i}-{j}" style="border-color: {ink}"></p>' for j, ink in enumerate(inks)),
        f'<div class="plot" id="plot-{i}"></div>',
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        provenance(files),
        "</section>",
    ]


def _planes(file: Results) -> list[tuple[str, Results]]:
    """A surface's planes or lines, with their names: the one, or those of its repeats or of a space."""
    over = file.dims["loss"][0]
    if over not in ("repeat", "z"):
        return [("", file)]
    name = "γ = {:.4g}" if over == "z" else "directions {}"
    return [(name.format(place), file.isel(**{over: i})) for i, place in enumerate(file.coordinates[over])]


def _paths(surfaces: Sequence[Results], paths: Sequence[Results], variable: str) -> list[list[Results]]:
    """Of each surface the paths in its plane."""
    on: list[list[Results]] = [[] for _ in surfaces]
    for file in paths:
        mine = [i for i, s in enumerate(surfaces) if s.dims["loss"] == ("y", "x") and plane_of(s) == plane_of(file)]
        if not mine:
            raise BadInput(
                f"no surface here is in the plane of {file.source}, their checkpoint or direction_digest differ; "
                "give the surface measured along the directions of that path"
            )
        loss = surfaces[mine[0]].attributes["loss"]
        if variable != "loss" or loss != file.attributes["loss"]:
            one = loss if variable == "loss" else variable
            raise BadInput(
                f"the path {file.source} is of {file.attributes['loss']}, the surface of {one}; give one loss"
            )
        on[mine[0]].append(file)
    return on


def _values(layer: Results, variable: str) -> dict:
    """What the page tells of each point beside its loss."""
    interpolated = layer.variables.get("interpolated", np.zeros(layer["done"].shape, bool))
    state = np.where(layer["done"], MEASURED, np.where(interpolated, INTERPOLATED, UNKNOWN))
    values = {"loss_se": layer["loss_se"], "accuracy": layer.accuracy(), "examples": examples(layer, variable)}
    return {name: packed(array.ravel()) for name, array in (values | {"state": state}).items()}


def _metrics(layer: Results, variable: str) -> dict:
    """Each metric at each point, and its standard error."""
    return {name: [packed(part.ravel()) for part in parts] for name, parts in metrics_of(layer, variable).items()}


def _notes(layers: Sequence[tuple[str, Results]], paths: Sequence[Results]) -> list[str]:
    """What a reader must know to read the picture right."""
    lost = sum(int((layer.known & ~np.isfinite(layer["loss"])).sum()) for _, layer in layers)
    left = sum(int((~layer.known).sum()) for _, layer in layers)
    parts = [layer["interpolated"].mean() for _, layer in layers if "interpolated" in layer.variables]
    points = sum(layer["done"].size for _, layer in layers)
    notes = []
    if lost:
        notes.append(f"holes: the loss of {lost} of {points} points is not finite")
    if left:
        notes.append(f"holes: {left} of {points} points are not measured yet")
    if any(parts):
        notes.append(f"{100 * np.mean(parts):.0f} % of the points are interpolated")
    for file in paths:
        captured = 100 * file.attributes["captured"]
        notes.append(
            f"{captured:.3g} % of the path's variance lies in this plane. The path leaves it, so the loss of a "
            "checkpoint is not that of the surface where it is drawn. The surface lies in the plane through θ*, the "
            "network at (0, 0)."
        )
    return notes


def _scales(losses: Sequence[np.ndarray], vmin: float | None, vmax: float | None, linear: bool) -> dict:
    """Ends of both scales, and how far the upper one can go; the ends given are those of the scale asked for."""
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    scales: dict = {}
    for kind, ends in {"log": (None, None) if linear else (vmin, vmax), "linear": (vmin, vmax)}.items():
        norm = common_norm(losses, *ends, linear=kind == "linear")
        if kind == "linear" or isinstance(norm, LogNorm):  # of losses below 0 there is no log scale
            low, high = limits_of(norm)
            most = max(high, finite.max(initial=low))
            scales[kind] = {"low": float(low), "high": float(high), "most": float(most)}
    return {"first": "linear" if linear or "log" not in scales else "log", "kinds": scales}
