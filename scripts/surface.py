#!/usr/bin/env python3
"""Measure the loss on a plane through a trained network.

    python scripts/surface.py resnet.pt resnet.h5 --x -1 1 51 --y -1 1 51 --seed 0 --ranks 4

The plane is spanned by random directions, filter-normalised unless told otherwise (Li et al. 2018). Without --y,
a line; with --z, a space. --repeats 5 measures five independent planes into one file, for error bars.
With --tolerance 0.02 --adaptive --dtype auto the same picture takes a hundredth of the time, and the file
says how far off it is. Interrupted, the same command goes on where it stopped; finished, it does nothing.
Without --ranks it runs on one process, with the same results to the bit. The same command with --diagnose
tells why a surface looks odd.
"""

import argparse

from landscape.alignment.aligned import ALIGNMENTS
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, plane_options
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import ADAPTIVE, ESTIMATORS, surface


def parser() -> Parser:
    p = Parser(prog="surface.py", description=__doc__)
    evaluator_options(p, split="train", several=True)
    plane_options(p, points=51)
    p.add_argument(
        "--align",
        choices=ALIGNMENTS,
        help="with --to, first put the units of the other checkpoint in the order that is nearest to this one's, by "
        "their weights or by their activations; it computes what it did",
    )
    p.add_argument(
        "--weight-decay",
        type=float,
        metavar="LAMBDA",
        help="also measure λ/2·‖θ‖², and in `objective` the sum with the loss, which a training with this decay "
        "minimises",
    )
    p.add_argument(
        "--compile",
        action="store_true",
        help="use torch.compile, once for all points; worthwhile on a GPU, and needs a C++ compiler",
    )
    p.add_argument(
        "--adaptive",
        nargs="?",
        type=float,
        const=ADAPTIVE,
        metavar="MISS",
        help=f"measure until at least 95 %% of the other points are interpolated to within this part of the loss "
        f"({ADAPTIVE})",
    )
    p.add_argument(
        "--estimator",
        choices=ESTIMATORS,
        default="mean",
        help="with --tolerance, how the loss over all examples is estimated; regression: from the losses at a few "
        "control points too, which takes fewer examples (default: mean)",
    )
    p.add_argument(
        "--diagnose", action="store_true", help="measure nothing; explain what is odd about the surface in OUT.h5"
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    surface(evaluate, **chosen(arguments, surface), comm=comm)


if __name__ == "__main__":
    run(main, parser())
