"""The loss on a line, on a plane or in a space through a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.analysis.geometry import barrier_between
from landscape.analysis.precision import FLOAT32, difference, sample
from landscape.engine.grid import Ends, axes_of, ends_of
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table, read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units, unit_of
from landscape.evaluation.prepared import Evaluation, compiled, unfused
from landscape.log import ANSWER, Report, say
from landscape.planes.adaptive import INTERPOLATED, fill, remaining
from landscape.planes.align import said
from landscape.planes.auto_range import auto_range as ranged
from landscape.planes.build_plane import PlaneWithStatistics, build_plane, seed_of
from landscape.planes.controls import affordable, control_points, with_controls
from landscape.planes.diagnose import diagnose as diagnosis
from landscape.planes.ends import End
from landscape.planes.filters import Parameters, say_parameters
from landscape.planes.make_plane import PlaneMaker
from landscape.planes.plane import Plane
from landscape.validate import one_of, real
from landscape.weights import squared_norm

__all__ = ["ESTIMATORS", "surface"]

ADAPTIVE = 0.02  # how far an interpolated loss may be off, unless another part of it is given
ESTIMATORS = ("mean", "regression")
PENALTY = {
    "penalty": ("f8", np.nan, {"long_name": "weight decay, λ/2·‖θ‖² over all parameters", "units": "as the loss"}),
    "objective": ("f8", np.nan, {"long_name": "loss and weight decay", "units": "as the loss"}),
}


def surface(
    evaluate: Evaluator,
    plane: Plane | PlaneMaker | None = None,
    *,
    x: Ends | str = (-1, 1, 51),
    y: Ends | str | None = None,
    z: Ends | str | None = None,
    repeats: int | None = None,
    auto_range: float | None = None,
    to: End | list[End] | None = None,
    along: End | list[End] | None = None,
    align: str | None = None,
    normalize: str | None = None,
    move_biases: bool = False,
    parameters: Parameters = None,
    orthogonal: bool = False,
    batchnorm: str | None = None,
    calibration: int | None = None,
    weight_decay: float | None = None,
    compile: bool = False,
    adaptive: float | bool | None = None,
    estimator: str = "mean",
    diagnose: bool = False,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure the loss on a plane through a network (Li et al. 2018, 1712.09913). Collective.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    plane : Plane, or maker of one, optional
        By default along random directions, or as `to`, `along` and what follows them say.
    x, y, z : (from, to, number of points)
        The axes; 1 is a network's norm, or the other network, or a direction. Without `y` a line, with `z` a space.
    repeats : int, optional
        So many independent sets of random directions, for error bars.
    auto_range : float, optional
        Move the ends of the axes to where the loss first reaches this.
    to, along : networks, checkpoints or directions, optional
        See `landscape.planes.build_plane.build_plane`, also for what follows.
    align : {"weights", "activations"}, optional
        With `to`, put the units of the others in the order that is nearest to the network's before the line is drawn,
        see `skipscape.align`.
    normalize : {"filter", "layer", "weight", "none"}, optional
        How directions are scaled to the weights.
    move_biases, orthogonal : bool
        Whether parameters without filters move too; whether directions are made orthogonal.
    parameters : str, sequence of str, or callable, optional
        Which parameters move.
    batchnorm : str, optional
        What becomes of BatchNorm's statistics.
    calibration : int, optional
        Number of examples used to re-estimate them, or to compare activations.
    weight_decay : float, optional
        Measure λ/2·‖θ‖² too: what a training with this decay minimises is then in ``objective``.
    compile : bool
        Whether to compile the network with torch.compile, once for all points: for a GPU.
    adaptive : float or True, optional
        Measure until at least 95 % of the other points are interpolated to within this part of the loss, 0.02 if True.
    estimator : {"mean", "regression"}
        With a tolerance, how the loss over all examples is estimated from some. "regression" takes fewer, by what a few
        control points say of each example, see `landscape.planes.controls`; a plane of so few points that this would
        not pay has the mean.
    diagnose : bool
        Whether to measure no surface, and return what is odd about the one in `out`.
    seed : int, optional
        Random seed of the directions; by default that of the plane, or else of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over (y, x), (x,) or (z, y, x), with ``repeat`` before them: ``loss``, ``loss_se``, ``accuracy``, ``examples``,
        every further loss and metric with its standard error.

    Raises
    ------
    BadInput
        Options that do not go together, a plane of another network, or a file of another measurement.

    Examples
    --------
    >>> network = torch.nn.Linear(4, 3)
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> surface(Evaluator(network, batches), x=(-1, 1, 5), quiet=True)["loss"].shape
    (5,)
    """
    comm, out = communicator(comm), None if out is None else Path(out)
    with collective_errors(comm):
        ends, seed = ends_of(x, y, z), seed_of(evaluate, seed, plane)
        number = len(axes_of(ends, repeats).points)  # what is wrong with them is said at once
        miss = _miss(adaptive)
        _check(evaluate, weight_decay, miss, space=z is not None)
        if one_of("estimator", estimator, ESTIMATORS) != "mean" and evaluate.tolerance is None:
            raise BadInput(f"--estimator {estimator} is for a part of the examples; give --tolerance too, like 0.02")
        if diagnose and out is None:
            raise BadInput("diagnose looks at the surface in a file; name it: out=")
    directing: dict[str, Any] = {
        "to": to,
        "along": along,
        "align": align,
        "normalize": normalize,
        "move_biases": move_biases,
    }
    directing |= {"parameters": parameters, "orthogonal": orthogonal}
    directing |= {"batchnorm": batchnorm, "calibration": calibration}
    with evaluate.ready(comm, number) as evaluation:
        with collective_errors(comm):
            if batchnorm == "batch":
                evaluation = unfused(evaluation)
            elif compile:
                evaluation = compiled(evaluation)
            how: dict[str, Any] = {"dimensions": len(ends), "seed": seed, "repeats": repeats, **directing}
            placed = build_plane(evaluate, evaluation, plane, **how)
        if align is not None:
            say(comm, said(placed.metadata))
        say_parameters(comm, evaluation.network, parameters, one_dimensional=move_biases)
        ranges = {}
        if auto_range is not None:
            ends = ranged(ends, auto_range, evaluation, placed, out, comm)
            ranges = {"auto_range": auto_range}
        axes = axes_of(ends, repeats)
        controls, most = control_points(ends), 0
        if evaluation.tolerance is not None:
            if estimator == "regression":
                number = len(axes.points) // (repeats or 1)
                most = affordable(number, len(controls), len(evaluation.tolerance.strata))
            used = {"estimator": "regression" if most else "mean"}
            evaluation = replace(evaluation, metadata=used | evaluation.metadata)
        by_repeat = [evaluation] * (repeats or 1)

        def begin() -> None:
            taken = 0
            for repeat in range(len(by_repeat)):
                where = [(*point, repeat) if repeats else point for point in controls]
                by_repeat[repeat], examples = with_controls(evaluation, placed, where, most, comm)
                taken += examples
            say(comm, f"{len(controls)} control points for the regression: {taken} examples together")

        if diagnose and out is not None:
            if most:
                begin()
            return _diagnosed(out, by_repeat[0], placed, comm)
        reduced = evaluation.dtype != torch.float32
        checks = sample(axes.shape, seed) if reduced else np.zeros(0, int)
        twice = {tuple(point) for point in axes.points[checks]}

        def losses(points: np.ndarray) -> Iterator[dict]:
            for point in points:
                here = by_repeat[int(point[-1]) if repeats else 0]
                with placed.at(evaluation.network, point):
                    yield _measured(here, weight_decay, reduced, tuple(point) in twice)

        attributes = {**evaluation.metadata, **placed.metadata, **ranges, "seed": seed}
        if weight_decay is not None:
            attributes["weight_decay"] = weight_decay
        more: dict[str, Any] = {}
        if miss is not None:
            attributes["adaptive"] = miss
            choose = _choice(checks, (miss, seed, repeats is not None), out, comm)
            more = {"choose": choose, "derived": INTERPOLATED}
        if most:
            more["begin"] = begin

        def finish(table: Table) -> Iterator[str]:
            if miss is not None:
                yield fill(table, miss, seed, repeats is not None)
            if reduced:
                yield difference(evaluation.metadata["dtype"], table.values["loss"], table.values["loss_float32"])
            if axes.dims == ("x",) and "to" in placed.metadata:
                height = barrier_between(table.values["loss"], table.values["loss_se"], axes.coordinates["x"])
                if height is not None:
                    unit = unit_of(evaluation.metadata["loss"])
                    said_so = f"{height[0]:.4g} ± {height[1]:.2g} {unit}"
                    yield f"barrier over the straight line between the two losses: {said_so}"

        exact = in_units(FLOAT32, evaluation.metadata["loss"])
        return run(
            losses,
            axes.points,
            label="points",
            kind="surface",
            dims=axes.dims,
            coordinates=axes.coordinates,
            measured=evaluation.variables | (PENALTY if weight_decay is not None else {}) | (exact if reduced else {}),
            attributes=attributes,
            finish=finish,
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
            **more,
        )


