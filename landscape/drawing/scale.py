"""The scale that all the networks of a figure share: a matplotlib norm from losses to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from landscape.errors import BadInput

__all__ = [
    "common_norm",
    "extension",
    "heights",
    "is_decade",
    "label_of",
    "labels_of",
    "levels_of",
    "limits_of",
    "linear_within",
    "rounded",
    "signed_ticks",
]

DECADES = 7  # more on one scale, and the shape of each network is lost
LEVELS = 8  # decades of a scale, or pairs, fives, tens … of them, that have a line


def common_norm(
    losses: Sequence[np.ndarray], low: float | None = None, high: float | None = None, linear: bool = False
) -> Normalize:
    """One scale for the losses of several networks.

    Parameters
    ----------
    losses : sequence of ndarray, one a network
        Values that are not finite are passed over.
    low, high : float, optional
        The ends. By default the lowest and the highest loss of any network, rounded to 1, 2 or 5, but
        an upper end at most a decade above each network's 98th percentile, and seven decades in all, or as
        many as reach two decades above the median of the lowest network: the scale has a place for the lowest loss.
    linear : bool
        A linear scale; so it is, too, if a loss is negative or none is above 0.

    Returns
    -------
    LogNorm or Normalize
        What lies beyond its ends is drawn as the end; zero, on a logarithmic scale, too.
    """
    for end in (low, high):
        if end is not None and not np.isfinite(end):
            raise BadInput(f"a scale cannot end at {end:g}; give a finite loss")
    finite = [loss[np.isfinite(loss)] for loss in losses]
    values = np.concatenate([np.empty(0), *finite])
    linear = linear or (bool(values.size) and not (values.min() >= 0 and values.max() > 0))
    if not linear:
        finite = [loss[loss > 0] for loss in finite]
        if low is not None and low <= 0:
            raise BadInput(f"a logarithmic scale cannot begin at {low:g}; give a lower end above 0, or --linear")
    spread = [np.percentile(f, [0, 50, 98, 100]) for f in finite if f.size] or [np.array([0.1, 1, 10, 10])]
    lows, middles, mosts, highs = np.transpose(spread)
    if linear:
        ends = (lows.min(), np.minimum(highs, lows + 2 * (mosts - lows)).max())
    else:
        bottom = lows.min()
        most = max((bottom if low is None else low) * 10.0**DECADES, 100 * middles.min())
        top = min(np.minimum(highs, 10 * mosts).max(), most)
        ends = (rounded(bottom, down=True), rounded(top)) if top > 5 * bottom else (bottom, top)
    low, high = (end if given is None else given for given, end in zip((low, high), ends, strict=True))
    if low == high:  # a flat surface
        low, high = (low - 1, high + 1) if linear else (low / 2, high * 2)
    if low > high:
        raise BadInput(f"the scale would go from {low:g} to {high:g}; give a lower end below the upper one")
    return Normalize(low, high) if linear else LogNorm(low, high)


def heights(norm: Normalize, loss: np.ndarray) -> np.ndarray:
    """Where losses lie on the scale: 0 to 1, and NaN where a loss is not finite."""
    return np.ma.filled(norm(np.ma.masked_invalid(loss), clip=True).astype(float), np.nan)


def limits_of(norm: Normalize) -> tuple[float, float]:
    """The ends of a scale that has some, as all of `common_norm` do."""
    assert norm.vmin is not None and norm.vmax is not None
    return norm.vmin, norm.vmax


def levels_of(norm: Normalize) -> np.ndarray:
    """Losses worth a line: 1, 2, 5, 10, … or, of a long scale, each decade or every so many; of a short, even steps."""
    levels = np.empty(0)
    if isinstance(norm, LogNorm):
        first, last = np.log10(limits_of(norm))
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if (last - first) <= LEVELS * step)
        decades = 10.0 ** (step * np.arange(np.floor(first / step), np.ceil(last / step) + 1))
        levels = _within(norm, np.outer(decades, [1, 2, 5] if last - first < 4.5 else [1]).ravel())
    return (
        levels
        if len(levels) > 3
        else _within(norm, np.asarray(MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(*limits_of(norm))))
    )


def extension(norm: Normalize, losses: Sequence[np.ndarray]) -> str:
    """Which ends of the scale some loss lies beyond: "neither", "min", "max" or "both"."""
    finite = np.concatenate([loss[np.isfinite(loss)] for loss in losses])
    place = np.ma.filled(norm(finite), -1)  # zero has no logarithm; it lies below
    below, above = (place < -1e-9).any(), (place > 1 + 1e-9).any()
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[bool(below), bool(above)]


def labels_of(levels: Sequence[float] | np.ndarray) -> list[str]:
    """Losses as short texts, with as many digits as tell each from its neighbours: 2, 2.2, or 2.302, 2.304."""
    values = np.unique(np.asarray(levels, float))
    slack = np.diff(values).min(initial=np.inf) / 10
    digits = next((d for d in range(3, 16) if all(abs(float(f"{v:.{d - 1}e}") - v) <= slack for v in values)), 16)
    return [label_of(level, digits) for level in levels]


def label_of(level: float, digits: int = 3) -> str:
    """A number as short text: 0.05, −200, 10⁴."""
    if level < 0:
        return "−" + label_of(-level, digits)
    if level != 0 and not 1e-3 * (1 - 1e-9) <= abs(level) < 10 ** max(4, digits):
        mantissa, exponent = f"{level:.{digits - 1}e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        power = rf"10^{{{int(exponent)}}}"
        return f"${power}$" if mantissa == "1" else rf"${mantissa}\times{power}$"
    decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(level) or 1))))
    text = f"{level:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed_ticks(low: float, high: float, linear: float, number: int = 12) -> list[float]:
    """Ticks of a scale that is linear within ±`linear` and logarithmic beyond: 0, both ends, and powers of ten between.

    Parameters
    ----------
    low, high : the ends, on both sides of 0 or at it
    linear : up to which size the scale is linear
    number : how many ticks there may be; where they would stand closer, powers of ten are left out

    Examples
    --------
    >>> signed_ticks(-50, 50, 1)
    [-50.0, -10.0, -1.0, 0.0, 1.0, 10.0, 50.0]
    """
    ends = np.arcsinh(np.array([low, high]) / linear)
    least = np.ptp(ends) / number  # between neighbours
    first, last = np.ceil(np.log10(linear) - 1e-9), np.floor(np.log10(max(-low, high)) + 1e-9)
    decades = 10.0 ** np.arange(last, first - 1, -np.ceil(least / np.log(10)))
    kept = sorted({float(low), 0.0, float(high)})
    fixed = np.arcsinh(np.array(kept) / linear)
    for tick in (*decades, *-decades):
        place = np.arcsinh(tick / linear)
        if low < tick < high and np.abs(place - fixed).min() >= 0.75 * least:
            kept.append(float(tick))
    return sorted(kept)


def linear_within(linear: float) -> str:
    """How a scale that is linear near 0 is called, such as "linear within ±0.5, logarithmic beyond"."""
    return f"linear within ±{label_of(linear, 2)}, logarithmic beyond"


def _within(norm: Normalize, levels: np.ndarray) -> np.ndarray:
    place = norm(levels)
    return levels[(place > -1e-9) & (place < 1 + 1e-9)]


def rounded(value: float, down: bool = False) -> float:
    """A positive number to 1, 2 or 5 times a power of ten, up or down."""
    decade = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 2, 5, 10])
    lead = round(value / decade, 6)  # what is meant as 2 must not be taken for a little more
    return float(decade * (steps[steps <= lead].max() if down else steps[steps >= lead].min()))


def is_decade(level: float) -> bool:
    """Whether a loss is a power of ten."""
    return bool(level > 0 and abs(np.log10(level) - np.round(np.log10(level))) < 1e-9)
