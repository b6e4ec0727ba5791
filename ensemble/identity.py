"""How hard it is to learn to do nothing: deep networks that regress their own input, with shortcuts and without.

He et al. 2015 (1512.03385 §3.1) suppose that stacks of nonlinear layers have difficulties in approximating the
identity. Here both kinds of network can represent it exactly, at every depth: a layer is four times as wide as the
input, and a ReLU keeps x as the pair of max(x, 0) and max(−x, 0). What differs is whether training gets there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.results import Results
from landscape.engine.run import run
from landscape.errors import BadInput
from landscape.evaluation.device import restored
from landscape.log import Report
from landscape.networks import Block
from landscape.networks.joins import Add
from landscape.networks.network import Network
from landscape.validate import different, numbers, one_of, real, whole

__all__ = ["KINDS", "best", "identity", "identity_network", "regress"]

KINDS = ("plain", "plain, BatchNorm", "residual", "residual, BatchNorm")
INPUTS = 16
WIDTH = 4 * INPUTS
MEASURED = {
    "error": ("f8", float("nan"), {"long_name": "squared error relative to the input's square", "units": "1"}),
    "error_se": ("f8", float("nan"), {"long_name": "standard error of that over examples", "units": "1"}),
}


def identity(
    *,
    kinds: Sequence[str] = KINDS,
    depth: int | Sequence[int] = (2, 5, 10, 20, 50),
    learning_rate: float | Sequence[float] = (1e-3, 1e-2, 1e-1),
    seeds: int = 3,
    steps: int = 1000,
    out: str | os.PathLike | None = None,
    comm: Communicator | None = None,
    quiet: bool = False,
    dry_run: bool = False,
) -> Results | Report:
    """Train networks of every kind and depth, with every learning rate, to put out their own input. Collective.

    Each training runs on one thread, so that the numbers are those of any number of ranks.

    Parameters
    ----------
    kinds : some of `KINDS`
    depth : int or sequence of int
        Number of blocks.
    learning_rate : float or sequence of float
        Of Adam, falling to 0.
    seeds : int
        Number of trainings of each, with seeds 0, 1, ….
    steps : int
        Number of steps, of 128 new examples each.
    out : path, optional
        Results file; without one, results stay in memory. See `landscape.engine.run.run`, also for what follows.
    comm : communicator, optional
        Ranks that take part; by default all that mpiexec has started.
    quiet, dry_run : bool
        Whether to show no progress; whether only to tell how long it would take.

    Returns
    -------
    Results
        Over (network, depth, learning_rate, seed): ``error`` and ``error_se``, see `regress`.

    Raises
    ------
    BadInput
        There is no such kind, one is there twice, a number is too small, or the file holds others.

    Examples
    --------
    >>> identity(kinds=["plain"], depth=2, learning_rate=0.01, seeds=1, steps=1, quiet=True)["error"].shape
    (1, 1, 1, 1)
    """
    comm = communicator(comm)
    with collective_errors(comm):
        depths = different(numbers("depth", depth))
        rates = [real("learning_rate", rate) for rate in np.atleast_1d(learning_rate).tolist()]
        for name, value in (("seeds", seeds), ("steps", steps), *(("depth", each) for each in depths)):
            whole(name, value)
        if min(different(rates)) <= 0:
            raise BadInput(f"--learning-rate is {min(rates)}; give more than 0")
        for kind in different(list(kinds)):
            one_of("kind of network", kind, KINDS)
    rows = list(product(kinds, depths, rates, range(seeds)))
    with restored():
        torch.set_num_threads(1)
        return run(
            lambda points: (regress(*rows[int(row)], steps=steps) for (row,) in points),
            np.arange(len(rows)),
            label="trainings",
            kind="identity",
            dims=("network", "depth", "learning_rate", "seed"),
            coordinates={"network": list(kinds), "depth": depths, "learning_rate": rates, "seed": np.arange(seeds)},
            measured=MEASURED,
            attributes={
                "network": "; ".join(kinds),
                "data": f"{INPUTS} standard normal numbers",
                "width": WIDTH,
                "steps": steps,
            },
            out=out,
            comm=comm,
            quiet=quiet,
            dry_run=dry_run,
        )


def best(error: np.ndarray) -> np.ndarray:
    """Errors (…, learning rates, seeds) at the rate whose mean over seeds is least: (…, seeds).

    A mean that is not finite is never least, unless all are.
    """
    mean = error.mean(axis=-1)
    chosen = np.where(np.isfinite(mean), mean, np.inf).argmin(axis=-1)
    return np.take_along_axis(error, chosen[..., None, None], axis=-2).squeeze(-2)


def identity_network(kind: str, depth: int) -> Network:
    """Blocks of a ReLU and a linear layer between two linear layers, (N, 16) -> (N, 16); seed torch first.

    Parameters
    ----------
    kind : one of `KINDS`
    depth : number of blocks

    Notes
    -----
    Weights are He's. In residual networks without BatchNorm, those of the blocks are divided by √depth, or
    activations would double with every block (Balduzzi et al. 2017, 1702.08591 §3).
    """
    residual, batchnorm = kind.startswith("residual"), kind.endswith("BatchNorm")
    blocks: list[nn.Module] = []
    for _ in range(depth):
        linear = _linear(WIDTH, WIDTH)
        if residual and not batchnorm:
            with torch.no_grad():
                linear.weight /= math.sqrt(depth)
        branch = nn.Sequential(*([nn.BatchNorm1d(WIDTH)] if batchnorm else []), nn.ReLU(), linear)
        blocks.append(Block(branch, nn.Identity(), Add()) if residual else Block(branch))
    return Network(_linear(INPUTS, WIDTH), [blocks], nn.Linear(WIDTH, INPUTS))


def regress(
    kind: str, depth: int, learning_rate: float, seed: int, steps: int = 1000, batch: int = 128, tested: int = 4096
) -> dict[str, float]:
    """Train a network to put out its input, standard normal numbers, and test it on new ones.

    Parameters
    ----------
    kind, depth : see `identity_network`
    learning_rate : of Adam, falling linearly to 0
    seed : of the weights and, apart from them, of the examples
    steps, batch : of the training, on new examples at every step
    tested : examples

    Returns
    -------
    dict
        ``error``: mean of ‖y − x‖² over that of ‖x‖², which is 1 for a network that puts out 0. ``error_se``: its
        standard error over examples.
    """
    torch.manual_seed(seed)
    network = identity_network(kind, depth)
    draws = np.random.default_rng([seed, 1])
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        x = _inputs(draws, batch)
        optimizer.zero_grad(set_to_none=True)
        (network(x) - x).square().mean().backward()
        optimizer.step()
    network.eval()
    x = _inputs(draws, tested)
    with torch.no_grad():
        each = (network(x) - x).double().square().sum(1).numpy()
    size = np.square(x.double().numpy()).sum(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):  # one that diverged is a result
        error = each.mean() / size.mean()
        # of a ratio of means (Cochran 1977, §2.11)
        return {
            "error": float(error),
            "error_se": float((each - error * size).std(ddof=1) / size.mean() / math.sqrt(tested)),
        }


def _linear(inputs: int, outputs: int) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    nn.init.zeros_(made.bias)
    return made


def _inputs(draws: np.random.Generator, number: int) -> Tensor:
    return torch.from_numpy(draws.standard_normal((number, INPUTS), dtype=np.float32))
