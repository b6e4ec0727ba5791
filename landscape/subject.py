"""What a measuring command measures: a checkpoint's network, its data, a loss, on this rank's device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape import checkpoint as checkpoints
from landscape import data as datasets
from landscape.arguments import fitted, parsed
from landscape.checkpoint import Checkpoint
from landscape.command import Parser
from landscape.errors import BadInput
from landscape.fit import check_fit
from landscape.measure import LOSSES, Loss, loss_named
from landscape.networks import NETWORKS
from landscape.place import place

__all__ = ["Subject", "options", "subject"]


@dataclass(frozen=True)
class Subject:
    """All that `landscape.measure.measure` needs, and what a results file says of it.

    Attributes
    ----------
    settings : provenance; a resumed run must have the same
    """

    checkpoint: Checkpoint
    network: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    loss: Loss
    device: torch.device
    settings: dict


def options(parser: Parser, split: str) -> None:
    """Give a command the options that `subject` reads; `split` is the default."""
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        type=Path,
        help="of scripts/train.py; or any state dict, .pt or .safetensors, with --network, --argument and --data",
    )
    parser.add_argument("out", metavar="OUT.h5", type=Path, help="the results file to write or to go on with")
    group = parser.add_argument_group("what is measured")
    group.add_argument("--split", choices=["train", "test"], default=split, help="of the data")
    group.add_argument("--examples", type=int, help="a stratified subset of so many; by default the whole split")
    group.add_argument("--loss", default="cross_entropy", help=f"{', '.join(LOSSES)}, or package.module:function")
    group.add_argument("--seed", type=int, default=0, help="of everything random")
    group.add_argument(
        "--network", help=f"what the weights belong to, where it is not skipscape's own; or {', '.join(NETWORKS)}"
    )
    group.add_argument(
        "--argument", nargs="+", default=[], metavar="NAME=VALUE", help="what the network of a state dict is built with"
    )
    group.add_argument("--data", help="the data, where they are not one of the known names: a folder, an .npz file, …")
    group.add_argument("--root", type=Path, help="where torchvision's data lie")
    group.add_argument("--size", type=int, help="side, in pixels, that the images of a folder are resized to")
    group = parser.add_argument_group("how")
    group.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one")
    group.add_argument("--batch-size", type=int, default=256, help="examples in one forward pass")
    group.add_argument("--quiet", action="store_true", help="no progress")


def subject(arguments, comm) -> Subject:
    """Load what the command line names; every rank must call it, inside `landscape.ranks.agreed`.

    Raises
    ------
    BadInput
        The checkpoint, its network, the data or the loss cannot be had, or do not fit together.
    """
    device = place(comm, arguments.device)
    if arguments.seed < 0:
        raise BadInput(f"--seed is {arguments.seed}; give 0 or more")
    checkpoint = checkpoints.load(arguments.checkpoint, arguments.network)
    if checkpoint.state is not None:
        raise BadInput(
            f"{arguments.checkpoint} is in training, at epoch {checkpoint.state.get('epoch')}; "
            "let scripts/train.py finish it first"
        )
    if checkpoint.format and arguments.argument:
        raise BadInput(f"{arguments.checkpoint} says itself what its network is built with; leave out --argument")
    name = arguments.data or checkpoint.data.get("name")
    if name is None:
        raise BadInput(f"{arguments.checkpoint} does not say what it was trained on; add --data")
    if arguments.data is None and name not in datasets.KNOWN:
        raise BadInput(f"{arguments.checkpoint} was trained on {name}; say where that lies with --data")
    data = datasets.load(
        name,
        arguments.split,
        root=arguments.root,
        size=arguments.size,
        examples=arguments.examples,
        seed=arguments.seed,
        mean=checkpoint.data.get("mean"),
        std=checkpoint.data.get("std"),
    )
    if not checkpoint.format:
        checkpoint.arguments = fitted(checkpoint.network, parsed(arguments.argument), data)
    network = checkpoint.restore(arguments.network).to(device, memory_format=torch.channels_last).eval()
    loss = loss_named(arguments.loss)
    batches = datasets.batches(data, arguments.batch_size, device)
    check_fit(checkpoint.title, network, data, arguments.loss, device)
    settings = {  # in the order in which a difference is told: choices before the digests that follow from them
        "network": checkpoint.title,
        "data": data.name,
        "classes": data.classes,
        "split": arguments.split,
        "loss": arguments.loss,
        "seed": arguments.seed,
        "batchnorm": "frozen",
        "dtype": "float32",
        "device": device.type,
        "batch_size": arguments.batch_size,
        "checkpoint": checkpoint.sha256,
        "data_digest": data.digest,
    }
    if not checkpoint.format:
        settings["factory"] = checkpoint.network
        settings["arguments"] = " ".join(f"{name}={value!r}" for name, value in sorted(checkpoint.arguments.items()))
    return Subject(checkpoint, network, batches, loss, device, settings)
