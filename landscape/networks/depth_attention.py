"""Attention over depth: a block reads a weighted sum of all that was computed before it, instead of the plain sum.

With v₀ what the stem gives and vᵢ what block i computes, block l gets (Attention Residuals, 2603.15031)

    h_l = Σ_{i<l} α_i v_i,    α = softmax over i of q_l · v̂_i,    v̂ = v / RMS(v),

and so does the head. The query q_l is a parameter, at first 0, so that h_l starts as the mean: to a norm that comes
next that is the sum, and a pre-norm network starts as the ordinary residual one, but for the norm's ε. (The query of
the first block has one output to choose from, and stays 0.) Their norm of keys has a gain, which multiplies q and is
left out; so are their blocks of several layers, which save memory. In images α is computed position by position, and
where shapes change all of the vᵢ are zero-padded.

The state between blocks is all of the vᵢ, (N, i, C, H, W) or (N, i, T, C), to which each block appends its own. A block
without its branch appends zeros, which keep their place in the softmax. A ReLU that comes after the join, as in
order "post", is applied to every vᵢ, on which it has no more effect after the first time.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.networks.hyper_connections import Copies, Each

__all__ = ["Append", "DepthAttention", "DepthBranch", "DepthRead"]


class DepthAttention(NamedTuple):
    """The attention over depth of a network, before every block and the head.

    Attributes
    ----------
    images : whether it takes them, else tokens
    """

    images: bool = True

    def before(self) -> nn.Module:
        """What makes a state of what the stem gives."""
        return Copies(1)

    def behind(self, width: int) -> nn.Module:
        """What makes of it what the head gets."""
        return DepthRead(width, self.images)

    def after(self, module: nn.Module) -> nn.Module:
        """What comes after the join."""
        return Each(module) if self.images else module

    def around(
        self, branch: nn.Module, shortcut: nn.Module, inputs: int, outputs: int, number: int
    ) -> tuple[nn.Module, nn.Module]:
        """Branch and shortcut of a block, see `landscape.networks.hyper_connections.Connections.around`."""
        axes = 3 if self.images else 2
        return DepthBranch(DepthRead(inputs, self.images), branch, axes), Append(shortcut, axes)


class DepthRead(nn.Module):
    """Σ αᵢ vᵢ, (N, i, …) -> (N, …)."""

    def __init__(self, width: int, images: bool):
        super().__init__()
        self.axis = 2 if images else -1  # of the channels
        self.query = nn.Parameter(torch.zeros(width, 1, 1) if images else torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        keys = x * (x.square().mean(self.axis, keepdim=True) + 1e-5).rsqrt()
        weights = torch.softmax((self.query * keys).sum(self.axis, keepdim=True), dim=1)
        return (weights * x).sum(1)


class DepthBranch(nn.Module):
    """A branch as what it adds to the state, behind zeros for all that was there, (N, i, …) -> (N, i + 1, …)."""

    def __init__(self, read: DepthRead, branch: nn.Module, axes: int):
        super().__init__()
        self.read = read
        self.branch = branch
        self.axes = axes  # behind that of the vᵢ

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.branch(self.read(x)).unsqueeze(1), (0, 0) * self.axes + (x.shape[1], 0))


class Append(nn.Module):
    """A shortcut around each of the state, and zeros behind them for what a branch adds, (N, i, …) -> (N, i + 1, …)."""

    def __init__(self, shortcut: nn.Module, axes: int):
        super().__init__()
        self.shortcut = Each(shortcut)
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.shortcut(x), (0, 0) * self.axes + (0, 1))
