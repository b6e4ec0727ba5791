"""Gradients at the boundaries between the blocks of a network.

A boundary is the input of a block, or of what else the stages hold; number 0 is what the stem puts out, and the
last is the input of the head. The gradient of an example at a boundary is that of the sum of its batch's losses
with respect to the example's own activations there. Where BatchNorm uses stored statistics, that is the gradient of
the example's own loss. With statistics of the batch the examples are not independent, and it holds as well what
the example does, through the statistics, to the losses of the others: it is what training sends back.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor, nn
from torch.func import jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel

from ensemble.flow.parts import At, Parts, parts
from landscape.errors import BadInput
from landscape.evaluation.batchnorm import of_each_batch, recalibrated
from landscape.evaluation.measure import LOSSES, Batches, Loss, each_of, evaluating

__all__ = ["BATCHNORM", "Flow", "Pass", "extremes", "flow", "normalised", "norms", "passes", "relative"]

BATCHNORM = ("batch", "recalibrated", "frozen")
DENSE = 1024  # elements of a block's input up to which all of its singular values are found


class Flow(NamedTuple):
    """Gradients through the depth of a network.

    Attributes
    ----------
    gradient : float64 ndarray, shape (boundaries, examples)
        Norm of the gradient of the loss with respect to an example's activations.
    parameters : float64 ndarray, shape (boundaries,)
        Norm of the gradient of the mean loss with respect to the parameters of the part behind the boundary, which for
        the last is the head; 0 for one without parameters.
    """

    gradient: np.ndarray
    parameters: np.ndarray


class Pass(NamedTuple):
    """One batch, forward and backward.

    Attributes
    ----------
    activations, gradients : one tensor a boundary, (N, …) each; gradients of the sum of losses
    parameters : for each boundary, the gradients of the sum of losses for the parameters behind it
    row : the parts that were run
    """

    activations: list[Tensor]
    gradients: list[Tensor]
    parameters: list[list[Tensor]]
    row: Parts


def flow(
    network: nn.Module,
    batches: Batches,
    loss: Loss = LOSSES["cross_entropy"],
    batchnorm: str = "batch",
    at: At | None = None,
) -> Flow:
    """Measure the gradient at every boundary of a network.

    Parameters
    ----------
    network : nn.Module
        Of `landscape.networks`, or any that is a chain of blocks. Borrowed: its weights, statistics, modes and
        gradients are as before. No dropout, and every block runs.
    batches : sequence of (inputs, targets)
        On the network's device.
    loss : callable
        Gives one number for each example.
    batchnorm : {"batch", "recalibrated", "frozen"}
        Statistics of each batch, as in training; of all the batches, measured first and then held; or those that
        the network has stored, which at initialisation are those of nothing: mean 0, variance 1.
    at : the network's parts, see `ensemble.flow.parts.parts`

    Returns
    -------
    Flow
        Norms at each boundary: of the gradient of each example's loss at its activations, and of that of the mean loss
        at the parameters behind.

    Raises
    ------
    BadInput
        The network is no chain of blocks, the loss is not one number for each example.
    """
    gradients: list[np.ndarray] = []
    parameters: list[list[Tensor]] = []
    examples = 0
    with normalised(network, batches, batchnorm):
        for one in passes(network, batches, loss, at):
            gradients.append(np.stack([norms(g) for g in one.gradients]))
            examples += gradients[-1].shape[1]
            # float64 on the CPU: the mean over batches must not depend on how they are cut
            summed = [[g.cpu().double() for g in part] for part in one.parameters]
            if parameters:
                summed = [[a + b for a, b in zip(*both, strict=True)] for both in zip(parameters, summed, strict=True)]
            parameters = summed
    squares = [sum(np.square(g.numpy()).sum() for g in part) for part in parameters]
    return Flow(np.concatenate(gradients, axis=1), np.sqrt(np.array(squares, float)) / examples)


def relative(gradient: np.ndarray) -> np.ndarray:
    """Norms (boundaries, examples) as parts of those at the last; examples without a gradient there are left out."""
    with np.errstate(invalid="ignore", over="ignore"):
        return gradient[:, gradient[-1] != 0] / gradient[-1, gradient[-1] != 0]


def passes(
    network: nn.Module, batches: Batches, loss: Loss = LOSSES["cross_entropy"], at: At | None = None
) -> Iterator[Pass]:
    """Run a network forward and backward, batch by batch, with the statistics that it has at the moment."""
    at = at or parts(network)
    for inputs, targets in batches:
        with torch.inference_mode(False), torch.enable_grad():
            row = at(inputs)
            x = row.stem(inputs).detach()
            activations: list[Tensor] = []
            for part in (*row.between, row.head):
                activations.append(x if activations else x.requires_grad_())
                x = part.run(x)
            each = each_of(loss, x, targets)
            behind = [part.weights for part in (*row.between, row.head)]
            flat = [p for own in behind for p in own]
            gradients = torch.autograd.grad(each.sum(), activations + flat, allow_unused=True, materialize_grads=True)
        rest = iter(gradients[len(activations) :])
        yield Pass(
            [a.detach() for a in activations],
            list(gradients[: len(activations)]),
            [[next(rest) for _ in own] for own in behind],
            row,
        )


@contextlib.contextmanager
def normalised(network: nn.Module, batches: Batches, batchnorm: str) -> Iterator[nn.Module]:
    """The network in evaluation mode, its BatchNorms with the statistics of `BATCHNORM` that are named; see `flow`."""
    if batchnorm not in BATCHNORM:
        raise BadInput(f"batchnorm is {batchnorm!r}; use {', '.join(BATCHNORM)}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(network))
        if any(getattr(module, "running_mean", None) is not None for module in network.modules()):
            if batchnorm == "batch":
                stack.enter_context(of_each_batch(network))
            if batchnorm == "recalibrated":
                stack.enter_context(recalibrated(network, [inputs for inputs, _ in batches]))
        yield network


def norms(x: Tensor) -> np.ndarray:
    """The norm of each example, (N, …) -> float64 (N,); by numpy, so that threads do not matter."""
    return np.linalg.norm(x.cpu().double().flatten(1).numpy(), axis=1)


def extremes(
    block: nn.Module | Callable[[Tensor], Tensor], x: Tensor, seed: int = 0, dense: int = DENSE
) -> tuple[float, float]:
    """The smallest and the largest singular value of a block's Jacobian at one example, in float64.

    Parameters
    ----------
    block : nn.Module, or a function of float64 tensors
        A module is copied, not touched. With BatchNorms that use stored statistics: one example has none of its own.
    x : Tensor, shape (1, …)
    seed : of the vector from which the largest is iterated
    dense : where the input has at most so many elements, the whole Jacobian is computed

    Returns
    -------
    smallest, largest : float
        The smallest is NaN where the Jacobian is too large to be computed whole: iterations find the
        inner end of the spectrum only in as many products as that would take.
    """
    block, x = copy.deepcopy(block).double() if isinstance(block, nn.Module) else block, x.detach().double()

    def function(flat: Tensor) -> Tensor:
        return block(flat.reshape(x.shape)).flatten()

    # other kernels of attention have no derivative for many vectors at once: torch takes one after the other, and warns
    with torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        point = x.flatten().clone()
        if point.numel() <= dense:
            values = np.linalg.svd(jacrev(function, chunk_size=256)(point).detach().cpu().numpy(), compute_uv=False)
            return float(values[-1]), float(values[0])
        point.requires_grad_()
        output = function(point)
        u = torch.zeros_like(output, requires_grad=True)
        pulled = torch.autograd.grad(output, point, u, create_graph=True)[0]  # Jᵀu, so that its derivative by u is J

        def product(of: Tensor, by: Tensor, vector: np.ndarray) -> np.ndarray:
            v = torch.from_numpy(np.ascontiguousarray(vector).ravel()).to(of)
            return torch.autograd.grad(of, by, v, retain_graph=True)[0].cpu().numpy()

        operator = LinearOperator(
            (output.numel(), point.numel()),
            matvec=lambda v: product(pulled, u, v),
            rmatvec=lambda v: product(output, point, v),
            dtype=np.float64,
        )
        start = np.random.default_rng(seed).standard_normal(min(operator.shape))
        return float("nan"), float(svds(operator, 1, v0=start, return_singular_vectors=False)[0])
