#!/usr/bin/env python3
"""Delete residual blocks of a trained network and measure what is left (Veit et al. 2016).

    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt single.h5 --delete 1
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt random.h5 --delete 1 20 --trials 100 --seed 0
    mpiexec -n 4 python -m mpi4py scripts/lesion.py resnet.pt swaps.h5 --swap 1 10 --trials 100 --seed 0

The first deletes every block, one at a time; the second k = 1 … 20 blocks at random, 100 times each; the third
lets blocks trade places. Blocks are also permuted, reversed, applied twice, run side by side, replaced by their mean
output or by that for another example, and multiplied by α, from 0 (deleted) to 1 (intact). Networks are ours, those
of torchvision, timm and Hugging Face, or any with --blocks.
Trial 0 is the intact network. Interrupted, the same command goes on where it stopped; finished, it
does nothing. Without mpiexec it runs on one process, with the same results to the bit.
"""

import numpy as np
import torch

from ensemble import interaction, shapley
from ensemble.blocks import blocks
from ensemble.damage import damages, walkable
from ensemble.paired import RISE
from ensemble.study import Study, study
from ensemble.study import options as study_options
from landscape.command import Parser, run, say
from landscape.experiment import experiment
from landscape.imported import imported
from landscape.place import room
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference
from landscape.statistics import norms_of
from landscape.subject import Subject, options, subject, unfused
from landscape.table import MEASURED, read


def parser() -> Parser:
    p = Parser(prog="lesion.py", description=__doc__)
    options(p, split="test")
    study_options(p)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        described = imported(arguments.blocks) if arguments.blocks else None
        it = subject(arguments, comm)
        found = blocks(it.network, described, arguments.layers)
        asked = study(arguments, it.network, found, it.batches[0][0][:3])
        calibration = calibration_of(arguments, it)
    if not walkable(it, found, asked.plan, calibration):
        it = unfused(it)
    with agreed(comm):
        function, order = damages(it, found, asked.plan, room(comm, it.device), calibration, bool(asked.measured))
    reduced = it.dtype != torch.float32
    settings = {**it.settings, **asked.settings, "batchnorm": arguments.batchnorm}
    if calibration is not None:
        settings["calibration"] = sum(map(len, calibration))
    if arguments.shapley is None:
        derived, choose = {}, lambda table: order[~table.done.flat[order]]
    else:
        derived, choose = {"derived": shapley.SPARED}, in_orders(asked, order, arguments.precision)

    table = experiment(
        function,
        asked.plan,
        arguments,
        comm,
        label="trials" if asked.kind == "lesion" else "points",
        choose=choose,
        kind=asked.kind,
        dims=asked.dims,
        coordinates=asked.coordinates,
        given=asked.given,
        measured=MEASURED | RISE | asked.measured | (FLOAT32 if reduced else {}),
        attributes=settings,
        **derived,
    )
    if table and derived:
        table.derive(spared=~table.done)
        table.flush()
        say(comm, shapley.summary(read(arguments.out)))
    if table and asked.measured:
        say(comm, interaction.summary(read(arguments.out)))
    if table and reduced:
        say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))


def in_orders(asked: Study, order: np.ndarray, precision: float | None):
    """Which trials are measured next where blocks are deleted in random orders, see `ensemble.shapley.remaining`."""
    ways = asked.given["turn"][1].argsort(axis=1)
    places = shapley.places(ways, asked.given["deleted"][1])

    def choose(table):
        payoff = shapley.payoff(table.values["loss"], table.values["accuracy"], table.done)
        rows, _ = shapley.remaining(payoff, table.done, ways, places, precision)
        return order[np.isin(order, rows)]

    return choose


def calibration_of(arguments, it: Subject) -> list[torch.Tensor] | None:
    """Batches that statistics are measured on anew; None if they are kept."""
    if arguments.batchnorm == "frozen":
        return None
    norms_of(it.network)  # there must be some
    number = arguments.calibration
    if number is None:
        number = min(1024, sum(len(targets) for _, targets in it.batches))
    return it.calibration(number)


if __name__ == "__main__":
    run(main, parser())
