"""A network: a stem, stages of blocks, a head; and which of the blocks run for a batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from landscape.networks.block import Block

__all__ = ["Network", "classifier", "draw"]


class Network(nn.Module):
    """(N, channels, H, W) images -> (N, classes) logits.

    Blocks are the modules ``stages.0.0``, ``stages.0.1``, … and are looked up at every call, so that one
    of them may be replaced in its stage by any other module. A stage may hold other modules too, such
    as a pooling.

    Parameters
    ----------
    stem, head : nn.Module
    stages : list of list of nn.Module
    keep : int, optional
        Run exactly this many blocks for each training batch (see `draw`).
    checkpointing : bool
        Keep only the blocks' inputs for the backward pass and compute the rest again (Chen et al. 2016,
        1604.06174): the same gradients and running statistics for less memory and a third more time.
        Not for `torch.func`, whose weights are gone when the backward pass comes.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: list[list[nn.Module]],
        head: nn.Module,
        keep: int | None = None,
        checkpointing: bool = False,
    ):
        super().__init__()
        self.stem = stem
        self.stages: Any = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.head = head
        self.keep = keep
        self.checkpointing = checkpointing

    def parts(self) -> list[Any]:
        """Stem, blocks (and what else the stages hold), head: in evaluation, each has the one before it for input."""
        return [self.stem, *(module for stage in self.stages for module in stage), self.head]

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        modules = self.parts()[1:-1]
        runs = draw(modules, self.keep) if self.training else [True] * len(modules)
        for module, run in zip(modules, runs, strict=True):
            if not run:
                x = module.skip(x)
            elif self.checkpointing and torch.is_grad_enabled():
                context = partial(_contexts, module)
                x = checkpoint(module, x, use_reentrant=False, context_fn=context)
            else:
                x = module(x)
        return self.head(x)


def draw(modules: Sequence[nn.Module], keep: int | None = None) -> list[bool]:
    """Draw which modules run for one training batch, from torch's global generator.

    Parameters
    ----------
    modules : sequence of nn.Module
        Only a `Block` may be left out; every other module runs.
    keep : int, optional
        Exactly this many blocks run, each set as likely as any other (Veit et al. 2016, 1605.06431,
        who ran 23 of 54). Without it each block runs with its own probability ``survival``,
        independently (stochastic depth, Huang et al. 2016, 1603.09382 §3).

    Returns
    -------
    list of bool, one a module
    """
    survival = {i: module.survival for i, module in enumerate(modules) if isinstance(module, Block)}
    blocks = list(survival)
    if keep is not None:
        left_out = {blocks[i] for i in torch.randperm(len(blocks), device="cpu")[keep:].tolist()}
    elif any(share < 1 for share in survival.values()):
        chance = torch.rand(len(blocks), device="cpu").tolist()
        left_out = {i for i, u in zip(blocks, chance, strict=True) if u >= survival[i]}
    else:
        left_out = set()
    return [i not in left_out for i in range(len(modules))]


def classifier(inputs: int, classes: int, *before: nn.Module, hidden: Sequence[int] = ()) -> nn.Sequential:
    """The layers `before`, the mean over positions, linear layers; (N, C, H, W) -> (N, classes).

    Linear layers keep torch's own initialisation, uniform within 1/√inputs.
    """
    after = []
    for outputs in hidden:
        after += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *after, nn.Linear(inputs, classes))


def _contexts(module: nn.Module) -> tuple:
    return nullcontext(), _uncounted(module)


@contextmanager
def _uncounted(module: nn.Module) -> Iterator[None]:
    """Leave running statistics as they are, since the first computation has counted this batch already."""
    norms: list[Any] = [m for m in module.modules() if getattr(m, "track_running_stats", False)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
