#!/usr/bin/env python3
"""Measure gradients, and what blocks do, from block to block: with and without shortcuts, before training and after.

    python scripts/flow.py flow.h5 plain resnet --depth 20 56 --seeds 3 --epochs 30 --ranks 2
    python scripts/flow.py flow.h5 --checkpoints plain.pt resnet.pt
    python scripts/flow.py flow.h5 --checkpoints MODEL_FOLDER --data text:FILE --batches 1 --batch-size 8
    python scripts/figure.py flow.pdf flow.h5
    python scripts/figure.py cosine.pdf flow.h5 --show cosine

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE. Each is measured as it is
initialised and, with --epochs, trained, on the first batches of a stratified order of the training images. A row of the
file is one network at one moment, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result. Interrupted, the same command goes on where it stopped; finished, it does nothing.
"""

import argparse

from ensemble.flow.gradient_flow import gradient_flow
from ensemble.flow.gradients import BATCHNORM
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import flow_options
from landscape.engine.ranks import Communicator


def parser() -> Parser:
    p = Parser(prog="flow.py", description=__doc__)
    g = flow_options(p)
    g.add_argument(
        "--batchnorm",
        choices=BATCHNORM,
        default="batch",
        help="BatchNorm statistics of each batch, as in training (for gradients alone; the rest has "
        "recalibrated ones), "
        "re-estimated on all batches, or stored",
    )
    g.add_argument(
        "--jacobians", action="store_true", help="also measure the extreme singular values of each block's Jacobian"
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    gradient_flow(**chosen(arguments, gradient_flow), comm=comm)


if __name__ == "__main__":
    run(main, parser())
