"""Convolutions and BatchNorm whose second derivatives cost little: the same values, differentiated in other steps.

Most of the time of a product with a Hessian goes into two formulas of PyTorch's, which are right and slow. Of a
convolution, the second pass takes the slope by the weight as a convolution whose kernel is as large as the image,
where the first pass has a kernel of the library for it. Of BatchNorm with stored statistics, it differentiates the
statistics too, which are constants. Without them a product over ResNet-20 takes half the time,
and three quarters where slopes are taken anew for each.

Shapes are those of `torch.nn.functional`: inputs (N, C, …), weights (C′, C / groups, …).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["TwiceDifferentiated"]

CONVOLUTIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}  # each with the number of its spatial dimensions
FLOATS = (torch.float32, torch.float64)


class TwiceDifferentiated(TorchFunctionMode):
    """Within a ``with``, convolutions and BatchNorm in evaluation mode are computed so as to be differentiated twice.

    What has another form (transposed convolutions, padding by name, a batch of no dimension, reduced types,
    autocast) is computed as ever.

    Examples
    --------
    >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).eval()
    >>> inputs = torch.randn(4, 1, 8, 8)
    >>> with TwiceDifferentiated():
    ...     outputs = network(inputs)
    >>> torch.allclose(outputs, network(inputs), atol=1e-6)
    True
    """

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        outputs = None
        if function in CONVOLUTIONS:
            outputs = _convolution(CONVOLUTIONS[function], *args, **kwargs)
        elif function is F.batch_norm:
            outputs = _batch_norm(*args, **kwargs)
        return function(*args, **kwargs) if outputs is None else outputs


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor | None:
    """x · s + (β − μ · s), where s = γ / √(σ² + ε)."""
    if training or running_mean is None or running_var is None or not _floats(input, running_mean):
        return None
    scale = (running_var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    over = (1, -1) + (1,) * (input.ndim - 2)  # channels are the second dimension
    return torch.addcmul(shift.view(over), input, scale.view(over))


def _convolution(
    dimensions: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor | None:
    if isinstance(padding, str) or input.ndim != dimensions + 2:
        return None
    if not _floats(input, weight) or _autocast(input.device.type):
        return None
    each = [_for_each(dimensions, number) for number in (stride, padding, dilation)]
    return _Convolution.apply(input, weight, bias, (*each, False, [0] * dimensions, groups))


def _floats(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.dtype in FLOATS


def _autocast(device: str) -> bool:
    """Whether the network casts what it convolves, to a type that slopes would have to be in as well."""
    try:
        return torch.is_autocast_enabled(device)
    except TypeError:  # before torch 2.4
        return torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()


def _for_each(dimensions: int, number: Any) -> list[int]:
    """A stride, or the like, in each dimension."""
    numbers = [number] if isinstance(number, int) else list(number)
    return numbers * dimensions if len(numbers) == 1 else numbers


convolve: Callable[..., Tensor] = torch.ops.aten.convolution


def _slopes(g: Tensor, x: Tensor, weight: Tensor, how: tuple, needed: tuple[bool, bool]) -> list[Tensor | None]:
    """Of ⟨g, w ∗ x⟩ by x and by w, where they are needed: what the library has kernels for."""
    both: list[Tensor | None] = [None, None]
    if any(needed):
        both[:] = torch.ops.aten.convolution_backward(g, x, weight, None, *how, [*needed, False])[:2]
    return both


class _Convolution(Function):
    """w ∗ x + b."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, how: tuple) -> Tensor:
        return convolve(x, weight, bias, *how)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, weight, _, ctx.how = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:
        by_x, by_weight, by_bias, _ = ctx.needs_input_grad
        both = _Slopes.apply(g, *ctx.saved_tensors, ctx.how, (by_x, by_weight))
        return *both, g.sum([0, *range(2, g.ndim)]) if by_bias else None, None

    @staticmethod
    def jvp(ctx: Any, along_x: Tensor, along_weight: Tensor, along_bias: Tensor | None, how: None) -> Tensor:
        x, weight = ctx.saved_tensors
        return _bilinear(x, weight, along_x, along_weight, along_bias, ctx.how)


class _Slopes(Function):
    """`_slopes`, whose own slopes are of the same kind: ⟨g, w ∗ x⟩ is linear in each of the three."""

    generate_vmap_rule = True

    @staticmethod
    def forward(g: Tensor, x: Tensor, weight: Tensor, how: tuple, needed: tuple[bool, bool]) -> tuple:
        return tuple(_slopes(g, x, weight, how, needed))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        g, x, weight, ctx.how, _ = inputs
        ctx.save_for_backward(g, x, weight)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, along_x: Tensor | None, along_weight: Tensor | None) -> tuple:
        g, x, weight = ctx.saved_tensors
        by_g, by_x, by_weight = ctx.needs_input_grad[:3]
        to_g = to_x = to_weight = None
        if by_g and not (along_x is None and along_weight is None):
            to_g = _bilinear(x, weight, along_x, along_weight, None, ctx.how)
        if along_weight is not None:
            to_x = _slopes(g, x, along_weight, ctx.how, (by_x, False))[0]
        if along_x is not None:
            to_weight = _slopes(g, along_x, weight, ctx.how, (False, by_weight))[1]
        return to_g, to_x, to_weight, None, None


def _bilinear(
    x: Tensor,
    weight: Tensor,
    along_x: Tensor | None,
    along_weight: Tensor | None,
    along_bias: Tensor | None,
    how: tuple,
) -> Tensor:
    """w ∗ ẋ + ẇ ∗ x + ḃ, where ẋ or ẇ may be None."""
    if along_x is None:
        return convolve(x, along_weight, along_bias, *how)
    part = convolve(along_x, weight, along_bias, *how)
    return part if along_weight is None else part + convolve(x, along_weight, None, *how)
