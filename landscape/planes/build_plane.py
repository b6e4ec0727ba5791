"""Planes through a network: along random directions, to other networks, or along directions that somebody has.

`random_plane`, `plane_to` and `plane_along` make a `Plane`; `build_plane` makes the one that a measurement asks for,
and says what becomes of BatchNorm's statistics on it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.alignment.aligned import ALIGNMENTS, Alignment, aligned
from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import POLICIES, has_statistics, interpolated, norms_of, of_each_batch, recalibrated
from landscape.evaluation.prepared import Evaluation
from landscape.lazy_weights import LARGE, LazyWeights, large, origin_of, shape_of, stored
from landscape.nested import Nested
from landscape.planes import direction_files as saved
from landscape.planes.directions import cosine, normalize, orthogonalize, random_direction, redrawn
from landscape.planes.filters import Parameters, Which, conventions, matching, naming, warn_of_unknown
from landscape.planes.plane import Plane, shift
from landscape.validate import one_of, whole
from landscape.weights import Weights, digest

if TYPE_CHECKING:
    from landscape.evaluation.evaluator import Evaluator

__all__ = [
    "PlaneWithStatistics",
    "RandomPlanes",
    "build_plane",
    "plane_along",
    "plane_to",
    "random_plane",
    "seed_of",
    "sources_of",
    "state_of",
]

# A file, a network, or its weights by name.
End = str | os.PathLike | nn.Module | Mapping[str, Tensor]
PlaneMaker = Callable[[nn.Module], Plane]


class RandomPlanes:
    """Planes of independent directions, each drawn when it is needed; the last one is kept.

    Parameters
    ----------
    draw : gives the plane of a repeat by its number
    """

    def __init__(self, draw: Callable[[int], Plane]):
        self.draw = draw
        self.kept: tuple[int, Any] = (-1, None)

    def __getitem__(self, repeat: int) -> Plane:
        if self.kept[0] != repeat:
            self.kept = (-1, None)  # let go of one before the next is made
            self.kept = (repeat, self.draw(repeat))
        return self.kept[1]


class PlaneWithStatistics(NamedTuple):
    """A plane, and what becomes of BatchNorm on it.

    Attributes
    ----------
    plane : Plane, or one for each repeat
    statistics : gives, for a point, a context in which the network has its statistics there
    metadata : provenance; a resumed run must have the same
    """

    plane: Plane | RandomPlanes
    statistics: Callable
    metadata: dict

    @property
    def repeated(self) -> bool:
        """Whether the last coordinate of a point is the number of a repeat."""
        return isinstance(self.plane, RandomPlanes)

    @contextlib.contextmanager
    def at(self, network: nn.Module, point: Sequence[float]) -> Iterator[nn.Module]:
        """The network at a point, as `landscape.engine.grid` gives it, for the length of a ``with``."""
        plane = self.plane
        if isinstance(plane, RandomPlanes):
            *point, repeat = point
            plane = plane[int(repeat)]
        with shift(network, plane, point), self.statistics(point):
            yield network


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
    return _to(network, ends, others, parameters, orthogonal)


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
        loaded = _directions(sources, network, "the network")
        return _along(network, sources, loaded, normalize, move_biases, parameters, orthogonal)

    return through


def build_plane(
    evaluator: Evaluator,
    evaluation: Evaluation,
    plane: Plane | PlaneMaker | None = None,
    *,
    dimensions: int,
    seed: int,
    repeats: int | None = None,
    to: End | Sequence[End] | None = None,
    along: End | Sequence[End] | None = None,
    normalize: str | None = None,
    move_biases: bool = False,
    parameters: Parameters = None,
    orthogonal: bool = False,
    align: str | None = None,
    batchnorm: str | None = None,
    calibration: int | None = None,
) -> PlaneWithStatistics:
    """The plane through a network that a measurement asks for, and its metadata.

    Parameters
    ----------
    evaluator, evaluation : whose network is the origin
    plane : the plane itself, or what makes it; or else what follows says how it is made
    dimensions : the number of axes
    seed : of random directions
    repeats : so many independent sets of random directions
    to : other checkpoints or networks, one for each axis, see `plane_to`
    along : directions, see `plane_along`
    normalize, move_biases, parameters, orthogonal : see `random_plane`
    align : {"weights", "activations"}
        With `to`, by what the units of the others are put in the order nearest to the network's, see `aligned`.
    batchnorm : {"frozen", "interpolated", "recalibrated", "batch"}
        BatchNorm's statistics away from the network: its own, between the networks', measured anew, each batch's; by
        default interpolated with `to` and frozen else.
    calibration : number of examples used to re-estimate them, or to compare activations, by default 1024

    Raises
    ------
    BadInput
        Options that do not go together, or checkpoints or directions of another network.
    """
    network, label = evaluation.network, evaluator.label
    to, along = sources_of(to, "to"), sources_of(along, "along")
    if normalize is not None:
        one_of("normalize", normalize, NORMALIZATIONS)
    if batchnorm is not None:
        one_of("batchnorm", batchnorm, POLICIES)
    if align is not None:
        one_of("align", align, ALIGNMENTS)
        if not to:
            raise BadInput(
                "--align puts the units of another checkpoint in the order of this one's; name one with --to"
            )
    choice: dict[str, Any] = {"parameters": parameters, "orthogonal": orthogonal}
    if to and along:
        raise BadInput("--to and --along both say where the axes lead; give one of them")
    if repeats and (to or along or plane is not None):
        raise BadInput("--repeats draws random directions anew; leave it out with --to and --along, or with a plane")
    if plane is not None:
        directing = {"to": to, "along": along, "normalize": normalize, "move_biases": move_biases, **choice}
        if given := [name for name, value in directing.items() if value]:
            raise BadInput(f"a plane says itself where its axes lead; leave out {given[0]}, or give it with the plane")
        made = _through(plane, network)
    elif to:
        aligning = (align, evaluation.calibration(calibration) if align else (), seed)
        made = _to_checkpoints(evaluator, network, to, dimensions, normalize, move_biases, choice, aligning)
    elif along:
        made = _along(
            network, along, _directions(along, network, label), normalize, move_biases, **choice, first=dimensions
        )
    else:
        how: dict[str, Any] = {"seed": seed, "normalize": normalize or "filter", "move_biases": move_biases, **choice}
        made = random_plane(network, dimensions, **how)
    made = _first(made, dimensions)
    if normalize == "filter" or not (to or along or plane is not None):
        warn_of_unknown(network)
    policy, metadata = batchnorm or _policy(network, made), {**made.metadata}
    if repeats:
        metadata["repeats"] = repeats
    digests, cosines = [], []  # repeat by repeat, so that one plane at a time is held
    each: Any = made
    made = replace(made, directions=())
    for repeat in range(repeats or 1):
        if repeat:
            each = None
            each = random_plane(network, dimensions, **how, repeat=repeat)
        if "chosen_parameters" in metadata and not each.moved:
            raise BadInput(
                "none of the chosen parameters moves along these directions; choose others, or let those without "
                "filters move too: --move-biases"
            )
        digests.append(digest(*each.directions))
        cosines += [cosine(*pair) for pair in combinations(each.directions, 2)]  # x and y, x and z, y and z
    metadata |= {"batchnorm": policy, "direction_digest": digests[0] if len(digests) == 1 else digests}
    if cosines:
        metadata["cosine"] = cosines[0] if len(cosines) == 1 else cosines
    inputs: Sequence[Nested] = ()
    if policy != "frozen":
        norms_of(network)  # there must be some
    if policy == "recalibrated":
        inputs = evaluation.calibration(calibration)
        metadata["calibration"] = sum(map(len, inputs))
    planes = RandomPlanes(lambda repeat: random_plane(network, dimensions, **how, repeat=repeat)) if repeats else each
    return PlaneWithStatistics(planes, _statistics(policy, evaluation, made, inputs), metadata)


def _normalized(direction: Weights, origin: Weights, how: str, shape: dict) -> Weights:
    return normalize(direction, origin, how, **shape)


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


def _only(direction: Weights, weights: Weights, chosen: Which) -> Weights:
    """A direction with 0 in what is not chosen; whatever is chosen, the rest is the same."""

    def make(name: str) -> Tensor:
        return direction[name] if chosen(name, weights[name]) else torch.zeros_like(weights[name])

    if isinstance(direction, LazyWeights):
        return LazyWeights(direction.shapes, make)
    return {name: make(name) for name in direction}


def _through(plane: Plane | PlaneMaker, network: nn.Module) -> Plane:
    """A plane that starts at the network's weights."""
    if not isinstance(plane, Plane):
        if not callable(plane):
            raise BadInput(f"plane is a {type(plane).__name__}; give one of random_plane, plane_to or plane_along")
        return plane(network)
    weights = dict(network.named_parameters())
    if plane.origin.keys() != weights.keys():
        name = min(plane.origin.keys() ^ weights.keys())
        raise BadInput(
            f"the plane is of another network, which differs in {name}; make it from the one that is measured"
        )
    for name, w in weights.items():
        if shape_of(plane.origin, name) != w.shape or not torch.equal(plane.origin[name].to(w), w):
            raise BadInput(
                f"the plane starts at other weights than the network has now: they differ in {name}; make it anew"
            )
    on_device = plane.origin and next(iter(plane.origin.values())).device != next(iter(weights.values())).device
    if on_device:
        moved = [{name: d.to(weights[name]) for name, d in direction.items()} for direction in plane.directions]
        return replace(plane, origin=origin_of(network), directions=tuple(moved))
    return plane


