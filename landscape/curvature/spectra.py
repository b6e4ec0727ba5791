"""The Hessian's spectrum at a network's weights: as an operator, its outermost eigenpairs, its trace, its density.

Units are those of the loss per squared unit of weight. The network may be in any mode: it is in evaluation mode while
a product is taken, and is given back as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from landscape.analysis.hessian_files import DENSITY, EIGENVALUES, TRACE, UNIT
from landscape.curvature.hessian import Eigenpairs, hessian_eigenpairs, hessian_operator, one_thread
from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table
from landscape.errors import BadInput
from landscape.evaluation.borrowing import borrowed
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.prepared import Evaluation
from landscape.linalg.density import moment, quadrature, smoothed
from landscape.linalg.ritz import gaussian
from landscape.linalg.trace import Estimate, budget, estimate, probe, sketch_of
from landscape.linalg.trace import trace as trace_of
from landscape.log import Report
from landscape.planes.build_plane import seed_of
from landscape.planes.direction_files import save
from landscape.planes.filters import Parameters, Which, selected
from landscape.validate import real, whole

__all__ = [
    "density_probes",
    "eigenpairs",
    "hessian",
    "operator_of",
    "part_of_eigenvalues",
    "top_eigenvalues",
    "trace",
    "trace_probes",
]


def hessian(evaluate: Evaluator, *, parameters: Parameters = None, all_parameters: bool = False) -> LinearOperator:
    """The Hessian of a network's mean loss, as an operator on vectors of its parameters.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    parameters : str, sequence of str, or callable, optional
        Which parameters it is of: "all", "trainable", patterns of names, or a function of name and parameter.
    all_parameters : bool
        Whether it is of all of them, and not only of those with filters, which planes move.

    Returns
    -------
    LinearOperator
        In float64, for `trace` and for all of `scipy.sparse.linalg`. A product is taken at the weights that the network
        has then, on one thread, by two backward passes over all examples.

    Raises
    ------
    BadInput
        The evaluator has a reduced type or a tolerance, or no parameter is chosen. At a product: it is not finite.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(4, 3)
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> hessian(Evaluator(network, batches)).shape
    (12, 12)
    """
    evaluate.require_exact("the Hessian")
    with evaluate.ready() as evaluation:
        which = selected(evaluation.network, parameters, filters=not all_parameters)
        operator = hessian_operator(evaluation.network, evaluation.batches, evaluation.loss, which)

    def product(vector: np.ndarray) -> np.ndarray:
        with borrowed(evaluate.network), one_thread():
            return operator.matvec(vector)

    return LinearOperator(operator.shape, matvec=product, rmatvec=product, dtype=operator.dtype)


def trace(operator: LinearOperator | Evaluator, products: int = 90, seed: int = 0) -> Estimate:
    """The trace of a symmetric operator, or of an evaluator's Hessian, by Hutch++; see `landscape.linalg.trace.trace`.

    Parameters
    ----------
    operator : LinearOperator or Evaluator
        Symmetric, such as that of `hessian`; or an evaluator, whose Hessian is taken.
    products : int
        How many products to spend; with as many as there are parameters the trace is exact.
    seed : int
        Random seed of the vectors.

    Returns
    -------
    Estimate
        Its ``value``, ``standard_error`` and ``interval``, of 95 %.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> trace(aslinearoperator(np.diag([1.0, 2.0, 3.0])), products=3).value
    6.0
    """
    operator = hessian(operator) if isinstance(operator, Evaluator) else operator
    return trace_of(operator, products, seed=seed)


def eigenpairs(
    evaluate: Evaluator,
    number: int = 1,
    *,
    end: str = "largest",
    parameters: Parameters = None,
    all_parameters: bool = False,
    precision: float = 1e-3,
    seed: int | None = None,
) -> Eigenpairs:
    """The outermost eigenvalues of the Hessian, with directions for `landscape.planes.make_plane.plane_along`.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss.
    parameters : str, sequence of str, or callable, optional
        Which parameters, see `hessian`.
    all_parameters : bool
        See `hessian`.
    number : int
        How many; fewer than there are parameters.
    end : {"largest", "smallest", "magnitude"}
        Which end of the spectrum, or the largest magnitudes of both.
    precision : float
        Of each residual, as a part of its eigenvalue; those that do not reach it are left out. A direction is known
        to about the residual / gap, where the gap is to the next eigenvalue, and a value to residual² / gap: 1e-2
        gives three digits of one that stands apart by a tenth.
    seed : int, optional
        Random seed of the start vector; by default that of `evaluate`.

    Returns
    -------
    Eigenpairs
        ``values``, the outermost first; ``directions``, unit vectors over all parameters; ``residuals`` ‖Hv − λv‖.

    Raises
    ------
    BadInput
        A number or an end that there is not, a Hessian of zero; and as `hessian`.

    Examples
    --------
    >>> import torch
    >>> evaluate = Evaluator(torch.nn.Linear(4, 3), [(torch.randn(8, 4), torch.arange(8) % 3)])
    >>> pairs = eigenpairs(evaluate, 2)
    >>> pairs.values.shape, sorted(pairs.directions[0])
    ((2,), ['bias', 'weight'])
    """
    evaluate.require_exact("the Hessian")
    number, precision = whole("number", number), part_of_eigenvalues(precision)
    with evaluate.ready() as evaluation, one_thread():
        which = selected(evaluation.network, parameters, filters=not all_parameters)
        how: dict[str, Any] = {"end": end, "tolerance": precision, "seed": seed_of(evaluate, seed)}
        return hessian_eigenpairs(evaluation.network, evaluation.batches, number, evaluation.loss, which, **how)


def part_of_eigenvalues(precision: float) -> float:
    """The part of eigenvalues that their residuals may have, which is one."""
    if not 0 < (part := real("precision", precision)) < 1:
        raise BadInput(f"--precision is {part:g}; give a part of the eigenvalues between 0 and 1, like 1e-3")
    return part


def operator_of(evaluation: Evaluation, which: Which | None) -> LinearOperator:
    """The Hessian at the weights of the moment, which must stay there."""
    return hessian_operator(evaluation.network, evaluation.batches, evaluation.loss, which, keep=True)


def _with_first_kept(operator: LinearOperator) -> LinearOperator:
    """The same operator, whose first product is taken once."""
    first: list[np.ndarray] = []

    def product(vector: np.ndarray) -> np.ndarray:
        if not first:
            first[:] = vector.copy(), operator.matvec(vector)
        elif not np.array_equal(vector, first[0]):
            return operator.matvec(vector)
        return first[1]

    return LinearOperator(operator.shape, matvec=product, rmatvec=product, dtype=operator.dtype)


# Experiments, for `landscape.curvature.maps.curvature`, whose arguments these are.


def top_eigenvalues(
    evaluation: Evaluation,
    which: Which | None,
    number: int,
    *,
    end: str,
    directions: Path | None,
    precision: float,
    seed: int,
    fresh: bool,
    attributes: dict,
    comm: Communicator,
    dry_run: bool,
    **running: Any,
) -> Results | Report:
    """The outermost eigenvalues; their directions go into a file, if one is named. Collective.

    If it is `fresh`, that products are finite is seen before there is a file.
    """
    operator = _with_first_kept(operator_of(evaluation, which))
    n = operator.shape[0]
    with collective_errors(comm):
        if comm.size > 1:
            raise BadInput("--top runs on one process; start it without mpiexec")
        if not 1 <= number < n:
            raise BadInput(f"--top {number} of {n} parameters; ask for 1 to {n - 1}")
        if directions is not None and not directions.parent.is_dir():
            raise BadInput(f"output folder {directions.parent} does not exist; create it: mkdir -p {directions.parent}")
        if fresh:
            operator.matvec(gaussian(n, seed))  # the first that the eigenpairs take

    @cache
    def pairs() -> Eigenpairs:
        how: dict[str, Any] = {"end": end, "tolerance": precision, "seed": seed, "operator": operator}
        pairs = hessian_eigenpairs(evaluation.network, evaluation.batches, number, evaluation.loss, which, **how)
        if pairs.directions and directions is not None and not dry_run:
            save(pairs.directions, directions)
        return pairs

    def eigenvalues(rows: np.ndarray) -> Iterator[dict]:
        values, residuals, products = pairs().values, pairs().residuals, pairs().products
        for (row,) in rows:
            known = row < len(values)
            yield {
                "eigenvalue": values[row] if known else np.nan,
                "residual": residuals[row] if known else np.nan,
                "converged": known,
                "products": products,
            }

    def finish(table: Table) -> Iterator[str]:
        good = table.values["converged"]
        if good.any() and directions is not None and not directions.is_file():
            pairs()
        if not good.all():
            yield f"{(~good).sum()} of {len(good)} did not converge; a larger --precision lets them"
        if good.any():
            values = ", ".join(f"{value:.4g}" for value in table.values["eigenvalue"][good])
            yield f"λ = {values} {UNIT}"
            if directions is not None:
                yield f"their directions are in {directions}"

    return run(
        eigenvalues,
        np.arange(number),
        label="eigenpairs",
        kind="eigenvalues",
        dims=("eigenpair",),
        coordinates={"eigenpair": np.arange(1, number + 1)},
        measured=in_units(EIGENVALUES, evaluation.metadata["loss"]),
        attributes={**attributes, "parameters": n, "end": end, "precision": precision},
        finish=finish,
        comm=comm,
        dry_run=dry_run,
        **running,
    )


def trace_probes(
    evaluation: Evaluation,
    which: Which | None,
    products: int,
    *,
    seed: int,
    attributes: dict,
    comm: Communicator,
    **running: Any,
) -> Results | Report:
    """Estimates of the trace, one a probe. Collective."""
    operator = operator_of(evaluation, which)
    with collective_errors(comm):
        size, probes = budget(products)

    @cache
    def sketch() -> Any:  # by each rank for itself, and only where there are probes to take
        return sketch_of(operator, size, seed)

    def traces(rows: np.ndarray) -> Iterator[dict]:
        for (row,) in rows:
            yield {"trace": probe(operator, sketch(), (seed, row))}

    return run(
        traces,
        np.arange(probes),
        label="probes",
        kind="trace",
        dims=("probe",),
        coordinates={"probe": np.arange(probes)},
        measured=in_units(TRACE, evaluation.metadata["loss"]),
        attributes={**attributes, "parameters": operator.shape[0], "sketch": size},
        finish=lambda table: [f"trace {_with_interval(estimate(table.values['trace']))}"],
        comm=comm,
        **running,
    )


def density_probes(
    evaluation: Evaluation,
    which: Which | None,
    probes: int,
    *,
    steps: int,
    seed: int,
    attributes: dict,
    comm: Communicator,
    **running: Any,
) -> Results | Report:
    """Quadratures of the spectral density, one a probe. Collective."""
    operator = operator_of(evaluation, which)
    n = operator.shape[0]
    with collective_errors(comm):
        if probes < 2:
            raise BadInput(f"--density is {probes}; give 2 probes or more, which their scatter is known from")

    def quadratures(rows: np.ndarray) -> Iterator[dict]:
        for (row,) in rows:
            yield dict(zip(DENSITY, quadrature(operator, steps, (seed, row)), strict=True))

    def finish(table: Table) -> list[str]:
        nodes = table.values["node"]
        mean = moment(smoothed(nodes, table.values["weight"], n), 1)
        return [
            f"λ from {nodes.min():.4g} to {nodes.max():.4g} {UNIT}",
            f"trace {_with_interval(mean, n)}",
        ]

    return run(
        quadratures,
        np.arange(probes),
        label="probes",
        kind="density",
        dims=("probe",),
        coordinates={"probe": np.arange(probes), "step": np.arange(min(steps, n))},
        measured=in_units(DENSITY, evaluation.metadata["loss"]),
        attributes={**attributes, "parameters": n},
        finish=finish,
        comm=comm,
        **running,
    )


def _with_interval(estimate: Estimate, times: float = 1) -> str:
    """An estimate, or so many times that, with its interval."""
    low, high = (times * end for end in estimate.interval)
    return f"{times * estimate.value:.4g} ± {(high - low) / 2:.2g} {UNIT} (95 %)"
