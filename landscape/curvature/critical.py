"""Critical sharpness: the curvature that a step meets, from forward passes along the step alone.

λ_c = 2/η_c (Kalra et al. 2026, 2601.16979), with η_c the largest step along a direction d that does not raise the loss,
see `landscape.curvature.critical_step`. Where the loss is quadratic with Hessian H and gradient g, it is
λ_c = dᵀHd / (−gᵀd): along d = −g a mean of H's eigenvalues with weights gᵢ², and so at most λ_max. Steps longer than
η_c overshoot; gradient descent with the learning rate η does so where λ_c > 2/η. The direction is

    gradient   −∇L over the examples: η is a learning rate, λ_c is in units of the loss per squared weight
    update     from a checkpoint to the next one: η is in such updates, and the next checkpoint lies where the loss is
               back at its height if λ_c = 2. One step apart, with a learning rate that is known, both are divided by
               it: η is a learning rate, of whichever optimizer

or −∇L of another evaluator, of other data or another loss. The loss whose rise is measured may be another than that
whose gradient is followed: then it is the relative critical sharpness (§4 there), of the second split or of a second
loss along the gradient of the first.

Intervals are of 95 %: the ends are where the bounds of the mean rise over examples cross 0, which is measured on the
same examples as the loss at the weights. They take the examples for a sample of a population and the direction as
given. Along a gradient of the very examples the loss falls a little more than it would on others.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from landscape.curvature.critical_step import Step, critical_step
from landscape.curvature.hessian import one_thread, tensors_of
from landscape.curvature.sharpness import gradient
from landscape.curvature.spectra import operator_of
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import has_statistics, norms_of, of_each_batch
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.paired import by_example, mean_of
from landscape.evaluation.prepared import Evaluation, unfused
from landscape.linalg.lanczos import extreme_eigenvalues
from landscape.linalg.reductions import norm
from landscape.log import Report
from landscape.planes.build_plane import seed_of
from landscape.planes.filters import Parameters, naming, say_parameters, selected
from landscape.planes.plane import Plane, shift
from landscape.planes.trajectory import loaded
from landscape.planes.waypoints import Checkpoints, Waypoint, fitting, opened, waypoints_of
from landscape.validate import one_of, real

__all__ = ["DIRECTIONS", "STATISTICS", "critical_sharpness", "measures"]

DIRECTIONS = ("gradient", "update")
STATISTICS = ("batch", "frozen")
CONFIDENCE = 0.95
LANCZOS: dict[str, Any] = {"tolerance": 1e-3, "steps": 200}  # of the largest eigenvalue

CRITICAL = {
    "lambda_c": "critical sharpness",
    "lambda_c_low": "critical sharpness, lower end of its 95 % interval",
    "lambda_c_high": "critical sharpness, upper end of its 95 % interval",
    "eta_c": "critical step; infinite: the loss did not rise; NaN: it did not fall first",
    "eta_c_low": "critical step, lower end of its 95 % interval",
    "eta_c_high": "critical step, upper end of its 95 % interval",
}
LARGEST = {"lambda_max": "largest eigenvalue of the Hessian", "lambda_max_residual": "its residual"}


def critical_sharpness(
    evaluate: Evaluator,
    checkpoints: Checkpoints = (),
    *,
    along: str | Evaluator = "gradient",
    learning_rate: float | Sequence[float] | None = None,
    parameters: Parameters = None,
    batchnorm: str | None = None,
    lambda_max: bool = False,
    precision: float = 0.02,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure the critical sharpness of a network, and of checkpoints on the way to it. Collective.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss. Further losses and a second split are measured along the same direction, that
        of the first: relative critical sharpness.
    checkpoints : path of a folder, or list of paths, state dicts or networks, or dict of these by name
        On the way to the network, in order, see `landscape.planes.trajectory.trajectory`.
    along : {"gradient", "update"}, or Evaluator
        The direction: against the gradient of the loss; from each checkpoint to the next, which the network itself
        has none of; or against the gradient of another evaluator of such a network, of other data or another loss.
    learning_rate : float, or one for each checkpoint, optional
        Of the training at the checkpoints, and by updates of the step that each leads to; by default what checkpoints
        of `train` say. With "update" it means that they are one step apart, which is seen by itself in trainings of
        `train` whose batches hold all examples.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, by default all; see `landscape.planes.make_plane.random_plane`.
    batchnorm : {"batch", "frozen"}, optional
        BatchNorm's statistics: those of each batch, as a step of a training has them and by default, or the stored
        ones of each checkpoint. The first depend on how the examples are cut into batches.
    lambda_max : bool
        Whether to measure the largest eigenvalue of the Hessian too, by Lanczos, which takes derivatives.
    precision : float
        Relative length of the bracket that ends the search for the critical step.
    seed : int, optional
        Random seed of Lanczos' start vector; by default that of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over the checkpoints, the network last: ``lambda_c`` and ``eta_c``, each with ``_low`` and ``_high``, the ends
        of a 95 % interval; ``direction_norm``, ``passes``, and what `evaluate` measures. Of further losses and the
        second split the same with their names before it, ``test_lambda_c``. A loss that does not rise however long
        the step has λ_c = 0, with an upper end of 2 over the longest step that was tried; one that does not fall
        first has NaN.

    Raises
    ------
    BadInput
        Checkpoints of another network, no update to go along, or a file of another measurement.

    Examples
    --------
    >>> network, inputs = nn.Linear(1, 1, bias=False), torch.ones(4, 1)
    >>> evaluate = Evaluator(network, [(inputs, 3 * inputs)], "mse")
    >>> round(float(critical_sharpness(evaluate, quiet=True)["lambda_c"][0]), 3)  # (w − 3)² has the curvature 2
    2.0
    """
    comm = communicator(comm)
    with collective_errors(comm):
        evaluate.require_exact("critical sharpness")
        other = along if isinstance(along, Evaluator) else None
        if other is None:
            one_of("along", str(along), DIRECTIONS)
        else:
            other.require_exact("critical sharpness")
        if batchnorm is not None:
            one_of("batchnorm", batchnorm, STATISTICS)
        seed, precision = seed_of(evaluate, seed), real("precision", precision)
        if not 0 < precision < 1:
            raise BadInput(
                f"--precision is {precision:g}; give a part of the critical step, between 0 and 1, like 0.02"
            )
        waypoints = waypoints_of(checkpoints, Path(evaluate.label))
        policy = batchnorm or ("batch" if has_statistics(evaluate.network) else "frozen")
    with contextlib.ExitStack() as held:
        evaluation = held.enter_context(evaluate.ready(comm))
        second = None if other is None else held.enter_context(other.ready(comm))
        held.enter_context(one_thread())
        network = evaluation.network
        with collective_errors(comm):
            which = selected(network, parameters)
            if policy == "batch":
                norms_of(network)
                evaluation = unfused(evaluation)
            waypoints = fitting(evaluate, waypoints)
            _check_finite(evaluate, waypoints)
            if second is not None:
                _same_shapes(network, second.network)
            points = _points(evaluate, evaluation, waypoints, along == "update", learning_rate)
        say_parameters(comm, network, parameters, one_dimensional=True)
        states = [*(waypoint.source for waypoint in waypoints), None]

        def state(row: int) -> Mapping[str, Tensor]:
            return network.state_dict() if states[row] is None else opened(evaluate, waypoints[row]).weights

        def direction(row: int) -> dict[str, Tensor]:
            """With the weights of a row in the network."""
            own = {n: p.detach() for n, p in network.named_parameters() if which is None or which(n, p)}
            if along == "update":
                rate = points.learning_rate[row] if points.one_step else 1.0
                there = final if row + 1 == len(waypoints) else state(row + 1)
                return {name: (there[name].to(w) - w) / rate for name, w in own.items()}
            source = evaluation if second is None else second
            slope = gradient(network, source.batches, source.loss, which)[1]
            return tensors_of(-slope, own)

        def rows(chosen: np.ndarray) -> Iterator[dict[str, float]]:
            for (row,) in chosen:
                with loaded(network, state(row)), contextlib.ExitStack() as inside:
                    if policy == "batch":
                        inside.enter_context(of_each_batch(network))
                    d = direction(row)
                    start = 1.0
                    if along == "update" and points.one_step:
                        start = points.learning_rate[row]
                    measured = measures(evaluation, d, start if along == "update" else None, precision)
                    if lambda_max:
                        ends = extreme_eigenvalues(operator_of(evaluation, which), seed=seed, **LANCZOS)
                        measured |= {"lambda_max": ends.values[1], "lambda_max_residual": ends.residuals[1]}
                    yield evaluation.measure() | measured | {"learning_rate": points.learning_rate[row]}

        final = {name: tensor.clone() for name, tensor in network.state_dict().items()} if along == "update" else {}
        names, unit = points.names, points.unit
        sha = hashlib.sha256("".join(waypoint.digest for waypoint in waypoints).encode()).hexdigest()
        about = {"along": along} if second is None else {"along": "gradient", **_described(second)}
        return run(
            rows,
            np.arange(len(names)),
            label="checkpoints",
            kind="critical",
            dims=("checkpoint",),
            coordinates={"checkpoint": names},
            given=points.given,
            measured=evaluation.variables | _variables(evaluation, unit, lambda_max),
            attributes={
                **evaluation.metadata,
                "batchnorm": policy,
                **about,
                "step": unit,
                "parameters": "all",
                **naming(parameters),
                "snapshots": sha,
                "precision": precision,
                "confidence": CONFIDENCE,
                "seed": seed,
            },
            finish=lambda table: _summary(table, names, unit),
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def measures(
    evaluation: Evaluation, direction: Mapping[str, Tensor], start: float | None = None, precision: float = 0.02
) -> dict[str, float]:
    """The critical sharpness of a network along a direction, with the weights that it has now.

    Parameters
    ----------
    evaluation : Evaluation
        Whose network is in the state, of BatchNorm too, that is to be measured.
    direction : dict from parameter names to tensors
        What it does not name stays.
    start : float, optional
        The step that the search begins with; by default the one that would bring the loss to 0 if it fell as a
        gradient of the direction's length has it.
    precision : float
        See `landscape.curvature.critical_step.critical_step`.

    Returns
    -------
    dict of float
        ``lambda_c``, ``eta_c`` and their ends; the same of other losses, and of the second split; ``direction_norm``
        and ``passes``.
    """
    network = evaluation.network
    origin = {name: p.detach().clone() for name, p in network.named_parameters() if name in direction}
    plane = Plane(origin, (dict(direction),))
    length = norm(np.concatenate([d.detach().double().cpu().numpy().ravel() for d in direction.values()]))
    rounding = 8 * max(torch.finfo(w.dtype).eps for w in origin.values())
    measured: dict[str, float] = {"direction_norm": length, "passes": 0}
    for prefix, test in ({"": False} if evaluation.test is None else {"": False, "test_": True}).items():
        here = by_example(evaluation, test)
        seen: dict[float, dict[str, np.ndarray]] = {}

        def at(step: float, here: dict = here, seen: dict = seen, test: bool = test) -> dict[str, np.ndarray]:
            if step not in seen:
                with shift(network, plane, [step]):
                    there = by_example(evaluation, test)
                with np.errstate(invalid="ignore"):
                    seen[step] = {name: there[name] - here[name] for name in here}
            return seen[step]

        for name, losses in here.items():
            mean = float(np.abs(losses).mean())
            first = start or (mean / length**2 if mean and length else 1.0)
            step = Step(math.nan, math.nan, math.nan, math.nan, 0)
            if math.isfinite(mean) and 0 < length < math.inf:
                quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(losses) - 1)) if len(losses) > 1 else 0.0
                rise = partial(lambda at, name, step: mean_of(at(step)[name]), at, name)
                step = critical_step(rise, first, precision, rounding * mean, quantile)
            of = prefix if name == "loss" else f"{prefix}{name}_"
            measured |= {f"{of}{key}": value for key, value in zip(CRITICAL, _sharpness(step), strict=True)}
        measured["passes"] += 1 + len(seen)
    return measured


