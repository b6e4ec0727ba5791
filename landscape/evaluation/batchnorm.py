"""BatchNorm's statistics at a point that is not the checkpoint: four choices, none of them neutral.

The statistics that a network has stored belong to its weights. Elsewhere one can keep them (frozen), move
them along with the weights (interpolated), measure them anew (recalibrated), or take those of each batch.
Each is a context manager; afterwards the network's own statistics are back, to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.errors import BadInput
from landscape.evaluation.calling import predict
from landscape.nested import Nested

__all__ = ["POLICIES", "has_statistics", "interpolated", "norms_of", "of_each_batch", "recalibrated"]

POLICIES = ("frozen", "interpolated", "recalibrated", "batch")


def norms_of(network: nn.Module) -> dict[str, _BatchNorm]:
    """The modules of a network that store statistics.

    Raises
    ------
    BadInput
        There is none.
    """
    norms = {name: module for name, module in network.named_modules() if _stores(module)}
    if not norms:
        raise BadInput("the network has no BatchNorm with stored statistics; leave out --batchnorm")
    return norms


def has_statistics(network: nn.Module) -> bool:
    """Whether a network has BatchNorm that stores statistics."""
    return any(map(_stores, network.modules()))


def _stores(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.running_mean is not None


@contextlib.contextmanager
def interpolated(
    network: nn.Module, ends: Sequence[Mapping[str, Tensor]], point: Sequence[float]
) -> Iterator[nn.Module]:
    """The network with statistics between its own and those of other checkpoints.

    Parameters
    ----------
    network : at the origin of the point
    ends : state dict of the checkpoint at coordinate 1 of each axis
    point : one coordinate for each end

    Notes
    -----
    Means are interpolated linearly, variances geometrically: σ² = σ₀² Π (σᵢ²/σ₀²)^pointᵢ stays positive
    beyond the ends as well, where a straight line would not.
    """
    norms = norms_of(network)
    with _restored(norms), torch.no_grad():
        for name, norm in norms.items():
            own, variance = norm.running_mean.clone(), norm.running_var.log()
            for coordinate, end in zip(point, ends, strict=True):
                coordinate = float(coordinate)
                norm.running_mean.add_(end[f"{name}.running_mean"].to(own) - own, alpha=coordinate)
                variance = variance + coordinate * (end[f"{name}.running_var"].to(own).log() - norm.running_var.log())
            if any(point):  # at the origin they are its own to the bit
                norm.running_var.copy_(variance.exp())
        yield network


@contextlib.contextmanager
def recalibrated(network: nn.Module, inputs: Sequence[Nested]) -> Iterator[nn.Module]:
    """The network with statistics measured where its weights are now.

    Parameters
    ----------
    network : in evaluation mode
    inputs : batches, of one size, that the statistics are taken from
        The mean over batches of their means and variances counts, as in training with an unlimited memory.
    """
    norms = norms_of(network)
    with _restored(norms), torch.no_grad():
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over batches
            norm.training = True
        for batch in inputs:
            predict(network, batch)
        for norm in norms.values():
            norm.training = False
        yield network


@contextlib.contextmanager
def of_each_batch(network: nn.Module) -> Iterator[nn.Module]:
    """The network with the statistics of whatever batch it is given, as in training; nothing is stored.

    What it measures depends on how the data are cut into batches.
    """
    norms = norms_of(network)
    with _restored(norms):
        for norm in norms.values():
            norm.running_mean = norm.running_var = None  # torch then takes the batch's
        yield network


@contextlib.contextmanager
def _restored(norms: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """Put back statistics, momentum and mode, whatever happens inside; tensors stay the same objects."""
    before = {
        name: (norm.running_mean, norm.running_var, norm.num_batches_tracked, norm.momentum, norm.training)
        for name, norm in norms.items()
    }
    copies = {name: [t.clone() for t in kept[:3]] for name, kept in before.items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, norm in norms.items():
                mean, variance, number, norm.momentum, norm.training = before[name]
                for tensor, copy in zip((mean, variance, number), copies[name], strict=True):
                    tensor.copy_(copy)
                norm.running_mean, norm.running_var, norm.num_batches_tracked = mean, variance, number
