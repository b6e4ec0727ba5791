#!/usr/bin/env python3
"""Train many small networks and record how well each could be trained: depth, kind of shortcut, seeds.

    mpiexec -n 2 python -m mpi4py scripts/trainings.py degradation.h5 plain resnet --depth 8 20 32 56 --seeds 3
    mpiexec -n 2 python -m mpi4py scripts/trainings.py shortcuts.h5 resnet resnet:shortcut=projection --depth 56

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE, in quotes if there
are parentheses: 'resnet:join=scale,scales=(0.5,1)'. Each row of
the file is one training, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result: its loss is not finite. Interrupted, the same command goes on where it stopped.
"""

from itertools import product
from pathlib import Path

import numpy as np
import torch

from landscape import data as datasets
from landscape.command import Parser, run
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.experiment import options as run_options
from landscape.fit import check_fit
from landscape.measure import measure
from landscape.place import place
from landscape.ranks import agreed
from landscape.table import MEASURED
from landscape.training import train
from landscape.variants import options, recipe, variant


def parser() -> Parser:
    p = Parser(prog="trainings.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    p.add_argument(
        "variants", metavar="VARIANT", nargs="+", help="plain, resnet, resnet:order=pre,shortcut=projection, …"
    )
    options(p, epochs=30, data="digits")
    g = p.add_argument_group("how")
    g.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    run_options(g)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        device = place(comm, arguments.device)
        torch.set_num_threads(1)
        if min(arguments.seeds, arguments.epochs, arguments.batch_size) < 1:
            raise BadInput("--seeds, --epochs and --batch-size must be 1 or more")
        training = datasets.load(arguments.data, "train", root=arguments.root, examples=arguments.examples)
        test = datasets.load(arguments.data, "test", root=arguments.root, mean=training.mean, std=training.std)
        for words in (arguments.variants, arguments.depth):
            if len(set(words)) < len(words):
                raise BadInput(f"{' '.join(map(str, words))}: one is there twice; give each once")
        rows = list(product(arguments.variants, arguments.depth, range(arguments.seeds)))
        for name, depth in product(arguments.variants, arguments.depth):
            # a mistake in the last variant shows now, not in the morning
            check_fit(name, variant(name, depth, arguments.width, training), training)
    how = recipe(arguments)

    def results(points):
        for (row,) in points:
            name, depth, seed = rows[int(row)]
            torch.manual_seed(seed)
            it = variant(name, depth, arguments.width, training).to(device, memory_format=torch.channels_last)
            run = train(it, training, test, **how, seed=seed, device=device)
            try:
                for _ in run:
                    pass
            except BadInput:  # diverged: what there is now is measured
                pass
            on_train, on_test = (measure(it, datasets.batches(split, 500, device)) for split in (training, test))
            yield on_train | {"test_loss": on_test["loss"], "test_accuracy": on_test["accuracy"]}

    experiment(
        results,
        np.arange(len(rows))[:, None],
        arguments,
        comm,
        label="trainings",
        kind="trainings",
        dims=("variant", "depth", "seed"),
        coordinates={
            "variant": np.array(arguments.variants),
            "depth": np.array(arguments.depth),
            "seed": np.arange(arguments.seeds),
        },
        measured=MEASURED | {"test_" + name: MEASURED[name] for name in ("loss", "accuracy")},
        attributes={
            "network": ", ".join(arguments.variants),
            "data": training.name,
            "split": "train",
            "loss": "cross_entropy",
            "recipe": arguments.recipe,
            "epochs": how["epochs"],
            "learning_rate": how["learning_rate"],
            "batch_size": arguments.batch_size,
            "width": arguments.width,
            "device": device.type,
            "data_digest": training.digest,
        },
    )


if __name__ == "__main__":
    run(main, parser())