def _sharpness(step: Step) -> tuple[float, ...]:
    """The values of `CRITICAL`: critical sharpness with its ends, and the step with its own."""
    low, high = 2 / step.high, 2 / step.low if step.low else math.inf
    if math.isinf(step.size) and not step.low < math.inf:  # all that is known is how far it was looked
        low, high = 0.0, 2 / step.largest
    return 2 / step.size, low, high, step.size, step.low, step.high


class _Points(NamedTuple):
    """What is known of the checkpoints beforehand.

    Attributes
    ----------
    names : of those that are measured
    learning_rate : of each, NaN where it is not known
    one_step : whether updates are single steps with these learning rates
    unit : of steps
    given : variables of the results
    """

    names: list[str]
    learning_rate: np.ndarray
    one_step: bool
    unit: str
    given: dict[str, tuple]


def _points(
    evaluate: Evaluator,
    evaluation: Evaluation,
    waypoints: list[Waypoint],
    updates: bool,
    learning_rate: float | Sequence[float] | None,
) -> _Points:
    if updates and not waypoints:
        raise BadInput("--along update goes from one checkpoint to the next; give those before the network too")
    all_ = [*(opened(evaluate, waypoint) for waypoint in waypoints), evaluate.checkpoint]
    names = [*(waypoint.name for waypoint in waypoints), Path(evaluate.label).stem]
    epochs = [(each.history.get("epoch") or [None])[-1] for each in all_]
    rates = np.array([float((each.history.get("learning_rate") or [math.nan])[-1]) for each in all_])
    batches = [each.training.get("batch_size", 0) for each in all_]
    examples = sum(len(targets) for _, targets in evaluate.sources[0].batches)
    whole = all(
        each.data.get("digest") == evaluation.metadata["data_digest"] and size >= examples
        for each, size in zip(all_, batches, strict=True)
    )
    if updates:  # each with the rate that led to the next one
        names, rates = names[:-1], rates[1:]
        whole = whole and None not in epochs and bool((np.diff(epochs) == 1).all())
    if learning_rate is not None:
        rates = np.ravel(np.array(learning_rate, float))
        if len(rates) not in (1, len(names)) or not (rates > 0).all():
            listed = " ".join(f"{rate:g}" for rate in rates)
            raise BadInput(f"--learning-rate is {listed}; give a positive one, or one for each of {len(names)}")
        rates = np.broadcast_to(rates, len(names)).copy()
    one_step = bool(updates and (learning_rate is not None or whole) and (rates > 0).all())
    unit = "learning rate" if one_step or not updates else "update"
    given: dict[str, tuple] = {}
    if all(epoch is not None for epoch in epochs):
        given["epoch"] = (("checkpoint",), np.array(epochs[: len(names)]))
    return _Points(names, rates, one_step, unit, given)


