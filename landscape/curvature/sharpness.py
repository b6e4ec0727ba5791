"""Sharpness: how far the mean loss rises within a ball around a network's weights.

Rises are in nats per example (units of the loss), against the loss at the weights θ over the same examples;
BatchNorm keeps its stored statistics. A weight moves by ε = s · u, and the radius ρ is the root mean square
that u has, or has at most, over the weights with s ≠ 0: a relative change, of unit 1. Of the four kinds,

    random            the rise at a random point of the sphere rms(u) = ρ: its mean is the expected rise
    ascent            the largest rise found in the ball rms(u) ≤ ρ (Foret et al. 2021, 2010.01412, §2)
    adaptive …        the same two with the adaptive ball (Kwon et al. 2021, 2102.11600, §3)

the first two have s = rms(θ) for every weight, so that the ball is ‖ε‖ ≤ ρ‖θ‖; the adaptive ones have
s = |θ|, element by element. There a network that computes the same with its layers scaled otherwise (c and
1/c around a ReLU) has the same rises, and a weight that is 0 stays. Their u is bounded by ρ√n over the n
weights that are not 0, where Kwon et al. give that bound itself. In random directions both balls move weights
alike, E‖ε‖² = ρ²‖θ‖². Their worst directions are not alike: the adaptive ball reaches farther along large
weights, up to ρ√n · |θ|, and less far along small ones. So compare networks within a kind, not kinds.

An ascent is a lower bound of the largest rise. How much lower, only its trials and its steps hint at: climbs from
other points, and longer ones. Its radii are smaller than those of random directions, some thousandths rather than
hundredths, since what it does to one layer is multiplied by what it does to the next.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial

import numpy as np
import torch
from torch import nn

from landscape.curvature.hessian import one_thread, tensors_of, vector_of
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.sweep import Function
from landscape.errors import BadInput
from landscape.evaluation.calling import functional
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.measure import LOSSES, Batches, Loss, each_of, evaluating, measure
from landscape.linalg.reductions import norm
from landscape.log import Report
from landscape.nested import length
from landscape.planes.build_plane import seed_of
from landscape.planes.filters import Parameters, naming, say_parameters, selected, with_filters
from landscape.planes.plane import Plane, shift
from landscape.validate import real, whole

__all__ = ["KINDS", "RISE", "STEP", "ascend", "draw", "gradient", "rises", "scale", "sharpness"]

KINDS = ("random", "ascent", "adaptive random", "adaptive ascent")
STEP = 1.0  # of an ascent, as a part of the radius

RISE = {"rise": ("f8", np.nan, {"long_name": "rise of the loss above that of the unchanged weights", "units": "nats"})}


def sharpness(
    evaluate: Evaluator,
    *,
    rho: float | Sequence[float] = (0.01, 0.02, 0.05, 0.1),
    trials: int = 20,
    steps: int = 20,
    all_parameters: bool = False,
    parameters: Parameters = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure how far the loss rises within balls around a network's weights. Collective.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    rho : float or sequence of float
        Radii of the balls, relative, in ascending order.
    trials : int
        Number of random directions, the same for each kind and radius.
    steps : int
        Number of steps of an ascent; each costs a forward and a backward pass over all examples.
    all_parameters : bool
        Whether all parameters move, and not only those with filters, which planes move.
    parameters : str, sequence of str, or callable, optional
        Which parameters move, see `landscape.planes.make_plane.random_plane`.
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
        Over ``kind`` (see `KINDS`), ``rho`` and ``trial``: what `evaluate` measures there, and its ``rise``.

    Raises
    ------
    BadInput
        Radii, trials or steps that are none, parameters that are all 0, or a file of another measurement.

    Examples
    --------
    >>> network = torch.nn.Linear(4, 3)
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> sharpness(Evaluator(network, batches), rho=0.1, trials=2, quiet=True)["rise"].shape
    (4, 1, 2)
    """
    comm = communicator(comm)
    with collective_errors(comm):
        radii = np.array([real("rho", each) for each in (rho if isinstance(rho, Iterable) else [rho])])
        if not (len(radii) and np.isfinite(radii).all() and (np.diff(radii, prepend=0) > 0).all()):
            listed = " ".join(f"{each:g}" for each in radii) or "empty"
            raise BadInput(f"--rho is {listed}; give positive radii in ascending order")
        trials, steps, seed = whole("trials", trials), whole("steps", steps), seed_of(evaluate, seed)
        evaluate.require_exact("sharpness")
    with evaluate.ready(comm) as evaluation:
        network = evaluation.network
        with collective_errors(comm):
            which = selected(network, parameters, filters=not all_parameters)
            data = evaluation.batches, evaluation.loss
            function = rises(network, *data, which, steps, seed, evaluation.measure)
        say_parameters(comm, network, parameters, one_dimensional=all_parameters)
        trial = np.arange(trials)
        points = np.stack(np.meshgrid(np.arange(len(KINDS)), radii, trial, indexing="ij"), axis=-1).reshape(-1, 3)
        return run(
            function,
            points,
            label="points",
            kind="sharpness",
            dims=("kind", "rho", "trial"),
            coordinates={"kind": KINDS, "rho": radii, "trial": trial},
            measured=evaluation.variables | in_units(RISE, evaluation.metadata["loss"]),
            attributes={
                **evaluation.metadata,
                "seed": seed,
                "parameters": "all" if all_parameters else with_filters(network),
                **naming(parameters),
                "steps": steps,
                "step": STEP,
            },
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def rises(
    network: nn.Module,
    batches: Batches,
    loss: Loss = LOSSES["cross_entropy"],
    which: Parameters = "filters",
    steps: int = 20,
    seed: int = 0,
    measuring: Callable[[], dict[str, float]] | None = None,
) -> Function:
    """The rises of a network's loss, as a function for `landscape.engine.sweep.sweep`.

    Parameters
    ----------
    network, batches, loss
        See `gradient`.
    which : str, sequence of str, or callable, optional
        The parameters that move, see `landscape.planes.filters.selected`: by default those that have filters, as in a
        filter-normalised plane. With None all do.
    steps : int
        Of an ascent; each costs a forward and a backward pass over all examples.
    seed : int
        Of the directions. A trial has one, whatever the kind and the radius: curves over radii are smooth, and
        an ascent starts where the random point of its trial lies.
    measuring : callable, optional
        Measures the network as it is at the moment (`landscape.evaluation.prepared.Evaluation.measure`); by default
        `landscape.evaluation.measure.measure`.

    Returns
    -------
    callable
        Given points, an array of shape (m, 3) of (index in `KINDS`, ρ, trial), yields m measurements: those of
        the network there, and its ``rise``. That of an ascent is never negative, since the ball holds ε = 0.
        Losses that are not finite are results: an ascent ends at the first.

    Raises
    ------
    BadInput
        No parameter moves, or those that do are all 0. When it is called, as `gradient`.
    """
    which = selected(network, which)
    chosen = {name: w.detach().clone() for name, w in network.named_parameters() if which is None or which(name, w)}
    if not chosen:
        raise BadInput("the network has no parameter that would move; choose one or more")
    for name, w in chosen.items():
        if w.dtype not in (torch.float32, torch.float64):
            raise BadInput(f"{name} is {w.dtype}; sharpness needs a network in float32 or float64")
    weights = vector_of(chosen)
    scales = {kind: scale(weights, kind.startswith("adaptive")) for kind in KINDS}
    measuring = measuring or partial(measure, network, batches, loss)
    unchanged = cache(measuring)  # once a process: asked for only where nothing is shifted

    def moved(change: np.ndarray) -> contextlib.AbstractContextManager:
        return shift(network, Plane(chosen, (tensors_of(change, chosen),)), [1])

    def row(kind: str, rho: float, trial: int) -> dict[str, float]:
        s, here = scales[kind], unchanged()
        u = draw(s, rho, (seed, trial))

        def climbed(u: np.ndarray) -> tuple[float, np.ndarray]:
            with moved(s * u):
                value, slope = gradient(network, batches, loss, which)
            return value, s * slope

        if kind.endswith("ascent"):
            u = ascend(climbed, u, steps)
        with moved(s * u):
            measured = measuring()
        if kind.endswith("ascent") and measured["loss"] < here["loss"]:
            measured = here
        with np.errstate(invalid="ignore"):
            return measured | {"rise": float(np.subtract(measured["loss"], here["loss"]))}

    def rows(points: np.ndarray) -> Iterator[dict[str, float]]:
        for kind, rho, trial in points:
            yield row(KINDS[int(kind)], float(rho), int(trial))

    return rows


def scale(weights: np.ndarray, adaptive: bool) -> np.ndarray:
    """What a relative change of 1 is for each weight.

    Parameters
    ----------
    weights : float64 ndarray, shape (n,)
    adaptive : whether it is the weight's own size, or else the root mean square of all

    Raises
    ------
    BadInput
        All weights are 0.
    """
    if not weights.any():
        raise BadInput("the weights that would move are all 0, and no change is relative to that; choose others")
    return np.abs(weights) if adaptive else np.full_like(weights, norm(weights) / np.sqrt(len(weights)))


def draw(scale: np.ndarray, rho: float, seed: int | Sequence[int]) -> np.ndarray:
    """A random point of the sphere of relative changes: a Gaussian draw scaled to a root mean square of ρ.

    Parameters
    ----------
    scale : float64 ndarray, shape (n,)
        Where it is 0, so is the change, and the root mean square is over the others.
    rho, seed
        A seed gives the same direction for each ρ.

    Returns
    -------
    float64 ndarray, shape (n,)
    """
    u = np.random.default_rng(seed).standard_normal(len(scale)) * (scale > 0)
    return u * (rho * np.sqrt(np.count_nonzero(scale)) / norm(u))


def ascend(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray, steps: int, step: float = STEP
) -> np.ndarray:
    """The highest point that projected ascent sees, in the ball around 0 on whose sphere it starts.

    u ← Π(u + step · R · g/‖g‖), with Π onto the ball of radius R: from 0, one step of 1 is that of Foret et al.
    (2021, eq. 2). Steps are of one length, since slopes around a minimum span orders of magnitude. Where the
    function is convex, no step goes down, however long. A maximum inside the ball is found to half a step.

    Parameters
    ----------
    function : callable
        Gives value and slope at a point.
    start : float64 ndarray, shape (n,)
        Its norm is the radius.
    steps : int
        The function is asked once more than that.
    step : float
        As a part of the radius.

    Returns
    -------
    float64 ndarray, shape (n,)
        The first point whose value is not finite, if there is one. The ascent ends where there is no slope.
    """
    u, radius = start, norm(start)
    best, highest = u, -np.inf
    for _ in range(steps + 1):
        value, slope = function(u)
        if not np.isfinite(value):
            return u
        if value > highest:
            best, highest = u, value
        length = norm(slope)
        if not 0 < length < np.inf:
            break
        u = u + (step * radius / length) * slope
        u = u * (radius / max(radius, norm(u)))
    return best


def gradient(
    network: nn.Module, batches: Batches, loss: Loss = LOSSES["cross_entropy"], which: Parameters = None
) -> tuple[float, np.ndarray]:
    """The mean loss over all examples and its gradient at the weights of the moment.

    Parameters
    ----------
    network : nn.Module
        With stored BatchNorm statistics and no dropout; left as it is, to the bit, with its ``.grad``.
    batches : sequence of (inputs, targets)
        On the network's device. They count by their examples, so that unequal sizes do not matter.
    loss : callable
        Gives one number for each example.
    which : str, sequence of str, or callable, optional
        The parameters that the gradient is of, see `landscape.planes.filters.selected`; by default all.

    Returns
    -------
    float
        The loss, mean per example.
    float64 ndarray, shape (n,)
        Ordered as by `landscape.curvature.hessian.vector_of`, summed over batches in float64.

    Raises
    ------
    BadInput
        No examples, or a loss that is not one number for each example.

    Notes
    -----
    Taken on one thread: sums over examples in a backward pass depend on the number of threads, and an ascent
    would carry what they differ by along. Ranks, not threads, share the work.
    """
    examples = sum(length(inputs) for inputs, _ in batches)
    if not examples:
        raise BadInput("there are no examples to take the loss of; give a batch or more")
    values, which = [], selected(network, which)
    with torch.inference_mode(False), torch.enable_grad(), evaluating(network), one_thread():
        # Not the network's own: whether they require gradients, and have some, is the user's.
        parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
        chosen = {name: p.requires_grad_() for name, p in parameters.items() if which is None or which(name, p)}
        total = {name: torch.zeros_like(p, dtype=torch.float64, requires_grad=False) for name, p in chosen.items()}
        for inputs, targets in batches:
            each = each_of(loss, functional(network, parameters, inputs), targets)
            values.append(each.detach().cpu().numpy().astype(np.float64))
            if each.requires_grad:
                parts = torch.autograd.grad(each.sum() / examples, list(chosen.values()), materialize_grads=True)
                for sum_, part in zip(total.values(), parts, strict=True):
                    sum_ += part
    with np.errstate(invalid="ignore"):
        return float(np.concatenate(values).mean()), vector_of(total)
