#!/usr/bin/env python3
"""Train deep networks to put out their own input: how hard is it to do nothing, with shortcuts and without?

    python scripts/identity.py identity.h5 --depth 2 5 10 20 50 --seeds 3 --ranks 2
    python scripts/figure.py identity.pdf identity.h5

Both kinds can represent the identity exactly at every depth (He et al. 2015, §3.1 supposes that plain layers find
it hard to learn). Each is trained with every learning rate; the figure shows the best. Interrupted, the same
command goes on where it stopped.
"""

import argparse
from pathlib import Path

from ensemble.identity import KINDS, identity
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import run_options
from landscape.engine.ranks import Communicator


def parser() -> Parser:
    p = Parser(prog="identity.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write, or to resume")
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="kinds of network")
    p.add_argument(
        "--depth",
        type=int,
        nargs="+",
        default=(2, 5, 10, 20, 50),
        help="numbers of blocks, each a ReLU and a linear layer",
    )
    p.add_argument(
        "--learning-rate",
        type=float,
        nargs="+",
        default=(1e-3, 1e-2, 1e-1),
        help="initial learning rates of Adam, decayed to 0",
    )
    p.add_argument("--seeds", type=int, default=3, help="number of trainings of each, with seeds 0, 1, …")
    p.add_argument("--steps", type=int, default=1000, help="training steps, each on 128 new examples")
    run_options(p)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    identity(**chosen(arguments, identity), comm=comm)


if __name__ == "__main__":
    run(main, parser())
