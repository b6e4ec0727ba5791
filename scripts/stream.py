#!/usr/bin/env python3
"""Measure what goes through networks from block to block: the stream, what shortcuts carry, which blocks need which.

    python scripts/stream.py stream.h5 plain resnet --depth 8 20 56 --seeds 3 --ranks 2
    python scripts/stream.py stream.h5 --checkpoints plain.pt resnet.pt
    python scripts/figure.py stream.pdf stream.h5

Networks are named as for flow.py: variants as they are initialised and, with --epochs, trained, and checkpoints. Of
each it has the norm and the variance of the stream, and what blocks add to it; the gain of all shortcuts alone, forward
and backward, with its range over examples, and that of mixing several streams; the change of what every later block
adds when a block is left out; and the correlation of gradients between examples. Interrupted, the same command goes on
where it stopped; finished, it does nothing.
"""

import argparse

from ensemble.flow.stream import stream
from ensemble.flow.stream_profile import HELD
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import flow_options
from landscape.engine.ranks import Communicator


def parser() -> Parser:
    p = Parser(prog="stream.py", description=__doc__)
    g = flow_options(p)
    g.add_argument(
        "--batchnorm",
        choices=HELD,
        default="recalibrated",
        help="BatchNorm statistics: re-estimated on all batches, or stored",
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    stream(**chosen(arguments, stream), comm=comm)


if __name__ == "__main__":
    run(main, parser())
