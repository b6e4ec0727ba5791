"""Text as tokens: an example is a window of T consecutive tokens, and its targets are the tokens that follow.

Conventions. Windows do not overlap, and a rest shorter than a window is left out. Inputs are int64 (N, T), all tokens
of a window; targets are int64 (N, T), the next token in the window, and the last one is void, so that the loss of a
window is what transformers' ``model(input_ids=w, labels=w).loss`` is. Tokens of bytes are their values, 0 to 255.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from landscape.data.splits import VOID, Source, Split, blaming
from landscape.errors import BadInput
from landscape.memory import guard_memory

__all__ = ["WINDOW", "stdlib", "windows"]

WINDOW = 256  # tokens
BYTES = 256  # tokens there are

# Not of the library itself, or not the same on every platform.
LEFT_OUT = {"test", "tests", "idlelib", "turtledemo", "site-packages", "dist-packages", "__pycache__"}
GENERATED = "_sysconfigdata"


def stdlib(window: int = WINDOW) -> Source:
    """The sources of Python's own standard library as bytes; every tenth file, in order of their paths, is for testing.

    Raises
    ------
    BadInput
        This Python comes without them, or they hold no window of so many bytes.
    """
    folder = Path(os.__file__).parent
    files = _sources(folder)
    if len(files) < 10:
        raise BadInput(f"{folder} has no sources of the standard library; give a text of your own")

    def read(split: str) -> Split:
        mine = [file for number, file in enumerate(files) if (number % 10 == 9) == (split == "test")]
        tokens = np.frombuffer(_joined(mine), np.uint8)
        what = f"the {split} split of stdlib"
        return windows(tokens, window, BYTES, what, f"bytes of the library of Python {platform.python_version()}")

    return read


def windows(tokens: np.ndarray, window: int, vocabulary: int, what: str, said: str) -> Split:
    """Cut tokens into examples; see the conventions above.

    Parameters
    ----------
    tokens : integer array, shape (n,)
    window : int
        Tokens of an example.
    vocabulary : int
        One more than the largest token that there can be.
    what, said : what to call them in messages, and in provenance

    Raises
    ------
    BadInput
        There are too few tokens for one window.
    """
    if window < 2:
        raise BadInput(f"window is {window}; expected 2 tokens or more, of which each but the first is told by others")
    number = len(tokens) // window
    if not number:
        cure = f"--window {len(tokens)} is the longest that fits" if len(tokens) > 1 else "give a longer text"
        raise BadInput(f"{what} has {len(tokens)} tokens, none of its windows {window}; {cure}")
    small = np.int16 if vocabulary < 2**15 else np.int32
    guard_memory(number * (window + 1) * np.dtype(small).itemsize, f"the tokens of {what}")
    # Inputs and targets are two views of the same numbers: w₁ w₂ … w_T void.
    both = torch.full((number, window + 1), VOID, dtype=torch.from_numpy(np.empty(0, small)).dtype)
    both[:, :-1] = torch.from_numpy(tokens[: number * window].astype(small)).view(number, window)
    inputs, targets = both[:, :-1], both[:, 1:]
    said = f"{said}, in windows of {window}, a shorter rest left out"
    return Split(lambda index: inputs[index].long(), targets, vocabulary, said=said)


def _sources(folder: Path) -> list[Path]:
    """Its Python files in order of their paths, but for links that lead elsewhere, as a distribution may add them."""
    files: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            file = Path(place, name)
            if name.endswith(".py") and not name.startswith(GENERATED) and file.is_file() and not file.is_symlink():
                files[file.relative_to(folder).as_posix()] = file
    return [files[name] for name in sorted(files)]


def _joined(files: Iterable[Path]) -> bytes:
    """The bytes of all files, one after the other."""
    parts = []
    for file in files:
        with blaming(file):
            parts.append(file.read_bytes())
    return b"".join(parts)
