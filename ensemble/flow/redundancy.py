"""Is a block that changes little one that does little? Scores from activations beside the damage of its deletion.

See `ensemble.flow.scores` for the scores. Whether they go with the damage is told by Spearman's rank correlation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported where they are first used: they take as long as a small measurement
import torch

from ensemble.attribution.paired import RISE
from ensemble.blocks.blocks import check, of_part
from ensemble.flow.scores import SCORES, Scores, scores
from ensemble.lesions.measure import can_share_prefix, lesion_function
from ensemble.lesions.plans import deletions
from ensemble.lesions.trials import Described, ready
from landscape.analysis.precision import FLOAT32, difference
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.run import run
from landscape.engine.table import Results, Table
from landscape.evaluation.device import spare_memory
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.prepared import unfused
from landscape.log import Report
from landscape.nested import take

__all__ = ["Association", "association", "p_value", "redundancy", "summary"]

DRAWS = 10_000


class Association(NamedTuple):
    """Spearman's rank correlation, the p-value of none, and how many blocks have both numbers."""

    rho: float
    p: float
    blocks: int


def redundancy(
    evaluate: Evaluator,
    *,
    blocks: Described = None,
    layers: bool = False,
    part: str | None = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Score every block of a network by what it does to activations, and delete it. Collective.

    Scores take one pass over all examples, in float32; a reduced type and a tolerance are for the deletions.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    blocks : callable or "package.module:function", optional
        Which blocks, see `ensemble.lesions.trials.lesions`, also for what follows. One that is named so is scored if
        its name is that of the module that adds its branches.
    layers : bool
        Whether a transformer's layer is one block.
    part : str, optional
        Only the blocks that are this part of their layers.
    seed : int, optional
        Random seed of the permutations behind p-values; by default that of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over blocks: ``influence``, ``angle`` and ``relative`` (see `ensemble.flow.scores`), what lesions measure when
        the block is deleted, and the standard errors.

    Raises
    ------
    BadInput
        There is no block that can be deleted, or a file of another measurement.

    Examples
    --------
    >>> import torch
    >>> from landscape.networks import build
    >>> network = build("resnet", depth=8, width=2)
    >>> scores = redundancy(Evaluator(network, [(torch.randn(8, 3, 8, 8), torch.arange(8))]), quiet=True)
    >>> scores["influence"].shape, scores["rise"].shape
    ((3,), (3,))
    """
    comm = communicator(comm)
    with evaluate.ready(comm) as evaluation:
        with collective_errors(comm):
            evaluation, every = ready(evaluation, blocks, layers, None, seed)
            known_blocks = every if part is None else of_part(every, part)
            number = [list(every).index(name) for name in known_blocks]  # of each among all, by which they are seen
            check(evaluation.network, known_blocks, take(evaluation.batches[0][0], slice(3)))
            plan = deletions(np.eye(len(known_blocks), dtype=bool))
        if not can_share_prefix(evaluation, known_blocks, plan):
            evaluation = unfused(evaluation)
        with collective_errors(comm):
            damage, order = lesion_function(evaluation, known_blocks, plan, spare_memory(comm, evaluation.device))
        reduced = evaluation.dtype != torch.float32
        beside = in_units(RISE | (FLOAT32 if reduced else {}), evaluation.metadata["loss"])

        @cache
        def scored() -> Scores:
            """All blocks at once; each rank for itself, since a pass costs no more than a deletion."""
            return scores(evaluation.network, every, evaluation.batches)

        def function(trials: np.ndarray) -> Iterator[dict]:
            for trial, measured in zip(trials, damage(trials), strict=True):
                yield {**scored().of(number[int(trial["runs"].argmin())]), **measured}

        def finish(table: Table) -> Iterator[str]:
            yield from summary(table.values, evaluation.metadata["seed"])
            if reduced:
                yield difference(evaluation.metadata["dtype"], table.values["loss"], table.values["loss_float32"])

        return run(
            function,
            plan,
            label="blocks",
            kind="redundancy",
            dims=("block",),
            coordinates={"block": np.array(list(known_blocks))},
            measured=SCORES | evaluation.variables | beside,
            attributes=evaluation.metadata,
            choose=lambda table: order[~table.done[order]],
            finish=finish,
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def association(score: np.ndarray, damage: np.ndarray, seed: int = 0) -> Association:
    """Whether blocks of a low score are those whose deletion does little: Spearman's ρ.

    Parameters
    ----------
    score, damage : float ndarray, shape (blocks,); a block with a NaN in either is left out
    seed : of the permutations

    Returns
    -------
    Association
        NaN where fewer than 3 blocks are left, or all are alike. The p-value is two-sided, from 10,000 permutations
        of the blocks, of which the one observed counts as one more.
    """
    both = ~(np.isnan(score) | np.isnan(damage))
    blocks = int(both.sum())
    one, other = (scipy.stats.rankdata(values[both]) - (blocks + 1) / 2 for values in (score, damage))
    norm = np.sqrt((one * one).sum() * (other * other).sum())
    if blocks < 3 or norm == 0:
        return Association(np.nan, np.nan, blocks)
    rho = (one * other).sum() / norm
    drawn = np.random.default_rng(seed).permuted(np.tile(other, (DRAWS, 1)), axis=1)
    as_far = (np.abs((one * drawn).sum(axis=1)) / norm >= abs(rho) - 1e-12).sum()
    return Association(float(rho), float((1 + as_far) / (1 + DRAWS)), blocks)


def p_value(p: float, digits: int = 2) -> str:
    """A p-value of `association` in words: that of no permutation as far out is a bound, and not a number.

    Examples
    --------
    >>> p_value(0.0234), p_value(1 / (1 + DRAWS))
    ('p = 0.023', 'p ≤ 0.0001')
    """
    return f"p {'≤' if p <= 1 / (1 + DRAWS) else '='} {p:.{digits}g}"


def summary(values: Mapping[str, np.ndarray], seed: int = 0) -> list[str]:
    """A line for each score: how it goes with the rise of the loss when the block is deleted."""
    lines = []
    for name in Scores._fields:
        rho, p, blocks = association(values[name], values["rise"], seed)
        left = len(values[name]) - blocks
        without = f", {left} without this score left out" if left else ""
        correlation = "no rank correlation" if np.isnan(rho) else f"Spearman's ρ = {rho:.2f} ({p_value(p)})"
        lines.append(
            f"{name}: {correlation} with the rise of the loss, over {blocks} blocks{without}".replace("-", "−")
        )
    return lines
