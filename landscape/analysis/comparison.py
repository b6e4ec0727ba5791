"""What results files say of networks, in numbers, with intervals over repeats, and where two networks differ.

The numbers of a file are those of `landscape.analysis.numbers`. Files of one checkpoint are one network. What
was measured alike (kind, data, axes, directions) is one part of the table: there, the repeats in a file and
files with different seeds are pooled, and networks are set against each other.

Intervals hold 95 %, by Student's t or Welch's for a difference: over directions or seeds of measuring, not over
trainings. Losses span decades: their intervals are those of the logarithms, their means geometric, and two
networks differ by a ratio. Where a number cannot lie (a share above 100 %), the interval does not reach. Of counts
and shares an interval is approximate: repeats that agree leave it no width.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from landscape.analysis.geometry import difference, interval
from landscape.analysis.labels import network_label
from landscape.analysis.numbers import KINDS, Levels, Row, changed, noiseless
from landscape.analysis.tables import Comparison, Estimate, Line
from landscape.engine.table import Results, read
from landscape.errors import BadInput
from landscape.log import note

__all__ = ["Comparison", "Estimate", "Line", "compare"]

NONE = float("nan")


def compare(
    results: Sequence[Results | str | os.PathLike], *, loss_level: float | None = None, error_level: float = 50.0
) -> Comparison:
    """Numbers of networks side by side.

    Parameters
    ----------
    results : sequence of Results, or paths of their files
        Of the kinds in `KINDS`; others are left out if there are any of these. A warning says which, and what is
        missing or unknown in the rest.
    loss_level : float, optional
        Loss below which a basin lies, in the unit of the loss; by default that of guessing, ln(classes).
    error_level : float
        Error below which a basin lies, in percent.

    Returns
    -------
    Comparison
        Its text is the table; it has ``to_csv()`` and ``to_latex()``.

    Raises
    ------
    BadInput
        None is of a known kind, or two are the same repeat of the same measurement.

    Examples
    --------
    >>> import torch
    >>> import skipscape as ss
    >>> evaluate = ss.Evaluator(torch.nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> table = compare([ss.surface(evaluate, x=(-1, 1, 5), y=(-1, 1, 5), quiet=True)])
    >>> len(table.to_csv().splitlines()) > 1
    True
    """
    levels = Levels(loss_level, error_level)
    if not (math.isfinite(levels.loss or 0) and 0 < levels.error <= 100):
        raise BadInput("--loss-level is a finite loss, --error-level more than 0 and at most 100 percent")
    files = [each if isinstance(each, Results) else read(each) for each in results]
    titles: dict[str, str] = {}
    rows: dict[tuple[str, str, str], dict[str, list[Row]]] = {}
    drawn: dict[tuple, Results] = {}
    for file in _usable(files):
        network, part = file.attributes["checkpoint"], _part(file)
        titles[network] = network_label(file.attributes["network"])
        twin = drawn.setdefault((part, network, _drawn(file)), file)
        if twin is not file:
            raise BadInput(
                f"{twin.source} and {file.source} are one measurement, not two repeats: {_told(file)}; leave one out"
            )
        for row in KINDS[file.kind](file, levels):
            rows.setdefault((part, row.name, row.unit), {}).setdefault(network, []).append(row)
        _warn(file)
    parts = list(dict.fromkeys(part for part, *_ in rows))
    # A network's files may add a row to a part that others began.
    lines = [_line(*key, rows[key], list(titles)) for key in sorted(rows, key=lambda key: parts.index(key[0]))]
    names = list(titles.values())
    unique = (name if names.count(name) == 1 else f"{name} {network[:7]}" for network, name in titles.items())
    return Comparison(tuple(unique), lines)


def _usable(files: list[Results]) -> list[Results]:
    """Files of known kinds; a warning tells of the others."""
    known = [file for file in files if file.kind in KINDS]
    for file in files:
        if file.kind not in KINDS:
            other = f"{file.source} is of kind {file.kind}; there are numbers of {', '.join(KINDS)}"
            if not known:
                raise BadInput(other)
            note(f"{other}: left out")
    return known


def _warn(file: Results) -> None:
    """Of points that are missing, and of noise that is unknown."""
    if file.kind == "surface" and noiseless(file):
        note(f"{file.source}: the noise of its losses is unknown, so minima and roughness above it are left out")
    if missing := (~file.known).sum():
        note(f"{file.source}: {missing} of {file['done'].size} points are not measured yet")


def _part(results: Results) -> str:
    """What was measured, as the heading of a part: alike for files whose numbers can be compared."""
    a = results.attributes
    split = {"train": "training data", "test": "test data"}.get(a["split"], a["split"])
    conditions = [f"{results.kind} on {a['data']}", *filter(None, [split])]
    if a["loss"] != "cross_entropy":
        conditions.append(a["loss"])
    for name in ("x", "y", "z"):
        if name in results.coordinates:
            c = results.coordinates[name]
            conditions.append(f"{name} {c[0]:g} … {c[-1]:g} ({c.size} points)".replace("-", "−"))
    if results.kind == "lesion":
        conditions.append(_trials(results))
    if "hessian_parameters" in a:
        conditions.append(f"parameters {a['hessian_parameters']}")
    if "chosen_parameters" in a:
        conditions.append(f"parameters {a['chosen_parameters']}")
    if "directions" in a:
        conditions.append(a["directions"].removesuffix("; parameters of one dimension not moved"))  # as always
    if "align" in a:
        conditions.append(f"aligned by {a['align']}")
    if a.get("batchnorm", "frozen") != "frozen":
        conditions.append(f"BatchNorm {a['batchnorm']}")
    return ", ".join(conditions)


def _trials(results: Results) -> str:
    """Which trials a lesion table has."""
    number, name = changed(results)
    sizes, counts = np.unique(number[number > 0], return_counts=True)
    blocks = len(results.coordinates["block"])
    every = np.array([n == math.comb(blocks, k) for k, n in zip(sizes.tolist(), counts.tolist(), strict=True)], bool)
    if every.all() and "{}" in name and "swaps" not in results:
        return "every set of blocks"
    drawn = np.unique(counts[~every])  # the others are all that there are
    same = f"{drawn[0]} trials" if drawn.size == 1 and (counts <= drawn[0]).all() else "trials"
    return f"{same} of each number" if "{}" in name else same


def _drawn(results: Results) -> object:
    """What chance chose: two files of a measurement that have this in common are no repeats."""
    a = results.attributes
    if results.kind == "lesion":
        return b"".join(results[name].tobytes() for name, dims in results.dims.items() if dims == ("trial", "block"))
    if a.get("directions", "random").startswith("random"):
        return int(a["seed"])
    return a["direction_digest"]


def _told(results: Results) -> str:
    if results.kind == "lesion":
        return "both have the same lesions"
    drawn = _drawn(results)
    return f"both have seed {drawn}" if isinstance(drawn, int) else "both go along the same directions"


def _line(part: str, name: str, unit: str, rows: dict[str, list[Row]], networks: list[str]) -> Line:
    """The files' rows of one name, pooled network by network."""
    pooled = {network: _pool(of_network) for network, of_network in rows.items()}
    geometric = all(row.geometric and not np.any(np.less_equal(row.values, 0)) for row in pooled.values())
    estimates = tuple(_estimate(pooled[network], geometric) if network in pooled else None for network in networks)
    both = len(networks) == len(pooled) == 2
    apart = _difference(pooled[networks[0]], pooled[networks[1]], geometric) if both else None
    if geometric and any(e.repeats > 1 for e in estimates if e):
        name += ", geometric mean"
    return Line(part, name, unit, geometric, estimates, apart)


def _pool(rows: list[Row]) -> Row:
    """Rows of several files as one; what does not vary over repeats becomes one value."""
    values = np.concatenate([np.asarray(row.values, float) for row in rows])
    censored = np.concatenate([row.censored if len(row.censored) else np.zeros(len(row.values)) for row in rows])
    if not rows[0].repeated:
        there = values[~np.isnan(values)]
        values, censored = np.array([there.mean() if there.size else NONE]), censored[:1]
    return rows[0]._replace(values=values, censored=censored.astype(bool) & ~np.isnan(values))


def _estimate(row: Row, geometric: bool) -> Estimate:
    counts = _counts(row)
    if np.isinf(row.values).any():
        return Estimate(math.inf, NONE, NONE, *counts)
    geometric = geometric and counts[0] > 1  # of one value, the mean is that to the bit
    mean, low, high, _ = interval(np.log(row.values) if geometric else row.values)
    if geometric:
        mean, low, high = np.exp([mean, low, high])
    low, high = np.clip([low, high], row.least, row.most)
    if np.any(row.censored) and not math.isnan(low):
        high = math.inf
    return Estimate(float(mean), float(low), float(high), *counts)


def _difference(first: Row, second: Row, geometric: bool) -> Estimate:
    counts = [a + b for a, b in zip(_counts(first), _counts(second), strict=True)]
    below, above = np.any(second.censored), np.any(first.censored)  # where the true difference may be far off
    if (below and above) or np.isinf([*first.values, *second.values]).any():
        return Estimate(NONE, NONE, NONE, *counts)
    one, other = (np.log(row.values) if geometric else row.values for row in (first, second))
    mean, low, high, _ = difference(one, other)
    if not math.isnan(low):
        low, high = (-math.inf if below else low), (math.inf if above else high)
    if geometric:
        mean, low, high = np.exp([mean, low, high])
    return Estimate(float(mean), float(low), float(high), *counts)


def _counts(row: Row) -> tuple[int, int, int]:
    """Values, those that are lower bounds, and those that do not exist."""
    missing = int(np.isnan(row.values).sum())
    return len(row.values) - missing, int(np.sum(row.censored)), missing
