"""The Hessian of a network's mean loss, by its products with directions.

Loss is the mean over all examples, as in `landscape.evaluation.measure`: batches count by their examples, so that
neither their sizes nor their number matters, and BatchNorm uses its stored statistics. Eigenvalues are in
units of loss per squared unit of weight.

The Hessian of a network of ReLUs is that of the smooth piece it is on. Over a finite step the loss bends
also where pieces meet, of which no Hessian knows: a curve through a plane may bend otherwise than it says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from landscape.curvature.layers import TwiceDifferentiated
from landscape.errors import BadInput
from landscape.evaluation.calling import functional
from landscape.evaluation.measure import LOSSES, Batches, Loss, each_of, evaluating
from landscape.linalg.lanczos import outermost_eigenpairs
from landscape.nested import length
from landscape.planes.filters import Parameters, Which, selected
from landscape.weights import Weights, weights_of

__all__ = [
    "Eigenpairs",
    "NotFinite",
    "direction_of",
    "hessian_eigenpairs",
    "hessian_operator",
    "hessian_product",
    "one_thread",
    "tensors_of",
    "vector_of",
]


# Networks with checkpoints of activations, as far as they have been met: they are differentiated as PyTorch does.
RECOMPUTING: WeakSet[nn.Module] = WeakSet()


class NotFinite(BadInput):
    """A product with the Hessian is not finite where the network is."""


def hessian_product(
    network: nn.Module, batches: Batches, direction: Weights, loss: Loss = LOSSES["cross_entropy"]
) -> Weights:
    """The Hessian's product with a direction, by double backpropagation (Pearlmutter 1994).

    Convolutions and BatchNorm are differentiated as `landscape.curvature.layers` has them.

    Parameters
    ----------
    network : nn.Module
        As the user made it: fused or compiled forms cannot be differentiated twice. In float32 or float64,
        which is the precision of the product. It is taken at the weights of the moment, also inside
        `landscape.planes.plane.shift`, and left as it is, to the bit.
    batches : sequence of (inputs, targets)
        On the network's device; batches may be of unequal size.
    direction : Weights
        Of some of the network's parameters or all. The Hessian is that of these alone: the others stay.
    loss : callable
        Gives one number for each example.

    Returns
    -------
    Weights
        Named and shaped as the direction, summed over batches in float64.

    Raises
    ------
    BadInput
        No examples, a direction that does not fit the network, a loss that is not one number for each example.
    """
    return _product(network, batches, direction, loss)


def _product(network: nn.Module, batches: Batches, direction: Weights, loss: Loss, kept: list | None = None) -> Weights:
    """`hessian_product`; a list for `kept` takes the slopes of a single batch, which the next product reads there."""
    try:
        return _with_layers(network, batches, direction, loss, kept)
    except CheckpointError:  # where activations are computed again, its layers are PyTorch's
        if network in RECOMPUTING:
            raise
        RECOMPUTING.add(network)
        return _with_layers(network, batches, direction, loss, kept)


def _with_layers(
    network: nn.Module, batches: Batches, direction: Weights, loss: Loss, kept: list | None = None
) -> Weights:
    """`_product` with the layers that suit the network."""
    examples = sum(length(inputs) for inputs, _ in batches)
    if not examples:
        raise BadInput("there are no examples to take the loss of; give a batch or more")
    # Not the network's own: whether they require gradients, and have some, is the user's.
    with torch.inference_mode(False), torch.enable_grad(), _attention(), evaluating(network):
        parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
        _check(direction, parameters)
        # Copies, since what was made in inference mode can take no part.
        v = [d.detach().to(parameters[name], copy=True) for name, d in direction.items()]
        total = [torch.zeros_like(d, dtype=torch.float64) for d in v]
        for inputs, targets in batches:
            if not kept:
                moved = [parameters[name].requires_grad_() for name in direction]
                with contextlib.nullcontext() if network in RECOMPUTING else TwiceDifferentiated():
                    outputs = functional(network, parameters, inputs)
                each = each_of(loss, outputs, targets)
                slopes = _slopes(each.sum() / examples, moved)
                if kept is not None:
                    kept[:] = moved, slopes
            else:
                moved, slopes = kept
            for sum_, part in zip(total, _bend(slopes, moved, v, again=kept is not None), strict=True):
                sum_ += part
    return dict(zip(direction, total, strict=True))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the length of a ``with``: several sum gradients in an order that depends on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _attention() -> contextlib.AbstractContextManager:
    """Attention written out: its fused forms have no second derivatives."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:  # before torch 2.3; only networks with attention need it
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


