"""The plane that a measurement asks for, and what becomes of BatchNorm's statistics on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from landscape.alignment.aligned import ALIGNMENTS, Alignment, aligned
from landscape.analysis.labels import NORMALIZATIONS
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import POLICIES, has_statistics, interpolated, norms_of, of_each_batch, recalibrated
from landscape.evaluation.prepared import Evaluation
from landscape.lazy_weights import origin_of, shape_of
from landscape.nested import Nested
from landscape.planes.directions import cosine
from landscape.planes.ends import End, directions_of, sources_of, state_of
from landscape.planes.filters import Parameters, warn_of_unknown
from landscape.planes.make_plane import PlaneMaker, along_directions, random_plane, through_ends
from landscape.planes.plane import Plane, shift
from landscape.validate import one_of, whole
from landscape.weights import digest

if TYPE_CHECKING:
    from landscape.evaluation.evaluator import Evaluator

__all__ = ["PlaneWithStatistics", "RandomPlanes", "build_plane", "seed_of"]


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
        made = along_directions(
            network, along, directions_of(along, network, label), normalize, move_biases, **choice, first=dimensions
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
        return through_ends(network, ends, to, **choice)
    made = [aligned(network, end, inputs, align, seed=seed, label=evaluator.label) for end in ends]
    plane = through_ends(network, [each.weights for each in made], to, **choice)
    return replace(plane, metadata={**plane.metadata, **_alignment(made)})


def _alignment(made: Sequence[Alignment]) -> dict[str, object]:
    """What a results file says of how ends were aligned; a list where there are several."""
    numbers = {
        f"align_{name}": [getattr(each, name) for each in made] for name in ("units", "moved", "before", "after")
    }
    return {"align": made[0].by} | {name: each[0] if len(each) == 1 else each for name, each in numbers.items()}


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
