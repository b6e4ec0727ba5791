"""Plans: what becomes of every block of a network in every trial.

A plan is an array of moves, shape (trials, blocks): the move at a block's place says which block runs there, how
often, and what becomes of its branch. One row holds any lesion, and where two rows agree up to a place,
their networks compute the same up to there. Row 0 is the intact network, which every damage is measured
against.

Random trials have a generator each: more counts or trials change no other trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain, combinations

import numpy as np

from landscape.errors import BadInput

__all__ = [
    "ALONE",
    "AVERAGE",
    "FIRST",
    "LOOP",
    "MEAN",
    "MOVE",
    "OTHER",
    "OWN",
    "SECOND",
    "contiguous",
    "deletions",
    "every",
    "gates",
    "intact",
    "kendall_tau",
    "listed",
    "neighbours",
    "orders",
    "pairs",
    "permuted",
    "repetitions",
    "replacements",
    "reversals",
    "sampled",
    "swapped",
    "together",
]

MOST = 100_000  # trials in one plan

MOVE = np.dtype(
    [
        ("block", "i4"),  # number of the block that runs here
        ("runs", "i4"),  # how often, one after the other; 0: it is left out
        ("gate", "f8"),  # what its branch is multiplied by
        ("branch", "i1"),  # what the branch's output becomes
        ("pair", "i1"),  # whether it shares its input with a neighbour, or runs together with those next to it
    ]
)
OWN, MEAN, OTHER = 0, 1, 2  # of branch: its own, the mean over the data, another example's
ALONE, FIRST, SECOND = 0, 1, 2  # of pair; and of neighbours that all have the same, which run so often as a whole:
LOOP, AVERAGE = 3, 4  # one after the other; all on the same input, of whose outputs the mean goes on


def intact(number: int, trials: int | None = None) -> np.ndarray:
    """Moves of the intact network: every block once, in its place. Shape (number,), or (trials, number)."""
    moves = np.zeros((1 if trials is None else trials, number), MOVE)
    moves["block"] = np.arange(number)
    moves["runs"] = moves["gate"] = 1
    return moves[0] if trials is None else moves


def deletions(chosen: np.ndarray) -> np.ndarray:
    """The plan in which the chosen blocks, bool (trials, blocks), are left out."""
    plan = intact(chosen.shape[1], len(chosen))
    plan["runs"][chosen] = 0
    return plan


def repetitions(chosen: np.ndarray) -> np.ndarray:
    """The plan in which the chosen blocks, bool (trials, blocks), run twice, one time after the other."""
    plan = intact(chosen.shape[1], len(chosen))
    plan["runs"][chosen] = 2
    return plan


def replacements(chosen: np.ndarray, branch: int) -> np.ndarray:
    """The plan in which the branches of the chosen blocks, bool (trials, blocks), give `MEAN` or `OTHER` instead."""
    plan = intact(chosen.shape[1], len(chosen))
    plan["branch"][chosen] = branch
    return plan


def pairs(chosen: np.ndarray) -> np.ndarray:
    """The plan in which each chosen block, bool (trials, blocks), and the next see the same input."""
    plan = intact(chosen.shape[1], len(chosen))
    plan["pair"][chosen] = FIRST
    plan["pair"][:, 1:][chosen[:, :-1]] = SECOND
    return plan


def together(chosen: np.ndarray, times: np.ndarray, how: int) -> np.ndarray:
    """The plan in which the chosen blocks, bool (trials, blocks), which are neighbours, run so often as a whole.

    Parameters
    ----------
    chosen : the blocks of a trial, next to each other
    times : int, shape (trials,)
    how : `LOOP`, one after the other; `AVERAGE`, side by side, and the mean of what they give goes on
    """
    plan = intact(chosen.shape[1], len(chosen))
    plan["pair"][chosen] = how
    plan["runs"] = np.where(chosen, times[:, None], 1)
    return plan


def orders(order: np.ndarray) -> np.ndarray:
    """The plan in which block ``order[trial, place]`` runs in each place; int (trials, blocks)."""
    plan = intact(order.shape[1], len(order))
    plan["block"] = order
    return plan


def gates(number: int, gated: Sequence[int], levels: np.ndarray) -> np.ndarray:
    """The plan in which the branches of some of `number` blocks are multiplied; levels (trials, gated blocks)."""
    plan = intact(number, len(levels))
    plan["gate"][:, list(gated)] = levels
    return plan


# Which blocks: bool arrays, shape (trials, number)


def every(number: int, counts: Iterable[int]) -> np.ndarray:
    """The intact network and then every set of `counts` out of `number` blocks.

    Raises
    ------
    BadInput
        There are more than 100,000 such sets.
    """
    counts = _checked(number, counts)
    trials = sum(math.comb(number, k) for k in counts)
    if trials > MOST:
        raise BadInput(f"{number} blocks have {trials:,} such sets; draw some of them with --trials")
    sets = chain.from_iterable(combinations(range(number), k) for k in counts)
    return _chosen(number, sets)


def sampled(number: int, counts: Iterable[int], trials: int, seed: int, again: bool = False) -> np.ndarray:
    """The intact network and then, for each count, `trials` sets of blocks drawn at random, or all that there are.

    Draws are independent: the mean over them is that over all sets, but a set may come twice. Where there are no more
    sets than trials, each is taken once instead, and their mean is known.

    Parameters
    ----------
    number : of blocks
    counts : of blocks in a set
    trials, seed : for each count
    again : draw in either case
    """
    counts, trials = _checked(number, counts), _some(trials)
    sets = (
        combinations(range(number), k)
        if math.comb(number, k) <= trials and not again
        else (np.random.default_rng([seed, k, trial]).choice(number, k, replace=False) for trial in range(trials))
        for k in counts
    )
    return _chosen(number, chain.from_iterable(sets))


def contiguous(number: int, counts: Iterable[int]) -> np.ndarray:
    """The intact network and then, for each count, every run of so many blocks that follow each other."""
    counts = _checked(number, counts)
    return _chosen(number, (range(start, start + k) for k in counts for start in range(number - k + 1)))


def listed(names: Sequence[str], sets: Sequence[Sequence[str]]) -> np.ndarray:
    """The intact network and then each set of blocks, given by their names.

    Raises
    ------
    BadInput
        A set names what is no block, or there is no set.
    """
    place = {name: number for number, name in enumerate(names)}
    if unknown := [name for chosen in sets for name in chosen if name not in place]:
        raise BadInput(f"no removable block is called {unknown[0]}; there are {', '.join(names)}")
    if not sets:
        raise BadInput("the list of sets is empty; give a set of blocks a line, their names apart by spaces")
    return _chosen(len(names), ([place[name] for name in chosen] for chosen in sets))


def neighbours(number: int, stages: Sequence[Sequence[int]]) -> np.ndarray:
    """The intact network and then the first of every two neighbours that can stand in for each other."""
    firsts = [[a] for stage in stages for a in stage if a + 1 in stage]
    return _chosen(number, firsts)


# In which order: int arrays, shape (trials, number)


def swapped(
    number: int, stages: Sequence[Sequence[int]], counts: Iterable[int], trials: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The intact order and then, for each count, `trials` orders after so many random swaps (Veit et al. 2016, §4.2).

    Swaps follow each other, each of two blocks of one stage, any such two as likely as any others.

    Parameters
    ----------
    number : of blocks
    stages : numbers of the blocks that can trade places, see `ensemble.blocks.blocks.stages`
    counts : of swaps
    trials, seed : for each count

    Returns
    -------
    order : int ndarray, shape (trials, number)
    swaps : int ndarray, shape (trials,)
    """
    counts = list(counts)
    if not counts or min(counts) < 1:
        raise BadInput(f"a number of swaps is {min(counts, default=0)}; give 1 or more")
    couples = [couple for stage in stages for couple in combinations(stage, 2)]
    sequences, swaps = [np.arange(number)], [0]
    for k in counts:
        for trial in range(_some(trials)):
            rng, order = np.random.default_rng([seed, k, trial]), np.arange(number)
            for drawn in rng.integers(len(couples), size=k):
                one, other = couples[drawn]
                order[[one, other]] = order[[other, one]]
            sequences.append(order)
            swaps.append(k)
    return np.array(sequences), np.array(swaps)


