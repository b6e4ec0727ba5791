"""A network that is in memory already, measured with the options of the commands by name.

    from landscape.own import surface
    from landscape.drawing import planes, save

    found = surface(network, batches, "surface.h5", x=(-1, 1, 51), y=(-1, 1, 51))
    save(planes([found]), "surface.pdf")

The results file is what the command would have made, and resumes as it does: the same call goes on with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape import surface as surfaces
from landscape.calling import as_arguments
from landscape.checkpoint import Checkpoint
from landscape.command import Parser
from landscape.data import stratified_order
from landscape.directions import digest
from landscape.errors import BadInput
from landscape.experiment import options as run_options
from landscape.fit import default_loss
from landscape.forward import DTYPES
from landscape.losses import Loss, loss_named
from landscape.nested import Nested, cat, leaves, length, mapped, split, take
from landscape.ranks import Alone, agreed
from landscape.subject import Source, Subject, assembled, channels_last
from landscape.table import Results, read

__all__ = ["arguments_of", "borrowed", "owned", "surface"]

Losses = str | Loss | Sequence[str | Loss] | None


def surface(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    out: str | os.PathLike,
    *,
    loss: Losses = None,
    outputs: str | int | Callable | None = None,
    unpack: Callable | None = None,
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
        Measured in evaluation mode, and given back as it was, to the bit. It is called as network(x), as
        network(*inputs) for a tuple or list, and as network(**inputs) for a dict.
    batches : of (inputs, targets), such as a DataLoader
        Each is a tensor, or a tuple, list or dict of tensors, with examples along the first axis. Read once and kept on
        the network's device.
    out : path of the results file
    loss : str, callable, or several of them
        A name (cross_entropy, mse, binary_cross_entropy, or package.module:function), or a function of outputs and
        targets that gives one number for each example, or one for each position. By default the cross-entropy, if
        targets are classes. Of several, the first is the loss, and the others are measured beside it.
    outputs : str, int or callable
        Which of several outputs the loss gets: a key or attribute, a position, or a function of all of them. By default
        the logits, or the first; a loss of the caller's gets all where it can take them.
    unpack : callable
        Makes (inputs, targets) of what `batches` gives, where that is something else.
    seed : of the directions
    name : of the network, for figures and tables; by default that of its class
    data : what the batches are called there
    comm : an MPI communicator, of which every rank makes this call with the same network and data; None for one process
    quiet : print nothing but errors
    **options
        Those of ``surface.py`` by name, ``-`` as ``_``: x, y, z, repeats, normalize, orthogonal, batchnorm, adaptive,
        tolerance, examples, batch_size, dtype, …

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
    with borrowed(network):
        with agreed(comm):
            arguments.loss = losses = _by_name(loss)  # surfaces.check counts them
            surfaces.check(arguments)
            it = owned(network, batches, losses, arguments, name, data, outputs, unpack)
        surfaces.surface(it, arguments, comm)
    return None if arguments.dry_run else read(out)


def owned(
    network: nn.Module,
    batches: Iterable,
    loss: Losses,
    arguments: Namespace,
    name: str | None,
    data: str,
    outputs: str | int | Callable | None = None,
    unpack: Callable | None = None,
) -> Subject:
    """The network, its data and loss as the commands have them; within `borrowed`.

    Raises
    ------
    BadInput
        No data, batches that are no pairs, or a loss that is not one number for each example.
    """
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    held = [_pair(batch, unpack, device) for batch in _iterated(batches)]
    if not held:
        raise BadInput("there are no batches; give (inputs, targets), at least once")
    held = [(as_arguments(network, inputs), targets) for inputs, targets in held]
    for inputs, targets in held:
        if length(inputs, "inputs") != length(targets, "targets"):
            raise BadInput(f"a batch has {length(inputs)} inputs and {length(targets)} targets; give as many of each")
        if not length(inputs):
            raise BadInput("a batch has no examples; leave it out")
    found = _digest(held)
    held = _arranged(held, arguments)
    _refuse_another_order(arguments.out, found)
    source = Source(data, "", held, None, "as they are", found)
    state = {name: tensor for name, tensor in network.state_dict().items() if _is_number(tensor)}
    it, _ = assembled(
        Checkpoint(name or type(network).__name__, {}, {}, format=0),
        network,
        [source],
        _by_name(loss) or _default(held[0][1]),
        device=device,
        dtype=arguments.dtype,
        tolerance=arguments.tolerance,
        outputs=outputs,
        seed=arguments.seed,
        digest=digest(state),
    )
    return it


@contextlib.contextmanager
def borrowed(network: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode and a quick layout, for the length of a ``with``; nothing of it is copied.

    It is the caller's own network that is measured, so that a loss, a hook or a second module that shares its weights
    sees them move. Afterwards modes, layouts and weights are as they were, to the bit.
    """
    modes = [(module, module.training) for module in network.modules()]
    layouts = [(tensor, tensor.data) for tensor in (*network.parameters(), *network.buffers()) if tensor.ndim == 4]
    try:
        network.eval()
        channels_last(network)
        yield network
    finally:
        for tensor, own in layouts:
            if tensor.data.data_ptr() != own.data_ptr():
                own.copy_(tensor.data)  # the same values, unless a user's forward changed them
            tensor.data = own
        for module, training in modes:
            module.training = training


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
    kept = {"tolerance": None, "examples": None, "batch_size": None, "dtype": "float32"}
    more = {"seed": 0, "loss": None, "split": "", "network": None}
    if unknown := given.keys() - known.keys() - kept.keys() - {"seed"}:
        names = ", ".join(sorted({*known, *kept}))
        why = {
            "split": "the batches are the data; give those of the split",
            "device": "the network is measured where it lies; move it there first",
        }.get(min(unknown), f"there are {names}")
        raise TypeError(f"there is no option {min(unknown)}; {why}")
    arguments = Namespace(**{**known, **kept, **more, **given, "out": Path(out)})
    if arguments.dtype not in DTYPES:
        raise BadInput(f"there is no type {arguments.dtype!r}; use {', '.join(DTYPES)}")
    _check_kinds(arguments, parser)
    return arguments


