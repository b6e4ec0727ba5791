"""Whether residual blocks refine what they are given, a little at a time and downhill.

What a block adds is what its branch contributes to the join: F for a sum, αF for a gate; of a gate that reads the
branch, also what it thereby changes of the shortcut. Greff et al. 2017 (1612.07771 §3) see in it an estimate that is
refined from block to block; to first order it changes the loss by
⟨F(x), ∂L/∂x⟩ (Jastrzębski et al. 2018, 1710.04773 §3), which should then be negative. Boundaries, and the
statistics of BatchNorm, are those of `ensemble.flow.gradients`; by default those of all batches are measured and held.
With each batch's own, the loss does not change when the examples of a batch are scaled or moved together, gradients
have no part that way, and the cosine may even change its sign.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.flow.gradients import normalised, norms, passes, stages
from landscape.evaluation.measure import LOSSES, Batches, Loss, score
from landscape.networks import Block
from landscape.networks.network import Network

__all__ = ["Refinement", "added", "exits", "refinement"]


class Refinement(NamedTuple):
    """What the block behind each boundary does; NaN where there is none, or none with a shortcut.

    Attributes
    ----------
    cosine : float64 ndarray, shape (boundaries, examples)
        Between what the block adds and the gradient at its input; NaN where their shapes differ, or one is 0.
    residual : float64 ndarray, shape (boundaries, examples)
        Norm of what the block adds, as a part of that of what the shortcut carries.
    share : float64 ndarray, shape (boundaries,)
        Variance of what the block adds, as a part of its variance and that of what is carried. Variances are over
        examples and positions, summed over channels. Where both have variance 1 at the first block
        and nothing shrinks, that of block l = 1, 2, … is 1/(l+1) (De & Smith 2020, 2002.10444 §2).
    """

    cosine: np.ndarray
    residual: np.ndarray
    share: np.ndarray


def refinement(
    network: Network, batches: Batches, loss: Loss = LOSSES["cross_entropy"], batchnorm: str = "recalibrated"
) -> Refinement:
    """Measure what each block adds, and whether it points downhill; arguments as of `ensemble.flow.gradients.flow`."""
    cosines, residuals, variances, sizes = [], [], [], []
    with normalised(network, batches, batchnorm):
        behind = [*stages(network), network.head]
        for one in passes(network, batches, loss):
            sums = [_of(*three) for three in zip(behind, one.activations, one.gradients, strict=True)]
            cosine, residual, variance = (np.stack(values) for values in zip(*sums, strict=True))
            cosines.append(cosine)
            residuals.append(residual)
            variances.append(variance)
            sizes.append(cosine.shape[1])
    own, carried = np.average(variances, axis=0, weights=sizes).T
    with np.errstate(invalid="ignore"):
        share = own / (own + carried)
    return Refinement(np.concatenate(cosines, axis=1), np.concatenate(residuals, axis=1), share)


def added(block: Block, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a block with a shortcut carries around its branch, and what the branch adds to it."""
    assert block.shortcut is not None
    branch, shortcut = block.branch(x), block.shortcut(x)
    if block.survival != 1:
        branch = block.survival * branch
    carried = block.join(shortcut)
    return carried, block.join(shortcut, branch) - carried


def exits(
    network: Network, batches: Batches, loss: Loss = LOSSES["cross_entropy"], batchnorm: str = "recalibrated"
) -> list[dict[str, float] | None]:
    """Measure the classifier on what has come to each boundary: all the blocks from there on are left out.

    Within the last stage that is the head itself, applied early. Before it, shortcuts make the shapes that it needs.

    Returns
    -------
    list, one a boundary
        As `landscape.evaluation.measure.score`; None where a block that cannot be left out follows. The last is the
        whole network.
    """
    with normalised(network, batches, batchnorm), torch.inference_mode():
        parts = stages(network)
        outputs: list[list[Tensor]] = [[] for _ in range(len(parts) + 1)]
        for inputs, _ in batches:
            x = network.stem(inputs)
            for place in range(len(parts) + 1):
                rest = parts[place:]
                if all(part.removable for part in rest if isinstance(part, Block)):
                    outputs[place].append(_leaving_out(network, rest, x))
                if rest:
                    x = rest[0](x)
        return [score(out, batches, loss) if out else None for out in outputs]


def _leaving_out(network: Network, rest: list[nn.Module], x: Tensor) -> Tensor:
    for part in rest:
        x = part.skip(x) if isinstance(part, Block) else part(x)
    return network.head(x)


def _of(part: nn.Module, x: Tensor, gradient: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine and relative size for each example, and the variances of what is added and of what is carried."""
    nothing = np.full(len(x), np.nan)
    if not isinstance(part, Block) or part.shortcut is None:
        return nothing, nothing, np.full(2, np.nan)
    with torch.no_grad():
        carried, more = added(part, x)
        variance = np.array([_variance(more), _variance(carried)])
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            residual = norms(more) / norms(carried)
            if more.shape != x.shape:
                return nothing, residual, variance
            product = (more.double() * gradient.double()).cpu().flatten(1).numpy().sum(axis=1)
            return product / (norms(more) * norms(gradient)), residual, variance


def _variance(x: Tensor) -> float:
    """(N, C, H, W): over examples and positions, summed over channels."""
    return float(x.cpu().double().numpy().var(axis=(0, 2, 3)).sum())
