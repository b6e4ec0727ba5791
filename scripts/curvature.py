#!/usr/bin/env python3
"""Measure the Hessian of a trained network: the ends of its spectrum on a plane, or its spectrum at the checkpoint.

    mpiexec -n 4 python -m mpi4py scripts/curvature.py resnet.pt curvature.h5 --x -1 1 11 --y -1 1 11 --seed 0
    python scripts/curvature.py resnet.pt top.h5 --top 10
    mpiexec -n 4 python -m mpi4py scripts/curvature.py resnet.pt trace.h5 --trace 90
    mpiexec -n 4 python -m mpi4py scripts/curvature.py resnet.pt density.h5 --density 10

Where a surface looks convex, |λ_min/λ_max| says what the other directions do (Li et al. 2018, §6). The plane is
that of surface.py with the same options, and so are the points' losses. One Lanczos run finds both ends at
each point; their residuals, and whether they have converged, are in the file. --top also saves the
eigenvectors, as directions for surface.py --along. Trace and density are estimates from random probes, and
say how good they are. Interrupted, the same command goes on where it stopped; finished, it does nothing.
On processors each rank computes with one thread, for the same results to the bit: start as many ranks as cores.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

from landscape import filters
from landscape.axes import axes_of
from landscape.command import Parser, run, say
from landscape.curvature import NotFinite, eigenpairs, hessian
from landscape.density import moment, quadrature, smoothed
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.lanczos import Ends, ends
from landscape.losses import in_units
from landscape.ranks import agreed
from landscape.saved import save
from landscape.span import options as span_options
from landscape.span import span
from landscape.spectrum import CURVATURE, DENSITY, EIGENVALUES, TRACE, UNIT, convexity, ratio
from landscape.subject import options, subject
from landscape.trace import budget, estimate, probe, sketch_of
from landscape.window import window

# What is to be measured, and which of this command's own options it takes.
MODES = {
    "plane": {"precision", "steps"},
    "top": {"end", "directions", "precision"},
    "trace": set(),
    "density": {"steps"},
}


def parser() -> Parser:
    p = Parser(prog="curvature.py", description=__doc__)
    options(p, split="train")
    span_options(p, points=11)
    g = p.add_argument_group("at the checkpoint, instead of on a plane")
    one = g.add_mutually_exclusive_group()
    one.add_argument("--top", type=int, metavar="K", help="so many eigenvalues, and their directions, on one process")
    one.add_argument("--trace", type=int, metavar="PRODUCTS", help="by Hutch++, from so many products with the Hessian")
    one.add_argument("--density", type=int, metavar="PROBES", help="of the eigenvalues, by Lanczos from random vectors")
    g.add_argument("--end", choices=["largest", "smallest", "magnitude"], default="largest", help="which --top means")
    g.add_argument("--directions", type=Path, metavar="TOP.pt", help="of --top; by default OUT.directions.pt")
    g = p.add_argument_group("the Hessian")
    g.add_argument("--all-parameters", action="store_true", help="not only those with filters, which planes move")
    g.add_argument(
        "--precision",
        type=float,
        default=1e-3,
        help="of the eigenvalues' residuals, as a part of the largest |λ|; with --top of each |λ|",
    )
    g.add_argument("--steps", type=int, default=100, help="products with the Hessian at a point or a probe, at most")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        mode = next((name for name in MODES if getattr(arguments, name, None) is not None), "plane")
        check(arguments, mode)
        it = subject(arguments, comm)
        which_of(arguments, it)
        if it.device.type == "cpu":
            torch.set_num_threads(1)  # several sum the weights' gradients in an order that depends on their number
        if mode != "plane" and not arguments.out.exists():
            check_finite(hessian_of(arguments, it))  # before there is a file; what it keeps goes at once
    say(comm, *filters.notes(it.network, arguments, one_dimensional=arguments.all_parameters))
    told = {"hessian_parameters": "all" if arguments.all_parameters else filters.with_filters(it.network)}
    told |= filters.naming(arguments.parameters)
    {"plane": on_plane, "top": top, "trace": trace, "density": density}[mode](arguments, comm, it, told)


def hessian_of(arguments, it) -> LinearOperator:
    """The Hessian at the weights of the moment."""
    return hessian(it.network, it.batches, it.loss, which_of(arguments, it), keep=True)


def which_of(arguments, it) -> filters.Which | None:
    """The parameters that the Hessian is of."""
    return filters.selected(it.network, arguments.parameters, filters=not arguments.all_parameters)


def check_finite(operator: LinearOperator) -> None:
    """Take one product, which raises `NotFinite` where there is none."""
    operator.matvec(np.ones(operator.shape[0]))


def check(arguments, mode: str) -> None:
    """Refuse options that have no meaning here."""
    if arguments.dtype != "float32" or arguments.tolerance is not None:
        raise BadInput("the Hessian is taken in float32 over all examples; leave out --dtype and --tolerance")
    if not (0 < arguments.precision < 1 and arguments.steps > 0):
        raise BadInput("--precision is between 0 and 1, --steps 1 or more")
    of_planes = Parser()
    span_options(of_planes, points=11)
    foreign = set().union(*MODES.values()) - MODES[mode]
    if mode != "plane":
        foreign |= vars(of_planes.parse_args([])).keys() - {"parameters"}
    if given := sorted(name for name in foreign if getattr(arguments, name) != parser().get_default(name)):
        where = "a plane" if mode == "plane" else f"--{mode}, which measures at the checkpoint itself"
        raise BadInput(f"--{given[0].replace('_', '-')} does not go with {where}; leave it out")
    if arguments.batchnorm in ("batch", "recalibrated"):
        raise BadInput(
            f"with --batchnorm {arguments.batchnorm} the statistics follow the weights, and the Hessian would not; "
            "use frozen or interpolated"
        )
    if mode == "plane":
        axes_of(arguments)  # what is wrong with them is said before anything is loaded


def on_plane(arguments, comm, it, told) -> None:
    """Both ends of the spectrum at every point of a plane."""
    with agreed(comm):
        plane = span(arguments, it)
    ranges = window(arguments, it, plane, comm)
    axes = axes_of(arguments)

    def curvatures(points):
        for point in points:
            with plane.at(it.network, point):
                try:
                    found = ends(hessian_of(arguments, it), arguments.precision, arguments.steps, arguments.seed)
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

    how = {"precision": arguments.precision, "steps": arguments.steps}
    table = experiment(
        curvatures,
        axes.points,
        arguments,
        comm,
        label="points",
        kind="curvature",
        dims=axes.dims,
        coordinates=axes.coordinates,
        measured=it.variables | in_units(CURVATURE, it.settings["loss"]),
        attributes={**it.settings, **plane.settings, **ranges, **told, **how},
    )
    if table and axes.dims == ("y", "x"):
        v = table.values
        ratios = np.where(v["converged"], ratio(v["lambda_min"], v["lambda_max"]), np.nan)
        say(comm, *comparison(v["loss"], ratios, **axes.coordinates))
    if table and (lost := (~table.values["converged"]).sum()):
        say(comm, f"{lost} points did not converge within {arguments.steps} products; --steps takes more")


def comparison(loss, ratios, x, y) -> list[str]:
    """Where the picture looks convex, what does the ratio say?"""
    found = convexity(loss, ratios, x, y)
    if not found.points:
        return []
    lines = [f"the slice is convex at {100 * found.share:.0f} % of its {found.points} inner points"]
    for where, part in (("there", found.there), ("elsewhere", found.elsewhere)):
        if part.number:
            lines.append(
                f"|λmin/λmax| {where}: median {part.median:.3g}, at most {part.most:.3g} ({part.number} points)"
            )
    return lines


def top(arguments, comm, it, told) -> None:
    """The outermost eigenvalues, with their directions."""
    n, path = hessian_of(arguments, it).shape[0], arguments.directions or arguments.out.with_suffix(".directions.pt")
    with agreed(comm):
        if comm.size > 1:
            raise BadInput("--top runs on one process; start it without mpiexec")
        if not 1 <= arguments.top < n:
            raise BadInput(f"--top {arguments.top} of {n} parameters; ask for 1 to {n - 1}")
        if not path.parent.is_dir():
            raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")

    @cache
    def found():
        # Half of the precision, since the residuals themselves decide in the end.
        how = {"end": arguments.end, "tolerance": arguments.precision / 2, "seed": arguments.seed}
        pairs = eigenpairs(it.network, it.batches, arguments.top, it.loss, which_of(arguments, it), **how)
        good = pairs.residuals <= arguments.precision * np.abs(pairs.values)
        if good.any() and not arguments.dry_run:
            save([direction for direction, is_good in zip(pairs.directions, good, strict=True) if is_good], path)
        return pairs.values[good], pairs.residuals[good], pairs.products

    def rows(points):
        values, residuals, products = found()
        for (number,) in points:
            known = number < len(values)
            yield {
                "eigenvalue": values[number] if known else np.nan,
                "residual": residuals[number] if known else np.nan,
                "converged": known,
                "products": products,
            }

    table = experiment(
        rows,
        np.arange(arguments.top)[:, None],
        arguments,
        comm,
        label="eigenpairs",
        kind="eigenvalues",
        dims=("eigenpair",),
        coordinates={"eigenpair": np.arange(1, arguments.top + 1)},
        measured=in_units(EIGENVALUES, it.settings["loss"]),
        attributes={**it.settings, **told, "parameters": n, "end": arguments.end, "precision": arguments.precision},
    )
    if table is None:
        return
    good = table.values["converged"]
    if good.any() and not path.is_file():
        found()
    if not good.all():
        say(comm, f"{(~good).sum()} of {len(good)} did not converge; a larger --precision lets them")
    if good.any():
        values = ", ".join(f"{value:.4g}" for value in table.values["eigenvalue"][good])
        say(comm, f"λ = {values} {UNIT}", f"their directions are in {path}")


def trace(arguments, comm, it, told) -> None:
    """The sum of all eigenvalues."""
    operator = hessian_of(arguments, it)
    with agreed(comm):
        size, probes = budget(arguments.trace)

    @cache
    def sketch():  # by each rank for itself, and only where there are probes to take
        return sketch_of(operator, size, arguments.seed)

    def rows(points):
        for (number,) in points:
            yield {"trace": probe(operator, sketch(), (arguments.seed, number))}

    table = experiment(
        rows,
        np.arange(probes)[:, None],
        arguments,
        comm,
        label="probes",
        kind="trace",
        dims=("probe",),
        coordinates={"probe": np.arange(probes)},
        measured=in_units(TRACE, it.settings["loss"]),
        attributes={**it.settings, **told, "parameters": operator.shape[0], "sketch": size},
    )
    if table:
        say(comm, f"trace {within(estimate(table.values['trace']))}")


def density(arguments, comm, it, told) -> None:
    """How the eigenvalues are distributed."""
    operator = hessian_of(arguments, it)
    n, probes = operator.shape[0], arguments.density
    with agreed(comm):
        if probes < 2:
            raise BadInput(f"--density is {probes}; give 2 probes or more, which their scatter is known from")

    def rows(points):
        for (number,) in points:
            yield dict(zip(DENSITY, quadrature(operator, arguments.steps, (arguments.seed, number)), strict=True))

    table = experiment(
        rows,
        np.arange(probes)[:, None],
        arguments,
        comm,
        label="probes",
        kind="density",
        dims=("probe",),
        coordinates={"probe": np.arange(probes), "step": np.arange(min(arguments.steps, n))},
        measured=in_units(DENSITY, it.settings["loss"]),
        attributes={**it.settings, **told, "parameters": n},
    )
    if table:
        nodes = table.values["node"]
        say(comm, f"λ from {nodes.min():.4g} to {nodes.max():.4g} {UNIT}")
        say(comm, f"trace {within(moment(smoothed(nodes, table.values['weight'], n), 1), n)}")


def within(found, times: float = 1) -> str:
    """An estimate, or so many times it, with its interval."""
    low, high = (times * end for end in found.interval)
    return f"{times * found.value:.4g} ± {(high - low) / 2:.2g} {UNIT} (95 %)"


if __name__ == "__main__":
    run(main, parser())