def permuted(number: int, stages: Sequence[Sequence[int]], trials: int, seed: int) -> np.ndarray:
    """The intact order and then `trials` random ones within each stage; see `swapped`."""
    sequences = [np.arange(number)]
    for trial in range(_some(trials)):
        rng, order = np.random.default_rng([seed, trial]), np.arange(number)
        for stage in stages:
            order[stage] = rng.permutation(stage)
        sequences.append(order)
    return np.array(sequences)


def reversals(number: int, stages: Sequence[Sequence[int]], counts: Iterable[int] = ()) -> np.ndarray:
    """The intact order; each stage reversed; all of them. With counts, every run of so many blocks reversed instead."""
    parts: list[Sequence[Sequence[int]]]
    if counts := list(counts):
        most = max(map(len, stages))
        if min(counts) < 2 or max(counts) > most:
            raise BadInput(f"--reverse takes runs of 2 to {most} blocks, the most that a stage can reverse here")
        runs_of_k = [stage[i : i + k] for k in counts for stage in stages for i in range(len(stage) - k + 1)]
        parts = [[run] for run in runs_of_k if run[-1] - run[0] == len(run) - 1]
    else:
        parts = [*([stage] for stage in stages), *([stages] if len(stages) > 1 else [])]
    sequences = [np.arange(number)]
    for runs in parts:
        order = np.arange(number)
        for run in runs:
            order[run] = order[run][::-1]
        sequences.append(order)
    return np.array(sequences)


def kendall_tau(order: np.ndarray) -> np.ndarray:
    """Kendall's τ between orders, int (trials, n), and the intact one: 1 − 4·inversions / n(n − 1); 1 where n is 1."""
    n = order.shape[1]
    inversions = np.array([np.triu(row[:, None] > row, 1).sum() for row in order])
    return 1 - 4 * inversions / max(n * (n - 1), 1)


def _checked(number: int, counts: Iterable[int]) -> list[int]:
    counts = list(counts)
    if not counts or min(counts) < 1 or max(counts) > number:
        raise BadInput(f"this network has {number} removable blocks; --delete takes numbers from 1 to {number}")
    return counts


def _some(trials: int) -> int:
    if not 1 <= trials <= MOST:
        raise BadInput(f"--trials is {trials}; give 1 to {MOST:,}")
    return trials


def _chosen(number: int, sets: Iterable[Iterable[int]]) -> np.ndarray:
    rows = [np.zeros(number, bool)]  # the intact network
    for chosen in sets:
        row = np.zeros(number, bool)
        row[list(chosen)] = True
        rows.append(row)
    return np.array(rows)