def seed_of(evaluator: Evaluator, seed: int | None = None, plane: object = None) -> int:
    """The seed that is given, or else that of a plane, or else that of the evaluator."""
    if seed is not None:
        return whole("seed", seed, 0)
    own = getattr(plane, "seed", None)
    return evaluator.seed if own is None else own


def _first(plane: Plane, dimensions: int) -> Plane:
    """As many directions as there are axes."""
    if len(plane.directions) < dimensions:
        raise BadInput(
            f"the plane has {len(plane.directions)} direction(s) for {dimensions} axis/axes; give it more, or leave "
            "out an axis"
        )
    if len(plane.directions) == dimensions:
        return plane
    return replace(plane, directions=plane.directions[:dimensions], ends=plane.ends[:dimensions])


def sources_of(given: object, name: str) -> list:
    """Files, networks or weights, one or several."""
    if given is None:
        return []
    many = given if isinstance(given, list | tuple) else [given]
    for each in many:
        if not isinstance(each, str | os.PathLike | Mapping | nn.Module):
            raise BadInput(f"{name} takes files, or dicts from parameter names to tensors, got {type(each).__name__}")
    return [Path(each) if isinstance(each, str | os.PathLike) else each for each in many]


def _called(source: object) -> str:
    return Path(source).name if isinstance(source, str | os.PathLike) else "in memory"


