"""Train a network of this package, or of a factory, into a checkpoint that describes itself.

A training that was interrupted goes on from the last epoch in its file, with the bits of one that never was; from a
snapshot it goes on without its momentum. See `landscape.training.loop` for the epochs themselves.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from landscape import data as datasets
from landscape.checkpoints import checkpoint as checkpoints
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data import Data
from landscape.data.standardisation import standardisation
from landscape.engine.progress import bar
from landscape.engine.ranks import Communicator, SerialComm, collective_errors, communicator
from landscape.engine.run import provenance
from landscape.errors import COMMAND, BadInput, stopped
from landscape.evaluation.compatibility import check_compatible
from landscape.evaluation.device import choose_device, restored
from landscape.evaluation.measure import measure
from landscape.log import say
from landscape.networks import build, summary
from landscape.networks.arguments import parse_arguments, with_data_defaults
from landscape.networks.layout import channels_last
from landscape.training import loop as training
from landscape.training.loop import RECIPES, default_recipe
from landscape.validate import LARGEST_SEED, one_of, whole

__all__ = ["train"]


def train(
    out: str | os.PathLike | None = None,
    *,
    network: str = "resnet",
    depth: int | None = None,
    width: int | None = None,
    arguments: Mapping | Sequence[str] = (),
    data: str = "digits",
    root: str | os.PathLike | None = None,
    size: int | None = None,
    window: int | None = None,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | None = None,
    standardize: bool | None = None,
    download: bool = False,
    examples: int | None = None,
    augment: bool | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    batch_size: int = 128,
    micro_batch: int = 512,
    warm_up: int = 0,
    bfloat16: bool = False,
    compile: bool = False,
    record: bool = False,
    snapshots: str | os.PathLike | None = None,
    save_every: float = 10.0,
    device: str = "auto",
    threads: int | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
) -> Checkpoint:
    """Train a classifier of images, or a language model.

    Parameters
    ----------
    out : path, optional
        Of the checkpoint, from which the same call goes on if it is interrupted; finished, it does nothing. A copy of a
        snapshot goes on too, without its momentum. By default the checkpoint is kept in memory.
    network : str
        One of resnet, plain, densenet, vgg, transformer and vit, or "package.module:factory".
    depth, width : int, optional
        Number of weight layers, channels of the first stage; of networks that have them. Of a transformer
        and a vit: number of layers, width of the stream.
    arguments : dict, or NAME=VALUE words
        Further arguments of the network.
    data : str
        One of digits, cifar10, cifar100, fashionmnist and stdlib; a folder, an .npz file, or "package.module:function".
    root, size, window, mean, std, download : see `landscape.data.load`
    standardize : bool, optional
        Standardise inputs by the training split; by default where the data are images of a known name.
    examples : int, optional
        Train on so many, a seeded stratified subset; of text, test on a tenth as many.
    augment : bool, optional
        Pad, crop and mirror the images of a batch; by default all but digits.
    recipe : {"fast", "he", "li", "veit", "text", "patches"}
        Schedule, optimizer, learning rate, weight decay and number of epochs; see `landscape.training.loop.RECIPES`.
        By default "fast", "text" for tokens, and "patches" for a vit.
    optimizer, epochs, learning_rate, weight_decay : optional
        In place of the recipe's.
    seed : int
        Random seed of the initial weights, the order and the crops.
    batch_size, micro_batch, warm_up, bfloat16 : see `landscape.training.loop.train_epochs`
    compile : bool
        Whether to train through torch.compile, which pays in trainings of many minutes.
    record : bool
        Whether to record a step once and replay it, on a GPU.
    snapshots : folder, optional
        Also keep there a checkpoint of every epoch, and of the beginning.
    save_every : float
        Seconds between two checkpoints in `out`. An interrupt (Ctrl-C; of a command SIGTERM too) keeps the last epoch.
    device : {"auto", "cpu", "cuda"}
    threads : int, optional
        Number of threads on a processor, on which the last bits of the weights depend; by default its cores, or
        OMP_NUM_THREADS.
    comm : communicator, optional
        Of which rank 0 trains; by default all ranks that mpiexec has started.
    quiet : bool
        Whether to show no progress.

    Returns
    -------
    Checkpoint
        ``checkpoint.restore()`` is the network.

    Raises
    ------
    BadInput
        Arguments that do not go together, data or a network that cannot be had, a file that holds another training, or
        a loss that is no longer finite.

    Examples
    --------
    >>> checkpoint = train(depth=8, width=4, epochs=1, examples=100, quiet=True)
    >>> checkpoint.title, sorted(checkpoint.final)
    ('resnet-8:width=4', ['test', 'train'])
    """
    options, comm = dict(locals()), communicator(comm)
    if comm.size > 1:
        return _on_one_rank(comm, options)
    out = None if out is None else Path(out)
    counts = {"epochs": epochs, "batch_size": batch_size, "micro_batch": micro_batch, "threads": threads}
    _check(recipe, seed, counts)
    if out is not None and not out.parent.is_dir():
        raise BadInput(f"output folder {out.parent} does not exist; mkdir -p {out.parent}")
    begun = checkpoints.load(out) if out is not None and out.exists() else None
    where: dict[str, Any] = {"root": root, "download": download, "size": size, "examples": examples, "seed": seed}
    # A training that has begun goes on with its constants, whatever its version took by default.
    where |= standardisation(mean, std, standardize, begun.data if begun else None)
    splits = datasets.load_for_training(data, window=window, **where)
    recipe = default_recipe(splits[0], [network]) if recipe is None else recipe
    say(comm, f"inputs of {splits[0].name}: {splits[0].inputs}")
    changed = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}
    settings = {
        **{name: value for name, value in RECIPES[recipe].items() if name != "schedule"},
        **{name: value for name, value in changed.items() if value is not None},
        "seed": seed,
        "optimizer": optimizer or RECIPES[recipe].get("optimizer", "sgd"),
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "warm_up": warm_up,
        "bfloat16": bfloat16,
        **_augmentation(augment, splits[0]),
        **({"compiled": True} if compile else {}),
    }
    words = dict(arguments) if isinstance(arguments, Mapping) else parse_arguments(arguments)
    shape = {name: value for name, value in (("depth", depth), ("width", width)) if value is not None}
    built = with_data_defaults(network, shape | words, splits[0])
    now = Checkpoint(
        network=network,
        arguments=built,
        weights={},
        data={
            **{name: getattr(splits[0], name) for name in ("name", "classes", "mean", "std", "digest")},
            **({"window": splits[0].images.shape[1]} if datasets.is_text(data) else {}),
        },
        training={"recipe": recipe, **settings},
        versions={name: version for name, version in provenance({}).items() if name != "command"},
    )
    with restored():
        on = choose_device(comm, device)
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(seed)
        module = build(network, **built)
        if begun and out is not None:
            _check_same(begun, now, out)
            if begun.final and begun.state is None:
                say(comm, f"{out} is trained already: {_errors(begun)}")
                return begun
            module = begun.restore(network)
            now.history, now.state = begun.history, begun.state or _of_snapshot(begun, out)
            if now.state["epoch"] == 0:
                now.history = {}  # in which the beginning itself is no epoch
            since = "" if begun.state else "; a snapshot keeps no momentum, which starts from zero"
            say(comm, f"going on from epoch {now.state['epoch']} of {settings['epochs']}{since}")
        check_compatible(now.title, module, splits[0])
        say(comm, f"{now.title} on {splits[0].name}")
        if (example := splits[0].images[0]).is_floating_point() or splits[0].of_tokens:
            say(comm, str(summary(module, tuple(example.shape), example.dtype)))
        module = module.to(on)
        channels_last(module)
        run = {**settings, "schedule": RECIPES[recipe]["schedule"], "device": on}
        run["recorded"] = record  # no setting of the training: the steps are the same
        _train(now, module, splits, run, out, Path(snapshots) if snapshots else None, save_every, quiet)
        now.final = _measured(module, splits, on, quiet)
    now.weights, now.state = module.state_dict(), None
    if out is None:
        now.weights = {name: tensor.cpu() for name, tensor in now.weights.items()}
        say(comm, _errors(now))
        return now
    checkpoints.save(now, out)
    say(comm, f"{out}: {_errors(now)}")
    return checkpoints.load(out)


def _of_snapshot(begun: Checkpoint, path: Path) -> dict:
    """What a training goes on from where only the weights after an epoch were kept."""
    match begun.history.get("epoch"):
        case [*_, int(epoch)] if epoch >= 0:
            return {"epoch": epoch, "optimizer": {"state": {}}}
    raise BadInput(f"{path} does not tell after which epoch it was saved; give another output file")


def _on_one_rank(comm: Communicator, options: dict) -> Checkpoint:
    """What rank 0 trains while the others wait; as a command that would be a mistake."""
    checkpoint = None
    with collective_errors(comm):
        if COMMAND.get():
            raise BadInput("training runs on one process; start it without mpiexec")
        if comm.rank == 0:
            checkpoint = train(**{**options, "comm": SerialComm()})
    return comm.bcast(checkpoint)


def _train(
    now: Checkpoint,
    network: nn.Module,
    splits: tuple[Data, Data],
    run: dict,
    out: Path | None,
    snapshots: Path | None,
    save_every: float,
    quiet: bool,
) -> None:
    """Train epoch by epoch, from the checkpoint's on, and keep what there is in the checkpoint and in its files."""
    if snapshots:
        snapshots.mkdir(parents=True, exist_ok=True)
        if now.state is None:  # where the path begins
            start = replace(now, weights=network.state_dict(), history={"epoch": [0]})
            checkpoints.save(start, snapshots / "epoch-0000.pt")
    saved, unsaved = time.monotonic(), None
    try:
        with _progress(now, len(splits[0].labels), quiet) as progress:
            for record, state in training.train_epochs(network, *splits, **run, state=now.state, tick=progress.update):
                for name, value in record.items():
                    now.history.setdefault(name, []).append(value)
                errors = (f"{100 * record[split + '_error']:.1f} % {split}" for split in ("train", "test"))
                progress.set_postfix_str(f"epoch {record['epoch']}, error {', '.join(errors)}", refresh=False)
                now.weights, now.state = network.state_dict(), state
                unsaved = now  # whose tensors are those that the next epoch changes
                if snapshots:
                    checkpoints.save(replace(now, state=None), snapshots / f"epoch-{record['epoch']:04d}.pt")
                last = record["epoch"] == run["epochs"]  # after which all is measured, which may take minutes
                if out is not None and (last or time.monotonic() - saved > save_every):
                    checkpoints.save(now, out)
                    saved, unsaved = time.monotonic(), None
                elif out is not None:
                    unsaved = copy.deepcopy(now)
    except KeyboardInterrupt as interrupt:
        if out is not None and unsaved is not None:
            checkpoints.save(unsaved, out)
        if COMMAND.get():  # which says so itself
            raise
        raise stopped(f" after {len(now.history.get('epoch', ()))} of {run['epochs']} epochs", out) from interrupt


