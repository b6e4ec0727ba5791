"""One block of a network: a branch, and perhaps a way around it."""

from typing import Any

from torch import Tensor, nn

from landscape.errors import BadInput

__all__ = ["Block"]


class Block(nn.Module):
    """y = after(join(shortcut(x), branch(x))), or after(branch(x)) where there is no shortcut.

    Parameters
    ----------
    branch : nn.Module
        Computes F(x).
    shortcut : nn.Module, optional
        Carries x to the join; None for a block of a plain network.
    join : nn.Module, optional
        Called as ``join(shortcut)`` or ``join(shortcut, branch)``; without the second, the branch is 0.
    after : nn.Module, optional
        Applied to what was joined, such as a ReLU.
    keeps_shape : bool
        Whether y has the shape of x, so that a plain block can be left out.
    survival : float
        The share of training batches in which the network runs the branch. In evaluation mode the
        branch is multiplied by it (Huang et al. 2016, 1603.09382 §3, eq. 5). In training mode a call
        runs the branch, unscaled: it is the network that draws which blocks run.
    channels : int, optional
        Dimension of the channels of x, where x are several streams; else it is the second of (N, C, H, W),
        and the last of (N, T, C).

    Attributes
    ----------
    removable : bool
        Whether ``skip`` has an answer.
    """

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        join: nn.Module | None = None,
        after: nn.Module | None = None,
        keeps_shape: bool = True,
        survival: float = 1.0,
        channels: int | None = None,
    ):
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.join: Any = join  # None only where there is no shortcut
        self.after = nn.Identity() if after is None else after
        self.keeps_shape = keeps_shape
        self.survival = survival
        self.channels = channels

    @property
    def removable(self) -> bool:
        return self.shortcut is not None or self.keeps_shape

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, (N, C, H, W) -> (N, C', H', W')."""
        out = self.branch(x)
        if self.survival != 1 and not self.training:
            out = self.survival * out
        if self.shortcut is not None:
            out = self.join(self.shortcut(x), out)
        return self.after(out)

    def skip(self, x: Tensor) -> Tensor:
        """The block's output with its branch exactly 0 and not run, (N, C, H, W) -> (N, C', H', W').

        A block without a shortcut is left out whole: the answer is x (Veit et al. 2016, 1605.06431 §4.1).
        """
        if self.shortcut is not None:
            return self.after(self.join(self.shortcut(x)))
        if self.keeps_shape:
            return x
        raise BadInput(
            "this block has no shortcut and changes the shape of its input, so it cannot be left out; "
            "choose among the blocks that are removable"
        )
