#!/usr/bin/env python3
"""Measure the Hessian of a trained network: the ends of its spectrum on a plane, or its spectrum at the checkpoint.

    python scripts/curvature.py resnet.pt curvature.h5 --x -1 1 11 --y -1 1 11 --seed 0 --ranks 4
    python scripts/curvature.py resnet.pt top.h5 --top 10
    python scripts/curvature.py resnet.pt trace.h5 --trace 90 --ranks 4
    python scripts/curvature.py resnet.pt density.h5 --density 10 --ranks 4

Where a surface looks convex, |λ_min/λ_max| says what the other directions do (Li et al. 2018, §6). The plane is
that of surface.py with the same options, and so are the points' losses. One Lanczos run finds both ends at
each point; their residuals, and whether they have converged, are in the file. --top also saves the
eigenvectors, as directions for surface.py --along. Trace and density are estimates from random probes, and
say how good they are. Interrupted, the same command goes on where it stopped; finished, it does nothing.
On processors each rank computes with one thread, for the same results to the bit: --ranks all starts one for each core.
"""

import argparse
from pathlib import Path

from landscape.commands.cli import Parser, chosen, run
from landscape.commands.options import evaluator_options, plane_options
from landscape.curvature.maps import ENDS, curvature
from landscape.engine.ranks import Communicator
from landscape.evaluation.evaluator import Evaluator


def parser() -> Parser:
    p = Parser(prog="curvature.py", description=__doc__)
    evaluator_options(p, split="train")
    plane_options(p, points=11)
    g = p.add_argument_group("at the checkpoint, instead of on a plane")
    one = g.add_mutually_exclusive_group()
    one.add_argument("--top", type=int, metavar="K", help="K eigenvalues and their eigenvectors, on one process")
    one.add_argument(
        "--trace",
        type=int,
        metavar="PRODUCTS",
        help="the trace, estimated by Hutch++ from this many Hessian-vector products",
    )
    one.add_argument(
        "--density",
        type=int,
        metavar="PROBES",
        help="the density of eigenvalues, estimated by Lanczos from this many random vectors",
    )
    g.add_argument("--end", choices=ENDS, default="largest", help="which end of the spectrum --top takes")
    g.add_argument(
        "--directions",
        type=Path,
        metavar="TOP.pt",
        help="where --top saves the eigenvectors (default: OUT.directions.pt)",
    )
    g = p.add_argument_group("the Hessian")
    g.add_argument(
        "--all-parameters",
        action="store_true",
        help="include parameters without filters (biases and norms), which planes leave alone",
    )
    g.add_argument(
        "--precision",
        type=float,
        default=1e-3,
        help="largest residual of an eigenvalue, relative to the largest |λ|; with --top, to each |λ|. "
        "An eigenvalue that stands apart from the others is known to about its square",
    )
    g.add_argument(
        "--steps",
        type=int,
        default=100,
        help="maximum number of Hessian-vector products for each point or random vector",
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    evaluate = Evaluator.from_checkpoint(**chosen(arguments, Evaluator.from_checkpoint), comm=comm)
    curvature(evaluate, **chosen(arguments, curvature), comm=comm)


if __name__ == "__main__":
    run(main, parser())
