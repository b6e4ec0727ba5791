"""What a results file says of its network, in numbers.

A kind of results is one function from a file to `Row`s, see `KINDS`; a row has one value for each repeat in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from landscape.analysis.geometry import (
    barrier,
    barrier_error,
    basin,
    between,
    centre,
    convex,
    loss_range,
    roughness,
)
from landscape.analysis.hessian_files import ratio
from landscape.analysis.merge_trees import MergeTree, tree
from landscape.analysis.minima import minima
from landscape.analysis.precision import differences
from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = [
    "KINDS",
    "Levels",
    "Row",
    "changed",
    "curvature",
    "density",
    "eigenvalues",
    "lesion",
    "noise",
    "noiseless",
    "sharpness",
    "surface",
    "trace",
]

NONE = float("nan")
REAL: dict[str, float] = {"least": -math.inf}  # values of either sign
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
    values: Sequence[float] | np.ndarray
    censored: Sequence[bool] | np.ndarray = ()
    least: float = 0.0
    most: float = math.inf
    geometric: bool = False
    repeated: bool = True


def surface(results: Results, levels: Levels) -> list[Row]:
    """Numbers of a loss surface along a line or over a plane."""
    x, y = _axes(results)
    loss, accuracy, se = _fields(results, results["loss"], results.accuracy(), noise(results))
    error = 100 * (1 - accuracy)
    points, unit = f"of {loss[0].size}", _unit(results)
    spread = np.transpose([loss_range(f) for f in loss])
    same = _of_same_examples(results)
    own = _rounding(results) * np.abs(loss) if same else se  # of the loss on the examples drawn
    rough = [roughness(*pair) for pair in zip(loss, se, strict=True)]
    lakes = [minima(*pair) for pair in zip(loss, se, strict=True)]
    axes, ways = ({"x": x}, "units of x") if y is None else ({"y": y, "x": x}, "units of x and y")
    trees = [tree(*pair, axes) for pair in zip(loss, se, strict=True)]
    rows = [
        Row("loss at the centre", unit, [centre(f, x, y) for f in loss], least=-math.inf, repeated=False),
        Row("error at the centre", "%", [centre(f, x, y) for f in error], repeated=False),
        Row("smallest loss", unit, spread[0], least=-math.inf, geometric=True),
        Row("largest loss", unit, spread[1], least=-math.inf, geometric=True),
    ]
    if y is not None:
        bends = [convex(f, x, y, e) for f, e in zip(loss, own, strict=True)]
        finite = [convex(f, x, y).count() for f in loss]
        hidden = [100 * (1 - b.count() / n) if n else NONE for b, n in zip(bends, finite, strict=True)]
        share = [100 * float(b.mean()) if b.count() else NONE for b in bends]
        rows.append(Row("convex part of the slice", "%", share, most=100))
        rows.append(Row("points whose convexity is within the noise", "%", hidden, most=100))
    level = _guessing(results) if levels.loss is None else levels.loss
    if level is not None:
        rows.append(_basin(f"loss < {level:.4g} {unit}", loss, level, x, y))
    rows += [
        _basin(f"error < {levels.error:.4g} %", error, levels.error, x, y),
        Row("minima above the noise", "1", [m.number for m in lakes]),
        Row("minima above the noise, on the rim", "1", [m.on_rim for m in lakes]),
        Row("minima above the noise, total persistence", unit, [m.total for m in lakes]),
        Row("saddle–minimum distance, minima above the noise", ways, [_to_saddles(t, t.distance) for t in trees]),
        Row("saddle–minimum height, minima above the noise", unit, [_to_saddles(t, t.persistence) for t in trees]),
        Row("roughness, residual over noise", "1", [r.ratio for r in rough]),
        Row("roughness, beyond the noise", "% of the loss", [100 * r.excess for r in rough]),
    ]
    if same:
        lakes = [minima(*pair) for pair in zip(loss, own, strict=True)]
        rough = [roughness(*pair) for pair in zip(loss, own, strict=True)]
        rows += [
            Row("minima of the loss on these examples", "1", [m.number for m in lakes]),
            Row("minima of the loss on these examples, total persistence", unit, [m.total for m in lakes]),
            Row("roughness of the loss on these examples", "% of the loss", [100 * r.excess for r in rough]),
        ]
    if y is None:
        rows += _barriers(results, loss, se, x, unit)
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
    if noiseless(results):
        rows = [row for row in rows if "noise" not in row.name]
    return rows


def curvature(results: Results, levels: Levels) -> list[Row]:
    """Numbers of a map of the Hessian's extreme eigenvalues (Li et al. 2018, 1712.09913 §6)."""
    x, y = _axes(results)
    least, most, lost = _fields(results, results["lambda_min"], results["lambda_max"], ~results["converged"])
    both = np.isfinite(least) & np.isfinite(most)
    negative = least < -INDEFINITE * most
    unit = f"{_unit(results)} per squared weight"
    return [
        Row("median |λ_min/λ_max|", "1", [_median(r) for r in ratio(least, most)], geometric=True),
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
    """Errors with blocks deleted, or changed otherwise: medians over the trials; losses where there are no classes."""
    ends: dict[str, float]
    if results.has_accuracy:
        what, unit, ends, measured = "error", "%", {"most": 100}, 100 * (1 - results.accuracy())
    else:
        what, unit, ends, measured = "loss", _unit(results), REAL, results["loss"]
    rows = _medians(results, what, unit, measured, ends)
    for name in (*_listed(results, "further_losses"), *_listed(results, "metrics")):
        name = name.rpartition(":")[2]
        unit = results.metadata.get(name, {}).get("units", "")
        rows += _medians(results, name, unit if unit not in ("", "as the loss") else name, results[name], REAL)
    return rows


def _medians(results: Results, what: str, unit: str, measured: np.ndarray, ends: dict) -> list[Row]:
    """A number of the intact network, and its medians over the trials that change so many blocks."""
    measured = np.where(results["done"], measured, NONE)
    number, name = changed(results)
    medians = (
        Row(f"median {what}, {name.format(k)}", unit, [_median(measured[number == k])], **ends)
        for k in sorted({*number[results["done"]].tolist()} - {0})
    )
    least = ends.get("least", 0.0)
    return [Row(f"{what}, intact", unit, [_median(measured[number == 0])], least=least, repeated=False), *medians]


def _listed(results: Results, attribute: str) -> list[str]:
    """Names in an attribute that not every file has."""
    return np.atleast_1d(results.attributes.get(attribute, [])).tolist()


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


def noise(results: Results, variable: str = "loss") -> np.ndarray:
    """Standard errors of a loss, but no less than it is rounded; NaN where it is interpolated, or nothing is known.

    A stored error is 0 where all examples were used; what is left is rounding, of single precision, or of a reduced
    type as the points measured twice show it.
    """
    loss = results[variable]
    error = results.variables.get(f"{variable}_se", np.full(loss.shape, NONE))
    return np.maximum(error, _rounding(results) * np.abs(loss))


def _rounding(results: Results) -> float:
    """How far losses are rounded, relative to themselves."""
    off = differences(results["loss"], results["loss_float32"]) if "loss_float32" in results.variables else np.array([])
    return max(ROUNDING, float(np.sqrt(np.mean(off**2)))) if off.size else ROUNDING


def _of_same_examples(results: Results) -> bool:
    """Whether all points are of one sample. It errs alike from point to point, so that its own surface is known."""
    if "examples" not in results.variables or "interpolated" in results.variables or noiseless(results):
        return False
    return len({*results["examples"][results.known & np.isfinite(results["loss"])].tolist()}) == 1


def noiseless(results: Results) -> bool:
    """Whether losses were measured, and nothing is known of their noise, as in files of other programs."""
    measured = results.known & np.isfinite(results["loss"])
    return bool(measured.any()) and not np.isfinite(results["loss_se"]).any()


def changed(results: Results) -> tuple[np.ndarray, str]:
    """How many blocks each trial of a lesion table changes (0 or 1: whether it does), and what that is called.

    The table itself says so, whichever kinds of lesions there are: a variable over (trial, block) has what was done to
    blocks for its name, and the attribute "lesion" is its verb and what more there is to say, "replace by mean".
    """
    verb, *how = str(results.attributes.get("lesion", "delete")).split()
    if "swaps" in results:
        return results["swaps"], "{} swaps"
    if "order" in results:
        order = results["order"]
        return (order != np.arange(order.shape[1])).any(axis=1).astype(int), f"{verb}d"
    others = (n for n, dims in results.dims.items() if dims == ("trial", "block") and n != "deleted")
    name = next(others, "deleted")
    return results[name].sum(axis=1), " ".join(["{}", name, *how])


def _axes(results: Results) -> tuple[np.ndarray, np.ndarray | None]:
    """Coordinates x, and y for a plane."""
    if "gates" in results.attributes:
        raise BadInput(
            f"{results.source} is over gates of blocks; there are numbers of directions in weight space only"
        )
    dims = [name for name in results.dims["loss"] if name != "repeat"]
    if dims not in (["x"], ["y", "x"]):
        raise BadInput(
            f"{results.source} is over ({', '.join(dims)}); there are numbers of lines (x) and planes (y, x)"
        )
    return results.coordinates["x"], results.coordinates.get("y")


def _fields(results: Results, *arrays: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays with their repeats first, shape (repeats, …); NaN where nothing is known yet."""
    for array in arrays:
        values = np.where(results.known, array, NONE)
        yield values if results.dims["done"][0] == "repeat" else values[None]


def _unit(results: Results) -> str:
    return results.unit


def _guessing(results: Results) -> float | None:
    """Loss of a network that gives every class the same probability."""
    a = results.attributes
    return math.log(a["classes"]) if a["loss"] == "cross_entropy" and a.get("classes", 0) > 1 else None


def _basin(below: str, fields: np.ndarray, level: float, x: np.ndarray, y: np.ndarray | None) -> Row:
    size, unit = ("width", "units of x") if y is None else ("area", "units of x·y")
    basins = [basin(f, level, x, y) for f in fields]
    return Row(f"basin {size} around the centre, {below}", unit, [b.size for b in basins], [b.censored for b in basins])


def _to_saddles(known: MergeTree, lengths: np.ndarray) -> float:
    """The mean way from the minima above the noise to their saddles; NaN if none has one."""
    lengths = lengths[known.significant & (known.parent >= 0)]
    return float(lengths.mean()) if lengths.size else NONE


def _barriers(results: Results, loss: np.ndarray, se: np.ndarray, x: np.ndarray, unit: str) -> Iterator[Row]:
    """Between checkpoints where the line leads to one, else between the ends of the line."""
    part = between(x) if "to" in results.attributes else slice(None)
    path = x if part is None else x[part]
    exists = part is not None and path.size > 1
    barriers = [barrier(f[part], path) if exists else (NONE, NONE, NONE) for f in loss]
    ends = f"x {path[0]:g} … {path[-1]:g}".replace("-", "−") if path.size else "no points"
    for over, heights in zip(
        ("the larger end", "the mean of the ends", "the line between them"), zip(*barriers, strict=True), strict=True
    ):
        yield Row(f"barrier over {over}, {ends}", unit, heights)
    errors = [barrier_error(f[part], e[part], path) if exists else NONE for f, e in zip(loss, se, strict=True)]
    yield Row(f"standard error of the barrier over the line between them, {ends}", unit, errors)


def _median(values: np.ndarray) -> float:
    """Median of what is finite; NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else NONE
