#!/usr/bin/env python3
"""Measure how much of a trained network's gradient comes by paths of each length (Veit et al. 2016, §5).

    python scripts/paths.py resnet.pt paths.h5 --examples 64 --draws 1000 --ranks 4

Exactly, norm and signed share, in float64; and as it was first estimated, the number of paths times the mean norm
of random ones, in float32, which leaves out that paths cancel. One random path of each length costs as much as all
paths exactly. Networks are ours, and any other that is a chain of blocks: of torchvision, timm and Hugging Face, or
with --blocks. Interrupted, the same command goes on where it stopped; finished, it does nothing. Without --ranks it
runs on one process, with the same results to the bit.
"""

import argparse

from ensemble.paths.path_spectrum import path_spectrum
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import blocks_options, evaluator_options
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="paths.py", description=__doc__, conflict_handler="resolve")
    evaluator_options(p, split="test")
    g = p.add_argument_group("the paths")
    # In place of the one among the options: the whole split would tell little more in much more time.
    g.add_argument("--examples", type=int, default=64, help="number of examples, a stratified subset")
    g.add_argument(
        "--draws",
        type=int,
        default=1000,
        help="number of random paths of each length, 2 or more; all of them if there are fewer",
    )
    g.add_argument(
        "--image",
        action="store_true",
        help="take the gradient with respect to the image, instead of the input of the first block",
    )
    blocks_options(g, "count in a path's length only blocks of this part of a transformer's layers: attention or mlp")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    path_spectrum(evaluate, **chosen(arguments, path_spectrum), comm=comm)


if __name__ == "__main__":
    run(main, parser())
