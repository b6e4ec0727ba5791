"""What later blocks add when one block is left out: do they build on what it has added?

Block i is left out, its shortcut stays, and what every later block j adds to the stream is compared with what it adds
in the whole network: ‖ΔF_j‖/‖F_j‖. 0 where block j does not depend on block i; √2 where it adds something as
large and orthogonal. Csordás et al. 2025 (2505.13898) draw such maps of language models, of which they
take the largest change over positions and prompts; here a number is that of an example, all of its positions together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ensemble.flow.gradients import norms
from ensemble.flow.parts import Part

__all__ = ["effects"]


def effects(between: Sequence[Part], activations: Sequence[Tensor]) -> np.ndarray:
    """Measure what leaving out each block does to what each later one adds.

    Parameters
    ----------
    between : sequence of Part
        The network's parts between stem and head, see `ensemble.flow.parts.parts`.
    activations : sequence of Tensor
        The stream at each boundary, (N, …).

    Returns
    -------
    float64 ndarray, shape (blocks, blocks, examples)
        ‖ΔF_j‖/‖F_j‖ by the block that is left out, then by the later one. A block without a shortcut adds all that it
        gives. NaN where a block cannot be left out, comes no later, or is none, such as a pooling; and where it adds 0.
    """
    blocks, examples = len(between), len(activations[0])
    changes = np.full((blocks, blocks, examples), np.nan)
    with torch.no_grad():
        intact = [_given(part, x) for part, x in zip(between, activations, strict=False)]
        for left_out, part in enumerate(between):
            if intact[left_out] is None or part.skip is None:
                continue
            x = part.skip(activations[left_out])
            for later in range(left_out + 1, blocks):
                given, before = _given(between[later], x), intact[later]
                if given is not None and before is not None:
                    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                        size = norms(before)
                        changes[left_out, later] = np.where(size > 0, norms(given - before) / size, np.nan)
                x = between[later].run(x)
    return changes


def _given(part: Part, x: Tensor) -> Tensor | None:
    """What a block adds to the stream, or makes of it where nothing is carried around; None of what is no block."""
    if part.added is not None:
        return part.added(x)[1]
    return part.run(x) if part.around is None else None
