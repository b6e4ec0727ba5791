#!/usr/bin/env python3
"""Measure how far the loss or the error of a network stays below a level, in most directions or at worst.

    python scripts/basin.py resnet.pt basin.h5 --radius 0 1 21 --level +5%
    python scripts/basin.py resnet.pt worst.h5 --ball worst --directions 3 --radius 0 0.02 11 --level 2x
    python scripts/figure.py basin.pdf plain-basin.h5 resnet-basin.h5

Random directions are followed outwards from the weights, and with the confidence asked for (Clopper and Pearson) at
least that share of all directions stays inside up to the radius that is printed. With --ball worst the points are the
highest that ascents find, which says how small the basin is at worst (Chen et al. 2025). Interrupted, the same command
goes on where it stopped; finished, it does nothing.
"""

import argparse

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, parameter_options, statistics_options
from landscape.curvature.basin import BALLS, STATISTICS, basin_radius
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="basin.py", description=(__doc__ or "").replace("%", "%%"))
    evaluator_options(p, split="train")
    g = p.add_argument_group("the basin")
    g.add_argument(
        "--radius",
        nargs=3,
        type=float,
        metavar=("FROM", "TO", "RADII"),
        default=(0, 1, 21),
        help="radii, relative to the weights",
    )
    g.add_argument("--directions", type=int, default=60, help="number of random directions, or of ascents")
    g.add_argument(
        "--ball",
        choices=BALLS,
        default="filter",
        help="random directions normalised filter by filter; random ones relative to the norm of all weights; or the "
        "highest point in that ball that an ascent finds",
    )
    g.add_argument(
        "--level",
        help="a loss: 0.5, 2x that at the weights, or +0.1 above it; or an error: 10%%, or +5%% points above that at "
        "the weights (default: +5%%, or 2x where there are no errors)",
    )
    g.add_argument("--share", type=float, default=0.9, help="share of directions that is to stay inside")
    g.add_argument("--confidence", type=float, default=0.95, help="that of the certificate")
    g.add_argument("--steps", type=int, default=20, help="steps of each ascent")
    g.add_argument("--move-biases", action="store_true", help="also move parameters without filters (biases and norms)")
    parameter_options(g)
    which = "BatchNorm statistics away from the weights: stored, re-estimated, or those of each batch"
    statistics_options(g, STATISTICS, "frozen", which)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    basin_radius(evaluate, **chosen(arguments, basin_radius), comm=comm)


if __name__ == "__main__":
    run(main, parser())
