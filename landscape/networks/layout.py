"""The order in memory in which two-dimensional convolutions are quick, and the networks that must go without it."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["channels_last", "suits_channels_last"]


def channels_last(network: nn.Module) -> None:
    """Lay out the weights of two-dimensional convolutions so that they are quick; values stay as they are."""
    layout = torch.channels_last if suits_channels_last(network) else torch.contiguous_format
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            # Not contiguous(), which leaves strides of one channel as they are: other kernels, other last bits.
            tensor.data = tensor.data.to(memory_format=layout)


def suits_channels_last(network: nn.Module) -> bool:
    """False where a gradient would be written past the end of its memory, which ends the process or spoils numbers.

    So does oneDNN (3.12, as in torch 2.14) on processors with AVX2 but without AVX-512, in channels-last, for a strided
    1×1 convolution of fewer than eight channels, such as the projection shortcut of a very narrow network.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX2":
        return True
    return not any(
        isinstance(module, nn.Conv2d)
        and module.weight.device.type == "cpu"
        and module.in_channels // module.groups < 8
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        for module in network.modules()
    )
