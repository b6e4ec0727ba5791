"""Basins: how far from the weights the loss, or the error, stays below a level, in most directions and at worst.

Most-case and worst-case basins are far apart (Chen et al. 2025, 2505.17646): a network may bear large random changes,
and none that is made to hurt. Directions are

    filter     random, each filter of the norm of the network's own, as in a plane: at 1 it changes by as much as it is
    weights    random, on the sphere ‖ε‖ = r‖θ‖ around the weights that move, see `landscape.curvature.sharpness`
    worst      the highest point of the ball ‖ε‖ ≤ r‖θ‖ that an ascent finds, from such a random point

The level is a loss or an error, absolute or from what the network itself has on the same examples; how far a point lies
above it is known as well as examples differ in it. See `landscape.analysis.basins` for the certified radius.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from landscape.analysis.basins import NOISE, certificate, fewest, inside
from landscape.curvature.hessian import one_thread
from landscape.curvature.sharpness import KINDS, rises
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.sweep import Function
from landscape.engine.table import Table
from landscape.errors import BadInput
from landscape.evaluation.calling import evaluating, predict
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import each_of, in_units
from landscape.evaluation.prepared import Evaluation, unfused
from landscape.log import Report
from landscape.planes.build_plane import PlaneWithStatistics, build_plane, seed_of
from landscape.planes.filters import Parameters, naming, say_parameters, selected, with_filters
from landscape.validate import axis_ends, one_of, real, whole

__all__ = ["BALLS", "STATISTICS", "Level", "basin_radius", "level_of", "with_excess"]

BALLS = ("filter", "weights", "worst")
STATISTICS = ("frozen", "recalibrated", "batch")
LEVEL = re.compile(r"(?P<plus>\+)?(?P<number>\d*\.?\d+(?:e-?\d+)?)(?P<unit>x|%)?")


class Level(NamedTuple):
    """What the loss or the error may be: factor · (what the network itself has) + plus.

    Attributes
    ----------
    quantity : {"loss", "error"}
    factor, plus : float
        Of an error as a part of 1.
    said : str
        In words, behind "stay".
    """

    quantity: str
    factor: float
    plus: float
    said: str


def basin_radius(
    evaluate: Evaluator,
    *,
    radius: tuple[float, float, float] | str = (0, 1, 21),
    directions: int = 60,
    ball: str = "filter",
    level: float | str | None = None,
    share: float = 0.9,
    confidence: float = 0.95,
    steps: int = 20,
    move_biases: bool = False,
    parameters: Parameters = None,
    batchnorm: str = "frozen",
    calibration: int | None = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure how far the loss or the error stays below a level around a network's weights. Collective.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    radius : (from, to, number of radii)
        See `BALLS` for what they are relative to.
    directions : int
        Number of random directions, or of ascents; each is followed over all radii.
    ball : {"filter", "weights", "worst"}
        Random directions, filter by filter or of one norm, or the highest points that ascents find.
    level : float or str, optional
        A loss, 0.5; the loss at the weights times a number, "2x", or plus a number, "+0.1"; an error in percent,
        "10%", or in points above that at the weights, "+5%". By default "+5%" where there are errors, and else "2x".
    share, confidence : float
        Of the directions that are to stay inside, and of the certificate.
    steps : int
        Number of steps of an ascent; each costs a forward and a backward pass over all examples.
    move_biases : bool
        Whether parameters without filters move too.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, see `landscape.planes.make_plane.random_plane`.
    batchnorm : {"frozen", "recalibrated", "batch"}
        BatchNorm's statistics away from the weights: the stored ones, measured anew, or each batch's. Ascents are with
        the stored ones.
    calibration : int, optional
        Number of examples used to re-estimate them, by default 1024.
    seed : int, optional
        Random seed of the directions; by default that of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over ``direction`` and ``radius``: what `evaluate` measures there, and ``excess``, how far it lies above the
        level, with its standard error over examples. `landscape.analysis.basins.certified_radius` makes the
        certificate of it.

    Raises
    ------
    BadInput
        Radii that do not ascend, a level that is none, too few directions for a certificate, options that do not go
        together, or a file of another measurement.

    Examples
    --------
    >>> import torch
    >>> evaluate = Evaluator(torch.nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> basin = basin_radius(evaluate, radius=(0, 0.2, 3), level="+0.5", share=0.8, directions=14, quiet=True)
    >>> basin["excess"].shape, bool((basin["excess"][:, 0] < 0).all())
    ((14, 3), True)
    """
    comm = communicator(comm)
    with collective_errors(comm):
        radii, directions, steps = _radii(radius), whole("directions", directions), whole("steps", steps)
        share, confidence = real("share", share), real("confidence", confidence)
        one_of("ball", ball, BALLS)
        one_of("batchnorm", batchnorm, STATISTICS)
        seed = seed_of(evaluate, seed)
        evaluate.require_exact("a basin")
        if (least := fewest(share, confidence)) > directions and ball != "worst":
            raise BadInput(
                f"{directions} directions cannot certify a share of {share:g} with a confidence of {confidence:g}, "
                f"even if all stay inside; give {least} or more"
            )
        if ball != "filter" and batchnorm != "frozen":
            raise BadInput(f"--ball {ball} is with stored statistics of BatchNorm; leave out --batchnorm")
    with evaluate.ready(comm) as evaluation, one_thread():
        network = evaluation.network
        with collective_errors(comm):
            if batchnorm == "batch":
                evaluation = unfused(evaluation)
            bound = level_of(level, evaluation)
            measured: Callable[[float, int], dict[str, float]]
            if ball == "filter":
                how: dict[str, Any] = {"dimensions": 1, "seed": seed, "repeats": directions, "parameters": parameters}
                how |= {"move_biases": move_biases, "batchnorm": batchnorm, "calibration": calibration}
                placed = build_plane(evaluate, evaluation, **how)
                with placed.at(network, (0.0, 0)):
                    evaluation = with_excess(evaluation, bound)
                measured = _on_rays(placed, evaluation)
                about = {**placed.metadata}
                digests = "".join(np.atleast_1d(about.pop("direction_digest")))
                about["direction_digest"] = hashlib.sha256(digests.encode()).hexdigest()
            else:
                which = selected(network, parameters, filters=not move_biases)
                evaluation = with_excess(evaluation, bound)
                function = rises(network, evaluation.batches, evaluation.loss, which, steps, seed, evaluation.measure)
                measured = _in_balls(function, "ascent" if ball == "worst" else "random")
                about = {"parameters": "all" if move_biases else with_filters(network), **naming(parameters)}
                about |= {"steps": steps} if ball == "worst" else {}
        say_parameters(comm, network, parameters, one_dimensional=move_biases)

        def rows(points: np.ndarray) -> Iterator[dict[str, float]]:
            for direction, radius in points:
                yield measured(float(radius), int(direction))

        direction = np.arange(directions)
        asked: dict[str, Any] = {"ball": ball, "level": bound.said, "share": share, "confidence": confidence}
        return run(
            rows,
            np.stack(np.meshgrid(direction, radii, indexing="ij"), axis=-1).reshape(-1, 2),
            label="points",
            kind="basin",
            dims=("direction", "radius"),
            coordinates={"direction": direction, "radius": radii},
            measured=evaluation.variables | _variables(bound, evaluation),
            attributes={
                **evaluation.metadata,
                **about,
                **asked,
                "quantity": bound.quantity,
                "factor": bound.factor,
                "plus": bound.plus,
                "seed": seed,
            },
            finish=lambda table: _summary(table, radii, **asked),
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def level_of(level: float | str | None, evaluation: Evaluation) -> Level:
    """What a level means for a network on its data.

    Raises
    ------
    BadInput
        It is no level, or one of the error where accuracy is not defined.
    """
    if level is None:
        level = "2x" if evaluation.accuracy is None else "+5%"
    match = LEVEL.fullmatch(f"{level:g}" if isinstance(level, float | int) else str(level).strip())
    if match is None or (match["plus"] and match["unit"] == "x"):
        raise BadInput(f"--level is {level!r}; give a loss, 0.5, 2x or +0.1, or an error in percent, 10% or +5%")
    number, unit = float(match["number"]), {"nats": " nats"}.get(_unit(evaluation), "")
    if match["unit"] == "x":
        return Level("loss", number, 0.0, f"below {number:g} times the loss at the weights")
    if match["unit"] == "%":
        if evaluation.accuracy is None:
            raise BadInput(f"--level is {level!r}, an error, and accuracy is not defined here; give a loss, 0.5 or 2x")
        if match["plus"]:
            return Level("error", 1.0, number / 100, f"within {number:g} points of the error at the weights")
        return Level("error", 0.0, number / 100, f"below an error of {number:g} %")
    if match["plus"]:
        return Level("loss", 1.0, number, f"within {number:g}{unit} of the loss at the weights")
    return Level("loss", 0.0, number, f"below {number:g}{unit}")


def _unit(evaluation: Evaluation) -> str:
    return str(evaluation.variables["loss"][2]["units"])


def _radii(radius: tuple[float, float, float] | str) -> np.ndarray:
    low, high, points = axis_ends("--radius", radius)
    number = whole("radius", points)
    if not 0 <= low < high < math.inf or number < 2:
        raise BadInput(f"--radius is {low:g} {high:g} {number}; give 0 or more, a larger end, and 2 radii or more")
    return np.linspace(low, high, number)


def with_excess(evaluation: Evaluation, level: Level) -> Evaluation:
    """The same, which also measures how far each example lies above the level, against the network as it is now.

    The standard error of the mean is that of the differences of each example with itself.
    """
    here: dict[int, Tensor] = {}  # by the identity of a batch's targets, which every measurement passes on

    def quantity(outputs: Any, targets: Any) -> Tensor:
        if level.quantity == "loss" or evaluation.accuracy is None:
            return each_of(evaluation.loss, outputs, targets).double()
        return 1 - evaluation.accuracy(outputs, targets).double()

    def excess(outputs: Any, targets: Any) -> Tensor:
        return quantity(outputs, targets) - level.factor * here[id(targets)] - level.plus

    with evaluating(evaluation.forward), torch.no_grad():
        for inputs, targets in (*evaluation.batches, *(evaluation.test.batches if evaluation.test else ())):
            here[id(targets)] = quantity(predict(evaluation.forward, inputs), targets)
    extra = evaluation.extra | {"excess": excess}
    return replace(evaluation, extra=extra, metrics=(*evaluation.metrics, "excess"))


def _on_rays(placed: PlaneWithStatistics, evaluation: Evaluation) -> Callable[[float, int], dict[str, float]]:
    def measured(radius: float, direction: int) -> dict[str, float]:
        with placed.at(evaluation.network, (radius, direction)):
            return evaluation.measure()

    return measured


def _in_balls(function: Function, kind: str) -> Callable[[float, int], dict[str, float]]:
    """Points of the balls of `landscape.curvature.sharpness.rises`; nothing climbs within a radius of 0."""

    def measured(radius: float, direction: int) -> dict[str, float]:
        (row,) = function(np.array([(KINDS.index(kind if radius else "random"), radius, direction)]))
        return {name: value for name, value in row.items() if name != "rise"}

    return measured


def _variables(level: Level, evaluation: Evaluation) -> dict[str, tuple]:
    """What the excess is called."""
    variables: dict[str, tuple] = {}
    for prefix, said in {"": "", "test_": "test split: "}.items() if evaluation.test else [("", "")]:
        unit = {"units": "nats" if level.quantity == "loss" else "1"}
        error = "standard error of the excess over examples, each compared with itself at the weights"
        variables[f"{prefix}excess"] = ("f8", np.nan, {"long_name": f"{said}{level.quantity} above the level"} | unit)
        variables[f"{prefix}excess_se"] = ("f8", np.nan, {"long_name": f"{said}{error}"} | unit)
    return in_units(variables, evaluation.metadata["loss"])


def _summary(table: Table, radii: np.ndarray, ball: str, level: str, share: float, confidence: float) -> Iterator[str]:
    """The certificate, in a sentence; of ascents what they show."""
    excess, error = (table.values[name] for name in ("excess", "excess_se"))
    if ball == "worst":
        stays = inside(excess).all(axis=0)
        if stays.all():
            yield f"no ascent leaves the basin up to a radius of {radii[-1]:g}: all stay {level}"
        else:
            yield (
                f"an ascent finds a point within a radius of {radii[stays.argmin()]:g} that does not stay {level}: "
                "at worst the basin is narrower"
            )
        return
    own, noisy = (certificate(inside(each), radii, share, confidence) for each in (excess, excess + NOISE * error))
    if math.isnan(own.radius):
        yield f"no radius is certified: {own.staying[0]} of {own.directions} directions stay {level} at {radii[0]:g}"
        return
    more = ", the largest that was measured" if own.is_last else ""
    yield (
        f"with {100 * confidence:g} % confidence at least {100 * share:g} % of directions stay {level} up to a radius "
        f"of {own.radius:.4g}{more}"
    )
    if noisy.radius != own.radius:
        reaches = "there is none" if math.isnan(noisy.radius) else f"it is {noisy.radius:.4g}"
        yield f"counting only directions that stay there beyond the noise of the examples, {reaches}"
