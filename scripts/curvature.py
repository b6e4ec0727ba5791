#!/usr/bin/env python3
"""Measure both ends of the Hessian's spectrum on a plane through a trained network.

    mpiexec -n 4 python -m mpi4py scripts/curvature.py resnet.pt curvature.h5 --x -1 1 11 --y -1 1 11 --seed 0

Where a surface looks convex, |λ_min/λ_max| says what the other directions do (Li et al. 2018, §6). The plane is
that of surface.py with the same options, and so are the points' losses. One Lanczos run finds both ends at
each point; their residuals, and whether they have converged, are in the file. Interrupted, the same
command goes on where it stopped; finished, it does nothing.
"""

from landscape.command import Parser, run
from landscape.curvature import has_filters, hessian
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.lanczos import ends
from landscape.plane import axis, grid, shift
from landscape.ranks import agreed
from landscape.span import options as span_options
from landscape.span import span
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
    span_options(p)
    g = p.add_argument_group("the plane")
    names = ("FROM", "TO", "POINTS")
    g.add_argument("--x", nargs=3, type=float, metavar=names, default=(-1, 1, 11), help="first axis")
    g.add_argument("--y", nargs=3, type=float, metavar=names, help="second axis")
    g = p.add_argument_group("the Hessian")
    g.add_argument("--all-parameters", action="store_true", help="not only those with filters, which planes move")
    g.add_argument(
        "--precision", type=float, default=1e-3, help="of the eigenvalues' residuals, as a part of the largest |λ|"
    )
    g.add_argument("--steps", type=int, default=100, help="products with the Hessian at a point, at most")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        x = axis(*arguments.x)
        y = None if arguments.y is None else axis(*arguments.y)
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
        plane, statistics, told = span(arguments, it, 1 if y is None else 2)
    which = None if arguments.all_parameters else has_filters

    def curvatures(points):
        for point in points:
            with shift(it.network, plane, point), statistics(point):
                operator = hessian(it.network, it.batches, it.loss, which)
                found = ends(operator, arguments.precision, arguments.steps, arguments.seed)
                yield it.measure() | {
                    **dict(zip(("lambda_min", "lambda_max"), found.values, strict=True)),
                    **dict(zip(("residual_min", "residual_max"), found.residuals, strict=True)),
                    "converged": found.converged,
                    "products": found.products,
                }

    parameters = "all" if arguments.all_parameters else "of two dimensions or more"
    experiment(
        curvatures,
        grid(x, y),
        arguments,
        comm,
        label="points",
        kind="curvature",
        dims=("x",) if y is None else ("y", "x"),
        coordinates={"x": x} if y is None else {"y": y, "x": x},
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
