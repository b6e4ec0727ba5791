"""How much of a network's gradient comes by paths of each length, measured into a table (Veit et al. 2016, §5)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ensemble.paths.chain import chains, counts, effective, mean_length
from ensemble.paths.spectrum import Spectrum, at, products, sampled, spectrum
from landscape.data import stratified_order
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.engine.table import Table, read
from landscape.errors import BadInput
from landscape.evaluation.batches import arranged
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.losses import in_units
from landscape.evaluation.measure import Batches
from landscape.evaluation.prepared import check_gradients
from landscape.import_path import import_object
from landscape.log import Report
from landscape.nested import cat, length, mapped, take
from landscape.validate import whole

__all__ = ["PATHS", "path_spectrum"]

NAN, SIZE = float("nan"), "nats per unit of activation"
PATHS = {
    "norm": (
        "f8",
        NAN,
        {"long_name": "norm of the gradient by paths of this length, mean over examples", "units": SIZE},
    ),
    "share": ("f8", NAN, {"long_name": "signed share of the gradient, mean over examples", "units": "1"}),
    "sampled_norm": ("f8", NAN, {"long_name": "number of paths times the mean norm of sampled ones", "units": SIZE}),
    "sampled_se": ("f8", NAN, {"long_name": "standard error of sampled_norm over draws", "units": SIZE}),
    "norm_each": ("f8", NAN, {"long_name": "norm, of each example", "units": SIZE}, ("example",)),
    "share_each": ("f8", NAN, {"long_name": "share, of each example", "units": "1"}, ("example",)),
}
PART = 0.95


def path_spectrum(
    evaluate: Evaluator,
    *,
    examples: int | None = 64,
    draws: int = 1000,
    image: bool = False,
    part: str | None = None,
    blocks: Callable[[nn.Module], Mapping] | str | None = None,
    layers: bool = False,
    seed: int | None = None,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure how much of the gradient comes by paths of each length (Veit et al. 2016, 1605.06431 §5). Collective.

    Exactly, norm and signed share, in float64; and as it was first estimated, the number of paths times the mean norm
    of random ones, in float32, which leaves out that paths cancel. One random path of each length costs as much as all
    paths exactly.

    Parameters
    ----------
    evaluate : Evaluator
        The network, its data and loss. Networks are those of `landscape.networks`, and others that are chains of
        blocks, see `ensemble.paths.chain.chain`.
    examples : int, optional
        A stratified subset of so many, or all if there are no more: many tell little more in much more time.
    draws : int
        Number of random paths of each length, 2 or more; all where fewer exist.
    image : bool
        Whether to take the gradient at the image, and not at the input of the first block.
    part : str, optional
        The length of a path counts only blocks of this part of a transformer's layers, "attention" or "mlp"; through
        the others go all paths, by the branch and around it
    blocks : callable or str, optional
        See `ensemble.blocks.blocks.blocks`; may be the name package.module:function.
    layers : bool
        See there.
    seed : int, optional
        Random seed of the draws and the subset; by default that of `evaluate`.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over (length): ``paths``, their number, and the variables of `PATHS`, two of them also over (example).

    Raises
    ------
    BadInput
        The network is no chain of blocks, the evaluator measures more than one loss, or the file holds another
        measurement.

    Examples
    --------
    >>> from landscape.networks import build
    >>> batches = [(torch.randn(4, 1, 8, 8), torch.arange(4))]
    >>> evaluate = Evaluator(build("resnet", depth=8, width=4, channels=1), batches)
    >>> path_spectrum(evaluate, draws=2, quiet=True)["paths"]
    array([1., 3., 3., 1.])
    """
    comm, out = communicator(comm), None if out is None else Path(out)
    with evaluate.ready(comm) as evaluation:
        with collective_errors(comm):
            check_gradients(evaluation)
            if whole("draws", draws) < 2:
                raise BadInput(f"--draws is {draws}; an error needs 2 or more")
            seed = evaluate.seed if seed is None else whole("seed", seed, 0)
            batches, numbers = _examples(evaluate, evaluation.batches, examples, seed)
            numbers = _as_counted(out, numbers)
            how: dict[str, Any] = {
                "blocks": import_object(blocks) if isinstance(blocks, str) else blocks,
                "layers": layers,
                "part": part,
            }
            exact, quick = (chains(evaluation.network, dtype, image, **how) for dtype in (torch.float64, torch.float32))
            steps = at(exact, take(batches[0][0], slice(1))).steps

        @cache
        def everything() -> Spectrum:
            """All lengths at once; each rank for itself, since it costs no more than one draw of each."""
            return spectrum(exact, batches, evaluation.loss)

        def measured(points: np.ndarray) -> Iterator[dict]:
            norms, shares = everything()
            sloped = norms.any(axis=0)  # an example without any gradient has no shares
            for (length,) in points:
                estimate = sampled(quick, batches, int(length), draws, seed, evaluation.loss)
                yield {
                    "norm": norms[length].mean(),
                    "share": shares[length, sloped].mean() if sloped.any() else NAN,
                    "sampled_norm": estimate.norm,
                    "sampled_se": estimate.se,
                    "norm_each": norms[length],
                    "share_each": shares[length],
                }

        paths = counts(steps)
        return run(
            measured,
            np.arange(len(paths)),
            label="lengths",
            kind="paths",
            dims=("length",),
            coordinates={"length": np.arange(len(paths)), "example": numbers},
            given={"paths": (("length",), np.array(paths, float))},
            measured=in_units(PATHS, evaluation.metadata["loss"]),
            attributes={
                **evaluation.metadata,
                "seed": seed,
                "draws": draws,
                "gradient_at": "image" if image else "first block",
                **({} if part is None else {"part": part}),
                **({"layers": True} if layers else {}),
            },
            finish=lambda table: _summary(table, paths, products(steps)),
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def _examples(evaluate: Evaluator, batches: Batches, examples: int | None, seed: int) -> tuple[Batches, np.ndarray]:
    """Those that are measured, and their numbers in the stored order of the data."""
    numbers = evaluate.numbers()
    if examples is None or whole("examples", examples) >= len(numbers):
        return batches, numbers
    order = stratified_order(cat([mapped(Tensor.cpu, targets) for _, targets in batches]), seed)[:examples]
    return arranged(batches, examples, length(batches[0][1]), False, seed), numbers[order]


def _as_counted(out: Path | None, numbers: np.ndarray) -> np.ndarray:
    """The numbers, or those in a file of version 0.1, which has only counted the examples."""
    if out is not None and out.is_file():
        counted = np.arange(len(numbers))
        if np.array_equal(read(out).coordinates.get("example", np.empty(0)), counted):
            return counted
    return numbers


def _summary(table: Table, paths: Sequence[int], cost: int) -> Iterator[str]:
    """What the spectrum says, in a few lines."""
    values, n = table.values, len(paths) - 1
    norm, share = values["norm"], values["share"]
    line = f"the exact spectrum takes {cost} products with a block's Jacobian, {cost / n:.3g} backward passes' worth"
    if not np.isfinite(share).all():
        yield line
        yield "no finite gradient reaches the first block: there is nothing to divide among lengths"
        return
    off = np.nanmax(abs(values["share_each"].sum(axis=0) - 1))
    first, last = effective(np.abs(share), PART)
    among = sum(paths[first : last + 1]) / sum(paths)
    over = np.divide(values["sampled_norm"], norm, out=np.zeros(n + 1), where=norm > 0)
    peak, worst = share.argmax(), over.argmax()
    yield f"{line}; the shares of each example sum to 1 within {off:.1g}"
    yield (
        f"{100 * PART:.0f} % of the shares, in magnitude, are of lengths {first} to {last} of {n}, "
        f"which {100 * among:.3g} % of all paths have; the mean length is {mean_length(np.abs(share)):.1f}, "
        f"the share is largest at {peak}"
    )
    yield (
        f"number times mean norm of paths is {over[peak]:.3g} times the norm of their sum there, "
        f"and at most {over[worst]:.3g} times, at length {worst}"
    )
