"""Measure the loss on a plane: what surface.py does once it has a network, data and a loss."""

from __future__ import annotations

import numpy as np
import torch

from landscape import span as spans
from landscape.adaptive import INTERPOLATED, fill, remaining
from landscape.axes import axes_of
from landscape.command import Parser, quietly, say
from landscape.diagnose import diagnose
from landscape.directions import squared_norm
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.filters import notes
from landscape.losses import in_units
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference, sample
from landscape.span import span
from landscape.subject import Subject, compiled, unfused
from landscape.table import read
from landscape.window import window

__all__ = ["check", "options", "surface"]

ADAPTIVE = 0.02  # how far an interpolated loss may be off, unless another part of it is given
PENALTY = {
    "penalty": ("f8", np.nan, {"long_name": "weight decay, λ/2·‖θ‖² over all parameters", "units": "as the loss"}),
    "objective": ("f8", np.nan, {"long_name": "loss and weight decay", "units": "as the loss"}),
}


def options(parser: Parser) -> None:
    """Give a command the options that `surface` reads."""
    spans.options(parser, points=51)
    parser.add_argument(
        "--weight-decay",
        type=float,
        metavar="LAMBDA",
        help="measure λ/2·‖θ‖² too: what a training with this decay minimises is then in `objective`",
    )
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile, once for all points: for a GPU; needs a C++ compiler"
    )
    parser.add_argument(
        "--adaptive",
        nargs="?",
        type=float,
        const=ADAPTIVE,
        metavar="MISS",
        help=f"measure until at least 95 %% of the other points are interpolated to within this part of the loss "
        f"({ADAPTIVE})",
    )
    parser.add_argument(
        "--diagnose", action="store_true", help="measure no surface; tell what is odd about the one in OUT.h5"
    )


def check(arguments) -> None:
    """Refuse options that do not go together, before anything is loaded.

    Raises
    ------
    BadInput
    """
    axes_of(arguments)
    if arguments.weight_decay is not None and not arguments.weight_decay >= 0:
        raise BadInput(f"--weight-decay is {arguments.weight_decay}; give 0 or more")
    if arguments.adaptive is True:  # from Python
        arguments.adaptive = ADAPTIVE
    if arguments.adaptive is None or arguments.adaptive is False:
        arguments.adaptive = None
        return
    if not 0 < arguments.adaptive < 1:
        raise BadInput(f"--adaptive is {arguments.adaptive}; give a part of the loss between 0 and 1, like 0.02")
    if arguments.z is not None:
        raise BadInput("--adaptive is for lines and planes; leave it out with --z")
    more = {"--split both": arguments.split == "both", "several losses": len(arguments.loss or ()) > 1}
    more["--weight-decay"] = arguments.weight_decay is not None
    for name, given in more.items():
        if given:
            raise BadInput(f"--adaptive interpolates the loss alone; leave it out with {name}")


def surface(it: Subject, arguments, comm) -> None:
    """Measure a surface into ``arguments.out``; every rank must call it.

    Parameters
    ----------
    it : what is measured
    arguments : of the command, see `options`

    Raises
    ------
    BadInput
        See `landscape.span.span`, `landscape.window.window` and `landscape.table.prepare`.
    """
    with agreed(comm):
        if arguments.batchnorm == "batch":
            it = unfused(it)
        elif arguments.compile:
            it = compiled(it)
        plane = span(arguments, it)
    say(comm, *notes(it.network, arguments, one_dimensional=arguments.move_biases))
    ranges = window(arguments, it, plane, comm)
    axes = axes_of(arguments)
    if arguments.diagnose:
        with agreed(comm):
            if comm.rank == 0:
                say(comm, *diagnose(read(arguments.out), it, plane), asked=True)
        return
    reduced = it.dtype != torch.float32
    checks = sample(axes.shape, arguments.seed) if reduced else np.zeros(0, int)
    checked = {tuple(point) for point in axes.points[checks]}
    decay = arguments.weight_decay

    def losses(points):
        for point in points:
            with plane.at(it.network, point):
                measured = it.measure()
                if decay is not None:
                    penalty = decay / 2 * squared_norm(dict(it.network.named_parameters()))
                    measured |= {"penalty": penalty, "objective": measured["loss"] + penalty}
                if reduced:
                    again = tuple(point) in checked
                    measured["loss_float32"] = it.loss_in_float32(measured["examples"]) if again else np.nan
                yield measured

    how = (arguments.adaptive, arguments.seed, arguments.repeats is not None)

    def choose(table):
        missing = checks[~table.done.flat[checks]]
        rows = np.union1d(missing, remaining(table, *how))
        filled = table.derived["interpolated"]
        if len(rows) and filled.any() and not (filled & table.done).any():
            say(comm, f"{arguments.out} was complete by a rule that let more interpolated points be off; going on")
        filled &= ~table.done
        return rows

    exact = in_units(FLOAT32, it.settings["loss"])
    attributes = {**it.settings, **plane.settings, **ranges}
    if decay is not None:
        attributes["weight_decay"] = decay
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
        measured=it.variables | (PENALTY if decay is not None else {}) | (exact if reduced else {}),
        attributes=attributes,
        **adaptive,
    )
    with quietly(arguments.quiet):
        if table and adaptive:
            say(comm, fill(table, *how))
        if table and reduced:
            say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))
