"""The plane that a command line asks for: random directions, directions to other checkpoints, or saved ones."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from landscape import axes, filters, saved
from landscape import checkpoint as checkpoints
from landscape.command import Parser
from landscape.directions import (
    NORMALIZATIONS,
    Weights,
    cosine,
    digest,
    normalize,
    orthogonalize,
    random_direction,
    weights_of,
)
from landscape.errors import BadInput
from landscape.filters import Which, conventions, matching, naming, warn_of_unknown
from landscape.plane import Plane, shift
from landscape.statistics import POLICIES, has_statistics, interpolated, norms_of, of_each_batch, recalibrated
from landscape.subject import Subject

__all__ = ["Repeats", "Span", "options", "span"]


class Repeats:
    """Planes of independent directions, each drawn when it is needed; the last one is kept.

    Parameters
    ----------
    draw : gives the plane of a repeat by its number
    """

    def __init__(self, draw: Callable[[int], Plane]):
        self.draw = draw
        self.kept: tuple[int, Plane | None] = (-1, None)

    def __getitem__(self, repeat: int) -> Plane:
        if self.kept[0] != repeat:
            self.kept = (-1, None)  # let go of one before the next is made
            self.kept = (repeat, self.draw(repeat))
        return self.kept[1]


class Span(NamedTuple):
    """A plane, and what becomes of BatchNorm on it.

    Attributes
    ----------
    plane : Plane, or one for each repeat
    statistics : gives, for a point, a context in which the network has its statistics there
    settings : provenance; a resumed run must have the same
    """

    plane: Plane | Repeats
    statistics: Callable
    settings: dict

    @contextlib.contextmanager
    def at(self, network: nn.Module, point: Sequence[float]) -> Iterator[nn.Module]:
        """The network at a point, as `landscape.axes` gives it, for the length of a ``with``."""
        plane = self.plane
        if isinstance(plane, Repeats):
            *point, repeat = point
            plane = plane[int(repeat)]
        with shift(network, plane, point), self.statistics(point):
            yield network


def options(parser: Parser, points: int) -> None:
    """Give a command the options that `landscape.axes.axes_of` and `span` read."""
    axes.options(parser, points)
    g = parser.add_argument_group("directions")
    g.add_argument(
        "--to",
        nargs="+",
        type=Path,
        metavar="OTHER.pt",
        help="from CHECKPOINT (0) to another one (1), a line; to two others, a plane; instead of random directions",
    )
    g.add_argument(
        "--along",
        nargs="+",
        type=Path,
        metavar="DIRECTIONS.pt",
        help="saved directions, as many as there are axes: one in each file, or several in one, as "
        "trajectory.py and curvature.py save them; by default not normalised",
    )
    g.add_argument(
        "--normalize", choices=NORMALIZATIONS, help="what of a direction gets the network's norm (filter, if random)"
    )
    g.add_argument(
        "--move-biases", action="store_true", help="along such directions too: parameters that have no filters"
    )
    filters.options(g)
    g.add_argument("--orthogonal", action="store_true", help="take from each direction its part along those before it")
    g.add_argument(
        "--batchnorm",
        choices=POLICIES,
        help="statistics away from the checkpoint: its own, between the checkpoints', measured anew, each batch's "
        "(default: frozen; with --to, interpolated)",
    )
    g.add_argument("--calibration", type=int, metavar="N", help="examples that they are measured on; by default 1024")


def span(arguments, it: Subject) -> Span:
    """The plane through a subject's network, and its settings.

    Raises
    ------
    BadInput
        Options that do not go together, or checkpoints or directions of another network.
    """
    dimensions = sum(getattr(arguments, letter) is not None for letter in axes.LETTERS)
    parameters = getattr(arguments, "parameters", None)
    to, along = _sources(arguments.to, "to"), _sources(arguments.along, "along")
    chosen = matching(it.network, parameters)
    origin = weights_of(it.network)
    ends: list[dict] = []
    told: dict = {}
    if to and along:
        raise BadInput("--to and --along both say where the axes lead; give one of them")
    if arguments.repeats and (to or along):
        raise BadInput("--repeats draws random directions anew; leave it out with --to and --along")
    shape = {"conventions": conventions(it.network), "one_dimensional": arguments.move_biases}
    if to:
        ends = _ends(to, arguments, it, dimensions)
        found = [{name: end[name].to(w) - w for name, w in origin.items()} for end in ends]
        told = {"directions": "to other checkpoints", "to": [_called(source) for source in to]}
    elif along:
        found = _saved(along, arguments, it, origin, dimensions, shape)
        how = NORMALIZATIONS[arguments.normalize or "none"]
        told = {"directions": f"saved, {how}", "along": [_called(source) for source in along]}
    else:
        how = arguments.normalize or "filter"
        moved = "moved too" if arguments.move_biases else "not moved"
        told = {"directions": f"random, {NORMALIZATIONS[how]}; parameters of one dimension {moved}"}
    if arguments.normalize == "filter" or not (to or along):
        warn_of_unknown(it.network)

    def directions(repeat: int) -> tuple[Weights, ...]:
        if to or along:
            of_this = found
        else:
            seeds = [(arguments.seed, number, repeat) for number in range(dimensions)]
            of_this = [normalize(random_direction(origin, seed), origin, how, **shape) for seed in seeds]
        if chosen is not None:
            of_this = [_only(direction, origin, chosen) for direction in of_this]
        return tuple(orthogonalize(of_this) if arguments.orthogonal else of_this)

    told |= naming(parameters)
    policy = arguments.batchnorm or _policy(arguments, it.network, ends, origin, chosen)
    if arguments.orthogonal:
        told["orthogonal"] = True
    if arguments.repeats:
        told["repeats"] = arguments.repeats
    digests, cosines = [], []  # repeat by repeat, so that one plane at a time is held
    for repeat in range(arguments.repeats or 1):
        plane = Plane(origin, directions(repeat))
        if chosen is not None and not plane.moved:
            raise BadInput(
                "none of the chosen parameters moves along these directions; choose others, or let those without "
                "filters move too: --move-biases"
            )
        digests.append(digest(*plane.directions))
        cosines += [cosine(*pair) for pair in combinations(plane.directions, 2)]  # x and y, x and z, y and z
    settings = {
        **told,
        "batchnorm": policy,
        "direction_digest": digests[0] if len(digests) == 1 else digests,
    }
    if cosines:
        settings["cosine"] = cosines[0] if len(cosines) == 1 else cosines
    inputs = None
    if policy != "frozen":
        norms_of(it.network)  # there must be some
    if policy == "recalibrated":
        inputs = it.calibration(arguments.calibration)
        settings["calibration"] = sum(map(len, inputs))
    if arguments.repeats:
        plane = Repeats(lambda repeat: Plane(origin, directions(repeat)))
    return Span(plane, _statistics(policy, arguments, it, ends, inputs), settings)


def _sources(given: object, name: str) -> list:
    """What --to or --along names: files, and from Python also weights."""
    if given is None:
        return []
    many = given if isinstance(given, list | tuple) else [given]
    for each in many:
        if not isinstance(each, str | os.PathLike | Mapping | nn.Module):
            raise BadInput(f"{name} takes files, or dicts from parameter names to tensors, got {type(each).__name__}")
    return [Path(each) if isinstance(each, str | os.PathLike) else each for each in many]


def _called(source: object) -> str:
    return source.name if isinstance(source, Path) else "in memory"


def _only(direction: Weights, origin: Weights, chosen: Which) -> Weights:
    """A direction with 0 in what is not chosen; whatever is chosen, the rest is the same."""
    return {name: d if chosen(name, origin[name]) else torch.zeros_like(d) for name, d in direction.items()}


def _policy(arguments, network: nn.Module, ends: list[dict[str, Tensor]], origin: Weights, chosen: Which | None) -> str:
    """What becomes of BatchNorm's statistics where nothing is said."""
    # The far end of an axis should be the other checkpoint, not its weights with statistics that do not fit.
    if not ends or arguments.orthogonal or not has_statistics(network):
        return "frozen"
    for end in ends if chosen else []:
        if any(not chosen(name, w) and not torch.equal(end[name].to(w), w) for name, w in origin.items()):
            return "frozen"  # no axis leads to the other checkpoint
    return "interpolated"


