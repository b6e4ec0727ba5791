"""Training that is good enough to trust what is measured on its networks, and no more.

A run is a sequence of epochs, each seeded by the run's seed and its own number: a run that goes on
from any epoch gives, on a CPU with the same number of threads, the bits of one that was never
interrupted. Losses are means per example in nats, errors are fractions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from landscape.data import Data, augment, batches
from landscape.errors import BadInput
from landscape.evaluation.calling import predictions
from landscape.evaluation.fused import Compiled
from landscape.evaluation.losses import VOID, class_axis
from landscape.evaluation.measure import measure
from landscape.networks.block import Block
from landscape.networks.families import OF_ONE_SIZE
from landscape.networks.layout import suits_channels_last
from landscape.training.cuda_graph import CudaGraphStep

__all__ = ["RECIPES", "default_recipe", "one_cycle", "steps", "train_epochs"]

Schedule = Callable[[float], float]

KEPT = {"sgd": {"momentum_buffer"}, "adamw": {"step", "exp_avg", "exp_avg_sq"}}  # of each weight, by the optimizer


def steps(*marks: float) -> Schedule:
    """Divide the learning rate by 10 at each of these parts of the run."""
    return lambda part: 0.1 ** sum(part >= mark for mark in marks)


def one_cycle(part: float, warm: float = 0.2) -> float:
    """Rise linearly from 0 during the first fifth, then fall linearly to 0 (Smith & Topin 2019)."""
    return part / warm if part < warm else (1 - part) / (1 - warm)


# The published ones at any number of epochs: the marks are parts of the run.
RECIPES: dict[str, dict] = {
    # one cycle, for a processor or a single GPU
    "fast": dict(schedule=one_cycle, learning_rate=0.1, weight_decay=5e-4, nesterov=True, epochs=30),
    # He et al. 2016, 1512.03385 §4.2: 64,000 iterations, ÷10 at 32,000 and 48,000
    "he": dict(schedule=steps(1 / 2, 3 / 4), learning_rate=0.1, weight_decay=1e-4, nesterov=False, epochs=164),
    # Li et al. 2018, 1712.09913 appendix: 300 epochs, ÷10 at 150, 225, 275
    "li": dict(schedule=steps(1 / 2, 3 / 4, 11 / 12), learning_rate=0.1, weight_decay=5e-4, nesterov=True, epochs=300),
    # Veit et al. 2016, 1605.06431 §4: 164 epochs, ÷10 at 81 and 122
    "veit": dict(schedule=steps(81 / 164, 122 / 164), learning_rate=0.1, weight_decay=1e-4, nesterov=True, epochs=164),
    # a transformer of some layers: AdamW, one cycle
    "text": dict(schedule=one_cycle, learning_rate=3e-3, weight_decay=0.1, nesterov=False, epochs=3, optimizer="adamw"),
    # a vision transformer of some layers: AdamW, one cycle
    "patches": dict(
        schedule=one_cycle, learning_rate=1e-3, weight_decay=0.05, nesterov=False, epochs=30, optimizer="adamw"
    ),
}


def default_recipe(data: Data, networks: Iterable[str] = ()) -> str:
    """The recipe where none is named: "text" for tokens, "patches" for a vit, "fast" for all else.

    Raises
    ------
    BadInput
        Networks of several recipes, which would be trained by one.
    """
    if data.of_tokens:
        return "text"
    usual = {network: "patches" if network in OF_ONE_SIZE else "fast" for network in networks}
    if len({*usual.values()}) > 1:
        each = ", ".join(f"{recipe} for {network}" for network, recipe in usual.items())
        raise BadInput(f"these networks are trained alike, and their usual recipes differ: {each}; name one: --recipe")
    return next(iter(usual.values()), "fast")


def train_epochs(
    network: nn.Module,
    training: Data,
    test: Data,
    *,
    epochs: int,
    seed: int,
    schedule: Schedule = one_cycle,
    optimizer: str = "sgd",
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    nesterov: bool = True,
    warm_up: int = 0,
    batch_size: int = 128,
    micro_batch: int = 512,
    pad: int = 0,
    flip: bool = False,
    bfloat16: bool = False,
    compiled: bool = False,
    recorded: bool = False,
    device: torch.device | str = "cpu",
    state: dict | None = None,
    tick: Callable[[int], None] = lambda steps: None,
) -> Iterator[tuple[dict, dict]]:
    """Train a network in place, epoch by epoch.

    Parameters
    ----------
    network : nn.Module
        On `device`.
    training, test : Data
        The loss of a window of tokens is the mean over those that have a target.
    epochs, seed : int
        Length of the run, and what its orders and crops are drawn from.
    schedule : callable
        Factor of the learning rate at each part of the run, from 0 to 1.
    optimizer : {"sgd", "adamw"}
        The first with momentum 0.9.
    learning_rate, weight_decay : float
        The learning rate is that of the schedule's factor 1.
    nesterov : bool
        Whether the momentum is Nesterov's.
    warm_up : int
        Number of first batches at a tenth of the learning rate (He et al. 2016 §4.2, for 110 layers).
    batch_size, micro_batch : int
        Number of examples in one step; more than `micro_batch` are accumulated in parts, in which BatchNorm sees the
        part.
    pad, flip : int, bool
        Augmentation, see `landscape.data.augment`.
    bfloat16 : bool
        Whether to compute in mixed precision; the weights stay float32.
    compiled : bool
        Whether to train through torch.compile, which needs a C++ compiler and a minute or two at the start.
    recorded : bool
        Whether to replay the step from a CUDA graph, see `landscape.training.cuda_graph`; on a GPU, for batches of one
        part, and for networks that decide nothing in Python.
    device : torch.device or str
    state : dict, optional
        Of an earlier run, to go on from.
    tick : callable
        Called with the number of batches done since the last call.

    Yields
    ------
    record : dict
        Of one epoch: ``epoch`` (from 1), ``train_loss`` and ``train_error`` (running, in training mode),
        ``test_loss``, ``test_error``, ``learning_rate``, ``seconds``.
    state : dict
        To go on from; it refers to living tensors, so save it before the next epoch.

    Raises
    ------
    BadInput
        The loss is no longer finite; or `recorded` where it cannot be.
    """
    device = torch.device(device)
    if recorded and device.type != "cuda":
        raise BadInput("a step is recorded on a GPU only; leave out --record")
    if recorded and compiled:
        raise BadInput("a step is recorded or compiled, not both; leave out --record or --compile")
    if recorded and _draws(network):
        raise BadInput("which blocks run is drawn anew for each batch, so no step can be recorded; leave out --record")
    images, labels = training.images.to(device), training.labels.to(device)
    test_batches = batches(test, 500, device)
    n, per_epoch = len(labels), -(-len(labels) // batch_size)
    steps = _optimizer(network, optimizer, learning_rate, weight_decay, nesterov)
    first = 0
    if state is not None:
        _go_on(steps, state, KEPT[optimizer])
        first = state["epoch"]
    # channels-last is the layout in which convolutions are fast, on processors and on GPUs
    if images.ndim == 4 and suits_channels_last(network):
        images = images.contiguous(memory_format=torch.channels_last)
    forward = Compiled(network) if compiled else network

    def backward(inputs: Tensor, targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Loss and hits of a part of `count` examples; the gradients go to the parameters."""
        # Not kept from call to call: within a recorded step, a weight in bfloat16 would stay as it was.
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=not recorded):
            outputs = forward(inputs)
        if targets.ndim > 1:
            each, right = _of_tokens(outputs.float(), targets)
            loss, hits = each.sum() / count, right.sum()
        else:
            loss = F.cross_entropy(outputs.float(), targets, reduction="sum") / count
            hits = (predictions(outputs) == targets).sum()
        loss.backward()
        return loss.detach(), hits

    replay = None
    for epoch in range(first, epochs):
        begun = time.perf_counter()
        draws = torch.Generator().manual_seed(_epoch_seed(seed, epoch))
        torch.manual_seed(_epoch_seed(seed, epoch) + 1)  # dropout and stochastic depth
        order = torch.randperm(n, generator=draws).to(device)
        network.train()
        losses, hits = [], []
        for step, chosen in enumerate(order.split(batch_size)):
            rate = learning_rate * schedule((epoch * per_epoch + step) / (epochs * per_epoch))
            if epoch * per_epoch + step < warm_up:
                rate = learning_rate / 10
            for group in steps.param_groups:
                group["lr"] = rate
            steps.zero_grad(set_to_none=True)
            batch_losses = []
            for part in chosen.split(micro_batch):
                inputs, targets = images[part], labels[part]
                if pad or flip:
                    inputs = augment(inputs, draws, pad, flip)
                if recorded and len(part) == len(chosen) == batch_size:
                    replay = replay or _recorded(partial(backward, count=batch_size), network, inputs, targets)
                    loss, hit = replay(inputs, targets)
                else:
                    loss, hit = backward(inputs, targets, len(chosen))
                batch_losses.append(loss)
                hits.append(hit)
            losses.append(torch.stack(batch_losses).sum() * len(chosen))
            steps.step()
            tick(1)
        total = torch.stack(losses).cpu()
        _check_finite(total, epoch, epochs)
        tested = measure(network, test_batches)
        record = {
            "epoch": epoch + 1,
            "train_loss": total.sum().item() / n,
            "train_error": 1 - torch.stack(hits).sum().item() / n,
            "test_loss": tested["loss"],
            "test_error": 1 - tested["accuracy"],
            "learning_rate": rate,
            "seconds": time.perf_counter() - begun,
        }
        yield record, {"epoch": epoch + 1, "optimizer": steps.state_dict()}


