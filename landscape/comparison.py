"""What results files say of networks, in numbers, with intervals over repeats, and where two networks differ.

A kind of results is one function from a file to `Row`s, see `KINDS`. Files of one checkpoint are one network. What
was measured alike (kind, data, axes, directions) is one part of the table: there, the repeats in a file and
files with different seeds are pooled, and networks are set against each other.

Intervals hold 95 %, by Student's t or Welch's for a difference: over directions or seeds of measuring, not over
trainings. Losses span decades: their intervals are those of the logarithms, their means geometric, and two
networks differ by a ratio. Where a number cannot lie (a share above 100 %), the interval does not reach. Of counts
and shares an interval is approximate: repeats that agree leave it no width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from landscape.errors import BadInput
from landscape.geometry import barrier, basin, centre, convex_fraction, difference, interval, loss_range, roughness
from landscape.persistence import minima
from landscape.reduced import differences
from landscape.table import Results

__all__ = ["KINDS", "Comparison", "Estimate", "Levels", "Line", "Row", "compare", "curvature", "lesion", "surface"]

NONE = float("nan")
ROUNDING = 1e-6  # of a loss in single precision, relative
INDEFINITE = 0.01  # of λ_max: a negative λ_min that is larger is no rounding, and no flat direction


class Levels(NamedTuple):
    """Levels that basins lie below.

    Attributes
    ----------
    loss : in units of the loss; None for that of guessing, ln(classes), if the loss is the cross entropy
    error : percent
    """

    loss: float | None = None
    error: float = 50.0


class Row(NamedTuple):
    """A number of one results file.

    Attributes
    ----------
    name, unit : what it is
    values : one for each repeat in the file; NaN where the number does not exist
    censored : for each, whether the number is at least this; empty if none is
    least, most : ends of the possible values
    geometric : whether it spans decades, so that means are taken of the logarithms if all values are positive
    repeated : whether repeats differ in it; what is measured at the checkpoint itself is known once, and copies
        make no interval
    """

    name: str
    unit: str
    values: Sequence[float]
    censored: Sequence[bool] = ()
    least: float = 0.0
    most: float = math.inf
    geometric: bool = False
    repeated: bool = True


class Estimate(NamedTuple):
    """A number of a network, or how two networks differ in it.

    Attributes
    ----------
    mean : over repeats; infinite if one of them is
    low, high : its 95 % interval; NaN from fewer than two repeats, unbounded towards where values are censored
    repeats : how many values it is taken from
    censored : how many of them are lower bounds
    missing : in how many repeats the number does not exist
    """

    mean: float
    low: float
    high: float
    repeats: int
    censored: int
    missing: int


class Line(NamedTuple):
    """A line of the table.

    Attributes
    ----------
    part : what was measured
    name, unit : of the number
    geometric : whether means are geometric, and `difference` is a ratio
    estimates : one a network; None where its files do not have the number
    difference : first minus second, or first over second, of two networks
    """

    part: str
    name: str
    unit: str
    geometric: bool
    estimates: tuple[Estimate | None, ...]
    difference: Estimate | None

    @property
    def apart(self) -> bool:
        """Whether the two networks differ beyond the interval of their difference."""
        same = 1.0 if self.geometric else 0.0
        return self.difference is not None and (self.difference.low > same or self.difference.high < same)


class Comparison(NamedTuple):
    """Networks, in the order of their files, and the lines of their table."""

    networks: tuple[str, ...]
    lines: list[Line]


def compare(files: Sequence[Results], levels: Levels) -> Comparison:
    """Numbers of networks side by side.

    Parameters
    ----------
    files : of the kinds in `KINDS`
    levels : of basins, common to all networks

    Raises
    ------
    BadInput
        A file of another kind, or two files that are the same repeat of the same measurement.
    """
    titles: dict[str, str] = {}
    found: dict[tuple[str, str, str], dict[str, list[Row]]] = {}
    drawn: dict[tuple, Results] = {}
    for results in files:
        if results.kind not in KINDS:
            raise BadInput(f"{results.path} is of kind {results.kind}; there are numbers of {', '.join(KINDS)}")
        network, part = results.attributes["checkpoint"], _part(results)
        titles[network] = results.attributes["network"]
        twin = drawn.setdefault((part, network, _drawn(results)), results)
        if twin is not results:
            raise BadInput(
                f"{twin.path} and {results.path} are one measurement, not two repeats: {_told(results)}; leave one out"
            )
        for row in KINDS[results.kind](results, levels):
            found.setdefault((part, row.name, row.unit), {}).setdefault(network, []).append(row)
    parts = list(dict.fromkeys(part for part, *_ in found))
    # A network's files may add a row to a part that others began.
    lines = [_line(*key, found[key], list(titles)) for key in sorted(found, key=lambda key: parts.index(key[0]))]
    names = list(titles.values())
    unique = (name if names.count(name) == 1 else f"{name} {network[:7]}" for network, name in titles.items())
    return Comparison(tuple(unique), lines)


def surface(results: Results, levels: Levels) -> list[Row]:
    """Numbers of a loss surface along a line or over a plane."""
    x, y = _axes(results)
    loss, accuracy, se = _fields(results, results["loss"], results["accuracy"], noise(results))
    error = 100 * (1 - accuracy)
    points, unit = f"of {loss[0].size}", _unit(results)
    spread = np.transpose([loss_range(f) for f in loss])
    rough = [roughness(*pair) for pair in zip(loss, se, strict=True)]
    lakes = [minima(*pair) for pair in zip(loss, se, strict=True)]
    rows = [
        Row("loss at the centre", unit, [centre(f, x, y) for f in loss], least=-math.inf, repeated=False),
        Row("error at the centre", "%", [centre(f, x, y) for f in error], repeated=False),
        Row("smallest loss", unit, spread[0], least=-math.inf, geometric=True),
        Row("largest loss", unit, spread[1], least=-math.inf, geometric=True),
    ]
    if y is not None:
        convex = [100 * convex_fraction(f, x, y) for f in loss]
        rows.append(Row("convex part of the slice", "%", convex, most=100))
    level = _guessing(results) if levels.loss is None else levels.loss
    if level is not None:
        rows.append(_basin(f"loss < {level:.4g} {unit}", loss, level, x, y))
    rows += [
        _basin(f"error < {levels.error:.4g} %", error, levels.error, x, y),
        Row("minima above the noise", "1", [m.number for m in lakes]),
        Row("minima above the noise, on the rim", "1", [m.on_rim for m in lakes]),
        Row("minima above the noise, total persistence", unit, [m.total for m in lakes]),
        Row("roughness, residual over noise", "1", [r.ratio for r in rough]),
        Row("roughness, beyond the noise", "% of the loss", [100 * r.excess for r in rough]),
    ]
    if y is None:
        rows += _barriers(results, loss, x, unit)
    known, done, *_ = _fields(results, np.isfinite(results["loss"]), results["done"])
    rows.append(Row("points not finite", points, [np.sum(k == 0) for k in known]))
    if "interpolated" in results.variables:
        rows.append(Row("points measured", points, [np.sum(d == 1) for d in done]))
    if "loss_float32" in results.variables:
        pairs = zip(*_fields(results, results["loss"], results["loss_float32"]), strict=True)
        off = [100 * max(differences(*pair), default=NONE) for pair in pairs]
        rows.append(Row("off float32, at most", "% of the loss", off))
    if not np.isfinite(error).any():  # the targets are no classes
        rows = [row for row in rows if "error" not in row.name]
    return rows


def curvature(results: Results, levels: Levels) -> list[Row]:
    """Numbers of a map of the Hessian's extreme eigenvalues (Li et al. 2018, 1712.09913 §6)."""
    x, y = _axes(results)
    least, most, lost = _fields(results, results["lambda_min"], results["lambda_max"], ~results["converged"])
    both = np.isfinite(least) & np.isfinite(most)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(least / most)
    negative = least < -INDEFINITE * most
    unit = f"{_unit(results)} per squared weight"
    return [
        Row("median |λ_min/λ_max|", "1", [_median(r) for r in ratio], geometric=True),
        Row(
            f"points with λ_min < −{INDEFINITE:g} λ_max",
            "%",
            [100 * n[k].mean() if k.any() else NONE for n, k in zip(negative, both, strict=True)],
            most=100,
        ),
        Row("λ_max at the centre", unit, [centre(f, x, y) for f in most], least=-math.inf, repeated=False),
        Row("points not converged", f"of {both[0].size}", [np.sum(part == 1) for part in lost]),
    ]