def _slopes(value: Tensor, at: list[Tensor]) -> Iterable[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(p) for p in at]
    return torch.autograd.grad(value, at, create_graph=True, materialize_grads=True)


def _bend(slopes: Iterable[Tensor], at: list[Tensor], v: list[Tensor], again: bool) -> Iterable[Tensor]:
    slope: Any = sum((g * d).sum() for g, d in zip(slopes, v, strict=True))
    if not slope.requires_grad:  # a loss that is linear in the weights
        return [torch.zeros_like(p) for p in at]
    return torch.autograd.grad(slope, at, retain_graph=again, materialize_grads=True)


def _check(direction: Weights, parameters: Weights) -> None:
    if not direction:
        raise BadInput("the direction has no parameters; give one or more")
    for name, d in direction.items():
        if name not in parameters:
            raise BadInput(f"the network has no parameter {name}; make the direction from the same network")
        if d.shape != parameters[name].shape:
            raise BadInput(f"the direction does not fit the network at {name}; make it from the same network")
        if parameters[name].dtype not in (torch.float32, torch.float64):
            raise BadInput(f"{name} is {parameters[name].dtype}; curvature needs a network in float32 or float64")


def hessian_operator(
    network: nn.Module,
    batches: Batches,
    loss: Loss = LOSSES["cross_entropy"],
    which: Parameters = None,
    keep: bool = False,
) -> LinearOperator:
    """The Hessian as an operator on float64 vectors of the chosen parameters, in the network's order.

    Parameters
    ----------
    network : nn.Module
        See `hessian_product`, also for what follows.
    batches : sequence of (inputs, targets)
        On the network's device.
    loss : callable
        Gives one number for each example.
    which : str, sequence of str, or callable, optional
        The parameters that are in, see `landscape.planes.filters.selected`: by default all; "filters" are those that a
        filter-normalised plane moves. A function is given a parameter's name and the parameter.
    keep : bool
        Of a single batch, compute the gradient once and differentiate it again for each product. The operator is
        then the Hessian at the first product's weights, and takes memory for as long as it lives: make another one
        at other weights. Of several batches the gradient is taken anew each time, as they may not fit together.

    Returns
    -------
    LinearOperator, shape (n, n)
        For `landscape.linalg.lanczos`, `landscape.linalg.trace`, `landscape.linalg.density` and scipy.

    Raises
    ------
    BadInput
        No parameter is chosen; and as `hessian_product`. At a product, `NotFinite`.
    """
    which = selected(network, which)
    n = sum(parameter.numel() for parameter in _chosen(network, which).values())
    kept: list | None = [] if keep and len(batches) == 1 else None

    def product(vector: np.ndarray) -> np.ndarray:
        direction = tensors_of(np.ravel(vector), _chosen(network, which))
        image = vector_of(_product(network, batches, direction, loss, kept))
        if not np.isfinite(image).all():
            raise NotFinite("the loss or its slope is not finite here; take weights and examples where both are")
        return image

    return LinearOperator((n, n), matvec=product, rmatvec=product, dtype=np.float64)


def _chosen(network: nn.Module, which: Which | None) -> Weights:
    chosen = {name: p.detach() for name, p in network.named_parameters() if which is None or which(name, p)}
    if not chosen:
        raise BadInput("no parameter of the network is chosen; choose one or more")
    return chosen


def vector_of(direction: Weights) -> np.ndarray:
    """A direction's elements one after another, float64 ndarray of shape (n,)."""
    return np.concatenate([d.detach().cpu().numpy().ravel() for d in direction.values()]).astype(np.float64)


