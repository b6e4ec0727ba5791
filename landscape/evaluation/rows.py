"""Scores over a large vocabulary, a few rows at a time, so that nothing of their size is made beside them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["by_rows", "cross_entropy_of_rows", "kl_of_rows"]

AT_ONCE = 2**20  # numbers, which a processor's caches hold


def by_rows(function: Callable[[Tensor, Tensor], Tensor], scores: Tensor, beside: Tensor) -> Tensor:
    """A number for each row of scores, shape (…, V) to (…).

    Parameters
    ----------
    function : of some rows (n, V) and what stands beside them (n, …), with a value for each, (n,)
    scores : Tensor, shape (…, V)
    beside : Tensor, shape (…) or (…, V)
    """
    if scores.ndim > 2 and not (scores.is_contiguous() and beside.is_contiguous()):  # flat it would be a copy
        return torch.stack([by_rows(function, *pair) for pair in zip(scores, beside, strict=True)])
    flat, number = scores.flatten(0, -2), max(1, AT_ONCE // scores.shape[-1])
    other = beside.flatten(0, scores.ndim - 2)
    each = [function(*pair) for pair in zip(flat.split(number), other.split(number), strict=True)]
    return torch.cat(each).view(scores.shape[:-1])


def cross_entropy_of_rows(scores: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of rows (n, V) and classes (n,), in float32 at least; 0 where they are void."""
    wide = scores if scores.dtype == torch.float64 else scores.float()
    return F.cross_entropy(wide, targets, reduction="none")  # leaves out −100


def kl_of_rows(changed: Tensor, reference: Tensor) -> Tensor:
    """Σ p (ln p − ln q) of rows (n, V): ln p as they are, ln q from scores."""
    terms = reference.exp() * (reference - changed.to(reference.dtype).log_softmax(1))
    return torch.where(reference.isneginf(), 0, terms).sum(1)
