"""Directions in files: what one command finds, or a user makes, another goes along.

A file of directions is one of ``torch.save``: a direction (a dict from parameter name to tensor), or a list
of them. Nothing in it is executed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from landscape.checkpoints.safe_load import Unsound, read, sound
from landscape.engine.atomic import write_atomically
from landscape.errors import BadInput
from landscape.lazy_weights import LARGE
from landscape.weights import Weights

__all__ = ["load", "save"]

MOST = 10_000  # directions in a file


def save(directions: Sequence[Weights], path: str | os.PathLike) -> None:
    """Write directions whole or not at all, in their order.

    Raises
    ------
    BadInput
        The file cannot be written.
    """
    content = [{name: d.detach().cpu() for name, d in direction.items()} for direction in directions]
    with write_atomically(path) as draft, open(draft, "wb") as file:  # not by name, which would go into the file
        torch.save(content, file)


def load(path: str | os.PathLike) -> list[Weights]:
    """Read the directions in a file.

    Raises
    ------
    BadInput
        There is no such file, it cannot be read safely, or it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"there is no file of directions {path}; make one with torch.save([direction, …], path)")
    try:
        content = read(path, lazy=path.stat().st_size >= LARGE)
        directions: list[Any] = list(content) if isinstance(content, list | tuple) else [content]
        if not directions or not all(map(_is_direction, directions)):
            raise BadInput(
                f"{path} holds no directions; save a dict from parameter names to tensors, or a list of such"
            )
        if len(directions) > MOST:
            raise BadInput(f"{path} holds {len(directions)} directions; save {MOST} or fewer in one file")
        # All at once, since they may be one and the same.
        each = sound(
            {f"{i}.{name}": d for i, direction in enumerate(directions) for name, d in direction.items()}, path
        )
    except Unsound as error:
        raise BadInput(f"{path} cannot be read safely: {error}; save dicts of tensors and nothing else") from error
    if wrong := [
        name for name, d in each.items() if not ((d.is_floating_point() or d.is_complex()) and d.isfinite().all())
    ]:
        raise BadInput(f"{path} has no finite numbers at {wrong[0]}; save floating-point tensors without NaN")
    return [{name: each[f"{i}.{name}"] for name in direction} for i, direction in enumerate(directions)]


def _is_direction(content: object) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(name, str) and isinstance(d, Tensor) for name, d in content.items())
    )
