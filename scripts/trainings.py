#!/usr/bin/env python3
"""Train many small networks and record how well each could be trained: depth, kind of shortcut, seeds.

    mpiexec -n 2 python -m mpi4py scripts/trainings.py degradation.h5 plain resnet --depth 8 20 32 56 --seeds 3
    mpiexec -n 2 python -m mpi4py scripts/trainings.py shortcuts.h5 resnet resnet:shortcut=projection --depth 56

A variant is a network, or a network with arguments: NAME:ARGUMENT=VALUE,ARGUMENT=VALUE, in quotes if there
are parentheses: 'resnet:join=scale,scales=(0.5,1)'. Each row of
the file is one training, on one thread, so that the numbers are those of any number of ranks. One that
diverges is a result: its loss is not finite. Interrupted, the same command goes on where it stopped.

    python scripts/trainings.py degradation.h5 --checkpoints plain-20.pt plain-56.pt resnet-20.pt resnet-56.pt

trains nothing, and puts the errors that finished checkpoints of train.py tell in such a file.
"""

from itertools import product
from pathlib import Path

import numpy as np
import torch

from landscape import checkpoint as checkpoints
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
        "variants", metavar="VARIANT", nargs="*", help="plain, resnet, resnet:order=pre,shortcut=projection, …"
    )
    p.add_argument("--checkpoints", type=Path, nargs="+", metavar="FILE.pt", help="of train.py, in place of variants")
    options(p, epochs=30, data="digits")
    g = p.add_argument_group("how")
    g.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    run_options(g)
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if bool(arguments.variants) == bool(arguments.checkpoints):
            raise BadInput("give variants to train or --checkpoints that are trained already, and not both")
        device = place(comm, arguments.device)
        torch.set_num_threads(1)
        variants, depths, seeds, results, attributes = (told if arguments.checkpoints else trained)(arguments, device)
    experiment(
        results,
        np.arange(len(variants) * len(depths) * len(seeds))[:, None],
        arguments,
        comm,
        label="trainings",
        kind="trainings",
        dims=("variant", "depth", "seed"),
        coordinates={"variant": np.array(variants), "depth": np.array(depths), "seed": np.array(seeds)},
        measured=MEASURED | {"test_" + name: MEASURED[name] for name in ("loss", "accuracy")},
        attributes={
            "network": ", ".join(variants),
            "split": "train",
            "loss": "cross_entropy",
            "device": device.type,
            **attributes,
        },
    )


def trained(arguments, device: torch.device) -> tuple:
    """Variants, depths and seeds; what trains and measures rows of them; and how."""
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
            yield _row(*(measure(it, datasets.batches(split, 500, device)) for split in (training, test)))

    attributes = {
        "data": training.name,
        "recipe": arguments.recipe,
        "epochs": how["epochs"],
        "learning_rate": how["learning_rate"],
        "batch_size": arguments.batch_size,
        "width": arguments.width,
        "data_digest": training.digest,
    }
    return arguments.variants, arguments.depth, range(arguments.seeds), results, attributes


def told(arguments, device: torch.device) -> tuple:
    """The same of finished checkpoints. Where there is none for a variant, depth and seed, a row holds NaN."""
    found, data, how = {}, {}, {}
    for path in arguments.checkpoints:
        it = checkpoints.load(path)
        if not it.final:
            raise BadInput(
                f"{path} does not tell its errors, as a finished checkpoint of train.py does; finish it first"
            )
        own = {n: v for n, v in it.arguments.items() if n not in ("depth", "width", "classes", "channels")}
        name = it.network + (":" + ",".join(f"{n}={v}" for n, v in own.items()) if own else "")
        key = name, it.arguments.get("depth", 0), it.training.get("seed", 0)
        if key in found:
            raise BadInput(f"{path} and {found[key][0]} are both {name} of depth {key[1]}, seed {key[2]}; give one")
        found[key] = path, _row(it.final["train"], it.final["test"])
        data[it.data.get("digest", "unknown")] = path
        for setting in ("recipe", "epochs", "learning_rate", "batch_size"):
            how.setdefault(setting, []).append(it.training.get(setting, "unknown"))
    if len(data) > 1:
        one, other = list(data.values())[:2]
        raise BadInput(f"{one} and {other} were trained on other data; put them in files of their own")
    variants, depths, seeds = (sorted(set(each)) for each in zip(*found, strict=True))
    rows = list(product(variants, depths, seeds))
    nothing = dict.fromkeys([*MEASURED, "test_loss", "test_accuracy"], np.nan) | {"examples": 0}
    attributes = {setting: values[0] if len({*values}) == 1 else "several" for setting, values in how.items()}
    return (
        variants,
        depths,
        seeds,
        lambda points: (found[rows[int(row)]][1] if rows[int(row)] in found else nothing for (row,) in points),
        attributes | {"data": it.data.get("name", "unknown"), "data_digest": it.data.get("digest", "unknown")},
    )


def _row(train: dict, test: dict) -> dict:
    return train | {"test_loss": test["loss"], "test_accuracy": test["accuracy"]}


if __name__ == "__main__":
    run(main, parser())
