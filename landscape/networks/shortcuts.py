"""Ways around a branch, named by what they do.

Where a block keeps its shape the shortcut is the identity, but for "projection-everywhere". He et
al. 2015 (1512.03385 §4.1) call zero-padding A, projection where shapes change B, everywhere C.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from landscape.networks.layers import layers

__all__ = ["SHORTCUTS", "ZeroPad", "make_shortcut"]

SHORTCUTS = (None, "zero-pad", "zero-pad-average", "projection", "projection-everywhere")


class ZeroPad(nn.Module):
    """Shrink by a stride and append channels of zeros, (N, C, H, W) -> (N, C + extra, ⌈H/s⌉, ⌈W/s⌉).

    The zeros come last, so channel c of the input stays channel c. Sizes round up, as they do in a
    strided 3×3 convolution padded by 1. `average` takes the mean of each s×s window, over the
    elements that exist, instead of its first element (He et al. 2015 subsample).
    """

    def __init__(self, extra: int, stride: int, average: bool = False):
        super().__init__()
        self.extra = extra
        self.stride = stride
        self.average = average

    def forward(self, x: Tensor) -> Tensor:
        if self.average and self.stride > 1:
            x = F.avg_pool2d(x, self.stride, ceil_mode=True, count_include_pad=False)
        else:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))  # width, height, channels: (before, after) each

    def extra_repr(self) -> str:
        return f"{self.extra}, stride={self.stride}, average={self.average}"


def make_shortcut(
    name: str | None, inputs: int, outputs: int, stride: int, projection: Sequence[str], norm: str
) -> nn.Module | None:
    """The named shortcut, (N, inputs, H, W) -> (N, outputs, ⌈H/stride⌉, ⌈W/stride⌉).

    Parameters
    ----------
    name : str or None
        One of `SHORTCUTS`; None is no shortcut. "projection-everywhere" is "1×1 conv shortcut" in
        Table 1 of He et al. 2016 (1603.05027). Each stream of hyper-connections is led through "zero-pad".
    projection : sequence of str
        The words of a projection: ("conv", "norm"), or ("conv",) where the branch is not normalised.
    norm : {"batch", "none"}
        As in `layers`.
    """
    if name is None:
        return None
    changes = stride != 1 or inputs != outputs
    if name == "projection-everywhere" or (name == "projection" and changes):
        return nn.Sequential(*layers(projection, inputs, outputs, 1, stride, norm))
    if changes:
        return ZeroPad(outputs - inputs, stride, average=name == "zero-pad-average")
    return nn.Identity()
