"""What layers have in common, and what they use of one another.

Two layers are alike if examples that one puts near each other are near each other for the other too: centred
kernel alignment, which no rotation and no scale of the features changes (Kornblith et al. 2019, 1905.00414 §3).
Examples are few beside the features here, and the plain estimate is then near 1 whatever the layers are. So it
is debiased (Song et al. 2012, eq. 5), and averaged over batches (Nguyen et al. 2021, 2010.15327 §3).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.flow.gradients import normalised
from ensemble.flow.parts import At, parts
from landscape.errors import BadInput
from landscape.evaluation.measure import Batches
from landscape.networks import Block
from landscape.networks.joins import Concatenate

__all__ = ["alignment", "covariances", "similarity", "source_weights"]


def similarity(
    network: nn.Module, batches: Batches, batchnorm: str = "recalibrated", at: At | None = None
) -> np.ndarray:
    """Linear centred kernel alignment between all boundaries of a network.

    Parameters
    ----------
    network : nn.Module
        See `ensemble.flow.gradients.flow`, also for what follows.
    batches : sequence of (inputs, targets)
        A batch needs 4 examples; batches count by their examples.
    batchnorm : {"batch", "recalibrated", "frozen"}
        Which statistics are used.
    at : callable, optional
        The network's parts.

    Returns
    -------
    float64 ndarray, shape (boundaries, boundaries)
        1 for what differs by a rotation and a scale; about 0, on either side, for what has nothing in common. NaN
        beside a layer that is the same for all examples.
    """
    matrices, sizes = [], []
    with normalised(network, batches, batchnorm), torch.no_grad():
        at = at or parts(network)
        for inputs, _ in batches:
            row = at(inputs)
            features = [row.stem(inputs)]
            for part in row.between:
                features.append(part.run(features[-1]))
            matrices.append(covariances(features))
            sizes.append(len(features[0]))
    return alignment(np.average(matrices, axis=0, weights=sizes))


def covariances(features: list[Tensor]) -> np.ndarray:
    """Unbiased squared covariances (HSIC) of each of B feature tensors (N, …) with each, shape (B, B).

    Song et al. 2012 (*Feature selection via dependence maximization*, JMLR 13, eq. 5), with linear kernels.
    """
    n = len(features[0])
    if n < 4:
        raise BadInput(f"a batch has {n} examples, and similarities need 4; give larger batches")
    grams = torch.stack([_gram(x) for x in features])  # (B, n, n)
    rows = grams.sum(2)
    both = grams.flatten(1) @ grams.flatten(1).T
    total = rows.sum(1)
    crossed = rows @ rows.T
    return ((both + torch.outer(total, total) / ((n - 1) * (n - 2)) - 2 / (n - 2) * crossed) / (n * (n - 3))).numpy()


def alignment(covariance: np.ndarray) -> np.ndarray:
    """Covariances (B, B) as parts of the geometric mean of the two variances; NaN where one is not above 0."""
    variance = np.diag(covariance)
    scale = np.sqrt(np.where(variance > 0, variance, np.nan))
    return covariance / np.outer(scale, scale)


def source_weights(network: nn.Module) -> np.ndarray:
    """How strongly the layers of a DenseNet weigh each earlier one: mean |w| of their first convolution.

    Huang et al. 2017 (1608.06993 §5, Figure 5). The weights of a convolution alone, as there: the BatchNorm
    before it scales its inputs as well.

    Parameters
    ----------
    network : a densenet, of layers that concatenate

    Returns
    -------
    float64 ndarray, shape (stages, targets, sources)
        Source 0 is the stage's input, s the s-th layer. Target t < n is layer t + 1, target n what follows the stage:
        the transition, or the classifier. NaN where a source does not come before its target.
    """
    matrices = []
    for stage in getattr(network, "stages", []):
        layers = [m for m in stage if isinstance(m, Block) and isinstance(m.join, Concatenate)]
        if not layers:
            continue
        rest = [m for m in stage if not isinstance(m, Block)]
        targets = [_first_weight(m.branch) for m in layers] + [
            _first_weight(rest[0] if rest else network.get_submodule("head"))
        ]
        width, growth = targets[0].shape[1], layers[0].join.growth
        weights = np.full((len(targets), len(layers) + 1), np.nan)
        for target, weight in enumerate(targets):
            each = weight.detach().abs().double().cpu().numpy()  # (outputs, inputs, …)
            edges = [0, *range(width, weight.shape[1] + 1, growth)]
            for source, (start, stop) in enumerate(pairwise(edges)):
                weights[target, source] = each[:, start:stop].mean()
        matrices.append(weights)
    if not matrices:
        raise BadInput(f"a {type(network).__name__} has no layers that concatenate; give a densenet")
    return np.stack(matrices)


def _first_weight(module: nn.Module) -> Tensor:
    """Of its first convolution or linear layer: (outputs, inputs, …)."""
    return next(m.weight for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def _gram(x: Tensor) -> Tensor:
    """Inner products of examples, with 0 for an example with itself: (N, …) -> float64 (N, N), on the CPU."""
    x = x.double().flatten(1)
    x = x - x.mean(0)  # changes no covariance, and keeps digits
    return (x @ x.T).fill_diagonal_(0).cpu()
