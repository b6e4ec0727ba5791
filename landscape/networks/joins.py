"""How a shortcut s and a branch f become one. Without a branch, f is exactly 0.

Rows named below are those of Table 1 of He et al. 2016 (1603.05027 §3.1), which had blocks of
order "post" and depth 110. But for `PooledGate`, which reads f, gates read s, which is the block's input
wherever the shortcut is the identity and has the output's shape everywhere.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.networks.layers import convolution

__all__ = ["JOINS", "Add", "ChannelGate", "Concatenate", "DropShortcut", "Gate", "PooledGate", "Scale", "make_join"]

JOINS = ("add", "scale", "channel-gate", "pooled-gate", "exclusive-gate", "shortcut-gate", "dropout")


class Add(nn.Module):
    """s + f, (N, C, H, W) both. Row "original", the one to beat."""

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        return shortcut if branch is None else shortcut + branch


class Scale(nn.Module):
    """λs + μf with constants. Rows "constant scaling": (0, 1) is no shortcut, (0.5, 1), (0.5, 0.5).

    With μ = 1 − λ it is also a gate frozen at α = μ.
    """

    def __init__(self, on_shortcut: float, on_branch: float):
        super().__init__()
        self.on_shortcut = on_shortcut
        self.on_branch = on_branch

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        kept = self.on_shortcut * shortcut
        return kept if branch is None else kept + self.on_branch * branch

    def extra_repr(self) -> str:
        return f"{self.on_shortcut}, {self.on_branch}"


class ChannelGate(nn.Module):
    """αf + (1 − α)s, with one learned α = sigmoid(b) a channel, whatever the input. No row.

    At b = 0 it starts as the constant 0.5/0.5; very negative, it starts as the shortcut alone.
    """

    def __init__(self, channels: int, bias: float, positions: int = 2):
        super().__init__()
        self.bias = nn.Parameter(torch.full((channels, *[1] * positions), float(bias)))

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        alpha = torch.sigmoid(self.bias)  # (C, 1, 1), or (C,) of tokens
        kept = (1 - alpha) * shortcut
        return kept if branch is None else kept + alpha * branch


class PooledGate(nn.Module):
    """αf + (1 − α)s, with α = sigmoid(W·mean(f) + b) for each example and channel. No row.

    The mean is over positions, and W is a linear layer over channels, as a squeeze-and-excitation block has two of (Hu
    et al. 2018, 1709.01507 §3), but the gate also closes the shortcut. Where f is 0, so without a branch, α is
    sigmoid(b), and (1 − sigmoid(b))s is left.
    """

    def __init__(self, channels: int, bias: float):
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        nn.init.constant_(self.linear.bias, bias)

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        gate = self.linear.bias if branch is None else self.linear(branch.mean((2, 3)))  # (C,) or (N, C)
        alpha = torch.sigmoid(gate)[..., None, None]  # ([N,] C, 1, 1)
        kept = (1 - alpha) * shortcut
        return kept if branch is None else kept + alpha * branch


class Gate(nn.Module):
    """g = sigmoid(1×1 convolution of s), as highways have (Srivastava et al. 2015, 1505.00387).

    Exclusive: gf + (1 − g)s, rows "exclusive gating" (b = 0 to −5 fail, −6, −7). Otherwise
    f + (1 − g)s, rows "shortcut-only gating" (b = 0, −6). A very negative b opens the shortcut.
    """

    def __init__(self, channels: int, bias: float, exclusive: bool, positions: int = 2):
        super().__init__()
        # A 1×1 convolution of tokens, whose channels come last, is a linear layer.
        self.convolution = convolution(channels, channels, 1, bias=True) if positions else nn.Linear(channels, channels)
        nn.init.constant_(self.convolution.get_parameter("bias"), bias)
        self.exclusive = exclusive

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        gate = torch.sigmoid(self.convolution(shortcut))  # (N, C, H, W), or (N, T, C)
        kept = (1 - gate) * shortcut
        if branch is None:
            return kept
        return kept + (gate * branch if self.exclusive else branch)


class DropShortcut(nn.Module):
    """dropout(s) + f. Row "dropout shortcut", at a rate of 0.5."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        kept = F.dropout(shortcut, self.rate, self.training)
        return kept if branch is None else kept + branch


class Concatenate(nn.Module):
    """Channels of s, then of f: (N, C, H, W), (N, growth, H, W) -> (N, C + growth, H, W).

    Huang et al. 2017 (1608.06993 §3).
    """

    def __init__(self, growth: int):
        super().__init__()
        self.growth = growth

    def forward(self, shortcut: Tensor, branch: Tensor | None = None) -> Tensor:
        if branch is None:
            return F.pad(shortcut, (0, 0, 0, 0, 0, self.growth))
        return torch.cat([shortcut, branch], dim=1)


def make_join(
    name: str, channels: int, scales: tuple[float, float], gate_bias: float, dropout: float, positions: int = 2
) -> nn.Module:
    """The named join of `JOINS`; each takes only what it needs of the other arguments.

    Parameters
    ----------
    positions : int
        Axes behind that of the channels: 2 of images, (N, C, H, W); 0 of tokens, (N, T, C).
    """
    match name:
        case "add":
            return Add()
        case "scale":
            return Scale(*scales)
        case "channel-gate":
            return ChannelGate(channels, gate_bias, positions)
        case "pooled-gate":
            return PooledGate(channels, gate_bias)
        case "dropout":
            return DropShortcut(dropout)
        case "exclusive-gate" | "shortcut-gate":
            return Gate(channels, gate_bias, name == "exclusive-gate", positions)
        case _:
            raise ValueError(f"there is no join {name!r}")
