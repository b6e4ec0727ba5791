#!/usr/bin/env python3
"""Measure both ends of the Hessian's spectrum on a plane through a trained network.

    mpiexec -n 4 python -m mpi4py scripts/curvature.py resnet.pt curvature.h5 --x -1 1 11 --y -1 1 11 --seed 0

Where a surface looks convex, |λ_min/λ_max| says what the other directions do (Li et al. 2018, §6). The plane is
that of surface.py with the same options, and so are the points' losses. One Lanczos run finds both ends at
each point; their residuals, and whether they have converged, are in the file. Interrupted, the same
command goes on where it stopped; finished, it does nothing.
"""

import numpy as np

from landscape.command import Parser, run
from landscape.curvature import NotFinite, has_filters, hessian
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.lanczos import Ends, ends
from landscape.plane import shift
from landscape.ranks import agreed
from landscape.span import axes_of, span
from landscape.span import options as span_options
from landscape.subject import options, subject
from landscape.table import MEASURED

NAN, UNIT = float("nan"), "nats per squared unit of weight"
CURVATURE = {
    "lambda_min": ("f8", NAN, {"long_name": "smallest eigenvalue of the Hessian", "units": UNIT}),
    "lambda_max": ("f8", NAN, {"long_name": "largest eigenvalue of the Hessian", "units": UNIT}),
    "residual_min": ("f8", NAN, {"long_name": "residual of the smallest eigenvalue", "units": UNIT}),
    "residual_max": ("f8", NAN, {"long_name": "residual of the largest eigenvalue", "units": UNIT}),
    "converged": ("?", False, {"long_name": "whether both residuals are within the tolerance"}),
    "products": ("i8", 0, {"long_name": "products with the Hessian", "units": "1"}),
}


def parser() -> Parser:
    p = Parser(prog="curvature.py", description=__doc__)
    options(p, split="train")
    span_options(p, points=11)
    g = p.add_argument_group("the Hessian")
    g.add_argument("--all-parameters", action="store_true", help="not only those with filters, which planes move")
    g.add_argument(
        "--precision", type=float, default=1e-3, help="of the eigenvalues' residuals, as a part of the largest |λ|"
    )
    g.add_argument("--steps", type=int, default=100, help="products with the Hessian at a point, at most")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        axes = axes_of(arguments)
        if arguments.dtype != "float32" or arguments.tolerance is not None:
            raise BadInput("the Hessian is taken in float32 over all examples; leave out --dtype and --tolerance")
        if arguments.batchnorm in ("batch", "recalibrated"):
            raise BadInput(
                f"with --batchnorm {arguments.batchnorm} the statistics follow the weights, and the Hessian would not; "
                "use frozen or interpolated"
            )
        if not (0 < arguments.precision < 1 and arguments.steps > 0):
            raise BadInput("--precision is between 0 and 1, --steps 1 or more")
        it = subject(arguments, comm)
        plane, statistics, told = span(arguments, it)
    which = None if arguments.all_parameters else has_filters

    def curvatures(points):
        for point in points:
            with shift(it.network, plane, point), statistics(point):
                operator = hessian(it.network, it.batches, it.loss, which)
                try:
                    found = ends(operator, arguments.precision, arguments.steps, arguments.seed)
                except NotFinite:  # a result, like the loss that it comes with
                    found = Ends(np.full(2, np.nan), np.full(2, np.nan), False, 0)
                yield it.measure() | {
                    "lambda_min": found.values[0],
                    "lambda_max": found.values[1],
                    "residual_min": found.residuals[0],
                    "residual_max": found.residuals[1],
                    "converged": found.converged,
                    "products": found.products,
                }

    parameters = "all" if arguments.all_parameters else "of two dimensions or more"
    experiment(
        curvatures,
        axes.points,
        arguments,
        comm,
        label="points",
        kind="curvature",
        dims=axes.dims,
        coordinates=axes.coordinates,
        measured=MEASURED | CURVATURE,
        attributes={
            **it.settings,
            **told,
            "hessian_parameters": parameters,
            "precision": arguments.precision,
            "steps": arguments.steps,
        },
    )


if __name__ == "__main__":
    run(main, parser())