def _miss(adaptive: float | bool | None) -> float | None:
    if adaptive is None or adaptive is False:
        return None
    return ADAPTIVE if adaptive is True else real("adaptive", adaptive)


def _check(evaluate: Evaluator, weight_decay: float | None, miss: float | None, space: bool) -> None:
    """Refuse options that have no meaning here."""
    if weight_decay is not None and not (np.isfinite(real("weight_decay", weight_decay)) and weight_decay >= 0):
        raise BadInput(f"--weight-decay is {weight_decay}; give 0 or more")
    if miss is None:
        return
    if not 0 < miss < 1:
        raise BadInput(f"--adaptive is {miss}; give a part of the loss between 0 and 1, like 0.02")
    if space:
        raise BadInput("--adaptive is for lines and planes; leave it out with --z")
    more = {"--split both": len(evaluate.sources) > 1, "several losses": len(evaluate.losses) > 1}
    more |= {"metrics": bool(evaluate.metrics), "--weight-decay": weight_decay is not None}
    for name, given in more.items():
        if given:
            raise BadInput(f"--adaptive interpolates the loss alone; leave it out with {name}")


def _measured(evaluation: Evaluation, weight_decay: float | None, reduced: bool, twice: bool) -> dict[str, float]:
    """What the network measures where it is."""
    measured = evaluation.measure()
    if weight_decay is not None:
        penalty = weight_decay / 2 * squared_norm(dict(evaluation.network.named_parameters()))
        measured |= {"penalty": penalty, "objective": measured["loss"] + penalty}
    if reduced:
        measured["loss_float32"] = evaluation.loss_in_float32(int(measured["examples"])) if twice else np.nan
    return measured


def _choice(checks: np.ndarray, how: tuple, out: Path | None, comm: Communicator) -> Callable[[Table], np.ndarray]:
    """Which points are measured next where others are interpolated."""

    def choose(table: Table) -> np.ndarray:
        missing = checks[~table.done.flat[checks]]
        rows = np.union1d(missing, remaining(table, *how))
        filled = table.derived["interpolated"]
        if len(rows) and filled.any() and not (filled & table.done).any():
            say(comm, f"{out} was complete by a rule that let more interpolated points be off; going on")
        filled &= ~table.done
        return rows

    return choose


def _diagnosed(out: Path, evaluation: Evaluation, plane: PlaneWithStatistics, comm: Communicator) -> Report:
    lines = None
    with collective_errors(comm):
        if comm.rank == 0:
            lines = [*diagnosis(read(out), evaluation, plane)]
            say(comm, *lines, level=ANSWER)
    return Report("\n".join(comm.bcast(lines)))
