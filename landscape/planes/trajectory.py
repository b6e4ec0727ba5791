"""The path of a training: how far it leaves a plane, and the loss on it and at the nearest points of the plane."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from landscape.engine.grid import Ends
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table, read
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import has_statistics, norms_of
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.prepared import Evaluation
from landscape.evaluation.tracing import values_restored
from landscape.log import Report
from landscape.planes import direction_files as saved
from landscape.planes.build_plane import PlaneWithStatistics, build_plane
from landscape.planes.ends import End
from landscape.planes.filters import Parameters, matching, naming, say_parameters, selected, with_filters
from landscape.planes.plane import Plane
from landscape.planes.principal_components import PathInPlane, padded_limits, path_in_plane
from landscape.planes.waypoints import Checkpoints, Waypoint, fitting, opened, waypoints_of
from landscape.validate import one_of
from landscape.weights import Weights

__all__ = ["around", "loaded", "principal_directions", "trajectory"]

STEEP = 2.0  # how many times the loss on the path that in the plane may be without a word
LENGTHS = "alpha, beta, off_plane and distance are Euclidean norms of weights, from the final checkpoint"
KNOWN = ("epoch", "alpha", "beta", "off_plane", "distance", "explained", "explained_random_walk")


def trajectory(
    evaluate: Evaluator,
    checkpoints: Checkpoints,
    *,
    along: End | list[End] | None = None,
    directions: str | os.PathLike | None = None,
    filters_only: bool = False,
    parameters: Parameters = None,
    batchnorm: str = "frozen",
    calibration: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure the path of a training to a network, in the plane of its first two principal components. Collective.

    The plane goes through the network, which is the end of the path (Li et al. 2018, 1712.09913 §7). The loss is that
    of each checkpoint, with its own statistics of BatchNorm, and that of the nearest point in the plane. See `around`
    for a surface there.

    Parameters
    ----------
    evaluate : Evaluator
        The trained network, its data and loss.
    checkpoints : path of a folder, or list of paths, state dicts or networks, or dict of these by name
        On the way to the network, in order. State dicts must be copies: those of ``state_dict()`` follow the network.
    along : two directions, optional
        In the place of the principal components, see `landscape.planes.make_plane.plane_along`.
    directions : path, optional
        Where the components are saved; by default beside `out`, as OUT.directions.pt, if there is an `out`. Without a
        file see `principal_directions`.
    filters_only : bool
        Whether to follow only parameters that have filters, without biases.
    parameters : str, sequence of str, or callable, optional
        Which parameters to follow, see `landscape.planes.make_plane.random_plane`.
    batchnorm : {"frozen", "recalibrated"}
        Statistics in the plane: those of the network, or measured anew.
    calibration : int, optional
        Number of examples used to re-estimate them, by default 1024.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over the checkpoints, the network last: what `evaluate` measures, the same with ``plane_`` before it, and
        ``alpha``, ``beta``, ``off_plane`` and ``distance``.

    Raises
    ------
    BadInput
        Checkpoints of another network, or that make no path; or a file of another measurement.

    Examples
    --------
    >>> network, checkpoints = nn.Linear(4, 3), []
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> for _ in range(3):
    ...     checkpoints.append({name: weights.clone() for name, weights in network.state_dict().items()})
    ...     _ = network.weight.data.add_(torch.randn(3, 4))
    >>> path = trajectory(Evaluator(network, batches), checkpoints, quiet=True)
    >>> path["loss"].shape, path["off_plane"].shape  # the network is the fourth
    ((4,), (4,))
    """
    comm, out = communicator(comm), None if out is None else Path(out)
    with collective_errors(comm):
        one_of("batchnorm", batchnorm, ("frozen", "recalibrated"))
        if evaluate.dtype != "float32":
            raise BadInput("a path has few points; they are measured in float32: leave out --dtype")
        if along is not None and (directions is not None or filters_only):
            raise BadInput("--directions and --filters-only are for principal components; leave them out with --along")
        if out is not None and not out.parent.is_dir():
            raise BadInput(f"output folder {out.parent} does not exist; create it: mkdir -p {out.parent}")
        waypoints = waypoints_of(checkpoints, Path(evaluate.label))
        file = Path(directions) if directions is not None else out and out.with_suffix(".directions.pt")
    with evaluate.ready(comm) as evaluation:
        network = evaluation.network

        def plane_along(directions: Any) -> PlaneWithStatistics:
            how: dict[str, Any] = {"parameters": parameters, "batchnorm": batchnorm, "calibration": calibration}
            return build_plane(evaluate, evaluation, along=directions, dimensions=2, seed=evaluate.seed, **how)

        with collective_errors(comm):
            matching(network, parameters)
            if batchnorm == "recalibrated":  # what would be found only after the long work
                norms_of(network)
                evaluation.calibration(calibration)
        say_parameters(comm, network, parameters, one_dimensional=not filters_only)
        plan = None
        with collective_errors(comm):
            plane = None if along is None else plane_along(along)
            if comm.rank == 0:
                waypoints = fitting(evaluate, waypoints)
                own = None if plane is None else cast("Plane", plane.plane).directions
                choice = {"filters_only": filters_only, "parameters": parameters}
                plan = _planned(evaluate, evaluation, waypoints, own, file, out, dry_run, **choice)
        number, sha, given, captured, axes = comm.bcast(plan)
        with collective_errors(comm):
            plane = plane or plane_along(axes)
        coordinates = np.stack([given["alpha"][1], given["beta"][1]], axis=1)
        names = [*(waypoint.name for waypoint in waypoints[:number]), Path(evaluate.label).stem]
        nearest = {
            f"plane_{name}": (
                dtype,
                fill,
                {**shown, "long_name": f"{shown['long_name']}, at the nearest point of the plane"},
            )
            for name, (dtype, fill, shown) in evaluation.variables.items()
            if name != "examples"
        }

        def losses(rows: np.ndarray) -> Iterator[dict]:
            for (row,) in rows:
                state = opened(evaluate, waypoints[row]).weights if row < number else network.state_dict()
                with loaded(network, state):
                    measured = evaluation.measure()
                with plane.at(network, coordinates[row]):
                    there = evaluation.measure()
                yield measured | {name: there[name.removeprefix("plane_")] for name in nearest}

        def finish(table: Table) -> Iterator[str]:
            yield from _summary({name: array for name, (_, array) in given.items()}, names, captured, along)
            stale = batchnorm == "frozen" and has_statistics(network)
            yield from height(table.values, names, stale)

        return run(
            losses,
            np.arange(number + 1),
            label="checkpoints",
            kind="trajectory",
            dims=("checkpoint",),
            coordinates={"checkpoint": names, "component": np.arange(1, len(given["explained"][1]) + 1)},
            given=given,
            measured=evaluation.variables | nearest,
            attributes={
                **evaluation.metadata,
                **plane.metadata,
                "directions": "principal components of the path" if along is None else "saved",
                "parameters": with_filters(network) if filters_only else "all",
                **naming(parameters),
                "snapshots": sha,
                "lengths": LENGTHS,
                "captured": captured,
            },
            finish=finish,
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def principal_directions(
    evaluate: Evaluator, checkpoints: Checkpoints, *, filters_only: bool = False, parameters: Parameters = None
) -> tuple[Weights, Weights]:
    """The first two principal components of the path of a training: what `trajectory` saves.

    Parameters
    ----------
    evaluate : Evaluator
        The trained network; see `trajectory`, also for what follows.
    checkpoints : path of a folder, or list of paths, state dicts or networks, or dict of these by name
        On the way to the network, in order.
    filters_only : bool
        Whether to follow only parameters that have filters.
    parameters : str, sequence of str, or callable, optional
        Which parameters to follow.

    Returns
    -------
    two dicts from parameter names to tensors
        Of unit length; for `landscape.planes.make_plane.plane_along`.

    Examples
    --------
    >>> network = nn.Linear(4, 3)
    >>> evaluate = Evaluator(network, [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> first, second = principal_directions(evaluate, [nn.Linear(4, 3), nn.Linear(4, 3)])
    >>> round(float(sum((first[name] * first[name]).sum() for name in first)), 5)
    1.0
    """
    with evaluate.ready() as evaluation:
        waypoints = fitting(evaluate, waypoints_of(checkpoints, Path(evaluate.label)))
        first, second = _path(evaluate, evaluation, waypoints, filters_only, parameters).directions
        return first, second


def around(path: Results, points: int = 51) -> dict[str, Ends]:
    """The axes of a surface that holds the path of a training, with a margin.

    Parameters
    ----------
    path : Results
        Of `trajectory`.
    points : int
        Number of points along each axis.

    Returns
    -------
    dict
        ``x`` and ``y``, each (from, to, points), as arguments of `landscape.planes.surface.surface`.

    Examples
    --------
    A surface around a path::

        plane = plane_along(*principal_directions(evaluate, checkpoints))
        surface(evaluate, plane, **around(trajectory(evaluate, checkpoints)))
    """
    limits = padded_limits(np.stack([path["alpha"], path["beta"]], axis=1))
    return {name: (*ends, points) for name, ends in zip("xy", limits, strict=True)}


@contextlib.contextmanager
def loaded(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """The network with another checkpoint's parameters and buffers, for the length of a ``with``.

    Afterwards, on an error too, it has its own back, to the bit; tensors stay the same objects.
    """
    with values_restored(network):
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                tensor.copy_(state[name])
        yield network


def height(table: Mapping[str, np.ndarray], names: Sequence[str], stale: bool) -> list[str]:
    """Whether contours show the loss that the training passed; `stale`: with statistics that do not follow."""
    loss, plane = table["loss"], np.nan_to_num(table["plane_loss"], nan=np.inf)
    worst = int((plane - STEEP * loss).argmax())
    if plane[worst] <= STEEP * loss[worst]:
        return []
    cure = ", with BatchNorm's statistics of the end: --batchnorm recalibrated measures them anew" if stale else ""
    return [
        f"contours do not show the loss on the path: at {names[worst]} it is {loss[worst]:.3g}, "
        f"and {plane[worst]:.3g} in the plane{cure}"
    ]


class _Plan(NamedTuple):
    """What rank 0 finds out beforehand.

    Attributes
    ----------
    number : of checkpoints before the final one
    digest : of these
    given : variables, name -> (dimensions, values)
    captured : part of the path's variance that lies in the plane
    axes : principal components, or where they are saved
    """

    number: int
    digest: str
    given: dict[str, tuple]
    captured: float
    axes: list


def _planned(
    evaluate: Evaluator,
    evaluation: Evaluation,
    waypoints: list[Waypoint],
    directions: Sequence[Weights] | None,
    file: Path | None,
    out: Path | None,
    dry_run: bool,
    **choice: Any,
) -> _Plan:
    """The path in the plane of directions, or else of its principal components, which are saved in a file if any.

    Sums of products may differ in their last bits from machine to machine, so what an earlier run has found is taken
    from its file, if it is of the same checkpoints.
    """
    sha = hashlib.sha256("".join(waypoint.digest for waypoint in waypoints).encode()).hexdigest()
    if out is not None and out.exists():
        before = _before(out, sha, waypoints)
        if directions is None and not (file and file.is_file()):
            raise BadInput(f"{file} with the directions of {out} is gone; bring it back, or remove {out} to start anew")
        given = {name: (before.dims[name], before[name]) for name in KNOWN if name in before.variables}
        return _Plan(len(waypoints), sha, given, before.attributes["captured"], [file])
    path = _path(evaluate, evaluation, waypoints, directions=directions, **choice)
    axes: list = list(path.directions)
    if directions is None and file is not None and not dry_run:
        saved.save(axes, file)
        axes = [file]
    alpha, beta = path.projection.coordinates.T
    over = {"alpha": alpha, "beta": beta, "off_plane": path.projection.off_plane, "distance": path.projection.distance}
    histories = [*(opened(evaluate, waypoint).history for waypoint in waypoints), evaluate.checkpoint.history]
    if all(history.get("epoch") for history in histories):
        over = {"epoch": np.array([history["epoch"][-1] for history in histories]), **over}
    given = {name: (("checkpoint",), array) for name, array in over.items()}
    for name in ("explained", "explained_random_walk"):
        given[name] = (("component",), getattr(path, name))
    return _Plan(len(waypoints), sha, given, path.captured, axes)


def _path(
    evaluate: Evaluator,
    evaluation: Evaluation,
    waypoints: list[Waypoint],
    filters_only: bool,
    parameters: Parameters,
    directions: Sequence[Weights] | None = None,
) -> PathInPlane:
    network = evaluation.network
    which = selected(network, parameters, filters=filters_only)
    final = {n: p.detach().cpu() for n, p in network.named_parameters() if which is None or which(n, p)}
    points = {w.label: lambda w=w: opened(evaluate, w).weights for w in waypoints}
    return path_in_plane(points, final, directions and [{n: d.cpu() for n, d in each.items()} for each in directions])


def _before(out: Path, sha: str, waypoints: list[Waypoint]) -> Results:
    """What an earlier run has found."""
    before = read(out)
    if before.kind != "trajectory" or before.attributes["snapshots"] != sha:
        what = f"a {before.kind}, and this is a trajectory"
        if before.kind == "trajectory":
            names = list(before.coordinates["checkpoint"])[:-1], [waypoint.name for waypoint in waypoints]
            what = f"of other snapshots: {_differing(*names)}"
        raise BadInput(f"{out} is {what}; give another output file, or remove this one to start anew")
    return before


def _differing(there: list[str], here: list[str]) -> str:
    """Which snapshots a file has, and which others are given."""

    def listed(names: list[str]) -> str:
        return f"{len(names)}: {' … '.join([names[0], names[-1]]) if len(names) > 2 else ', '.join(names)}"

    if there == here:
        return f"it has {listed(there)}; given are the same names with other weights"
    first = next(i for i, (one, other) in enumerate(zip_longest(there, here), 1) if one != other)
    return f"it has {listed(there)}; given are {listed(here)}; they differ from number {first} on"


def _summary(given: Mapping[str, np.ndarray], names: list[str], captured: float, along: object) -> list[str]:
    """How much of the path the plane shows."""
    off, distance = given["off_plane"], given["distance"]
    nearness = off[:-1] / np.where(distance[:-1] > 0, distance[:-1], 1.0)
    far, least = off.argmax(), nearness.argmax()
    first, second = (100 * given[name][:2].sum() for name in ("explained", "explained_random_walk"))
    lines = [
        f"two principal components have {first:.1f} % of the path's variance, of a random walk's with steps of these "
        f"lengths {second:.1f} %",
        f"farthest off the plane is {names[far]}: by {off[far]:.3g}, at {distance[far]:.3g} from the end; for its "
        f"distance from there, {names[least]}: by {100 * nearness[least]:.0f} %",
    ]
    if along is not None:
        of = along if isinstance(along, str | os.PathLike) else "the given directions"
        lines.insert(1, f"the plane of {of} holds {100 * captured:.1f} % of it")
    return lines
