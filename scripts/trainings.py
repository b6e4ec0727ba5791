#!/usr/bin/env python3
"""Train many small networks and record how well each could be trained: depth, kind of shortcut, seeds.

    mpiexec -n 2 python -m mpi4py scripts/trainings.py degradation.h5 plain resnet --depth 8 20 32 56 --seeds 3
    mpiexec -n 2 python -m mpi4py scripts/trainings.py shortcuts.h5 resnet resnet:shortcut=projection --depth 56

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE, in quotes if there
are parentheses: 'resnet:join=scale,scales=(0.5,1)'. Each row of
the file is one training, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result: its loss is not finite. Interrupted, the same command goes on where it stopped.
"""

import re
from itertools import product
from pathlib import Path

import numpy as np
import torch

from landscape import data as datasets
from landscape.arguments import parsed
from landscape.command import Parser, run
from landscape.errors import BadInput
from landscape.experiment import experiment
from landscape.fit import check_fit
from landscape.measure import measure
from landscape.networks import build
from landscape.place import place
from landscape.ranks import agreed
from landscape.table import MEASURED
from landscape.training import RECIPES, train


def parser() -> Parser:
    p = Parser(prog="trainings.py", description=__doc__)
    p.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    p.add_argument(
        "variants", metavar="VARIANT", nargs="+", help="plain, resnet, resnet:order=pre,shortcut=projection, …"
    )
    g = p.add_argument_group("networks and data")
    g.add_argument("--depth", type=int, nargs="+", default=[20], help="weight layers")
    g.add_argument("--width", type=int, default=16, help="channels of the first stage")
    g.add_argument("--seeds", type=int, default=3, help="trainings of each network: seeds 0, 1, …")
    g.add_argument("--data", default="digits", help="as for train.py")
    g.add_argument("--root", type=Path, help="where torchvision's data lie")
    g.add_argument("--examples", type=int, help="train on a stratified subset of so many")
    g = p.add_argument_group("training")
    g.add_argument("--recipe", choices=RECIPES, default="fast", help="schedule, learning rate and weight decay")
    g.add_argument("--epochs", type=int, default=30)
    g.add_argument("--learning-rate", type=float, help="by default the recipe's")
    g.add_argument("--batch-size", type=int, default=128, help="examples a step")
    g = p.add_argument_group("how")
    g.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    g.add_argument("--quiet", action="store_true", help="no progress")
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
        for variant, depth in product(arguments.variants, arguments.depth):
            # a mistake in the last variant shows now, not in the morning
            check_fit(variant, network(variant, depth, arguments.width, training), training)
    recipe = dict(RECIPES[arguments.recipe], epochs=arguments.epochs)
    if arguments.learning_rate is not None:
        recipe["learning_rate"] = arguments.learning_rate

    def results(points):
        for (row,) in points:
            variant, depth, seed = rows[int(row)]
            torch.manual_seed(seed)
            it = network(variant, depth, arguments.width, training).to(device, memory_format=torch.channels_last)
            run = train(it, training, test, **recipe, seed=seed, batch_size=arguments.batch_size, device=device)
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
            "epochs": recipe["epochs"],
            "learning_rate": recipe["learning_rate"],
            "batch_size": arguments.batch_size,
            "width": arguments.width,
            "device": device.type,
            "data_digest": training.digest,
        },
    )


def network(variant: str, depth: int, width: int, data) -> torch.nn.Module:
    """The network that a variant names: "resnet:order=pre" at a depth, for these data."""
    name, _, more = variant.partition(":")
    given = parsed(re.split(r",(?![^(\[]*[)\]])", more)) if more else {}  # not at the comma of (0.5, 1)
    shape = {"depth": depth, "width": width, "classes": data.classes, "channels": data.images.shape[1]}
    return build(name, **{**shape, **given})


if __name__ == "__main__":
    run(main, parser())
