"""Lesion studies: what is left of a network when its blocks are deleted, moved or changed (Veit et al. 2016)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ensemble.attribution import interaction
from ensemble.attribution import shapley as values_of_blocks
from ensemble.attribution.paired import RISE
from ensemble.blocks.blocks import blocks as blocks_of
from ensemble.blocks.blocks import of_part, running
from ensemble.lesions.kinds import Study
from ensemble.lesions.measure import can_share_prefix, lesion_function
from ensemble.lesions.study import previous_sets, study
from landscape.analysis.precision import FLOAT32, difference
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.run import run
from landscape.engine.table import Results, Table, results_of
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import norms_of
from landscape.evaluation.device import spare_memory
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.prepared import Evaluation, unfused
from landscape.import_path import import_object
from landscape.log import Report
from landscape.nested import Nested, length, take
from landscape.validate import one_of, whole

__all__ = ["Described", "lesions", "ready", "shapley"]

BATCHNORM = ("frozen", "recalibrated")
Described = Callable[[nn.Module], Mapping] | str | None
Numbers = int | Sequence[int] | None


def lesions(
    evaluate: Evaluator,
    *,
    delete: Numbers = None,
    sets: Iterable[Iterable[str]] | str | os.PathLike | None = None,
    shapley: int | None = None,
    swap: Numbers = None,
    permute: bool = False,
    reverse: Numbers | bool = None,
    repeat: Numbers = None,
    parallel: bool = False,
    loop: Numbers = None,
    average: Numbers = None,
    gate: str | Sequence[str] | None = None,
    trials: int | None = None,
    contiguous: bool = False,
    replace: str | None = None,
    precision: float | None = None,
    alpha: tuple[float, float, int] | None = None,
    within: tuple[int, int] | None = None,
    blocks: Described = None,
    layers: bool = False,
    part: str | None = None,
    batchnorm: str = "frozen",
    calibration: int | None = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
    **kinds: Any,
) -> Results | Report:
    """Measure what is left of a network when its residual blocks are deleted, moved or changed. Collective.

    A study has one kind of lesion, by default ``delete=1``.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data, loss and metrics.
    delete : int or (from, to)
        Leave out so many blocks: every set of them, or `trials` random ones. With ``[1, 2]`` the interactions of all
        pairs are measured too, see `ensemble.attribution.interaction.interactions`.
    sets : sets of names of blocks, or path of a text file
        Which blocks to leave out together; a file has a set of names in each line.
    shapley : int
        Number of random orders in which blocks are left out, one after the other, until none is left.
    swap : int or (from, to)
        So many random swaps within stages.
    permute : bool
        Whether to put blocks into random orders within each stage.
    reverse : bool, int or (from, to)
        True for each stage backwards, then all; or the length, or (from, to), of runs of blocks.
    repeat : int or (from, to)
        Apply so many blocks twice.
    parallel : bool
        Whether each two neighbours see the same input.
    loop : int or (from, to)
        Each stage so many times as a whole, each time on its own output.
    average : int or (from, to)
        The blocks of each stage on the same input, and the mean of what they give goes on, so many times ("looped
        parallel" of Sun et al. 2024, 2407.09298 §3).
    gate : str, or two of them
        Multiply the branch: a curve or a surface over `alpha`.
    trials : int, optional
        Number of random ones for each number of blocks, drawn independently; where there are no more sets of blocks
        than that, each set once. By default every set there is.
    contiguous : bool
        Whether to delete only blocks that follow each other.
    replace : {"mean", "other"}
        Branches give their mean over the data, or what they give for another example, instead of nothing.
    precision : float, optional
        With `shapley`, stop as soon as the 95 % interval of each block's value is ± this, a fraction.
    alpha : (from, to, number of points)
        Of `gate`; by default 0 to 1, 11 points.
    within : (from, to)
        Only blocks from here to there are moved, numbered by depth, from 1.
    blocks : callable or "package.module:function"
        Says where the branches of a network end that is not known, see `ensemble.blocks.blocks.blocks`.
    layers : bool
        Whether a transformer's layer is one block, instead of two, attention and MLP.
    part : str, optional
        Take only the blocks that are this part of their layers, such as "attention" or "mlp".
    batchnorm : {"frozen", "recalibrated"}
        Whether BatchNorm keeps its statistics, or they are measured anew in every trial.
    calibration : int, optional
        Number of examples used to re-estimate them; by default 1024, or all.
    seed : int, optional
        Random seed of the lesions; by default that of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.
    **kinds
        Other kinds of lesions that `ensemble.lesions.kinds.KINDS` has.

    Returns
    -------
    Results
        Over trials, of which trial 0 is the intact network: ``deleted`` (trial, block) and what else was changed,
        ``loss``, ``accuracy`` where it is defined, every further loss and metric, each with its standard error, and
        ``rise``, how much larger the loss is than the intact network's on the same examples. With `gate` over ``x``, or
        ``y`` and ``x``.

    Raises
    ------
    BadInput
        Options that do not go together, blocks that do not allow it, or a file of another measurement.

    Examples
    --------
    >>> from landscape.networks import build
    >>> evaluate = Evaluator(build("resnet", depth=8, width=2), [(torch.randn(8, 3, 8, 8), torch.arange(8))])
    >>> lesions(evaluate, delete=1, quiet=True)["deleted"].astype(int)
    array([[0, 0, 0],
           [1, 0, 0],
           [0, 1, 0],
           [0, 0, 1]])
    """
    comm, out = communicator(comm), None if out is None else Path(out)
    kinds = {"delete": delete, "sets": sets, "shapley": shapley, "swap": swap, "permute": permute, **kinds}
    kinds |= {
        "reverse": reverse,
        "repeat": repeat,
        "parallel": parallel,
        "loop": loop,
        "average": average,
        "gate": gate,
    }
    options: dict[str, Any] = {"trials": trials, "contiguous": contiguous, "replace": replace}
    options |= {"precision": precision, "alpha": alpha, "within": within}
    previous = comm.bcast(previous_sets(out) if comm.rank == 0 and trials else {})
    with evaluate.ready(comm) as evaluation:
        with collective_errors(comm):
            one_of("way with BatchNorm", batchnorm, BATCHNORM)
            evaluation, known_blocks = ready(evaluation, blocks, layers, part, seed)
            inputs = take(evaluation.batches[0][0], slice(3))
            how: dict[str, Any] = {**options, "seed": evaluation.metadata["seed"], "previous": previous}
            asked = study(evaluation.network, known_blocks, inputs, **how, **kinds)
            batches = _calibration(evaluation, calibration) if batchnorm == "recalibrated" else None
        if not can_share_prefix(evaluation, known_blocks, asked.plan, batches):
            evaluation = unfused(evaluation)
        with collective_errors(comm):
            plan, memory = asked.plan, spare_memory(comm, evaluation.device)
            function, order = lesion_function(evaluation, known_blocks, plan, memory, batches, bool(asked.measured))
        attributes = {**evaluation.metadata, **asked.settings, "batchnorm": batchnorm}
        if batches is not None:
            attributes["calibration"] = sum(map(length, batches))
        in_orders = "turn" in asked.given
        return run(
            function,
            plan,
            label="trials" if asked.kind == "lesion" else "points",
            kind=asked.kind,
            dims=asked.dims,
            coordinates=asked.coordinates,
            given=asked.given,
            measured=_variables(evaluation, asked.measured),
            derived=values_of_blocks.SPARED if in_orders else None,
            attributes=attributes,
            choose=_in_orders(asked, order, precision) if in_orders else lambda table: order[~table.done.flat[order]],
            finish=lambda table: _summary(table, evaluation, asked),
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def shapley(evaluate: Evaluator, orders: int = 1000, **options: Any) -> Results | Report:
    """Measure what each block is worth, whichever others are there: ``lesions(evaluate, shapley=orders)``. Collective.

    Parameters
    ----------
    evaluate : Evaluator
        A network with blocks, on data under a loss.
    orders : int
        Number of random orders in which blocks are deleted; even, since each is followed by its reverse.
    **options
        Of `lesions`, such as ``precision``, ``blocks`` and ``out``.

    Returns
    -------
    Results
        Over trials, as of `lesions`; `ensemble.attribution.shapley.shapley_values` makes the values of them.

    Examples
    --------
    >>> from landscape.networks import build
    >>> evaluate = Evaluator(build("resnet", depth=8, width=2), [(torch.randn(8, 3, 8, 8), torch.arange(8))])
    >>> study = shapley(evaluate, 4, quiet=True)
    >>> study["deleted"].any(axis=0)  # each of the three blocks, at some time
    array([ True,  True,  True])
    """
    return lesions(evaluate, shapley=orders, **options)


def ready(
    evaluation: Evaluation, blocks: Described, layers: bool, part: str | None, seed: int | None
) -> tuple[Evaluation, dict]:
    """A network with the seed of its lesions, and its blocks.

    Raises
    ------
    BadInput
        There is no block, or there are two splits.
    """
    if evaluation.test is not None:
        raise BadInput("lesions are measured on one split of the data; leave out the second one: test")
    if seed is not None:
        seed = whole("seed", seed, 0)
        evaluation = with_fields(evaluation, metadata={**evaluation.metadata, "seed": seed})
    described = import_object(blocks) if isinstance(blocks, str) else blocks
    few = take(evaluation.batches[0][0], slice(3))
    known_blocks = blocks_of(evaluation.network, described, layers, few)
    if described is None:
        known_blocks = running(evaluation.network, known_blocks, few)
    return evaluation, known_blocks if part is None else of_part(known_blocks, part)


def _variables(evaluation: Evaluation, more: Mapping[str, tuple]) -> dict[str, tuple]:
    """What is measured in a trial."""
    exact = FLOAT32 if evaluation.dtype != torch.float32 else {}
    beside = {**RISE, **more, **exact}
    if evaluation.accuracy is None:
        beside = {name: variable for name, variable in beside.items() if not name.startswith("error_")}
    return evaluation.variables | in_units(beside, evaluation.metadata["loss"])


def _summary(table: Table, evaluation: Evaluation, asked: Study) -> Iterable[str]:
    """What the blocks are worth, whether they act alone, and how far a reduced type is off."""
    in_orders = "turn" in asked.given
    if in_orders:
        table.derive(spared=~table.done)
        table.flush()
    if in_orders or asked.measured:
        yield (values_of_blocks if in_orders else interaction).summary(results_of(table))
    if evaluation.dtype != torch.float32:
        yield difference(evaluation.metadata["dtype"], table.values["loss"], table.values["loss_float32"])


def _in_orders(asked: Study, order: np.ndarray, precision: float | None) -> Callable[[Table], np.ndarray]:
    """Which trials are measured next in random orders of deletion, see `ensemble.attribution.shapley.remaining`."""
    ways = asked.given["turn"][1].argsort(axis=1)
    places = values_of_blocks.places(ways, asked.given["deleted"][1])

    def choose(table: Table) -> np.ndarray:
        cost = values_of_blocks.payoff(table.values["loss"], table.values.get("accuracy"), table.done)
        rows, _ = values_of_blocks.remaining(cost, table.done, ways, places, precision)
        return order[np.isin(order, rows)]

    return choose


def _calibration(evaluation: Evaluation, number: int | None) -> list[Nested]:
    """Batches that BatchNorm's statistics are measured on anew."""
    norms_of(evaluation.network)  # there must be some
    return evaluation.calibration(number)
