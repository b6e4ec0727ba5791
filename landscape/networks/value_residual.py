"""Value residuals: every attention mixes its values with those of the first (Zhou et al. 2024, 2410.17897 §3).

With V_l the values of layer l, its attention takes

    V'_l = λ₁ V₁ + λ₂ V_l,    V'₁ = V₁,

with two numbers of its own, learned and at first ½ each, as their Learnable-ResFormer has them. Queries and keys stay.

What lies between blocks is the stream and V₁, (N, 2, T, C); the first attention writes V₁, on its way through its
branch, and nothing changes it later. Without the first attention V₁ is therefore 0, and paths of the gradient by V₁ are
paths through the first attention. A norm that comes after a join is of the stream alone.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Stream", "StreamAlone", "ValueBranch", "Values", "WithRoom"]


class Values(NamedTuple):
    """The value residuals of a transformer."""

    def before(self) -> nn.Module:
        """What makes a stream with room for values of what the stem gives."""
        return WithRoom()

    def behind(self, width: int) -> nn.Module:
        """What makes of it what the head gets."""
        return Stream()

    def after(self, module: nn.Module) -> nn.Module:
        """What comes after the join."""
        return StreamAlone(module, keep=True)

    def around(
        self, branch: nn.Module, shortcut: nn.Module, inputs: int, outputs: int, number: int
    ) -> tuple[nn.Module, nn.Module]:
        """Branch and shortcut of a block, of which those with even numbers are attentions."""
        through = ValueBranch(branch, first=number == 0) if number % 2 == 0 else StreamAlone(branch)
        return through, shortcut


class WithRoom(nn.Module):
    """A stream and zeros, (N, …) -> (N, 2, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x, torch.zeros_like(x)], dim=1)


class Stream(nn.Module):
    """The stream without the values, (N, 2, …) -> (N, …)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class StreamAlone(nn.Module):
    """A module of the stream; of the values it gives 0, or what they are, (N, 2, …) -> (N, 2, …)."""

    def __init__(self, module: nn.Module, keep: bool = False):
        super().__init__()
        self.module = module
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        y = self.module(x[:, 0])
        return torch.stack([y, x[:, 1] if self.keep else torch.zeros_like(y)], dim=1)


class ValueBranch(nn.Module):
    """A branch that ends in an attention, whose values are mixed with the first ones, or are these."""

    def __init__(self, branch: Any, first: bool):
        super().__init__()
        self.branch = branch
        self.first = first
        if not first:
            self.scale = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        *before, attention = self.branch
        y = x[:, 0]
        for module in before:
            y = module(y)
        if self.first:
            return torch.stack(attention.attend(y), dim=1)
        y, _ = attention.attend(y, lambda values: self.scale[0] * x[:, 1] + self.scale[1] * values)
        return torch.stack([y, torch.zeros_like(y)], dim=1)