def _check_kinds(arguments: Namespace, parser: Parser) -> None:
    """Take axes as numbers, whether they are typed or given, and refuse what is none of an option's choices."""
    for name in ("x", "y", "z"):
        ends = getattr(arguments, name, None)
        if ends is None:
            continue
        parts = ends.replace(",", " ").split() if isinstance(ends, str) else ends
        try:
            numbers = tuple(float(part) for part in parts)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != 3:
            raise BadInput(f"{name} is {ends!r}; give three numbers, from, to and how many points, like (-1, 1, 51)")
        setattr(arguments, name, numbers)
    for action in parser._actions:
        value = getattr(arguments, action.dest, None)
        if value is None or isinstance(value, bool) or action.dest in ("x", "y", "z"):
            continue
        if action.choices and value not in action.choices:
            raise BadInput(f"there is no {action.dest} {value!r}; use {', '.join(map(str, action.choices))}")
        if action.type in (int, float):
            setattr(arguments, action.dest, _numbers(action.dest, value, action.type, action.nargs in ("+", "*", 3)))
    if not (isinstance(arguments.seed, int) and arguments.seed >= 0):
        raise BadInput(f"seed is {arguments.seed!r}; give a whole number, 0 or more")
    for name in ("examples", "batch_size"):
        value = getattr(arguments, name)
        if value is not None and not (isinstance(value, int) and value >= 1):
            raise BadInput(f"{name} is {value!r}; give a whole number, 1 or more")


def _numbers(name: str, value: object, kind: type, several: bool) -> object:
    """An option's number, or list of them, as the command would have read it."""
    many = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    try:
        if not several and isinstance(value, Iterable) and not isinstance(value, str):
            raise TypeError
        numbers = [kind(each) for each in many]
        if any(number != float(each) for number, each in zip(numbers, many, strict=True)):
            raise ValueError
    except (TypeError, ValueError) as error:
        noun = "whole number" if kind is int else "number"
        raise BadInput(f"{name} is {value!r}; give a {noun}" + " or several" * several) from error
    return numbers if several else numbers[0]


