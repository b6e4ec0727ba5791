"""How much the mixing of several streams alone can multiply what enters it, from boundary to boundary.

With hyper-connections every block mixes its n streams by a matrix M (`landscape.networks.hyper_connections`), and a
stretch of blocks by their product, whatever else a shortcut does. The largest sum of absolute values in a row of the
product is the most by which any stream can grow on the way forward, and that in a column the same for gradients on the
way back: the "Amax gain" of Xie et al. 2025 (2512.24880 §3.1, Fig. 3), who find up to 3000 where M is free, and 1.6
where it is doubly stochastic but for what 20 iterations leave. Products of doubly stochastic matrices have exactly 1.

`ensemble.flow.gains` has the gain of those streams and gradients that there are; this is that of the worst.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ensemble.flow.gains import Gains
from ensemble.flow.parts import Part

__all__ = ["mixing"]


def mixing(between: Sequence[Part], activations: Sequence[Tensor]) -> Gains:
    """Measure the gain of all mixing between every two boundaries of a network.

    Parameters
    ----------
    between : sequence of Part
        The network's parts between stem and head, see `ensemble.flow.parts.parts`.
    activations : sequence of Tensor
        The streams at each boundary, (N, n, …).

    Returns
    -------
    Gains
        Forward and backward, from each boundary to each later one, of each example; where tokens are mixed each by
        matrices of their own, the largest of them. 1 from a boundary to itself; NaN from a later to an earlier one,
        and of a network with a part that does not mix streams.
    """
    boundaries, examples = len(activations), len(activations[0])
    measured = Gains(*np.full((2, boundaries, boundaries, examples), np.nan))
    if any(part.mixing is None for part in between):
        return measured
    each = []  # (1 or N, positions, n, n)
    with torch.no_grad():
        for part, x in zip(between, activations, strict=False):
            assert part.mixing is not None
            matrices = part.mixing(x).double().cpu()
            each.append(matrices[(None,) * (4 - matrices.ndim)] if matrices.ndim != 3 else matrices[:, None])
    for start in range(boundaries):
        product = torch.eye(activations[0].shape[1], dtype=torch.float64).expand(1, 1, -1, -1)
        for end in range(start, boundaries):
            if end > start:
                product = each[end - 1] @ product
            for gain, axis in zip(measured, (-1, -2), strict=True):
                gain[start, end] = product.abs().sum(axis).amax((1, 2))
    return measured
