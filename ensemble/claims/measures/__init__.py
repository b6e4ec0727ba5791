"""How the quantities of claims are measured: one function each, from a network on the workbench to a number.

A measure takes a `Case` and the settings of its quantity; where a quantity names a second network, that comes as
``other``. It calls what the library offers and picks one number, with a standard error where one training has one. A
training that diverged has an error of guessing and no other number. A new measure is a function and its entry here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from ensemble.claims.measures.basins import basin_reach, critical_rank
from ensemble.claims.measures.blocks import refinement, relative_gradient, responses, reuse_spread
from ensemble.claims.measures.lesions import deletions, interacting_pairs, jumps, reorderings, trend
from ensemble.claims.measures.paths import binomial_share, overestimate, path_share
from ensemble.claims.measures.planes import (
    barrier_height,
    curvature_ratio,
    explained,
    interpolation,
    sharpness_rise,
    surface_number,
)
from ensemble.claims.measures.scores import score_correlation
from ensemble.claims.measures.streams import autocorrelation, later_effect, mixing_gain, variance_growth
from ensemble.claims.measures.trainings import error, identity_error, loss
from ensemble.claims.specification import Claim
from ensemble.claims.verdict import Number
from ensemble.claims.workbench import Case
from landscape.errors import BadInput, did_you_mean

__all__ = ["MEASURES", "Measure", "check_measure", "measured"]

Measure = Callable[..., Number]

MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (
        autocorrelation,
        barrier_height,
        basin_reach,
        binomial_share,
        critical_rank,
        curvature_ratio,
        deletions,
        error,
        explained,
        identity_error,
        interacting_pairs,
        interpolation,
        jumps,
        later_effect,
        loss,
        mixing_gain,
        overestimate,
        path_share,
        refinement,
        relative_gradient,
        reorderings,
        responses,
        reuse_spread,
        score_correlation,
        sharpness_rise,
        surface_number,
        trend,
        variance_growth,
    )
}


def check_measure(claim: Claim) -> None:
    """See that what a claim is measured by exists and has such settings, before anything is trained.

    Raises
    ------
    BadInput
        It does not.
    """
    for quantity in claim.quantities.values():
        if quantity.measure not in MEASURES:
            raise BadInput(
                f"{claim.name}: there is no measure {quantity.measure}; use one of {', '.join(sorted(MEASURES))}"
                f"{did_you_mean(quantity.measure, MEASURES)}"
            )
        other = {} if quantity.other is None else {"other": None}
        try:
            inspect.signature(MEASURES[quantity.measure]).bind(None, **other, **quantity.settings)
        except TypeError as error:
            raise BadInput(f"{claim.name}: {quantity.measure}, of the quantity {quantity.name}: {error}") from error


def measured(measure: str, case: Case, other: Case | None, settings: Mapping[str, Any]) -> Number:
    """What a measure says of a network; of one whose training diverged nothing but its error."""
    if measure != error.__name__ and (case.diverged or (other is not None and other.diverged)):
        return Number(math.nan)
    return MEASURES[measure](case, **({} if other is None else {"other": other}), **settings)
