"""Checkpoints that describe themselves: what was built, on which data, how it was trained.

The weights of other programs are read too, if the caller says what to build for them. Loading
executes nothing that is in the file: it holds tensors and plain values only, and a factory outside
this package is imported only if the caller names it too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from landscape.checkpoints import pretrained
from landscape.checkpoints.cifar_resnets import entry_of, renamed
from landscape.checkpoints.entries import averages_in, completed, entry_for, flat, nearest, parts_of
from landscape.checkpoints.safe_load import Unsound, files_of, plain, read, sound
from landscape.data import KNOWN
from landscape.engine.atomic import write_atomically
from landscape.errors import BadInput
from landscape.lazy_weights import read_once
from landscape.networks import NETWORKS, build, titled
from landscape.networks.size_limit import MOST, TooLarge, at_most

__all__ = ["Checkpoint", "Foreign", "Pretrained", "load", "save", "sha256_of"]

FORMAT = 1

# Where other programs' checkpoints keep the weights, for those who read them without a network.
WRAPPINGS = ("state_dict", "model_state_dict", "model", "net", "module", "network", "weights", "params")
# Of names in networks wrapped by DataParallel, by torch.compile, or by one of them around the other.
PREFIXES = ("module.", "_orig_mod.", "module.")


@dataclass
class Checkpoint:
    """A trained network, or one in training.

    Attributes
    ----------
    network : str
        The name that `landscape.networks.build` is called with, or "package.module:factory".
    arguments : dict
        What it is called with besides.
    weights : dict
        The network's state dict, on the CPU.
    data : dict
        Name, classes, mean, std, and the digest of the training split.
    training : dict
        The settings of the training, the seed among them.
    history : dict
        One list a quantity, one entry an epoch.
    final : dict
        Measurements of the finished network on ``train`` and ``test``; empty until then.
    state : dict, optional
        What is needed to go on training; None when it is finished.
    format : int
        Of the file; 0 for weights alone, where all else is what the caller says.
    versions : dict
        Of the packages that it was made with.
    sha256 : str
        Of the file that it was loaded from.

    Examples
    --------
    >>> from landscape.training.train import train
    >>> checkpoint = train(depth=8, width=4, epochs=1, examples=100, quiet=True)
    >>> checkpoint.network, checkpoint.arguments["depth"], sum(p.numel() for p in checkpoint.restore().parameters())
    ('resnet', 8, 4934)
    """

    network: str
    arguments: dict
    weights: dict
    data: dict = field(default_factory=dict)
    training: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)
    final: dict = field(default_factory=dict)
    state: dict | None = None
    versions: dict = field(default_factory=dict)
    format: int = FORMAT
    sha256: str = ""

    # No fields, since a file of ours has one network and nothing beside it; see `Foreign`.
    entry = cast("str | None", None)
    notes = cast("Sequence[str]", ())

    @property
    def title(self) -> str:
        """What files, tables and figures call the network: "resnet-56", "preact-resnet-56", "plain-20:width=32"."""
        return titled(self.network, self.arguments)

    def data_named(self, given: str | None, path: str | os.PathLike) -> str:
        """The name of its data: the one that a user gives, or else its own, which may be that of no file and no code.

        Parameters
        ----------
        given : str, optional
            By the user.
        path : path
            What messages call the checkpoint.

        Returns
        -------
        str
            For `landscape.data.load`.

        Raises
        ------
        BadInput
            There is none that can be used.
        """
        name = given or self.data.get("name")
        if name is None:
            raise BadInput(f"{path} does not say what it was trained on; add --data")
        if not given and name not in KNOWN:
            raise BadInput(f"{path} was trained on {name}; say where that lies with --data")
        return name

    def restore(self, named: str | None = None) -> nn.Module:
        """Build the network and give it its weights.

        Parameters
        ----------
        named : str, optional
            The factory that the caller trusts, "package.module:factory"; needed for networks
            that are not this package's own.

        Returns
        -------
        nn.Module
            In training mode, on the CPU.

        Raises
        ------
        BadInput
            The factory was not named, or the weights are another network's, or not finite.
        """
        if named is not None and named != self.network:
            raise BadInput(f"the checkpoint holds a {self.network}, not a {named}; name the one that it holds")
        if self.network not in NETWORKS and named is None:
            raise BadInput(
                f"the checkpoint's network comes from {self.network}, which is imported only if you say so; "
                f"add --network {self.network}"
            )
        network = self._built()
        strict = self._resolve(network)
        for name, own in network.state_dict().items():
            given = self.weights.get(name)
            if isinstance(given, Tensor) and own.is_floating_point() and not given.is_floating_point():
                raise self._other(f"{name} is {given.dtype}, which cannot be taken for {own.dtype}")
        try:
            with read_once(network, self.weights):
                network.load_state_dict(self.weights, strict=strict)
        except RuntimeError as error:
            raise self._other(self._why(network, error)) from error
        self._check_averages(network)
        self._check_finite(network)
        return network

    def _check_finite(self, network: nn.Module) -> None:
        if broken := [name for name, parameter in network.named_parameters() if not _finite(parameter.detach())]:
            raise BadInput(
                f"the weights of {self.title} are not finite in {broken[0]}, as after a training that diverged; "
                "use an earlier checkpoint"
            )

    def _tensors(self) -> list[Tensor]:
        """What there is in the file for a network."""
        return list(self.weights.values())

    def _resolve(self, network: nn.Module) -> bool:
        """Whether the weights must be the network's name by name."""
        return True

    def _check_averages(self, network: nn.Module) -> None:
        """Refuse to pass over averages in a file; ours have none."""

    def _why(self, network: nn.Module, error: RuntimeError) -> str:
        return " ".join(line.strip() for line in str(error).splitlines()[1:2])

    def _built(self) -> nn.Module:
        """The network with weights of its own; it has no more of them than the file, or than the memory holds."""
        ours = self.network in NETWORKS
        try:
            if not ours:
                with at_most(MOST):
                    return build(self.network, **self.arguments)
            tensors = self._tensors()
            with at_most(len(tensors), sum(t.numel() for t in tensors)):
                return build(self.network, **self.arguments)
        except TooLarge as error:
            raise self._other("it has more of them") from error
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            if isinstance(error, BadInput) or not ours:
                raise
            reason = " ".join(str(error).split())[:200]
            raise BadInput(f"{self.title} cannot be built with these arguments ({reason}); give others") from error

    def _other(self, how: str) -> BadInput:
        return BadInput(
            f"the weights are not those of {self.title} ({how[:200]}); "
            "use the checkpoint of that network, or the --network and --argument of that checkpoint"
        )


