#!/usr/bin/env python3
"""Measure how strongly the layers of a trained DenseNet weigh what earlier ones have made (Huang et al. 2017, Fig. 5).

    python scripts/train.py densenet.pt --network densenet --depth 40 --data digits
    python scripts/reuse.py densenet.pt reuse.h5
    python scripts/figure.py reuse.pdf reuse.h5

A row of the file is a stage. How alike the features of any network are from block to block is in the files of flow.py.
"""

import argparse
from pathlib import Path

from ensemble.flow.reuse import reuse
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import run_options
from landscape.engine.ranks import Communicator


def parser() -> Parser:
    p = Parser(prog="reuse.py", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="a densenet trained by train")
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write")
    run_options(p)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    reuse(**chosen(arguments, reuse), comm=comm)


if __name__ == "__main__":
    run(main, parser())
