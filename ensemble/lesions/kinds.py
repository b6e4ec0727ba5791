"""Every kind of lesion in one place: how it is asked for, what is done to which blocks, and what figures call that.

A new kind is a function that plans and an entry in `KINDS`. From there `ensemble.lesions.trials.lesions` has its
keyword, the command its option, figures their label; tables read what they say from results themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from ensemble.attribution import shapley
from ensemble.attribution.interaction import INTERACTION
from ensemble.blocks.blocks import Foreign, ends, stages
from ensemble.lesions.plans import (
    AVERAGE,
    LOOP,
    MEAN,
    OTHER,
    contiguous,
    deletions,
    every,
    gates,
    kendall_tau,
    listed,
    neighbours,
    orders,
    pairs,
    permuted,
    repetitions,
    replacements,
    reversals,
    sampled,
    swapped,
    together,
)
from landscape.engine.grid import axis, grid
from landscape.engine.table import Results
from landscape.errors import BadInput
from landscape.networks import Block
from landscape.validate import axis_ends, numbers, whole

__all__ = ["KINDS", "REPLACEMENTS", "Change", "Kind", "Request", "Study", "change_of"]

REPLACEMENTS = {"mean": MEAN, "other": OTHER}


class Study(NamedTuple):
    """A plan, and what results say of it.

    Attributes
    ----------
    plan : moves, shape (rows, blocks), see `ensemble.lesions.plans`
    kind, dims, coordinates, given : for `landscape.engine.run.run`
    settings : provenance; a run that goes on must have the same
    measured : variables that only this study has
    """

    plan: np.ndarray
    kind: str
    dims: tuple[str, ...]
    coordinates: dict[str, np.ndarray]
    given: dict[str, tuple[tuple[str, ...], np.ndarray]]
    settings: dict
    measured: dict = {}  # noqa: RUF012 : no one writes to it


@dataclass(frozen=True)
class Request:
    """What is asked for, and of which network.

    Attributes
    ----------
    kind : one of `KINDS`
    value : of its keyword; None for the default
    network, blocks : what is lesioned, see `ensemble.blocks.blocks.blocks`
    seed, trials, contiguous, replace, precision, alpha, within : see `ensemble.lesions.trials.lesions`
    previous : sets of blocks in the file that is gone on with, by what becomes of them
    """

    kind: str
    value: Any
    network: nn.Module
    blocks: Mapping[str, Block | Foreign]
    seed: int = 0
    trials: int | None = None
    contiguous: bool = False
    replace: str | None = None
    precision: float | None = None
    alpha: tuple | None = None
    within: tuple[int, int] | None = None
    previous: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the blocks, by depth."""
        return list(self.blocks)

    @property
    def number(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    @cached_property
    def stages(self) -> list[list[int]]:
        """Numbers of the blocks that can stand in for each other, stage by stage; of those asked for."""
        every = stages(self.network, self.blocks)
        if self.within is None:
            return every
        start, stop = numbers("within", self.within)
        few = [[n for n in stage if start <= n + 1 <= stop] for stage in every]
        if max(map(len, few)) < 2:
            movable = ", ".join(str(n + 1) for stage in every for n in stage)
            raise BadInput(
                f"no two blocks from {start} to {stop} can stand in for each other; numbered by depth, from 1, these "
                f"can: {movable}"
            )
        return [stage for stage in few if len(stage) > 1]

    @property
    def movable(self) -> list[int]:
        """Numbers of the blocks that can stand in for another, where this kind needs that."""
        return sorted(n for stage in self.stages for n in stage) if KINDS[self.kind].moves else []

    @property
    def counts(self) -> list[int]:
        """The numbers that one or two of them stand for."""
        ends = numbers(self.kind, 1 if self.value is None else self.value)
        if not 1 <= len(ends) <= 2 or ends != sorted(ends):
            raise BadInput(f"--{self.kind} takes one number or an ascending pair, got {ends}")
        return list(range(ends[0], ends[-1] + 1))

    def study(
        self,
        plan: np.ndarray,
        given: Mapping[str, np.ndarray | tuple] | None = None,
        *,
        coordinates: Mapping[str, np.ndarray] | None = None,
        settings: Mapping[str, object] | None = None,
        measured: Mapping[str, tuple] | None = None,
    ) -> Study:
        """A study of trials.

        Parameters
        ----------
        plan : moves, shape (trials, blocks)
        given : what was changed, by name: an array over (trial, block), or its dimensions and an array
        coordinates, settings, measured : besides those of every such study
        """
        whole = {"deleted": plan["runs"] == 0, **(given or {})}
        return Study(
            plan,
            "lesion",
            ("trial",),
            {"trial": np.arange(len(plan)), "block": np.array(self.names), **(coordinates or {})},
            {name: v if isinstance(v, tuple) else (("trial", "block"), v) for name, v in whole.items()},
            {
                "lesion": self.kind,
                **({} if self.within is None else {"within": list(self.within)}),
                **(settings or {}),
            },
            dict(measured or {}),
        )


class Change(NamedTuple):
    """What is done to blocks, as figures show it.

    Attributes
    ----------
    variable : of the results, over (trial, block): which blocks are changed
    label : of the bars that compare it with others
    axis : where figures show it by the number of blocks, what they call that; empty for bars
    """

    variable: str
    label: str
    axis: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of lesion.

    Attributes
    ----------
    plan : makes a study of a request. A plan's first trial is the intact network.
    help : of the command's option
    typed : how that option is typed, as argparse's add_argument has it
    changes : what is done to blocks, by what results say in their attribute "lesion"
    options : keywords that go with it
    moves : whether blocks run in another place, twice, or side by side
    """

    plan: Callable[[Request], Study]
    help: str
    typed: Mapping[str, Any]
    changes: Mapping[str, Change]
    options: tuple[str, ...] = ()
    moves: bool = False


def _delete(request: Request) -> Study:
    measured = {}
    if request.contiguous:
        chosen = contiguous(request.number, request.counts)
    else:
        chosen = _drawn(request, "replaced" if request.replace else "deleted")
        measured = INTERACTION if 2 in request.counts and request.trials is None and not request.replace else {}
    return _deleted(request, chosen, measured)


def _sets(request: Request) -> Study:
    return _deleted(request, listed(request.names, _named_sets(request.value)))


def _deleted(request: Request, chosen: np.ndarray, measured: Mapping | None = None) -> Study:
    """The chosen blocks left out, or their branches replaced."""
    if not request.replace:
        return request.study(deletions(chosen), settings={"lesion": "delete"}, measured=measured)
    for block in request.blocks.values():
        ends(block)  # there must be some
    plan = replacements(chosen, REPLACEMENTS[request.replace])
    return request.study(plan, {"replaced": chosen}, settings={"lesion": f"replace by {request.replace}"})


def _shapley(request: Request) -> Study:
    in_turn = shapley.orders(request.number, whole("shapley", request.value, 0), request.seed)
    turn = ("order", "block"), in_turn.argsort(axis=1)  # when a block is deleted, from 0
    stop = {} if request.precision is None else {"precision": request.precision}
    return request.study(
        deletions(shapley.sets(in_turn)),
        {"turn": turn},
        coordinates={"order": np.arange(len(in_turn))},
        settings={"lesion": "delete", **stop},
    )


def _swap(request: Request) -> Study:
    order, swaps = swapped(request.number, request.stages, request.counts, _trials(request), request.seed)
    return _ordered(request, order, swaps=(("trial",), swaps))


def _permute(request: Request) -> Study:
    return _ordered(request, permuted(request.number, request.stages, _trials(request), request.seed))


def _reverse(request: Request) -> Study:
    counts = [] if request.value is True or np.size(request.value) == 0 else request.counts
    return _ordered(request, reversals(request.number, request.stages, counts))


def _ordered(request: Request, order: np.ndarray, **given: tuple) -> Study:
    return request.study(orders(order), {**given, "order": order, "kendall_tau": (("trial",), kendall_tau(order))})


def _repeat(request: Request) -> Study:
    movable, counts = request.movable, request.counts
    if not 1 <= counts[0] <= counts[-1] <= len(movable):
        raise BadInput(f"--repeat takes numbers from 1 to {len(movable)}, the blocks that can run twice here")
    few = _drawn(request, "repeated", movable)
    repeated = np.zeros((len(few), request.number), bool)
    repeated[:, movable] = few
    return request.study(repetitions(repeated), {"repeated": repeated})


def _parallel(request: Request) -> Study:
    plan = pairs(neighbours(request.number, request.stages))
    return request.study(plan, {"parallel": plan["pair"] > 0})


def _loop(request: Request) -> Study:
    return _together(request, LOOP, "looped", least=2)


def _average(request: Request) -> Study:
    return _together(request, AVERAGE, "averaged", least=1)


def _together(request: Request, how: int, variable: str, least: int) -> Study:
    """Each stage so many times as a whole."""
    if request.counts[0] < least:
        raise BadInput(f"--{request.kind} takes numbers from {least} on, how often blocks run")
    few = [stage for stage in request.stages if stage[-1] - stage[0] == len(stage) - 1]
    if not few:
        raise BadInput("blocks that can stand in for each other do not follow each other here; use another lesion")
    chosen = listed(request.names, [[request.names[n] for n in stage] for stage in few for _ in request.counts])
    times = np.array([1, *(times for _ in few for times in request.counts)])
    return request.study(together(chosen, times, how), {variable: chosen, "times": (("trial",), times)})


def _gate(request: Request) -> Study:
    """A curve over one gate or a surface over two: where one is 0, its block is deleted; where all are 1, none is."""
    gated = [request.value] if isinstance(request.value, str) else list(request.value)
    if unknown := [name for name in gated if name not in request.blocks]:
        raise BadInput(f"no removable block is called {unknown[0]}; there are {', '.join(request.names)}")
    if not 1 <= len(gated) <= 2 or len(set(gated)) < len(gated):
        raise BadInput(f"--gate takes one block or two different ones, got {', '.join(gated)}")
    for name in gated:
        ends(request.blocks[name])  # there must be some
    levels = axis(*axis_ends("alpha", request.alpha or (0, 1, 11)))
    coordinates = {name: levels for name in ("y", "x")[-len(gated) :]}
    plan = gates(request.number, [request.names.index(name) for name in gated], grid(*coordinates.values()))
    return Study(plan, "surface", tuple(coordinates), coordinates, {}, {"lesion": "gate", "gates": gated})


def _trials(request: Request) -> int:
    if request.trials is None:
        raise BadInput(f"--{request.kind} is random; say how often with --trials")
    return request.trials


def _drawn(request: Request, variable: str, among: list[int] | None = None) -> np.ndarray:
    """All sets of blocks, or random ones. A file from when even a few sets were drawn again and again goes on so."""
    number = request.number if among is None else len(among)
    if request.trials is None:
        return every(number, request.counts)
    how = number, request.counts, request.trials, request.seed
    if (previous := request.previous.get(variable)) is not None:
        previous = previous if among is None else previous[:, among]
        if np.array_equal(previous, again := sampled(*how, again=True)):
            return again
    return sampled(*how)


def _named_sets(sets: object) -> list[list[str]]:
    """Sets of names, from a file with one a line or from what holds them."""
    if isinstance(sets, str | Path):
        try:
            sets = Path(sets).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            cure = "give a text file, a set of blocks a line"
            raise BadInput(f"cannot read the sets in {sets}: {error}; {cure}") from error
    if not isinstance(sets, Iterable):
        raise BadInput(f"--sets is {sets!r}; give sets of the names of blocks, or a text file, a set of blocks a line")
    named = (names.split() if isinstance(names, str) else list(names) for names in sets)
    return [names for names in named if names]


DELETED = {"delete": Change("deleted", "left out", "number of deleted blocks")}
REPLACED = {
    "replace by mean": Change("replaced", "replaced by mean output"),
    "replace by other": Change("replaced", "replaced by another's output"),
}
COUNTS = {"nargs": "+", "type": int, "metavar": "K"}
SWITCH = {"action": "store_true"}

KINDS: dict[str, Kind] = {
    "delete": Kind(
        _delete,
        "leave out K blocks; two numbers: from, to",
        COUNTS,
        DELETED | REPLACED,
        ("trials", "contiguous", "replace"),
    ),
    "sets": Kind(
        _sets,
        "leave out the blocks that each line of a file names",
        {"type": Path, "metavar": "FILE"},
        DELETED | REPLACED,
        ("replace",),
    ),
    "shapley": Kind(
        _shapley,
        "leave out blocks in N random orders, one after the other, until none is left",
        {"type": int, "metavar": "N"},
        DELETED,
        ("precision",),
    ),
    "swap": Kind(
        _swap,
        "K random swaps within stages; or from, to",
        COUNTS,
        {"swap": Change("order", "swapped")},
        ("trials", "within"),
        moves=True,
    ),
    "permute": Kind(
        _permute,
        "a random order within each stage",
        SWITCH,
        {"permute": Change("order", "permuted")},
        ("trials", "within"),
        moves=True,
    ),
    "reverse": Kind(
        _reverse,
        "each stage backwards, then all; or every run of K blocks",
        COUNTS | {"nargs": "*"},
        {"reverse": Change("order", "reversed")},
        ("within",),
        moves=True,
    ),
    "repeat": Kind(
        _repeat,
        "apply K blocks twice; two numbers: from, to",
        COUNTS,
        {"repeat": Change("repeated", "applied twice", "blocks applied twice")},
        ("trials", "within"),
        moves=True,
    ),
    "parallel": Kind(
        _parallel,
        "each two neighbours see the same input",
        SWITCH,
        {"parallel": Change("parallel", "side by side")},
        ("within",),
        moves=True,
    ),
    "loop": Kind(
        _loop,
        "each stage K times as a whole, each time on its own output; or from, to",
        COUNTS,
        {"loop": Change("looped", "looped")},
        ("within",),
        moves=True,
    ),
    "average": Kind(
        _average,
        "the blocks of each stage on the same input, and the mean of their outputs goes on, K times; or from, to",
        COUNTS,
        {"average": Change("averaged", "averaged")},
        ("within",),
        moves=True,
    ),
    "gate": Kind(
        _gate,
        "multiply the branch of one block or of two: a curve or a surface",
        {"nargs": "+", "metavar": "BLOCK"},
        {},
        ("alpha",),
    ),
}


def change_of(results: Results) -> Change:
    """What is done to blocks in a lesion table.

    Raises
    ------
    BadInput
        No kind of lesion that is known does that.
    """
    lesion = str(results.attributes.get("lesion", "delete"))
    for kind in KINDS.values():
        if lesion in kind.changes:
            return kind.changes[lesion]
    raise BadInput(f"{results.source} has lesions of an unknown kind, {lesion}; update skipscape")
