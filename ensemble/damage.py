"""What a network measures with blocks left out: the function of a plan's trials that the engine sweeps."""

from __future__ import annotations

import numpy as np
import torch

from ensemble.blocks import blocks
from ensemble.lesions import lesion
from ensemble.walk import Walk, branches, order
from landscape.forward import reduced
from landscape.measure import measure
from landscape.networks.network import Network
from landscape.reduced import sample
from landscape.subject import Subject
from landscape.sweep import Function

__all__ = ["damages"]


def damages(it: Subject, plan: np.ndarray, room: float) -> tuple[Function, np.ndarray]:
    """The quickest way to measure all trials of a plan.

    Parameters
    ----------
    it : a network, its data and loss
    plan : bool ndarray, shape (trials, blocks)
    room : bytes of activations that may be kept between trials

    Returns
    -------
    function : of trials, for `landscape.sweep.sweep`
        In a type other than float32, some trials have ``loss_float32`` too.
    order : int ndarray, shape (trials,)
        In which it shares most.
    """
    if isinstance(it.network, Network):
        rows = order(plan)
        ahead = {trial.tobytes(): again for trial, again in zip(plan[rows], branches(plan[rows]), strict=True)}
        walks = {
            dtype: Walk(it.network, it.batches, it.loss, it.tolerance, dtype, room if dtype == it.dtype else 0)
            for dtype in {it.dtype, torch.float32}
        }

        def damage(trial, dtype, examples=None):
            return walks[dtype].measure(trial, ahead[trial.tobytes()], examples)
    else:
        rows = np.arange(len(plan))
        names = np.array(list(blocks(it.network)))

        def damage(trial, dtype, examples=None):
            with lesion(it.network, names[trial]):
                return measure(reduced(it.network, dtype), it.batches, it.loss, it.tolerance, examples)

    twice = {plan[row].tobytes() for row in sample((len(plan),), it.settings["seed"])}

    def function(trials):
        for trial in trials:
            measured = damage(trial, it.dtype)
            if it.dtype != torch.float32:
                again = trial.tobytes() in twice
                exact = damage(trial, torch.float32, measured["examples"])["loss"] if again else np.nan
                measured["loss_float32"] = exact
            yield measured

    return function, rows
