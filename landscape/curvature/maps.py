"""The Hessian of a network's loss: both ends of its spectrum on a plane, or its spectrum at the network itself."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from landscape.analysis.hessian_files import CURVATURE, convexity, ratio
from landscape.curvature.hessian import NotFinite, one_thread
from landscape.curvature.spectra import density_probes, operator_of, part_of_eigenvalues, top_eigenvalues, trace_probes
from landscape.engine.grid import Ends as AxisEnds
from landscape.engine.grid import axes_of, ends_of
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.linalg.lanczos import Extremes, extreme_eigenvalues
from landscape.log import Report
from landscape.planes.auto_range import auto_range as ranged
from landscape.planes.build_plane import build_plane, seed_of
from landscape.planes.ends import End
from landscape.planes.filters import Parameters, naming, say_parameters, selected, with_filters
from landscape.planes.make_plane import PlaneMaker
from landscape.planes.plane import Plane
from landscape.validate import one_of, whole

__all__ = ["ENDS", "MODES", "curvature"]

ENDS = ("largest", "smallest", "magnitude")

# What is to be measured, and which options are of some measurements only.
MODES = {
    "plane": {"precision", "steps"},
    "top": {"end", "directions", "precision"},
    "trace": set(),
    "density": {"steps"},
}
# Options that say where the points of a plane lie.
OF_PLANES = {"plane", "x", "y", "z", "repeats", "auto_range", "to", "along", "normalize", "move_biases", "orthogonal"}
OF_PLANES |= {"batchnorm", "calibration"}


def curvature(
    evaluate: Evaluator,
    plane: Plane | PlaneMaker | None = None,
    *,
    x: AxisEnds | str = (-1, 1, 11),
    y: AxisEnds | str | None = None,
    z: AxisEnds | str | None = None,
    repeats: int | None = None,
    auto_range: float | None = None,
    to: End | list[End] | None = None,
    along: End | list[End] | None = None,
    normalize: str | None = None,
    move_biases: bool = False,
    parameters: Parameters = None,
    orthogonal: bool = False,
    batchnorm: str | None = None,
    calibration: int | None = None,
    top: int | None = None,
    trace: int | None = None,
    density: int | None = None,
    end: str = "largest",
    directions: str | os.PathLike | None = None,
    all_parameters: bool = False,
    precision: float = 1e-3,
    steps: int = 100,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure the Hessian: the ends of its spectrum on a plane, or its spectrum at the network. Collective.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    plane : Plane, or maker of one, optional
        See `landscape.planes.surface.surface`, also for what follows.
    x, y, z : (from, to, number of points), optional
        The axes.
    repeats, auto_range, calibration : number, optional
        How often; up to which loss; with how many examples for BatchNorm.
    to, along : networks, checkpoints or directions, optional
        Where the axes lead.
    normalize, batchnorm : str, optional
        How directions are scaled; what becomes of BatchNorm's statistics.
    move_biases, orthogonal : bool
        Whether parameters without filters move too; whether directions are made orthogonal.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, and which the Hessian is of, see `landscape.curvature.spectra.hessian`.
    top : int, optional
        At the network: so many eigenvalues, on one process. See `landscape.curvature.spectra.eigenpairs` for their
        directions.
    trace : int, optional
        At the network: the trace by Hutch++, from so many products with the Hessian.
    density : int, optional
        At the network: the density of the eigenvalues, by Lanczos from so many random vectors.
    end : {"largest", "smallest", "magnitude"}
        Which eigenvalues `top` means.
    directions : path, optional
        Where the directions of `top` are saved; by default beside `out`, as OUT.directions.pt, if there is an `out`.
    all_parameters : bool
        Whether the Hessian is of all parameters, and not only of those with filters, which planes move.
    precision : float
        Of the eigenvalues' residuals, as a part of the largest magnitude; with `top` of each magnitude.
        Measuring ends when they are so small. What stands apart from other eigenvalues is known to about their square.
    steps : int
        Largest number of products with the Hessian at a point or a probe.
    seed : int, optional
        Random seed of directions and vectors; by default that of the plane, or else of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        On a plane ``lambda_min`` and ``lambda_max`` with residuals, whether these have ``converged``, and what
        `landscape.planes.surface.surface` measures. At the network ``eigenvalue``, ``trace`` or ``node`` and
        ``weight``.

    Raises
    ------
    BadInput
        Options that do not go together, a product that is not finite at the network, or a file of another measurement.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(4, 3)
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> curvature(Evaluator(network, batches), x=(-1, 1, 3), quiet=True)["lambda_max"].shape
    (3,)
    """
    given = dict(locals())  # the arguments, as long as there is nothing else
    comm, out = communicator(comm), None if out is None else Path(out)
    with collective_errors(comm):
        mode = _mode(given)
        _check(given, mode)
        precision, steps = part_of_eigenvalues(precision), whole("steps", steps)
        number = 0 if mode == "plane" else whole(mode, given[mode], 0)
        evaluate.require_exact("the Hessian")
        ends, seed = ends_of(x, y, z), seed_of(evaluate, seed, plane)
        axes_of(ends, repeats)  # what is wrong with them is said at once
    how: dict[str, Any] = {"precision": precision, "steps": steps}
    running: dict[str, Any] = {"out": out, "comm": comm, "quiet": quiet, "dry_run": dry_run}
    with evaluate.ready(comm) as evaluation, one_thread():
        network = evaluation.network
        with collective_errors(comm):
            which = selected(network, parameters, filters=not all_parameters)
            fresh = out is None or not out.exists()
            if fresh and mode in ("trace", "density"):
                operator = operator_of(evaluation, which)
                operator.matvec(np.ones(operator.shape[0]))  # what is not finite is said before there is a file
                del operator  # and what it keeps
        say_parameters(comm, network, parameters, one_dimensional=all_parameters)
        of = {"hessian_parameters": "all" if all_parameters else with_filters(network), **naming(parameters)}
        if mode != "plane":
            running |= {"seed": seed, "attributes": {**evaluation.metadata, **of, "seed": seed}}
        if mode == "top":
            file = Path(directions) if directions else out and out.with_suffix(".directions.pt")
            how = {"end": end, "directions": file, "precision": precision, "fresh": fresh}
            return top_eigenvalues(evaluation, which, number, **how, **running)
        if mode == "trace":
            return trace_probes(evaluation, which, number, **running)
        if mode == "density":
            return density_probes(evaluation, which, number, steps=steps, **running)

        with collective_errors(comm):
            directing = {name: given[name] for name in inspect.signature(build_plane).parameters if name in OF_PLANES}
            directing |= {"dimensions": len(ends), "seed": seed, "parameters": parameters}
            placed = build_plane(evaluate, evaluation, **directing)
        ranges = {}
        if auto_range is not None:
            ends = ranged(ends, auto_range, evaluation, placed, out, comm)
            ranges = {"auto_range": auto_range}
        axes = axes_of(ends, repeats)

        def extremes(points: np.ndarray) -> Iterator[dict]:
            for point in points:
                with placed.at(network, point):
                    try:
                        extreme = extreme_eigenvalues(operator_of(evaluation, which), precision, steps, seed)
                    except NotFinite:  # a result, like the loss that it comes with
                        extreme = Extremes(np.full(2, np.nan), np.full(2, np.nan), False, 0)
                    yield evaluation.measure() | {
                        "lambda_min": extreme.values[0],
                        "lambda_max": extreme.values[1],
                        "residual_min": extreme.residuals[0],
                        "residual_max": extreme.residuals[1],
                        "converged": extreme.converged,
                        "products": extreme.products,
                    }

        def finish(table: Table) -> Iterator[str]:
            v = table.values
            if axes.dims == ("y", "x"):
                ratios = np.where(v["converged"], ratio(v["lambda_min"], v["lambda_max"]), np.nan)
                yield from compared(v["loss"], ratios, **axes.coordinates)
            if lost := (~v["converged"]).sum():
                yield f"{lost} points did not converge within {steps} products; --steps takes more"

        return run(
            extremes,
            axes.points,
            label="points",
            kind="curvature",
            dims=axes.dims,
            coordinates=axes.coordinates,
            measured=evaluation.variables | in_units(CURVATURE, evaluation.metadata["loss"]),
            attributes={**evaluation.metadata, **placed.metadata, **ranges, **of, "seed": seed, **how},
            finish=finish,
            **running,
        )


