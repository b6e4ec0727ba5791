"""Planes through a network: along random directions, to other networks, or along directions that somebody has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput
from landscape.lazy_weights import LazyWeights, large, origin_of, stored
from landscape.planes.directions import normalize, orthogonalize, random_direction, redrawn
from landscape.planes.ends import End, called, directions_of, sources_of, state_of
from landscape.planes.filters import Parameters, Which, conventions, matching, naming
from landscape.planes.plane import Plane
from landscape.validate import one_of
from landscape.weights import Weights

__all__ = ["PlaneMaker", "along_directions", "plane_along", "plane_to", "random_plane", "through_ends"]

PlaneMaker = Callable[[nn.Module], Plane]


def random_plane(
    network: nn.Module,
    dimensions: int = 2,
    *,
    seed: int = 0,
    repeat: int = 0,
    normalize: str = "filter",
    move_biases: bool = False,
    parameters: Parameters = None,
    orthogonal: bool = False,
) -> Plane:
    """A plane through a network along random directions (Li et al. 2018, 1712.09913 §4).

    Parameters
    ----------
    network : nn.Module
        Its weights are the origin.
    dimensions : {2, 1, 3}
        1 makes a line, 2 a plane, 3 a space.
    seed, repeat : int
        Random seed of the directions; repeats of one seed are independent.
    normalize : {"filter", "layer", "weight", "none"}
        How directions are scaled to the weights, see `landscape.planes.directions.normalize`.
    move_biases : bool
        Whether parameters without filters, such as biases and BatchNorm's, move too.
    parameters : str, sequence of str, or callable, optional
        Which parameters move: "all", "trainable", patterns of names, or a function of name and parameter.
    orthogonal : bool
        Whether to take from each direction its part along those before it.

    Returns
    -------
    Plane
        Its directions are Gaussian, on the CPU.

    Examples
    --------
    >>> plane = random_plane(nn.Linear(3, 2), seed=1)
    >>> [round(float(d["weight"].norm() / plane.origin["weight"].norm()), 3) for d in plane.directions]
    [1.0, 1.0]
    """
    one_of("normalize", normalize, NORMALIZATIONS)
    shape: dict[str, Any] = {"conventions": conventions(network), "one_dimensional": move_biases}
    origin = origin_of(network)
    seeds = [(seed, number, repeat) for number in range(dimensions)]
    directions: list[Weights]
    if large(network.parameters()):
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        directions = [redrawn(weights, each, normalize, origin=origin, **shape) for each in seeds]
    else:
        directions = [_normalized(random_direction(origin, each), origin, normalize, shape) for each in seeds]
    moved = "moved too" if move_biases else "not moved"
    metadata = {"directions": f"random, {NORMALIZATIONS[normalize]}; parameters of one dimension {moved}"}
    return _plane(network, origin, directions, metadata, parameters, orthogonal, seed=seed)


def plane_to(network: nn.Module, *others: End, parameters: Parameters = None, orthogonal: bool = False) -> Plane:
    """A line from a network (0) to another one (1), or a plane through two others.

    Parameters
    ----------
    network : nn.Module
        Its weights are the origin.
    *others : nn.Module, state dict or path of a checkpoint
        Of the same network with other weights; each is at 1 on its axis.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, see `random_plane`.
    orthogonal : bool
        Whether to take from each direction its part along those before it; axes then do not lead to the others.

    Returns
    -------
    Plane
        With one direction for each of the others.

    Raises
    ------
    BadInput
        They are of another network.

    Examples
    --------
    >>> network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    >>> (direction,) = plane_to(network, other).directions
    >>> bool(torch.equal(direction["bias"], (other.bias - network.bias).detach()))
    True
    """
    ends = [state_of(end, network, "the network", None) for end in others]
    return through_ends(network, ends, others, parameters, orthogonal)


def plane_along(
    *directions: End,
    normalize: str | None = None,
    move_biases: bool = False,
    parameters: Parameters = None,
    orthogonal: bool = False,
) -> PlaneMaker:
    """A plane along directions that somebody has, through whichever network it is measured with.

    Parameters
    ----------
    *directions : dict from parameter names to tensors, network, or path of a file
        As many as there are axes, or more. What a direction does not name stays. A file may hold several, see
        `landscape.planes.direction_files`.
    normalize : {"filter", "layer", "weight", "none"}, optional
        How they are scaled to the weights; by default they are taken as they are.
    move_biases : bool
        With `normalize`, whether parameters without filters move too.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, see `random_plane`.
    orthogonal : bool
        See there.

    Returns
    -------
    callable
        Makes the `Plane` of a network.

    Raises
    ------
    BadInput
        In that call: a direction is of another network.

    Examples
    --------
    >>> network = nn.Linear(3, 2)
    >>> plane = plane_along({"bias": torch.ones(2)})(network)
    >>> plane.directions[0]["bias"], bool(plane.directions[0]["weight"].any())
    (tensor([1., 1.]), False)
    """
    sources = sources_of(directions, "plane_along")

    def through(network: nn.Module) -> Plane:
        loaded = directions_of(sources, network, "the network")
        return along_directions(network, sources, loaded, normalize, move_biases, parameters, orthogonal)

    return through


def through_ends(
    network: nn.Module,
    ends: Sequence[Mapping[str, Tensor]],
    sources: Sequence[End],
    parameters: Parameters,
    orthogonal: bool,
) -> Plane:
    """The plane from a network to other ones, one for each axis."""
    origin = origin_of(network)

    def difference(end: Mapping[str, Tensor], name: str) -> Tensor:
        w = origin[name]
        return end[name].to(w) - w

    directions = [_made(partial(difference, end), source, network) for end, source in zip(ends, sources, strict=True)]
    metadata = {"directions": "to other checkpoints", "to": [called(source) for source in sources]}
    return _plane(network, origin, directions, metadata, parameters, orthogonal, ends)


def along_directions(
    network: nn.Module,
    sources: list,
    directions: list[tuple[object, Weights]],
    how: str | None,
    move_biases: bool,
    parameters: Parameters,
    orthogonal: bool,
    first: int | None = None,
) -> Plane:
    """The plane along directions, all of them or the first ones."""
    if first is not None and (len(directions) < first or (len(sources) > 1 and len(directions) > first)):
        raise BadInput(
            f"--along names {len(directions)} direction(s) for {first} axis/axes; give one a file, "
            "or one file whose first ones are taken"
        )
    if move_biases and not how:
        raise BadInput("saved directions move what they name; --move-biases is for --normalize")
    origin = origin_of(network)
    shape: dict[str, Any] = {"conventions": conventions(network), "one_dimensional": move_biases}

    def completed(direction: Weights, name: str) -> Tensor:
        w = origin[name]
        # What a direction does not name stays.
        d = direction[name].detach().to(w, copy=True) if name in direction else torch.zeros_like(w)
        return normalize({name: d}, {name: w}, how, **shape)[name] if how else d

    made = [_made(partial(completed, direction), source, network) for source, direction in directions[:first]]
    metadata = {
        "directions": f"saved, {NORMALIZATIONS[how or 'none']}",
        "along": [called(source) for source in sources],
    }
    return _plane(network, origin, made, metadata, parameters, orthogonal)


def _plane(
    network: nn.Module,
    origin: Weights,
    directions: Sequence[Weights],
    metadata: dict,
    parameters: Parameters,
    orthogonal: bool,
    ends: Sequence[Mapping[str, Tensor]] = (),
    seed: int | None = None,
) -> Plane:
    """A plane of the chosen parameters."""
    chosen = matching(network, parameters)
    if chosen is not None:
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        directions = [_only(direction, weights, chosen) for direction in directions]
    metadata = {**metadata, **naming(parameters), **({"orthogonal": True} if orthogonal else {})}
    made = tuple(orthogonalize(directions) if orthogonal else directions)
    # The far end of an axis should be the other network, not its weights with statistics that do not fit.
    reached = not orthogonal and not any(
        chosen is not None and not chosen(name, w) and not torch.equal(end[name].to(w), w)
        for end in ends
        for name, w in origin.items()
    )
    return Plane(origin, made, tuple(ends), reached, metadata, seed)


def _normalized(direction: Weights, origin: Weights, how: str, shape: dict) -> Weights:
    return normalize(direction, origin, how, **shape)


def _made(make: Callable[[str], Tensor], source: object, network: nn.Module) -> Weights:
    """A direction of which each tensor is made of a source's: when it is asked for, of a large one in a file."""
    made = LazyWeights({name: parameter.shape for name, parameter in network.named_parameters()}, make)
    # What is in memory may be moved, as the network's own weights are.
    return stored(made, dict(network.named_parameters())) if isinstance(source, str | os.PathLike) else dict(made)


def _only(direction: Weights, weights: Weights, chosen: Which) -> Weights:
    """A direction with 0 in what is not chosen; whatever is chosen, the rest is the same."""

    def make(name: str) -> Tensor:
        return direction[name] if chosen(name, weights[name]) else torch.zeros_like(weights[name])

    if isinstance(direction, LazyWeights):
        return LazyWeights(direction.shapes, make)
    return {name: make(name) for name in direction}
