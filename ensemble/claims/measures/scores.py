"""Whether what a block does to activations tells what its deletion costs."""

from __future__ import annotations

from typing import Any

from ensemble.claims.verdict import Number, of_ranks
from ensemble.claims.workbench import Case
from ensemble.flow.redundancy import association, redundancy

__all__ = ["score_correlation"]


def score_correlation(case: Case, score: str = "influence", examples: int | None = None, **options: Any) -> Number:
    """Spearman's rank correlation of a score of blocks with the rise of the loss when each is deleted.

    Parameters
    ----------
    score : str
        See `ensemble.flow.scores.SCORES`.
    examples : int, optional
        Of the test split.
    **options
        Of `ensemble.flow.redundancy.redundancy`, such as ``layers=True``.
    """
    evaluate = case.evaluator(split="test", examples=examples, seed=case.seed)
    results = case.measured(redundancy, evaluate, **options)
    rho, _, blocks = association(results[score], results["rise"])
    return of_ranks(rho, blocks, "blocks")
