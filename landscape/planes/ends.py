"""Where the axes of planes lead: other networks, or directions that somebody has, in files or in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from landscape.errors import BadInput
from landscape.lazy_weights import LARGE
from landscape.planes import direction_files as saved
from landscape.weights import Weights

if TYPE_CHECKING:
    from landscape.evaluation.evaluator import Evaluator

__all__ = ["End", "called", "directions_of", "sources_of", "state_of"]

# A file, a network, or its weights by name.
End = str | os.PathLike | nn.Module | Mapping[str, Tensor]


def sources_of(given: object, name: str) -> list:
    """Files, networks or weights, one or several."""
    if given is None:
        return []
    many = given if isinstance(given, list | tuple) else [given]
    for each in many:
        if not isinstance(each, str | os.PathLike | Mapping | nn.Module):
            raise BadInput(f"{name} takes files, or dicts from parameter names to tensors, got {type(each).__name__}")
    return [Path(each) if isinstance(each, str | os.PathLike) else each for each in many]


def state_of(source: End, network: nn.Module, label: str, evaluator: Evaluator | None) -> dict[str, Tensor]:
    """The state dict of another network."""
    path = source if isinstance(source, str | os.PathLike) else "what --to names"
    if isinstance(source, str | os.PathLike):
        if evaluator is None:
            from landscape.checkpoints import checkpoint as checkpoints

            end = checkpoints.load(source, type(network).__name__, lazy=_mapped(source), like=network).weights
        else:
            other, own = evaluator.other(Path(source), lazy=_mapped(source)), evaluator.checkpoint
            if other.format and own.format and other.title != own.title:
                raise BadInput(
                    f"{path} holds another network, {other.title}, than {label}, {own.title}; "
                    "give checkpoints of one network"
                )
            end = other.weights
    else:
        end = dict(source.state_dict() if isinstance(source, nn.Module) else source)
    wrong = [name for name, t in network.state_dict().items() if name not in end or end[name].shape != t.shape]
    if wrong:
        raise BadInput(
            f"{path} is another network than {label}: they differ in {wrong[0]}; give checkpoints of one network"
        )
    return end


def directions_of(along: list, network: nn.Module, label: str) -> list[tuple[object, Weights]]:
    """Directions in files and in memory, each with what to call it."""
    directions: list[tuple[object, Weights]] = []
    for source in along:
        if isinstance(source, Path):
            directions += [(source, direction) for direction in saved.load(source)]
        else:
            given = source.named_parameters() if isinstance(source, nn.Module) else source
            directions.append(("what --along names", dict(given)))
    origin = dict(network.named_parameters())
    for path, direction in directions:
        if unknown := direction.keys() - origin.keys():
            raise BadInput(f"{path} moves {min(unknown)}, which {label} has not; make it for this network")
        for name, d in direction.items():
            if d.shape != origin[name].shape:
                raise BadInput(
                    f"{path} has shape {tuple(d.shape)} at {name}, {label} {tuple(origin[name].shape)}; "
                    "make it for this network"
                )
            if d.is_complex() and not origin[name].is_complex():
                raise BadInput(f"{path} is complex at {name}, {label} is real; make it for this network")
    return directions


def called(source: object) -> str:
    return Path(source).name if isinstance(source, str | os.PathLike) else "in memory"


def _mapped(path: str | os.PathLike) -> bool:
    """Whether a file stays where it is, and what is used of it is read."""
    files = [Path(path)] if os.path.isfile(path) else Path(path).glob("*")
    return sum(file.stat().st_size for file in files) >= LARGE
