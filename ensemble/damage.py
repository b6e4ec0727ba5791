"""What a network measures in each trial of a plan: the function that the engine sweeps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ensemble.blocks import Foreign
from ensemble.interaction import UNKNOWN, interaction
from ensemble.lesions import Replacement, arranged, derangement, means
from ensemble.paired import Recorder, rise
from ensemble.plans import ALONE, MEAN, OTHER, deletions, intact
from ensemble.walk import Walk, branches, order
from landscape.forward import reduced
from landscape.measure import measure
from landscape.nested import Nested, length
from landscape.networks import Block
from landscape.networks.network import Network
from landscape.reduced import sample
from landscape.statistics import recalibrated
from landscape.subject import Subject
from landscape.sweep import Function

__all__ = ["damages", "walkable"]


def walkable(it: Subject, found: Mapping[str, Block | Foreign], plan: np.ndarray, calibration: object = None) -> bool:
    """Whether trials can share their beginnings: blocks of ours in a row, whose statistics stay as they are."""
    ours = isinstance(it.network, Network) and all(isinstance(block, Block) for block in found.values())
    return ours and calibration is None and not (plan["pair"] != ALONE).any()


def damages(
    it: Subject,
    found: Mapping[str, Block | Foreign],
    plan: np.ndarray,
    room: float,
    calibration: Sequence[Nested] | None = None,
    interactions: bool = False,
) -> tuple[Function, np.ndarray]:
    """The quickest way to measure all trials of a plan.

    Parameters
    ----------
    it : a network, its data and loss
    found : the network's blocks, see `ensemble.blocks.blocks`
    plan : moves, shape (trials, blocks), see `ensemble.plans`
    room : bytes of activations that may be kept between trials
    calibration : if given, batches of inputs that BatchNorm's statistics are measured on in every trial
    interactions : whether trials of two deletions are compared with those of one, see `ensemble.interaction`

    Returns
    -------
    function : of trials, for `landscape.sweep.sweep`
        Besides what `landscape.measure.score` gives, the `ensemble.paired.rise` over the same examples of the
        intact network. In a type other than float32, some trials have ``loss_float32`` too.
    order : int ndarray, shape (trials,)
        In which it shares most.

    Raises
    ------
    BadInput
        A branch is to be replaced by what cannot be had.
    """
    seed = it.settings["seed"]
    if (plan["branch"] == OTHER).any():
        for batch, _ in it.batches:
            derangement(length(batch), seed)  # there must be one
    losses = {dtype: Recorder(it.loss, it.accuracy) for dtype in {it.dtype, torch.float32}}
    replaced = np.unique(plan["block"][plan["branch"] == MEAN])
    inputs = [batch for batch, _ in it.batches] if len(replaced) else []
    replacement = {
        dtype: Replacement(means(reduced(it.runs, dtype), found, replaced, inputs), seed) for dtype in losses
    }

    if walkable(it, found, plan, calibration):
        rows = order(plan)
        ahead = {trial.tobytes(): again for trial, again in zip(plan[rows], branches(plan[rows]), strict=True)}
        walks = {
            dtype: Walk(
                it.network,
                it.batches,
                loss,
                it.tolerance,
                dtype,
                room if dtype == it.dtype else 0,
                replacement[dtype],
                it.accuracy,
            )
            for dtype, loss in losses.items()
        }

        def damage(trial, dtype, examples=None):
            return walks[dtype].measure(trial, ahead.get(trial.tobytes(), ()), examples)
    else:
        rows = np.arange(len(plan))

        def damage(trial, dtype, examples=None):
            statistics = contextlib.nullcontext() if calibration is None else recalibrated(it.runs, calibration)
            with arranged(it.network, found, trial, replacement[dtype]), statistics:
                how = {"tolerance": it.tolerance, "examples": examples, "accuracy": it.accuracy}
                return measure(reduced(it.runs, dtype), it.batches, losses[dtype], **how)

    twice = {plan[row].tobytes() for row in sample((len(plan),), seed)}
    unchanged = intact(len(found))
    alone = deletions(np.eye(len(found), dtype=bool))
    # What others are compared with: losses of each example, as far as they were needed
    references = {unchanged.tobytes(): np.zeros((2, 0))}
    if interactions:
        references |= {one.tobytes(): np.zeros((2, 0)) for one in alone}

    def reference(trial, number):
        each = references[trial.tobytes()]
        if each.shape[1] < number:
            # with room to grow, since trials that follow may need more examples
            damage(trial, it.dtype, max(number, 2 * each.shape[1]))
            each = references[trial.tobytes()] = losses[it.dtype].taken()
        return each[:, :number]

    def function(trials):
        for trial in trials:
            measured = damage(trial, it.dtype)
            each = losses[it.dtype].taken()
            number = each.shape[1]
            if trial.tobytes() in references and references[trial.tobytes()].shape[1] < number:
                references[trial.tobytes()] = each
            measured |= rise(each[0], reference(unchanged, number)[0], it.tolerance)
            if interactions:
                pair = alone[trial["runs"] == 0]
                if len(pair) == 2:
                    others = [reference(network, number) for network in (*pair, unchanged)]
                    measured |= interaction(each, *others, it.tolerance)
                else:
                    measured |= UNKNOWN
            if it.dtype != torch.float32:
                measured["loss_float32"] = np.nan
                if trial.tobytes() in twice:
                    measured["loss_float32"] = damage(trial, torch.float32, measured["examples"])["loss"]
                    losses[torch.float32].taken()
            yield measured

    return function, rows
