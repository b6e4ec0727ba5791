#!/usr/bin/env python3
"""Measure the loss on a plane through a trained network.

    mpiexec -n 4 python -m mpi4py scripts/surface.py resnet.pt resnet.h5 --x -1 1 51 --y -1 1 51 --seed 0

The plane is spanned by random directions, filter-normalised unless told otherwise (Li et al. 2018). Without --y,
a line.
With --tolerance 0.02 --adaptive --dtype auto the same picture takes a hundredth of the time, and the file
says how far off it is. Interrupted, the same command goes on where it stopped; finished, it does nothing.
Without mpiexec it runs on one process, with the same results to the bit.
"""

import numpy as np
import torch

from landscape.adaptive import INTERPOLATED, decide, fill
from landscape.command import Parser, run, say
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.plane import shift
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference, sample
from landscape.span import axes_of, span
from landscape.span import options as span_options
from landscape.subject import compiled, options, subject, unfused
from landscape.table import MEASURED


def parser() -> Parser:
    p = Parser(prog="surface.py", description=__doc__)
    options(p, split="train")
    span_options(p, points=51)
    p.add_argument(
        "--compile", action="store_true", help="torch.compile, once for all points: for a GPU; needs a C++ compiler"
    )
    p.add_argument(
        "--adaptive",
        nargs="?",
        type=float,
        const=0.02,
        metavar="MISS",
        help="measure only where interpolating the loss would miss by more than this part of it (0.02)",
    )
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        axes = axes_of(arguments)
        if arguments.adaptive is not None and not 0 < arguments.adaptive < 1:
            raise BadInput(f"--adaptive is {arguments.adaptive}; give a part of the loss between 0 and 1, like 0.02")
        it = subject(arguments, comm)
        if arguments.batchnorm == "batch":
            it = unfused(it)
        elif arguments.compile:
            it = compiled(it)
        plane, statistics, told = span(arguments, it)
    reduced = it.dtype != torch.float32
    checks = sample(axes.shape, arguments.seed) if reduced else np.zeros(0, int)
    checked = {tuple(point) for point in axes.points[checks]}

    def losses(points):
        for point in points:
            with shift(it.network, plane, point), statistics(point):
                measured = it.measure()
                if reduced:
                    again = tuple(point) in checked
                    measured["loss_float32"] = it.loss_in_float32(measured["examples"]) if again else np.nan
                yield measured

    def choose(table):
        missing = checks[~table.done.flat[checks]]
        rows, _ = decide(table.values["loss"], table.values["loss_se"], table.done, arguments.adaptive, arguments.seed)
        return np.union1d(missing, rows)

    attributes = {**it.settings, **told}
    adaptive = {}
    if arguments.adaptive is not None:
        attributes["adaptive"] = arguments.adaptive
        adaptive = {"choose": choose, "derived": INTERPOLATED}
    table = experiment(
        losses,
        axes.points,
        arguments,
        comm,
        label="points",
        kind="surface",
        dims=axes.dims,
        coordinates=axes.coordinates,
        measured=MEASURED | (FLOAT32 if reduced else {}),
        attributes=attributes,
        **adaptive,
    )
    if table and adaptive:
        say(comm, fill(table, arguments.adaptive, arguments.seed))
    if table and reduced:
        say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))


if __name__ == "__main__":
    run(main, parser())
