"""Why does a surface look odd? What can be seen from its file, and from a few measurements beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from landscape.engine.grid import index_of
from landscape.engine.table import UNSAID, Results, title_before
from landscape.evaluation.batchnorm import has_statistics, norms_of, recalibrated
from landscape.evaluation.measure import evaluating
from landscape.evaluation.prepared import Evaluation
from landscape.nested import length
from landscape.planes.build_plane import PlaneWithStatistics

__all__ = ["diagnose", "drift"]

NEAR = 0.05  # cosine from which two directions are no longer nearly orthogonal
MISS = 1e-3  # relative, of the loss at the centre
AUDITED = 50  # interpolated points that are measured, of those that there are
FLAT, STEEP = 1.5, 1e6  # largest over smallest loss of a window


def drift(network: nn.Module, inputs: Sequence[Tensor]) -> dict[str, tuple[float, float]]:
    """Compare stored BatchNorm statistics with those measured where the weights are now.

    Parameters
    ----------
    network : in evaluation mode, at the point in question; unchanged afterwards
    inputs : batches, of one size, see `landscape.evaluation.batchnorm.recalibrated`

    Returns
    -------
    dict
        Name of each norm -> (shift, scale): median over channels of |μ − μ'|/σ and of σ'/σ, with σ stored and
        σ' measured. (0, 1) where nothing has drifted.
    """
    stored = {name: (norm.running_mean.clone(), norm.running_var.clone()) for name, norm in norms_of(network).items()}
    inputs_of = {}
    with evaluating(network), recalibrated(network, inputs):
        for name, norm in norms_of(network).items():
            mean, variance = stored[name]
            shift = ((norm.running_mean - mean).abs() / (variance + norm.eps).sqrt()).median()
            scale = ((norm.running_var + norm.eps) / (variance + norm.eps)).sqrt().median()
            inputs_of[name] = (float(shift), float(scale))
    return inputs_of


def diagnose(results: Results, evaluation: Evaluation, plane: PlaneWithStatistics) -> list[str]:
    """What is odd about a surface, a line for each finding, and a line for each thing that is as it should be.

    Parameters
    ----------
    results : the surface's file
    evaluation, plane : what it is measured of; its network is at the centre, and unchanged afterwards
    """
    loss, known = results["loss"], results.known
    if other := _settings(results, evaluation, plane):
        return [other]
    said = [_centre(results, evaluation), _directions(results), _numbers(results)]
    if known.all():
        said.append(_lowest(results))
    finite = loss[known & np.isfinite(loss)]
    if finite.size and finite.min() > 0:
        ratio = finite.max() / finite.min()
        if ratio < FLAT:
            said.append(
                f"range: losses differ by a factor of {ratio:.3g} only; the window is narrow: widen --x and --y, or "
                "let --auto-range find the ends"
            )
        elif ratio > STEEP:
            said.append(
                f"range: losses differ by a factor of {ratio:.1e}; most of the window is far from the network: narrow "
                "it with --auto-range, or cut the figure's scale with --vmax"
            )
        else:
            said.append(f"range: losses from {finite.min():.4g} to {finite.max():.4g}")
    if "interpolated" in results and results["interpolated"].any():
        said.append(_interpolated(results, evaluation, plane))
    if has_statistics(evaluation.network):
        said += _batchnorm(results, evaluation, plane)
    return said


def _centre(results: Results, evaluation: Evaluation) -> str:
    place = [index_of(results.coordinates[d], 0) for d in results.dims["loss"] if d != "repeat"]
    if None in place:
        return "centre: the grid does not hold the checkpoint itself; an odd number of points around 0 does"
    here = evaluation.measure()["loss"]
    index: tuple = (..., *place)
    there = np.atleast_1d(results["loss"][index])
    away = np.abs(there - here).max() / max(abs(here), 1e-12)
    trained = (
        evaluation.checkpoint.final.get(results.attributes["split"], {}).get("loss")
        if evaluation.checkpoint.final
        else None
    )
    at_the_end = "" if trained is None else f" (at the end of training: {trained:.6g}, over the whole split)"
    if not away < MISS:
        return (
            f"centre: the file says {there.flat[0]:.6g}, the checkpoint's loss is {here:.6g}{at_the_end}: the file is "
            "of other weights, data or statistics"
        )
    return f"centre: the loss there is the checkpoint's, {here:.6g}{at_the_end}"


def _directions(results: Results) -> str:
    cosines = np.abs(np.atleast_1d(results.attributes.get("cosine", 0.0)))
    if cosines.max() > NEAR:
        return f"directions: cosines up to {cosines.max():.3f}; the plane is seen askew: --orthogonal mends that"
    return f"directions: nearly orthogonal, cosine {cosines.max():.1g} at most"


def _numbers(results: Results) -> str:
    lost = int((results.known & ~np.isfinite(results["loss"])).sum())
    missing = int((~results.known).sum())
    state = f"{missing} of {results.known.size} points are not measured yet" if missing else "all points are measured"
    if lost:
        return (
            f"points: {state}; {lost} losses are not finite: activations overflow there, narrow the window or measure "
            "in float32"
        )
    return f"points: {state}, all losses finite"


def _interpolated(results: Results, evaluation: Evaluation, plane: PlaneWithStatistics) -> str:
    """How far interpolated points are off what is measured there."""
    rows = np.flatnonzero(results["interpolated"])
    rows = np.sort(np.random.default_rng(evaluation.metadata["seed"]).permutation(rows)[:AUDITED])
    dims, off = results.dims["loss"], []
    for cell in zip(*np.unravel_index(rows, results["loss"].shape), strict=True):
        at = {d: float(results.coordinates[d][i]) for d, i in zip(dims, cell, strict=True)}
        point = [*(at[d] for d in ("x", "y", "z") if d in at), *([at["repeat"]] if "repeat" in at else [])]
        with plane.at(evaluation.network, point):
            off.append(abs(float(results["loss"][cell]) / evaluation.measure()["loss"] - 1))
    asked = float(results.attributes["adaptive"])
    missed = sum(miss > asked for miss in off)
    middle, largest = 100 * np.median(off), 100 * max(off)
    return (
        f"interpolation: of {len(off)} interpolated points, drawn at random and measured, {missed} are off by more "
        f"than the {100 * asked:g} % that were asked: {middle:.2g} % in the median, {largest:.2g} % at most"
    )


def _lowest(results: Results) -> str:
    """Whether the network sits at the lowest point, as a trained one should."""
    loss, dims = results["loss"], results.dims["loss"]
    if not np.isfinite(loss).any():
        return "minimum: no loss is finite"
    where = np.unravel_index(np.nanargmin(np.where(np.isfinite(loss), loss, np.nan)), loss.shape)
    at = {d: results.coordinates[d][i] for d, i in zip(dims, where, strict=True) if d != "repeat"}
    if any(at.values()):
        place = ", ".join(f"{d} = {c:g}" for d, c in at.items())
        return (
            f"minimum: the lowest loss is not at the checkpoint but at {place}; it was not trained to the end, or with "
            "augmentation or weight decay (--weight-decay measures that), or its statistics do not fit (see BatchNorm)"
        )
    return "minimum: the lowest loss is at the checkpoint"


def _settings(results: Results, evaluation: Evaluation, plane: PlaneWithStatistics) -> str:
    """How the file and the command differ, if they do: then nothing else can be told."""
    mine = evaluation.metadata | plane.metadata
    unsaid = {n: mine[n] for n in ("inputs",) if n in mine} | UNSAID  # which not all versions have recorded
    there = unsaid | results.attributes
    if "network" in mine and there.get("network") == title_before(mine["network"]):
        del mine["network"]
    other = [n for n, v in mine.items() if not np.array_equal(np.atleast_1d(there.get(n, "nothing")), np.atleast_1d(v))]
    if other or ("repeats" in there) != ("repeats" in mine):
        differences = "; ".join(
            f"{n} is {there.get(n, 'nothing')} in the file, {mine[n]} in this command" for n in other[:3]
        )
        return f"settings: {differences}. Give the options that the file was measured with"
    return ""


def _batchnorm(results: Results, evaluation: Evaluation, plane: PlaneWithStatistics) -> list[str]:
    """What frozen statistics do, at the centre and at one end of the window."""
    examples = min(1024, sum(length(targets) for _, targets in evaluation.batches))
    inputs = evaluation.calibration(examples)
    axes = [name for name in ("x", "y", "z") if name in results.coordinates]
    repeat = [0] if "repeat" in results.coordinates else []
    said = []
    for name, end in (("the centre", 0.0), ("the end of x", float(results.coordinates["x"][-1]))):
        point = [end, *[0.0] * (len(axes) - 1), *repeat]
        with plane.at(evaluation.network, point), torch.no_grad():
            stored = evaluation.measure()["loss"]
            moved = drift(evaluation.network, inputs)
            with recalibrated(evaluation.runs, inputs):
                anew = evaluation.measure()["loss"]
        worst = max(moved, key=lambda norm: abs(np.log(moved[norm][1])) + moved[norm][0])
        shift, scale = moved[worst]
        said.append(
            f"BatchNorm at {name}: loss {stored:.4g} as measured, {anew:.4g} with statistics taken there; farthest off "
            f"is {worst}: means by {shift:.2g} σ, σ by a factor of {scale:.3g}"
        )
    return said
