"""What goes through one network from block to block, as a row of a table over its boundaries.

Statistics of BatchNorm are held, those of all the batches or the stored ones: so every number is about an example, and
the gradient of an example's output is its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ensemble.flow.effects import effects
from ensemble.flow.gains import gains
from ensemble.flow.gradients import normalised, norms, passes
from ensemble.flow.mixing import mixing
from ensemble.flow.parts import Blocks, parts
from ensemble.flow.profile import PROFILE, QUANTILES, padded, quantiles
from ensemble.flow.refinement import deviations, refinement, variance
from ensemble.flow.shattering import along_lines, correlation
from landscape.engine.table import MEASURED
from landscape.evaluation.measure import LOSSES, Batches, Loss, score

__all__ = ["HELD", "STREAM", "stream_profile"]

HELD = ("recalibrated", "frozen")  # of `ensemble.flow.gradients.BATCHNORM`


def _variable(name: str, *dims: str) -> tuple:
    return "f8", float("nan"), {"long_name": name, "units": "1"}, *([dims] if dims else [])


STREAM: dict[str, tuple] = {
    **{name: MEASURED[name] for name in ("loss", "accuracy", "examples")},
    "norm": _variable("norm of the stream of an example", "quantile", "boundary"),
    "variance": _variable("variance of the stream over examples and positions, summed over channels", "boundary"),
    "variance_se": _variable("standard error of the variance over examples", "boundary"),
    "residual": PROFILE["residual"],
    "share": PROFILE["share"],
    "forward_gain": _variable("gain of the stream through the shortcuts alone, median of examples", "boundary", "end"),
    "forward_gain_min": _variable("least gain of the stream through the shortcuts alone", "boundary", "end"),
    "forward_gain_max": _variable("greatest gain of the stream through the shortcuts alone", "boundary", "end"),
    "backward_gain": _variable(
        "gain of the gradient back through the shortcuts alone, median of examples", "boundary", "end"
    ),
    "backward_gain_min": _variable("least gain of the gradient back through the shortcuts alone", "boundary", "end"),
    "backward_gain_max": _variable("greatest gain of the gradient back through the shortcuts alone", "boundary", "end"),
    **{
        f"{way}_mixing{suffix}": _variable(f"{which}gain of mixing the streams, {how}{of}", "boundary", "end")
        for way, how in {"forward": "", "backward": "of gradients, "}.items()
        for suffix, (which, of) in {
            "": ("", "median of examples"),
            "_min": ("least ", "of all examples"),
            "_max": ("greatest ", "of all examples"),
        }.items()
    },
    "effect": _variable(
        "change of what the later block adds without the block, relative to what it adds", "quantile", "block", "later"
    ),
    "correlation": _variable("mean correlation of the outputs' gradients at two examples", "boundary"),
    "correlation_se": _variable("standard error of the correlation over examples", "boundary"),
    "correlation_size": _variable("mean absolute correlation of the outputs' gradients at two examples", "boundary"),
    "correlation_size_se": _variable("standard error of the absolute correlation over examples", "boundary"),
    "input_correlation": _variable("mean correlation of the outputs' gradients at two inputs"),
    "input_correlation_se": _variable("standard error of the correlation over examples"),
    "input_correlation_size": _variable("mean absolute correlation of the outputs' gradients at two inputs"),
    "input_correlation_size_se": _variable("standard error of the absolute correlation over examples"),
    "autocorrelation": _variable("autocorrelation of an output's gradient on lines between two inputs", "lag"),
    "autocorrelation_se": _variable("standard error of the autocorrelation over lines", "lag"),
}


@np.errstate(invalid="ignore", over="ignore", divide="ignore")  # a network that has diverged is measured too
def stream_profile(
    network: nn.Module,
    batches: Batches,
    boundaries: int,
    loss: Loss = LOSSES["cross_entropy"],
    batchnorm: str = "recalibrated",
    blocks: Blocks = None,
) -> dict[str, float | np.ndarray]:
    """Measure what goes through a network from block to block.

    Parameters
    ----------
    network, batches, loss
        See `ensemble.flow.gradients.flow`.
    boundaries : int
        To which arrays are filled up with NaN, so that networks of several depths fit into one table.
    batchnorm : {"recalibrated", "frozen"}
        Which statistics are held, see `ensemble.flow.gradients.flow`.
    blocks : see `ensemble.flow.parts.parts`

    Returns
    -------
    dict
        The variables of `STREAM`; the accuracy only where it is defined.
    """
    at = parts(network, blocks)
    does = refinement(network, batches, loss, batchnorm, at)
    sizes, spread, spreads, carried, mixed, changes, outputs = [], [], [], [], [], [], []
    with normalised(network, batches, batchnorm):
        for one in passes(network, batches, loss, at):
            between, x = one.row.between, one.activations
            channels = [part.channels for part in between] + [part.channels for part in between[-1:]]
            sizes.append(np.stack([norms(stream) for stream in x]))
            spread.append([variance(*both) for both in zip(x, channels, strict=True)])
            spreads.append(np.stack([deviations(*both) for both in zip(x, channels, strict=True)]))
            carried.append(gains(between, x, one.gradients))
            mixed.append(mixing(between, x))
            changes.append(effects(between, x))
            with torch.no_grad():
                outputs.append(one.row.head.run(x[-1]))
        correlations = correlation(network, batches, at)
        lines = along_lines(network, batches[0][0])
    each = np.concatenate(spreads, axis=1)
    numbers = {
        "norm": quantiles(np.concatenate(sizes, axis=1)),
        "variance": np.average(spread, axis=0, weights=[len(size[0]) for size in sizes]),
        "variance_se": _error(each),
        "residual": quantiles(does.residual),
        "share": does.share,
        "effect": _known(np.nanquantile, np.concatenate(changes, axis=2), QUANTILES),
        **_extremes("forward_gain", np.concatenate([one.forward for one in carried], axis=2)),
        **_extremes("backward_gain", np.concatenate([one.backward for one in carried], axis=2)),
        **_extremes("forward_mixing", np.concatenate([one.forward for one in mixed], axis=2)),
        **_extremes("backward_mixing", np.concatenate([one.backward for one in mixed], axis=2)),
    }
    for suffix, means in zip(("", "_se", "_size", "_size_se"), zip(*correlations, strict=True), strict=True):
        numbers[f"correlation{suffix}"] = np.array(means[1:])
    filled: dict[str, float | np.ndarray] = {}
    for name, value in numbers.items():
        dims = STREAM[name][3]
        filled[name] = padded(value, dims, boundaries - ("later" in dims))
    for suffix, number in zip(("", "_se", "_size", "_size_se"), correlations[0], strict=True):
        filled[f"input_correlation{suffix}"] = number
    scored = score(outputs, batches, loss)
    return {
        **filled,
        "autocorrelation": lines.mean(axis=1) if lines.size else np.full(len(lines), np.nan),
        "autocorrelation_se": _error(lines),
        **{name: scored.get(name, float("nan")) for name in ("loss", "accuracy", "examples")},
    }


def _extremes(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Median, smallest and largest over examples, the last axis."""
    three: dict[str, Callable[..., Any]] = {"": np.nanmedian, "_min": np.nanmin, "_max": np.nanmax}
    return {f"{name}{suffix}": _known(function, values) for suffix, function in three.items()}


def _known(function: Callable[..., Any], values: np.ndarray, *how: object) -> np.ndarray:
    """A statistic over examples, the last axis, without those that are NaN; NaN of none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that there is none
        return function(values, *how, axis=-1)


def _error(values: np.ndarray) -> np.ndarray:
    """Standard error of a mean over the last axis; NaN of fewer than two numbers."""
    n = values.shape[-1]
    return values.std(axis=-1, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[:-1], np.nan)
