"""Lesions: a network whose blocks are left out, multiplied, replaced, moved, repeated or run side by side.

Nothing is cut: branches are changed by hooks on the submodules that end them, and blocks trade places in their
Sequential. Whatever happens inside of the ``with``, the network comes back as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ensemble.blocks.blocks import Foreign, blocks, ends, refuse_cache
from ensemble.blocks.streams import first, stream
from ensemble.lesions.plans import ALONE, AVERAGE, FIRST, LOOP, MEAN, OTHER, deletions, every, intact, sampled
from landscape.errors import BadInput
from landscape.evaluation.calling import predict
from landscape.evaluation.measure import evaluating
from landscape.nested import Nested, length
from landscape.networks import Block
from landscape.networks.hyper_connections import StreamMix
from landscape.networks.joins import Add

__all__ = ["Replacement", "Skipped", "altered", "arranged", "derangement", "every", "lesion", "means", "sampled"]


class Skipped(nn.Module):
    """A block with its branch left out."""

    def __init__(self, block: Block):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block.skip(x)


class Replacement(NamedTuple):
    """What a branch can give instead of its own output.

    Attributes
    ----------
    means : for each block, for each of its branches, the mean output over the data, see `means`
    seed : of which example gets whose output
    """

    means: Sequence[Sequence[Tensor]] = ()
    seed: int = 0


NONE = Replacement()


@contextlib.contextmanager
def lesion(
    network: nn.Module,
    deleted: Iterable[str],
    described: Callable[[nn.Module], Mapping] | None = None,
    *,
    inputs: Nested = None,
) -> Iterator[nn.Module]:
    """The network without some blocks, for the length of a ``with``.

    Parameters
    ----------
    network : nn.Module
        Borrowed; unchanged afterwards, whatever happens inside.
    deleted : iterable of str
        Names of blocks, as `ensemble.blocks.blocks.blocks` gives them.
    described, inputs : see `ensemble.blocks.blocks.blocks`

    Yields
    ------
    nn.Module
        The same network, which computes without these blocks.

    Raises
    ------
    BadInput
        The network has no block of such a name, or one that cannot be left out.

    Notes
    -----
    A deleted residual block becomes its shortcut, y = x + F(x) → y = x (Veit et al. 2016, §4.1); at
    a stage's first block the projection or padding stays. Of hyper-connections the mixing stays, X → M X, and nothing
    is written. A block without a shortcut is taken out.

    Examples
    --------
    >>> import torch
    >>> from landscape.networks import build
    >>> network, image = build("resnet", depth=8, width=2).eval(), torch.ones(1, 3, 8, 8)
    >>> before = network(image)
    >>> with lesion(network, ["stages.1.0"]) as without:
    ...     bool((without(image) == before).all())
    False
    >>> bool((network(image) == before).all())
    True
    """
    known_blocks = blocks(network, described, inputs=inputs)
    names = list(deleted)
    if unknown := [name for name in names if name not in known_blocks]:
        raise BadInput(f"no removable block is called {', '.join(unknown)}; there are {', '.join(known_blocks)}")
    (trial,) = deletions(np.isin([list(known_blocks)], names))
    with arranged(network, known_blocks, trial):
        yield network


@contextlib.contextmanager
def arranged(
    network: nn.Module,
    blocks: Mapping[str, Block | Foreign],
    trial: np.ndarray,
    replacement: Replacement = NONE,
) -> Iterator[nn.Module]:
    """The network as one trial of a plan has it, for the length of a ``with``.

    Parameters
    ----------
    network : borrowed; unchanged afterwards, whatever happens inside
    blocks : its blocks, see `ensemble.blocks.blocks.blocks`
    trial : moves, shape (blocks,), see `ensemble.lesions.plans`
    replacement : where the trial replaces branches

    Notes
    -----
    A block that runs twice is applied to its own output. Of a pair, the second block gets the input of the first, and
    both branches are added: y = x + F(x) + G(x). Of blocks that run together, either each gets the output of the one
    before, and the first that of the last, or all get the same, the mean of what they have given (Sun et al. 2024,
    2407.09298 §3).
    """
    names = list(blocks)
    changed = np.flatnonzero(trial != intact(len(blocks)))
    elsewhere = (trial["block"] != np.arange(len(blocks))) | (trial["runs"] > 1) | (trial["pair"] != ALONE)
    modules = {place: network.get_submodule(names[trial[place]["block"]]) for place in np.flatnonzero(elsewhere)}
    with contextlib.ExitStack() as stack:
        for place, module in modules.items():
            stack.enter_context(_in_place(network, names[place], module))
        for place in changed:
            move = trial[place]
            block = blocks[names[move["block"]]]
            if left_out(move) and isinstance(block, Block):
                stack.enter_context(_in_place(network, names[place], Skipped(block)))  # its branch is not run
                continue
            stack.enter_context(altered(block, move, replacement))
            if move["pair"] in (LOOP, AVERAGE):
                if place == 0 or trial[place - 1]["pair"] != move["pair"]:
                    stack.enter_context(_together(_neighbours(trial, modules, place), move))
                continue
            if move["runs"] > 1:
                stack.enter_context(_again(modules[place], move["runs"] - 1))
            if move["pair"] == FIRST:
                second = blocks[names[trial[place + 1]["block"]]]
                stack.enter_context(_side_by_side((block, second), (modules[place], modules[place + 1])))
        yield network


@contextlib.contextmanager
def altered(block: Block | Foreign, move: np.void, replacement: Replacement = NONE) -> Iterator[None]:
    """A block whose branches give what a move says, for the length of a ``with``.

    They give 0 where the block is left out, their own output times the gate, their mean over the data,
    or the output for another example of the batch.
    """
    with contextlib.ExitStack() as stack:
        if left_out(move):
            for end in ends(block):
                stack.enter_context(_hooked(end, torch.zeros_like))
        elif move["branch"] == MEAN:
            for end, mean in zip(ends(block), replacement.means[move["block"]], strict=True):
                stack.enter_context(_hooked(end, partial(_for_all, mean)))
        elif move["branch"] == OTHER:
            for end in ends(block):
                stack.enter_context(_hooked(end, lambda out: out[derangement(len(out), replacement.seed)]))
        elif move["gate"] != 1:
            gate = float(move["gate"])
            for end in ends(block):
                stack.enter_context(_hooked(end, lambda out: gate * out))
        yield


def left_out(move: np.void) -> bool:
    """Whether nothing of the block's branch is left."""
    return bool(move["runs"] == 0 or move["gate"] == 0)


