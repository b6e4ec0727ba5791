"""How little a block changes what passes it: scores from activations alone.

Three scores of a block that makes y of x, by adding F to what its shortcut carries:

- influence, 1 − cos(x, y), the cosine of the vectors of channels, mean over positions (ShortGPT, Men et al. 2024,
  2403.03853 §3);
- angle, arccos(cos(x, y))/π (Gromov et al. 2024, 2403.17887 §3). There x and y are of the last token; here they are
  all of an example, flattened;
- relative, the norm of what is added over that of what is carried, both of an example, flattened.

The less, the more redundant the block is said to be. Means over examples count each example once. Vectors that are 0
have no direction: such positions, or examples, are left out.

Conventions: x and y are the stream before and after the block, with what follows the sum, a ReLU or a norm. Where a
transformer's layer is two blocks, the stream between them is no module's output; it is x + F, and that it is, is seen
from what comes out of the layer. Channels are the second of four dimensions, unless a LayerNorm of the layer is as
wide as the last one and not as the second; of two or three dimensions they are the last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.attribution.paired import mean_of
from ensemble.blocks.blocks import Foreign, check, layers_of
from ensemble.blocks.streams import Branch, Stream, first, stream
from ensemble.flow.parts import added
from landscape.evaluation.calling import predict
from landscape.evaluation.measure import Batches, evaluating
from landscape.nested import length, take
from landscape.networks import Block

__all__ = ["SCORES", "Scores", "scores"]

SCORES = {
    f"{name}{end}": ("f8", np.nan, {"long_name": said.format(text), "units": "1"})
    for name, text in {
        "influence": "1 − cosine of the stream before and after the block",
        "angle": "angle between the stream before and after the block, over π",
        "relative": "norm of what the block adds, relative to what is carried",
    }.items()
    for end, said in {"": "{}", "_se": "standard error over examples: {}"}.items()
}


class Scores(NamedTuple):
    """Scores of each block for each example: float64 ndarrays, shape (blocks, examples).

    NaN where a score has no meaning: influence and angle where the block changes the shape, relative where it has no
    shortcut; where the stream cannot be observed; and for an example whose vectors are 0.
    """

    influence: np.ndarray
    angle: np.ndarray
    relative: np.ndarray

    def of(self, block: int) -> dict[str, float]:
        """The means over examples and their standard errors s/√n, see `SCORES`."""
        numbers = {}
        for name, each in zip(self._fields, self, strict=True):
            each = each[block][~np.isnan(each[block])]
            numbers[name], numbers[f"{name}_se"] = mean_of(each, None) if len(each) else (np.nan, np.nan)
        return numbers


class _Parts(NamedTuple):
    """The blocks of a layer: how many branches each has, and whether there is one, which is the layer."""

    branches: list[int]
    whole: bool


class _Seen(NamedTuple):
    """A block at a batch; None where it cannot be told."""

    before: Tensor | None = None
    after: Tensor | None = None
    carried: Tensor | None = None
    added: Tensor | None = None
    axis: int = 1  # of the channels


def scores(network: nn.Module, known_blocks: Mapping[str, Block | Foreign], batches: Batches) -> Scores:
    """Score every block in one pass.

    Parameters
    ----------
    network : with stored BatchNorm statistics and no dropout; unchanged afterwards
    known_blocks : its blocks, see `ensemble.blocks.blocks.blocks`. Those described by the user are seen if they have
        one branch, or are named like the module that adds their branches, or like a part of it: ``layers.3``.
    batches : inputs and targets on the network's device

    Raises
    ------
    BadInput
        A block is not what it is said to be, see `ensemble.blocks.blocks.check`.

    Notes
    -----
    What is carried is what the join makes of the shortcut alone. In a network that is not ours it is x, where y is
    x + F, or a ReLU or a norm of that; elsewhere, as with a projection, it cannot be observed. Of a block whose sum is
    taken by no module of its own, x and y are what meets there and the sum. Where two branches see
    the same x, as in GPT-J, the stream before the second has the first added nevertheless. Every position counts,
    padding too.
    """
    each: list[list[np.ndarray]] = []  # batches of (blocks, 3, examples)

    def note(numbers: Iterable[int], blocks: Iterable[_Seen]) -> None:
        for number, seen in zip(numbers, blocks, strict=True):
            each[-1][number] = _scores(seen, each[-1][number].shape[1])

    with evaluating(network), torch.no_grad(), contextlib.ExitStack() as stack:
        check(network, known_blocks, take(batches[0][0], slice(3)))
        for number, block in enumerate(known_blocks.values()):
            if isinstance(block, Block):
                stack.enter_context(_watched(block, [], lambda *s, b=block, n=number: note([n], [_of_block(b, *s)])))
        for layer, numbers in _layers(network, known_blocks).items():
            names, branches = zip(
                *((list(known_blocks)[n], list(known_blocks.values())[n].branches) for n in numbers), strict=True
            )
            parts = _Parts([len(ends) for ends in branches], list(names) == [layer])
            ends = [end for some in branches for end in some]
            report = lambda *s, numbers=numbers, parts=parts: note(numbers, _of_layer(parts, *s))  # noqa: E731
            stack.enter_context(_watched(network.get_submodule(layer), ends, report))
        outside = _outside(network, known_blocks)
        for inputs, _ in batches:
            each.append([np.full((3, length(inputs)), np.nan) for _ in known_blocks])
            sums = {number: Branch("", joined=[]) for number in outside}
            followed = Stream({outside[number]: branch for number, branch in sums.items()}, {}).followed(inputs)
            with followed if outside else contextlib.nullcontext():
                predict(network, inputs)
            for number, branch in sums.items():
                if len(branch.joined or ()) == 1:
                    note([number], [_Seen(x, y, x, more, _axis(x, network)) for x, more, y in branch.joined or ()])
    return Scores(*np.concatenate([np.stack(blocks, axis=1) for blocks in each], axis=2))


def _outside(network: nn.Module, blocks: Mapping[str, Block | Foreign]) -> dict[int, nn.Module]:
    """By their numbers, the ends of blocks of one branch whose sums are taken by no module of their own."""
    adding = layers_of(network, blocks)
    return {
        number: block.branches[0]
        for number, (name, block) in enumerate(blocks.items())
        if isinstance(block, Foreign) and name not in adding and len(block.branches) == 1 and not block.concatenated
    }


def _layers(network: nn.Module, blocks: Mapping[str, Block | Foreign]) -> dict[str, list[int]]:
    """The modules that add the branches of foreign blocks, and the numbers of these blocks in each."""
    adding = layers_of(network, {name: block for name, block in blocks.items() if isinstance(block, Foreign)})
    layers: dict[str, list[int]] = {}
    for number, name in enumerate(blocks):
        if name in adding:
            layers.setdefault(adding[name], []).append(number)
    return layers


@contextlib.contextmanager
def _watched(module: nn.Module, ends: Sequence[nn.Module], report: Callable) -> Iterator[None]:
    """Call ``told(module, x, y, outputs of its ends, [(input, output) of its norms])`` whenever a module has run.

    All are copies where something may yet be added in place.
    """
    x: list[Tensor] = []
    outs: list[Tensor] = []
    norms: list[tuple[Tensor, Tensor]] = []

    def before(_, args, kwargs):
        for kept in (x, outs, norms):
            kept.clear()
        if isinstance(given := stream(args, kwargs), Tensor):
            x.append(given.clone())

    def branch(_, args, out):
        outs.append(first(out).clone())

    def norm(_, args, kwargs, out):
        norms.append((stream(args, kwargs).clone(), first(out).clone()))

    def after(_, args, out):
        if x and isinstance(first(out), Tensor):
            report(module, x[0], first(out), list(outs), list(norms))

    handles = [module.register_forward_pre_hook(before, with_kwargs=True)]
    handles += [end.register_forward_hook(branch) for end in ends]
    for part in module.modules() if ends else ():
        if "Norm" in type(part).__name__ and not list(part.children()):
            handles.append(part.register_forward_hook(norm, with_kwargs=True))
    handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_block(block: Block, _module: nn.Module, x: Tensor, y: Tensor, *_: Any) -> _Seen:
    carried, more = (None, None) if block.shortcut is None else added(block, x)
    axis = block.channels
    if axis is None:  # (N, C, H, W), or (N, T, C) of a transformer
        axis = 1 if x.ndim == 4 else -1
    return _Seen(x, y, carried, more, axis)


def _of_layer(parts: _Parts, module: nn.Module, x: Tensor, y: Tensor, outs: list[Tensor], norms: list) -> list[_Seen]:
    """The blocks of a layer, from what its branches gave."""
    cuts = np.cumsum([0, *parts.branches])
    try:
        sums: list[Any] = [sum(out.reshape(x.shape) for out in outs[a:b]) for a, b in pairwise(cuts)]
        streams = _streams(x, sums, y, norms)
    except RuntimeError:  # branches of another shape
        sums, streams = [], None
    axis = _axis(x, module)
    if streams is not None:
        return [_Seen(*seen, axis) for seen in zip(streams, streams[1:], streams, sums, strict=False)]
    return [_Seen(x, y, axis=axis)] if parts.whole else [_Seen()] * len(parts.branches)


def _axis(x: Tensor, module: nn.Module) -> int:
    """Of the channels of a stream that goes through a module."""
    widths = [getattr(part, "normalized_shape", ()) for part in module.modules()]
    return -1 if x.ndim != 4 or ((x.shape[-1],) in widths and x.shape[1] != x.shape[-1]) else 1


def _streams(x: Tensor, sums: list[Tensor], y: Tensor, norms: list[tuple[Tensor, Tensor]]) -> list[Tensor] | None:
    """The stream before, between and after branches; None if their sums do not lead to what comes out."""

    def normed(total: Tensor) -> Tensor | None:
        return next((out for given, out in norms if _equal(given, total)), None)

    for follow in (lambda total: total, torch.relu, normed):
        streams = [x]
        for branch in sums:
            if (out := follow(streams[-1] + branch)) is None:
                break
            streams.append(out)
        else:
            if _equal(streams[-1], y):
                return streams
    return None


def _equal(one: Tensor, other: Tensor) -> bool:
    """But for rounding, of a few sums."""
    if one.shape != other.shape or not other.is_floating_point():
        return False
    size = float(other.abs().amax())
    return torch.allclose(one, other.to(one.dtype), rtol=0, atol=16 * torch.finfo(other.dtype).eps * size)


def _scores(seen: _Seen, examples: int) -> np.ndarray:
    """Influence, angle and relative size for each example: float64 ndarray, shape (3, examples)."""
    numbers = np.full((3, examples), np.nan)
    if seen.before is None or seen.after is None or len(seen.before) != examples:
        return numbers
    if seen.before.shape == seen.after.shape:
        x, y = (_vectors(t, seen.axis) for t in (seen.before, seen.after))
        cosine = _cosine(x, y)  # (N, positions)
        known = ~np.isnan(cosine)
        with np.errstate(invalid="ignore"):
            numbers[0] = 1 - np.where(known, cosine, 0).sum(1) / known.sum(1)
        numbers[1] = np.arccos(_cosine(x.reshape(examples, -1), y.reshape(examples, -1))) / np.pi
    if seen.added is not None and seen.carried is not None and len(seen.added) == examples:
        more, carried = (_norm(_vectors(t, seen.axis).reshape(examples, -1)) for t in (seen.added, seen.carried))
        with np.errstate(invalid="ignore", divide="ignore"):
            numbers[2] = np.where(carried > 0, more / carried, np.nan)
    return numbers


def _vectors(t: Tensor, axis: int) -> np.ndarray:
    """(N, …) -> (N, positions, channels) in float64; numpy's sums do not depend on threads."""
    rows = t.detach().double().cpu().movedim(axis, -1).numpy()
    return rows.reshape(len(rows), -1, rows.shape[-1])


def _cosine(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Over the last axis; NaN where one is 0."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.clip((x * y).sum(-1) / (_norm(x) * _norm(y)), -1, 1)


def _norm(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x * x).sum(-1))
