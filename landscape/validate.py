"""Arguments from Python, checked as a command line checks its options: in the words of whoever reads the error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from landscape.errors import BadInput, did_you_mean

__all__ = ["axis_ends", "different", "numbers", "one_of", "real", "whole"]

LARGEST_SEED = 2**62  # what generators take, with room for those that follow from it


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A whole number, at least so large.

    Raises
    ------
    BadInput
        It is none, or too small or large.
    """
    try:
        number = int(value)
        if number != float(value) or isinstance(value, str | bool):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(f"--{_dashed(name)} is {value!r}; give a whole number, {least} or more") from error
    if number < least:
        raise BadInput(f"--{_dashed(name)} is {number}; give {least} or more")
    if most is not None and number > most:
        raise BadInput(f"--{_dashed(name)} is {number}; give {most:,} at most")
    return number


def real(name: str, value: Any) -> float:
    """A number.

    Raises
    ------
    BadInput
        It is none.
    """
    try:
        if isinstance(value, str | bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"--{_dashed(name)} is {value!r}; give a number") from error


def numbers(name: str, values: Any) -> list[int]:
    """One whole number or several, as a list."""
    many = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    for value in many:
        if isinstance(value, str | bool) or not hasattr(value, "__index__"):
            raise BadInput(f"--{_dashed(name)} is {values!r}; give a whole number, or several")
    return [int(value) for value in many]


def different(values: Sequence) -> Sequence:
    """Values of which none is there twice.

    Raises
    ------
    BadInput
        One is.
    """
    if len(set(values)) < len(values):
        raise BadInput(f"{' '.join(map(str, values))}: one is there twice; give each once")
    return values


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """A word, one of those that there are.

    Raises
    ------
    BadInput
        It is another one.
    """
    choices = list(choices)
    if value not in choices:
        raise BadInput(f"there is no {name} {value!r}; use {', '.join(choices)}{did_you_mean(str(value), choices)}")
    return value


def axis_ends(name: str, ends: Any) -> tuple[float, float, float]:
    """The ends of an axis and its number of points: three numbers, also as typed.

    Raises
    ------
    BadInput
        They are something else.
    """
    parts = ends.replace(",", " ").split() if isinstance(ends, str) else ends
    try:
        low, high, points = map(float, parts)
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"{name} is {ends!r}; give three numbers, from, to and how many points, like (-1, 1, 51)"
        ) from error
    return low, high, points


def _dashed(name: str) -> str:
    return name.replace("_", "-")
