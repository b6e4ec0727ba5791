"""What is left of a network when blocks are deleted, moved or applied twice (Veit et al. 2016, 1605.06431 §4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from ensemble.attribution.interaction import interactions
from ensemble.blocks.blocks import blocks
from ensemble.claims.verdict import Number, of_ranks
from ensemble.claims.workbench import Case
from ensemble.lesions.trials import lesions
from landscape.analysis.numbers import changed
from landscape.engine.results import Results
from landscape.errors import BadInput
from landscape.networks import Block

__all__ = ["deletions", "interacting_pairs", "jumps", "largest_step", "reorderings", "trend"]

STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "median": np.median,
    "least": np.min,
    "most": np.max,
}
ENDS = {"error": (0, 100), "agreement": (0, 100), "loss": (0,)}  # of what the numbers can be
PLACES = ("all", "first", "last", "ends", "middle", "transitions", "others")


def deletions(
    case: Case,
    of: str = "error",
    statistic: str = "median",
    where: str = "all",
    split: str = "test",
    examples: int | None = None,
    **kind: Any,
) -> Number:
    """A statistic over lesions: of the error or the loss after them, or of the rise, or of what they leave as it was.

    Parameters
    ----------
    of : {"error", "error rise", "loss", "loss rise", "agreement"}
        In percent, points, nats, nats, percent. "agreement" is the share of predictions that stay.
    statistic : {"mean", "median", "least", "most", "intact"}
        Over the lesions; "intact" is of the network without one.
    where : {"all", "first", "last", "ends", "middle", "transitions", "others"}
        Which single deletions: of all blocks, of the first, the last, these two, all but these two; of those that
        change the shape of what passes through, of those that do not.
    split, examples : of the data
    **kind
        Of the lesion, as of `ensemble.lesions.trials.lesions`; by default ``delete=1``.
    """
    results = _measured(case, split, examples, _kind(kind), agreement=of == "agreement")
    values, se = _values(results, of)
    number, _ = changed(results)
    rows = np.flatnonzero(number > 0)
    if statistic == "intact":
        rows = np.flatnonzero(number == 0)[:1]
        return Number(float(values[rows[0]]), float(se[rows[0]]), "images", *ENDS.get(of, ()))
    if where != "all":
        rows = rows[_chosen(case, results, rows, where)]
    if statistic not in STATISTICS or not len(rows):
        raise BadInput(f"there is no statistic {statistic!r} of the {len(rows)} lesions where={where!r}")
    value = float(STATISTICS[statistic](values[rows]))
    # The lesions are all that there are, or drawn; their images are the same, so errors do not average out.
    return Number(value, float(np.mean(se[rows])), "images", *ENDS.get(of, ()))


def trend(case: Case, of: str = "error", split: str = "test", examples: int | None = None, **kind: Any) -> Number:
    """Spearman's rank correlation of the number of blocks that are changed with what that leaves."""
    results = _measured(case, split, examples, kind)
    values, _ = _values(results, of)
    number, _ = changed(results)
    return _correlation(number, values)


def jumps(case: Case, of: str = "error", split: str = "test", examples: int | None = None, **kind: Any) -> Number:
    """The largest step between the means of successive numbers of changed blocks, as a part of the whole rise."""
    results = _measured(case, split, examples, kind)
    values, _ = _values(results, of)
    number, _ = changed(results)
    return Number(largest_step(number, values))


def largest_step(number: np.ndarray, values: np.ndarray) -> float:
    """The largest step of the mean over successive numbers, as a part of its whole rise; NaN if it does not rise.

    Examples
    --------
    >>> largest_step(np.array([0, 1, 1, 2]), np.array([10.0, 14.0, 16.0, 30.0]))
    0.75
    """
    means = [float(values[number == n].mean()) for n in sorted({*number.tolist()})]
    rise = max(means) - means[0]
    return max(after - before for before, after in pairwise(means)) / rise if rise > 0 else math.nan