def derangement(n: int, seed: int) -> Tensor:
    """For each of n examples another one, each taken once; shape (n,). The same for every trial, so trials are paired.

    Raises
    ------
    BadInput
        n is 1.
    """
    if n < 2:
        raise BadInput("a batch holds one example, which has no other; choose another --batch-size")
    cycle = np.random.default_rng([seed, n]).permutation(n)
    other = np.empty(n, int)
    other[cycle] = np.roll(cycle, 1)
    return torch.from_numpy(other)


def means(
    network: nn.Module, blocks: Mapping[str, Block | Foreign], which: Iterable[int], inputs: Iterable[Tensor]
) -> list[list[Tensor]]:
    """The mean over examples of what branches give in the intact network.

    Parameters
    ----------
    network : maps a batch to outputs; its blocks are `blocks`
    blocks : see `ensemble.blocks.blocks.blocks`
    which : numbers of the blocks that are asked for; others get nothing
    inputs : batches

    Returns
    -------
    list, one a block, of lists, one a branch, of float32 Tensor, shape (1, …)
    """
    which = set(which)
    ending = [ends(block) if number in which else () for number, block in enumerate(blocks.values())]
    sums: dict[tuple[int, int], np.ndarray] = {}
    examples = 0
    with contextlib.ExitStack() as stack:
        for number, branches in enumerate(ending):
            for place, end in enumerate(branches):

                def add(out: Tensor, key: tuple[int, int] = (number, place)) -> Any:
                    # numpy's sum, in float64: torch's may depend on the number of threads
                    part = out.float().cpu().numpy().sum(axis=0, dtype=np.float64)
                    if key in sums and sums[key].shape != part.shape:
                        raise BadInput(
                            "branches give outputs of several shapes, which have no mean; use another lesion"
                        )
                    sums[key] = sums.get(key, 0) + part

                stack.enter_context(_hooked(end, add))
        with evaluating(network), torch.no_grad():
            for batch in inputs:
                predict(network, batch)
                examples += length(batch)
    return [
        [torch.from_numpy(sums[number, place] / examples).float()[None] for place in range(len(branches))]
        for number, branches in enumerate(ending)
    ]


def _for_all(mean: Tensor, out: Tensor) -> Tensor:
    """The same output for every example."""
    return mean.to(out).expand_as(out).clone()


