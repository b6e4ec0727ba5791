#!/usr/bin/env python3
"""Train deep networks to put out their own input: how hard is it to do nothing, with shortcuts and without?

    mpiexec -n 2 python -m mpi4py scripts/identity.py identity.h5 --depth 2 5 10 20 50 --seeds 3
    python scripts/figure.py identity.pdf identity.h5

Both kinds can represent the identity exactly at every depth (He et al. 2015, §3.1 supposes that plain layers find
it hard to learn). Each is trained with every learning rate; the figure shows the best. Interrupted, the same
command goes on where it stopped.
"""

from itertools import product
from pathlib import Path

import numpy as np
import torch
from landscape.command import Parser, run
from landscape.experiment import experiment
from landscape.experiment import options as run_options

from ensemble.identity import INPUTS, KINDS, WIDTH, regress
from landscape.errors import BadInput
from landscape.ranks import agreed

MEASURED = {
    "error": ("f8", float("nan"), {"long_name": "squared error relative to the input's square", "units": "1"}),
    "error_se": ("f8", float("nan"), {"long_name": "standard error of that over examples", "units": "1"}),
}


def parser() -> Parser:
    p = Parser(prog="identity.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    p.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of network")
    p.add_argument("--depth", type=int, nargs="+", default=[2, 5, 10, 20, 50], help="blocks of a ReLU and a layer")
    p.add_argument("--learning-rate", type=float, nargs="+", default=[1e-3, 1e-2, 1e-1], help="of Adam, falling to 0")
    p.add_argument("--seeds", type=int, default=3, help="trainings of each: seeds 0, 1, …")
    p.add_argument("--steps", type=int, default=1000, help="of 128 new examples each")
    run_options(p)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        torch.set_num_threads(1)
        if min(arguments.seeds, arguments.steps, *arguments.depth) < 1 or min(arguments.learning_rate) <= 0:
            raise BadInput("--depth, --seeds and --steps must be 1 or more, --learning-rate above 0")
        grid = (arguments.kinds, arguments.depth, arguments.learning_rate)
        for values in grid:
            if len(set(values)) < len(values):
                raise BadInput(f"{' '.join(map(str, values))}: one is there twice; give each once")
    rows = list(product(*grid, range(arguments.seeds)))
    experiment(
        lambda points: (regress(*rows[int(row)], steps=arguments.steps) for (row,) in points),
        np.arange(len(rows))[:, None],
        arguments,
        comm,
        label="trainings",
        kind="identity",
        dims=("network", "depth", "learning_rate", "seed"),
        coordinates={
            "network": np.array(arguments.kinds),
            "depth": np.array(arguments.depth),
            "learning_rate": np.array(arguments.learning_rate),
            "seed": np.arange(arguments.seeds),
        },
        measured=MEASURED,
        attributes={
            "network": "; ".join(arguments.kinds),
            "data": f"{INPUTS} standard normal numbers",
            "width": WIDTH,
            "steps": arguments.steps,
        },
    )


if __name__ == "__main__":
    run(main, parser())
