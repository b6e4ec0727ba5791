"""A network's weights with its units in the order that is nearest to another's: it computes what it did."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.alignment.families import Symmetry, members, outputs_in, symmetry, tensors_of
from landscape.alignment.matching import (
    Similarity,
    correlations_of,
    identity_of,
    matched,
    nearest_by_weights,
    permuted,
)
from landscape.errors import BadInput
from landscape.evaluation.calling import evaluating, functional
from landscape.nested import Nested, length, mapped, split
from landscape.validate import one_of
from landscape.weights import real

__all__ = ["ALIGNMENTS", "Alignment", "aligned", "departure"]

ALIGNMENTS = ("weights", "activations")
CHECKED = 8  # batches
BATCH = 16  # examples that are followed at once, where heads and examples may stand in one axis
ROUNDING = {torch.float64: 1e-8, torch.float32: 1e-4, torch.bfloat16: 0.1}  # what outputs may be off, of the largest


class Alignment(NamedTuple):
    """A network with its units permuted, and how much nearer it is.

    Attributes
    ----------
    weights : dict
        The state dict, with BatchNorm's statistics.
    by : str
        "weights" or "activations".
    units, moved : int
        How many units can be permuted, and how many are elsewhere now.
    before, after : float
        By weights, the distance of the two networks' parameters; by activations, the mean correlation of units that
        have the same place.
    """

    weights: dict[str, Tensor]
    by: str
    units: int
    moved: int
    before: float
    after: float


def aligned(
    network: nn.Module,
    other: Mapping[str, Tensor],
    inputs: Sequence[Nested],
    by: str = "weights",
    *,
    seed: int = 0,
    label: str = "the network",
) -> Alignment:
    """Another network's weights in the order of units that is nearest to a network.

    Parameters
    ----------
    network : nn.Module
        Stays as it is.
    other : dict
        State dict of a network of the same kind.
    inputs : sequence of tensors or structures
        Batches, on which both must compute the same before and after; those that activations are compared on.
    by : {"weights", "activations"}
    seed : int
        Random seed of the order in which families of units are matched by weights.
    label : str
        What messages call the network.

    Returns
    -------
    Alignment

    Raises
    ------
    BadInput
        No unit can be permuted, or the permuted network would compute something else.
    """
    one_of("align", by, ALIGNMENTS)
    own = {name: tensor.detach() for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
    end = {name: other[name].detach().to(tensor.device) for name, tensor in own.items()}
    number = min(BATCH, length(inputs[0]))
    inputs = [part for batch in inputs for part in split(batch, number) if length(part) == number]
    can = symmetry(network, inputs[0])
    if not can.families:
        because = "none of its units are interchangeable"
        if can.unknown:
            because = f"its units meet operations that are not known, {', '.join(can.unknown[:4])}"
        raise BadInput(f"nothing in {label} can be permuted: {because}; leave out --align")
    one, another = ({name: _double(state[name]) for name, _ in network.named_parameters()} for state in (own, end))
    if by == "weights":
        moved = nearest_by_weights(can, one, another, seed)
        here = {name: _double(t) for name, t in permuted(end, can, moved).items() if name in one}
        before, after = (
            math.sqrt(math.fsum(float(np.sum((one[name] - each[name]) ** 2)) for name in one))
            for each in (another, here)
        )
    else:
        similarity = correlations_of(network, can, [own, end], inputs)
        moved = identity_of(can)
        for family in can.families:
            moved |= matched(family, family, similarity)[1]
        before, after = (_mean(can, similarity, each) for each in (identity_of(can), moved))
    weights = permuted(end, can, moved)
    off, most = departure(network, end, weights, inputs[:CHECKED])
    if not off <= most:
        raise BadInput(
            f"{label} would compute something else with its units permuted: outputs are off by {off:.1g} of the "
            "largest, so its symmetries are not understood; leave out --align"
        )
    units = {unit for along in can.axes.values() for unit in along.where} & moved.keys()
    different = sum(unit != moved[unit] for unit in units)
    return Alignment(weights, by, len(units), different, _rounded(before), _rounded(after))


def departure(
    network: nn.Module, one: Mapping[str, Tensor], other: Mapping[str, Tensor], inputs: Sequence[Nested]
) -> tuple[float, float]:
    """How far a network's outputs are apart with two state dicts, as a part of the largest, and what rounding explains.

    It is called in float64, or in float32 if it cannot be; some networks compute a part in float32 whatever they get.
    """
    for dtype in (torch.float64, torch.float32):
        types = _Types()
        try:
            with torch.no_grad(), evaluating(network), types:
                states = [_in(each, dtype) for each in (one, other)]
                return max(_apart(network, states, batch, dtype) for batch in inputs), ROUNDING[types.coarsest]
        except RuntimeError:
            if dtype == torch.float32:
                raise
    raise AssertionError


class _Types(TorchDispatchMode):
    """The coarsest type that something is computed in."""

    coarsest = torch.float64

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for each in made if isinstance(made, list | tuple) else [made]:
            if isinstance(each, Tensor) and each.is_floating_point() and each.numel() > 1:
                dtype = each.dtype if each.dtype in ROUNDING else torch.bfloat16
                self.coarsest = max(self.coarsest, dtype, key=ROUNDING.__getitem__)
        return made


def _apart(network: nn.Module, states: Sequence[dict], batch: Nested, dtype: torch.dtype) -> float:
    inputs = mapped(lambda t: t.to(dtype) if t.is_floating_point() else t, batch)
    pairs = zip(
        *(
            outputs_in(functional(network, {name: state[name] for name in tensors_of(network)}, inputs))
            for state in states
        ),
        strict=True,
    )
    parts = [
        float((first - second).abs().max() / first.abs().max().clamp_min(torch.finfo(dtype).tiny))
        for first, second in pairs
        if first.is_floating_point()
    ]
    return math.nan if not parts or any(map(math.isnan, parts)) else max(parts)


def _in(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in state.items()}


def _double(tensor: Tensor) -> np.ndarray:
    return real(tensor).astype(np.float64)


def _mean(can: Symmetry, similarity: Similarity, moved: Mapping[int, int]) -> float:
    """The mean similarity of units that have the same place, of those that are read."""
    values: list[float] = []
    for each in (each for family in can.families for each in members(family)):
        here = similarity(each.units, [moved[unit] for unit in each.units]).diagonal()
        values += here.tolist() if here.any() else []
    return float(np.mean(values)) if values else 0.0


def _rounded(number: float) -> float:
    """To digits that do not depend on the number of threads."""
    return float(f"{number:.6g}")