def _policy(network: nn.Module, plane: Plane) -> str:
    """What becomes of BatchNorm's statistics where nothing is said."""
    return "interpolated" if plane.ends and plane.reaches_ends and has_statistics(network) else "frozen"


def _to_checkpoints(
    evaluator: Evaluator,
    network: nn.Module,
    to: list,
    dimensions: int,
    normalize: str | None,
    move_biases: bool,
    choice: dict,
    aligning: tuple[str | None, Sequence[Nested], int],
) -> Plane:
    """The plane through other checkpoints, one for each axis."""
    if len(to) != dimensions:
        raise BadInput(
            f"--to names {len(to)} checkpoint(s) for {dimensions} axis/axes; "
            "one other checkpoint gives a line (--x), two give a plane (--x and --y)"
        )
    if normalize or move_biases:
        raise BadInput(
            "--normalize and --move-biases are for random directions or saved ones; leave them out with --to"
        )
    ends: list[Mapping[str, Tensor]] = [state_of(source, network, evaluator.label, evaluator) for source in to]
    align, inputs, seed = aligning
    if align is None:
        return _to(network, ends, to, **choice)
    made = [aligned(network, end, inputs, align, seed=seed, label=evaluator.label) for end in ends]
    plane = _to(network, [each.weights for each in made], to, **choice)
    return replace(plane, metadata={**plane.metadata, **_alignment(made)})


def _alignment(made: Sequence[Alignment]) -> dict[str, object]:
    """What a results file says of how ends were aligned; a list where there are several."""
    numbers = {
        f"align_{name}": [getattr(each, name) for each in made] for name in ("units", "moved", "before", "after")
    }
    return {"align": made[0].by} | {name: each[0] if len(each) == 1 else each for name, each in numbers.items()}