def _ends(to: list, arguments, it: Subject, dimensions: int) -> list[dict[str, Tensor]]:
    """The state dicts of the other checkpoints."""
    if len(to) != dimensions:
        raise BadInput(
            f"--to names {len(to)} checkpoint(s) for {dimensions} axis/axes; "
            "one other checkpoint gives a line (--x), two give a plane (--x and --y)"
        )
    if arguments.normalize or arguments.move_biases:
        raise BadInput(
            "--normalize and --move-biases are for random directions or saved ones; leave them out with --to"
        )
    ends = []
    own = it.network.state_dict()
    here = getattr(arguments, "checkpoint", "the network")
    for source in to:
        path = source if isinstance(source, Path) else "what --to names"
        if isinstance(source, Path):
            entry = getattr(arguments, "entry", None)
            other = checkpoints.load(source, arguments.network or it.checkpoint.network, entry=entry, like=it.network)
            if other.format and it.checkpoint.format and other.title != it.checkpoint.title:
                raise BadInput(
                    f"{path} holds another network, {other.title}, than {here}, {it.checkpoint.title}; "
                    "give checkpoints of one network"
                )
            end = other.weights
        else:
            end = dict(source.state_dict() if isinstance(source, nn.Module) else source)
        wrong = [name for name, t in own.items() if name not in end or end[name].shape != t.shape]
        if wrong:
            raise BadInput(
                f"{path} is another network than {here}: they differ in {wrong[0]}; give checkpoints of one network"
            )
        ends.append(end)
    return ends