def tensors_of(vector: np.ndarray, chosen: Weights) -> dict[str, Tensor]:
    """A vector as tensors with the names and shapes of the chosen weights: `vector_of` undone."""
    ends = np.cumsum([p.numel() for p in chosen.values()])[:-1]
    parts = zip(chosen.items(), np.split(vector, ends), strict=True)
    return {name: torch.tensor(part.reshape(p.shape)).to(p) for (name, p), part in parts}


def direction_of(vector: np.ndarray, network: nn.Module, which: Parameters = None) -> Weights:
    """A direction over all parameters from a vector of the chosen ones; it is 0 in the others.

    The inverse of `vector_of` where all are chosen.
    """
    chosen = _chosen(network, selected(network, which))
    n = sum(p.numel() for p in chosen.values())
    if np.shape(vector) != (n,):
        raise BadInput(f"a vector of shape {np.shape(vector)} for {n} chosen parameters; choose as for the operator")
    zero = {name: w.zero_() for name, w in weights_of(network).items()}
    return {**zero, **tensors_of(np.asarray(vector), chosen)}


@dataclass(frozen=True)
class Eigenpairs:
    """Some eigenvalues of a Hessian with their directions.

    Attributes
    ----------
    values : float64 ndarray, shape (k,)
        The outermost first. Fewer than were asked for where the others did not converge.
    directions : tuple of Weights
        Unit vectors over all parameters, 0 in those that are not chosen; the sign is such that the largest
        element is positive.
    residuals : float64 ndarray, shape (k,)
        ‖Hv − λv‖: an eigenvalue lies so near to λ, or nearer.
    converged : bool
        Whether all that were asked for are there.
    products : int
        How many products with the Hessian it took.
    """

    values: np.ndarray
    directions: tuple[Weights, ...]
    residuals: np.ndarray
    converged: bool
    products: int


def hessian_eigenpairs(
    network: nn.Module,
    batches: Batches,
    number: int = 1,
    loss: Loss = LOSSES["cross_entropy"],
    which: Parameters = None,
    end: str = "largest",
    tolerance: float = 1e-4,
    products: int = 1000,
    seed: int = 0,
    operator: LinearOperator | None = None,
) -> Eigenpairs:
    """The outermost eigenvalues with directions, see `landscape.linalg.lanczos.outermost_eigenpairs`.

    Parameters
    ----------
    network : nn.Module
        See `hessian_operator`, also for what follows.
    batches : sequence of (inputs, targets)
        On the network's device.
    loss : callable
        Gives one number for each example.
    which : str, sequence of str, or callable, optional
        Which parameters.
    number : int
        How many; fewer than there are parameters.
    end : {"largest", "smallest", "magnitude"}
        Which end of the spectrum, or the largest magnitudes of both.
    tolerance : float
        Of the residuals, as a part of each eigenvalue. Those that do not meet it are left out.
    products : int
        At most so many.
    seed : int
        Of the start vector.
    operator : LinearOperator, optional
        The Hessian of all this, where it has been made already.

    Returns
    -------
    Eigenpairs
        Values, directions, residuals, and whether all converged.

    Raises
    ------
    BadInput
        A number or an end that there is not, a Hessian of zero; and as `hessian_operator`.
    """
    which = selected(network, which)
    if operator is None:
        operator = hessian_operator(network, batches, loss, which, keep=True)
    n = operator.shape[0]
    if not 1 <= number < n:
        raise BadInput(f"{number} eigenvalues of {n} parameters; ask for 1 to {n - 1}")
    pairs = outermost_eigenpairs(operator, number, end, tolerance, products, seed)
    if not pairs.values.any() and not pairs.residuals.any():
        raise BadInput("the Hessian is zero here, so that no direction stands out; choose other parameters")
    good = pairs.residuals <= tolerance * np.abs(pairs.values)
    vectors = [v * np.sign(v[np.abs(v).argmax()]) for v in pairs.vectors[good]]
    directions = tuple(direction_of(v, network, which) for v in vectors)
    return Eigenpairs(pairs.values[good], directions, pairs.residuals[good], pairs.converged, pairs.products)
