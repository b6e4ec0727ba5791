"""Measure the trials of a lesion study: what lesion.py does once it has a network, data and a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from ensemble import interaction, shapley
from ensemble.blocks import blocks
from ensemble.damage import damages, walkable
from ensemble.paired import RISE
from ensemble.study import Study, drawn, study
from landscape.command import quietly, say
from landscape.experiment import experiment
from landscape.losses import in_units
from landscape.nested import Nested, take
from landscape.place import room
from landscape.ranks import agreed
from landscape.reduced import FLOAT32, difference
from landscape.statistics import norms_of
from landscape.subject import Subject, unfused
from landscape.table import read

__all__ = ["lesions"]


def lesions(it: Subject, described: Callable[[nn.Module], Mapping] | None, arguments, comm) -> None:
    """Measure a lesion study into ``arguments.out``; every rank must call it.

    Parameters
    ----------
    it : what is lesioned
    described : says where the branches of a network end that is not known, see `ensemble.blocks.blocks`
    arguments : of the command, see `ensemble.study.options`

    Raises
    ------
    BadInput
        See `ensemble.study.study` and `landscape.table.prepare`.
    """
    before = comm.bcast(drawn(arguments.out) if comm.rank == 0 and arguments.trials else {})
    with agreed(comm):
        found = blocks(it.network, described, arguments.layers)
        asked = study(arguments, it.network, found, take(it.batches[0][0], slice(3)), before)
        calibration = _calibration(arguments, it)
    if not walkable(it, found, asked.plan, calibration):
        it = unfused(it)
    with agreed(comm):
        function, order = damages(it, found, asked.plan, room(comm, it.device), calibration, bool(asked.measured))
    reduced = it.dtype != torch.float32
    measured = it.variables | in_units(RISE | asked.measured, it.settings["loss"])
    if it.accuracy is None:
        measured = {name: kind for name, kind in measured.items() if not name.startswith("error_")}
    settings = {**it.settings, **asked.settings, "batchnorm": arguments.batchnorm}
    if calibration is not None:
        settings["calibration"] = sum(map(len, calibration))
    if arguments.shapley is None:
        derived, choose = {}, lambda table: order[~table.done.flat[order]]
    else:
        derived, choose = {"derived": shapley.SPARED}, _in_orders(asked, order, arguments.precision)
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
        measured=measured | (in_units(FLOAT32, it.settings["loss"]) if reduced else {}),
        attributes=settings,
        **derived,
    )
    with quietly(arguments.quiet):
        if table and derived:
            table.derive(spared=~table.done)
            table.flush()
            say(comm, shapley.summary(read(arguments.out)))
        if table and asked.measured:
            say(comm, interaction.summary(read(arguments.out)))
        if table and reduced:
            say(comm, difference(it.settings["dtype"], table.values["loss"], table.values["loss_float32"]))


def _in_orders(asked: Study, order: np.ndarray, precision: float | None) -> Callable:
    """Which trials are measured next where blocks are deleted in random orders, see `ensemble.shapley.remaining`."""
    ways = asked.given["turn"][1].argsort(axis=1)
    places = shapley.places(ways, asked.given["deleted"][1])

    def choose(table):
        payoff = shapley.payoff(table.values["loss"], table.values.get("accuracy"), table.done)
        rows, _ = shapley.remaining(payoff, table.done, ways, places, precision)
        return order[np.isin(order, rows)]

    return choose


def _calibration(arguments, it: Subject) -> list[Nested] | None:
    """Batches that statistics are measured on anew; None if they are kept."""
    if arguments.batchnorm == "frozen":
        return None
    norms_of(it.network)  # there must be some
    return it.calibration(arguments.calibration)