def _to(
    network: nn.Module,
    ends: Sequence[Mapping[str, Tensor]],
    sources: Sequence[End],
    parameters: Parameters,
    orthogonal: bool,
) -> Plane:
    origin = origin_of(network)

    def difference(end: Mapping[str, Tensor], name: str) -> Tensor:
        w = origin[name]
        return end[name].to(w) - w

    directions = [_made(partial(difference, end), source, network) for end, source in zip(ends, sources, strict=True)]
    metadata = {"directions": "to other checkpoints", "to": [_called(source) for source in sources]}
    return _plane(network, origin, directions, metadata, parameters, orthogonal, ends)


def _made(make: Callable[[str], Tensor], source: object, network: nn.Module) -> Weights:
    """A direction of which each tensor is made of a source's: when it is asked for, of a large one in a file."""
    made = LazyWeights({name: parameter.shape for name, parameter in network.named_parameters()}, make)
    # What is in memory may be moved, as the network's own weights are.
    return stored(made, dict(network.named_parameters())) if isinstance(source, str | os.PathLike) else dict(made)


def state_of(source: End, network: nn.Module, label: str, evaluator: Evaluator | None) -> dict[str, Tensor]:
    """The state dict of another network."""
    path = source if isinstance(source, str | os.PathLike) else "what --to names"
    if isinstance(source, str | os.PathLike):
        if evaluator is None:
            from landscape.checkpoints import checkpoint as checkpoints

            end = checkpoints.load(source, type(network).__name__, lazy=_mapped(source), like=network).weights
        else:
            other, own = evaluator.other(Path(source), lazy=_mapped(source)), evaluator.checkpoint
            if other.format and own.format and other.title != own.title:
                raise BadInput(
                    f"{path} holds another network, {other.title}, than {label}, {own.title}; "
                    "give checkpoints of one network"
                )
            end = other.weights
    else:
        end = dict(source.state_dict() if isinstance(source, nn.Module) else source)
    wrong = [name for name, t in network.state_dict().items() if name not in end or end[name].shape != t.shape]
    if wrong:
        raise BadInput(
            f"{path} is another network than {label}: they differ in {wrong[0]}; give checkpoints of one network"
        )
    return end


def _directions(along: list, network: nn.Module, label: str) -> list[tuple[object, Weights]]:
    """Directions in files and in memory, each with what to call it."""
    directions: list[tuple[object, Weights]] = []
    for source in along:
        if isinstance(source, Path):
            directions += [(source, direction) for direction in saved.load(source)]
        else:
            given = source.named_parameters() if isinstance(source, nn.Module) else source
            directions.append(("what --along names", dict(given)))
    origin = dict(network.named_parameters())
    for path, direction in directions:
        if unknown := direction.keys() - origin.keys():
            raise BadInput(f"{path} moves {min(unknown)}, which {label} has not; make it for this network")
        for name, d in direction.items():
            if d.shape != origin[name].shape:
                raise BadInput(
                    f"{path} has shape {tuple(d.shape)} at {name}, {label} {tuple(origin[name].shape)}; "
                    "make it for this network"
                )
            if d.is_complex() and not origin[name].is_complex():
                raise BadInput(f"{path} is complex at {name}, {label} is real; make it for this network")
    return directions


def _along(
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
        "along": [_called(source) for source in sources],
    }
    return _plane(network, origin, made, metadata, parameters, orthogonal)


def _mapped(path: str | os.PathLike) -> bool:
    """Whether a file stays where it is, and what is used of it is read."""
    files = [Path(path)] if os.path.isfile(path) else Path(path).glob("*")
    return sum(file.stat().st_size for file in files) >= LARGE


def _statistics(policy: str, evaluation: Evaluation, plane: Plane, inputs: Sequence[Nested]) -> Callable:
    if policy == "frozen":
        return lambda point: contextlib.nullcontext()
    if policy == "interpolated":
        if not plane.ends:
            raise BadInput("--batchnorm interpolated goes between checkpoints; give others with --to")
        if plane.metadata.get("orthogonal"):
            raise BadInput("--batchnorm interpolated needs axes that lead to the checkpoints; leave out --orthogonal")
        return lambda point: interpolated(evaluation.network, plane.ends, point)
    if policy == "batch":
        return lambda point: of_each_batch(evaluation.network)
    return lambda point: recalibrated(evaluation.runs, inputs)