@contextlib.contextmanager
def _hooked(end: nn.Module, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """A module whose output, or the first of several, is changed; where the change gives None, it is only looked at."""

    def hook(_: object, inputs: tuple, output: Any) -> Any:
        changed = change(first(output))
        return None if changed is None else _with_first(output, changed)

    with _handle(end.register_forward_hook(hook)):
        yield


@contextlib.contextmanager
def _in_place(network: nn.Module, name: str, module: nn.Module) -> Iterator[None]:
    """The network with another module of this name."""
    parent, _, child = name.rpartition(".")
    holder = network.get_submodule(parent)
    before = getattr(holder, child)
    setattr(holder, child, module)
    try:
        yield
    finally:
        setattr(holder, child, before)


@contextlib.contextmanager
def _again(module: nn.Module, times: int) -> Iterator[None]:
    """A module that is applied to its own output, so many times more."""

    def hook(_: object, args: tuple, kwargs: Mapping, output: Any) -> Any:
        refuse_cache(module, args, kwargs)
        for _ in range(times):
            x = first(output)
            args, kwargs = _with_stream(args, kwargs, x)
            output = module.forward(*args, **kwargs)
        return output

    with _handle(module.register_forward_hook(hook, with_kwargs=True)):
        yield


def _neighbours(trial: np.ndarray, modules: Mapping[Any, nn.Module], place: Any) -> list[nn.Module]:
    """The modules from a place on that run together."""
    others = np.flatnonzero(trial["pair"][place:] != trial["pair"][place])
    return [modules[each] for each in range(place, place + others[0] if len(others) else len(trial))]


@contextlib.contextmanager
def _together(modules: Sequence[nn.Module], move: np.void) -> Iterator[None]:
    """Modules in a row that run several times as a whole: in a loop, or all on the same input, and the mean goes on."""
    mean, times = move["pair"] == AVERAGE, int(move["runs"])
    given: list[tuple[tuple, Mapping]] = []
    outputs: list[Tensor] = []

    def before(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        refuse_cache(module, args, kwargs)
        if module is modules[0]:
            given.clear()
            outputs.clear()
        given.append((args, kwargs))
        return _with_stream(args, kwargs, stream(*given[0])) if mean else None

    def after(module: nn.Module, _: tuple, output: Any) -> Any:
        outputs.append(first(output).clone())  # what comes out may be added to in place
        if module is not modules[-1]:
            return None
        x = torch.stack(outputs).mean(0) if mean else outputs[-1]
        for _again in range(times - 1):
            outputs[:] = [x]
            for each, (args, kwargs) in zip(modules, given, strict=True):
                args, kwargs = _with_stream(args, kwargs, x if mean else outputs[-1])
                outputs.append(first(each.forward(*args, **kwargs)).clone())
            x = torch.stack(outputs[1:]).mean(0) if mean else outputs[-1]
        return _with_first(output, x)

    with contextlib.ExitStack() as stack:
        for module in modules:
            stack.enter_context(_handle(module.register_forward_pre_hook(before, with_kwargs=True)))
            stack.enter_context(_handle(module.register_forward_hook(after)))
        yield


@contextlib.contextmanager
def _side_by_side(blocks: Sequence[Block | Foreign], modules: Sequence[nn.Module]) -> Iterator[None]:
    """Two blocks in a row of which the second sees the input of the first; the sum has both branches."""
    branches = [ends(block) for block in blocks]
    if any(isinstance(block, Block) and not _only_adds(block) for block in blocks):
        raise BadInput("blocks that do more than add their branch cannot share their input; use another lesion")
    scale = [getattr(block, "survival", 1.0) for block in blocks]
    kept = {}

    def pass_on(_: object, args: tuple, kwargs: Mapping, output: Any) -> Any:
        x = stream(args, kwargs)
        if (
            len(branches[0]) > 1
        ):  # both branches of a layer, and no norm after the sum: see `ensemble.blocks.blocks.check`
            kept["branch"] = first(output) - x
        return _with_first(output, x)

    def keep(out: Tensor) -> None:
        kept["branch"] = out.clone()  # what comes out may be added to in place

    def add(out: Tensor) -> Any:
        return out + scale[0] / scale[1] * kept["branch"]

    with contextlib.ExitStack() as stack:
        stack.enter_context(_handle(modules[0].register_forward_hook(pass_on, with_kwargs=True)))
        if len(branches[0]) > 1:
            stack.enter_context(_hooked(modules[1], add))
        else:
            stack.enter_context(_hooked(branches[0][0], keep))
            stack.enter_context(_hooked(branches[1][0], add))
        yield


def _only_adds(block: Block) -> bool:
    """Whether a block is a sum; hyper-connections also mix what it is added to."""
    return isinstance(block.join, Add) and not isinstance(block.shortcut, StreamMix)


@contextlib.contextmanager
def _handle(handle: RemovableHandle) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()


def _with_stream(args: tuple, kwargs: Mapping, x: Tensor) -> tuple[tuple, dict[str, Any]]:
    """What a module is given, with another tensor in the first place."""
    return ((x, *args[1:]), dict(kwargs)) if args else ((), {**kwargs, next(iter(kwargs)): x})


def _with_first(output: Any, value: Tensor) -> Any:
    """A module's output with another tensor in the first place."""
    return type(output)((value, *output[1:])) if isinstance(output, tuple | list) else value
