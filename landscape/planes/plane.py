"""Planes in weight space, grids on them, and a network moved to a point of one.

θ(point) = origin + Σᵢ pointᵢ · directionᵢ (Li et al. 2018, §3.1), always computed from the origin, tensor by tensor: of
a large network neither origin nor directions need to be stored, see `landscape.lazy_weights`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from landscape.errors import BadInput
from landscape.lazy_weights import shape_of
from landscape.weights import Weights

__all__ = ["Plane", "shift"]


@dataclass(frozen=True)
class Plane:
    """An origin and one, two or more directions from it.

    Attributes
    ----------
    origin : Weights
        Where the plane is at 0.
    directions : tuple of Weights
        The first for x, the second for y, the third for z.
    ends : tuple of state dicts
        Of the networks that the axes lead to, if there are such.
    reaches_ends : bool
        Whether the axes lead to all of these, and not past what is not moved.
    metadata : dict
        What a results file says of the directions.
    seed : int, optional
        That random directions were drawn from.

    Examples
    --------
    >>> network = nn.Linear(2, 1)
    >>> before = {name: weights.detach().clone() for name, weights in network.named_parameters()}
    >>> plane = Plane(before, ({"weight": torch.ones(1, 2), "bias": torch.zeros(1)},))
    >>> with shift(network, plane, [0.5]):
    ...     bool((network.weight == before["weight"] + 0.5).all())
    True
    """

    origin: Weights
    directions: tuple[Weights, ...]
    ends: tuple[Mapping[str, torch.Tensor], ...] = ()
    reaches_ends: bool = True
    metadata: dict = field(default_factory=lambda: {"directions": "given"})
    seed: int | None = None
    moved: tuple[str, ...] = field(
        init=False, repr=False, compare=False
    )  # of the parameters; the others are never touched

    def __post_init__(self) -> None:
        for direction in self.directions:
            for name in self.origin:
                if name not in direction or shape_of(direction, name) != shape_of(self.origin, name):
                    raise BadInput(f"a direction does not fit the origin at {name}; make both from the same network")
        moved = tuple(n for n in self.origin if any(bool(d[n].any()) for d in self.directions))
        object.__setattr__(self, "moved", moved)


@contextlib.contextmanager
def shift(network: nn.Module, plane: Plane, point: Sequence[float]) -> Iterator[nn.Module]:
    """The network with its parameters at a point of the plane, for the length of a ``with``.

    Parameters
    ----------
    network : nn.Module
        Its parameters are named as the plane's origin.
    plane : Plane
    point : sequence of float
        One coordinate for each direction.

    Yields
    ------
    nn.Module
        The same network, at that point.

    Notes
    -----
    Nothing accumulates: each point is computed from the origin, and afterwards, on an error too,
    the parameters hold the origin to the bit. Buffers (BatchNorm's statistics) stay as they are.
    """
    if len(point) != len(plane.directions):
        raise ValueError(f"{len(point)} coordinates for {len(plane.directions)} directions")
    parameters = dict(network.named_parameters())
    try:
        with torch.no_grad():
            for name in plane.moved:
                here = parameters[name]
                here.copy_(plane.origin[name])
                for coordinate, direction in zip(point, plane.directions, strict=True):
                    here.add_(direction[name], alpha=float(coordinate))
        yield network
    finally:
        with torch.no_grad():
            for name in plane.moved:
                parameters[name].copy_(plane.origin[name])
