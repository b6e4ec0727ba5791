#!/usr/bin/env python3
"""Delete residual blocks of a trained network and measure what is left (Veit et al. 2016).

    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt single.h5 --delete 1
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt random.h5 --delete 1 20 --trials 100 --seed 0

The first deletes every block, one at a time; the second k = 1 … 20 blocks at random, 100 times each.
Trial 0 is the intact network. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without mpiexec it runs on one process, with the same results to the bit.
"""

import numpy as np
import torch

from ensemble.blocks import blocks
from ensemble.damage import damages
from ensemble.lesions import every, sampled
from landscape.command import Parser, run, say
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.place import room
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference
from landscape.subject import options, subject
from landscape.table import MEASURED


def parser() -> Parser:
    p = Parser(prog="lesion.py", description=__doc__)
    options(p, split="test")
    g = p.add_argument_group("the lesions")
    g.add_argument(
        "--delete", nargs="+", type=int, metavar="K", default=[1], help="how many blocks; two numbers: from, to"
    )
    g.add_argument("--trials", type=int, help="random sets for each number; without it every set there is")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if len(arguments.delete) > 2 or arguments.delete != sorted(arguments.delete):
            raise BadInput(f"--delete takes one number or an ascending pair, got {arguments.delete}")
        counts = range(arguments.delete[0], arguments.delete[-1] + 1)
        it = subject(arguments, comm)
        names = list(blocks(it.network))
        if arguments.trials is None:
            plan = every(len(names), counts)
        else:
            plan = sampled(len(names), counts, arguments.trials, arguments.seed)

    function, order = damages(it, plan, room(comm, it.device))
    reduced = it.dtype != torch.float32
    table = experiment(
        function,
        plan,
        arguments,
        comm,
        label="trials",
        choose=lambda table: order[~table.done[order]],
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(plan)), "block": np.array(names)},
        given={"deleted": (("trial", "block"), plan)},
        measured=MEASURED | (FLOAT32 if reduced else {}),
        attributes=it.settings,
    )
    if table and reduced:
        say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))


if __name__ == "__main__":
    run(main, parser())
