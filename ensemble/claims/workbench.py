"""Where claims are tried: a folder with networks, each trained once, and what was measured of them.

Trainings are handed out to ranks, one on each; each runs on one thread, so that the networks are those of any number of
ranks. One that diverges is a result, and leaves a mark in place of a checkpoint.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ensemble.claims.specification import Network
from landscape import data as datasets
from landscape.checkpoints import checkpoint as checkpoints
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data.standardisation import standardisation
from landscape.engine.atomic import write_atomically
from landscape.engine.ranks import Communicator, SerialComm, collective_errors
from landscape.engine.run import run
from landscape.errors import BadInput
from landscape.evaluation.device import restored
from landscape.evaluation.evaluator import Evaluator
from landscape.log import LOG, say
from landscape.networks import build, titled
from landscape.networks.arguments import with_data_defaults
from landscape.training.train import train

__all__ = ["Case", "Workbench", "silently"]

LOADED = ("root", "size", "window", "mean", "std", "standardize", "examples")  # settings that say how data are loaded


@dataclass(frozen=True)
class Workbench:
    """A folder, and what is the same for all that is measured there.

    Attributes
    ----------
    folder : Path
    comm : communicator
    device : {"auto", "cpu", "cuda"}
    quiet : bool
        Whether to show no progress.
    given : dict
        Paths of networks of a user, by the key of the network and the seed in whose place they are measured.
    data : str, optional
        What these are measured on; by default their own.
    dtype : {"float32", "auto"}
        In which the many forward passes of surfaces and lesions are computed, see `Evaluator`.
    """

    folder: Path
    comm: Communicator
    device: str = "auto"
    quiet: bool = False
    given: Mapping[tuple[str, int], Path] = field(default_factory=dict)
    data: str | None = None
    dtype: str = "float32"

    def path(self, network: Network, seed: int) -> Path:
        """Of the checkpoint of a network."""
        return self.given.get((network.key, seed)) or self.folder / "networks" / f"{_stem(network)}-{seed}.pt"

    def case(self, network: Network | None, seed: int, seeds: int = 1) -> Case:
        """A network that is trained, or none, ready to be measured, as one of so many trainings."""
        return Case(self, network, seed, seeds)

    def train(self, networks: Iterable[tuple[Network, int]]) -> None:
        """Train each network, with its seed, that is not trained yet. Collective.

        Raises
        ------
        BadInput
            A network cannot be built, or its data cannot be had.
        """
        missing = list(dict.fromkeys((network.key, seed) for network, seed in networks))
        made = [(Network(json.loads(key)), seed) for key, seed in missing]
        with collective_errors(self.comm):
            if self.comm.rank == 0:
                (self.folder / "networks").mkdir(parents=True, exist_ok=True)
                made = [each for each in made if not self._finished(*each)]
        made = self.comm.bcast(made)
        if not made:
            return
        # The longest first, so that the last rank is not left alone with one.
        made.sort(key=lambda each: -_effort(each[0]))

        def function(rows: np.ndarray) -> Iterator[dict]:
            for (row,) in rows:
                network, seed = made[int(row)]
                with restored(), silently():
                    yield {"trained": float(self._train(network, seed))}

        with silently():
            run(
                function,
                np.arange(len(made)),
                label="trainings",
                kind="experiment",
                dims=("training",),
                coordinates={"training": np.arange(len(made))},
                measured={"trained": ("f8", float("nan"), {"long_name": "whether it did not diverge", "units": "1"})},
                comm=self.comm,
                quiet=self.quiet,
            )
        say(self.comm, f"{self.folder / 'networks'}: {len(made)} networks trained")

    def _finished(self, network: Network, seed: int) -> bool:
        path = self.path(network, seed)
        if _mark(path).exists():
            return True
        if not path.exists():
            return False
        return not network.settings.get("epochs", 1) or checkpoints.load(path).state is None

    def _train(self, network: Network, seed: int) -> bool:
        """Whether the training did not diverge."""
        settings, path = dict(network.settings), self.path(network, seed)
        if settings.get("epochs") == 0:
            _save_initial(settings, seed, path)
            return True
        if settings.pop("snapshots", False):
            settings["snapshots"] = _snapshots(path)
        try:
            how: dict[str, Any] = {"device": self.device, "threads": 1, "comm": SerialComm(), "quiet": True}
            checkpoint = train(path, **settings, seed=seed, **how)
            reason = "" if math.isfinite(checkpoint.final["train"]["loss"]) else "training diverged in the last step"
        except BadInput as error:
            if "diverged" not in str(error):
                raise
            reason = str(error)
        if reason:
            with write_atomically(_mark(path)) as file:
                file.write_text(f"{reason}\n", encoding="utf-8")
            path.unlink(missing_ok=True)
        return not reason


@dataclass(frozen=True)
class Case:
    """One network with one seed, or a seed alone, on a workbench.

    Attributes
    ----------
    bench : Workbench
    network : Network, optional
    seed : int
    seeds : int
        Number of trainings of which it is one.
    """

    bench: Workbench
    network: Network | None
    seed: int
    seeds: int = 1

    @property
    def path(self) -> Path:
        """Of its checkpoint."""
        return self.bench.path(self._network, self.seed)

    @property
    def _network(self) -> Network:
        if self.network is None:
            raise BadInput("a quantity is of no network, and its measure needs one; add network to it in the claim")
        return self.network

    @property
    def diverged(self) -> bool:
        """Whether its training did, so that there is nothing to measure."""
        return self.network is not None and not self.path.exists() and _mark(self.path).exists()

    @property
    def is_given(self) -> bool:
        """Whether it is a user's, whose settings are its own."""
        return self.network is not None and (self.network.key, self.seed) in self.bench.given

    @property
    def depth(self) -> int:
        """Its number of layers with weights, as it was built with.

        Raises
        ------
        BadInput
            Nobody knows.
        """
        depth = self.checkpoint().arguments.get("depth")
        if not isinstance(depth, int):
            raise BadInput(f"{self.path} does not say how deep its network is; give a checkpoint of train with a depth")
        return depth

    @property
    def data(self) -> str:
        """The name of its data, for the record."""
        if self.is_given:
            return self.bench.data or str(self.checkpoint().data.get("name", ""))
        return str(self.settings.get("data", ""))

    @property
    def settings(self) -> Mapping[str, Any]:
        """Of its training, where it is trained here."""
        return self._network.settings

    @property
    def digest(self) -> str:
        """SHA-256 of its checkpoint; empty where there is none."""
        return checkpoints.sha256_of(self.path) if self.network is not None and self.path.exists() else ""

    @property
    def stem(self) -> str:
        """A name for files of what is measured of it, one for each checkpoint."""
        if self.network is None:
            return str(self.seed)
        return f"{self.path.stem}-{self.digest[:8]}" if self.is_given else self.path.stem

    @property
    def snapshots(self) -> Path:
        """The folder of the checkpoints of its training, where its network asks for them."""
        return _snapshots(self.path)

    def checkpoint(self) -> Checkpoint:
        """Its checkpoint, with what was measured at the end of the training."""
        return checkpoints.load(self.path)

    def module(self) -> nn.Module:
        """The network itself."""
        return self.checkpoint().restore()

    def evaluator(self, **options: Any) -> Evaluator:
        """The network on its data; options are those of `Evaluator.from_checkpoint`.

        Of a user's data that hold fewer examples than are asked for all are taken.
        """
        known: dict[str, Any] = {"data": self.bench.data}
        if not self.is_given:
            known = {name: self.settings[name] for name in ("data", "root", "size", "window") if name in self.settings}
        known |= {"device": self.bench.device, "comm": self.bench.comm}
        with silently():
            try:
                return Evaluator.from_checkpoint(self.path, **known | options)
            except BadInput:
                if not self.is_given or options.get("examples") is None:
                    raise
                return Evaluator.from_checkpoint(self.path, **known | options | {"examples": None})

    def measured(self, function: Any, *arguments: Any, **options: Any) -> Any:
        """What a function of the library measures, kept in a file of the folder and read from there the next time.

        Parameters
        ----------
        function : callable
            Such as `skipscape.lesions`; it takes ``out``, ``comm`` and ``quiet``.
        *arguments, **options
            The function's own. Options name the file; what else it depends on are the network and the seed.
        """
        of = next((each for each in arguments if isinstance(each, Evaluator)), None)
        metrics = sorted(of.metrics) if of is not None else []
        words = json.dumps(options | ({"metrics": metrics} if metrics else {}), sort_keys=True, default=str)
        tag = hashlib.sha256(words.encode()).hexdigest()[:8]
        folder = self.bench.folder / "measurements"
        with collective_errors(self.bench.comm):
            if self.bench.comm.rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
        # An evaluator names more: its split, its examples.
        if of is not None:
            source = of.sources[0]
            number = sum(len(targets) for _, targets in source.batches) if of._data is None else of._data[2]["examples"]
            tag += f"-{source.split or 'data'}{'' if number is None else f'-{number}'}"
        out = folder / f"{self.stem}-{function.__name__}-{tag}.h5"
        with silently():
            return function(*arguments, **options, out=out, comm=self.bench.comm, quiet=True)


