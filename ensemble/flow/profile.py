"""All that is measured from block to block of one network, as a row of a table over its boundaries."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from torch import nn

from ensemble.flow.gradients import extremes, flow, normalised, relative
from ensemble.flow.parts import Blocks, parts, stages
from ensemble.flow.refinement import exits, refinement
from ensemble.flow.similarity import similarity
from landscape.engine.table import MEASURED
from landscape.evaluation.measure import LOSSES, Batches, Loss
from landscape.nested import Nested, mapped, take
from landscape.networks.network import Network

__all__ = ["JACOBIANS", "PROFILE", "QUANTILES", "padded", "profile", "quantiles"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

NAN, OVER = float("nan"), ("boundary",)
PROFILE: dict[str, tuple] = {name: MEASURED[name] for name in ("loss", "accuracy", "examples")} | {
    "gradient": (
        "f8",
        NAN,
        {"long_name": "norm of an example's gradient, relative to the last boundary", "units": "1"},
        ("quantile", *OVER),
    ),
    "gradient_last": ("f8", NAN, {"long_name": "median norm of the gradient at the last boundary", "units": "nats"}),
    "parameter_gradient": (
        "f8",
        NAN,
        {"long_name": "norm of the mean loss's gradient for the parameters behind the boundary", "units": "nats"},
        OVER,
    ),
    "residual": (
        "f8",
        NAN,
        {"long_name": "norm of what a block adds, relative to what its shortcut carries", "units": "1"},
        ("quantile", *OVER),
    ),
    "share": ("f8", NAN, {"long_name": "share of the variance that a block adds", "units": "1"}, OVER),
    "cosine": ("f8", NAN, {"long_name": "mean cosine between what a block adds and the gradient", "units": "1"}, OVER),
    "cosine_se": ("f8", NAN, {"long_name": "standard error of that over examples", "units": "1"}, OVER),
    "exit_loss": ("f8", NAN, {"long_name": "loss without the blocks from here on", "units": "nats"}, OVER),
    "exit_loss_se": ("f8", NAN, {"long_name": "standard error of that over examples", "units": "nats"}, OVER),
    "exit_accuracy": ("f8", NAN, {"long_name": "accuracy without the blocks from here on", "units": "1"}, OVER),
    "similarity": (
        "f8",
        NAN,
        {"long_name": "linear centred kernel alignment between boundaries, debiased", "units": "1"},
        (*OVER, "other"),
    ),
}
JACOBIANS: dict[str, tuple] = {
    f"sigma_{end}": (
        "f8",
        NAN,
        {"long_name": f"{word} singular value of the Jacobian, one example", "units": "1"},
        OVER,
    )
    for end, word in (("min", "smallest"), ("max", "largest"))
}


def profile(
    network: nn.Module,
    batches: Batches,
    boundaries: int,
    loss: Loss = LOSSES["cross_entropy"],
    batchnorm: str = "batch",
    jacobians: bool = False,
    blocks: Blocks = None,
) -> dict[str, float | np.ndarray]:
    """Measure a network from block to block.

    Parameters
    ----------
    network, batches, loss, batchnorm
        See `ensemble.flow.gradients.flow`. Statistics of each batch are for gradients alone: all else is measured with
        those of all the batches, held, since it asks what blocks do to an example.
    boundaries : int
        To which arrays are filled up with NaN, so that networks of several depths fit into one table.
    jacobians : bool
        Also the extreme singular values of every block's Jacobian, at the first example.
    blocks : see `ensemble.flow.parts.parts`

    Returns
    -------
    dict
        The variables of `PROFILE`, and those of `JACOBIANS` if asked for.
    """
    at = parts(network, blocks)
    flows = flow(network, batches, loss, batchnorm, at)
    held = "recalibrated" if batchnorm == "batch" else batchnorm
    if held != batchnorm and any(getattr(module, "running_mean", None) is not None for module in network.modules()):
        at = parts(network, blocks)  # a run with other statistics is another one
    does = refinement(network, batches, loss, held, at)
    outs = exits(network, batches, loss, held, at)
    cosine, cosine_se = _means(does.cosine)
    numbers = {
        "gradient": quantiles(relative(flows.gradient)),
        "parameter_gradient": flows.parameters,
        "residual": quantiles(does.residual),
        "share": does.share,
        "cosine": cosine,
        "cosine_se": cosine_se,
        "similarity": similarity(network, batches, held, at),
    }
    for name in ("loss", "loss_se", "accuracy"):  # the last only where it is defined
        numbers["exit_" + name] = np.array([NAN if out is None else out.get(name, NAN) for out in outs])
    if jacobians:
        with normalised(network, batches, held):
            ends = _ends(network, take(batches[0][0], slice(1)), blocks)
        numbers |= {f"sigma_{end}": np.array([*values, NAN]) for end, values in zip(("min", "max"), ends, strict=True)}
    filled: dict[str, float | np.ndarray]
    filled = {name: padded(value, (PROFILE | JACOBIANS)[name][3], boundaries) for name, value in numbers.items()}
    filled["gradient_last"] = float(np.median(flows.gradient[-1]))
    return filled | {name: (outs[-1] or {}).get(name, NAN) for name in ("loss", "accuracy", "examples")}


def _ends(network: nn.Module, inputs: Nested, blocks: Blocks) -> tuple[list[float], list[float]]:
    ends = []
    if isinstance(network, Network) and blocks is None:
        x = network.stem(inputs)
        for part in stages(network):
            ends.append(extremes(part, x))
            x = part(x).detach()
    else:
        exact, blocks = copy.deepcopy((network, blocks))
        exact.double()
        inputs = mapped(lambda t: t.double() if t.is_floating_point() else t, inputs)
        row = parts(exact, blocks)(inputs)
        x = row.stem(inputs)
        for each in row.between:
            ends.append(extremes(each.run, x))
            x = each.run(x).detach()
    low, high = zip(*ends, strict=True)
    return list(low), list(high)


def quantiles(values: np.ndarray) -> np.ndarray:
    """`QUANTILES` over examples, (boundaries, examples) -> (quantiles, boundaries); NaN where an example is."""
    if not values.shape[1]:
        return np.full((len(QUANTILES), len(values)), np.nan)
    with np.errstate(invalid="ignore"):  # between two infinities
        return np.quantile(values, QUANTILES, axis=1)


def _means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over examples (boundaries, examples), without those that are NaN, and their standard errors."""
    known = np.isfinite(values)
    n = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(axis=1) / n
        squares = np.where(known, values - mean[:, None], 0) ** 2
        return mean, np.sqrt(squares.sum(axis=1) / (n - 1) / n)


def padded(value: np.ndarray, dims: Sequence[str], boundaries: int) -> np.ndarray:
    """Filled up with NaN along the dimensions of boundaries, which are all but that of quantiles."""
    room = [(0, 0 if dim == "quantile" else boundaries - size) for dim, size in zip(dims, value.shape, strict=True)]
    return np.pad(value, room, constant_values=np.nan)