def _check_finite(evaluate: Evaluator, waypoints: list[Waypoint]) -> None:
    for waypoint in waypoints:
        weights = opened(evaluate, waypoint).weights
        if broken := [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]:
            raise BadInput(
                f"the weights of {waypoint.label} are not finite in {broken[0]}, as after a training that diverged; "
                "leave it out"
            )


def _same_shapes(network: nn.Module, other: nn.Module) -> None:
    shapes, others = ({n: p.shape for n, p in each.named_parameters()} for each in (network, other))
    if shapes != others:
        name = next(n for n in {**shapes, **others} if shapes.get(n) != others.get(n))
        raise BadInput(f"the evaluator to go along is of another network: they differ in {name}; give one of this one")


def _described(second: Evaluation) -> dict[str, object]:
    return {f"along_{name}": second.metadata[name] for name in ("loss", "split", "data_digest")}


def _variables(evaluation: Evaluation, unit: str, lambda_max: bool) -> dict[str, tuple]:
    """What `measures` gives."""
    prefixes = {"": "", **{f"{name}_": f"{name}: " for name in evaluation.extra if name not in evaluation.metrics}}
    if evaluation.test is not None:
        prefixes |= {f"test_{prefix}": f"test split: {said}" for prefix, said in prefixes.items()}
    sharp = "nats per squared weight" if unit == "learning rate" else "per update"
    units = {"lambda_c": sharp, "eta_c": unit}
    variables: dict[str, tuple] = {}
    for prefix, said in prefixes.items():
        for name, label in CRITICAL.items():
            shown = {"long_name": f"{said}{label}", "units": units[name.removesuffix("_low").removesuffix("_high")]}
            variables[f"{prefix}{name}"] = ("f8", np.nan, shown)
    variables["direction_norm"] = ("f8", np.nan, {"long_name": "norm of the direction"})
    said = "learning rate of the training; NaN where it is not known"
    variables["learning_rate"] = ("f8", np.nan, {"long_name": said})
    variables["passes"] = ("i8", 0, {"long_name": "forward passes over all examples", "units": "1"})
    if lambda_max:
        of = {"units": "nats per squared weight"}
        variables |= {name: ("f8", np.nan, {"long_name": label, **of}) for name, label in LARGEST.items()}
    return in_units(variables, evaluation.metadata["loss"])


