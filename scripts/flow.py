#!/usr/bin/env python3
"""Measure gradients, and what blocks do, from block to block: with and without shortcuts, before training and after.

    mpiexec -n 2 python -m mpi4py scripts/flow.py flow.h5 plain resnet --depth 20 56 --seeds 3 --epochs 30
    python scripts/flow.py flow.h5 --checkpoints plain.pt resnet.pt
    python scripts/figure.py flow.pdf flow.h5
    python scripts/figure.py cosine.pdf flow.h5 --show cosine

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE. Each is measured as it is
initialised and, with --epochs, trained, on the first batches of a stratified order of the training images. A row of the
file is one network at one moment, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result. Interrupted, the same command goes on where it stopped; finished, it does nothing.
"""

import contextlib
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from landscape.command import Parser, run
from landscape.experiment import experiment
from landscape.experiment import options as run_options

from ensemble.flow import BATCHNORM, stages
from ensemble.profile import JACOBIANS, PROFILE, QUANTILES, profile
from landscape import data as datasets
from landscape.arguments import standardisation
from landscape.checkpoint import Checkpoint
from landscape.errors import BadInput
from landscape.fit import check_fit
from landscape.place import place
from landscape.ranks import agreed
from landscape.training import train
from landscape.variants import options, recipe, trained_here, variant


class Row(NamedTuple):
    variant: str
    depth: int
    seed: int
    moment: str  # initial, trained


def parser() -> Parser:
    p = Parser(prog="flow.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    p.add_argument("variants", metavar="VARIANT", nargs="*", help="plain, resnet, resnet:order=pre,norm=none, …")
    p.add_argument("--checkpoints", metavar="CHECKPOINT", type=Path, nargs="+", default=[], help="of train.py")
    options(p, epochs=0, data=None)  # without epochs nothing is trained; without data they are the checkpoints' own
    g = p.add_argument_group("what is measured")
    g.add_argument("--batches", type=int, default=4, help="so many batches of training images")
    g.add_argument(
        "--batchnorm",
        choices=BATCHNORM,
        default="batch",
        help="statistics of each batch, as in training, for gradients (all else: recalibrated); of all batches; stored",
    )
    g.add_argument("--jacobians", action="store_true", help="also the extreme singular values of the blocks' Jacobians")
    g = p.add_argument_group("how")
    g.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    run_options(g)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        device = place(comm, arguments.device)
        torch.set_num_threads(1)
        if min(arguments.seeds, arguments.batch_size, arguments.batches) < 1 or arguments.epochs < 0:
            raise BadInput("--seeds, --batch-size and --batches must be 1 or more, --epochs 0 or more")
        trained = {path.stem: trained_here(path) for path in arguments.checkpoints}
        names = [trained[path.stem].data_named(arguments.data, path) for path in arguments.checkpoints]
        name = names[0] if names else arguments.data or "digits"
        how = {"root": arguments.root, "examples": arguments.examples}
        training, test = datasets.load_for_training(name, **how, **standardisation(arguments, recorded(trained)))
        rows = planned(arguments, trained)

        def untrained(row):
            torch.manual_seed(row.seed)
            return variant(row.variant, row.depth, arguments.width, training)

        # a mistake in the last network shows now, not in the morning
        boundaries = []
        for row in rows:
            network = trained[row.variant].restore() if row.variant in trained else untrained(row)
            check_fit(row.variant, network, training)
            boundaries.append(len(stages(network)) + 1)
        batches = batches_of(training, arguments.batches, arguments.batch_size, device)
    how = recipe(arguments)

    def profiles(points):
        for (number,) in points:
            row = rows[int(number)]
            if row.variant in trained:
                network = trained[row.variant].restore().to(device, memory_format=torch.channels_last)
            else:
                network = untrained(row).to(device, memory_format=torch.channels_last)
                if row.moment == "trained":
                    with contextlib.suppress(BadInput):  # diverged: what there is now is measured
                        for _ in train(network, training, test, **how, seed=row.seed, device=device):
                            pass
            yield profile(
                network, batches, max(boundaries), batchnorm=arguments.batchnorm, jacobians=arguments.jacobians
            )

    every = np.arange(max(boundaries))
    columns = zip(Row._fields, zip(*rows, strict=True), strict=True)
    experiment(
        profiles,
        np.arange(len(rows))[:, None],
        arguments,
        comm,
        label="networks",
        kind="flow",
        dims=("network",),
        coordinates={"network": np.arange(len(rows)), "boundary": every, "other": every, "quantile": QUANTILES},
        given={name: (("network",), np.array(values)) for name, values in columns}
        | {"boundaries": (("network",), np.array(boundaries))},
        measured=PROFILE | (JACOBIANS if arguments.jacobians else {}),
        attributes={
            "network": ", ".join(dict.fromkeys(row.variant for row in rows)),
            "data": training.name,
            "inputs": training.inputs,
            "split": "train",
            "loss": "cross_entropy",
            "batchnorm": arguments.batchnorm,
            "batches": arguments.batches,
            "batch_size": arguments.batch_size,
            "recipe": arguments.recipe,
            "epochs": how["epochs"],
            "learning_rate": how["learning_rate"],
            "width": arguments.width,
            "device": device.type,
            "checkpoint": " ".join(c.sha256 for c in trained.values()),
            "data_digest": training.digest,
        },
    )


def recorded(trained: dict[str, Checkpoint]) -> dict:
    """What the checkpoints have recorded of their inputs.

    Raises
    ------
    BadInput
        They differ.
    """
    found = {name: {n: tuple(c.data[n]) for n in ("mean", "std") if n in c.data} for name, c in trained.items()}
    first, *others = found or [None]
    for other in others:
        if found[other] != found[first]:
            raise BadInput(f"{first} and {other} were trained on inputs standardised otherwise; measure them apart")
    return found.get(first, {})


def planned(arguments, trained) -> list[Row]:
    """One row for each network and moment."""
    for words in (arguments.variants, arguments.depth, [path.stem for path in arguments.checkpoints]):
        if len(set(words)) < len(words):
            raise BadInput(f"{' '.join(map(str, words))}: one is there twice; give each once")
    if both := trained.keys() & set(arguments.variants):
        raise BadInput(f"{min(both)} is a variant and a checkpoint; rename the file")
    moments = ("initial", "trained") if arguments.epochs else ("initial",)
    rows = [Row(*row) for row in product(arguments.variants, arguments.depth, range(arguments.seeds), moments)]
    for name, found in trained.items():
        rows.append(Row(name, found.arguments.get("depth", 0), found.training.get("seed", 0), "trained"))
    if not rows:
        raise BadInput("there is nothing to measure; give variants, like plain resnet, or --checkpoints")
    return rows


def batches_of(data, number: int, size: int, device) -> list:
    """The first batches of a stratified order, all of one size."""
    if size < 4:
        raise BadInput(f"--batch-size is {size}; give 4 or more, which similarities need")
    if number * size > len(data.labels):
        raise BadInput(
            f"{len(data.labels)} training images are no {number} batches of {size}; "
            "give fewer --batches, or a smaller --batch-size"
        )
    order = datasets.stratified_order(data.labels, 0)[: number * size]
    inputs, targets = data.images[order].to(device), data.labels[order].to(device)
    return list(zip(inputs.split(size), targets.split(size), strict=True))


if __name__ == "__main__":
    run(main, parser())
