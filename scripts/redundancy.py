#!/usr/bin/env python3
"""Score every block of a trained network by what it does to activations, and delete it: does the score tell the damage?

    mpiexec -n 4 python -m mpi4py scripts/redundancy.py resnet.pt redundancy.h5
    python scripts/figure.py redundancy.pdf redundancy.h5

Scores are the influence 1 − cos(x, y) of the stream before and after a block (Men et al. 2024), the angle between the
two (Gromov et al. 2024), and the size of what the block adds relative to what is carried. They take one pass over all
examples, in float32; --dtype and --tolerance are for the deletions, one a block. In the end each score's rank
correlation with the rise of the loss is printed. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without mpiexec it runs on one process, with the same results to the bit.
"""

from functools import cache

import numpy as np
import torch

from ensemble.blocks import blocks, check
from ensemble.damage import damages, walkable
from ensemble.paired import RISE
from ensemble.plans import deletions
from ensemble.redundancy import SCORES, redundancy, summary
from landscape.command import Parser, run, say
from landscape.experiment import experiment
from landscape.imported import imported
from landscape.place import room
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference
from landscape.subject import options, subject, unfused
from landscape.table import MEASURED


def parser() -> Parser:
    p = Parser(prog="redundancy.py", description=__doc__)
    options(p, split="test")
    g = p.add_argument_group("blocks")
    g.add_argument(
        "--blocks",
        metavar="PACKAGE.MODULE:FUNCTION",
        help="where branches end, for a network that is not known, see lesion.py; a block is scored if it is named "
        "like the module that adds its branches",
    )
    g.add_argument("--layers", action="store_true", help="a transformer's layer is one block, not attention and MLP")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        described = imported(arguments.blocks) if arguments.blocks else None
        it = subject(arguments, comm)
        found = blocks(it.network, described, arguments.layers)
        check(it.network, found, it.batches[0][0][:3])
        plan = deletions(np.eye(len(found), dtype=bool))
    if not walkable(it, found, plan):
        it = unfused(it)
    with agreed(comm):
        damage, order = damages(it, found, plan, room(comm, it.device))
    reduced = it.dtype != torch.float32

    @cache
    def scores():
        """Of all blocks at once; each rank for itself, since a pass costs no more than a deletion."""
        return redundancy(it.network, found, it.batches)

    def measured(trials):
        for trial, numbers in zip(trials, damage(trials), strict=True):
            yield scores().of(int(trial["runs"].argmin())) | numbers

    table = experiment(
        measured,
        plan,
        arguments,
        comm,
        label="blocks",
        choose=lambda table: order[~table.done[order]],
        kind="redundancy",
        dims=("block",),
        coordinates={"block": np.array(list(found))},
        measured=SCORES | MEASURED | RISE | (FLOAT32 if reduced else {}),
        attributes=it.settings,
    )
    if table:
        say(comm, *summary(table.values, arguments.seed))
    if table and reduced:
        say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))


if __name__ == "__main__":
    run(main, parser())
