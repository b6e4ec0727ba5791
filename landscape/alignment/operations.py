"""What the operations of a forward pass mean for the order of channels: a label for each tensor, from those before it.

The operations are aten's, of which layers, functions and a user's own forward consist. An operation that is not known
here fixes what it meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from landscape.alignment.units import Block, Label, Units

__all__ = ["Follower", "Reading"]

SAME = {"clone", "detach", "alias", "_to_copy", "lift_fresh", "contiguous", "fill", "zero", "_conj", "resolve_conj"}
UNIFORM = {"zeros", "ones", "empty", "full", "scalar_tensor", "empty_strided"}  # of one number, and new_…, …_like
POINTWISE = {"hardswish", "hardsigmoid", "mish", "elu", "leaky_relu", "threshold", "native_dropout", "copy"}
POINTWISE |= {"_prelu_kernel"}
REDUCING = {"sum", "mean", "amax", "amin", "var", "std", "logsumexp", "linalg_vector_norm", "norm", "var_mean"}
BATCHNORMS = {"native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "batch_norm", "_batch_norm_no_update"}
BATCHNORMS |= {"_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_with_update"}
SPATIAL = (
    *("max_pool", "avg_pool", "_adaptive_avg_pool", "adaptive_max_pool"),
    *("upsample_", "_upsample_", "reflection_pad", "replication_pad"),
)


class Reading(NamedTuple):
    """Where numbers of units are summed over: what the units of a network are read by.

    Attributes
    ----------
    step : the number of the operation
    argument : the name of the operation's argument
    block : of that tensor
    """

    step: int
    argument: str
    block: Block


class Follower(TorchDispatchMode):
    """Follows the units of parameters and buffers through one forward pass.

    Parameters
    ----------
    units : where they are united
    labels : of parameters and buffers, by the tensor's id
    inputs : tensors that the network is called with

    Attributes
    ----------
    unknown : names of operations that have fixed what they met
    readings : list of `Reading`
    """

    def __init__(self, units: Units, labels: dict[int, Label], inputs: Iterable[Tensor]):
        super().__init__()
        self.units, self.labels = units, labels
        self.data = {id(tensor) for tensor in inputs}  # depends on the examples
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.unknown: dict[str, None] = {}
        self.readings: list[Reading] = []
        self.step = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        schema = func._schema.arguments
        given = {each.name: each.default_value for each in schema if each.has_default_value()}
        given |= dict(zip([each.name for each in schema], args, strict=False)) | (kwargs or {})
        name = func.overloadpacket.__name__.removesuffix("_")
        self.step += 1
        taken = [each for value in given.values() for each in _tensors(value) if each.numel()]
        outputs = _tensors(made)
        labels = self._labels(name, torch.Tag.pointwise in func.tags, given, taken, outputs)
        if labels is None:
            if any(not self._settled(tensor) for tensor in taken):
                self.unknown[name] = None
            for tensor in taken:
                self._fix(self.of(tensor))
            labels = []
        depends = any(id(tensor) in self.data for tensor in taken)
        for number, tensor in enumerate(outputs):
            self.kept.append(tensor)
            self.labels[id(tensor)] = labels[number] if number < len(labels) else []
            if depends:
                self.data.add(id(tensor))
        return made

    def of(self, tensor: Tensor) -> Label:
        """The label of a tensor; one that nobody knows has an order of its own."""
        return self.labels.get(id(tensor), [])

    def _settled(self, tensor: Tensor) -> bool:
        units = self.units
        return all(units.find(node)[0] in units.fixed for block in self.of(tensor) for node in block.ids.flat)

    def _fix(self, label: Label, axes: Sequence[int] | None = None) -> Label:
        """Fix the blocks that have one of these axes; the others."""
        met = [block for block in label if axes is None or set(axes) & set(block.axes)]
        for block in met:
            self.units.fix(block.ids.flat)
        return [block for block in label if not any(block is each for each in met)]

    def _labels(
        self, name: str, pointwise: bool, a: dict, taken: list[Tensor], outputs: list[Tensor]
    ) -> list[Label] | None:
        """Labels of the outputs; None for an operation that is not known."""
        x = next(iter(taken), None)
        dim: Any = a.get("dim")
        shape: Sequence[int]
        axes: Sequence[int]
        if name in UNIFORM or name.removeprefix("new_") in UNIFORM or name.removesuffix("_like") in UNIFORM:
            return [self.units.fresh(tensor.shape) for tensor in outputs]
        if x is None:
            return [[] for _ in outputs]
        label = self.of(x)
        if name in SAME:
            return [label]
        if pointwise or name in POINTWISE:
            shape = outputs[0].shape
            return [self.units.elementwise(self.step, shape, [(self.of(each), each.shape) for each in taken])]
        if name in REDUCING:
            axes = _axes(dim, x.ndim)
            self.units.happen(self.step, label)
            reduced = self.units.reduced(label, axes, dropped=not a.get("keepdim", False))
            return [reduced for _ in outputs]
        if name in ("_softmax", "_log_softmax", "softmax", "log_softmax"):
            self.units.happen(self.step, label)
            self.units.reduced(label, _axes(dim, x.ndim))
            return [label]
        if name in BATCHNORMS:
            shape = (1, -1, *[1] * (x.ndim - 2))
            names = ("weight", "bias", "running_mean", "running_var")
            return [self._with(label, x, [a.get(each) for each in names], shape)]
        if name in ("native_layer_norm", "_fused_rms_norm", "rms_norm"):
            axes = range(x.ndim - len(a["normalized_shape"]), x.ndim)
            self.units.reduced(label, axes)
            return [self._with(label, x, [a.get("weight"), a.get("bias")], None)]
        if name == "native_group_norm":
            apart = (x.shape[0], a["group"], x.shape[1] // a["group"], *x.shape[2:])
            groups = self.units.viewed(label, x.shape, apart)
            if groups is None:
                return None
            self.units.reduced(groups, range(2, len(apart)))
            shape = (1, -1, *[1] * (x.ndim - 2))
            return [self._with(label, x, [a.get("weight"), a.get("bias")], shape)]
        if name in ("mm", "bmm"):
            return [self._product(a, "self", "mat2")]
        if name in ("addmm", "baddbmm"):
            product = self._product(a, *(("mat1", "mat2") if name == "addmm" else ("batch1", "batch2")))
            bias = (self.of(a["self"]), a["self"].shape)
            return [self.units.elementwise((self.step, "bias"), outputs[0].shape, [(product, outputs[0].shape), bias])]
        if name in ("convolution", "_convolution"):
            return self._convolution(a, outputs[0])
        if "scaled_dot_product" in name:
            return self._attention(a)
        if name == "embedding":
            self._fix(self.of(a["indices"]))
            kept, shift = self._fix(self.of(a["weight"]), [0]), a["indices"].ndim - 1
            return [[Block(tuple(axis + shift for axis in block.axes), block.ids) for block in kept]]
        if name == "index":
            return self._indexed(a)
        if name.startswith(SPATIAL) and (digit := next((c for c in name if c in "123"), None)):
            self.units.happen(self.step, label)
            return [self._fix(label, range(x.ndim - int(digit), x.ndim)) for _ in outputs]
        if name in ("tril", "triu"):
            return [self._fix(label, (x.ndim - 2, x.ndim - 1))]
        if name in ("roll", "flip"):
            return [self._fix(label, _axes(a["dims"], x.ndim))]
        return self._moved(name, a, x, outputs)

    def _moved(self, name: str, a: dict, x: Tensor, outputs: list[Tensor]) -> list[Label] | None:
        """Labels of the same numbers elsewhere."""
        label, after = self.of(x), outputs[0].shape if outputs else ()
        dim: Any = a.get("dim")
        if name in ("view", "_unsafe_view", "reshape", "_reshape_alias"):
            viewed = self.units.viewed(label, x.shape, after)
            return None if viewed is None else [viewed]
        if name in ("unsqueeze", "squeeze"):
            return [self.units.viewed(label, x.shape, after) or []]
        if name in ("permute", "transpose", "t"):
            order = list(range(x.ndim))
            if name == "permute":
                order = [axis % x.ndim for axis in a["dims"]]
            elif x.ndim > 1:
                one, other = (0, 1) if name == "t" else (a["dim0"], a["dim1"])
                order[one], order[other] = order[other], order[one]
            return [[Block(tuple(map(order.index, block.axes)), block.ids) for block in label]]
        if name == "expand":
            shift = len(after) - x.ndim
            moved = [Block(tuple(axis + shift for axis in block.axes), block.ids) for block in label]
            repeated = [n if i < shift or x.shape[i - shift] != n else 1 for i, n in enumerate(after)]
            return [moved + self.units.fresh(repeated)]
        if name in ("select", "slice"):
            axis = dim % x.ndim
            index = range(x.shape[axis])
            index = index[a["index"]] if name == "select" else index[a["start"] : a["end"] : a["step"]]
            return [self._taken(label, axis, index, 0)]
        if name == "unbind":
            return [self._taken(label, dim % x.ndim, n, n) for n in range(len(outputs))]
        if name in ("split", "split_with_sizes", "chunk"):
            ends = np.cumsum([0, *(tensor.shape[dim] for tensor in outputs)]).tolist()
            return [self._taken(label, dim % x.ndim, range(*ends[n : n + 2]), n) for n in range(len(outputs))]
        if name in ("cat", "stack"):
            parts = [(self.of(each), each.shape) for each in a["tensors"] if each.numel()]  # a cache begins empty
            axis = dim % len(after)
            if name == "stack":
                apart = [(*shape[:axis], 1, *shape[axis:]) for _, shape in parts]
                parts = [(self.units.viewed(*part, new) or [], new) for part, new in zip(parts, apart, strict=True)]
            return [self.units.joined(self.step, axis, parts)]
        if name == "constant_pad_nd":
            for number in range(len(a["pad"]) // 2):
                axis, (low, high) = x.ndim - 1 - number, a["pad"][2 * number : 2 * number + 2]
                if low or high:
                    label = self._padded(label, axis, low, high)
            return [label]
        return None

    def _taken(self, label: Label, axis: int, index: int | range, what: int) -> Label:
        """Some of the indices along an axis; of a single number of them the axis goes."""
        made = []
        for block in label:
            axes, ids = block
            if axis in axes:
                size = ids.shape[axes.index(axis)]
                ids = ids.take(index, axis=axes.index(axis))
                if isinstance(index, int) or len(index) < size:  # these are not like the others
                    self.units.happen((self.step, what, axes), [Block(axes, ids)])
            if isinstance(index, int):
                axes = tuple(each - (each > axis) for each in axes if each != axis)
            elif len(index) == 1 and axis in axes:
                ids = ids.squeeze(axes.index(axis))
                axes = tuple(each for each in axes if each != axis)
            if axes:
                made.append(Block(axes, ids))
        return made

    def _padded(self, label: Label, axis: int, low: int, high: int) -> Label:
        """With the same number around what there is; these have no order."""
        kept = [block for block in label if axis not in block.axes]
        for block in label:
            if block.axes == (axis,) and low >= 0 and high >= 0:
                kept.append(Block((axis,), np.concatenate([self.units.new(low), block.ids, self.units.new(high)])))
            elif axis in block.axes:
                self.units.fix(block.ids.flat)
        return kept

    def _indexed(self, a: dict) -> list[Label] | None:
        """Of a table whose rows, or columns, are looked up."""
        chosen = [axis for axis, index in enumerate(a["indices"]) if index is not None]
        if len(chosen) != 1:
            return None
        (axis,), index = chosen, a["indices"][chosen[0]]
        if index.dtype == torch.bool:
            return None
        self._fix(self.of(index))
        shift, kept = index.ndim - 1, self._fix(self.of(a["self"]), [axis])
        return [[Block(tuple(each + shift * (each > axis) for each in block.axes), block.ids) for block in kept]]

    def _with(self, label: Label, x: Tensor, others: list[Tensor | None], shape: tuple | None) -> Label:
        """A tensor with scales, shifts and statistics."""
        there = [each for each in others if each is not None]
        shapes = [each.shape if shape is None else tuple(len(each) if n == -1 else n for n in shape) for each in there]
        labels = [self.units.viewed(self.of(t), t.shape, new) or [] for t, new in zip(there, shapes, strict=True)]
        return self.units.elementwise(self.step, x.shape, [(label, x.shape), *zip(labels, shapes, strict=True)])

    def _read(self, argument: str, tensor: Tensor, axis: int) -> None:
        if id(tensor) in self.data:
            self.readings += [
                Reading(self.step, argument, block) for block in self.of(tensor) if axis % tensor.ndim in block.axes
            ]

    def _product(self, a: dict, left: str, right: str) -> Label:
        """(…, m, k) times (…, k, n)."""
        x, y = a[left], a[right]
        self._read(left, x, -1)
        self._read(right, y, -2)
        both = {id(x), id(y)} <= self.data
        return self._multiplied(self.step, (self.of(x), x.shape), (self.of(y), y.shape), both)

    def _multiplied(
        self,
        what: object,
        one: tuple[Label, Sequence[int]],
        other: tuple[Label, Sequence[int]],
        both: bool,
    ) -> Label:
        """The label of a product of labels and shapes; whether both depend on the examples, as queries and keys do."""
        (label, shape), (second, own) = one, other
        *batch, k, n = own
        last = len(batch)
        second = [Block(tuple(axis + (axis >= last) for axis in block.axes), block.ids) for block in second]
        for here, there in [(a, b) for a in label for b in second if both and a.axes == b.axes and last + 1 in a.axes]:
            ids = self.units.paired(here.ids, there.ids)
            label = [Block(here.axes, ids) if block is here else block for block in label]
            second = [Block(here.axes, ids) if block is there else block for block in second]
        factors = [(label, (*shape, 1)), (second, (*batch, 1, k, n))]
        whole = (*(max(pair) for pair in zip(shape[:-2], batch, strict=True)), shape[-2], k, n)
        return self.units.reduced(self.units.elementwise(what, whole, factors), [last + 1])

    def _convolution(self, a: dict, out: Tensor) -> list[Label] | None:
        x, w, groups = a["input"], a["weight"], a["groups"]
        rest = range(2, w.ndim)
        label, weight = self._fix(self.of(x), rest), self._fix(self.of(w), rest)
        shape = w.shape[:2]
        if a["transposed"]:
            if groups > 1:
                return None
            shape = shape[::-1]
            weight = [Block(tuple(1 - axis for axis in block.axes), block.ids) for block in weight]
        if groups > 1:
            weight = self._fix(weight, [1])
        self._read("input", x, 1)
        outputs, inputs = shape[0] // groups, x.shape[1] // groups
        one = self.units.viewed(label, x.shape[:2], (len(x), groups, 1, inputs))
        other = self.units.viewed(weight, shape, (1, groups, outputs, inputs))
        if one is None or other is None:
            return None
        arguments = [(one, (len(x), groups, 1, inputs)), (other, (1, groups, outputs, inputs))]
        made = self.units.elementwise(self.step, (len(x), groups, outputs, inputs), arguments)
        made = self.units.viewed(self.units.reduced(made, [3]), (len(x), groups, outputs), out.shape[:2]) or []
        if a["bias"] is None:
            return [made]
        bias = (self.of(a["bias"]), (out.shape[1],))
        both = [(made, out.shape[:2]), bias]
        return [self.units.elementwise((self.step, "bias"), out.shape[:2], both)]

    def _attention(self, a: dict) -> list[Label] | None:
        """softmax(q·kᵀ)·v over (…, heads, T, D)."""
        q, k, v = (a[name] for name in ("query", "key", "value"))
        if q.shape[:-2] != k.shape[:-2] or k.shape[:-2] != v.shape[:-2]:
            return None
        for name in ("query", "key"):
            self._read(name, a[name], -1)
        n = q.ndim
        turned = [n - 1 if axis == n - 2 else n - 2 if axis == n - 1 else axis for axis in range(n)]
        keys = [Block(tuple(turned[axis] for axis in block.axes), block.ids) for block in self.of(k)]
        shape = (*q.shape[:-1], k.shape[-2])
        scores = self._multiplied(
            self.step, (self.of(q), q.shape), (keys, (*k.shape[:-2], k.shape[-1], k.shape[-2])), True
        )
        mask = a.get("attn_mask") if a.get("attn_mask") is not None else a.get("attn_bias")
        if mask is not None:
            scores = self.units.elementwise((self.step, "mask"), shape, [(scores, shape), (self.of(mask), mask.shape)])
        self.units.reduced(scores, [n - 1])
        return [self._multiplied((self.step, "values"), (scores, shape), (self.of(v), v.shape), True)]


def _tensors(nested: Any) -> list[Tensor]:
    if isinstance(nested, Tensor):
        return [nested]
    if isinstance(nested, list | tuple):
        return [tensor for each in nested for tensor in _tensors(each)]
    return []


def _axes(dim: Any, number: int) -> list[int]:
    """Axes that an operation names; all if it names none."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return list(range(number))
    return [axis % number for axis in (dim if isinstance(dim, list | tuple) else [dim])] if number else []
