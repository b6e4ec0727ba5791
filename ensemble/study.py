"""The study that a lesion's command line asks for: which blocks of a network, what becomes of them, how often."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from ensemble import shapley
from ensemble.blocks import Foreign, check, ends, stages
from ensemble.interaction import INTERACTION
from ensemble.plans import (
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
)
from landscape.command import Parser
from landscape.errors import BadInput
from landscape.networks import Block
from landscape.plane import axis, grid
from landscape.table import read

__all__ = ["Study", "drawn", "options", "study"]

KINDS = ("delete", "sets", "shapley", "swap", "permute", "reverse", "repeat", "parallel", "gate")
# What these options go with.
WITH = {
    "trials": ("delete", "swap", "permute", "repeat"),
    "contiguous": ("delete",),
    "replace": ("delete", "sets"),
    "alpha": ("gate",),
    "precision": ("shapley",),
}


class Study(NamedTuple):
    """A plan, and what a results file says of it.

    Attributes
    ----------
    plan : moves, shape (rows, blocks), see `ensemble.plans`
    kind, dims, coordinates, given : for `landscape.table.prepare`
    settings : provenance; a resumed run must have the same
    measured : variables that only this kind of study has
    """

    plan: np.ndarray
    kind: str
    dims: tuple[str, ...]
    coordinates: dict[str, np.ndarray]
    given: dict[str, tuple[tuple[str, ...], np.ndarray]]
    settings: dict
    measured: dict = {}  # noqa: RUF012 : no one writes to it


def options(parser: Parser) -> None:
    """Give a command the options that `study` reads."""
    g = parser.add_argument_group("the lesions, of one kind (by default: --delete 1)")
    kinds = g.add_mutually_exclusive_group()
    kinds.add_argument("--delete", nargs="+", type=int, metavar="K", help="leave out K blocks; two numbers: from, to")
    kinds.add_argument("--sets", type=Path, metavar="FILE", help="leave out the blocks that each line of a file names")
    kinds.add_argument(
        "--shapley",
        type=int,
        metavar="N",
        help="leave out blocks in N random orders, one after the other, until none is left",
    )
    kinds.add_argument("--swap", nargs="+", type=int, metavar="K", help="K random swaps within stages; or from, to")
    kinds.add_argument("--permute", action="store_true", help="a random order within each stage")
    kinds.add_argument(
        "--reverse", nargs="*", type=int, metavar="K", help="each stage backwards, then all; or every run of K blocks"
    )
    kinds.add_argument("--repeat", nargs="+", type=int, metavar="K", help="apply K blocks twice; two numbers: from, to")
    kinds.add_argument("--parallel", action="store_true", help="each two neighbours see the same input")
    kinds.add_argument(
        "--gate", nargs="+", metavar="BLOCK", help="multiply the branch of one block or of two: a curve or a surface"
    )
    g = parser.add_argument_group("which of them")
    g.add_argument(
        "--trials",
        type=int,
        help="random ones, so many for each K, drawn independently; of a K with no more sets of blocks than that, each "
        "set once; without it every set there is",
    )
    g.add_argument("--contiguous", action="store_true", help="--delete only blocks that follow each other")
    g.add_argument(
        "--replace",
        choices=["mean", "other"],
        help="branches give their mean over the data, or what they give for another example, instead of nothing",
    )
    g.add_argument(
        "--precision",
        type=float,
        metavar="P",
        help="of --shapley: stop as soon as the 95 %% interval of each block's value is ± P, in the error's fraction; "
        "by default all N orders",
    )
    g.add_argument(
        "--alpha", nargs=3, type=float, metavar=("FROM", "TO", "POINTS"), help="of --gate; by default 0 to 1, 11 points"
    )
    g = parser.add_argument_group("blocks")
    g.add_argument(
        "--blocks",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="where branches end, for a network that is not known: function(network) gives a dict from a block's "
        "name to that of the submodule whose output is added to the stream",
    )
    g.add_argument("--layers", action="store_true", help="a transformer's layer is one block, not attention and MLP")
    g = parser.add_argument_group("BatchNorm")
    g.add_argument(
        "--batchnorm", choices=["frozen", "recalibrated"], default="frozen", help="its own statistics, or measured anew"
    )
    g.add_argument("--calibration", type=int, metavar="N", help="examples that they are measured on; by default 1024")


def study(
    arguments,
    network: nn.Module,
    found: Mapping[str, Block | Foreign],
    inputs: Tensor,
    before: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Study:
    """The plan that the command line asks for.

    Parameters
    ----------
    arguments : of the command, see `options`
    network, found : what is lesioned, and its blocks
    inputs : a few examples, to find out on whether the blocks are what they are said to be
    before : what the file holds that is gone on with, see `drawn`

    Raises
    ------
    BadInput
        Options that do not go together, or blocks that do not allow it.
    """
    kind = _kind(arguments)
    if arguments.precision is not None and not 0 < arguments.precision < 1:
        raise BadInput(f"--precision is {arguments.precision}; give a part of 1, like 0.01 for a point of error")
    names, number, seed, trials = list(found), len(found), arguments.seed, arguments.trials
    counts = _counts(kind, getattr(arguments, kind))
    movable = stages(network, found) if kind in ("swap", "permute", "reverse", "repeat", "parallel") else []
    members = sorted(n for stage in movable for n in stage)
    check(network, found, inputs, [names[n] for n in members], "replace" if arguments.replace else kind)
    if kind == "gate":
        return _gates(arguments, found)

    settings = {"lesion": kind}
    extra: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    more: dict[str, np.ndarray] = {}
    measured: dict = {}
    if kind == "shapley":
        orders_ = shapley.orders(number, arguments.shapley, seed)
        plan = deletions(shapley.sets(orders_))
        more["order"] = np.arange(len(orders_))
        extra["turn"] = ("order", "block"), orders_.argsort(axis=1)  # when a block is deleted, from 0
        settings = {"lesion": "delete"} | ({} if arguments.precision is None else {"precision": arguments.precision})
    elif kind in ("delete", "sets"):
        if kind == "sets":
            chosen = listed(names, _lines(arguments.sets))
        elif arguments.contiguous:
            chosen = contiguous(number, counts)
        else:
            chosen = _sets(number, counts, trials, seed, before.get("replaced" if arguments.replace else "deleted"))
            measured = INTERACTION if 2 in counts and trials is None and not arguments.replace else {}
        settings = {"lesion": f"replace by {arguments.replace}" if arguments.replace else "delete"}
        plan = deletions(chosen)
        if arguments.replace:
            for block in found.values():
                ends(block)  # there must be some
            plan = replacements(chosen, {"mean": MEAN, "other": OTHER}[arguments.replace])
            extra["replaced"] = ("trial", "block"), chosen
    elif kind == "repeat":
        if not 1 <= counts[0] <= counts[-1] <= len(members):
            raise BadInput(f"--repeat takes numbers from 1 to {len(members)}, the blocks that can run twice here")
        there = before["repeated"][:, members] if "repeated" in before else None
        few = _sets(len(members), counts, trials, seed, there)
        repeated = np.zeros((len(few), number), bool)
        repeated[:, members] = few
        plan = repetitions(repeated)
        extra["repeated"] = ("trial", "block"), repeated
    elif kind == "parallel":
        plan = pairs(neighbours(number, movable))
        extra["parallel"] = ("trial", "block"), plan["pair"] > 0
    else:
        if kind == "swap":
            order, swaps = swapped(number, movable, counts, trials, seed)
            extra["swaps"] = ("trial",), swaps
        elif kind == "permute":
            order = permuted(number, movable, trials, seed)
        else:
            order = reversals(number, movable, counts)
        plan = orders(order)
        extra |= {"order": (("trial", "block"), order), "kendall_tau": (("trial",), kendall_tau(order))}
    return Study(
        plan,
        "lesion",
        ("trial",),
        {"trial": np.arange(len(plan)), "block": np.array(names), **more},
        {"deleted": (("trial", "block"), plan["runs"] == 0), **extra},
        settings,
        measured,
    )


def _kind(arguments) -> str:
    """The kind of lesion; refuse options that go with others."""
    given = [kind for kind in KINDS if getattr(arguments, kind) not in (None, False)]
    kind = given[0] if given else "delete"
    for option, kinds in WITH.items():
        if getattr(arguments, option) not in (None, False) and kind not in kinds:
            raise BadInput(f"--{option} goes with --{', --'.join(kinds)}, not with --{kind}; leave it out")
    if kind in ("swap", "permute") and arguments.trials is None:
        raise BadInput(f"--{kind} is random; say how often with --trials")
    if arguments.contiguous and arguments.trials is not None:
        raise BadInput("--contiguous takes every run of blocks that there is; leave out --trials")
    return kind


def _counts(kind: str, value: object) -> list[int]:
    """The numbers that one or two of them stand for."""
    if kind in ("sets", "shapley", "permute", "parallel", "gate") or value == []:
        return []
    numbers = [1] if value is None else value
    if len(numbers) > 2 or numbers != sorted(numbers):
        raise BadInput(f"--{kind} takes one number or an ascending pair, got {numbers}")
    return list(range(numbers[0], numbers[-1] + 1))


def drawn(out: Path) -> dict[str, np.ndarray]:
    """The sets of blocks in a file, by what becomes of them; nothing where there is none that can be read."""
    with contextlib.suppress(BadInput, OSError):
        held = read(out)
        return {name: held[name] for name in ("deleted", "replaced", "repeated") if name in held.variables}
    return {}


def _sets(number: int, counts: list[int], trials: int | None, seed: int, before: np.ndarray | None) -> np.ndarray:
    """All sets of blocks, or random ones. A file from when even a few sets were drawn again and again goes on so."""
    if trials is None:
        return every(number, counts)
    if before is not None and np.array_equal(before, again := sampled(number, counts, trials, seed, again=True)):
        return again
    return sampled(number, counts, trials, seed)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the sets in {path}: {error}; give a text file, a set of blocks a line") from error


def _gates(arguments, found: Mapping[str, Block | Foreign]) -> Study:
    """A curve over one gate or a surface over two: where one is 0, its block is deleted; where all are 1, none is."""
    names, gated = list(found), arguments.gate
    if unknown := [name for name in gated if name not in found]:
        raise BadInput(f"no removable block is called {unknown[0]}; there are {', '.join(names)}")
    if len(gated) > 2 or len(set(gated)) < len(gated):
        raise BadInput(f"--gate takes one block or two different ones, got {', '.join(gated)}")
    for name in gated:
        ends(found[name])  # there must be some
    levels = axis(*(arguments.alpha or (0, 1, 11)))
    if len(gated) == 1:
        points, coordinates = grid(levels), {"x": levels}
    else:
        points, coordinates = grid(levels, levels), {"y": levels, "x": levels}
    plan = gates(len(found), [names.index(name) for name in gated], points)
    settings = {"lesion": "gate", "gates": gated}
    return Study(plan, "surface", tuple(coordinates), coordinates, {}, settings)
