#!/usr/bin/env python3
"""Measure the path of a training: its plane, how far it leaves it, and the loss on it and in the plane.

    python scripts/train.py resnet.pt --epochs 30 --snapshots run
    python scripts/trajectory.py resnet.pt path.h5 --snapshots run --ranks 4

The plane is that of the first two principal components of the path, through its end (Li et al. 2018, §7). They are
saved, and the command for surface.py is printed that measures the loss around the path; figure.py draws both.
What is measured here is the loss at each checkpoint, with its own statistics of BatchNorm, and at the nearest point
in the plane. Interrupted, the same command goes on where it stopped; finished, it only says so.
"""

import argparse
import shlex
import sys
from pathlib import Path

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, parameter_options, statistics_options
from landscape.engine.ranks import Communicator
from landscape.engine.results import Results
from landscape.evaluation.evaluator import Evaluator
from landscape.log import say
from landscape.planes.trajectory import around, trajectory

# Options that the surface around the path has in common with the path.
SHARED = (
    *("split", "examples", "loss", "seed", "network", "arguments", "data", "root", "size", "device", "batch_size"),
    *("tolerance", "batchnorm", "calibration", "outputs", "mean", "std", "standardize", "entry", "parameters"),
)


def parser() -> Parser:
    p = Parser(prog="trajectory.py", description=__doc__)
    evaluator_options(p, split="train")
    g = p.add_argument_group("the path")
    g.add_argument(
        "--snapshots",
        dest="checkpoints",
        nargs="+",
        type=Path,
        metavar="RUN",
        required=True,
        help="checkpoints or state dicts on the way to CHECKPOINT, in order: a folder written by train "
        "--snapshots, or files",
    )
    g.add_argument(
        "--filters-only", action="store_true", help="only the path of parameters with filters, without biases and norms"
    )
    parameter_options(g)
    g = p.add_argument_group("the plane")
    g.add_argument(
        "--along", type=Path, metavar="FILE.pt", help="two saved directions to use instead of the principal components"
    )
    g.add_argument(
        "--directions", type=Path, metavar="FILE.pt", help="where to save the components (default: OUT.directions.pt)"
    )
    which = "BatchNorm statistics in the plane: those of CHECKPOINT, or re-estimated"
    statistics_options(g, ["frozen", "recalibrated"], "frozen", which)
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    path = trajectory(evaluate, **chosen(arguments, trajectory), comm=comm)
    if isinstance(path, Results):
        say(comm, "measure the loss around the path, then draw both:", *commands(arguments, around(path)))


def commands(arguments: argparse.Namespace, axes: dict) -> list[str]:
    """The commands that measure a surface around the path and draw it."""
    out, surface, figure = arguments.out, *(arguments.out.with_suffix(end) for end in (".plane.h5", ".pdf"))
    along = arguments.along or arguments.directions or out.with_suffix(".directions.pt")
    measure = [*_command("surface"), arguments.checkpoint, surface, "--along", along]
    for name, (low, high, points) in axes.items():
        measure += [f"--{name}", f"{low:g}", f"{high:g}", points]
    usual = parser()
    for name in SHARED:
        if (value := getattr(arguments, name)) != usual.get_default(name):
            measure.append("--argument" if name == "arguments" else f"--{name.replace('_', '-')}")
            measure += value if isinstance(value, list) else [] if value is True else [value]
    lines = measure, [*_command("figure"), figure, surface, out]
    return [f"  {shlex.join(map(str, line))}" for line in lines]


def _command(name: str) -> list:
    """Another command, called as this one was."""
    here = Path(sys.argv[0])
    return ["python", here.with_name(f"{name}.py")] if here.suffix == ".py" else ["skipscape", name]


if __name__ == "__main__":
    run(main, parser())
