"""Delta shortcuts: a branch says in which direction the streams are to have something else than they have.

Of a block F with the streams X = (x₁, …, xₙ), a direction k of length 1, a gate β between 0 and 2, and a value for each
stream, v (Zhang et al. 2026, 2601.00417 §2, where the width is d and n is d_v),

    X ← X + β k (vᵀ − kᵀX) = (I − β k kᵀ) X + β k vᵀ:

what the streams have along k stays at β = 0 and is replaced by v at 1; at 2 I − β k kᵀ is Householder's reflection.
As in the authors' code, F reads a learned sum u = rᵀX of the streams, r starting at 1/n, and k is F(u)/‖F(u)‖;
β = 2σ(a·û + b), at first 1, with û having the root mean square 1; v = 4σ(V u + c). The head reads such a sum as well.
Their convolution over tokens before each sum is left out. In images all of this is done position by position; where a
block changes shapes, X and u are what the shortcut, zero-padding, makes of them.

The way around the branch is the identity, or that padding. All that changes X counts as the branch, what is erased too,
so that without a block X stays as it is.

Conventions: those of `landscape.networks.hyper_connections`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from landscape.networks.hyper_connections import Copies, Each, with_rms_1

__all__ = ["Delta", "StreamDelta", "StreamSum"]

STRONGEST = 4.0  # value, as in the authors' code
TINY = 1e-6  # so that a branch that is 0, of which a lesion makes one, has the direction 0 and changes nothing


class Delta(NamedTuple):
    """The delta shortcuts of a network, around every block.

    Attributes
    ----------
    streams : how many
    images : whether they are of images, else of tokens
    """

    streams: int
    images: bool = True

    def before(self) -> nn.Module:
        """What makes streams of what the stem gives."""
        return Copies(self.streams)

    def behind(self, width: int) -> nn.Module:
        """What makes one of them, for the head."""
        return StreamSum(self.streams)

    def after(self, module: nn.Module) -> nn.Module:
        """What comes after the join."""
        return Each(module) if self.images else module

    def around(
        self, branch: nn.Module, shortcut: nn.Module, inputs: int, outputs: int, number: int
    ) -> tuple[nn.Module, nn.Module]:
        """Branch and shortcut of a block, see `landscape.networks.hyper_connections.Connections.around`."""
        return StreamDelta(self, branch, shortcut, outputs), Each(shortcut)


class StreamSum(nn.Module):
    """rᵀ X, (N, n, …) -> (N, …)."""

    def __init__(self, streams: int):
        super().__init__()
        self.weight = nn.Parameter(torch.full((streams,), 1 / streams))
        self.terms = streams

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("i,ni...->n...", self.weight, x)


class StreamDelta(nn.Module):
    """β k (vᵀ − kᵀX): by what a branch changes the streams, (N, n, …) -> (N, n, …)."""

    def __init__(self, delta: Delta, branch: nn.Module, shortcut: nn.Module, width: int):
        super().__init__()
        self.axis = 1 if delta.images else -1  # of the channels of one stream
        self.read = StreamSum(delta.streams)
        self.branch = branch
        self.shortcut = shortcut
        self.each = Each(shortcut)
        self.gate = nn.Linear(width, 1)
        self.value = nn.Linear(width, delta.streams)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)
        self.terms = 2

    def forward(self, x: Tensor) -> Tensor:
        u = self.read(x)
        k = self.branch(u).movedim(self.axis, -1)  # (N, …, C)
        k = k * (k.square().sum(-1, keepdim=True) + TINY).rsqrt()
        u = self.shortcut(u).movedim(self.axis, -1)
        beta = 2 * torch.sigmoid(self.gate(with_rms_1(u))).squeeze(-1)  # (N, …)
        v = STRONGEST * torch.sigmoid(self.value(u)).movedim(-1, 1)  # (N, n, …)
        axis = 2 if self.axis == 1 else -1
        along = (self.each(x).movedim(axis, -1) * k.unsqueeze(1)).sum(-1)  # (N, n, …)
        change = beta.unsqueeze(1) * (v - along)
        return (change.unsqueeze(-1) * k.unsqueeze(1)).movedim(-1, axis)
