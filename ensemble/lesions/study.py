"""The study that is asked for: which blocks of a network, what becomes of them, how often."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from torch import nn

from ensemble.blocks.blocks import Foreign, check
from ensemble.lesions.kinds import KINDS, REPLACEMENTS, Request, Study
from landscape.engine.table import read
from landscape.errors import BadInput, did_you_mean
from landscape.nested import Nested
from landscape.networks import Block
from landscape.validate import one_of, real, whole

__all__ = ["previous_sets", "study"]


def study(
    network: nn.Module,
    blocks: Mapping[str, Block | Foreign],
    inputs: Nested,
    *,
    trials: int | None = None,
    contiguous: bool = False,
    replace: str | None = None,
    precision: float | None = None,
    alpha: tuple[float, float, int] | None = None,
    within: tuple[int, int] | None = None,
    seed: int = 0,
    previous: Mapping[str, np.ndarray] = MappingProxyType({}),
    **kinds: Any,
) -> Study:
    """Plan a study of one kind of lesion.

    Parameters
    ----------
    network, blocks : what is lesioned, and its blocks
    inputs : a few examples, to find out on whether the blocks are what they are said to be
    trials, contiguous, replace, precision, alpha, within, seed : see `ensemble.lesions.trials.lesions`
    previous : sets of blocks in the file that is gone on with, see `previous_sets`
    **kinds : one of `ensemble.lesions.kinds.KINDS` and its value; None and False ask for nothing. By default
        ``delete=1``.

    Raises
    ------
    BadInput
        Options that do not go together, or blocks that do not allow it.
    """
    options: dict[str, Any] = {
        "trials": trials,
        "contiguous": contiguous,
        "replace": replace,
        "precision": precision,
        "alpha": alpha,
        "within": within,
    }
    kind, value = _asked_for(kinds)
    for name, given in options.items():
        fitting = [each for each in KINDS if name in KINDS[each].options]
        if _given(given) and kind not in fitting:
            raise BadInput(f"--{name} goes with --{', --'.join(fitting)}, not with --{kind}; leave it out")
    if contiguous and trials is not None:
        raise BadInput("--contiguous takes every run of blocks that there is; leave out --trials")
    if trials is not None:
        options["trials"] = whole("trials", trials)
    if precision is not None and not 0 < real("precision", precision) < 1:
        raise BadInput(f"--precision is {precision}; give a part of 1, like 0.01 for a point of error")
    if replace is not None:
        one_of("replacement", replace, REPLACEMENTS)
    request = Request(kind, value, network, blocks, seed, previous=previous, **options)
    moved = [request.names[n] for n in request.movable]
    check(network, blocks, inputs, moved, "replace" if replace else kind)
    return KINDS[kind].plan(request)


def previous_sets(out: Path | None) -> dict[str, np.ndarray]:
    """The sets of blocks in a file, by what becomes of them; nothing where there is none that can be read."""
    if out is not None:
        with contextlib.suppress(BadInput, OSError):
            held = read(out)
            return {name: held[name] for name in ("deleted", "replaced", "repeated") if name in held.variables}
    return {}


def _asked_for(kinds: Mapping[str, object]) -> tuple[str, object]:
    """The kind of lesion, and the value of its keyword."""
    if unknown := [name for name in kinds if name not in KINDS]:
        known = f"there are {', '.join(KINDS)}{did_you_mean(unknown[0], KINDS)}"
        raise BadInput(f"there is no lesion of kind {unknown[0]!r}; {known}")
    several = [name for name, value in kinds.items() if _given(value)]
    if len(several) > 1:
        raise BadInput(f"--{several[0]} and --{several[1]} are two kinds of lesions; a study has one: leave one out")
    return (several[0], kinds[several[0]]) if several else ("delete", None)


def _given(value: object) -> bool:
    return value is not None and value is not False
