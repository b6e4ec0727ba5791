"""How strongly the layers of a trained DenseNet weigh what earlier ones have made (Huang et al. 2017, Fig. 5)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ensemble.flow.similarity import source_weights
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.log import Report
from landscape.training.variants import trained_here

__all__ = ["reuse"]

MEASURED = {
    "weight": (
        "f8",
        float("nan"),
        {"long_name": "mean absolute weight of the connection", "units": "1"},
        ("target", "source"),
    ),
}


def reuse(
    checkpoint: str | os.PathLike | Checkpoint,
    *,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Measure the mean absolute weight between layers of a DenseNet (Huang et al. 2017, 1608.06993 Fig. 5). Collective.

    Parameters
    ----------
    checkpoint : path or Checkpoint
        Of a densenet, as `landscape.training.train.train` saves or returns it.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over stages: ``weight``, by target and source.

    Raises
    ------
    BadInput
        The checkpoint is not of a densenet, or the file holds another measurement.

    Examples
    --------
    >>> from landscape.training.train import train
    >>> weight = reuse(train(network="densenet", depth=10, epochs=1, examples=60, quiet=True), quiet=True)
    >>> weight.dims["weight"]
    ('stage', 'target', 'source')
    """
    comm = communicator(comm)
    with collective_errors(comm):
        trained = checkpoint if isinstance(checkpoint, Checkpoint) else trained_here(Path(checkpoint))
        weights = source_weights(trained.restore())
    stages, targets, sources = weights.shape
    return run(
        lambda points: ({"weight": weights[int(stage)]} for (stage,) in points),
        np.arange(stages),
        label="stages",
        kind="reuse",
        dims=("stage",),
        coordinates={
            "stage": np.arange(1, stages + 1),
            "target": np.arange(1, targets + 1),
            "source": np.arange(sources),
        },
        measured=MEASURED,
        attributes={"network": trained.title, "data": trained.data.get("name", ""), "checkpoint": trained.sha256},
        out=out,
        comm=comm,
        quiet=quiet,
        dry_run=dry_run,
    )
