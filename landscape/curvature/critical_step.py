"""The largest step along a direction that does not raise a loss, by a search that needs nothing but the loss.

Along a direction d from weights θ the loss rises by D(η) = L(θ + ηd) − L(θ). The critical step is the smallest η > 0
with D(η) > 0 behind an η where it has fallen (Kalra et al. 2026, 2601.16979, §2). It is bracketed by doubling and
halving, the bracket is halved on a logarithmic scale, and within what is left D(η)/η is taken for a straight line,
which it is where the loss is quadratic. A rise and a fall between two steps of a factor of 2 are not seen. A loss that
is not finite has risen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

__all__ = ["DOUBLINGS", "HALVINGS", "Step", "critical_step"]

# From the step that the search starts at: beyond 2^±40 weights in float32 either do not change or are nothing else.
DOUBLINGS, HALVINGS = 40, 40
# Bounds near 0 are straight lines: what has not fallen at a thousandth of the critical step does not fall before.
OF_BOUNDS = 10
ROUGH = 0.1  # the precision of bounds, which are known less well than that

Rise = Callable[[float], tuple[float, float]]


class Step(NamedTuple):
    """A critical step.

    Attributes
    ----------
    size : float
        Infinite where the loss does not rise up to `largest`, NaN where it does not fall first.
    low, high : float
        Where the upper and the lower bound of the rise cross 0. 0 where the upper one never falls, infinite where the
        lower one never rises; NaN where not even the lower one falls, and without bounds.
    largest : float
        The largest step that was tried.
    passes : int
        How many steps were tried.
    """

    size: float
    low: float
    high: float
    largest: float
    passes: int


def critical_step(
    rise: Rise, start: float, precision: float = 0.02, rounding: float = 0.0, quantile: float = 0.0
) -> Step:
    """Find the critical step.

    Parameters
    ----------
    rise : callable
        Gives for a step the rise D(η) of the loss, and its standard error.
    start : float
        The step that the search begins with. Where its order of magnitude is right, few more are tried.
    precision : float
        Relative length of the bracket in which D(η)/η is taken for a straight line.
    rounding : float
        The loss has fallen where it has by more than this.
    quantile : float
        How many standard errors away the bounds are: 1.96 for an interval of 95 % of many examples. With 0 there is
        no interval, and the search needs fewer steps.

    Returns
    -------
    Step
        In units of the direction.

    Examples
    --------
    >>> step = critical_step(lambda eta: (3 * eta**2 - eta, 0.0), start=1.0)
    >>> round(step.size, 12), step.passes  # 1/3, between what was tried
    (0.333333333333, 9)
    """
    seen: dict[float, tuple[float, float]] = {}

    @cache
    def tried(step: float) -> tuple[float, float]:
        seen[step] = rise(step)
        return seen[step]

    def first(shift: float, start: float, precision: float = precision, halvings: int = HALVINGS) -> float:
        """The critical step of the rise, shifted by so many of its standard errors."""

        def value(step: float) -> float:
            mean, error = tried(step)
            shifted = mean + shift * error if shift else mean
            return shifted if math.isfinite(shifted) else math.inf

        return _first(value, start, precision, rounding, halvings)

    size = first(0.0, start)
    low = high = math.nan
    if quantile:
        near = size if math.isfinite(size) else start
        low, high = (first(shift, near, max(precision, ROUGH), OF_BOUNDS) for shift in (quantile, -quantile))
        low = 0.0 if math.isnan(low) and not math.isnan(high) else low
    return Step(size, low, high, max(seen), len(seen))


def _first(value: Callable[[float], float], start: float, precision: float, rounding: float, halvings: int) -> float:
    """The first root of a function behind a place where it is negative; infinity without a root, NaN without that."""
    step, most = start, start * 2.0**DOUBLINGS
    while -rounding <= value(step) <= 0 and step < most:  # too short to tell
        step *= 2
    for _ in range(halvings + 1):
        if value(step) < -rounding:
            break
        step /= 2
    else:
        return math.nan
    below, above = step, 2 * step
    while not value(above) > 0:
        if above >= most:
            return math.inf
        below, above = above, 2 * above
    while above > below * (1 + precision):
        middle = math.sqrt(below * above)
        below, above = (below, middle) if value(middle) > 0 else (middle, above)
    if math.isinf(value(above)):
        return math.sqrt(below * above)
    slopes = value(below) / below, value(above) / above
    return below + (above - below) * slopes[0] / (slopes[0] - slopes[1])
