"""Many trainings in one table: how well networks could be trained, over variants, depths and seeds."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from landscape import data as datasets
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data import Data
from landscape.data.standardisation import standardisation
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import MEASURED, Table
from landscape.errors import BadInput
from landscape.evaluation.compatibility import check_compatible
from landscape.evaluation.device import choose_device, restored
from landscape.evaluation.measure import measure
from landscape.log import Report
from landscape.networks.layout import channels_last
from landscape.networks.titles import depth_of
from landscape.training.loop import default_recipe, train_epochs
from landscape.training.variants import families, trained_here, variant
from landscape.training.variants import recipe as recipe_named
from landscape.validate import different, numbers, whole

__all__ = ["trainings"]

OF_BOTH = ("variants", "checkpoints", "device", "out", "comm", "quiet", "dry_run")  # whether trained here or before
ABSENT = {"spared": ("?", False, {"long_name": "whether there is no such checkpoint"})}


class _Plan(NamedTuple):
    """The cells of the table, and what fills them.

    Attributes
    ----------
    present : rows of the table for which there is something to measure
    measure : gives what is measured in a row
    """

    variants: Sequence[str]
    depths: Sequence[int]
    seeds: Sequence[int]
    present: np.ndarray
    measure: Callable[[int], dict]
    attributes: dict


def trainings(
    variants: str | Sequence[str] = (),
    *,
    checkpoints: Sequence[str | os.PathLike] = (),
    depth: int | Sequence[int] = (20,),
    width: int = 16,
    seeds: int = 3,
    data: str = "digits",
    root: str | os.PathLike | None = None,
    window: int | None = None,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | None = None,
    standardize: bool | None = None,
    examples: int | None = None,
    epochs: int = 30,
    recipe: str | None = None,
    learning_rate: float | None = None,
    batch_size: int = 128,
    device: str = "auto",
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Train many small networks, and record the errors of each. Collective.

    Each training runs on one thread, so that the numbers are those of any number of ranks. One that diverges is a
    result: its loss is not finite.

    Parameters
    ----------
    variants : str or sequence of str
        Networks, or networks with arguments, NAME:ARGUMENT=VALUE,ARGUMENT=VALUE; see
        `landscape.training.variants.variant`.
    checkpoints : sequence of paths
        Finished checkpoints of `train`, in place of variants: nothing is trained, and their errors are the table.
    depth : int or sequence of int
        Number of weight layers.
    width : int
        Channels of the first stage.
    seeds : int
        Number of trainings of each network, with seeds 0, 1, ….
    data : str
        See `landscape.training.train.train`, also for what follows.
    root : path, optional
        Where data sets lie.
    window, examples : int, optional
        Tokens of an example; number of examples.
    mean, std : sequence of float, or str, optional
        Constants of the channels, or the name of well-known ones.
    standardize : bool, optional
        Whether to standardise by the training split.
    epochs, batch_size : int
        Length of a training; number of examples in a step.
    recipe : str, optional
        See `landscape.training.train.train`.
    learning_rate : float, optional
        In place of the recipe's.
    device : {"auto", "cpu", "cuda"}
        What to train on.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over (variant, depth, seed): ``loss``, ``loss_se``, ``accuracy`` and ``examples`` on the training split,
        ``test_loss`` and ``test_accuracy``.

    Raises
    ------
    BadInput
        Variants that cannot be built or fit no data, checkpoints that do not go together, or a file of others.

    Examples
    --------
    >>> few = {"width": 2, "seeds": 2, "epochs": 1, "examples": 60}
    >>> errors = trainings(["plain", "resnet"], depth=8, quiet=True, **few)
    >>> errors.dims["test_accuracy"], errors["test_accuracy"].shape
    (('variant', 'depth', 'seed'), (2, 1, 2))
    """
    given = dict(locals())
    comm = communicator(comm)
    variants = [variants] if isinstance(variants, str) else list(variants)
    with restored():
        with collective_errors(comm):
            if bool(variants) == bool(checkpoints):
                raise BadInput("give variants to train or --checkpoints that are trained already, and not both")
            on = choose_device(comm, device)
            torch.set_num_threads(1)
            if checkpoints:
                _check_unchanged(given)
                plan = _finished([Path(path) for path in checkpoints])
            else:
                for name, value in (("seeds", seeds), ("epochs", epochs), ("batch_size", batch_size)):
                    whole(name, value)
                inputs = standardisation(mean, std, standardize)
                splits = datasets.load_for_training(data, root=root, window=window, examples=examples, **inputs)
                recipe = default_recipe(splits[0], families(variants)) if recipe is None else recipe
                how = recipe_named(recipe, epochs, batch_size, learning_rate)
                depths = different(numbers("depth", depth))
                plan = _planned(different(variants), depths, width, seeds, splits, recipe, how, on)

        def finish(table: Table) -> list[str]:
            if checkpoints:
                table.derive(spared=~table.done)
            return []

        return run(
            lambda points: (plan.measure(int(row)) for (row,) in points),
            np.arange(len(plan.variants) * len(plan.depths) * len(plan.seeds)),
            label="rows" if checkpoints else "trainings",
            kind="trainings",
            dims=("variant", "depth", "seed"),
            coordinates={"variant": plan.variants, "depth": plan.depths, "seed": plan.seeds},
            measured=MEASURED | {"test_" + name: MEASURED[name] for name in ("loss", "accuracy")},
            choose=lambda table: np.intersect1d(table.remaining(), plan.present),
            derived=ABSENT if checkpoints else None,
            attributes={
                "network": ", ".join(plan.variants),
                "split": "train",
                "loss": "cross_entropy",
                "device": on.type,
                **plan.attributes,
            },
            finish=finish,
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def _planned(
    variants: Sequence[str],
    depths: Sequence[int],
    width: int,
    seeds: int,
    splits: tuple[Data, Data],
    recipe: str,
    how: dict,
    device: torch.device,
) -> _Plan:
    """Trainings of variants."""
    training, test = splits
    rows = list(product(variants, depths, range(seeds)))
    for name, depth in product(variants, depths):
        # a mistake in the last variant shows now, not in the morning
        check_compatible(name, variant(name, depth, width, training), training)

    def result(row: int) -> dict:
        name, depth, seed = rows[row]
        torch.manual_seed(seed)
        network = variant(name, depth, width, training).to(device)
        channels_last(network)
        with contextlib.suppress(BadInput):  # diverged: what there is now is measured
            for _ in train_epochs(network, training, test, **how, seed=seed, device=device):
                pass
        return _row(*(measure(network, datasets.batches(split, 500, device)) for split in splits))

    attributes = {
        "data": training.name,
        "inputs": training.inputs,
        "recipe": recipe,
        **{name: how[name] for name in ("epochs", "learning_rate", "batch_size")},
        "width": width,
        "data_digest": training.digest,
    }
    return _Plan(variants, depths, range(seeds), np.arange(len(rows)), result, attributes)


def _finished(paths: list[Path]) -> _Plan:
    """Finished checkpoints, of which there need not be one for each variant, depth and seed."""
    errors: dict[tuple, dict] = {}
    files: dict[tuple, Path] = {}
    settings: dict[str, dict[str, Path]] = {}
    for path in paths:
        checkpoint = trained_here(path)
        if not checkpoint.final:
            raise BadInput(
                f"{path} does not tell its errors, as a finished checkpoint of train.py does; finish it first"
            )
        shape = ("depth", "width", "classes", "channels", "vocabulary", "context", "size")
        others = ",".join(f"{name}={value}" for name, value in checkpoint.arguments.items() if name not in shape)
        name = checkpoint.network + (":" + others if others else "")
        key = name, depth_of(checkpoint.network, checkpoint.arguments), checkpoint.training.get("seed", 0)
        if key in errors:
            raise BadInput(f"{path} and {files[key]} are both {name} of depth {key[1]}, seed {key[2]}; give one")
        errors[key], files[key] = _row(checkpoint.final["train"], checkpoint.final["test"]), path
        for setting, value in _settings(checkpoint):
            settings.setdefault(setting, {})[value] = path
    if len(settings["data_digest"]) > 1:
        one, other, *_ = settings["data_digest"].values()
        raise BadInput(f"{one} and {other} were trained on other data; put them in files of their own")
    variants, depths, seeds = (sorted(set(each)) for each in zip(*errors, strict=True))
    rows = list(product(variants, depths, seeds))
    present = np.flatnonzero([row in errors for row in rows])
    attributes = {name: ", ".join(sorted(values)) for name, values in settings.items()}
    return _Plan(variants, depths, seeds, present, lambda row: errors[rows[row]], attributes)


def _settings(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """What is told of the checkpoints together."""
    for name in ("recipe", "epochs", "learning_rate", "batch_size"):
        yield name, str(checkpoint.training.get(name, "unknown"))
    yield "checkpoint", checkpoint.sha256
    yield "data", str(checkpoint.data.get("name", "unknown"))
    yield "data_digest", str(checkpoint.data.get("digest", "unknown"))


def _check_unchanged(given: dict) -> None:
    """Refuse arguments that say what to train, where nothing is trained."""
    for name, parameter in inspect.signature(trainings).parameters.items():
        if name not in OF_BOTH and given[name] != parameter.default:
            raise BadInput(f"--{name.replace('_', '-')} is for variants, not for --checkpoints; leave it out")


def _row(train: dict, test: dict) -> dict:
    """What was measured on the training and on the test split; what was not is as before it is measured."""
    row = {name: train.get(name, start) for name, (_, start, _) in MEASURED.items()}
    return row | {"test_" + name: test.get(name, MEASURED[name][1]) for name in ("loss", "accuracy")}