@dataclass
class Foreign(Checkpoint):
    """Weights of another program, which are found in its file once there is a network to compare names with.

    Attributes
    ----------
    parts : all tensors in the file, see `landscape.checkpoints.entries.parts_of`; empty once the weights are found
    entry : the one that was asked for, among several sets of weights; then the name of the one that was found
    path : of the file, for messages
    notes : lines on what was found that a user should see: averaged weights, tensors that are left out
    lazy : as the file was loaded
    matched : whether the weights are known to be the network's, so that what may be missing can be missing
    """

    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    entry: str | None = None
    path: Path = Path()
    notes: list[str] = field(default_factory=list)
    lazy: bool = False
    matched: bool = False

    def under_names_of(self, network: nn.Module) -> Foreign:
        """The same with all of the weights under the network's names, if they are there."""
        self._resolve(network, whole=True)
        return self

    def _resolve(self, network: nn.Module, whole: bool = False) -> bool:
        if not self.parts:
            return not self.matched
        entry = entry_for(self.parts, network, self.entry, self.path)
        if entry is None:
            if self.entry is not None:
                raise self._other(nearest(self.parts, network))
            return True
        weights = completed(entry, network) if whole else entry.weights
        if not whole:
            _sound(weights, self.path, self.lazy)  # whether so many fit into the memory
        self.entry = entry.label if self.entry is not None else None
        self.weights, self.notes, self.parts, self.matched = weights, entry.notes, {}, True
        return False

    def _tensors(self) -> list[Tensor]:
        return list(flat(self.parts).values()) or super()._tensors()

    def _check_averages(self, network: nn.Module) -> None:
        # The network renames weights as it loads them, so that entries cannot be told by its names.
        if self.parts and (names := averages_in(self.parts, network)):
            raise BadInput(
                f"{self.path} has averaged weights in {', '.join(names[:6])} beside others, and the network knows "
                "neither by its names; save the weights that are meant alone"
            )

    def _why(self, network: nn.Module, error: RuntimeError) -> str:
        return nearest(self.parts, network) if self.parts else super()._why(network, error)


@dataclass
class Pretrained(Checkpoint):
    """A network of transformers in a folder of ``save_pretrained()``, which says itself what it is.

    Attributes
    ----------
    path : of the folder, after which the network is called
    config : SHA-256 of its config.json
    notes : lines on what was found that a user should see
    """

    path: Path = Path()
    config: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return self.path.resolve().name

    def restore(self, named: str | None = None) -> nn.Module:
        if named is not None and named != self.network:
            raise BadInput(f"{self.path} holds a {self.network}, not a {named}; leave out --network")
        network, self.notes = pretrained.restored(self.path, self.network.rpartition(":")[2], self.weights)
        self._check_finite(network)
        return network