def _saved(along: list, arguments, it: Subject, origin: Weights, dimensions: int, shape: dict) -> list[Weights]:
    """The directions that --along names."""
    found = []
    for source in along:
        found += (
            [(source, direction) for direction in saved.load(source)]
            if isinstance(source, Path)
            else [("what --along names", dict(source.named_parameters() if isinstance(source, nn.Module) else source))]
        )
    if len(found) < dimensions or (len(along) > 1 and len(found) > dimensions):
        raise BadInput(
            f"--along names {len(found)} direction(s) for {dimensions} axis/axes; give one a file, "
            "or one file whose first ones are taken"
        )
    directions, here = [], getattr(arguments, "checkpoint", "the network")
    for path, direction in found[:dimensions]:
        if unknown := direction.keys() - origin.keys():
            raise BadInput(f"{path} moves {min(unknown)}, which {here} has not; make it for this network")
        for name, d in direction.items():
            if d.shape != origin[name].shape:
                raise BadInput(
                    f"{path} has shape {tuple(d.shape)} at {name}, {here} {tuple(origin[name].shape)}; "
                    "make it for this network"
                )
            if d.is_complex() and not origin[name].is_complex():
                raise BadInput(f"{path} is complex at {name}, {here} is real; make it for this network")
        # What a direction does not name stays.
        whole = {
            name: direction[name].detach().to(w, copy=True) if name in direction else torch.zeros_like(w)
            for name, w in origin.items()
        }
        if arguments.normalize:
            whole = normalize(whole, origin, arguments.normalize, **shape)
        elif arguments.move_biases:
            raise BadInput("saved directions move what they name; --move-biases is for --normalize")
        directions.append(whole)
    return directions


def _statistics(
    policy: str, arguments, it: Subject, ends: list[dict[str, Tensor]], inputs: list[Tensor] | None
) -> Callable:
    if policy == "frozen":
        return lambda point: contextlib.nullcontext()
    if policy == "interpolated":
        if not ends:
            raise BadInput("--batchnorm interpolated goes between checkpoints; give others with --to")
        if arguments.orthogonal:
            raise BadInput("--batchnorm interpolated needs axes that lead to the checkpoints; leave out --orthogonal")
        return lambda point: interpolated(it.network, ends, point)
    if policy == "batch":
        return lambda point: of_each_batch(it.network)
    return lambda point: recalibrated(it.runs, inputs)