def _stem(network: Network) -> str:
    """A name that says what it is, and is one for each network."""
    words = titled(
        network.settings["network"],
        {name: network.settings[name] for name in ("depth", "width") if name in network.settings}
        | dict(network.settings.get("arguments", {})),
    )
    legible = "".join(c if c.isalnum() or c in "-=." else "_" for c in words)
    return f"{legible[:80]}-{hashlib.sha256(network.key.encode()).hexdigest()[:8]}"


def _mark(path: Path) -> Path:
    """What stands in place of the checkpoint of a training that diverged."""
    return path.with_suffix(".diverged")


def _snapshots(path: Path) -> Path:
    return path.with_suffix(".snapshots")


def _effort(network: Network) -> float:
    """About how long a training takes, compared with others."""
    s = network.settings
    return float(s.get("depth", 20) or 20) * float(s.get("width", 16) or 16) * float(s.get("epochs", 100))


def _save_initial(settings: dict, seed: int, path: Path) -> None:
    """A network as it is initialised, as a checkpoint that no training goes on from."""
    where = {name: settings[name] for name in LOADED if name in settings and name not in ("mean", "std", "standardize")}
    where |= standardisation(settings.get("mean"), settings.get("std"), settings.get("standardize"), None)
    splits = datasets.load_for_training(settings.get("data", "digits"), seed=seed, **where)
    shape = {name: settings[name] for name in ("depth", "width") if settings.get(name) is not None}
    built = with_data_defaults(settings["network"], shape | dict(settings.get("arguments", {})), splits[0])
    torch.manual_seed(seed)
    network = build(settings["network"], **built)
    data = {name: getattr(splits[0], name) for name in ("name", "classes", "mean", "std", "digest")}
    if splits[0].of_tokens:
        data["window"] = splits[0].images.shape[1]
    start = Checkpoint(settings["network"], built, network.state_dict(), data=data, training={"seed": seed})
    checkpoints.save(replace(start, history={"epoch": [0]}), path)


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Let only warnings be heard of what is done many times."""
    before = LOG.level
    LOG.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        LOG.setLevel(before)