@contextlib.contextmanager
def _progress(now: Checkpoint, examples: int, quiet: bool) -> Iterator:
    """A bar over the batches of all epochs."""
    each = -(-examples // now.training["batch_size"])
    begun = each * (now.state["epoch"] if now.state else 0)
    progress = bar(now.training["epochs"] * each, "batches", begun=begun, quiet=quiet)
    try:
        yield progress
    finally:
        progress.close()


def _measured(network: nn.Module, splits: tuple[Data, Data], device: torch.device, quiet: bool) -> dict[str, dict]:
    """The finished network on both splits."""
    batches = {
        split: datasets.batches(data, 500, device) for split, data in zip(("train", "test"), splits, strict=True)
    }
    # Of a deep network on processors this takes minutes, in which it should not be silent.
    with bar(sum(map(len, batches.values())), "batches measured", quiet=quiet) as progress:

        def count(*_: Any) -> None:
            progress.update()

        counted = network.register_forward_hook(count)
        final = {split: measure(network, part) for split, part in batches.items()}
        counted.remove()
    return final


def _check(recipe: str | None, seed: int, counts: dict[str, int | None]) -> None:
    if recipe is not None:
        one_of("recipe", recipe, RECIPES)
    whole("seed", seed, 0, LARGEST_SEED)
    for name, value in counts.items():
        if value is not None:
            whole(name, value)


def _augmentation(augment: bool | None, data: Data) -> dict:
    images = data.images.ndim == 4
    if augment and not images:
        raise BadInput(f"--augment is for images, and {data.name} has none; leave it out")
    augmented = images and (data.name != "digits" if augment is None else augment)
    # 4 pixels for 32 (He et al. 2016 §4.2), in proportion for other sizes
    return {"pad": max(1, data.images.shape[2] // 8) if augmented else 0, "flip": augmented}


def _errors(checkpoint: Checkpoint) -> str:
    train, test = checkpoint.final["train"], checkpoint.final["test"]
    return (
        f"{checkpoint.title}, training error {100 * (1 - train['accuracy']):.2f} % (loss {train['loss']:.4f}), "
        f"test error {100 * (1 - test['accuracy']):.2f} % (loss {test['loss']:.4f})"
    )


def _check_same(begun: Checkpoint, now: Checkpoint, path: Path) -> None:
    """Refuse to go on with another training, and say in what they differ."""
    for part in ("network", "arguments", "data", "training"):
        there, here = ({part: v} if isinstance(v, str) else v for v in (getattr(begun, part), getattr(now, part)))
        for name in {**here, **there}:
            if there.get(name) != here.get(name):
                raise BadInput(
                    f"{path} holds another run: its {name} is {there.get(name)}, this command's is {here.get(name)}; "
                    "give another output file, or remove this one to start anew"
                )