def lesion(results: Results, levels: Levels) -> list[Row]:
    """Errors with blocks deleted, or changed otherwise: medians over the trials."""
    error = np.where(results["done"], 100 * (1 - results["accuracy"]), NONE)
    number, name = _changed(results)
    medians = (
        Row(f"median error, {name.format(k)}", "%", [_median(error[number == k])], most=100)
        for k in sorted({*number[results["done"]].tolist()} - {0})
    )
    return [Row("error, intact", "%", [_median(error[number == 0])], repeated=False), *medians]


def sharpness(results: Results, levels: Levels) -> list[Row]:
    """How far the loss rises within a ball of weights; the trials are the repeats."""
    rise = np.where(results["done"], results["rise"], NONE)  # (kind, rho, trial)
    return [
        Row(f"rise of the loss, {kind}, ρ = {rho:g}", _unit(results), rise[i, j], least=-math.inf)
        for i, kind in enumerate(results.coordinates["kind"])
        for j, rho in enumerate(results.coordinates["rho"])
    ]


def eigenvalues(results: Results, levels: Levels) -> list[Row]:
    """The outermost eigenvalues of the Hessian at the checkpoint."""
    unit, end = f"{_unit(results)} per squared weight", results.attributes["end"]
    values = np.where(results["converged"], results["eigenvalue"], NONE)
    return [
        Row(f"eigenvalue {number} ({end})", unit, [value], least=-math.inf, repeated=False)
        for number, value in zip(results.coordinates["eigenpair"], values, strict=True)
    ]