def _summary(table: Table, names: list[str], unit: str) -> Iterator[str]:
    """The critical sharpness of the first and the last one, the largest, and those that have none."""
    values, done = table.values, np.flatnonzero(table.done)
    sharp = values["lambda_c"]
    some = [row for row in done if np.isfinite(sharp[row]) and sharp[row] > 0]
    if some:
        top = max(some, key=lambda row: sharp[row])
        for row in dict.fromkeys((some[0], top, some[-1])):
            low, high = values["lambda_c_low"][row], values["lambda_c_high"][row]
            most = " (the largest)" if row == top and len(some) > 2 else ""
            step = f"{values['eta_c'][row]:.3g} updates" if unit == "update" else f"η = {values['eta_c'][row]:.3g}"
            yield (
                f"{names[row]}: critical sharpness {sharp[row]:.4g}, 95 % interval {low:.4g} to {high:.4g}{most}; "
                f"the loss rises beyond {step}"
            )
    for row in done:
        if sharp[row] == 0:
            bound = values["lambda_c_high"][row]
            yield f"{names[row]}: the loss does not rise up to the longest step; λ_c is below {bound:.3g}"
        elif np.isnan(sharp[row]):
            yield f"{names[row]}: the loss does not fall first, by more than rounding: there is no critical step"
