#!/usr/bin/env python3
"""Measure how far the loss of a trained network rises within balls around its weights.

    python scripts/sharpness.py resnet.pt sharpness.h5 --rho 0.01 0.02 0.05 0.1 --trials 20 --ranks 4

In random directions and by ascent (Foret et al. 2021), with weights changed by a part of their common size, or
each by a part of its own (adaptive, Kwon et al. 2021), which does not depend on how layers are scaled. A radius
is the root mean square of those parts; for an ascent, a thousandth is not small. It takes --steps forward and
backward passes over all examples, on one core a rank. Interrupted, the same command goes on where it stopped;
finished, it does nothing.
"""

import argparse

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, parameter_options
from landscape.curvature.sharpness import sharpness
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="sharpness.py", description=__doc__)
    evaluator_options(p, split="train")
    g = p.add_argument_group("the balls")
    g.add_argument(
        "--rho",
        nargs="+",
        type=float,
        metavar="RHO",
        default=[0.01, 0.02, 0.05, 0.1],
        help="radii of the balls, relative to the weights",
    )
    g.add_argument(
        "--trials", type=int, default=20, help="number of random directions, the same for each kind and radius"
    )
    g.add_argument("--steps", type=int, default=20, help="steps of each ascent")
    g.add_argument(
        "--all-parameters",
        action="store_true",
        help="include parameters without filters (biases and norms), which planes leave alone",
    )
    parameter_options(g)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    sharpness(evaluate, **chosen(arguments, sharpness), comm=comm)


if __name__ == "__main__":
    run(main, parser())
