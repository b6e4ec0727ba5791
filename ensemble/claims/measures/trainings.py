"""What a training reached."""

from __future__ import annotations

import math

import numpy as np

from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from ensemble.identity import best, identity
from landscape.errors import BadInput

__all__ = ["error", "identity_error", "loss"]

PERCENT = 100.0


def error(case: Case, split: str = "test") -> Number:
    """The error on a split, in percent; of a training that diverged that of guessing."""
    if case.diverged:
        classes = float(case.settings.get("arguments", {}).get("classes", 10))
        return Number(PERCENT * (1 - 1 / classes), math.nan, "images", 0, PERCENT)
    final = _final(case, split)
    wrong, n = 1 - final["accuracy"], final["examples"]
    return Number(PERCENT * wrong, PERCENT * math.sqrt(wrong * (1 - wrong) / n), "images", 0, PERCENT)


def loss(case: Case, split: str = "train") -> Number:
    """The loss on a split, in nats; none of a training that diverged."""
    final = _final(case, split)
    return Number(final["loss"], final.get("loss_se", math.nan), "images", 0)


def _final(case: Case, split: str) -> dict:
    """What was measured at the end of the training."""
    final = case.checkpoint().final
    if "accuracy" not in final.get(split, {}):
        raise BadInput(f"{case.path} does not say which errors its training reached; give a checkpoint of train")
    return final[split]


def identity_error(
    case: Case, kind: str = "plain", depth: int = 10, steps: int = 1000, learning_rate: list[float] | None = None
) -> Number:
    """The relative squared error of a network that regresses its own input, at its best learning rate.

    See `ensemble.identity.identity`. Each seed is a training; the learning rate is the best over all of them.
    """
    options = {"kinds": [kind], "depth": depth, "seeds": case.seeds, "steps": steps}
    rates = [1e-3, 1e-2] if learning_rate is None else learning_rate
    results = case.measured(identity, learning_rate=rates, **options)
    error, se = results["error"], results["error_se"]  # (network, depth, learning rate, seed)
    rate = int(np.flatnonzero(error[0, 0, :, case.seed] == best(error)[0, 0, case.seed])[0])
    return Number(float(error[0, 0, rate, case.seed]), float(se[0, 0, rate, case.seed]), "examples")
