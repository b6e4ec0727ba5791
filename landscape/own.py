"""A network that is in memory already, measured with the options of the commands by name.

    from landscape.own import surface
    from landscape.drawing import planes, save

    found = surface(network, batches, "surface.h5", x=(-1, 1, 51), y=(-1, 1, 51))
    save(planes([found]), "surface.pdf")

The results file is what the command would have made, and resumes as it does: the same call goes on with it.
"""

from __future__ import annotations

import copy
import hashlib
import os
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape import surface as surfaces
from landscape.checkpoint import Checkpoint
from landscape.command import Parser
from landscape.directions import digest
from landscape.errors import BadInput
from landscape.experiment import options as run_options
from landscape.forward import forward
from landscape.measure import Loss, cross_entropy, each_of
from landscape.ranks import Alone, agreed
from landscape.subject import Subject
from landscape.table import Results, read

__all__ = ["arguments_of", "owned", "surface"]


def surface(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    out: str | os.PathLike,
    *,
    loss: Loss = cross_entropy,
    seed: int = 0,
    name: str | None = None,
    data: str = "data in memory",
    comm=None,
    quiet: bool = False,
    **options,
) -> Results | None:
    """Measure the loss on a plane through a network.

    Parameters
    ----------
    network : nn.Module
        Not changed: a copy is measured, in evaluation mode.
    batches : of (inputs, targets), such as a DataLoader
        Read once and kept on the network's device.
    out : path of the results file
    loss : callable
        Of outputs and targets; gives one number for each example.
    seed : of the directions
    name : of the network, for figures and tables; by default that of its class
    data : what the batches are called there
    comm : an MPI communicator, of which every rank makes this call with the same network and data; None for one process
    quiet : no progress bar
    **options
        Those of ``surface.py`` by name, ``-`` as ``_``: x, y, z, repeats, normalize, orthogonal, batchnorm, adaptive, …

    Returns
    -------
    Results
        The file, read. None with ``dry_run=True``, which tells what it would take.

    Raises
    ------
    BadInput
        As the command does.
    """
    comm = comm or Alone()
    arguments = arguments_of(surfaces.options, out, seed=seed, quiet=quiet, **options)
    with agreed(comm):
        surfaces.check(arguments)
        it = owned(network, batches, loss, seed, name, data)
    surfaces.surface(it, arguments, comm)
    return None if arguments.dry_run else read(out)


def owned(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], loss: Loss, seed: int, name: str | None, data: str
) -> Subject:
    """The network, its data and loss as the commands have them.

    Raises
    ------
    BadInput
        No data, or a loss that is not one number for each example.
    """
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    mine = copy.deepcopy(network).to(memory_format=torch.channels_last).eval()
    held = [(inputs.to(device), targets.to(device)) for inputs, targets in batches]
    if not held:
        raise BadInput("there are no batches; give (inputs, targets), at least once")
    with torch.no_grad():
        outputs = mine(held[0][0][:2])
        each_of(loss, outputs, held[0][1][:2])
    quick, why = forward(mine, held[0][0][:2])
    title = name or type(network).__name__
    settings = {
        "network": title,
        "data": data,
        "split": "",
        **({} if held[0][1].is_floating_point() else {"classes": outputs.shape[1]}),
        "loss": getattr(loss, "__name__", type(loss).__name__),
        "seed": seed,
        "batchnorm": "frozen",
        "dtype": "float32",
        "device": device.type,
        "forward": "as it is" if why else "each convolution with the BatchNorm, sum and ReLU behind it",
        "checkpoint": digest(
            {name: tensor for name, tensor in mine.state_dict().items() if tensor.is_floating_point()}
        ),
        "data_digest": _digest(held),
    }
    unnamed = Checkpoint(title, {}, {}, format=0)
    return Subject(unnamed, mine, quick, quick, held, loss, device, torch.float32, None, settings)


def arguments_of(options: Callable[[Parser], None], out: str | os.PathLike, **given) -> Namespace:
    """What a command would have read: its defaults, and the options that are given by name.

    Raises
    ------
    TypeError
        There is no such option.
    """
    parser = Parser()
    options(parser)
    run_options(parser)
    known = vars(parser.parse_args([]))
    more = {"seed": 0, "loss": ["of the caller"], "split": "", "network": None}
    if unknown := given.keys() - known.keys() - more.keys():
        raise TypeError(f"there is no option {min(unknown)}; there are {', '.join(sorted(known))}")
    return Namespace(**{**known, **more, **given, "out": Path(out)})


def _digest(batches: list[tuple[Tensor, Tensor]]) -> str:
    found = hashlib.sha256()
    for batch in batches:
        for tensor in batch:
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.cpu().contiguous().flatten().numpy())
    return found.hexdigest()