def _of_tokens(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss of a window's tokens, and the share of them that is right, (N,) both; void ones do not count."""
    axis = class_axis(outputs, targets)
    logits, counts = outputs.movedim(-1 if axis is None else axis, -1), targets != VOID
    each = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none", ignore_index=VOID)
    right = (predictions(logits, -1) == targets) & counts
    number = counts.sum(1)
    return each.view_as(targets).sum(1) / number, right.sum(1) / number


def _optimizer(
    network: nn.Module, name: str, learning_rate: float, weight_decay: float, nesterov: bool
) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(
            network.parameters(), learning_rate, momentum=0.9, weight_decay=weight_decay, nesterov=nesterov
        )
    if name == "adamw":
        return torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=weight_decay)
    raise BadInput(f"there is no optimizer {name!r}; use sgd or adamw")


def _go_on(steps: torch.optim.Optimizer, state: dict, names: set[str]) -> None:
    """Give an optimizer what an earlier run kept of each weight; its settings are this run's."""
    optimizer = state.get("optimizer")
    kept = optimizer.get("state") if isinstance(optimizer, dict) else None
    weights = dict(enumerate(steps.param_groups[0]["params"]))

    def fits(number: int, each: object) -> bool:
        return (
            number in weights  # not all need be there: some never had a gradient
            and isinstance(each, dict)
            and each.keys() == names
            and all(isinstance(value, Tensor) for value in each.values())
            and all(value.shape == (() if name == "step" else weights[number].shape) for name, value in each.items())
        )

    if not (isinstance(kept, dict) and all(fits(*item) for item in kept.items())):
        raise BadInput("the checkpoint holds what another optimizer or network kept; remove it to start anew")
    steps.load_state_dict({"state": kept, "param_groups": steps.state_dict()["param_groups"]})


def _recorded(step: Callable, network: nn.Module, images: Tensor, labels: Tensor) -> CudaGraphStep:
    try:
        return CudaGraphStep(step, network, images, labels)
    except RuntimeError as error:  # torch's, at what makes the processor wait, such as .item()
        reason = str(error).split("\n")[0]
        raise BadInput(f"a step of this network cannot be recorded ({reason}); leave out --record") from error


def _draws(network: nn.Module) -> bool:
    """Whether a network of ours draws which blocks run."""
    return getattr(network, "keep", None) is not None or any(
        isinstance(module, Block) and module.survival != 1 for module in network.modules()
    )


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _check_finite(losses: torch.Tensor, epoch: int, epochs: int) -> None:
    wrong = (~losses.isfinite()).nonzero()
    if len(wrong):
        raise BadInput(
            f"training diverged: the loss is not finite at batch {int(wrong[0]) + 1} of epoch {epoch + 1} of {epochs}; "
            "try a smaller --learning-rate. The last good checkpoint, if one was saved, is kept"
        )
