"""Another network with its units in the order that is nearest to a network's, for the line between them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.alignment.aligned import Alignment, aligned
from landscape.checkpoints import checkpoint as checkpoints
from landscape.engine.atomic import write_atomically
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.ends import End, sources_of, state_of

__all__ = ["align", "said"]


def align(
    evaluate: Evaluator,
    other: End,
    by: str = "weights",
    *,
    calibration: int | None = None,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
) -> Alignment:
    """Put the units of another network in the order that is nearest to a network's; it computes what it did.

    Channels, hidden units and heads can be permuted if all weights that read them are, too. Which axes of which weights
    go together is found in a forward pass of the network, whatever it is; what cannot be followed stays as it is.

    Parameters
    ----------
    evaluate : Evaluator
        The network, and examples.
    other : network, checkpoint or state dict
        Of the same network, trained otherwise.
    by : {"weights", "activations"}
        Whether the distance of the weights is made small (Git Re-Basin: Ainsworth et al. 2023, 2209.04836, §3.2), or
        the correlation of units on the same examples large (ibid. §3.1; REPAIR: Jordan et al. 2023, 2211.08403).
    calibration : int, optional
        Number of examples that activations are compared on, by default 1024, or all if there are fewer.
    seed : int, optional
        Random seed of the order in which families of units are matched; by default that of `evaluate`.
    out : path, optional
        Where to keep the permuted network, as a checkpoint if it is from one, or else its state dict.

    Returns
    -------
    Alignment
        With ``weights``, a state dict, for `skipscape.plane_to`.

    Raises
    ------
    BadInput
        The other is another network, no unit can be permuted, or the permuted network would not compute the same.

    Examples
    --------
    >>> layers = lambda: (torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> network, other = torch.nn.Sequential(*layers()), torch.nn.Sequential(*layers())
    >>> evaluate = Evaluator(network, [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> aligned = align(evaluate, other)
    >>> aligned.units, aligned.after <= aligned.before
    (8, True)
    """
    (source,) = sources_of([other], "align")
    with evaluate.ready() as evaluation:
        end = state_of(source, evaluation.network, evaluate.label, evaluate)
        inputs = evaluation.calibration(calibration)
        seed = evaluate.seed if seed is None else seed
        made = aligned(evaluation.network, end, inputs, by, seed=seed, label=evaluate.label)
    if out is not None:
        weights = {name: tensor.cpu() for name, tensor in made.weights.items()}
        kept = evaluate.other(source) if isinstance(source, Path) else None
        if kept is not None and kept.format:
            checkpoints.save(replace(kept, weights=weights), out)
        else:
            with write_atomically(out, "the file before it, if any, is whole") as draft, open(draft, "wb") as file:
                torch.save(weights, file)
    return made


def said(metadata: Mapping[str, Any]) -> str:
    """A line on how a plane's ends were aligned."""
    names = np.atleast_1d(metadata["to"]).tolist()
    each = zip(
        *(np.atleast_1d(metadata[f"align_{name}"]) for name in ("moved", "units", "before", "after")), strict=True
    )
    what = {"weights": "distance of the weights", "activations": "mean correlation of units"}[metadata["align"]]
    return "; ".join(
        f"{name}: {moved} of {units} units moved, {what} {before:.4g} → {after:.4g}"
        for name, (moved, units, before, after) in zip(names, each, strict=True)
    )
