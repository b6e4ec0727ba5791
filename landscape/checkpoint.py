"""Checkpoints that describe themselves: what was built, on which data, how it was trained.

The weights of other programs are read too, if the caller says what to build for them. Loading
executes nothing that is in the file: it holds tensors and plain values only, and a factory outside
this package is imported only if the caller names it too.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.foreign_names import renamed
from landscape.networks import NETWORKS, build
from landscape.whole import written

__all__ = ["Checkpoint", "load", "save", "sha256_of"]

FORMAT = 1

WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")  # where other programs' checkpoints keep the weights
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
        """What a figure calls the network: "resnet-56"."""
        name = self.network.rpartition(":")[2]
        return f"{name}-{self.arguments['depth']}" if "depth" in self.arguments else name

    def restore(self, named: str | None = None) -> nn.Module:
        """Build the network and give it its weights.

        Parameters
        ----------
        named : the factory that the caller trusts, "package.module:factory"; needed for networks
            that are not this package's own

        Raises
        ------
        BadInput
            The factory was not named, or the weights are another network's.
        """
        if named is not None and named != self.network:
            raise BadInput(f"the checkpoint holds a {self.network}, not a {named}; name the one that it holds")
        if self.network not in NETWORKS and named is None:
            raise BadInput(
                f"the checkpoint's network comes from {self.network}, which is imported only if you say so; "
                f"add --network {self.network}"
            )
        network = build(self.network, **self.arguments)
        try:
            network.load_state_dict(self.weights)
        except RuntimeError as error:
            detail = [line.strip() for line in str(error).splitlines()[1:2]]
            raise BadInput(
                f"the weights are not those of {self.title} ({' '.join(detail)[:200]}); "
                "use the checkpoint of that network, or the --network and --argument of that checkpoint"
            ) from error
        return network


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
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path, lazy)
    sha256 = "" if lazy else sha256_of(path)
    names = {f.name for f in fields(Checkpoint)} - {"sha256"}
    if isinstance(content, dict) and {"format", "network", "arguments", "weights"} <= content.keys() <= names:
        if content["format"] > FORMAT:
            raise BadInput(
                f"{path} has checkpoint format {content['format']}, this version reads up to {FORMAT}; update"
            )
        return Checkpoint(**content, sha256=sha256)
    weights = _weights(content)
    if weights is None:
        raise BadInput(f"{path} is not a checkpoint of skipscape, nor a state dict; make one with scripts/train.py")
    if network is None:
        raise BadInput(
            f"{path} is not a checkpoint of skipscape but weights alone; to measure them, say what they belong to "
            "with --network package.module:factory, --argument NAME=VALUE … and --data"
        )
    weights, arguments = renamed(weights, network)
    return Checkpoint(network, arguments, weights, format=0, sha256=sha256)


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as `load` gives it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _torch(path: Path, lazy: bool) -> object:
    try:
        # Only archives can be mapped, which torch.save has made since torch 1.6.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=lazy and zipfile.is_zipfile(path))
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:
        raise BadInput(
            f"{path} is not a checkpoint that can be read safely; make one with scripts/train.py, "
            "or save a network's state_dict()"
        ) from error


def _safetensors(path: Path) -> dict:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise BadInput(f"{path} needs a package that is not installed; pip install safetensors") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise BadInput(f"{path} is not a safetensors file ({error}); save it again") from error


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
