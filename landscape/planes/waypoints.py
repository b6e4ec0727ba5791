"""The checkpoints on the way of a training: files of a folder, or networks and their weights in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from landscape.checkpoints.checkpoint import Checkpoint, sha256_of
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.ends import End, sources_of
from landscape.weights import digest

__all__ = ["Checkpoints", "Waypoint", "fitting", "opened", "snapshots", "waypoints_of"]

SUFFIXES = (".pt", ".pth", ".safetensors")

# A folder, or checkpoints in the order of the training, which may have names.
Checkpoints = End | Sequence[End] | Mapping[str, End]


class Waypoint(NamedTuple):
    """A checkpoint on the way.

    Attributes
    ----------
    name, label : what results and messages call it
    source : a file, a network, or its state dict
    """

    name: str
    label: str
    source: Path | nn.Module | Mapping[str, Tensor]

    @property
    def digest(self) -> str:
        if isinstance(self.source, Path):
            return sha256_of(self.source)
        return digest({name: t for name, t in _state(self.source).items() if t.is_floating_point() or t.is_complex()})


def waypoints_of(checkpoints: Checkpoints, final: Path) -> list[Waypoint]:
    """The checkpoints on the way to the final one.

    Raises
    ------
    BadInput
        They are something else; and as `snapshots`.
    """
    if isinstance(checkpoints, Mapping):
        names, sources = map(str, checkpoints), sources_of(list(checkpoints.values()), "checkpoints")
        return [Waypoint(name, f"checkpoint {name}", source) for name, source in zip(names, sources, strict=True)]
    sources = sources_of(checkpoints, "checkpoints")
    if all(isinstance(source, Path) for source in sources):
        return [Waypoint(path.stem, str(path), path) for path in snapshots(sources, final)]
    return [Waypoint(str(number), f"checkpoint {number}", source) for number, source in enumerate(sources)]


def snapshots(paths: Sequence[Path], final: Path) -> list[Path]:
    """The files of checkpoints that `paths` name, in the order of the training.

    Parameters
    ----------
    paths : folders, whose files are taken in the order of the numbers in their names, and files
    final : passed over, as are files of directions, which trajectory.py may have put there itself

    Raises
    ------
    BadInput
        There is no such file, a folder has none, or one is named twice.
    """
    files = []
    for path in paths:
        if not path.is_dir():
            if not path.is_file():
                raise BadInput(f"there is no checkpoint {path}; keep some with scripts/train.py --snapshots {path}")
            files.append(path)
            continue
        inside = [p for p in path.iterdir() if p.suffix in SUFFIXES and p.name[0] != "." and p.is_file()]
        inside = [p for p in inside if not p.name.endswith(".directions.pt")]
        if not inside:
            raise BadInput(f"{path} has no checkpoints; keep some with scripts/train.py --snapshots {path}")
        files += sorted(inside, key=_numbers)
    places = [path.resolve() for path in files]
    if twice := [path for path, place in zip(files, places, strict=True) if places.count(place) > 1]:
        raise BadInput(f"{twice[0]} is named twice; name each checkpoint once, alone or by its folder")
    return [path for path, place in zip(files, places, strict=True) if place != final.resolve()]


def fitting(evaluate: Evaluator, waypoints: list[Waypoint]) -> list[Waypoint]:
    """The checkpoints, without a last one that is the network itself; all must be of this network."""
    own, weights = evaluate.network.state_dict(), {}
    for waypoint in waypoints:
        other = opened(evaluate, waypoint)
        if other.format and evaluate.checkpoint.format and other.title != evaluate.checkpoint.title:
            raise BadInput(
                f"{waypoint.label} holds another network, {other.title}, than {evaluate.label}, "
                f"{evaluate.checkpoint.title}; give snapshots of one training"
            )
        weights = other.weights
        wrong = [n for n in {**own, **weights} if n not in own or n not in weights or own[n].shape != weights[n].shape]
        if wrong:
            raise BadInput(
                f"{waypoint.label} is of another network than {evaluate.label}: they differ in {wrong[0]}; "
                "give snapshots of one training"
            )
    same = waypoints and all(torch.equal(weights[name].to(p), p) for name, p in evaluate.network.named_parameters())
    return waypoints[:-1] if same else waypoints


def opened(evaluate: Evaluator, waypoint: Waypoint) -> Checkpoint:
    """A checkpoint, mapped if it is a file; state dicts are taken for ones of the same network and entry."""
    if isinstance(waypoint.source, Path):
        return evaluate.other(waypoint.source, lazy=True)
    return Checkpoint("", {}, _state(waypoint.source), format=0)


def _state(source: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    return dict(source.state_dict() if isinstance(source, nn.Module) else source)


def _numbers(path: Path) -> list:
    """Text and numbers in a file's name, so that 10 comes after 9."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]
