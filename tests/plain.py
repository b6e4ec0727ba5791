"""What a measurement must give, in plain PyTorch: nothing of the project is used here.

Directions are drawn as the project says that it draws them: NumPy, seed (seed, axis, repeat), parameter by parameter
in the order of `named_parameters`, in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

__all__ = ["called", "direction", "line", "mean", "moved", "parts", "without"]

Score = Callable[[object, object], Tensor]


def called(network: nn.Module, inputs):
    """A network's outputs for a tensor, for several, or for tensors by name."""
    if isinstance(inputs, dict):
        return network(**inputs)
    return network(*inputs) if isinstance(inputs, tuple | list) else network(inputs)


def parts(nested, *sizes: int) -> list:
    """Batches of these sizes of a tensor, or of tuples, lists and dicts of them."""
    ends = np.cumsum((0, *sizes)).tolist()
    return [
        tree_map(lambda t, a=a, b=b: t[a:b] if isinstance(t, Tensor | np.ndarray) else t, nested)
        for a, b in pairwise(ends)
    ]


def mean(network: nn.Module, batches, score: Score, forward=called) -> float:
    """The mean over all examples of a score of outputs and targets, shape (N,); NaN is an example without one."""
    each = []
    for inputs, targets in batches:
        # Gradients may be needed: the network or the loss may take derivatives.
        each.append(score(forward(network, inputs), targets).detach().double())
    return torch.cat(each).nanmean().item()


def direction(network: nn.Module, seed: int = 0, axes: Mapping | None = None, still=(), whole=()) -> dict[str, Tensor]:
    """A random direction, each filter with the norm of the network's filter.

    Parameters
    ----------
    axes : parameter -> the axis, or the axes, that count filters, where that is not the first
    still : parameters that do not move, besides those of one dimension
    whole : parameters that are one filter
    """
    generator, directions = np.random.default_rng((seed, 0, 0)), {}
    for name, parameter in network.named_parameters():
        w = parameter.detach()
        d = torch.from_numpy(generator.standard_normal(tuple(w.shape), dtype=np.float32)).to(w.dtype)
        if w.ndim < 2 or name in still:
            directions[name] = torch.zeros_like(w)
            continue
        counted = (axes or {}).get(name, () if name in whole else 0)
        counted = (counted,) if isinstance(counted, int) else counted
        others = [axis for axis in range(w.ndim) if axis not in counted]
        norms = [t.abs().double().square().sum(others, keepdim=True).sqrt() for t in (w, d)]
        directions[name] = d * (norms[0] / norms[1]).to(d.abs().dtype)
    return directions


@contextlib.contextmanager
def moved(network: nn.Module, along: Mapping[str, Tensor], x: float) -> Iterator[None]:
    """The network at w + x·d, in evaluation mode; afterwards as it was."""
    training = {module: module.training for module in network.modules()}
    origin = {name: p.detach().clone() for name, p in network.named_parameters()}
    network.eval()
    try:
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(origin[name] + x * along[name])
        yield
    finally:
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(origin[name])
        for module, mode in training.items():
            module.training = mode


def line(network: nn.Module, batches, score: Score, xs, forward=called, **how) -> np.ndarray:
    """The mean score at each x along a `direction`."""
    along, values = direction(network, **how), []
    for x in xs:
        with moved(network, along, float(x)):
            values.append(mean(network, batches, score, forward))
    return np.array(values)


@contextlib.contextmanager
def without(network: nn.Module, *names: str) -> Iterator[None]:
    """The network where these submodules give 0; of several outputs, the first is 0."""

    def zero(module, inputs, output):
        if isinstance(output, tuple):
            return torch.zeros_like(output[0]), *output[1:]
        return torch.zeros_like(output)

    handles = [network.get_submodule(name).register_forward_hook(zero) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
