"""The blocks of a network that a lesion can leave out, multiply or move.

Blocks of our own networks are `landscape.networks.Block`. Those of torchvision, timm and Hugging Face are known by
their classes (`ensemble.blocks.architectures`); those of others are found by the sums of a forward pass
(`ensemble.blocks.sums`), or their user says in a few lines where their branches end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ensemble.blocks.architectures import concatenates, known
from ensemble.blocks.streams import Branch, Stream, first, stream
from ensemble.blocks.sums import branches
from landscape.errors import BadInput, did_you_mean, raised
from landscape.evaluation.calling import attempt, evaluating, predict
from landscape.nested import Nested, length
from landscape.networks import Block
from landscape.networks.transformer_layers import Layer

__all__ = ["Foreign", "blocks", "check", "ends", "layers_of", "of_part", "running", "stages"]


@dataclass(frozen=True)
class Foreign:
    """A residual block of a network that is not ours.

    Attributes
    ----------
    branches : submodules whose outputs are added to the stream; a transformer's layer has two, attention and MLP
    concatenated : whether they are put beside the stream, as in DenseNets: without the block these channels are 0
    """

    branches: tuple[nn.Module, ...]
    concatenated: bool = False


def blocks(
    network: nn.Module,
    described: Callable[[nn.Module], Mapping] | None = None,
    layers: bool = False,
    inputs: Nested = None,
) -> dict[str, Block | Foreign]:
    """The blocks of a network that can be left out, by name, in the order of the forward pass.

    A residual block can always be left out: its shortcut stays. A block without a shortcut can be if
    its input and output have the same shape.

    Parameters
    ----------
    network : nn.Module
        Of ours, or any other one.
    described : callable, optional
        Called as ``described(network)``, returns the blocks of a network where others are meant than those found: a
        dict of names, in the order of the forward pass, to the name of the submodule whose output is added to the
        stream, or to a list of such names for a block of several branches. Blocks that are named like a submodule
        in a Sequential or ModuleList can also trade places. For a network of three residual layers::

            def mine(network):
                return {f"layers.{i}": f"layers.{i}.last_linear" for i in range(3)}

    layers : bool
        Whether a transformer's layer is one block, instead of two, attention and MLP.
    inputs : nested tensors, optional
        A few examples, by which blocks of a network of unknown classes are found.

    Returns
    -------
    dict
        From names to blocks: `Block` for our networks, `Foreign` for others.

    Raises
    ------
    BadInput
        There is none, one serves in two places, or the description names what is not there.

    Examples
    --------
    >>> from landscape.networks import build
    >>> [*blocks(build("resnet", depth=8, width=2))]
    ['stages.0.0', 'stages.1.0', 'stages.2.0']
    """
    if described is not None:
        try:
            description = described(network)
        except (Exception, SystemExit) as error:  # of a user's function, of any kind
            raise BadInput(f"the function that describes blocks fails ({raised(error)}); mend it") from error
        return _described(network, description)
    known_blocks: dict[str, Block | Foreign]
    known_blocks = {name: m for name, m in network.named_modules() if isinstance(m, Block) and m.removable}
    first_names = {block: name for name, block in known_blocks.items()}
    for name, module in network.named_modules(remove_duplicate=False):
        if module in first_names and name != first_names[module]:
            raise BadInput(
                f"{first_names[module]} and {name} are one block, which cannot be left out of one place alone; build a "
                "block for each place"
            )
    if known_blocks and layers:
        return _layers_as_one(network, known_blocks)
    if not known_blocks:
        known_blocks = {
            ".".join(filter(None, (name, part))): Foreign(ending, concatenates(network.get_submodule(name)))
            for name, parts in (known(network) or ({} if inputs is None else branches(network, inputs))).items()
            for part, ending in ({"": tuple(parts.values())} if layers else _single(parts)).items()
        }
    if not known_blocks:
        raise BadInput(
            f"{type(network).__name__} has no block that can be removed: "
            + (
                "its class is not known; give a few inputs, by which they are found, or a function that says where "
                "branches end: --blocks"
                if inputs is None
                else "no submodule's output is added to what it was made of, and goes nowhere else; if something else "
                "is, such as a product with a gate, put it into a module of its own"
            )
        )
    return known_blocks


def _layers_as_one(network: nn.Module, parts: Mapping[str, Block | Foreign]) -> dict[str, Block | Foreign]:
    """The blocks of a network of ours, those of a layer as one."""
    joined: dict[str, Block | Foreign] = {}
    for name, block in parts.items():
        layer = name.rpartition(".")[0]
        if not isinstance(network.get_submodule(layer), Layer):
            joined[name] = block
        elif layer not in joined:
            inner = [part for other, part in parts.items() if other.startswith(f"{layer}.")]
            joined[layer] = Foreign(tuple(end for part in inner for end in ends(part)))
    return joined


def ends(block: Block | Foreign) -> tuple[nn.Module, ...]:
    """The submodules whose outputs a block adds to the stream.

    Raises
    ------
    BadInput
        It has no shortcut, so nothing is added to anything.
    """
    if isinstance(block, Foreign):
        return block.branches
    if block.shortcut is None:
        raise BadInput(
            "a block without a shortcut can be left out, moved or run twice, but not multiplied or replaced; "
            "take a residual network"
        )
    return (block.branch,)


def stages(network: nn.Module, blocks: Mapping[str, Block | Foreign]) -> list[list[int]]:
    """The blocks that can stand in for each other: for each stage their numbers among the blocks found.

    A stage is a Sequential or ModuleList; its blocks are of one class and keep the shape. Where there are several
    stages, the first module of each stays where it is (Veit et al. 2016, 1605.06431 §4.2).

    Raises
    ------
    BadInput
        No stage has two such blocks.
    """
    rows: dict[tuple[str, type], list[int]] = {}
    containers = set()
    for number, (name, block) in enumerate(blocks.items()):
        parent = name.rpartition(".")[0]
        try:
            container, module = network.get_submodule(parent), network.get_submodule(name)
        except AttributeError:  # a part of a layer
            continue
        if isinstance(container, nn.Sequential | nn.ModuleList):
            containers.add(parent)
            if not isinstance(block, Block) or block.keeps_shape:
                rows.setdefault((parent, type(module)), []).append(number)
    if len(containers) > 1:
        names = list(blocks)
        first = {f"{parent}.{next(iter(network.get_submodule(parent)._modules))}" for parent in containers}
        rows = {key: [n for n in row if names[n] not in first] for key, row in rows.items()}
    movable = [row for row in rows.values() if len(row) > 1]
    if not movable:
        raise BadInput(
            f"no two blocks of {type(network).__name__} stand in one Sequential or ModuleList and keep the shape, so "
            "none can stand in for another; whole layers of a transformer may: --layers"
        )
    return movable


def check(
    network: nn.Module,
    blocks: Mapping[str, Block | Foreign],
    inputs: Nested,
    moved: Iterable[str] = (),
    how: str = "",
) -> None:
    """Refuse blocks that are not what they are said to be, before hours are spent.

    Parameters
    ----------
    network : in evaluation mode
    blocks : its blocks
    inputs : a few examples
    moved : names of blocks that will run in another place, or twice, or side by side
    how : the kind of lesion, see `ensemble.lesions.kinds.KINDS`; "replace" if branches are to give something else

    Raises
    ------
    BadInput
        A branch is not run once in a pass; its output is no tensor, or is to be replaced and has no row for each
        example; it is not added to the stream, or its layer adds something else (`ensemble.blocks.streams`); a block
        to be moved never runs as a module, changes the shape, keeps keys and values, or is added outside of itself,
        although it is to run twice, or does more than add its several branches although it is to run side by side.
    """
    _, differentiates = attempt(network, inputs)
    branches = {
        end: Branch(name, block.concatenated, joined=[] if name in moved else None)
        for name, block in blocks.items()
        if isinstance(block, Foreign)
        for end in block.branches
    }
    layers = {
        name: (
            network.get_submodule(name),
            [branches.setdefault(end, Branch(name)) for end in layer_ends],
        )
        for name, layer_ends in _whole_layers(network, blocks).items()
    }
    ending = {name: ends(blocks[name]) for name in moved} if how == "parallel" else {}
    calls: dict[str, tuple] = {}
    added: dict[nn.Module, Tensor] = {}
    with contextlib.ExitStack() as stack:
        for name in moved:

            def note(_: object, args: tuple, kwargs: Mapping, out: Any, name: str = name) -> None:
                calls[name] = args, kwargs, first(out).detach().clone()  # sums are often taken in place

            handle = network.get_submodule(name).register_forward_hook(note, with_kwargs=True)
            stack.callback(handle.remove)
            for end in ending.get(name, ()):
                keep = lambda end, _, out: added.update({end: first(out).detach().clone()})  # noqa: E731
                stack.callback(end.register_forward_hook(keep).remove)
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.set_grad_enabled(differentiates))
        norms = [part for part in network.modules() if "Norm" in type(part).__name__ and part not in branches]
        stack.enter_context(Stream(branches, layers, norms).followed(inputs))
        predict(network, inputs)
    for branch in branches.values():
        if branch.shapes or branch.name in blocks:  # other branches of a layer need not run
            _check_branch(branch, length(inputs) if how == "replace" else None)
    for name in moved:
        block, module = blocks[name], network.get_submodule(name)
        if name not in calls:
            raise BadInput(f"{name} itself never runs, only parts of it, so block {name} cannot move; delete it")
        if isinstance(block, Foreign) and module in block.branches:
            _check_outside(name, how, stream(*calls[name][:2]), branches[module], len(block.branches))
    for name, (args, kwargs, after) in calls.items():
        before = stream(args, kwargs)
        if before.shape != after.shape:
            raise BadInput(
                f"block {name} makes {tuple(after.shape[1:])} of {tuple(before.shape[1:])}, so it cannot stand in for "
                "another; lesion it in its place"
            )
        if how in ("repeat", "loop", "average"):
            refuse_cache(network.get_submodule(name), args, kwargs)
        several = [added[end] for end in ending.get(name, ())]
        if len(several) > 1 and not _adds(before.detach(), several, after):
            raise BadInput(
                f"block {name} does more than add its branches, so it cannot share its input; use another lesion"
            )


def of_part(blocks: Mapping[str, Block | Foreign], part: str) -> dict[str, Block | Foreign]:
    """The blocks that are one part of their layers: those called ``layers.0.attention``, ``layers.1.attention``, …

    Raises
    ------
    BadInput
        There is none.
    """
    parts = {name: name.rpartition(".")[2] for name in blocks}
    there = sorted(each for each in {*parts.values()} if not any(map(str.isdigit, each)))
    if part not in there:
        raise BadInput(
            f"no layer has a part called {part!r}; "
            + (
                f"there are {', '.join(there)}{did_you_mean(part, there)}"
                if there
                else "its blocks have no parts: leave it out"
            )
        )
    return {name: block for name, block in blocks.items() if parts[name] == part}


def running(network: nn.Module, blocks: Mapping[str, Block | Foreign], inputs: Nested) -> dict[str, Block | Foreign]:
    """The blocks that inputs pass: of a decoder alone none attends to an encoder."""
    ran: set[nn.Module] = set()
    with contextlib.ExitStack() as stack:
        for module in {end for block in blocks.values() if isinstance(block, Foreign) for end in block.branches}:
            stack.callback(module.register_forward_hook(lambda module, *_: ran.add(module)).remove)
        attempt(network, inputs)
    return {
        name: block for name, block in blocks.items() if isinstance(block, Block) or ran.intersection(block.branches)
    }


def _check_branch(branch: Branch, examples: int | None) -> None:
    """Refuse what is not run once, or is not added; or has no row for each example, if there are some."""
    name, times = branch.name, len(branch.shapes)
    if times != 1:
        raise BadInput(
            f"what ends a branch of block {name} ran {times} times in a pass, expected once; name the "
            "submodule whose output is added to the stream, if it serves this block alone"
        )
    (shape,) = branch.shapes
    if not shape or examples not in (None, shape[0]):
        raise BadInput(
            f"a branch of block {name} does not end in a tensor with a row for each example; "
            "name the submodule whose output is added to the stream"
        )
    if problem := branch.problem():
        raise BadInput(
            f"what ends a branch of block {name} {problem}, expected one sum with the stream; name the submodule "
            "whose output is added to the stream"
        )


def layers_of(network: nn.Module, blocks: Mapping[str, Block | Foreign], ends: bool = False) -> dict[str, str]:
    """The modules that add the branches of blocks, by the blocks' names: a known layer, or what a block is named after.

    A block that its user calls otherwise has none, nor one whose sum is outside of what it is named after, but that
    this is taken for it with `ends`.
    """
    layers, modules = known(network), dict(network.named_modules())
    adding: dict[str, str] = {}
    for name, block in blocks.items():
        places = [name, name.rpartition(".")[0]]
        ending: set[nn.Module] = set(block.branches) if isinstance(block, Foreign) else {block}
        around = [place for place in places if place in modules and _holds(modules[place], ending, ends)]
        if around:
            adding[name] = next((place for place in around if place in layers), around[0])
    return adding


def _holds(module: nn.Module, ending: set[nn.Module], ends: bool) -> bool:
    """Whether branches end within a module that may add them: it is none of them, and no mere container."""
    if module in ending:
        return isinstance(module, Block) or (ends and ending == {module})
    return ending <= set(module.modules()) and type(module) not in (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def _check_outside(name: str, how: str, given: Any, branch: Branch, ends: int) -> None:
    """Refuse to move a block whose sum is taken elsewhere, but where its module is all of its branch and runs once."""
    again = how in ("repeat", "loop", "average", "parallel")
    streams = [before for before, _, _ in branch.joined or ()]
    whole = ends == 1 and all(isinstance(given, Tensor) and torch.equal(given, before) for before in streams)
    if again or not whole:
        why = "which cannot run again without it" if again else "which is only a part of its branch"
        raise BadInput(
            f"the sum that ends block {name} is taken outside of {name}, {why}; delete the block, or write it as a "
            "module that takes the sum"
        )


def _whole_layers(network: nn.Module, blocks: Mapping[str, Block | Foreign]) -> dict[str, list[nn.Module]]:
    """The modules whose every branch is known, and where these end: known layers, and blocks named like a module.

    Layers of ours are left out: their blocks say themselves what they do with the stream, or with several.
    """
    layers = known(network)
    whole: dict[str, list[nn.Module]] = {}
    for name, layer in layers_of(network, blocks).items():
        block, module = blocks[name], network.get_submodule(layer)
        if isinstance(module, Layer) and all(isinstance(each, Block) for each in module):
            continue
        if isinstance(block, Foreign) and not block.concatenated:
            parts = set(layers.get(layer, {}).values())
            if set(block.branches) <= parts:
                whole[layer] = list(layers[layer].values())
            elif name == layer and network.get_submodule(layer) not in block.branches:
                whole[layer] = list(block.branches)
    return whole


def _adds(before: Tensor, branches: list[Tensor], after: Tensor) -> bool:
    """Whether the stream after a block is that before it and its branches, and no norm of that."""
    if any(branch.shape != before.shape for branch in branches):
        return False
    total: Any = sum(branches)
    return torch.allclose(after, before + total, rtol=1e-3, atol=1e-3 * float(total.abs().max()))


def refuse_cache(module: nn.Module, args: tuple, kwargs: Mapping) -> None:
    """Refuse to run a layer twice that would attend to what it has itself seen the first time."""
    if any(hasattr(value, "get_seq_length") for value in (*args, *kwargs.values())):  # Hugging Face's caches
        raise BadInput(
            f"a {type(module).__name__} keeps the keys and values of what it has seen, so it cannot run twice; "
            "build the network with use_cache=False"
        )


def _single(parts: Mapping[str, nn.Module]) -> dict[str, tuple[nn.Module, ...]]:
    return {part: (end,) for part, end in parts.items()}


def _described(network: nn.Module, description: Mapping) -> dict[str, Block | Foreign]:
    if not isinstance(description, Mapping) or not description:
        raise BadInput(
            f"the description of blocks is a {type(description).__name__}; it must be a dict from a block's name "
            "to that of the submodule whose output is added to the stream, with one block or more"
        )
    modules = dict(network.named_modules())
    described_blocks: dict[str, Block | Foreign] = {}
    for name, given in description.items():
        ending = list(given) if isinstance(given, list | tuple) else [given]
        wrong = [branch for branch in ending if branch not in modules]
        if wrong or not ending:
            raise BadInput(
                f"{type(network).__name__} has no submodule {wrong[0] if wrong else 'for'} that block {name} "
                "could end in; name one of named_modules()"
            )
        described_blocks[str(name)] = Foreign(tuple(modules[branch] for branch in ending))
    return described_blocks
