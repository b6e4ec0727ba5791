"""What a network measures in each trial of a plan: the function that the engine sweeps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch

from ensemble.attribution.interaction import UNKNOWN, interaction
from ensemble.attribution.paired import PerExampleLoss, rise
from ensemble.blocks.blocks import Foreign
from ensemble.lesions.context import Replacement, arranged, derangement, means
from ensemble.lesions.layer_cache import LayerCache
from ensemble.lesions.plans import ALONE, MEAN, OTHER, deletions, intact
from ensemble.lesions.prefix_cache import PrefixCache, branch_points, order
from landscape.analysis.precision import sample
from landscape.engine.sweep import Function
from landscape.evaluation.batchnorm import recalibrated
from landscape.evaluation.fused import in_dtype
from landscape.evaluation.measure import measure
from landscape.evaluation.prepared import Evaluation
from landscape.nested import Nested, length
from landscape.networks import Block
from landscape.networks.network import Network

__all__ = ["can_share_prefix", "lesion_function"]


def can_share_prefix(
    evaluation: Evaluation, blocks: Mapping[str, Block | Foreign], plan: np.ndarray, calibration: object = None
) -> bool:
    """Whether trials can share their beginnings: blocks of ours in a row, whose statistics stay as they are."""
    ours = isinstance(evaluation.network, Network) and all(isinstance(block, Block) for block in blocks.values())
    return ours and calibration is None and not (plan["pair"] != ALONE).any()


def lesion_function(
    evaluation: Evaluation,
    blocks: Mapping[str, Block | Foreign],
    plan: np.ndarray,
    room: float,
    calibration: Sequence[Nested] | None = None,
    interactions: bool = False,
) -> tuple[Function, np.ndarray]:
    """The quickest way to measure all trials of a plan.

    Parameters
    ----------
    evaluation : a network, its data, loss and metrics
    blocks : the network's, see `ensemble.blocks.blocks.blocks`
    plan : moves, shape (trials, blocks), see `ensemble.lesions.plans`
    room : bytes of activations that may be kept between trials
    calibration : if given, batches of inputs that BatchNorm's statistics are measured on in every trial
    interactions : whether trials of two deletions are compared with those of one, see
        `ensemble.attribution.interaction`

    Returns
    -------
    function : of trials, for `landscape.engine.sweep.sweep`
        Besides what `landscape.evaluation.measure.score` gives, the `ensemble.attribution.paired.rise` over the same
        examples of the intact network. In a type other than float32, some trials have ``loss_float32`` too.
    order : int ndarray, shape (trials,)
        In which it shares most.

    Raises
    ------
    BadInput
        A branch is to be replaced by what cannot be had.
    """
    seed = evaluation.metadata["seed"]
    if (plan["branch"] == OTHER).any():
        for batch, _ in evaluation.batches:
            derangement(length(batch), seed)  # there must be one
    extra = {evaluation.dtype: evaluation.extra}  # the check in float32 is of the loss alone
    losses = {
        dtype: PerExampleLoss(evaluation.loss, evaluation.accuracy) for dtype in {evaluation.dtype, torch.float32}
    }
    replaced = np.unique(plan["block"][plan["branch"] == MEAN])
    inputs = [batch for batch, _ in evaluation.batches] if len(replaced) else []
    replacement = {
        dtype: Replacement(means(in_dtype(evaluation.runs, dtype), blocks, replaced, inputs), seed) for dtype in losses
    }

    ours = can_share_prefix(evaluation, blocks, plan, calibration)
    theirs = calibration is None and not (plan["pair"] != ALONE).any() and evaluation.runs is evaluation.network

    def cache(dtype: torch.dtype) -> PrefixCache:
        """Measures in one type. The other is for a few trials and leaves the memory to it."""
        how: tuple = (evaluation.tolerance, dtype, room if dtype == evaluation.dtype else 0, replacement[dtype])
        how = (evaluation.batches, losses[dtype], *how, evaluation.accuracy, extra.get(dtype, {}))
        if ours:
            chosen: tuple = (blocks,)
            return PrefixCache(cast("Network", evaluation.network), *how, *chosen)
        return LayerCache(evaluation.network, blocks, *how)

    caches = {dtype: cache(dtype) for dtype in losses} if ours or theirs else {}
    if ours or (theirs and any(caches[evaluation.dtype].place)):
        rows = order(plan)
        ahead = {trial.tobytes(): again for trial, again in zip(plan[rows], branch_points(plan[rows]), strict=True)}

        def damage(trial, dtype, examples=None):
            return caches[dtype].measure(trial, ahead.get(trial.tobytes(), ()), examples)
    else:
        rows = np.arange(len(plan))

        def damage(trial, dtype, examples=None):
            statistics = contextlib.nullcontext() if calibration is None else recalibrated(evaluation.runs, calibration)
            with arranged(evaluation.network, blocks, trial, replacement[dtype]), statistics:
                how = evaluation.tolerance, examples, extra.get(dtype), evaluation.accuracy
                return measure(in_dtype(evaluation.runs, dtype), evaluation.batches, losses[dtype], *how)

    twice = {plan[row].tobytes() for row in sample((len(plan),), seed)}
    unchanged = intact(len(blocks))
    alone = deletions(np.eye(len(blocks), dtype=bool))
    # What others are compared with: losses of each example, as far as they were needed
    references = {unchanged.tobytes(): np.zeros((2, 0))}
    if interactions:
        references |= {one.tobytes(): np.zeros((2, 0)) for one in alone}

    def reference(trial, number):
        each = references[trial.tobytes()]
        if each.shape[1] < number:
            # with room to grow, since trials that follow may need more examples
            damage(trial, evaluation.dtype, max(number, 2 * each.shape[1]))
            each = references[trial.tobytes()] = losses[evaluation.dtype].taken()
        return each[:, :number]

    def function(trials):
        for trial in trials:
            measured = damage(trial, evaluation.dtype)
            each = losses[evaluation.dtype].taken()
            number = each.shape[1]
            if trial.tobytes() in references and references[trial.tobytes()].shape[1] < number:
                references[trial.tobytes()] = each
            measured |= rise(each[0], reference(unchanged, number)[0], evaluation.tolerance)
            if interactions:
                pair = alone[trial["runs"] == 0]
                if len(pair) == 2:
                    one, other, intact = (reference(network, number) for network in (*pair, unchanged))
                    measured |= interaction(each, one, other, intact, evaluation.tolerance)
                else:
                    measured |= UNKNOWN
            if evaluation.dtype != torch.float32:
                measured["loss_float32"] = np.nan
                if trial.tobytes() in twice:
                    measured["loss_float32"] = damage(trial, torch.float32, measured["examples"])["loss"]
                    losses[torch.float32].taken()
            yield measured

    return function, rows
