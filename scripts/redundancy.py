#!/usr/bin/env python3
"""Score every block of a trained network by what it does to activations, and delete it: does the score tell the damage?

    python scripts/redundancy.py resnet.pt redundancy.h5 --ranks 4
    python scripts/figure.py redundancy.pdf redundancy.h5

Scores are the influence 1 − cos(x, y) of the stream before and after a block (Men et al. 2024), the angle between the
two (Gromov et al. 2024), and the size of what the block adds relative to what is carried. They take one pass over all
examples, in float32; --dtype and --tolerance are for the deletions, one a block. In the end each score's rank
correlation with the rise of the loss is printed. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without --ranks it runs on one process, with the same results to the bit.
"""

import argparse

from ensemble.flow.redundancy import redundancy
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import ONE_PART, blocks_options, evaluator_options
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="redundancy.py", description=__doc__)
    evaluator_options(p, split="test", several=True, both=False)
    blocks_options(p.add_argument_group("blocks"), ONE_PART)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    redundancy(evaluate, **chosen(arguments, redundancy), comm=comm)


if __name__ == "__main__":
    run(main, parser())
