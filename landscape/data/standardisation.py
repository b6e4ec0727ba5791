"""What is done to inputs: what is asked for, or what a checkpoint has recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from landscape.data import CONSTANTS
from landscape.errors import BadInput

__all__ = ["standardisation"]


def standardisation(
    mean: Sequence[float] | str | None,
    std: Sequence[float] | None,
    standardize: bool | None,
    recorded: Mapping | None = None,
) -> dict:
    """What `landscape.data.load` is to do to the inputs: as is asked for, or else as a checkpoint has recorded.

    Raises
    ------
    BadInput
        What is asked for does not fit together.
    """
    if standardize and (mean is not None or std is not None):
        raise BadInput("--standardize finds the constants that --mean and --std give; choose one of the two")
    if std is not None and mean is None:
        raise BadInput("--std is there without --mean; give both")
    if isinstance(mean, list | tuple) and len(mean) == 1 and isinstance(mean[0], str):
        mean = mean[0]  # as it is typed
    if isinstance(mean, str):
        if std is not None:
            raise BadInput(f"--mean {mean} sets --std too; leave --std out, or give the numbers of both")
        return {"mean": mean}
    if mean is not None:
        if wrong := [each for each in mean if isinstance(each, str)]:
            raise BadInput(f"--mean takes numbers, or one of {', '.join(CONSTANTS)}; got {wrong[0]!r}")
        if std is None:
            raise BadInput("--mean is there without --std; give both")
        return {"mean": [*map(float, mean)], "std": [*std]}
    if standardize is not None:
        return {"standardize": standardize}
    return {name: recorded[name] for name in ("mean", "std") if name in recorded} if recorded else {}
