"""How much the shortcuts alone carry from boundary to boundary, forward and backward.

With every branch 0, what is left of a stretch of blocks is the product of their shortcuts, a linear map S at an
example's activations. Its gain forward is ‖S x‖/‖x‖ for the stream x that enters the stretch, and backward ‖Sᵀ g‖/‖g‖
for the gradient g of the loss behind it. Identities have gain 1, n shortcuts scaled by λ have λⁿ (He et al. 2016,
1603.05027 §3), and what mixes streams has a range: Xie et al. 2025 (2512.24880) bound it by the largest absolute
row and column sums of S, which is the gain of the worst x and g there could be. Here it is that of those there are.

What follows a sum, such as a ReLU or a norm, belongs to S with the derivative that it has where the whole network runs,
and so does what is no block, such as a pooling. A norm's has no part along its own input, so behind norms the gain of
the stream is small. Sᵀ g is what comes by the one path through no branch (`ensemble.paths.spectrum`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ensemble.flow.gradients import norms
from ensemble.flow.parts import Part

__all__ = ["Gains", "gains"]


class Gains(NamedTuple):
    """float64 ndarrays of shape (boundaries, boundaries, examples): from the first, to the second.

    1 from a boundary to itself; NaN from a later to an earlier one, across a block without a shortcut, and for an
    example of which nothing enters.
    """

    forward: np.ndarray
    backward: np.ndarray


def gains(between: Sequence[Part], activations: Sequence[Tensor], gradients: Sequence[Tensor]) -> Gains:
    """Measure the gain of all shortcuts between every two boundaries of a network.

    Parameters
    ----------
    between : sequence of Part
        The network's parts between stem and head, see `ensemble.flow.parts.parts`.
    activations, gradients : sequence of Tensor
        One a boundary, (N, …) each: the stream, and the gradient of the loss; see `ensemble.flow.gradients.passes`.

    Returns
    -------
    Gains
        Forward and backward, from each boundary to each later one.
    """
    boundaries = len(activations)
    forward, backward = np.full((2, boundaries, boundaries, len(activations[0])), np.nan)
    with torch.inference_mode(False), torch.enable_grad():
        carried: dict[int, Tensor] = {}  # by where it entered
        for place, x in enumerate(activations):
            carried[place] = x
            for start, tangent in carried.items():
                forward[start, place] = _ratio(tangent, activations[start])
            if place < len(between):
                carried = _pushed(between[place], x, carried)
        carried = {}
        for place, gradient in reversed([*enumerate(gradients)]):
            if place < len(between):
                carried = _pulled(between[place], activations[place], carried)
            carried[place] = gradient
            for end, cotangent in carried.items():
                backward[place, end] = _ratio(cotangent, gradients[end])
    return Gains(forward, backward)


def _pushed(part: Part, x: Tensor, tangents: dict[int, Tensor]) -> dict[int, Tensor]:
    """Tangents behind a part; none behind a block without a shortcut."""
    if part.around is None:
        return {}
    x = x.detach().requires_grad_()
    y = part.around(x)
    # The product with a transpose is linear in what it is taken of, and its own transpose is the product with S.
    dual = torch.zeros_like(y, requires_grad=True)
    (pulled,) = torch.autograd.grad(y, x, dual, create_graph=True, materialize_grads=True)
    return {
        start: torch.autograd.grad(pulled, dual, tangent, retain_graph=True, materialize_grads=True)[0]
        for start, tangent in tangents.items()
    }


def _pulled(part: Part, x: Tensor, cotangents: dict[int, Tensor]) -> dict[int, Tensor]:
    """Cotangents before a part."""
    if part.around is None:
        return {}
    x = x.detach().requires_grad_()
    y = part.around(x)
    return {
        end: torch.autograd.grad(y, x, cotangent, retain_graph=True, materialize_grads=True)[0]
        for end, cotangent in cotangents.items()
    }


def _ratio(carried: Tensor, entered: Tensor) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.where(norms(entered) > 0, norms(carried) / norms(entered), np.nan)
