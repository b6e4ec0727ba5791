"""The one way to put a network on data: from objects in memory, or from a checkpoint."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape import data as datasets
from landscape.analysis.precision import FEWEST
from landscape.checkpoints import checkpoint as checkpoints
from landscape.checkpoints import cifar_resnets as foreign_names
from landscape.checkpoints.checkpoint import Checkpoint, Pretrained
from landscape.checkpoints.safe_load import files_of
from landscape.data.reading import reading_of
from landscape.data.sources import source
from landscape.data.standardisation import standardisation
from landscape.engine.ranks import Communicator, collective_errors, communicator
from landscape.engine.shared_memory import load_once_per_node
from landscape.errors import BadInput, did_you_mean
from landscape.evaluation.batches import arranged, held
from landscape.evaluation.batches import digest as digest_of
from landscape.evaluation.borrowing import borrowed
from landscape.evaluation.compatibility import check_causal, default_loss
from landscape.evaluation.device import choose_device
from landscape.evaluation.fused import DTYPES, reduced_type
from landscape.evaluation.losses import Loss, loss_by_name
from landscape.evaluation.measure import Batches
from landscape.evaluation.prepared import Evaluation, Source, assembled, batch_size, fits, outputs_of
from landscape.evaluation.reference import REFERRING
from landscape.import_path import import_object
from landscape.lazy_weights import loaded_from
from landscape.log import say
from landscape.nested import leaves, length, mapped, take
from landscape.networks.arguments import parse_arguments, with_data_defaults
from landscape.networks.layout import channels_last
from landscape.validate import LARGEST_SEED, one_of, whole
from landscape.weights import digest

__all__ = ["Evaluator", "Losses", "Metrics"]

Losses = str | Loss | Sequence[str | Loss] | None
Metrics = Mapping[str, Loss | str] | Sequence[str | Loss] | str | Loss | None


class Evaluator:
    """A network on data under a loss: what every measurement starts from.

    Parameters
    ----------
    network : nn.Module
        Measured in evaluation mode, as it is when a measurement begins, and given back as it was, to the bit. It is
        called as network(x), as network(*inputs) for a tuple or list, and as network(**inputs) for a dict.
    batches : iterable of (inputs, targets), such as a DataLoader
        Each is a tensor, or a tuple, list or dict of tensors, with examples along the first axis. Read once, and kept
        on the network's device. Nothing is done to the inputs.
    loss : str, callable, or several of them
        A name (cross_entropy, mse, binary_cross_entropy, or package.module:function), or a function of outputs and
        targets that gives one number for each example, or one for each position. By default the cross-entropy, if
        targets are classes. Of several, the first is the loss, and the others are measured beside it.
    metrics : dict, or a list of names and functions
        Measured beside the loss at every point and in every lesion: functions of outputs and targets with a value for
        each example, of which the mean and its standard error are kept. Two are built in: "agreement", whether the
        top-1 prediction is that of the unchanged network, and "kl", the KL divergence from its distribution.
    test : iterable of (inputs, targets), optional
        A second split, measured at the same points into variables test_….
    outputs : str, int or callable
        Which of several outputs the loss gets: a key or attribute, a position, or a function of all of them. By default
        the logits, or the first; a loss of the caller's gets all where it can take them.
    unpack : callable
        Makes (inputs, targets) of what `batches` gives, where that is something else.
    examples : int, optional
        Take a stratified subset of so many.
    batch_size : int, optional
        Examples in one forward pass; by default the batches as they are given.
    tolerance : float, optional
        Take only as many examples as a relative standard error of the loss needs, e.g. 0.02.
    dtype : {"float32", "bfloat16", "auto"}
        What the network computes in; "auto" is bfloat16 where the processor multiplies it itself, and a surface has
        8 points or more.
    seed : int
        Random seed: of directions, of lesions, of the order of examples.
    name : str, optional
        Name of the network, for figures and tables; by default that of its class.
    data : str
        Name of the batches there.

    Attributes
    ----------
    network : nn.Module
    checkpoint : Checkpoint
        Its `title` is what figures call the network.
    device : torch.device
    dtype, tolerance, seed : as above

    Raises
    ------
    BadInput
        Network, data and loss do not fit together.

    Examples
    --------
    >>> import torch
    >>> network = torch.nn.Linear(4, 3)
    >>> batches = [(torch.randn(8, 4), torch.arange(8) % 3)]
    >>> evaluate = Evaluator(network, batches)
    >>> sorted(evaluate())
    ['accuracy', 'examples', 'loss', 'loss_se']
    """

    # Of an evaluator of a checkpoint.
    _factory: str | None = None
    _entry: str | None = None
    _data: tuple[str, str, dict] | None = None  # name, split, and how they are loaded

    def __init__(
        self,
        network: nn.Module,
        batches: Iterable,
        loss: Losses = None,
        *,
        metrics: Metrics = None,
        test: Iterable | None = None,
        outputs: str | int | Callable | None = None,
        unpack: Callable | None = None,
        examples: int | None = None,
        batch_size: int | None = None,
        tolerance: float | None = None,
        dtype: str = "float32",
        seed: int = 0,
        name: str | None = None,
        data: str = "data in memory",
    ):
        device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
        self._settle(dtype, seed, examples, batch_size)
        self._set(network, Checkpoint(name or type(network).__name__, {}, {}, format=0), device, outputs, tolerance)
        self._digest: str | None = None  # of the weights as they are when a measurement begins
        self._more: dict = {}
        self.label = "the network"
        with borrowed(network):
            self.sources = [
                self._source(part, split, data, unpack, examples, batch_size)
                for part, split in ((batches, ""), (test, "test"))
                if part is not None
            ]
            self._score(loss, metrics)
            own = {name: metric for name, metric in self.metrics.items() if not isinstance(metric, str)}
            fits(self.checkpoint, network, self.sources, self.losses, own, self._outputs)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | os.PathLike,
        *,
        split: str = "train",
        loss: Losses = None,
        metrics: Metrics = None,
        outputs: str | int | Callable | None = None,
        network: str | None = None,
        arguments: Mapping | Sequence[str] = (),
        entry: str | None = None,
        data: str | None = None,
        root: str | os.PathLike | None = None,
        size: int | None = None,
        window: int | None = None,
        mean: Sequence[float] | str | None = None,
        std: Sequence[float] | None = None,
        standardize: bool | None = None,
        examples: int | None = None,
        batch_size: int | None = None,
        tolerance: float | None = None,
        dtype: str = "float32",
        device: str = "auto",
        seed: int = 0,
        comm: Communicator | None = None,
    ) -> Evaluator:
        """Put the network of a checkpoint on its data. Collective.

        Parameters
        ----------
        checkpoint : path
            Of a checkpoint of `train`; of a folder of transformers' save_pretrained(), with `data`; or of any state
            dict, .pt or .safetensors, with `network`, `arguments` and `data`.
        split : {"train", "test", "both"}
            Of the data; with "both" the test split is measured into variables test_….
        loss, metrics, outputs : str, callable, or several, optional
            See `Evaluator`.
        examples, batch_size, seed : int, optional
            See `Evaluator`.
        tolerance : float, optional
            See `Evaluator`.
        dtype : str
            See `Evaluator`.
        network : str, optional
            What the weights belong to, where the checkpoint does not say it: "package.module:factory", "timm:NAME" for
            a network of timm by its name, or the name of one of skipscape.
        arguments : dict, or NAME=VALUE words
            What that network is built with.
        entry : str, optional
            Which weights of a file that has several, raw and averaged ones, for example.
        data : str, optional
            The data, where they are not one of the known names: a folder, an .npz file, text:PATH, …; see
            `landscape.data.load`. Text is read as a folder's tokenizer and task have it, or else as bytes.
        root : path, optional
            Where data sets lie; see `landscape.data.load`, also for what follows.
        size, window : int, optional
            Side of images in pixels; tokens of an example. By default windows are as long as the checkpoint has
            recorded.
        mean, std : sequence of float, or str, optional
            Constants of the channels, or the name of well-known ones. By default those that the checkpoint has
            recorded.
        standardize : bool, optional
            Whether to standardise by the training split.
        device : {"auto", "cpu", "cuda"}
        comm : communicator, optional
            By default all ranks that mpiexec has started.

        Returns
        -------
        Evaluator
            Of the network that is restored, with the checkpoint's provenance.

        Raises
        ------
        BadInput
            The checkpoint, its network, the data or the loss cannot be had, or do not fit together.
        """
        comm = communicator(comm)
        evaluator = cls.__new__(cls)
        path = Path(checkpoint)
        words = dict(arguments) if isinstance(arguments, Mapping) else parse_arguments(arguments)
        with collective_errors(comm):
            evaluator._settle(dtype, seed, examples, batch_size)
            one_of("split", split, ("train", "test", "both"))
        on = choose_device(comm, device)
        with collective_errors(comm):  # before the ranks of a machine turn to each other
            stored, data_name = _loaded(path, network, words, entry, data)
        how: dict[str, Any] = {"root": root, "size": size, "examples": examples, "seed": seed}
        with collective_errors(comm):
            if window is None and datasets.is_text(data_name):
                window = stored.data.get("window")
            how["window"] = window
            how["model"] = path if path.is_dir() else None  # whose tokenizer it is
            how |= standardisation(mean, std, standardize, stored.data)
            parts = ["train", "test"] if split == "both" else [split]
            loaded = [_data(data_name, part, how, tolerance is not None, comm) for part in parts]
            if len({each.split for each in loaded}) < len(parts):
                raise BadInput(f"{data_name} has no test split; leave out --split both, or give train.txt and test.txt")
            if not stored.format:
                if stored.arguments:
                    say(comm, foreign_names.describe_architecture(stored.network, stored.arguments))
                stored.arguments = with_data_defaults(stored.network, stored.arguments | words, loaded[0])
            module = stored.restore(network)
            loaded_from(files_of(path), stored.weights, module)
            module = module.to(on).eval()
            channels_last(module)
            say(comm, *(f"{path}: {line}" for line in stored.notes))
            stored.weights = {}  # the network has them now
            evaluator._set(module, stored, on, outputs, tolerance)
            first = take(loaded[0].images, slice(1))
            if isinstance(stored, Pretrained) and isinstance(first, dict):
                takes = inspect.signature(module.forward).parameters
                if odd := [each for each in first if each not in takes]:  # which it would pass over without a word
                    raise BadInput(f"{stored.title} takes no {odd[0]}{did_you_mean(odd[0], takes)}; leave it out")
            if isinstance(stored, Pretrained) and isinstance(first, Tensor) and reading_of(path).task == "causal":
                check_causal(stored.title, module, first.to(on))
            number = batch_size or _size(module, loaded[0], evaluator.dtype, on, tolerance)
            evaluator.sources = [
                Source(
                    each.name, each.split, datasets.batches(each, number, on), each.classes, each.inputs, each.digest
                )
                for each in loaded
            ]
            evaluator._digest = stored.sha256
            evaluator._more = {"batch_size": number}
            if not stored.format:
                evaluator._more["factory"] = stored.network
                built = " ".join(f"{name}={value!r}" for name, value in sorted(stored.arguments.items()))
                evaluator._more["arguments"] = built
            if isinstance(stored, Pretrained):
                evaluator._more["config_digest"] = stored.config
            evaluator._score(loss, metrics)
        evaluator.label, evaluator._factory = str(path), network
        evaluator._entry, evaluator._data = entry, (data_name, split, how)
        say(comm, _inputs(loaded[0], stored))
        return evaluator

    def __call__(self) -> dict[str, float]:
        """Measure the network as it is now: loss, loss_se, accuracy where it is defined, examples, and the metrics."""
        with self.ready() as evaluation:
            return evaluation.measure()

    def __repr__(self) -> str:
        number = sum(len(targets) for _, targets in self.sources[0].batches)
        return f"<Evaluator of {self.checkpoint.title} on {number} examples of {self.sources[0].name}>"

    @contextlib.contextmanager
    def ready(self, comm: Communicator | None = None, rows: int | None = None) -> Iterator[Evaluation]:
        """The network as it is now, ready to be measured, for the length of a ``with``.

        Parameters
        ----------
        comm : communicator, optional
            With one this is collective: what is wrong on one rank, every rank raises.
        rows : int, optional
            How many are to be measured; where they are few, the type "auto" is float32.

        Yields
        ------
        Evaluation
            Whose `measure` measures the network as it is at that moment.
        """
        dtype, because = self._type(rows)
        more = {**self._more, **({"dtype_because": because} if because else {})}
        with borrowed(self.network):
            with contextlib.nullcontext() if comm is None else collective_errors(comm):
                evaluation, why = assembled(
                    self.checkpoint,
                    self.network,
                    self.sources,
                    self.losses,
                    metrics=self.metrics,
                    device=self.device,
                    dtype=dtype,
                    tolerance=self.tolerance,
                    outputs=self._outputs,
                    seed=self.seed,
                    digest=self._digest or digest(_numbers(self.network)),
                    more=more,
                )
            if because and comm is not None:
                say(comm, f"{self.checkpoint.title} is measured in {evaluation.metadata['dtype']}: {because}")
            if why and comm is not None:
                say(comm, f"{self.checkpoint.title} is measured {why}", level=logging.DEBUG)
            yield evaluation

    def _type(self, rows: int | None) -> tuple[str, str]:
        """The type to compute in, by its name, and why that one was chosen, where it was left to us."""
        if self.dtype != "auto":
            return self.dtype, ""
        if reduced_type("auto", self.device) == torch.float32:
            return "float32", f"this {self.device.type} has no instructions for bfloat16"
        if rows is not None and rows < FEWEST:
            return "float32", f"a comparison of bfloat16 with it would take what {rows} rows save"
        return "bfloat16", f"this {self.device.type} has instructions for it"

    def require_exact(self, what: str) -> None:
        """Refuse a reduced type and a part of the examples, for what takes derivatives.

        Parameters
        ----------
        what : str
            What takes the derivatives, for the message.

        Raises
        ------
        BadInput
            The evaluator has one of them.
        """
        if self.dtype != "float32" or self.tolerance is not None:
            raise BadInput(f"{what} is taken in float32 over all examples; leave out --dtype and --tolerance")

    def other(self, path: Path, lazy: bool = False) -> Checkpoint:
        """Another checkpoint of this network, or weights alone that are taken for one.

        Parameters
        ----------
        path : Path
            Of the checkpoint, or of a state dict.
        lazy : bool
            Whether tensors are read only where they are used.

        Returns
        -------
        Checkpoint
            Its weights under the names of this network.
        """
        entry = self._entry if not (lazy and self.checkpoint.format) else None
        return checkpoints.load(
            path, self._factory or self.checkpoint.network, lazy=lazy, entry=entry, like=self.network
        )

    def numbers(self) -> np.ndarray:
        """Where each example stands in the stored order of its split; of batches in memory, in their own order.

        Returns
        -------
        int ndarray, shape (examples,)
            In the order in which examples are measured.
        """
        if self._data is None or self._data[2].get("examples") is None:
            return np.arange(sum(length(targets) for _, targets in self.sources[0].batches))
        name, split, how = self._data
        _, parts = source(name, **{each: how[each] for each in ("root", "size", "window", "model", "seed")})
        _, targets, *_ = parts("train" if split == "both" else split)
        return datasets.stratified_order(targets, how["seed"])[: how["examples"]].numpy()

    def _settle(self, dtype: str, seed: int, examples: int | None, batch_size: int | None) -> None:
        self.dtype = one_of("type", dtype, DTYPES)
        self.seed = whole("seed", seed, 0, LARGEST_SEED)
        for name, value in (("examples", examples), ("batch_size", batch_size)):
            if value is not None:
                whole(name, value)

    def _set(
        self, network: nn.Module, checkpoint: Checkpoint, device: torch.device, outputs: Any, tolerance: float | None
    ) -> None:
        self.network, self.checkpoint, self.device = network, checkpoint, device
        self._outputs = int(outputs) if isinstance(outputs, str) and outputs.isdigit() else outputs
        self.tolerance = tolerance

    def _source(
        self, batches: Any, split: str, data: str, unpack: Callable | None, examples: int | None, batch_size: int | None
    ) -> Source:
        pairs: Batches = held(self.network, batches, unpack, self.device)
        sha = digest_of(pairs)
        pairs = arranged(pairs, examples, batch_size, self.tolerance is not None, self.seed)
        return Source(data, split, pairs, None, "as they are", sha)

    def _score(self, loss: Losses, metrics: Metrics) -> None:
        targets = self.sources[0].batches[0][1]
        self.losses = _named(loss, "loss") or {(name := default_loss(targets)): loss_by_name(name)}
        self.metrics = _named(metrics, "metric")


def _named(functions: Any, noun: str) -> dict:
    """Losses or metrics by their names, in order; a built-in metric stays a word."""
    if functions is None:
        return {}
    if isinstance(functions, Mapping):
        pairs = list(functions.items())
    else:
        several = functions if isinstance(functions, list | tuple) else [functions]
        pairs = [(None, each) for each in several]
    named = {}
    for name, each in pairs:
        if not (isinstance(each, str) or callable(each)):
            raise BadInput(f"a {noun} is a {type(each).__name__}; give a name, or a function of outputs and targets")
        if name is None:
            name = each if isinstance(each, str) else getattr(each, "__name__", type(each).__name__)
            if noun == "metric":
                name = name.rpartition(":")[2]
        if name in named:
            raise BadInput(
                f"two {'losses' if noun == 'loss' else 'metrics'} are called {name}; give each a name of its own"
            )
        if not isinstance(name, str) or (noun == "metric" and not name.isidentifier()):
            raise BadInput(f"a {noun} is called {name!r}; give it a name of letters, digits and _")
        named[name] = each
        if isinstance(each, str):
            named[name] = loss_by_name(each) if noun == "loss" else _metric_named(each)
    return named


def _metric_named(name: str) -> Loss | str:
    if name in REFERRING:
        return name
    if ":" not in name:
        known = ", ".join(REFERRING)
        raise BadInput(
            f"there is no metric {name!r}; use {known} or package.module:function{did_you_mean(name, REFERRING)}"
        )
    return import_object(name)


def _numbers(network: nn.Module) -> dict[str, Tensor]:
    return {n: t for n, t in network.state_dict().items() if t.is_floating_point() or t.is_complex()}


def _loaded(
    path: Path, network: str | None, arguments: dict, entry: str | None, data: str | None
) -> tuple[Checkpoint, str]:
    """A finished checkpoint, and the name of its data."""
    checkpoint = checkpoints.load(path, network, lazy=True, entry=entry)
    checkpoint.sha256 = checkpoints.sha256_of(path)
    if checkpoint.state is not None:
        raise BadInput(
            f"{path} is in training, at epoch {checkpoint.state.get('epoch')}; let scripts/train.py finish it first"
        )
    if (checkpoint.format or isinstance(checkpoint, Pretrained)) and arguments:
        raise BadInput(f"{path} says itself what its network is built with; leave out --argument")
    return checkpoint, checkpoint.data_named(data, path)


def _data(name: str, split: str, how: Mapping, in_order: bool, comm: Communicator) -> datasets.Data:
    """The data of a split, once in the memory of each machine."""

    def make() -> tuple[Any, list[np.ndarray]]:
        data = datasets.load(name, split, **how)
        both = (data.images, data.labels)
        if in_order:
            # One order for all points: what two points differ by is known better than either of them.
            both = take(both, datasets.stratified_order(data.labels, how["seed"]))
        frame = mapped(lambda tensor: tensor.new_empty(0), both)  # small, unlike the arrays
        return (replace(data, images=None, labels=None), frame), [tensor.numpy() for tensor in leaves(both)]

    (data, frame), arrays = load_once_per_node(comm, make)
    each = iter(arrays)
    images, labels = mapped(lambda _: torch.from_numpy(next(each)), frame)
    return replace(data, images=images, labels=labels)


def _size(network: nn.Module, data: datasets.Data, dtype: str, device: torch.device, tolerance: float | None) -> int:
    outputs = outputs_of(network, mapped(lambda tensor: tensor[:1].to(device), data.images))
    size = batch_size(leaves(data.images)[0], reduced_type(dtype, device), device, outputs)
    # With a tolerance it is asked between batches whether that is enough.
    return size if tolerance is None else min(size, 256)


def _inputs(data: datasets.Data, checkpoint: Checkpoint) -> str:
    """What is done to the inputs, and what the weights may want."""
    hint = ""
    if not data.mean and not checkpoint.format and data.name in datasets.IMAGES:
        which = f"--mean {data.name}" if data.name in datasets.CONSTANTS else "--standardize"
        hint = f"; if the network was trained on standardised ones, add {which}, or its own --mean and --std"
    return f"inputs of {data.name}: {data.inputs}{hint}"
