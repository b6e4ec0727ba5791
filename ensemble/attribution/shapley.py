"""What each block is worth, when the others may be there or not: Shapley values of a network's error.

Deleting a block from the intact network says what it is worth when all others help; in a network whose
blocks can stand in for each other, that is little for all of them. The Shapley value is the mean of what its deletion
costs, over all orders in which the blocks may be deleted one after the other until none is left. Together
the values are the whole rise of the error, from the intact network to its shortcuts.

It is estimated from random orders (Castro et al. 2009, *Computers & Operations Research* 36), each followed by its
reverse: where one deletes a block early, the other does so late, and much of the noise cancels
(Mitchell et al. 2022, 2104.12199 §2.2). Standard errors are over such pairs, which are independent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported where they are first used: they take as long as a small measurement

from landscape.engine.table import Results
from landscape.errors import BadInput

__all__ = ["SPARED", "Values", "orders", "payoff", "places", "remaining", "sets", "shapley_values", "summary", "values"]

STEP = 40  # orders between two looks at how well the values are known
MOST = 100_000  # orders
CONFIDENCE = 0.95

# What a results file holds besides
SPARED = {"spared": ("?", False, {"long_name": "whether the trial was not needed for the precision asked for"})}


class Values(NamedTuple):
    """Estimates of Shapley values.

    Attributes
    ----------
    mean, se, half : float64 ndarray, shape (blocks,)
        The values, their standard errors over pairs of orders, and half the width of their 95 % intervals (Student's).
    pairs : int
        Of orders.
    """

    mean: np.ndarray
    se: np.ndarray
    half: np.ndarray
    pairs: int


def orders(number: int, count: int, seed: int) -> np.ndarray:
    """Random orders in which `number` blocks are deleted, each followed by its reverse: int (count, number).

    Raises
    ------
    BadInput
        The count is odd, too small or too large.
    """
    if count % 2 or not 4 <= count <= MOST:
        raise BadInput(f"--shapley is {count}; give an even number of orders, from 4 to {MOST:,}")
    forth = [np.random.default_rng([seed, pair]).permutation(number) for pair in range(count // 2)]
    return np.array([order for one in forth for order in (one, one[::-1])])


def sets(orders: np.ndarray) -> np.ndarray:
    """All sets of blocks that are gone at some time, each once, as they first appear: bool (sets, blocks).

    The first is empty: nothing is deleted. Orders share sets, at both ends above all.
    """
    count, number = orders.shape
    gone = np.zeros((count, number + 1, number), bool)
    for k in range(number):
        gone[:, k + 1] = gone[:, k]
        gone[np.arange(count), k + 1, orders[:, k]] = True
    distinct, first = np.unique(gone.reshape(-1, number), axis=0, return_index=True)
    return distinct[np.argsort(first)]


def places(orders: np.ndarray, deleted: np.ndarray) -> np.ndarray:
    """Where the sets of each order stand among those deleted, bool (trials, blocks): int (orders, blocks + 1)."""
    where = {chosen.tobytes(): trial for trial, chosen in enumerate(np.ascontiguousarray(deleted))}
    rows = np.empty((len(orders), orders.shape[1] + 1), int)
    for row, order in zip(rows, orders, strict=True):
        gone = np.zeros(orders.shape[1], bool)
        row[0] = where[gone.tobytes()]
        for k, block in enumerate(order, start=1):
            gone[block] = True
            row[k] = where[gone.tobytes()]
    return rows


def values(payoff: np.ndarray, orders: np.ndarray, places: np.ndarray) -> Values:
    """Estimate the value of each block.

    Parameters
    ----------
    payoff : float ndarray, shape (trials,)
        What is to be shared out, of each trial, such as the error; NaN where it is not measured.
    orders : int ndarray, shape (count, blocks)
        Random orders of deletion, each followed by its reverse, see `orders`.
    places : int ndarray, shape (count, blocks + 1)
        The trial in which the first 0, 1, … blocks of an order are deleted, see `places`. Pairs of orders of which a
        trial is missing are left out.

    Returns
    -------
    Values
        In the unit of the payoff.
    """
    costs = np.empty(orders.shape)
    np.put_along_axis(costs, orders, np.diff(payoff[places], axis=1), axis=1)
    paired = costs.reshape(len(orders) // 2, 2, -1).mean(axis=1)
    paired = paired[np.isfinite(paired).all(axis=1)]
    pairs = len(paired)
    if pairs < 2:
        nothing = np.full(orders.shape[1], np.nan)
        return Values(nothing, nothing, nothing, pairs)
    se = paired.std(axis=0, ddof=1) / np.sqrt(pairs)
    return Values(paired.mean(axis=0), se, scipy.stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * se, pairs)


def payoff(loss: np.ndarray, accuracy: np.ndarray | None, done: np.ndarray) -> np.ndarray:
    """What is shared out: the error, a fraction; the loss where targets are not classes. NaN where not measured."""
    payoff = loss if accuracy is None or np.isnan(accuracy[done]).all() else 1 - accuracy
    return np.where(done, payoff, np.nan)


def remaining(
    payoff: np.ndarray, done: np.ndarray, orders: np.ndarray, places: np.ndarray, precision: float | None
) -> tuple[np.ndarray, Values]:
    """Which trials to measure next, and the values from the orders looked at.

    Parameters
    ----------
    payoff, orders, places : see `values`
    done : bool ndarray, shape (trials,)
    precision : of each value: half the width of its 95 % interval, in the payoff's unit; None for all orders

    Returns
    -------
    rows : int ndarray
        None when the values are known well enough, or all orders are through.
    values : Values
        From the orders up to the last look alone: others may be complete too, but only those whose sets are common.

    Notes
    -----
    Looks are taken at fixed numbers of orders, so that where it ends depends on the numbers alone. To stop when an
    interval happens to be narrow makes it cover a little less often than it says.
    """
    for end in range(STEP, len(orders) + STEP, STEP):
        rows = np.unique(places[:end])
        estimates = values(payoff, orders[:end], places[:end])
        if not done[rows].all():
            return rows[~done[rows]], estimates
        if precision is not None and estimates.half.max() <= precision:
            break
    return np.zeros(0, int), estimates


def shapley_values(study: Results) -> Values:
    """The Shapley values of all blocks, with their intervals: of the error, a fraction, or of the loss, see `payoff`.

    Parameters
    ----------
    study : Results
        Of blocks deleted in random orders, ``lesions(evaluate, shapley=1000)`` or ``shapley(evaluate, 1000)``.

    Returns
    -------
    Values
        The ``mean`` of each block, its standard error ``se`` and ``half`` of its 95 % interval, each of shape
        (blocks,), and the number of ``pairs`` of orders.

    Raises
    ------
    BadInput
        Blocks were not deleted in orders.

    Examples
    --------
    >>> import torch
    >>> import skipscape as ss
    >>> from landscape.networks import build
    >>> network = build("resnet", depth=8, width=2, channels=1)
    >>> evaluate = ss.Evaluator(network, [(torch.randn(8, 1, 8, 8), torch.arange(8))])
    >>> study = ss.shapley(evaluate, 4, quiet=True)
    >>> worth, rise = shapley_values(study).mean, study["accuracy"][0] - study["accuracy"][study["deleted"].all(axis=1)]
    >>> bool(np.allclose(worth.sum(), rise))  # shares of what it costs to delete all
    True
    """
    if "turn" not in study:
        raise BadInput(f"{study.source} has no orders of deletion; measure a study that has: --shapley")
    ways = study["turn"].argsort(axis=1)
    cost = payoff(study["loss"], study.variables.get("accuracy"), study["done"])
    precision = study.attributes.get("precision")
    return remaining(cost, study["done"], ways, places(ways, study["deleted"]), precision)[1]


def summary(file: Results) -> str:
    """A line that says what the blocks are worth together, and which of them most."""
    estimates, names = shapley_values(file), file.coordinates["block"]
    scale, unit = (100, "points of error") if file.has_accuracy else (1, file.unit)
    first = ", ".join(
        f"{block + 1} ({names[block]}) {scale * estimates.mean[block]:.3g} ± {scale * estimates.half[block]:.2g}"
        for block in np.argsort(-estimates.mean)[:3]
    )
    return (
        f"all {len(names)} blocks are worth {scale * estimates.mean.sum():.4g} {unit}, of which blocks {first}, …; "
        f"95 % intervals of ± {scale * estimates.half.max():.2g} at most, from {2 * estimates.pairs} orders and "
        f"{file['done'].sum()} trials"
    )
