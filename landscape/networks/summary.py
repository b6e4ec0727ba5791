"""What a network costs, and how much of that its shortcuts cost."""

import copy
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from landscape.networks.block import Block
from landscape.networks.delta import StreamDelta, StreamSum
from landscape.networks.depth_attention import DepthBranch, DepthRead
from landscape.networks.hyper_connections import StreamMix, StreamRead, StreamWrite, Through

__all__ = ["Summary", "summary"]

STREAMS = StreamRead | StreamWrite | StreamMix | StreamSum | StreamDelta | DepthRead


@dataclass(frozen=True)
class Summary:
    """Parameters, and multiply-adds for one example; ``str`` gives lines to print.

    Multiply-adds are those of convolutions and linear layers, without biases, and of the sums over several
    streams. BatchNorm, activations,
    poolings, additions and what attention does with its queries, keys and values are not counted, so a shortcut
    without weights costs 0.
    """

    parameters: int
    multiply_adds: int
    shortcut_parameters: int
    shortcut_multiply_adds: int
    blocks: int

    def __str__(self) -> str:
        return "\n".join(
            [
                f"blocks         {self.blocks:>15,}",
                _line("parameters", self.parameters, self.shortcut_parameters),
                _line("multiply-adds", self.multiply_adds, self.shortcut_multiply_adds),
            ]
        )


def summary(network: nn.Module, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Summary:
    """Count a network's parameters and multiply-adds; the network is not touched.

    Parameters
    ----------
    network : nn.Module
    shape : (C, H, W), or (T,) of tokens
        Of one example.
    dtype : torch.int64 for tokens

    Returns
    -------
    Summary
        What shortcuts cost is what lies in a `Block`'s ``shortcut`` or ``join``, and what leads from several streams
        to a branch and back.
    """
    # Computed for real, on one example of zeros: not every network of a user's runs on meta tensors.
    network = copy.deepcopy(network).cpu().eval()
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    around = nn.ModuleList(part for block in blocks for part in (block.shortcut, block.join) if part is not None)
    for module in network.modules():
        if isinstance(module, Through | StreamDelta | DepthBranch):
            around.extend(part for name, part in module.named_children() if name != "branch")
    on_shortcuts = set(around.modules())
    counts = {True: 0, False: 0}

    def count(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        each: Any
        # Every output element is a sum over one filter: all but the first axis of the weight.
        if isinstance(module, DepthRead):
            each = 2 * inputs[0].shape[1]  # all that was computed before, times the query and times their weights
        else:
            each = module.terms if isinstance(module, STREAMS) else prod(module.weight.shape[1:])
        counts[module in on_shortcuts or isinstance(module, STREAMS)] += output.numel() * each

    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | STREAMS):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, *shape, dtype=dtype))
    return Summary(
        parameters=_size(network),
        multiply_adds=counts[True] + counts[False],
        shortcut_parameters=_size(around),
        shortcut_multiply_adds=counts[True],
        blocks=len(blocks),
    )


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _line(name: str, total: int, shortcuts: int) -> str:
    return f"{name:<15}{total:>15,}   on shortcuts {shortcuts:,} ({shortcuts / max(total, 1):.1%})"
