"""A network that is in memory already, lesioned with the options of the command by name.

from ensemble.drawing import lesions as drawn
from ensemble.own import lesions
from landscape.drawing import save

found = lesions(network, batches, "single.h5", delete=[1])
save(drawn([found]), "lesions.pdf")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from torch import nn

from ensemble import trials
from ensemble.study import options as study_options
from landscape.own import Losses, arguments_of, borrowed, owned
from landscape.ranks import Alone, agreed
from landscape.table import Results, read

__all__ = ["lesions"]


def lesions(
    network: nn.Module,
    batches: Iterable,
    out: str | os.PathLike,
    *,
    blocks: Callable[[nn.Module], Mapping] | None = None,
    loss: Losses = None,
    outputs: str | int | Callable | None = None,
    unpack: Callable | None = None,
    seed: int = 0,
    name: str | None = None,
    data: str = "data in memory",
    comm=None,
    quiet: bool = False,
    **options,
) -> Results | None:
    """Measure what is left of a network when its residual blocks are deleted, moved or changed.

    Parameters
    ----------
    network, batches, out, loss, outputs, unpack, seed, name, data, comm, quiet
        See `landscape.own.surface`.
    blocks : callable
        For a network whose classes are not known: says where its branches end, see `ensemble.blocks.blocks`.
    **options
        Those of ``lesion.py`` by name: delete, trials, swap, shapley, precision, gate, replace, batchnorm, layers, …

    Returns
    -------
    Results
        The file, read. None with ``dry_run=True``, which tells what it would take.

    Raises
    ------
    BadInput
        As the command does.
    """
    comm = comm or Alone()
    arguments = arguments_of(study_options, out, seed=seed, quiet=quiet, **options)
    with borrowed(network):
        with agreed(comm):
            it = owned(network, batches, loss, arguments, name, data, outputs, unpack)
        trials.lesions(it, blocks, arguments, comm)
    return None if arguments.dry_run else read(out)
