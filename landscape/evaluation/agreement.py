"""Whether two networks that share their parameters give the same outputs, wherever these are moved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from landscape.evaluation.tracing import values_restored

__all__ = ["agree"]

# In units of a tensor's root mean square. Far out a deep network amplifies rounding: 110 layers with gates make a tenth
# of it at 1.0, and 1e-6 at 0.3, where one layer of 110 that stays behind makes 1e-3 or more.
SHIFTS = (0.0, 0.1, 0.3)
STILL = 1.0  # the unit for a tensor of zeros


def agree(
    network: nn.Module, other: nn.Module, example: Tensor, near: float, as_well_as: nn.Module | None = None
) -> bool:
    """Compare outputs at the origin and at two points where all parameters and BatchNorm's statistics are others.

    Parameters
    ----------
    network, other : the second shares the parameters and buffers of the first, which are given back to the bit
    example : a few inputs
    near : how far an output may be off, relative to itself and to the largest
    as_well_as : a third network; `other` may be off by twice as much as it
    """
    return all(_agree(network, other, example, near, as_well_as, size) for size in SHIFTS)


def _agree(
    network: nn.Module, other: nn.Module, example: Tensor, near: float, as_well_as: nn.Module | None, size: float
) -> bool:
    with _moved(network, size):
        there, here = _outputs(network, example), _outputs(other, example)
        if there.shape != here.shape or (as_well_as is None and there.dtype != here.dtype):
            return False
        atol = near * float(there.abs().nan_to_num(posinf=0).max())
        if torch.allclose(here.to(there), there, near, atol, equal_nan=True):
            return True
        if as_well_as is None:
            return False
        off, may_be = ((out.to(there) - there).abs().max() for out in (here, _outputs(as_well_as, example)))
        return bool(off <= 2 * may_be)


def _outputs(network: nn.Module, example: Tensor) -> Tensor:
    """Of a copy of the inputs, which a network may change; what it draws is the same at each call."""
    devices = [example.device] if example.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(allow_tf32=False):
        # torch.manual_seed keeps a traceback for each kind of device that has not been started: milliseconds.
        (torch.manual_seed if example.device.type != "cpu" else torch.default_generator.manual_seed)(0)
        return network(example.clone()).detach()


@contextlib.contextmanager
def _moved(network: nn.Module, size: float) -> Iterator[None]:
    """All parameters moved by noise of their own size, statistics too, for the length of a ``with``."""
    with values_restored(network):
        if size:
            generators: dict[torch.device, torch.Generator] = {}

            def noise(like: Tensor) -> Tensor:
                if like.device not in generators:
                    generators[like.device] = torch.Generator(like.device).manual_seed(0)
                drawn = torch.randn(like.shape, generator=generators[like.device], device=like.device)
                return drawn.to(like.dtype).mul_(size)

            for parameter in network.parameters():
                if parameter.is_floating_point() or parameter.is_complex():
                    scale = float(parameter.abs().square_().mean().sqrt())
                    parameter.add_(noise(parameter), alpha=scale if scale > 0 else STILL)
            for norm in network.modules():
                if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
                    norm.running_mean.add_(noise(norm.running_mean) * norm.running_var.sqrt())
                    norm.running_var.mul_(noise(norm.running_var).exp())
        yield
