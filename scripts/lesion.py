#!/usr/bin/env python3
"""Delete residual blocks of a trained network and measure what is left (Veit et al. 2016).

    python scripts/lesion.py resnet.pt single.h5 --delete 1 --ranks 4
    python scripts/lesion.py resnet.pt random.h5 --delete 1 20 --trials 100 --seed 0 --ranks 4
    python scripts/lesion.py resnet.pt swaps.h5 --swap 1 10 --trials 100 --seed 0 --ranks 4
    python scripts/lesion.py resnet.pt pairs.h5 --delete 1 2 --ranks 4
    python scripts/lesion.py resnet.pt shapley.h5 --shapley 1000 --precision 0.01 --ranks 4

The first deletes every block, one at a time; the second k = 1 … 20 blocks at random, 100 times each (or, where there
are no more sets of k blocks than that, each set once); the third lets blocks trade places; the fourth deletes all
pairs and says whether they act alone; the fifth what each block is worth, whichever others are there (Shapley
values). Blocks are also permuted, reversed, applied twice, run side by side, replaced by their mean output or by that
for another example, and multiplied by α, from 0 (deleted) to 1 (intact). Networks are ours, those of torchvision, timm
and Hugging Face, or any with --blocks.
Trial 0 is the intact network. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without --ranks it runs on one process, with the same results to the bit.
"""

import argparse

from ensemble.lesions.kinds import KINDS, REPLACEMENTS
from ensemble.lesions.trials import BATCHNORM, lesions
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import ONE_PART, blocks_options, evaluator_options, statistics_options
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="lesion.py", description=__doc__)
    evaluator_options(p, split="test", several=True, both=False)
    kinds = p.add_argument_group("lesions, of one kind (default: --delete 1)").add_mutually_exclusive_group()
    for name, kind in KINDS.items():
        kinds.add_argument(f"--{name}", help=kind.help, **kind.typed)
    g = p.add_argument_group("which lesions")
    g.add_argument(
        "--trials",
        type=int,
        help="number of random trials for each K, drawn independently; if there are no more sets of K blocks "
        "than that, each "
        "set once. Without it, every set there is",
    )
    g.add_argument("--contiguous", action="store_true", help="with --delete: only runs of consecutive blocks")
    g.add_argument(
        "--replace",
        choices=REPLACEMENTS,
        help="instead of removing branches, replace their output by its mean over the data, or by that for "
        "another example",
    )
    g.add_argument(
        "--precision",
        type=float,
        metavar="P",
        help="with --shapley: stop as soon as the 95 %% interval of each block's value is within ± P, the error "
        "being a "
        "fraction; by default all N orders",
    )
    g.add_argument(
        "--alpha",
        nargs=3,
        type=float,
        metavar=("FROM", "TO", "POINTS"),
        help="with --gate: by default 0 to 1, 11 points",
    )
    g.add_argument(
        "--within",
        nargs=2,
        type=int,
        metavar=("FROM", "TO"),
        help="move only blocks from here to there, numbered by depth, from 1: the middle layers",
    )
    blocks_options(p.add_argument_group("blocks"), ONE_PART)
    statistics_options(
        p.add_argument_group("BatchNorm"),
        BATCHNORM,
        "frozen",
        "stored BatchNorm statistics, or re-estimated in every trial",
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    kinds = {name: getattr(arguments, name) for name in KINDS}
    lesions(evaluate, **{**chosen(arguments, lesions), **kinds}, comm=comm)


if __name__ == "__main__":
    run(main, parser())