def reorderings(
    case: Case, split: str = "test", examples: int | None = None, swap: list[int] | int = 1, trials: int = 20
) -> Number:
    """Spearman's rank correlation of Kendall's τ of the order of blocks with the error."""
    results = _measured(case, split, examples, {"swap": swap, "trials": trials})
    return _correlation(results["kendall_tau"], _values(results, "error")[0])


def interacting_pairs(
    case: Case, of: str = "size", split: str = "test", examples: int | None = None, **options: Any
) -> Number:
    """What deleting two blocks does beyond the sum of both, over all pairs.

    Parameters
    ----------
    of : {"share", "size"}
        The share of pairs that differ from 0, at a false discovery rate of 5 %, in percent; or the median size of what
        is beyond, as a part of the median sum of both.
    """
    results = _measured(case, split, examples, {"delete": [1, 2], **options})
    matrix = interactions(results, loss=True)
    upper = np.triu_indices(len(matrix.value), 1)
    if of == "share":
        return Number(100 * float(np.mean(matrix.significant[upper])), least=0, most=100)
    alone = np.diag(matrix.value)
    both = np.abs(alone[upper[0]] + alone[upper[1]])
    return Number(float(np.median(np.abs(matrix.value[upper])) / np.median(both)))


def _kind(options: dict) -> dict:
    """The options of a lesion; that one block is deleted where they name no other."""
    named = {"delete", "swap", "permute", "reverse", "repeat", "parallel", "loop", "average"} & options.keys()
    return options if named else {"delete": 1, **options}


def _measured(case: Case, split: str, examples: int | None, kind: dict, agreement: bool = False) -> Results:
    metrics = ["agreement"] if agreement else None
    evaluate = case.evaluator(split=split, examples=examples, seed=case.seed, metrics=metrics, dtype=case.bench.dtype)
    return case.measured(lesions, evaluate, **kind)


def _values(results: Results, of: str) -> tuple[np.ndarray, np.ndarray]:
    """What is asked of every trial, and its standard error over images."""
    n = np.maximum(results["examples"], 1)
    if of in ("error", "error rise"):
        wrong = 1 - results.accuracy()
        value, se = 100 * wrong, 100 * np.sqrt(wrong * (1 - wrong) / n)
    elif of in ("loss", "loss rise"):
        value, se = results["loss"], results["loss_se"]
    elif of == "agreement":
        value, se = 100 * results["agreement"], 100 * results["agreement_se"]
    else:
        raise BadInput(f"there is no {of!r} of lesions; use error, error rise, loss, loss rise or agreement")
    if of.endswith("rise"):
        number, _ = changed(results)
        intact = np.flatnonzero(number == 0)[0]
        # Of the loss paired over images; of the error no more than that, as if the images were others.
        value, se = value - value[intact], results["rise_se"] if of == "loss rise" else np.hypot(se, se[intact])
    return value, se


def _chosen(case: Case, results: Results, rows: np.ndarray, where: str) -> np.ndarray:
    """Which of the rows, of one deletion each, are asked for."""
    if where not in PLACES:
        raise BadInput(f"there is no where={where!r}; use {', '.join(PLACES)}")
    deleted = results["deleted"][rows]
    first, last = deleted[:, 0], deleted[:, -1]
    if where in ("first", "last"):
        return first if where == "first" else last
    if where in ("ends", "middle"):
        return (first | last) if where == "ends" else ~(first | last)
    known = blocks(case.module())
    each = [known.get(name) for name in results.coordinates["block"]]
    if not all(isinstance(block, Block) for block in each):
        raise BadInput(f"{case.path}: only blocks of skipscape's own networks say whether they change the resolution")
    changes = np.array([not block.keeps_shape for block in each if isinstance(block, Block)])
    at = (deleted & changes).any(axis=1)
    return at if where == "transitions" else ~at


def _correlation(x: np.ndarray, y: np.ndarray) -> Number:
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() <= 3:
        return Number(math.nan)
    return of_ranks(float(stats.spearmanr(x[known], y[known]).statistic), int(known.sum()), "trials")
