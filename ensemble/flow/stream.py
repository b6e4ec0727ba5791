"""The stream of networks from block to block: its size, what shortcuts carry, and who depends on whom.

Of each network it has what `ensemble.flow.stream_profile` measures; see `ensemble.flow.gains` for the gain of the
shortcuts alone, `ensemble.flow.effects` for what later blocks do without an earlier one, `ensemble.flow.shattering`
for the correlation of gradients.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from ensemble.flow.networks import Plan, of_networks
from ensemble.flow.profile import QUANTILES
from ensemble.flow.shattering import LAGS
from ensemble.flow.stream_profile import HELD, STREAM, stream_profile
from landscape.engine.ranks import Communicator
from landscape.engine.results import Results
from landscape.evaluation.evaluator import Evaluator
from landscape.log import Report
from landscape.validate import one_of

__all__ = ["stream"]


def stream(
    variants: str | Sequence[str] | Evaluator = (),
    *,
    checkpoints: Sequence[str | os.PathLike] = (),
    depth: int | Sequence[int] = (20,),
    width: int = 16,
    seeds: int = 3,
    data: str | None = None,
    root: str | os.PathLike | None = None,
    window: int | None = None,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | None = None,
    standardize: bool | None = None,
    examples: int | None = None,
    epochs: int = 0,
    recipe: str | None = None,
    learning_rate: float | None = None,
    batches: int = 4,
    batch_size: int = 128,
    batchnorm: str = "recalibrated",
    network: str | None = None,
    arguments: Mapping | Sequence[str] = (),
    entry: str | None = None,
    blocks: Callable[[nn.Module], Mapping] | str | None = None,
    layers: bool = False,
    device: str = "auto",
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure what goes through networks from block to block, forward and backward. Collective.

    The norm and the variance of the stream, and what each block adds to it; what the shortcuts alone carry; what later
    blocks add when one is left out; and how alike the gradients at different inputs are. Networks are chosen as for
    `ensemble.flow.gradient_flow.gradient_flow`, which measures gradients and what else there is from block to block.

    Parameters
    ----------
    variants : sequence of str, or Evaluator
        Networks, or networks with arguments; or an Evaluator.
        NAME:ARGUMENT=VALUE,ARGUMENT=VALUE; see `landscape.training.variants.variant`. Of an Evaluator its network is
        measured as it is, on its data and loss; then what follows, up to `learning_rate`, and `device` have no meaning.
    checkpoints : sequence of paths
        Of `train`, measured beside the variants.
        Or one path alone, of a network that is not ours: a folder of transformers, or weights with `network`.
    depth : int or sequence of int
        Number of weight layers of the variants.
    width : int
        Channels of the first stage.
    seeds : int
        Number of trainings of each variant, with seeds 0, 1, ….
    data : str, optional
        By default the checkpoints' own, or else digits.
    root : path, optional
        See `landscape.training.train.train`, also for what follows.
    window, examples : int, optional
        Tokens of an example; number of examples.
    mean, std : sequence of float, or str, optional
        Constants of the channels.
    standardize : bool, optional
        Whether to standardise by the training split.
    epochs : int
        Length of the training; 0 for none.
    recipe : str, optional
        See `landscape.training.train.train`.
    learning_rate : float, optional
        See there.
    batches, batch_size : int
        Number of batches that are measured, and of examples in each: the first of a stratified order
        of the training split. Variants are trained with this `batch_size` too.
    batchnorm : {"recalibrated", "frozen"}
        Statistics of all batches, or those that the network has stored; held, so that examples are independent.
    network, entry : str, optional
        See `landscape.evaluation.evaluator.Evaluator.from_checkpoint`.
    arguments : dict, or NAME=VALUE words
        See there.
    blocks : callable or str, optional
        Of a network that is not ours, see `ensemble.blocks.blocks.blocks`.
    layers : bool
        See there.
    device : {"auto", "cpu", "cuda"}
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over (network), with the variables of `ensemble.flow.stream_profile.STREAM`. Along (boundary), which are the
        inputs of blocks and that of the head: ``norm``, ``variance``, ``residual`` (‖F‖/‖x‖), ``share``,
        ``correlation``; from one to another ``end``: ``forward_gain``, ``backward_gain`` and their extremes
        (`ensemble.flow.gains`), and of several streams ``forward_mixing`` and ``backward_mixing``
        (`ensemble.flow.mixing`); over (block, later): ``effect`` (`ensemble.flow.effects`); along (lag):
        ``autocorrelation`` (`ensemble.flow.shattering`).

    Raises
    ------
    BadInput
        Networks that cannot be built, fit no data or are not made of blocks, too few examples, or a file of others.

    Examples
    --------
    >>> results = stream(["plain", "resnet"], depth=8, width=4, seeds=1, batches=1, batch_size=32, quiet=True)
    >>> results["effect"].shape, results.dims["effect"]
    ((2, 5, 3, 3), ('network', 'quantile', 'block', 'later'))
    """
    one_of("batchnorm", batchnorm, HELD)
    return of_networks(
        Plan(partial(stream_profile, batchnorm=batchnorm), "stream", STREAM, _coordinates, batchnorm),
        variants,
        checkpoints=checkpoints,
        depth=depth,
        width=width,
        seeds=seeds,
        data=data,
        root=root,
        window=window,
        mean=mean,
        std=std,
        standardize=standardize,
        examples=examples,
        epochs=epochs,
        recipe=recipe,
        learning_rate=learning_rate,
        batches=batches,
        batch_size=batch_size,
        network=network,
        arguments=arguments,
        entry=entry,
        blocks=blocks,
        layers=layers,
        device=device,
        out=out,
        comm=comm,
        quiet=quiet,
        dry_run=dry_run,
    )


def _coordinates(boundaries: int) -> dict[str, Any]:
    every, blocks = np.arange(boundaries), np.arange(boundaries - 1)
    return {"end": every, "block": blocks, "later": blocks, "lag": LAGS, "quantile": QUANTILES}
