"""How alike the gradients at different inputs are: do they shatter?

The gradients are those of a network's outputs for its input, and not of a loss, so that they need no targets. Their
correlation at two examples i and j is Σ ⟨g_i, g_j⟩ / (Σ‖g_i‖² Σ‖g_j‖²)^½, summed over scalar functions f = v·h of the
outputs h. Over all unit vectors v, as here where an example has up to 16 outputs, that is the cosine of the two
Jacobians, and the mean over all random v with nothing left to chance; of more outputs 16 random v are taken. It is 1
for all i and j where the network is linear, and 0 on average where gradients are white noise. Gradients are not
centred: over draws of the weights their mean is 0.

Balduzzi et al. 2017 (1702.08591 §3) take the same correlation over draws of the weights: in rectifier networks whose
units are on for half of the inputs, independently for any two, it is 2^−L after L layers, (3/4)^L with shortcuts, and
about 1/√L with shortcuts and BatchNorm. In a wide one it is Π(1 − θ_l/π) of the angles θ_l between two examples' inputs
of each layer (Cho & Saul 2009, the arc-cosine kernel of degree 0). Their Figure 1 has it for inputs on a line: here
256 points between two examples, equally far apart, and lags of 1, 2, 4, …, 128 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.flow.gradients import norms
from ensemble.flow.parts import At
from landscape.evaluation.calling import scores_of
from landscape.evaluation.measure import Batches
from landscape.nested import Nested

__all__ = ["DRAWS", "LAGS", "PATHS", "POINTS", "Correlation", "along_lines", "autocorrelation", "correlation", "pairs"]

DRAWS = 16  # scalar functions of the outputs; where there are no more outputs, these themselves
POINTS = 256  # on a line between two examples
LAGS = tuple(2**power for power in range(8))  # points
PATHS = 8  # lines


class Correlation(NamedTuple):
    """Between the gradients at two examples of a batch, over all pairs; errors are over draws of the examples.

    Attributes
    ----------
    mean, mean_se : and its standard error
    absolute, absolute_se : of the size, whatever the sign
    """

    mean: float
    mean_se: float
    absolute: float
    absolute_se: float


def correlation(network: nn.Module, batches: Batches, at: At) -> list[Correlation]:
    """Measure the correlation of gradients between examples: at the network's input, and at every boundary.

    Parameters
    ----------
    network : in evaluation mode, with the statistics that it is to have
    batches : sequence of (inputs, targets)
        On the network's device. Pairs are of one batch.
    at : the network's parts, see `ensemble.flow.parts.parts`

    Returns
    -------
    list of Correlation
        At the input, NaN where that is not one tensor of real numbers; then at each boundary.
    """
    every: list[list[np.ndarray]] = []
    for inputs, _ in batches:
        with torch.inference_mode(False), torch.enable_grad():
            each = [_at_input(network, inputs), *_at_boundaries(at, inputs)]
        every = every or [[] for _ in each]
        for place, matrix in zip(every, each, strict=True):
            place.append(matrix)
    return [pairs(matrices) for matrices in every]


def pairs(matrices: Sequence[np.ndarray]) -> Correlation:
    """Means over pairs of examples, with their standard errors.

    Parameters
    ----------
    matrices : sequence of float ndarray, each (N, N)
        Correlations of the examples of each batch; pairs with a NaN are left out.

    Notes
    -----
    A mean over pairs is a U-statistic: its variance is 4/N that of an example's own mean over the others (Hoeffding
    1948), and not that over pairs, which are not independent.
    """
    numbers = []
    for sign in (lambda x: x, np.abs):
        of_examples = [_others(sign(matrix)) for matrix in matrices]
        means = np.concatenate(of_examples)
        means = means[np.isfinite(means)]
        if len(means) < 2:
            return Correlation(*[float("nan")] * 4)
        numbers += [float(means.mean()), float(2 * means.std(ddof=1) / np.sqrt(len(means)))]
    return Correlation(*numbers)


def along_lines(network: nn.Module, inputs: Nested, paths: int = PATHS) -> np.ndarray:
    """Measure the autocorrelation of gradients at the input, on lines from example to example.

    Parameters
    ----------
    network : in evaluation mode, with the statistics that it is to have
    inputs : a batch
    paths : int
        Number of lines: between the first and the second example, the third and the fourth, and so on.

    Returns
    -------
    float64 ndarray, shape (lags, lines)
        See `autocorrelation`; of one random scalar function of the outputs for each line. No lines where the input is
        not one tensor of real numbers.
    """
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        return np.empty((len(LAGS), 0))
    lines = []
    for number in range(min(paths, len(inputs) // 2)):
        first, last = inputs[2 * number], inputs[2 * number + 1]
        part = torch.linspace(0, 1, POINTS, dtype=inputs.dtype, device=inputs.device)
        part = part.reshape(-1, *[1] * first.ndim)
        with torch.inference_mode(False), torch.enable_grad():
            points = (first + part * (last - first)).detach().requires_grad_()
            outputs = scores_of(network(points)).flatten(1)
            direction = _random(1, outputs.shape[1], number).to(outputs)[0]
            (gradients,) = torch.autograd.grad((outputs @ direction).sum(), points, materialize_grads=True)
        lines.append(autocorrelation(gradients))
    return np.stack(lines, axis=1) if lines else np.empty((len(LAGS), 0))


def autocorrelation(gradients: Tensor) -> np.ndarray:
    """Σ_t ⟨g_t, g_{t+k}⟩ / (Σ_t ‖g_t‖² Σ_t ‖g_{t+k}‖²)^½ of a series (points, …), at each lag k of `LAGS`: (lags,)."""
    series = gradients.detach().cpu().double().flatten(1).numpy()
    squares = norms(gradients) ** 2
    each = []
    for lag in LAGS:
        product = (series[:-lag] * series[lag:]).sum()
        size = np.sqrt(squares[:-lag].sum() * squares[lag:].sum())
        each.append(product / size if size > 0 else np.nan)
    return np.array(each)


def _at_boundaries(at: At, inputs: Nested) -> list[np.ndarray]:
    row = at(inputs)
    x: Any = row.stem(inputs).detach().requires_grad_()
    activations = []
    for part in (*row.between, row.head):
        activations.append(x)
        x = part.run(x)
    return _matrices(x, activations)


def _at_input(network: nn.Module, inputs: Nested) -> np.ndarray:
    if not (isinstance(inputs, Tensor) and inputs.is_floating_point()):
        return np.full((1, 1), np.nan)
    x = inputs.detach().clone().requires_grad_()
    return _matrices(network(x), [x])[0]


def _matrices(outputs: Any, places: list[Tensor]) -> list[np.ndarray]:
    """The correlations (N, N) of the outputs' gradients at some tensors (N, …)."""
    outputs = scores_of(outputs).flatten(1)
    size = outputs.shape[1]
    directions = torch.eye(size) if size <= DRAWS else _random(DRAWS, size, 0)
    products = np.zeros((len(places), len(outputs), len(outputs)))
    for direction in directions.to(outputs):
        gradients = torch.autograd.grad((outputs @ direction).sum(), places, retain_graph=True, materialize_grads=True)
        for place, gradient in enumerate(gradients):
            flat = gradient.double().flatten(1)
            products[place] += (flat @ flat.T).cpu().numpy()
    return [_normalised(product) for product in products]


def _normalised(product: np.ndarray) -> np.ndarray:
    sizes = np.sqrt(np.diag(product))
    with np.errstate(invalid="ignore", divide="ignore"):
        return product / np.outer(sizes, sizes)


def _others(matrix: np.ndarray) -> np.ndarray:
    """Each example's mean over the other ones; NaN where there is none."""
    known = np.isfinite(matrix) & ~np.eye(len(matrix), dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.where(known, matrix, 0).sum(axis=1) / known.sum(axis=1)


def _random(number: int, size: int, seed: int) -> Tensor:
    return torch.randn(number, size, generator=torch.Generator().manual_seed(seed))
