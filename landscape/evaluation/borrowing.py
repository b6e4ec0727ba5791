"""A caller's own network, measured and given back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from landscape.networks.layout import channels_last

__all__ = ["borrowed"]


@contextlib.contextmanager
def borrowed(network: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode and a quick layout, for the length of a ``with``; nothing of it is copied.

    It is the caller's own network that is measured, so that a loss, a hook or a second module that shares its weights
    sees them move. Afterwards modes, layouts and weights are as they were, to the bit.
    """
    modes = [(module, module.training) for module in network.modules()]
    layouts = [(tensor, tensor.data) for tensor in (*network.parameters(), *network.buffers()) if tensor.ndim == 4]
    try:
        network.eval()
        channels_last(network)
        yield network
    finally:
        for tensor, own in layouts:
            if tensor.data.data_ptr() != own.data_ptr():
                own.copy_(tensor.data)  # the same values, unless a user's forward changed them
            tensor.data = own
        for module, training in modes:
            module.training = training
