#!/usr/bin/env python3
"""Measure the loss on a plane through a trained network.

    mpiexec -n 4 python -m mpi4py scripts/surface.py resnet.pt resnet.h5 --x -1 1 51 --y -1 1 51 --seed 0

The plane is spanned by random directions, filter-normalised unless told otherwise (Li et al. 2018). Without --y,
a line; with --z, a space. --repeats 5 measures five independent planes into one file, for error bars.
With --tolerance 0.02 --adaptive --dtype auto the same picture takes a hundredth of the time, and the file
says how far off it is. Interrupted, the same command goes on where it stopped; finished, it does nothing.
Without mpiexec it runs on one process, with the same results to the bit. The same command with --diagnose
tells why a surface looks odd.
"""

from landscape.command import Parser, run
from landscape.ranks import agreed
from landscape.subject import options as subject_options
from landscape.subject import subject
from landscape.surface import check, options, surface


def parser() -> Parser:
    p = Parser(prog="surface.py", description=__doc__)
    subject_options(p, split="train", several=True)
    options(p)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        check(arguments)
        it = subject(arguments, comm)
    surface(it, arguments, comm)


if __name__ == "__main__":
    run(main, parser())
