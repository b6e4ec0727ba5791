#!/usr/bin/env python3
"""Measure the loss on a plane through a trained network.

    mpiexec -n 4 python -m mpi4py scripts/surface.py resnet.pt resnet.h5 --x -1 1 51 --y -1 1 51 --seed 0

The plane is spanned by random, filter-normalised directions (Li et al. 2018). Without --y, a line.
Interrupted, the same command goes on where it stopped; finished, it does nothing. Without mpiexec it
runs on one process, with the same results to the bit.
"""

from landscape.command import Parser, run
from landscape.directions import cosine, digest, filter_normalize, random_direction, weights_of
from landscape.experiment import experiment
from landscape.measure import measure
from landscape.plane import Plane, axis, grid, shift
from landscape.ranks import agreed
from landscape.subject import options, subject


def parser() -> Parser:
    p = Parser(prog="surface.py", description=__doc__)
    options(p, split="train")
    g = p.add_argument_group("the plane")
    ends = ("FROM", "TO", "POINTS")
    g.add_argument("--x", nargs=3, type=float, metavar=ends, default=(-1, 1, 51), help="first axis, in network norms")
    g.add_argument("--y", nargs=3, type=float, metavar=ends, help="second axis")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        x = axis(*arguments.x)
        y = None if arguments.y is None else axis(*arguments.y)
        it = subject(arguments, comm)
        origin = weights_of(it.network)
        axes = range(1 if y is None else 2)
        directions = tuple(
            filter_normalize(random_direction(origin, (arguments.seed, number)), origin) for number in axes
        )
        plane = Plane(origin, directions)

    def losses(points):
        for point in points:
            with shift(it.network, plane, point):
                yield measure(it.network, it.batches, it.loss)

    attributes = {
        **it.settings,
        "directions": "random, filter-normalised; parameters of one dimension not moved",
        "direction_digest": digest(*directions),
    }
    if y is not None:
        attributes["cosine"] = cosine(*directions)
    experiment(
        losses,
        grid(x, y),
        arguments,
        comm,
        label="points",
        kind="surface",
        dims=("x",) if y is None else ("y", "x"),
        coordinates={"x": x} if y is None else {"y": y, "x": x},
        attributes=attributes,
    )


if __name__ == "__main__":
    run(main, parser())