def save(checkpoint: Checkpoint, path: str | os.PathLike) -> None:
    """Write a checkpoint whole or not at all.

    Raises
    ------
    BadInput
        The file cannot be written.
    """
    with write_atomically(path, "the file before it, if any, is whole") as draft, open(draft, "wb") as file:
        torch.save(_stored(checkpoint), file)  # not by name, which would go into the file


def load(
    path: str | os.PathLike,
    network: str | None = None,
    *,
    lazy: bool = False,
    entry: str | None = None,
    like: nn.Module | None = None,
) -> Checkpoint:
    """Read a checkpoint, or weights alone; only tensors and plain values are accepted (``weights_only=True``).

    Parameters
    ----------
    path : path
        A file of `save`; one of ``torch.save`` that has a state dict somewhere in it; a ``.safetensors`` file; or a
        folder of Hugging Face with ``model.safetensors`` or ``pytorch_model.bin``, in shards as well.
    network : str, optional
        What to build for weights alone, but for a folder whose config.json names a class of transformers; its
        arguments are the caller's to add, but for what `landscape.checkpoints.cifar_resnets` reads off the weights.
    lazy : bool
        Whether to map the tensors, so that only those which are used are read, and to leave `sha256` empty, which needs
        all.
    entry : str, optional
        Which set of weights to take from a file of another program that has several, such as raw and averaged
        ones: its name, keys of dicts in dicts joined by dots, or as much of it as tells it from the others.
    like : nn.Module, optional
        A network whose names the weights get, for callers who build none of their own.

    Returns
    -------
    Checkpoint
        Of weights alone, with `format` 0.

    Raises
    ------
    BadInput
        There is no such file, it cannot be read safely, or it holds weights alone and `network` is not given. Whether
        there is no entry, or several, may show only when the network is built, in `Checkpoint.restore`.

    Examples
    --------
    >>> network = nn.Linear(3, 2)
    >>> torch.save({"model": network.state_dict()}, "weights.pt")
    >>> sorted(load("weights.pt", "torch.nn:Linear", like=network).weights)
    ['bias', 'weight']
    """
    path = Path(path)
    if not (path.is_file() or path.is_dir()):
        raise BadInput(f"there is no checkpoint {path}; make one with scripts/train.py")
    if network is None and path.is_dir() and (architecture := pretrained.architecture_of(path)) is not None:
        return _pretrained(path, architecture, lazy, entry)
    content = _content(path, lazy)
    sha256 = "" if lazy else sha256_of(path)
    names = {f.name for f in fields(Checkpoint)} - {"sha256"}
    if isinstance(content, dict) and {"format", "network", "arguments", "weights"} <= content.keys() <= names:
        if entry is not None:
            raise BadInput(f"{path} is a checkpoint of skipscape, which has one network and no entries; name none")
        form = content["format"]
        if WRITTEN["format"](form) and form > FORMAT:
            raise BadInput(f"{path} has checkpoint format {form}, this version reads up to {FORMAT}; update")
        if wrong := [name for name, value in content.items() if not WRITTEN[name](value)]:
            raise BadInput(
                f"{path} is not a checkpoint as train.py makes them: its {wrong[0]} is odd; make another one"
            )
        return Checkpoint(**{**content, "weights": _sound(content["weights"], path, lazy)}, sha256=sha256)
    parts = parts_of(content)
    if not parts:
        raise BadInput(f"{path} is not a checkpoint of skipscape, nor a state dict; make one with scripts/train.py")
    if network is None:
        raise BadInput(
            f"{path} is not a checkpoint of skipscape but weights alone; to measure them, say what they belong to "
            "with --network package.module:factory, --argument NAME=VALUE … and --data"
        )
    everything = _sound(flat(parts), path, lazy=True)  # in memory they are already, but for views of each other
    if len(everything) < sum(map(len, parts.values())):
        raise _unsafe(path, Unsound("two of its tensors have one name"))
    parts = {p: {key: everything[f"{p}.{key}" if p else key] for key in part} for p, part in parts.items()}
    weights = _usual(parts, entry)
    try:
        own_entry = entry_of(parts, network, entry, path)
        weights, arguments = renamed(weights if own_entry is None else own_entry.weights, network)
    except (TypeError, ValueError, LookupError) as error:  # of shapes that no network has
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path} holds weights with the names of a {network}, but not with its shapes; give others"
        ) from error
    weights = _sound(weights, path, lazy)
    foreign = Foreign(network, arguments, weights, format=0, sha256=sha256, path=path)
    if own_entry is not None:
        foreign.entry, foreign.notes = own_entry.label if entry is not None else None, own_entry.notes
        return foreign
    foreign.parts, foreign.entry, foreign.lazy = parts, entry, lazy
    if like is None:
        return foreign
    foreign.under_names_of(like)
    if not like.state_dict().keys() <= foreign.weights.keys() and _is_of(path, like):
        # Under names, or in pieces, that transformers has changed since: experts in one tensor, for example.
        foreign.weights = pretrained.restored(path, type(like).__name__, everything)[0].state_dict()
    return foreign