def trace(results: Results, levels: Levels) -> list[Row]:
    """The trace of the Hessian at the checkpoint; the probes are the repeats."""
    values = np.where(results["done"], results["trace"], NONE)
    return [Row("trace of the Hessian", f"{_unit(results)} per squared weight", values, least=-math.inf)]


def density(results: Results, levels: Levels) -> list[Row]:
    """The Hessian's spectral density at the checkpoint; the probes are the repeats."""
    unit = f"{_unit(results)} per squared weight"
    node, weight = (np.where(results["done"][:, None], results[name], NONE) for name in ("node", "weight"))
    low, high = (end(node[results["done"]]) if results["done"].any() else NONE for end in (np.min, np.max))
    moment = results.attributes["parameters"] * (node * weight).sum(axis=1)
    flat = 100 * np.where(np.abs(node) < INDEFINITE * high, weight, 0).sum(axis=1)
    return [
        Row("λ_min", unit, [low], least=-math.inf, repeated=False),
        Row("λ_max", unit, [high], least=-math.inf, repeated=False),
        Row("trace of the Hessian", unit, moment, least=-math.inf),
        Row(f"eigenvalues within ±{INDEFINITE:g} λ_max", "%", np.where(results["done"], flat, NONE), most=100),
    ]


KINDS: dict[str, Callable[[Results, Levels], list[Row]]] = {
    "surface": surface,
    "curvature": curvature,
    "lesion": lesion,
    "sharpness": sharpness,
    "eigenvalues": eigenvalues,
    "trace": trace,
    "density": density,
}


def noise(results: Results) -> np.ndarray:
    """Standard errors of the loss, but no less than it is rounded; NaN where it is interpolated.

    A stored error is 0 where all examples were used; what is left is rounding, of single precision, or of a reduced
    type as the points measured twice show it.
    """
    rounding = ROUNDING
    if "loss_float32" in results.variables:
        off = differences(results["loss"], results["loss_float32"])
        rounding = max(rounding, float(np.sqrt(np.mean(off**2)))) if off.size else rounding
    return np.maximum(results["loss_se"], rounding * np.abs(results["loss"]))


def _part(results: Results) -> str:
    """What was measured, as the heading of a part: alike for files whose numbers can be compared."""
    a = results.attributes
    split = {"train": "training data", "test": "test data"}.get(a["split"], a["split"])
    told = [f"{results.kind} on {a['data']}", split]
    if a["loss"] != "cross_entropy":
        told.append(a["loss"])
    for name in ("x", "y", "z"):
        if name in results.coordinates:
            c = results.coordinates[name]
            told.append(f"{name} {c[0]:g} … {c[-1]:g} ({c.size} points)".replace("-", "−"))
    if results.kind == "lesion":
        told.append(_trials(results))
    if "hessian_parameters" in a:
        told.append(f"parameters {a['hessian_parameters']}")
    if "directions" in a:
        told.append(a["directions"].removesuffix("; parameters of one dimension not moved"))  # as always
    if a.get("batchnorm", "frozen") != "frozen":
        told.append(f"BatchNorm {a['batchnorm']}")
    return ", ".join(told)


