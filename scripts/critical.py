#!/usr/bin/env python3
"""Measure the critical sharpness of a network, or along its training: 2 over the largest step that raises no loss.

    python scripts/critical.py resnet.pt critical.h5
    python scripts/train.py resnet.pt --epochs 30 --snapshots run
    python scripts/critical.py resnet.pt critical.h5 --snapshots run --ranks 2
    python scripts/critical.py resnet.pt critical.h5 --snapshots run --along update
    python scripts/critical.py resnet.pt critical.h5 --split both --lambda-max
    python scripts/figure.py critical.pdf critical.h5

The step goes against the gradient, or from each checkpoint to the next; it takes forward passes over all examples, ten
to thirty (Kalra et al. 2026). Where λ_c is larger than 2 over the learning rate, a step of gradient descent raises the
loss. With --split both, or with several losses, the test split and the other losses are measured along the same
direction: relative critical sharpness. Intervals come from the examples. Interrupted, the same command goes on where it
stopped; finished, it does nothing.
"""

import argparse
from pathlib import Path

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, parameter_options
from landscape.curvature.critical import DIRECTIONS, STATISTICS, critical_sharpness
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="critical.py", description=__doc__)
    evaluator_options(p, split="train", several=True)
    g = p.add_argument_group("the steps")
    g.add_argument(
        "--snapshots",
        dest="checkpoints",
        nargs="+",
        type=Path,
        metavar="RUN",
        default=(),
        help="checkpoints or state dicts on the way to CHECKPOINT, in order: a folder written by train "
        "--snapshots, or files",
    )
    g.add_argument(
        "--along",
        choices=DIRECTIONS,
        default="gradient",
        help="the direction: against the gradient of the loss, or from each checkpoint to the next",
    )
    g.add_argument(
        "--learning-rate",
        nargs="+",
        type=float,
        metavar="RATE",
        help="that of the training, or one for each checkpoint; with --along update it says that checkpoints are one "
        "step apart (default: what checkpoints of train say)",
    )
    parameter_options(g)
    g.add_argument(
        "--batchnorm",
        choices=STATISTICS,
        help="BatchNorm statistics: those of each batch, as in training (default), or stored ones",
    )
    g.add_argument(
        "--lambda-max", action="store_true", help="also measure the largest eigenvalue of the Hessian, by Lanczos"
    )
    g.add_argument(
        "--precision", type=float, default=0.02, help="relative length of the bracket that ends the search for a step"
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    critical_sharpness(evaluate, **chosen(arguments, critical_sharpness), comm=comm)


if __name__ == "__main__":
    run(main, parser())
