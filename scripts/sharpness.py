#!/usr/bin/env python3
"""Measure how far the loss of a trained network rises within balls around its weights.

    mpiexec -n 4 python -m mpi4py scripts/sharpness.py resnet.pt sharpness.h5 --rho 0.01 0.02 0.05 0.1 --trials 20

In random directions and by ascent (Foret et al. 2021), with weights changed by a part of their common size, or
each by a part of its own (adaptive, Kwon et al. 2021), which does not depend on how layers are scaled. A radius
is the root mean square of those parts; for an ascent, a thousandth is not small. It takes --steps forward and
backward passes over all examples, on one core a rank. Interrupted, the same command goes on where it stopped;
finished, it does nothing.
"""

import numpy as np

from landscape import filters
from landscape.command import Parser, run, say
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.losses import in_units
from landscape.ranks import agreed
from landscape.sharpness import KINDS, RISE, STEP, sharpness
from landscape.subject import options, subject


def parser() -> Parser:
    p = Parser(prog="sharpness.py", description=__doc__)
    options(p, split="train")
    g = p.add_argument_group("the balls")
    g.add_argument(
        "--rho", nargs="+", type=float, metavar="RHO", default=[0.01, 0.02, 0.05, 0.1], help="radii, relative"
    )
    g.add_argument("--trials", type=int, default=20, help="random directions, the same for each kind and radius")
    g.add_argument("--steps", type=int, default=20, help="of an ascent")
    g.add_argument("--all-parameters", action="store_true", help="not only those with filters, which planes move")
    filters.options(g)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        rho = np.array(arguments.rho)
        if not (np.isfinite(rho).all() and (np.diff(rho, prepend=0) > 0).all()):
            raise BadInput(f"--rho is {' '.join(f'{r:g}' for r in rho)}; give positive radii in ascending order")
        if arguments.trials < 1 or arguments.steps < 1:
            raise BadInput(f"--trials is {arguments.trials}, --steps {arguments.steps}; give 1 or more of each")
        if arguments.dtype != "float32" or arguments.tolerance is not None:
            raise BadInput("sharpness is taken in float32 over all examples; leave out --dtype and --tolerance")
        it = subject(arguments, comm)
        which = filters.selected(it.network, arguments.parameters, filters=not arguments.all_parameters)
        function = sharpness(it.network, it.batches, it.loss, which, arguments.steps, arguments.seed, it.measure)
    say(comm, *filters.notes(it.network, arguments, one_dimensional=arguments.all_parameters))

    trial = np.arange(arguments.trials)
    points = np.stack(np.meshgrid(np.arange(len(KINDS)), rho, trial, indexing="ij"), axis=-1).reshape(-1, 3)
    experiment(
        function,
        points,
        arguments,
        comm,
        label="points",
        kind="sharpness",
        dims=("kind", "rho", "trial"),
        coordinates={"kind": np.array(KINDS), "rho": rho, "trial": trial},
        measured=it.variables | in_units(RISE, it.settings["loss"]),
        attributes={
            **it.settings,
            "parameters": "all" if arguments.all_parameters else filters.with_filters(it.network),
            **filters.naming(arguments.parameters),
            "steps": arguments.steps,
            "step": STEP,
        },
    )


if __name__ == "__main__":
    run(main, parser())