def _is_of(path: Path, network: nn.Module) -> bool:
    """Whether it is a folder of transformers with a network of the same class."""
    return path.is_dir() and pretrained.architecture_of(path) == type(network).__name__


def _pretrained(path: Path, architecture: str, lazy: bool, entry: str | None) -> Pretrained:
    if entry is not None:
        raise BadInput(f"{path} is a folder of one network, which has no entries; name none")
    content = _content(path, lazy)
    if not (isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())):
        raise _unsafe(path, Unsound("it holds more than tensors by name"))
    weights = _sound(content, path, lazy=True)  # the network's copies of them are asked for as it is made
    return Pretrained(
        f"transformers:{architecture}",
        {},
        weights,
        format=0,
        sha256="" if lazy else sha256_of(path),
        path=path,
        config=sha256_of(path / "config.json"),
    )


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as `load` gives it; of a folder, that of the names and digests of the files read from it.

    Raises
    ------
    BadInput
        There is no such file.
    """
    path = Path(path)
    if path.is_dir():
        try:
            each = [f"{file.name} {sha256_of(file)}\n" for file in files_of(path)]
        except Unsound as error:
            raise _unsafe(path, error) from error
        return hashlib.sha256("".join(each).encode()).hexdigest()
    if not path.is_file():  # a pipe would be waited for, and a device never ends
        raise BadInput(f"there is no checkpoint {path}; make one with scripts/train.py")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _finite(tensor: Tensor) -> bool:
    """Whether all of its numbers are finite; without memory for an answer about each."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return not tensor.numel() or all(bool(extreme.isfinite()) for extreme in torch.aminmax(tensor))


def _words(value: object) -> bool:
    return isinstance(value, dict) and plain(value) and all(isinstance(name, str) for name in value)


def _numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)


def _count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _measured(value: object) -> bool:
    return isinstance(value, dict) and {"loss", "accuracy"} <= value.keys() and _numbers([*value.values()])


# Field: whether a value is as `save` has it from train.py.
WRITTEN: dict[str, Callable[[Any], object]] = {
    "format": lambda v: isinstance(v, int) and 1 <= v < 1000,
    "network": lambda v: isinstance(v, str) and re.fullmatch(r"\w+|[\w.]+:[\w.]+", v),
    "arguments": _words,
    "weights": lambda v: isinstance(v, dict) and all(isinstance(each, Tensor) for each in v.values()),
    "data": lambda v: (
        _words(v) and isinstance(v.get("name", ""), str) and all(_numbers(v.get(name, [])) for name in ("mean", "std"))
    ),
    "training": lambda v: _words(v) and isinstance(v.get("seed", 0), int),
    "history": lambda v: _words(v) and all(isinstance(each, list) and _numbers(each) for each in v.values()),
    "final": lambda v: v == {} or (_words(v) and all(_measured(v.get(split)) for split in ("train", "test"))),
    "state": lambda v: v is None or (isinstance(v, dict) and plain(v, tensors=True) and _count(v.get("epoch"))),
    "versions": _words,
}


def _content(path: Path, lazy: bool) -> object:
    try:
        return read(path, lazy)
    except ImportError as error:
        raise BadInput(f"{path} needs a package that is not installed; pip install safetensors") from error
    except Unsound as error:
        raise _unsafe(path, error) from error


def _sound(weights: dict, path: Path, lazy: bool) -> dict[str, Tensor]:
    try:
        return sound(weights, path, lazy)
    except Unsound as error:
        raise _unsafe(path, error) from error


def _unsafe(path: Path, why: Unsound) -> BadInput:
    cure = getattr(why, "cure", "") or "make one with scripts/train.py, or save a network's state_dict()"
    return BadInput(f"{path} is not a checkpoint that can be read safely: {why}; {cure}")


def _usual(parts: dict[str, dict[str, Tensor]], entry: str | None) -> dict[str, Tensor]:
    """The state dict in a file of another program as far as names tell, for those who have no network to compare."""
    weights = parts[next((name for name in (entry, *WRAPPINGS, "") if name in parts), next(iter(parts)))]
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return dict(weights)


def _stored(checkpoint: Checkpoint) -> dict:
    """The fields that are stored; tensors are not copied."""
    return {f.name: getattr(checkpoint, f.name) for f in fields(Checkpoint) if f.name != "sha256"}
