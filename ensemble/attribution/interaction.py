"""Do blocks act alone? What two deletions do beyond the sum of what each does.

I_ij = Δ_ij − Δ_i − Δ_j, where Δ is the rise when blocks i and j, or one of them, are deleted. If paths through a
network act for themselves, as an ensemble's members do, deletions add up and I is 0. Where one block makes good for
the other it is positive, where the second deletion has nothing left to break it is negative.

The four networks see the same examples, so I is a mean of one number an example, and its standard error is paired. All
pairs are tested at once; the false discovery rate is held at 5 % (Benjamini & Hochberg 1995).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # whose parts are imported where they are first used: they take as long as a small measurement

from ensemble.attribution.paired import mean_of
from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.evaluation.sampling import Tolerance

__all__ = ["INTERACTION", "UNKNOWN", "Matrix", "interaction", "interactions", "summary"]

LEVEL = 0.05

INTERACTION = {
    "interaction": ("f8", np.nan, {"long_name": "rise of the loss beyond the sum of both deletions", "units": "nats"}),
    "interaction_se": ("f8", np.nan, {"long_name": "standard error of the interaction, paired", "units": "nats"}),
    "error_interaction": (
        "f8",
        np.nan,
        {"long_name": "rise of the error beyond the sum of both deletions", "units": "1"},
    ),
    "error_interaction_se": ("f8", np.nan, {"long_name": "standard error of the above, paired", "units": "1"}),
}
UNKNOWN = dict.fromkeys(INTERACTION, np.nan)  # of a trial that is no pair


class Matrix(NamedTuple):
    """Interactions of all pairs of blocks.

    Attributes
    ----------
    value, se : float64 ndarray, shape (blocks, blocks)
        Symmetric; on the diagonal of `value` the rise when that block alone is deleted. NaN where nothing is measured.
    significant : bool ndarray, shape (blocks, blocks)
        Where an interaction differs from 0, with a false discovery rate of 5 % over all pairs.
    q : float64 ndarray, shape (blocks, blocks)
        The false discovery rate at which each pair would just be significant (Benjamini & Hochberg's adjusted p); NaN
        on the diagonal, and where nothing is tested.
    """

    value: np.ndarray
    se: np.ndarray
    significant: np.ndarray
    q: np.ndarray


def interaction(
    both: np.ndarray, one: np.ndarray, other: np.ndarray, intact: np.ndarray, tolerance: Tolerance | None
) -> dict[str, float]:
    """What a trial of two deletions measures besides, see `INTERACTION`.

    Parameters
    ----------
    both, one, other, intact : float64 ndarray, shape (2, examples)
        Loss of each example, and whether it is classified wrongly, with both blocks deleted, with one, with the other,
        and with neither; see `ensemble.attribution.paired.PerExampleLoss`.
    tolerance : Tolerance, optional
        Where measuring stopped, see `ensemble.attribution.paired.rise`.

    Returns
    -------
    dict
        ``interaction`` in the unit of the loss, ``error_interaction`` as a fraction, and their standard errors.
    """
    n = both.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):  # infinite losses are results
        beyond = both - one[:, :n] - other[:, :n] + intact[:, :n]
    numbers = [number for each in beyond for number in mean_of(each, tolerance)]
    return dict(zip(INTERACTION, numbers, strict=True))


def interactions(study: Results, loss: bool | None = None) -> Matrix:
    """The interactions of all pairs of blocks, as matrices.

    Parameters
    ----------
    study : Results
        Of all pairs and single deletions, ``lesions(evaluate, delete=[1, 2])``.
    loss : bool, optional
        Whether to take the loss, in its unit, or the error, a fraction. By default the error, where accuracy is
        defined.

    Returns
    -------
    Matrix
        Its ``value``, ``se``, ``significant`` and ``q``, each of shape (blocks, blocks). Where the examples show
        no spread at all, the normal approximation has nothing to say, and the pair is not significant.

    Raises
    ------
    BadInput
        Interactions were not measured.

    Examples
    --------
    >>> import torch
    >>> import skipscape as ss
    >>> from landscape.networks import build
    >>> network = build("resnet", depth=8, width=2, channels=1)
    >>> evaluate = ss.Evaluator(network, [(torch.randn(8, 1, 8, 8), torch.arange(8))])
    >>> interactions(ss.lesions(evaluate, delete=[1, 2], quiet=True)).value.shape
    (3, 3)
    """
    loss = not study.has_accuracy if loss is None else loss
    name = "interaction" if loss else "error_interaction"
    if name not in study:
        raise BadInput(f"{study.source} has no interactions; measure pairs and each alone: --delete 1 2")
    number = len(study.coordinates["block"])
    value, se = np.full((number, number), np.nan), np.full((number, number), np.nan)
    measured = study["loss"] if loss else 1 - study["accuracy"]
    intact = np.flatnonzero(~study["deleted"].any(axis=1))[0]
    for trial in np.flatnonzero(study["done"]):
        blocks = np.flatnonzero(study["deleted"][trial])
        if len(blocks) == 1:
            value[blocks[0], blocks[0]] = measured[trial] - measured[intact]
        elif len(blocks) == 2:
            value[tuple(blocks)] = value[tuple(blocks[::-1])] = study[name][trial]
            se[tuple(blocks)] = se[tuple(blocks[::-1])] = study[f"{name}_se"][trial]
    upper = np.triu_indices(number, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * scipy.stats.norm.sf(np.abs(value[upper]) / se[upper])
    tested = np.isfinite(p) & (se[upper] > 0)  # without a spread between examples there is nothing to test it by
    q = np.full((number, number), np.nan)
    if tested.any():
        adjusted = np.full(len(p), np.nan)
        adjusted[tested] = scipy.stats.false_discovery_control(p[tested])
        q[upper] = q.T[upper] = adjusted
    return Matrix(value, se, q <= LEVEL, q)


def summary(file: Results) -> str:
    """A line that says how far from 0 the interactions are."""
    loss = not file.has_accuracy
    matrix = interactions(file, loss)
    upper = np.triu_indices(len(matrix.value), 1)
    known = np.isfinite(matrix.value[upper])
    pairs, alone = matrix.value[upper][known], np.diag(matrix.value)
    together = (pairs + np.add.outer(alone, alone)[upper][known]) if known.any() else pairs
    scale, unit = (1, file.unit) if loss else (100, "points of error")
    return (
        f"{(matrix.significant[upper] & known).sum()} of {known.sum()} interactions differ from 0 (false discovery "
        f"rate {100 * LEVEL:g} %); |I| is {scale * np.median(np.abs(pairs)):.3g} {unit} in the median, "
        f"{scale * np.abs(pairs).max():.3g} at most, where both deletions together cost "
        f"{scale * np.median(together):.3g} in the median"
    )
