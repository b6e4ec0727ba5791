"""What figures say of their files: titles, names of axes and scales, and notes of what is left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from landscape.analysis.labels import NORMALIZATIONS, network_label
from landscape.drawing.scale import labels_of, limits_of
from landscape.drawing.surface import MISSING
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = [
    "COMPONENTS",
    "axis_label",
    "clipped",
    "interpolated",
    "loss_label",
    "notes_of",
    "split_of",
    "titles_of",
    "unit_of",
]

COMPONENTS = "principal components of the path"  # how a file says that its plane is that of a path's own components
TELLING = {  # what two files of one checkpoint may differ in, and how a title says it
    "split": "{}",
    "loss": "{}",
    "align": "aligned by {}",
    "batchnorm": "BatchNorm {}",
    "dtype": "{}",
    "seed": "seed {}",
}
UNITS = {"cross_entropy": "nats per example", "mse": "mean squared error"}


def titles_of(
    files: Sequence[Results], titles: Sequence[str] | None = None, shared: Sequence[str] | None = None
) -> list[str]:
    """What each file's network is called in a figure, with what tells two files of one network apart.

    Parameters
    ----------
    files : of a figure
    titles : one a file, which are taken as they are
    shared : attributes; files that have all of them in common are told apart by nothing. By default every file is.
    """
    if titles is not None and len(titles) != len(files):
        raise BadInput(f"{len(titles)} titles were given for {len(files)} files; give one a file")
    if titles:
        return list(titles)
    names = [network_label(file.network) for file in files]
    one = [i if shared is None else _values(file, shared) for i, file in enumerate(files)]
    labels = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        same = [i for i, each in enumerate(names) if each == name]
        for i, more in zip(same, _apart([files[i] for i in same], [one[i] for i in same]), strict=True):
            labels[i] = f"{name} ({', '.join(more)})" if more else name
    return labels


def _apart(files: Sequence[Results], groups: Sequence) -> list[list[str]]:
    """For each of some files of one title, what tells it from those of other groups."""
    labels: list[list[str]] = [[] for _ in files]

    def settled() -> bool:  # no two groups are told alike
        pairs = {(tuple(each), group) for each, group in zip(labels, groups, strict=True)}
        return len({each for each, _ in pairs}) == len(pairs)

    same = len({file.attributes.get("checkpoint") for file in files}) == 1
    for name, form in TELLING.items() if same else ():
        values = [str(file.attributes.get(name, "")) for file in files]
        if not settled() and len(set(values)) > 1:
            for each, value in zip(labels, values, strict=True):
                each.append(form.format(value) if value else f"not {form.partition(' ')[0]}")
    if settled():
        return labels
    names = [[file.path.stem if file.path else str(number)] for number, file in enumerate(files, 1)]
    labels = [names[groups.index(group)] for group in groups]  # a group is called by its first file
    return labels if settled() else [[file.source] for file in files]


def _values(file: Results, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(file.attributes.get(name)) for name in names)


def split_of(files: Sequence[Results]) -> str:
    """ "training ", "test ", or nothing if the files differ."""
    split = {str(file.attributes.get("split")) for file in files}
    return {"train": "training ", "test": "test "}.get(split.pop(), "") if len(split) == 1 else ""


def loss_label(files: Sequence[Results], scale: str = "") -> str:
    """Such as "training loss (nats per example, log scale)"; of a metric "training KL divergence (nats)"."""
    losses = {str(file.attributes.get("loss", "cross_entropy")): file.unit for file in files}
    if len(losses) > 1:
        raise BadInput(f"losses of different kinds ({', '.join(sorted(losses))}) have no common scale; draw them apart")
    ((loss, unit),) = losses.items()
    name = "loss"
    if all(loss in np.atleast_1d(file.attributes.get("metrics", [])).tolist() for file in files):
        about = files[0].metadata.get("loss", {})
        name, unit = _metric_name(str(about.get("long_name", loss))), str(about.get("units", "")).removeprefix("1")
    elif unit in ("nats", loss):  # of no unit, the name tells what is measured
        unit = UNITS.get(loss, loss if loss.isidentifier() or " " in loss else "")
    details = ", ".join(filter(None, [unit, scale.removeprefix(", ")]))
    return f"{split_of(files)}{name}" + (f" ({details})" if details else "")


def _metric_name(said: str) -> str:
    """What an axis calls a metric: its long name without what all metrics share, or what it is compared with."""
    said = said.removeprefix("test split: ").removesuffix(", mean per example")
    return re.split(" (?:from|with) the unchanged network", said)[0]


def unit_of(files: Sequence[Results]) -> str:
    """What the losses are measured in, "nats" say; of files of different losses all that they are."""
    return " or ".join(dict.fromkeys(file.unit for file in files))


def axis_label(letter: str, file: Results, room: float = np.inf) -> str:
    """Name of an axis, with what it is measured in where that is known and there is room, in inches."""
    at = "αβγ".index(letter)
    directions = str(file.attributes.get("directions", ""))
    if directions == COMPONENTS and at < 2:
        return f"{letter} (component {at + 1})" if room > 1 else letter
    for attribute, form in {"to": "1: {}", "gates": "gate of {}"}.items():
        names = np.atleast_1d(file.attributes.get(attribute, []))
        if len(names) > at:
            detail = form.format(names[at])
            return f"{letter} ({detail})" if room > 0.3 + 0.065 * len(detail) else letter
    kinds = [kind for kind in NORMALIZATIONS.values() if kind in directions and kind != NORMALIZATIONS["none"]]
    return f"{letter} ({kinds[0]})" if kinds and room > 1.4 else letter


def notes_of(
    files: Sequence[Results], losses: Sequence[np.ndarray], norm: Normalize, beyond: str, what: str = "losses"
) -> list[Artist]:
    """What the ends of the scale leave out, and what has no colour on it, as entries of a legend."""
    missing = {
        "not finite": any((file.known & ~np.isfinite(file["loss"])).any() for file in files),
        "not measured yet": not all(file.known.all() for file in files),
    }
    notes = [Patch(label=name, linewidth=0.4, **MISSING[name]) for name, there in missing.items() if there]
    remarks = clipped(
        losses, norm, beyond, f"{what} up to {{}} are drawn as {{}}", f"{what} down to {{}} are drawn as {{}}"
    )
    return notes + [Line2D([], [], linestyle="none", label=text) for text in remarks + interpolated(files)]


def clipped(losses: Sequence[np.ndarray], norm: Normalize, beyond: str, above: str, below: str) -> list[str]:
    """What is said of losses beyond the ends of a scale: the farthest of them, and the end."""
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    ends = limits_of(norm)
    high = [above.format(*labels_of([finite.max(), ends[1]]))] if beyond in ("max", "both") else []
    return high + ([below.format(*labels_of([finite.min(), ends[0]]))] if beyond in ("min", "both") else [])


def interpolated(files: Sequence[Results]) -> list[str]:
    """How much of what is drawn was not measured."""
    parts = [100 * file["interpolated"].mean() for file in files if "interpolated" in file.variables]
    if not any(parts):
        return []
    least, most = f"{min(parts):.0f}", f"{max(parts):.0f}"
    return [f"{least if least == most else f'{least} to {most}'} % of the points are interpolated"]
