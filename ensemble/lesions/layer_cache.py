"""Share the beginnings of lesions in networks that are not ours: their own forward goes on from a layer in the middle.

Nothing is known of such a network but which modules are its layers, and that each runs once. Its forward pass is run as
it is, with layers that are ahead of a lesion put out of work: the last of them gives what it gave before, the others
NaN. Whether that is enough is tried once, on one example, at every layer. Where all outputs are as before, to the bit,
nothing but that one activation passes; elsewhere trials start further ahead, or at the input. A branch that is left out
is not computed either, once it is known what shape its 0 has; that too is tried.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.blocks.blocks import Foreign, layers_of
from ensemble.blocks.streams import first as first_of
from ensemble.blocks.streams import stream
from ensemble.lesions.context import NONE, Replacement, arranged, left_out
from ensemble.lesions.plans import intact
from ensemble.lesions.prefix_cache import PrefixCache
from landscape.evaluation.accuracy import Accuracy
from landscape.evaluation.calling import predict
from landscape.evaluation.fused import in_dtype
from landscape.evaluation.measure import Batches, Loss, evaluating
from landscape.evaluation.sampling import Tolerance
from landscape.nested import Nested, leaves, mapped, take
from landscape.networks.block import Block

__all__ = ["LayerCache"]


class LayerCache(PrefixCache):
    """A network of any make on batches, measured trial by trial. No trial may pair blocks.

    Parameters
    ----------
    network : borrowed, not changed
    blocks : see `ensemble.blocks.blocks.blocks`
    batches, loss, tolerance, dtype, room, replacement, accuracy, extra : see `PrefixCache`

    Attributes
    ----------
    shares : whether there is a layer at which trials can go on
    """

    def __init__(
        self,
        network: nn.Module,
        blocks: Mapping[str, Block | Foreign],
        batches: Batches,
        loss: Loss,
        tolerance: Tolerance | None = None,
        dtype: torch.dtype = torch.float32,
        room: float = 2**31,
        replacement: Replacement = NONE,
        accuracy: Accuracy | None = None,
        extra: Mapping[str, Loss] = MappingProxyType({}),
    ):
        self._set(batches, loss, tolerance, room, replacement, accuracy, extra)
        self.network, self.known_blocks = network, blocks
        self.theirs, self.device = list(blocks.values()), leaves(batches[0][0])[0].device
        self.runs = in_dtype(network, dtype)
        # Layers in the order in which they run; and by each, where trials go on behind it, the layers whose outputs
        # that takes.
        self.layers: list[str] = []
        self.needed: dict[int, list[int]] = {}
        self.place = [0] * len(blocks)
        # Of each batch, what ends of branches give there, without the numbers; no ends where they must run.
        self.forms: list[dict[nn.Module, Nested]] = [{} for _ in batches]
        self.ends = [end for block in blocks.values() if isinstance(block, Foreign) for end in block.branches]
        adding = layers_of(network, blocks, ends=True) | layers_of(network, blocks)
        if room > 0 and len(adding) == len(blocks):
            with evaluating(network), torch.no_grad():
                few = take(batches[0][0], slice(1))
                self._try(list(dict.fromkeys(adding.values())), few)
                if not self._can_skip(few):
                    self.ends = []
            numbers = [self.layers.index(adding[name]) for name in blocks] if self.needed else []
            if numbers == sorted(numbers):
                steps = [0, *self.needed]
                self.place = [max(step for step in steps if step <= number) for number in numbers] or self.place

    @property
    def shares(self) -> bool:
        return any(self.place)

    def measure(self, trial: np.ndarray, again: Iterable[int] = (), examples: int | None = None) -> dict[str, float]:
        """Measure one trial, see `PrefixCache.measure`."""
        with evaluating(self.network), arranged(self.network, self.known_blocks, trial, self.replacement):
            return super().measure(trial, again, examples)

    def _output(self, batch: int, trial: np.ndarray, again: set[int]) -> Any:
        step, state, kept = self._resume(batch, trial, again)
        later = [each for each in sorted(again) if each > step]
        outputs: dict[int, Nested] = dict(state or {})

        def keep(number: int, output: Any) -> None:
            if any(number in self.needed[each] for each in later):
                outputs[number] = mapped(Tensor.clone, output)  # others may change it in place
            for each in later:
                if number == each - 1:
                    needed = {other: outputs[other] for other in self.needed[each]}
                    if self._room_for(needed):
                        kept.append((each, needed))

        left = [self.theirs[move["block"]] for move in trial if left_out(move)]
        with self._behind(step, state or {}), self._watched(keep), self._skipped(left, self.forms[batch]):
            return predict(self.runs, self.batches[batch][0])

    @contextlib.contextmanager
    def _skipped(self, left: Iterable[Block | Foreign], forms: dict[nn.Module, Nested]) -> Iterator[None]:
        """Branches that are left out give 0 at once where the form of that is known; forms of others are noted."""
        out = {end for block in left if isinstance(block, Foreign) for end in block.branches}

        def note(end: nn.Module, _: object, output: Any) -> None:
            if end not in forms and isinstance(first_of(output), Tensor):
                forms[end] = mapped(lambda tensor: torch.empty_like(tensor, device="meta"), output)

        with contextlib.ExitStack() as stack:
            for end in self.ends:
                if end in out and len(leaves(forms.get(end))) == 1:  # of several tensors only one would be 0
                    stack.enter_context(_forwarding(end, _zeros(forms[end], self.device)))
                elif end not in forms:
                    stack.callback(end.register_forward_hook(note).remove)
            yield

    def _can_skip(self, inputs: Nested) -> bool:
        """Whether outputs are the same, to the bit, where branches that are left out are not computed."""
        forms: dict[nn.Module, Nested] = {}
        with self._skipped((), forms):
            predict(self.runs, inputs)
        for rest in range(2):  # every second one, then the others
            trial = intact(len(self.theirs))
            trial["runs"][rest::2] = 0
            with arranged(self.network, self.known_blocks, trial):
                whole = leaves(predict(self.runs, inputs))
                with self._skipped(self.theirs[rest::2], forms):
                    if not all(map(torch.equal, whole, leaves(predict(self.runs, inputs)))):
                        return False
        return True

    def _try(self, layers: list[str], inputs: Nested) -> None:
        """Find out in which order layers run, and behind which of them the network can go on."""
        self.layers, outputs = layers, {}
        order: list[int] = []

        def note(number: int, output: Any) -> None:
            order.append(number)
            outputs[number] = mapped(Tensor.clone, output)

        with self._watched(note):
            whole = leaves(predict(self.runs, inputs))
        if sorted(order) != list(range(len(layers))):
            return
        self.layers, outputs = [layers[number] for number in order], {i: outputs[n] for i, n in enumerate(order)}
        holders = [name.rpartition(".")[0] for name in self.layers]
        for step in range(1, len(layers)):
            # Also the last layer of every stack before: a decoder attends to what an encoder gives.
            ends = [n for n in range(step - 1) if holders[n] not in holders[n + 1 :]]
            for needed in ([step - 1], [*ends, step - 1]) if ends else ([step - 1],):
                with contextlib.suppress(Exception), self._behind(step, {number: outputs[number] for number in needed}):
                    again = leaves(predict(self.runs, inputs))
                    if len(again) == len(whole) and all(map(torch.equal, again, whole)):
                        self.needed[step] = needed
                        break

    @contextlib.contextmanager
    def _behind(self, step: int, state: Mapping[int, Nested]) -> Iterator[None]:
        """The network with its first layers out of work; of some there is a state, which they give."""
        with contextlib.ExitStack() as stack:
            for number in range(step):
                layer = self.network.get_submodule(self.layers[number])
                stack.enter_context(_forwarding(layer, _given(state.get(number), state[step - 1])))
            yield

    @contextlib.contextmanager
    def _watched(self, keep: Any) -> Iterator[None]:
        """Call ``keep(number of the layer, its output)`` when a layer has run."""
        with contextlib.ExitStack() as stack:
            for number, name in enumerate(self.layers):
                hook = lambda _, __, output, number=number: keep(number, output)  # noqa: E731
                stack.callback(self.network.get_submodule(name).register_forward_hook(hook).remove)
            yield


def _given(output: Nested | None, like: Nested) -> Any:
    """A forward that gives an output; where there is none, NaN with the shape of what it is given."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        if output is not None:
            return mapped(Tensor.clone, output)  # others may change it in place
        nothing = torch.full_like(stream(args, kwargs), torch.nan)
        return type(like)((nothing, *like[1:])) if first_of(like) is not like else nothing

    return forward


def _zeros(form: Nested, device: torch.device) -> Any:
    """A forward that gives zeros in a form."""
    return lambda *args, **kwargs: mapped(lambda tensor: torch.zeros_like(tensor, device=device), form)


@contextlib.contextmanager
def _forwarding(module: nn.Module, forward: Any) -> Iterator[None]:
    """A module with another forward."""
    own = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
