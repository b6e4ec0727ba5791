"""From numbers of several trainings to a verdict: an interval, and whether it lies where the claim says.

An interval holds 95 %. With several trainings it is over them, by Student's t, and by Welch's for two networks that
were trained apart; ratios are taken of logarithms. With one training it comes from the standard error of the
measurement itself, over images or directions, and says nothing of other trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from landscape.analysis.geometry import Interval, difference, interval

__all__ = ["VERDICTS", "Number", "contrast", "estimate", "of_ranks", "overall", "verdict"]

VERDICTS = ("holds", "in part", "does not hold", "cannot tell")
NORMAL = 1.959963984540054


class Number(NamedTuple):
    """What one measurement of one network says.

    Attributes
    ----------
    value : float
    se : float
        Its standard error; NaN where it has none.
    over : str
        What the standard error is over: "images", "directions".
    least, most : float
        Ends of what such a number can be, beyond which no interval reaches.
    """

    value: float
    se: float = math.nan
    over: str = ""
    least: float = -math.inf
    most: float = math.inf


def of_ranks(rho: float, number: int, over: str) -> Number:
    """A rank correlation of so many pairs, with its standard error (Bonett & Wright 2000, eq. 3).

    Examples
    --------
    >>> of_ranks(0.5, 28, "trials").se.__round__(3)
    0.159
    """
    if number <= 3:
        return Number(rho, least=-1, most=1)
    return Number(rho, (1 - rho**2) * math.sqrt((1 + rho**2 / 2) / (number - 3)), over, -1, 1)


def estimate(numbers: Sequence[Number]) -> Interval:
    """The mean over trainings, and its 95 % interval.

    Parameters
    ----------
    numbers : one for each training
        Those that are not finite are left out; of several trainings one that is left has no interval.

    Examples
    --------
    >>> estimate([Number(1.0, 0.1)])
    Interval(mean=1.0, low=0.8040036015714946, high=1.1959963984285054, number=1)
    """
    known = [number for number in numbers if math.isfinite(number.value)]
    if len(known) == len(numbers) == 1:
        value, se = known[0][:2]
        result = Interval(value, value - NORMAL * se, value + NORMAL * se, 1)
    else:
        result = interval([number.value for number in known])
    least, most = max((n.least for n in known), default=-math.inf), min((n.most for n in known), default=math.inf)
    # Comparisons with NaN are False: what has no bounds gets none.
    low = least if result.low < least else result.low
    return result._replace(low=low, high=most if result.high > most else result.high)


def contrast(first: Sequence[Number], second: Sequence[Number], *, ratio: bool, paired: bool) -> Interval:
    """The difference or the ratio of two numbers, and its 95 % interval.

    Parameters
    ----------
    first, second : one for each training
    ratio : bool
        Whether to divide. By logarithms; where a number is not above 0 it is the ratio of the means, without an
        interval, since those numbers may be what speaks most for a claim.
    paired : bool
        Whether the numbers are of the same trainings, in the same order.
    """
    if ratio:
        finite = [[n.value for n in numbers if math.isfinite(n.value)] for numbers in (first, second)]
        if all(finite) and min(map(min, finite)) <= 0:
            below = math.fsum(finite[1]) / len(finite[1])
            mean = math.fsum(finite[0]) / len(finite[0]) / below if below else math.nan
            return Interval(mean, math.nan, math.nan, len(first))
        logs = contrast(_logs(first), _logs(second), ratio=False, paired=paired)
        mean, low, high = (math.exp(min(each, 700.0)) for each in logs[:3])
        return Interval(mean, low, high, logs.number)
    if paired:
        both = zip(first, second, strict=True)
        # Errors of two measurements of one network on the same images go together: their sum in quadrature is an upper
        # bound where they rise together, which is the usual case.
        return estimate([Number(a.value - b.value, math.hypot(a.se, b.se)) for a, b in both])
    a, b = ([n for n in numbers if math.isfinite(n.value)] for numbers in (first, second))
    if len(a) == len(b) == 1:
        return estimate([Number(a[0].value - b[0].value, math.hypot(a[0].se, b[0].se))])
    return difference([n.value for n in a], [n.value for n in b])


def _logs(numbers: Sequence[Number]) -> list[Number]:
    return [Number(math.log(n.value), n.se / n.value, n.over) if n.value > 0 else Number(math.nan) for n in numbers]


def verdict(of: Interval, region: tuple[float, float]) -> str:
    """Whether an interval lies where the claim says.

    Parameters
    ----------
    of : Interval
    region : (float, float)
        From where to where.

    Returns
    -------
    str
        "holds" if all of the interval lies there, "does not hold" if nothing of it does, else "cannot tell".
    """
    low, high = region
    if not (math.isfinite(of.mean) and np.isfinite([of.low, of.high]).all()):
        return "cannot tell"
    if low <= of.low and of.high <= high:
        return "holds"
    return "does not hold" if of.high < low or of.low > high else "cannot tell"


def overall(verdicts: Sequence[str]) -> str:
    """The verdict on a claim from those on its criteria: it holds if all do, and in part if some do.

    Examples
    --------
    >>> overall(["holds", "does not hold"]), overall(["cannot tell", "does not hold"])
    ('in part', 'does not hold')
    """
    if all(each == "holds" for each in verdicts):
        return "holds"
    if "holds" in verdicts:
        return "in part"
    return "does not hold" if "does not hold" in verdicts else "cannot tell"