def compared(loss: np.ndarray, ratios: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[str]:
    """Where the picture looks convex, what does the ratio say?"""
    picture = convexity(loss, ratios, x, y)
    if not picture.points:
        return []
    lines = [f"the slice is convex at {100 * picture.share:.0f} % of its {picture.points} inner points"]
    for where, part in (("there", picture.there), ("elsewhere", picture.elsewhere)):
        if part.number:
            lines.append(
                f"|λmin/λmax| {where}: median {part.median:.3g}, at most {part.most:.3g} ({part.number} points)"
            )
    return lines


def _mode(given: Mapping) -> str:
    """What is to be measured."""
    modes = [name for name in MODES if given.get(name) is not None and name != "plane"] or ["plane"]
    if len(modes) > 1:
        raise BadInput(f"--{modes[0]} and --{modes[1]} are two measurements; make them apart")
    return modes[0]


def _check(given: Mapping, mode: str) -> None:
    """Refuse options that have no meaning here."""
    one_of("end", given["end"], ENDS)
    foreign = set().union(*MODES.values(), OF_PLANES if mode != "plane" else ()) - MODES[mode]
    for name, parameter in sorted(inspect.signature(curvature).parameters.items()):
        usual, value = parameter.default, given[name]
        if name in foreign and not (value is usual or (type(value) is type(usual) and value == usual)):
            where = "a plane" if mode == "plane" else f"--{mode}, which measures at the network itself"
            raise BadInput(f"--{name.replace('_', '-')} does not go with {where}; leave it out")
    if given["batchnorm"] in ("batch", "recalibrated"):
        raise BadInput(
            f"with --batchnorm {given['batchnorm']} the statistics follow the weights, and the Hessian would not; "
            "use frozen or interpolated"
        )
