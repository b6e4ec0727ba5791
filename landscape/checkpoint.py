"""Checkpoints that describe themselves: what was built, on which data, how it was trained.

The weights of other programs are read too, if the caller says what to build for them. Loading
executes nothing that is in the file: it holds tensors and plain values only, and a factory outside
this package is imported only if the caller names it too.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape.data import KNOWN
from landscape.errors import BadInput
from landscape.foreign_names import renamed
from landscape.networks import NETWORKS, build, titled
from landscape.networks.bounded import TooLarge, at_most
from landscape.tensors import Unsound, plain, read, sound
from landscape.whole import written

__all__ = ["Checkpoint", "load", "save", "sha256_of"]

FORMAT = 1

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")  # where other programs' checkpoints keep the weights
MOST = 50_000  # parameters of a network that is not ours
# Of names in networks wrapped by DataParallel, by torch.compile, or by one of them around the other.
PREFIXES = ("module.", "_orig_mod.", "module.")


@dataclass
class Checkpoint:
    """A trained network, or one in training.

    Attributes
    ----------
    network, arguments : what `landscape.networks.build` is called with
    weights : the network's state dict, on the CPU
    data : name, classes, mean, std, and the digest of the training split
    training : the settings of the training, the seed among them
    history : one list a quantity, one entry an epoch
    final : measurements of the finished network on ``train`` and ``test``; empty until then
    state : what is needed to go on training; None when it is finished
    format : of the file; 0 for weights alone, where all else is what the caller says
    sha256 : of the file that it was loaded from
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

    @property
    def title(self) -> str:
        """What files, tables and figures call the network: "resnet-56", "preact-resnet-56", "plain-20:width=32"."""
        return titled(self.network, self.arguments)

    def data_named(self, given: str | None, path: str | os.PathLike) -> str:
        """The name of its data: `given` by the user, or else its own, which may be that of no file and no code.

        Raises
        ------
        BadInput
            There is none that can be used; `path` is what to call the checkpoint.
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
        named : the factory that the caller trusts, "package.module:factory"; needed for networks
            that are not this package's own

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
        for name, own in network.state_dict().items():
            given = self.weights.get(name)
            if given is not None and own.is_floating_point() and not given.is_floating_point():
                raise self._other(f"{name} is {given.dtype}, which cannot be taken for {own.dtype}")
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            raise self._other(" ".join(line.strip() for line in str(error).splitlines()[1:2])) from error
        if broken := [name for name, parameter in network.named_parameters() if not parameter.isfinite().all()]:
            raise BadInput(
                f"the weights of {self.title} are not finite in {broken[0]}, as after a training that diverged; "
                "use an earlier checkpoint"
            )
        return network

    def _built(self) -> nn.Module:
        """The network with weights of its own; it has no more of them than the file, or than the memory holds."""
        ours = self.network in NETWORKS
        try:
            if not ours:
                with at_most(MOST):
                    return build(self.network, **self.arguments)
            with at_most(len(self.weights), sum(t.numel() for t in self.weights.values())):
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


def save(checkpoint: Checkpoint, path: str | os.PathLike) -> None:
    """Write a checkpoint whole or not at all.

    Raises
    ------
    BadInput
        The file cannot be written.
    """
    with written(path, "the file before it, if any, is whole") as draft, open(draft, "wb") as file:
        torch.save(_stored(checkpoint), file)  # not by name, which would go into the file


def load(path: str | os.PathLike, network: str | None = None, *, lazy: bool = False) -> Checkpoint:
    """Read a checkpoint, or weights alone; only tensors and plain values are accepted (``weights_only=True``).

    Parameters
    ----------
    path : a file of `save`, a state dict of ``torch.save``, alone or with other things, or a ``.safetensors`` file
    network : what to build for weights alone; its arguments are the caller's to add, but for what
        `landscape.foreign_names` reads off the weights
    lazy : map the tensors, so that only those which are used are read, and leave `sha256` empty, which needs all

    Raises
    ------
    BadInput
        There is no such file, it cannot be read safely, or it holds weights alone and `network` is not given.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no checkpoint {path}; make one with scripts/train.py")
    content = _content(path, lazy)
    sha256 = "" if lazy else sha256_of(path)
    names = {f.name for f in fields(Checkpoint)} - {"sha256"}
    if isinstance(content, dict) and {"format", "network", "arguments", "weights"} <= content.keys() <= names:
        form = content["format"]
        if WRITTEN["format"](form) and form > FORMAT:
            raise BadInput(f"{path} has checkpoint format {form}, this version reads up to {FORMAT}; update")
        if wrong := [name for name, value in content.items() if not WRITTEN[name](value)]:
            raise BadInput(
                f"{path} is not a checkpoint as train.py makes them: its {wrong[0]} is odd; make another one"
            )
        return Checkpoint(**{**content, "weights": _sound(content["weights"], path, lazy)}, sha256=sha256)
    weights = _weights(content)
    if weights is None:
        raise BadInput(f"{path} is not a checkpoint of skipscape, nor a state dict; make one with scripts/train.py")
    if network is None:
        raise BadInput(
            f"{path} is not a checkpoint of skipscape but weights alone; to measure them, say what they belong to "
            "with --network package.module:factory, --argument NAME=VALUE … and --data"
        )
    weights = _sound(weights, path, lazy)
    try:
        weights, arguments = renamed(weights, network)
    except (TypeError, ValueError, LookupError) as error:  # of shapes that no network has
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path} holds weights with the names of a {network}, but not with its shapes; give others"
        ) from error
    return Checkpoint(network, arguments, weights, format=0, sha256=sha256)


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as `load` gives it.

    Raises
    ------
    BadInput
        There is no such file.
    """
    if not Path(path).is_file():  # a pipe would be waited for, and a device never ends
        raise BadInput(f"there is no checkpoint {path}; make one with scripts/train.py")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _words(value: object) -> bool:
    return isinstance(value, dict) and plain(value) and all(isinstance(name, str) for name in value)


def _numbers(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)


def _count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _measured(value: object) -> bool:
    return isinstance(value, dict) and {"loss", "accuracy"} <= value.keys() and _numbers([*value.values()])


# Field: whether a value is as `save` has it from train.py.
WRITTEN = {
    "format": lambda v: isinstance(v, int) and 1 <= v < 1000,
    "network": lambda v: isinstance(v, str) and re.fullmatch(r"\w+|[\w.]+:\w+", v),
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
    return BadInput(
        f"{path} is not a checkpoint that can be read safely: {why}; make one with scripts/train.py, "
        "or save a network's state_dict()"
    )


def _weights(content: object) -> dict | None:
    """The state dict in what another program has saved, with the names that the network itself gives; None if none."""
    if isinstance(content, dict):
        content = next((content[name] for name in WRAPPINGS if isinstance(content.get(name), dict)), content)
    if not (isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())):
        return None
    weights = dict(content)
    for prefix in PREFIXES:
        if all(str(name).startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _stored(checkpoint: Checkpoint) -> dict:
    """The fields that are stored; tensors are not copied."""
    return {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name != "sha256"}
