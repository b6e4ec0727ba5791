"""Arguments that do not fit, said in one line with the cure."""

from collections.abc import Iterable

from landscape.errors import BadInput


def pick(argument: str, value: object, options: Iterable) -> None:
    """Refuse a value that is not among the options, and list them."""
    options = list(options)
    if value not in options:
        raise BadInput(f"{argument} is {value!r}; it must be one of {', '.join(map(repr, options))}")


def whole(argument: str, value: object, least: int = 1) -> None:
    """Refuse what is not a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise BadInput(f"{argument} is {value!r}; it must be a whole number, {least} or more")


def fraction(argument: str, value: object) -> None:
    """Refuse what is not a number in (0, 1]."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise BadInput(f"{argument} is {value!r}; it must be above 0 and at most 1")


def scalings(scales: object) -> None:
    """Refuse what is not two numbers, on the shortcut and on the branch."""
    if not isinstance(scales, tuple | list) or len(scales) != 2:
        raise BadInput(f"scales is {scales!r}; it must be two numbers, on the shortcut and on the branch")


def repeats(depth: int, each: int, rest: int, network: str) -> int:
    """The n of a network whose depth is each·n + rest; refuse other depths and name the nearest."""
    whole("depth", depth)
    n, left = divmod(depth - rest, each)
    if n >= 1 and not left:
        return n
    nearest = [each * m + rest for m in (n, n + 1) if m >= 1] or [each + rest]
    raise BadInput(f"depth is {depth}; {network} has {each}n+{rest} layers: use {' or '.join(map(str, nearest))}")
