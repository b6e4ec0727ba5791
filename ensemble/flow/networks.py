"""Networks that are measured from block to block, a row each: as they are initialised, trained, stored, or in memory.

What is measured there is the caller's: a function of a network and some batches (`ensemble.flow.profile`,
`ensemble.flow.stream`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from ensemble.blocks.blocks import blocks as blocks_of
from ensemble.flow.parts import boundaries as boundaries_of
from landscape import data as datasets
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data.standardisation import standardisation
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.sweep import Function
from landscape.errors import BadInput
from landscape.evaluation.compatibility import check_compatible
from landscape.evaluation.device import choose_device, restored
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.measure import Batches
from landscape.evaluation.prepared import check_gradients
from landscape.import_path import import_object
from landscape.log import Report
from landscape.nested import Nested, cat, length, mapped, split, take
from landscape.networks.layout import channels_last
from landscape.networks.network import Network
from landscape.networks.titles import depth_of
from landscape.training.loop import default_recipe, train_epochs
from landscape.training.variants import families, trained_here, variant
from landscape.training.variants import recipe as recipe_named
from landscape.validate import different, numbers, whole

__all__ = ["Plan", "Profile", "of_networks"]

Profile = Callable[..., dict[str, float | np.ndarray]]


class Row(NamedTuple):
    variant: str
    depth: int
    seed: int
    moment: str  # initial, trained; given, of a network in memory


class Plan(NamedTuple):
    """What is measured of each network.

    Attributes
    ----------
    profile : called as ``profile(network, batches, boundaries, loss=…, blocks=…)``, gives the variables of a row
    kind : of the results
    measured : the variables, see `landscape.engine.run.run`
    coordinates : of their dimensions but `boundary`, for as many boundaries as the deepest network has
    batchnorm : which statistics are used, see `ensemble.flow.gradients.flow`
    """

    profile: Profile
    kind: str
    measured: Mapping[str, tuple]
    coordinates: Callable[[int], Mapping[str, ArrayLike]]
    batchnorm: str


def of_networks(
    plan: Plan,
    variants: str | Sequence[str] | Evaluator,
    *,
    checkpoints: Sequence[str | os.PathLike],
    depth: int | Sequence[int],
    width: int,
    seeds: int,
    data: str | None,
    root: str | os.PathLike | None,
    window: int | None,
    mean: Sequence[float] | str | None,
    std: Sequence[float] | None,
    standardize: bool | None,
    examples: int | None,
    epochs: int,
    recipe: str | None,
    learning_rate: float | None,
    batches: int,
    batch_size: int,
    network: str | None,
    arguments: Mapping | Sequence[str],
    entry: str | None,
    blocks: Callable[[nn.Module], Mapping] | str | None,
    layers: bool,
    device: str,
    out: str | os.PathLike | None,
    comm: Communicator | None,
    quiet: bool,
    dry_run: bool,
) -> Results | Report:
    """Measure networks from block to block, each as a row. Collective.

    Each is measured on one thread, so that the numbers are those of any number of ranks. A training that diverges is a
    result.

    Parameters
    ----------
    plan : Plan
        What is measured of each.
    variants, checkpoints
        Which networks; see `ensemble.flow.gradient_flow.gradient_flow`, also for all that follows.

    Returns
    -------
    Results
        Over (network).

    Raises
    ------
    BadInput
        Networks that cannot be built, fit no data or are not made of blocks, too few examples, or a file of others.
    """
    comm = communicator(comm)
    running = {"out": out, "comm": comm, "quiet": quiet, "dry_run": dry_run}
    if len(checkpoints) == 1 and (network is not None or Path(checkpoints[0]).is_dir()):
        if isinstance(variants, Evaluator) or variants:
            raise BadInput("a network that is not skipscape's own is measured alone; leave out the variants")
        variants = Evaluator.from_checkpoint(
            checkpoints[0],
            network=network,
            arguments=arguments,
            entry=entry,
            data=data,
            root=root,
            window=window,
            mean=mean,
            std=std,
            standardize=standardize,
            examples=examples,
            device=device,
            comm=comm,
        )
        checkpoints = ()
    if isinstance(variants, Evaluator):
        return _of_evaluator(variants, checkpoints, batches, batch_size, plan, running, blocks, layers)
    variants = [variants] if isinstance(variants, str) else list(variants)
    paths = [Path(path) for path in checkpoints]
    with restored():
        with collective_errors(comm):
            on = choose_device(comm, device)
            torch.set_num_threads(1)
            for name, value in (("seeds", seeds), ("batch_size", batch_size), ("batches", batches)):
                whole(name, value)
            whole("epochs", epochs, 0)
            trained = {path.stem: trained_here(path) for path in paths}
            names = [trained[path.stem].data_named(data, path) for path in paths]
            name = names[0] if names else data or "digits"
            inputs = standardisation(mean, std, standardize, _recorded(trained))
            if window is None and data is None:
                window = next((checkpoint.data.get("window") for checkpoint in trained.values()), None)
            training, test = datasets.load_for_training(name, root=root, window=window, examples=examples, **inputs)
            recipe = default_recipe(training, families(variants) if epochs else ()) if recipe is None else recipe
            different([path.stem for path in paths])
            rows = _rows(variants, numbers("depth", depth), seeds, trained, bool(epochs))

            def untrained(row: Row) -> nn.Module:
                torch.manual_seed(row.seed)
                return variant(row.variant, row.depth, width, training)

            # a mistake in the last network shows now, not in the morning
            boundaries = []
            for row in rows:
                built = trained[row.variant].restore() if row.variant in trained else untrained(row)
                check_compatible(row.variant, built, training)
                boundaries.append(boundaries_of(built))
            measured = _batches(training.images, training.labels, batches, batch_size, on)
            settings = recipe_named(recipe, epochs, batch_size, learning_rate)

        def profiles(points: np.ndarray) -> Iterator[dict]:
            for (number,) in points:
                row = rows[int(number)]
                stored = trained.get(row.variant)
                built = (stored.restore() if stored else untrained(row)).to(on)
                channels_last(built)
                if not stored and row.moment == "trained":
                    with contextlib.suppress(BadInput):  # diverged: what there is now is measured
                        for _ in train_epochs(built, training, test, **settings, seed=row.seed, device=on):
                            pass
                yield plan.profile(built, measured, max(boundaries))

        attributes = {
            "network": ", ".join(dict.fromkeys(row.variant for row in rows)),
            "data": training.name,
            "inputs": training.inputs,
            "split": "train",
            "loss": "cross_entropy",
            "batchnorm": plan.batchnorm,
            "batches": batches,
            "batch_size": batch_size,
            "recipe": recipe,
            "epochs": epochs,
            "learning_rate": settings["learning_rate"],
            "width": width,
            "device": on.type,
            "checkpoint": " ".join(checkpoint.sha256 for checkpoint in trained.values()),
            "data_digest": training.digest,
        }
        return _run(profiles, rows, boundaries, plan, attributes, running)


def _of_evaluator(
    evaluate: Evaluator,
    checkpoints: Sequence,
    number: int,
    size: int,
    plan: Plan,
    running: Mapping,
    blocks: Callable[[nn.Module], Mapping] | str | None,
    layers: bool,
) -> Results | Report:
    """One network as it is."""
    with restored(), evaluate.ready(running["comm"]) as evaluation:
        torch.set_num_threads(1)
        with collective_errors(running["comm"]):
            if checkpoints:
                raise BadInput("an evaluator is measured alone; leave out checkpoints, or give their variants")
            check_gradients(evaluation)
            known_blocks = None
            if blocks is not None or not isinstance(evaluation.network, Network):
                described = import_object(blocks) if isinstance(blocks, str) else blocks
                few = take(evaluation.batches[0][0], slice(3))
                known_blocks = blocks_of(evaluation.network, described, layers, few)
            boundaries = [boundaries_of(evaluation.network, known_blocks)]
            inputs, targets = (cat(each) for each in zip(*evaluation.batches, strict=True))
            batches = _batches(inputs, targets, number, size, evaluation.device)
        checkpoint = evaluation.checkpoint
        rows = [
            Row(checkpoint.title, checkpoint.arguments.get("depth", 0), checkpoint.training.get("seed", 0), "given")
        ]
        attributes = {**evaluation.metadata, "batchnorm": plan.batchnorm, "batches": number, "batch_size": size}

        def profiles(points: np.ndarray) -> Iterator[dict]:
            for _ in points:
                yield plan.profile(
                    evaluation.network, batches, boundaries[0], loss=evaluation.loss, blocks=known_blocks
                )

        return _run(profiles, rows, boundaries, plan, attributes, running)


def _run(
    profiles: Function, rows: list[Row], boundaries: list[int], plan: Plan, attributes: dict, running: Mapping
) -> Results | Report:
    deepest = max(boundaries)
    columns = zip(Row._fields, zip(*rows, strict=True), strict=True)
    return run(
        profiles,
        np.arange(len(rows)),
        label="networks",
        kind=plan.kind,
        dims=("network",),
        coordinates={
            "network": np.arange(len(rows)),
            "boundary": np.arange(deepest),
            **plan.coordinates(deepest),
        },
        given={name: (("network",), np.array(values)) for name, values in columns}
        | {"boundaries": (("network",), np.array(boundaries))},
        measured=in_units(plan.measured, attributes["loss"]),
        attributes=attributes,
        **running,
    )


def _recorded(trained: dict[str, Checkpoint]) -> dict:
    """What the checkpoints have recorded of their inputs.

    Raises
    ------
    BadInput
        They differ.
    """
    constants = {name: {n: tuple(c.data[n]) for n in ("mean", "std") if n in c.data} for name, c in trained.items()}
    if not constants:
        return {}
    first, *others = constants
    for other in others:
        if constants[other] != constants[first]:
            raise BadInput(f"{first} and {other} were trained on inputs standardised otherwise; measure them apart")
    return constants[first]


def _rows(
    variants: list[str], depths: list[int], seeds: int, trained: dict[str, Checkpoint], training: bool
) -> list[Row]:
    """One row for each network and moment."""
    if both := trained.keys() & set(variants):
        raise BadInput(f"{min(both)} is a variant and a checkpoint; rename the file")
    moments = ("initial", "trained") if training else ("initial",)
    rows = [Row(*row) for row in product(different(variants), different(depths), range(seeds), moments)]
    for name, checkpoint in trained.items():
        depth = depth_of(checkpoint.network, checkpoint.arguments)
        rows.append(Row(name, depth, checkpoint.training.get("seed", 0), "trained"))
    if not rows:
        raise BadInput("there is nothing to measure; give variants, like plain resnet, or --checkpoints")
    return rows


def _batches(inputs: Nested, targets: Nested, number: int, size: int, device: torch.device) -> Batches:
    """The first batches of a stratified order, all of one size."""
    if size < 4:
        raise BadInput(f"--batch-size is {size}; give 4 or more, which similarities need")
    if number * size > length(targets):
        raise BadInput(
            f"{number} batches of {size} are {number * size} examples, and there are {length(targets)}; "
            "give fewer --batches, or a smaller --batch-size"
        )
    order = datasets.stratified_order(mapped(Tensor.cpu, targets), 0)[: number * size]
    chosen = [mapped(lambda tensor: tensor[order.to(tensor.device)].to(device), each) for each in (inputs, targets)]
    return list(zip(*(split(each, size) for each in chosen), strict=True))
