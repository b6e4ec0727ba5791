#!/usr/bin/env python3
"""Train many small networks and record how well each could be trained: depth, kind of shortcut, seeds.

    python scripts/trainings.py degradation.h5 plain resnet --depth 8 20 32 56 --seeds 3 --ranks 2
    python scripts/trainings.py shortcuts.h5 resnet resnet:shortcut=projection --depth 56 --ranks 2

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE, in quotes if there
are parentheses: 'resnet:join=scale,scales=(0.5,1)'. Each row of
the file is one training, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result: its loss is not finite. Interrupted, the same command goes on where it stopped.

    python scripts/trainings.py degradation.h5 --checkpoints plain-20.pt plain-56.pt resnet-20.pt resnet-56.pt

trains nothing, and puts the errors that finished checkpoints of train.py tell in such a file.
"""

import argparse
from pathlib import Path

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import device_option, run_options, variant_options
from landscape.engine.ranks import Communicator
from landscape.training.trainings import trainings


def parser() -> Parser:
    p = Parser(prog="trainings.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write, or to resume")
    p.add_argument(
        "variants",
        metavar="VARIANT",
        nargs="*",
        default=(),
        help="plain, resnet, resnet:order=pre,shortcut=projection, …",
    )
    p.add_argument(
        "--checkpoints",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE.pt",
        help="finished checkpoints of train, instead of variants",
    )
    variant_options(p, epochs=30, data="digits")
    g = p.add_argument_group("how")
    device_option(g)
    run_options(g)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    trainings(**chosen(arguments, trainings), comm=comm)


if __name__ == "__main__":
    run(main, parser())
