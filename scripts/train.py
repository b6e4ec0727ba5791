#!/usr/bin/env python3
"""Train a network and save it as a checkpoint that describes itself.

    python scripts/train.py resnet.pt --network resnet --depth 56 --data digits --epochs 30 --seed 0

Killed and started again, it goes on from the last saved epoch; finished, it does nothing.
"""

import time
from argparse import BooleanOptionalAction
from dataclasses import replace
from pathlib import Path

import torch
from landscape.command import Parser, provenance, run, say

from landscape import checkpoint as checkpoints
from landscape import data as datasets
from landscape.arguments import fitted, input_options, parsed, standardisation
from landscape.checkpoint import Checkpoint
from landscape.errors import BadInput
from landscape.fit import check_fit
from landscape.measure import measure
from landscape.networks import build, summary
from landscape.place import place
from landscape.progress import bar
from landscape.ranks import agreed
from landscape.training import RECIPES, train


def parser() -> Parser:
    p = Parser(prog="train.py", description=__doc__)
    p.add_argument("out", metavar="OUT.pt", type=Path, help="the checkpoint to write")
    g = p.add_argument_group("network")
    g.add_argument("--network", default="resnet", help="resnet, plain, densenet, vgg, or package.module:factory")
    g.add_argument("--depth", type=int, help="number of weight layers")
    g.add_argument("--width", type=int, help="channels of the first stage")
    g.add_argument("--argument", nargs="+", default=[], metavar="NAME=VALUE", help="further arguments of the network")
    g = p.add_argument_group("data")
    g.add_argument(
        "--data",
        default="digits",
        help="digits, cifar10, cifar100, fashionmnist, a folder, an .npz file, or package.module:function",
    )
    g.add_argument("--root", type=Path, help="where torchvision's data lie")
    g.add_argument("--size", type=int, help="side, in pixels, that the images of a folder are resized to")
    input_options(g, training=True)
    g.add_argument("--download", action="store_true", help="let torchvision fetch what is missing")
    g.add_argument("--examples", type=int, help="train on so many examples, a seeded stratified subset")
    g.add_argument(
        "--augment",
        action=BooleanOptionalAction,
        help="pad, crop and mirror the images of a batch; off for digits",
    )
    g = p.add_argument_group("training")
    g.add_argument("--recipe", choices=RECIPES, default="fast", help="schedule, learning rate and weight decay")
    g.add_argument("--epochs", type=int, help="by default the recipe's")
    g.add_argument("--seed", type=int, default=0, help="of the initial weights, the order and the crops")
    g.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    g.add_argument("--learning-rate", type=float, help="by default the recipe's")
    g.add_argument("--weight-decay", type=float, help="by default the recipe's")
    g.add_argument("--batch-size", type=int, default=128, help="examples a step")
    g.add_argument("--micro-batch", type=int, default=512, help="examples held at once; a larger batch is accumulated")
    g.add_argument("--warm-up", type=int, default=0, help="first batches at a tenth of the learning rate")
    g.add_argument("--bfloat16", action="store_true", help="compute in mixed precision")
    g.add_argument("--compile", action="store_true", help="torch.compile: pays in trainings of many minutes")
    g.add_argument(
        "--record",
        action="store_true",
        help="on a GPU, record a step once and replay it: a small network trains several times as fast. Not for a "
        "network of your own that decides in Python, batch by batch, what to run",
    )
    g.add_argument(
        "--snapshots", type=Path, metavar="FOLDER", help="also keep a checkpoint of every epoch, and of the beginning"
    )
    p.add_argument("--save-every", type=float, default=10, help="seconds; what an interruption can lose, and an epoch")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if comm.size > 1:
            raise BadInput("training runs on one process; start it without mpiexec")
    if not arguments.out.parent.is_dir():
        raise BadInput(f"output folder {arguments.out.parent} does not exist; mkdir -p {arguments.out.parent}")
    begun = checkpoints.load(arguments.out) if arguments.out.exists() else None
    where = {name: getattr(arguments, name) for name in ("root", "download", "size", "examples", "seed")}
    # A training that has begun goes on with its constants, whatever its version took by default.
    where |= standardisation(arguments, begun.data if begun else None)
    training, test = datasets.load_for_training(arguments.data, **where)
    say(comm, f"inputs of {training.name}: {training.inputs}")
    settings = _settings(arguments, training)
    device = place(comm)

    given = {n: getattr(arguments, n) for n in ("depth", "width") if getattr(arguments, n) is not None}
    built = fitted(arguments.network, given | parsed(arguments.argument), training)
    torch.manual_seed(arguments.seed)
    network = build(arguments.network, **built)
    now = Checkpoint(
        network=arguments.network,
        arguments=built,
        weights={},
        data={n: getattr(training, n) for n in ("name", "classes", "mean", "std", "digest")},
        training={"recipe": arguments.recipe, **settings},
        versions={n: v for n, v in provenance({}).items() if n != "command"},
    )
    if begun:
        _check_same(begun, now, arguments.out)
        if begun.state is None:
            if not begun.final:
                raise BadInput(
                    f"{arguments.out} is a snapshot, from which no training goes on; give another output file"
                )
            say(comm, f"{arguments.out} is trained already: {_errors(begun)}")
            return
        network = begun.restore(arguments.network)
        now.history, now.state = begun.history, begun.state
        say(comm, f"going on from epoch {now.state['epoch']} of {settings['epochs']}")
    check_fit(now.title, network, training)
    say(comm, f"{now.title} on {training.name}")
    if training.images.is_floating_point():
        say(comm, str(summary(network, tuple(training.images.shape[1:]))))
    network = network.to(device, memory_format=torch.channels_last)

    per_epoch = -(-len(training.labels) // arguments.batch_size)
    begun = per_epoch * (now.state["epoch"] if now.state else 0)
    progress = bar(settings["epochs"] * per_epoch, "batches", begun=begun, quiet=arguments.quiet)
    schedule = RECIPES[arguments.recipe]["schedule"]
    run = {**settings, "schedule": schedule, "device": device, "state": now.state, "tick": progress.update}
    run["recorded"] = arguments.record  # no setting of the run: the steps are the same
    saved = time.monotonic()
    if arguments.snapshots:
        arguments.snapshots.mkdir(parents=True, exist_ok=True)
        if now.state is None:  # where the path begins
            start = replace(now, weights=network.state_dict(), history={"epoch": [0]})
            checkpoints.save(start, arguments.snapshots / "epoch-0000.pt")
    try:
        for record, state in train(network, training, test, **run):
            for name, value in record.items():
                now.history.setdefault(name, []).append(value)
            errors = (f"{100 * record[split + '_error']:.1f} % {split}" for split in ("train", "test"))
            progress.set_postfix_str(f"epoch {record['epoch']}, error {', '.join(errors)}", refresh=False)
            now.weights, now.state = network.state_dict(), state
            if arguments.snapshots:
                checkpoints.save(replace(now, state=None), arguments.snapshots / f"epoch-{record['epoch']:04d}.pt")
            if time.monotonic() - saved > arguments.save_every:
                checkpoints.save(now, arguments.out)
                saved = time.monotonic()
    finally:
        progress.close()
    # Of a deep network on processors this takes minutes, in which it should not be silent.
    splits = {"train": datasets.batches(training, 500, device), "test": datasets.batches(test, 500, device)}
    with bar(sum(map(len, splits.values())), "batches measured", quiet=arguments.quiet) as progress:

        def count(*_) -> None:
            progress.update()

        counted = network.register_forward_hook(count)
        for split, batches in splits.items():
            now.final[split] = measure(network, batches)
        counted.remove()
    now.state = None
    checkpoints.save(now, arguments.out)
    say(comm, f"{arguments.out}: {_errors(now)}")


def _settings(arguments, training) -> dict:
    """What `landscape.training.train` is told, from the recipe and what the user changes of it."""
    recipe = {name: value for name, value in RECIPES[arguments.recipe].items() if name != "schedule"}
    given = {name: getattr(arguments, name) for name in ("epochs", "learning_rate", "weight_decay")}
    recipe |= {name: value for name, value in given.items() if value is not None}
    if min(recipe["epochs"], arguments.batch_size, arguments.micro_batch) < 1:
        raise BadInput("--epochs, --batch-size and --micro-batch must be 1 or more")
    images = training.images.ndim == 4
    if arguments.augment and not images:
        raise BadInput(f"--augment is for images, and {training.name} has none; leave it out")
    augmented = images and (training.name != "digits" if arguments.augment is None else arguments.augment)
    return {
        **recipe,
        **{n: getattr(arguments, n) for n in ("seed", "optimizer", "batch_size", "micro_batch", "warm_up", "bfloat16")},
        # 4 pixels for 32 (He et al. 2016 §4.2), in proportion for other sizes
        "pad": max(1, training.images.shape[2] // 8) if augmented else 0,
        "flip": augmented,
        **({"compiled": True} if arguments.compile else {}),
    }


def _errors(c: Checkpoint) -> str:
    train, test = c.final["train"], c.final["test"]
    return (
        f"{c.title}, training error {100 * (1 - train['accuracy']):.2f} % (loss {train['loss']:.4f}), "
        f"test error {100 * (1 - test['accuracy']):.2f} % (loss {test['loss']:.4f})"
    )


def _check_same(begun: Checkpoint, now: Checkpoint, path: Path) -> None:
    """Refuse to go on with another run, and say what is other."""
    for part in ("network", "arguments", "data", "training"):
        there, here = ({part: v} if isinstance(v, str) else v for v in (getattr(begun, part), getattr(now, part)))
        for name in {**here, **there}:
            if there.get(name) != here.get(name):
                raise BadInput(
                    f"{path} holds another run: its {name} is {there.get(name)}, this command's is {here.get(name)}; "
                    "give another output file, or remove this one to start anew"
                )


if __name__ == "__main__":
    run(main, parser())