def _changed(results: Results) -> tuple[np.ndarray, str]:
    """How many blocks each trial of a lesion table changes (0 or 1: whether it does), and what that is called."""
    how = results.attributes.get("lesion", "delete")
    if how == "delete":
        return results["deleted"].sum(axis=1), "{} deleted"
    if how.startswith("replace"):
        return results["replaced"].sum(axis=1), how.replace("replace", "{} replaced")
    if how == "repeat":
        return results["repeated"].sum(axis=1), "{} applied twice"
    if how == "swap":
        return results["swaps"], "{} swaps"
    if how == "parallel":
        return results["parallel"].any(axis=1).astype(int), "two in parallel"
    order = results["order"]
    return (order != np.arange(order.shape[1])).any(axis=1).astype(int), {"permute": "permuted"}.get(how, "reversed")


def _trials(results: Results) -> str:
    """Which trials a lesion table has."""
    number, name = _changed(results)
    sizes, counts = np.unique(number[number > 0], return_counts=True)
    blocks = len(results.coordinates["block"])
    every = all(n == math.comb(blocks, k) for k, n in zip(sizes.tolist(), counts.tolist(), strict=True))
    if every and name.startswith(("{} deleted", "{} replaced")):
        return "every set of blocks"
    same = f"{counts[0]} trials" if counts.size and (counts == counts[0]).all() else "trials"
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
    apart = _difference(*(pooled[network] for network in networks), geometric) if both else None
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
    if row.censored.any() and not math.isnan(low):
        high = math.inf
    return Estimate(float(mean), float(low), float(high), *counts)


def _difference(first: Row, second: Row, geometric: bool) -> Estimate:
    counts = [a + b for a, b in zip(_counts(first), _counts(second), strict=True)]
    below, above = second.censored.any(), first.censored.any()  # where the true difference may be far off
    if (below and above) or np.isinf([*first.values, *second.values]).any():
        return Estimate(NONE, NONE, NONE, *counts)
    mean, low, high, _ = difference(*(np.log(row.values) if geometric else row.values for row in (first, second)))
    if not math.isnan(low):
        low, high = (-math.inf if below else low), (math.inf if above else high)
    if geometric:
        mean, low, high = np.exp([mean, low, high])
    return Estimate(float(mean), float(low), float(high), *counts)


def _counts(row: Row) -> tuple[int, int, int]:
    """Values, those that are lower bounds, and those that do not exist."""
    missing = int(np.isnan(row.values).sum())
    return len(row.values) - missing, int(row.censored.sum()), missing


def _axes(results: Results) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates x, and y for a plane."""
    if "gates" in results.attributes:
        raise BadInput(f"{results.path} is over gates of blocks; there are numbers of directions in weight space only")
    dims = [name for name in results.dims["loss"] if name != "repeat"]
    if dims not in (["x"], ["y", "x"]):
        raise BadInput(f"{results.path} is over ({', '.join(dims)}); there are numbers of lines (x) and planes (y, x)")
    return results.coordinates["x"], results.coordinates.get("y")


def _fields(results: Results, *arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays with their repeats first, shape (repeats, …); NaN where nothing is known yet."""
    for array in arrays:
        values = np.where(results.known, array, NONE)
        yield values if results.dims["done"][0] == "repeat" else values[None]


def _unit(results: Results) -> str:
    return "nats" if results.attributes["loss"] == "cross_entropy" else str(results.attributes["loss"])


def _guessing(results: Results) -> float | None:
    """Loss of a network that gives every class the same probability."""
    a = results.attributes
    return math.log(a["classes"]) if a["loss"] == "cross_entropy" and a.get("classes", 0) > 1 else None


def _basin(below: str, fields: np.ndarray, level: float, x: np.ndarray, y: np.ndarray | None) -> Row:
    size, unit = ("width", "units of x") if y is None else ("area", "units of x·y")
    found = [basin(f, level, x, y) for f in fields]
    return Row(f"basin {size} around the centre, {below}", unit, [b.size for b in found], [b.censored for b in found])


def _barriers(results: Results, loss: np.ndarray, x: np.ndarray, unit: str) -> Iterator[Row]:
    """Between checkpoints where the line leads to one, else between the ends of the line."""
    between = (x >= 0) & (x <= 1) if "to" in results.attributes else np.full(x.shape, True)
    path = x[between]
    exists = path.size > 1 and ("to" not in results.attributes or (path[0], path[-1]) == (0, 1))
    found = [barrier(f[between], path) if exists else (NONE, NONE, NONE) for f in loss]
    ends = f"x {path[0]:g} … {path[-1]:g}".replace("-", "−") if path.size else "no points"
    for over, heights in zip(
        ("the larger end", "the mean of the ends", "the line between them"), zip(*found, strict=True), strict=True
    ):
        yield Row(f"barrier over {over}, {ends}", unit, heights)


def _median(values: np.ndarray) -> float:
    """Median of what is finite; NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else NONE