def _by_name(loss: Losses) -> dict[str, Loss]:
    """Losses by their names, the first one first; empty where none is given."""
    if isinstance(loss, dict):
        return loss
    several = [] if loss is None else loss if isinstance(loss, list | tuple) else [loss]
    found = {}
    for each in several:
        if not (isinstance(each, str) or callable(each)):
            raise BadInput(f"a loss is a {type(each).__name__}; give a name, or a function of outputs and targets")
        name = each if isinstance(each, str) else getattr(each, "__name__", type(each).__name__)
        if name in found:
            raise BadInput(f"two losses are called {name}; give each a name of its own")
        found[name] = loss_named(each) if isinstance(each, str) else each
    return found


def _default(targets: Nested) -> dict[str, Loss]:
    name = default_loss(targets)
    return {name: loss_named(name)}


def _iterated(batches: Iterable) -> Iterator:
    if isinstance(batches, Tensor | dict | str) or not isinstance(batches, Iterable):
        raise BadInput(
            f"batches are a {type(batches).__name__}; give a DataLoader, or a list of pairs (inputs, targets)"
        )
    return iter(batches)


def _pair(batch: object, unpack: Callable | None, device: torch.device) -> tuple[Nested, Nested]:
    """Inputs and targets on the device."""
    if unpack is not None:
        batch = unpack(batch)
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        kind = f"{type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, tuple | list | dict) else "")
        raise BadInput(
            f"a batch is a {kind}; give pairs (inputs, targets), or a function that makes them of a batch as unpack"
        )
    inputs, targets = (mapped(lambda t: t.detach().to(device), _tensors(each)) for each in batch)
    return inputs, targets


def _tensors(nested: object) -> Nested:
    """NumPy arrays as tensors too, alone or in a structure."""
    if hasattr(nested, "__array__") and not isinstance(nested, Tensor):
        return torch.as_tensor(nested)
    if isinstance(nested, dict):
        return {name: _tensors(value) for name, value in nested.items()}
    if type(nested) in (tuple, list):
        return type(nested)(_tensors(value) for value in nested)
    return nested


def _arranged(held: list, arguments: Namespace) -> list:
    """The batches as they are given, or anew where a tolerance, a number of examples or a size is asked for."""
    wanted = arguments.tolerance, arguments.examples, arguments.batch_size
    if wanted == (None, None, None):
        return held
    inputs, targets = (cat(each) for each in zip(*held, strict=True))
    total = length(inputs)
    if arguments.examples is not None or arguments.tolerance is not None:
        number = total if arguments.examples is None else arguments.examples
        if number > total:
            raise BadInput(f"examples is {number}; there are {total}")
        order = stratified_order(mapped(Tensor.cpu, targets), arguments.seed)[:number]
        inputs, targets = (take(each, order.to(leaves(each)[0].device)) for each in (inputs, targets))
    size = arguments.batch_size or min(length(held[0][0]), 256)
    return list(zip(split(inputs, size), split(targets, size), strict=True))


def _refuse_another_order(out: Path, mine: str) -> None:
    """Say what another digest of data means before it is compared."""
    if not out.is_file():
        return
    there = read(out).attributes.get("data_digest")
    if there is not None and there != mine:
        raise BadInput(
            f"{out} holds another measurement: its data_digest is not that of these batches. They hold other examples, "
            "or the same in another order, as a DataLoader with shuffle=True does each time; give the same batches, or "
            "another output file"
        )


def _is_number(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _digest(batches: list[tuple[Nested, Nested]]) -> str:
    found = hashlib.sha256()
    for batch in batches:
        for tensor in leaves(batch):
            found.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            flat = tensor.cpu().contiguous().flatten()
            found.update(flat.view(torch.int16).numpy() if flat.dtype == torch.bfloat16 else flat.numpy())
    return found.hexdigest()
