"""How the quantities of claims are measured: one function each, from a network on the workbench to a number.

A measure takes a `Case` and the settings of its quantity; where a quantity names a second network, that comes as
``other``. It calls what the library offers and picks one number, with a standard error where one training has one. A
training that diverged has an error of guessing and no other number. A new measure is a function and its entry here.
"""

from __future__ import annotations

from collections.abc import Callable

from ensemble.claims.measures.blocks import refinement, relative_gradient, responses, reuse_spread
from ensemble.claims.measures.lesions import deletions, interacting_pairs, jumps, reorderings, trend
from ensemble.claims.measures.paths import binomial_share, overestimate, path_share
from ensemble.claims.measures.planes import (
    curvature_ratio,
    explained,
    interpolation,
    sharpness_rise,
    surface_number,
)
from ensemble.claims.measures.scores import score_correlation
from ensemble.claims.measures.streams import autocorrelation, later_effect, variance_growth
from ensemble.claims.measures.trainings import error, identity_error, loss
from ensemble.claims.verdict import Number

__all__ = ["MEASURES", "Measure"]

Measure = Callable[..., Number]

MEASURES: dict[str, Measure] = {
    measure.__name__: measure
    for measure in (
        autocorrelation,
        binomial_share,
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
