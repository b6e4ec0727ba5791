#!/usr/bin/env python3
"""Measure how much of a trained network's gradient comes by paths of each length (Veit et al. 2016, §5).

    mpiexec -n 4 python -m mpi4py scripts/paths.py resnet.pt paths.h5 --examples 64 --draws 1000

Exactly, norm and signed share, in float64; and as it was first estimated, the number of paths times the mean norm
of random ones, in float32, which leaves out that paths cancel. One random path of each length costs as much as all
paths exactly. Interrupted, the same command goes on where it stopped; finished, it does nothing. Without mpiexec it
runs on one process, with the same results to the bit.
"""

from functools import cache

import numpy as np
import torch
from landscape.command import Parser, run, say
from landscape.experiment import experiment
from landscape.subject import options, subject

from ensemble.paths import chain, counts, effective, mean_length
from ensemble.spectrum import products, sampled, spectrum
from landscape.data import stratified_order
from landscape.data.sources import source
from landscape.errors import BadInput
from landscape.ranks import agreed
from landscape.table import read

NAN, SIZE = float("nan"), "nats per unit of activation"
PATHS = {
    "norm": (
        "f8",
        NAN,
        {"long_name": "norm of the gradient by paths of this length, mean over examples", "units": SIZE},
    ),
    "share": ("f8", NAN, {"long_name": "signed share of the gradient, mean over examples", "units": "1"}),
    "sampled_norm": ("f8", NAN, {"long_name": "number of paths times the mean norm of sampled ones", "units": SIZE}),
    "sampled_se": ("f8", NAN, {"long_name": "standard error of sampled_norm over draws", "units": SIZE}),
    "norm_each": ("f8", NAN, {"long_name": "norm, of each example", "units": SIZE}, ("example",)),
    "share_each": ("f8", NAN, {"long_name": "share, of each example", "units": "1"}, ("example",)),
}
PART = 0.95


def parser() -> Parser:
    p = Parser(prog="paths.py", description=__doc__, conflict_handler="resolve")
    options(p, split="test")
    g = p.add_argument_group("the paths")
    # In place of the one among the options: the whole split would tell little more in much more time.
    g.add_argument("--examples", type=int, default=64, help="a stratified subset of so many")
    g.add_argument(
        "--draws", type=int, default=1000, help="random paths of each length, 2 or more; all where fewer exist"
    )
    g.add_argument("--image", action="store_true", help="to the image, not to the input of the first block")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if arguments.dtype != "float32" or arguments.tolerance is not None:
            raise BadInput("gradients have types of their own and take all examples; leave out --dtype and --tolerance")
        if arguments.draws < 2:
            raise BadInput(f"--draws is {arguments.draws}; an error needs 2 or more")
        it = subject(arguments, comm)
        indices = indices_of(arguments, it)
        exact, quick = (chain(it.network, dtype, arguments.image) for dtype in (torch.float64, torch.float32))

    @cache
    def everything():
        """All lengths at once; each rank for itself, since it costs no more than one draw of each."""
        return spectrum(exact, it.batches, it.loss)

    def measured(points):
        norms, shares = everything()
        sloped = norms.any(axis=0)  # an example without any gradient has no shares
        for (length,) in points:
            estimate = sampled(quick, it.batches, int(length), arguments.draws, arguments.seed, it.loss)
            yield {
                "norm": norms[length].mean(),
                "share": shares[length, sloped].mean() if sloped.any() else NAN,
                "sampled_norm": estimate.norm,
                "sampled_se": estimate.se,
                "norm_each": norms[length],
                "share_each": shares[length],
            }

    number = counts(exact.steps)
    lengths = np.arange(len(number))
    table = experiment(
        measured,
        lengths[:, None],
        arguments,
        comm,
        label="lengths",
        kind="paths",
        dims=("length",),
        coordinates={"length": lengths, "example": indices},
        given={"paths": (("length",), np.array(number, float))},
        measured=PATHS,
        attributes={
            **it.settings,
            "draws": arguments.draws,
            "gradient_at": "image" if arguments.image else "first block",
        },
    )
    if table:
        say(comm, *told(table.values, number, products(exact.steps)))


def indices_of(arguments, it) -> np.ndarray:
    """Which examples of the split are measured, as numbers in its stored order; int, shape (examples,)."""
    number = sum(len(targets) for _, targets in it.batches)
    if arguments.examples is None:
        return np.arange(number)
    if arguments.out.is_file():
        there = read(arguments.out).coordinates.get("example")
        if np.array_equal(there, np.arange(number)):  # files of version 0.1 have only counted them
            return there
    name = it.checkpoint.data_named(arguments.data, arguments.checkpoint)
    _, parts = source(name, root=arguments.root, size=arguments.size)
    _, targets, *_ = parts(arguments.split)
    return stratified_order(targets, arguments.seed)[:number].numpy()


def told(values, number, cost) -> list[str]:
    """What the spectrum says, in a few lines."""
    norm, share, n = values["norm"], values["share"], len(number) - 1
    lines = [f"the exact spectrum takes {cost} products with a block's Jacobian, {cost / n:.3g} backward passes' worth"]
    if not np.isfinite(share).all():
        return [*lines, "no finite gradient reaches the first block: there is nothing to divide among lengths"]
    off = np.nanmax(abs(values["share_each"].sum(axis=0) - 1))
    first, last = effective(abs(share), PART)
    among = sum(number[first : last + 1]) / sum(number)
    over = np.divide(values["sampled_norm"], norm, out=np.zeros(n + 1), where=norm > 0)
    peak, worst = share.argmax(), over.argmax()
    return [
        f"{lines[0]}; the shares of each example sum to 1 within {off:.1g}",
        f"{100 * PART:.0f} % of the shares, in magnitude, are of lengths {first} to {last} of {n}, "
        f"which {100 * among:.3g} % of all paths have; the mean length is {mean_length(abs(share)):.1f}, the share is "
        f"largest at {peak}",
        f"number times mean norm of paths is {over[peak]:.3g} times the norm of their sum there, "
        f"and at most {over[worst]:.3g} times, at length {worst}",
    ]


if __name__ == "__main__":
    run(main, parser())
