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
from landscape.command import Parser, run
from landscape.experiment import experiment
from landscape.experiment import options as run_options

from landscape import data as datasets
from landscape.arguments import standardisation
from landscape.errors import BadInput
from landscape.fit import check_fit
from landscape.measure import measure
from landscape.place import place
from landscape.ranks import agreed
from landscape.table import MEASURED
from landscape.training import train
from landscape.variants import options, recipe, trained_here, variant

ABSENT = {"spared": ("?", False, {"long_name": "whether there is no such checkpoint"})}
# Options that say what to train.
OF_VARIANTS = ("depth", "width", "seeds", "data", "root", "examples")
OF_VARIANTS += ("epochs", "recipe", "learning_rate", "batch_size")


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
        plan = (told if arguments.checkpoints else trained)(arguments, device)
        variants, depths, seeds, there, results, attributes = plan
    table = experiment(
        results,
        np.arange(len(variants) * len(depths) * len(seeds))[:, None],
        arguments,
        comm,
        label="rows" if arguments.checkpoints else "trainings",
        kind="trainings",
        dims=("variant", "depth", "seed"),
        coordinates={"variant": np.array(variants), "depth": np.array(depths), "seed": np.array(seeds)},
        measured=MEASURED | {"test_" + name: MEASURED[name] for name in ("loss", "accuracy")},
        choose=lambda table: np.intersect1d(table.remaining(), there),
        derived=ABSENT if arguments.checkpoints else None,
        attributes={
            "network": ", ".join(variants),
            "split": "train",
            "loss": "cross_entropy",
            "device": device.type,
            **attributes,
        },
    )
    if table and arguments.checkpoints:
        table.derive(spared=~table.done)
        table.flush()


def trained(arguments, device: torch.device) -> tuple:
    """Variants, depths and seeds; which rows of them there are; what trains and measures these; and how."""
    if min(arguments.seeds, arguments.epochs, arguments.batch_size) < 1:
        raise BadInput("--seeds, --epochs and --batch-size must be 1 or more")
    how = {"root": arguments.root, "examples": arguments.examples, **standardisation(arguments)}
    training, test = datasets.load_for_training(arguments.data, **how)
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
        "inputs": training.inputs,
        "recipe": arguments.recipe,
        "epochs": how["epochs"],
        "learning_rate": how["learning_rate"],
        "batch_size": arguments.batch_size,
        "width": arguments.width,
        "data_digest": training.digest,
    }
    return arguments.variants, arguments.depth, range(arguments.seeds), np.arange(len(rows)), results, attributes


def told(arguments, device: torch.device) -> tuple:
    """The same of finished checkpoints, of which there need not be one for each variant, depth and seed."""
    own = parser()
    for name in OF_VARIANTS:
        if getattr(arguments, name) != own.get_default(name):
            raise BadInput(f"--{name.replace('_', '-')} is for variants, not for --checkpoints; leave it out")
    found, files, settings = {}, {}, {}
    for path in arguments.checkpoints:
        it = trained_here(path)
        if not it.final:
            raise BadInput(
                f"{path} does not tell its errors, as a finished checkpoint of train.py does; finish it first"
            )
        more = {n: v for n, v in it.arguments.items() if n not in ("depth", "width", "classes", "channels")}
        name = it.network + (":" + ",".join(f"{n}={v}" for n, v in more.items()) if more else "")
        depth = it.arguments.get("depth")
        key = name, depth if isinstance(depth, int) else 0, it.training.get("seed", 0)
        if key in found:
            raise BadInput(f"{path} and {files[key]} are both {name} of depth {key[1]}, seed {key[2]}; give one")
        found[key], files[key] = _row(it.final["train"], it.final["test"]), path
        here = {n: str(it.data.get(n, "unknown")) for n in ("name", "digest")}
        here |= {n: str(it.training.get(n, "unknown")) for n in ("recipe", "epochs", "learning_rate", "batch_size")}
        for n, value in (here | {"checkpoint": it.sha256}).items():
            settings.setdefault(n, {})[value] = path
    if len(settings["digest"]) > 1:
        one, other, *_ = settings["digest"].values()
        raise BadInput(f"{one} and {other} were trained on other data; put them in files of their own")
    variants, depths, seeds = (sorted(set(each)) for each in zip(*found, strict=True))
    rows = list(product(variants, depths, seeds))
    there = np.flatnonzero([row in found for row in rows])
    attributes = {n: ", ".join(sorted(values)) for n, values in settings.items()}
    attributes["data"], attributes["data_digest"] = attributes.pop("name"), attributes.pop("digest")
    return variants, depths, seeds, there, lambda points: (found[rows[int(row)]] for (row,) in points), attributes


def _row(train: dict, test: dict) -> dict:
    """What was measured on the training and on the test split; what was not is as before it is measured."""
    row = {name: train.get(name, start) for name, (_, start, _) in MEASURED.items()}
    return row | {"test_" + name: test.get(name, MEASURED[name][1]) for name in ("loss", "accuracy")}


if __name__ == "__main__":
    run(main, parser())
