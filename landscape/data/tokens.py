"""Tokens as examples: windows of a text, rows of an array, and what is to be predicted of them.

Conventions. An example is a window of T consecutive tokens; windows do not overlap, and a rest shorter than a window is
left out. Inputs are int64 (N, T), all tokens of a window. Targets are int64 (N, T):

- of a causal language model, the next token in the window, and the last one is void, so that the loss of a window is
  what transformers' ``model(input_ids=w, labels=w).loss`` is;
- of a masked one, the tokens behind the masks, and all others are void. Of each window 15 % of the positions are masked
  (Devlin et al. 2019, §3.1; always by the mask token), which ones by the seed and the window's number alone.

Padding, where an attention mask is 0, is void in targets, and the mask is passed on as an input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from landscape.data import archives
from landscape.data.reading import Reading
from landscape.data.splits import VOID, Source, Split, blaming
from landscape.errors import BadInput
from landscape.memory import guard_memory
from landscape.nested import Nested

__all__ = ["MASKED", "NAMES", "WINDOW", "arrays", "masked_windows", "window_for", "windows"]

WINDOW = 256  # tokens
NAMES = ("input_ids", "tokens")  # of arrays
MASKED = 0.15  # of the positions


def windows(tokens: np.ndarray, window: int, vocabulary: int, what: str, said: str) -> Split:
    """Cut tokens into examples of a causal language model; see the conventions above.

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

    Examples
    --------
    >>> split = windows(np.arange(7), 3, 7, "the text", "numbers")
    >>> split.inputs(torch.tensor([1])), split.targets[1]
    (tensor([[3, 4, 5]]), tensor([   4,    5, -100], dtype=torch.int16))
    """
    rows = _rows(tokens, window, 2, what)
    # Inputs and targets are two views of the same numbers: w₁ w₂ … w_T void.
    both = torch.full((len(rows), window + 1), VOID, dtype=_compact(vocabulary, rows.size, what))
    both[:, :-1] = torch.from_numpy(rows.astype(_numpy(both.dtype)))
    inputs, targets = both[:, :-1], both[:, 1:]
    return Split(lambda index: inputs[index].long(), targets, vocabulary, said=_cut(said, window))


def masked_windows(
    tokens: np.ndarray, window: int, vocabulary: int, what: str, said: str, *, tokenizer: Any, seed: int
) -> Split:
    """Cut tokens into examples of a masked language model; see the conventions above.

    Parameters
    ----------
    tokens, window, vocabulary, what, said : as of `windows`; a window counts the tokens that begin and end it
    tokenizer : says which token is the mask, and which begin and end a text
    seed : of the choice of positions

    Raises
    ------
    BadInput
        There are too few tokens for one window, or no mask.
    """
    if tokenizer is None or tokenizer.mask_token_id is None:
        raise BadInput(f"{what} is for a masked language model, whose tokenizer has no mask; save the one it has")
    ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    around = 2 if None not in ends else 0
    rows = _rows(tokens, window, around + 1, what, around)
    inputs = torch.empty((len(rows), window), dtype=_compact(vocabulary, 2 * rows.size, what))
    inner = slice(1, -1) if around else slice(None)
    if around:
        inputs[:, 0], inputs[:, -1] = ends
    whole = torch.from_numpy(rows.astype(_numpy(inputs.dtype)))
    hidden = torch.from_numpy(_hidden(len(rows), rows.shape[1], seed))
    inputs[:, inner] = whole.masked_fill(hidden, tokenizer.mask_token_id)
    targets = torch.full_like(inputs, VOID)
    targets[:, inner] = whole.masked_fill(~hidden, VOID)
    said = f"{_cut(said, window)}, {MASKED:.0%} of the positions masked"
    return Split(lambda index: inputs[index].long(), targets, vocabulary, said=said)


def arrays(path: Path, window: int | None, reading: Reading) -> Source:
    """Tokens in a ``.npy`` file, (n,) or (N, T); or in an ``.npz`` file, as ``tokens`` (n,) or ``input_ids`` (N, T).

    Beside ``input_ids`` may stand ``attention_mask`` (N, T), and ``labels``: (N, T), each token's own as transformers
    takes them, or (N,), classes. The names may begin with ``train_`` and ``test_``. Other arrays are inputs too.

    Raises
    ------
    BadInput
        They are no tokens, or are cut into windows already and a window is asked for.
    """

    def read(split: str) -> Split:
        stored, whole = _arrays(path, split)
        return _examples(stored, window, reading, f"the {split} split of {path}")._replace(whole=whole)

    return read


def _arrays(path: Path, split: str) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a split, by their names in transformers; and whether the file knows no splits."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}; name one with tokens, .npy or .npz")
    if path.suffix == ".npy":
        with blaming(path):
            ids = np.load(path, mmap_mode="r", allow_pickle=False)
            if path.stat().st_size != ids.offset + ids.nbytes:
                raise ValueError("it has more bytes than its header says")
        archives.guard(ids.shape, ids.dtype, path)
        return {"input_ids": ids}, True
    names = archives.members(path)
    prefixes = ("train_", "test_")
    has_splits = any(name.startswith(prefixes) for name in names)
    if has_splits and (alone := [name for name in names if not name.startswith(prefixes)]):
        raise BadInput(f"{path} has {alone[0]} beside arrays of splits; begin its name with train_ or test_ too")
    prefix = f"{split}_" if has_splits else ""
    mine = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    if {"tokens", "input_ids"} <= mine.keys():
        raise BadInput(f"{path} has both {prefix}tokens and {prefix}input_ids; leave out one of them")
    if "tokens" in mine:
        mine["input_ids"] = mine.pop("tokens")
    if "input_ids" not in mine:
        raise BadInput(f"{path} has no array {prefix}input_ids or {prefix}tokens; it has {', '.join(names[:10])}")
    return {name: archives.array(path, stored) for name, stored in mine.items()}, not has_splits


def _examples(stored: dict[str, np.ndarray], window: int | None, reading: Reading, what: str) -> Split:
    ids = stored["input_ids"]
    for name, each in stored.items():
        if each.dtype.kind not in ("iu" if name == "input_ids" else "iub") or not each.size:
            raise BadInput(f"{name} of {what} are {each.dtype} {each.shape}; expected integers")
        if int(each.max()) >= 2**31:
            raise BadInput(f"{name} of {what} has {int(each.max())}; expected numbers below 2^31")
    if int(ids.min()) < 0:
        raise BadInput(f"a token of {what} is {int(ids.min())}; expected numbers from 0")
    vocabulary = int(ids.max()) + 1
    if ids.ndim == 1 and len(stored) == 1:
        if reading.task != "causal":
            raise BadInput(f"{what} is tokens without labels, and {reading.name} no causal language model; add labels")
        return windows(ids, window_for(window, reading), vocabulary, what, "tokens as they are")
    if ids.ndim != 2 or any(each.shape[:1] != ids.shape[:1] for each in stored.values()):
        shapes = ", ".join(f"{name} {each.shape}" for name, each in stored.items())
        raise BadInput(f"{what} has {shapes}; expected tokens (n,) alone, or input_ids (N, T) and others of N rows")
    if window is not None and window != ids.shape[1]:
        raise BadInput(f"window {window} was given, but {what} has examples of {ids.shape[1]} tokens; leave it out")
    mask = stored.get("attention_mask", np.ones_like(ids))
    if mask.shape != ids.shape or not 0 <= int(mask.min()) <= int(mask.max()) <= 1:
        raise BadInput(f"attention_mask {mask.shape} of {what} does not say of each of tokens {ids.shape} 0 or 1")
    inputs = {name: torch.from_numpy(np.asarray(each).astype(np.int64)) for name, each in stored.items()}
    targets = _targets(inputs, inputs.pop("labels", None), reading, what)
    given: Nested = inputs["input_ids"] if len(inputs) == 1 else inputs
    classes = int(targets.max()) + 1
    return Split(lambda index: _taken(given, index), targets, classes, said="tokens as they are")


def _targets(inputs: dict[str, Tensor], labels: Tensor | None, reading: Reading, what: str) -> Tensor:
    """What is to be predicted of rows of tokens."""
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    if labels is None and reading.task != "causal":
        raise BadInput(f"{what} has no labels, and {reading.name} is no causal language model; add an array labels")
    if reading.task == "seq2seq" and "decoder_input_ids" not in inputs:
        raise BadInput(f"{what} has no decoder_input_ids, which {reading.name} needs beside labels; add them")
    labels = ids if labels is None else labels
    if labels.ndim == 1 or reading.task != "causal":
        return labels
    if labels.shape != ids.shape:
        raise BadInput(f"{what} has labels {tuple(labels.shape)} of tokens {tuple(ids.shape)}; expected as many")
    targets = torch.full_like(labels, VOID)
    targets[:, :-1] = labels[:, 1:]
    if mask is not None:
        counts = mask.bool()
        targets[~counts] = VOID
        targets[:, :-1][~counts[:, 1:]] = VOID
    return targets


def window_for(window: int | None, reading: Reading) -> int:
    """Tokens of an example: as asked for, or else what the network is made for, 256 at most.

    Raises
    ------
    BadInput
        The network is made for fewer.
    """
    if window is None:
        return min(WINDOW, reading.longest or WINDOW)
    if reading.longest is not None and window > reading.longest:
        raise BadInput(
            f"window is {window}, but {reading.name} is made for {reading.longest} tokens; give no more than these"
        )
    return window


def _rows(tokens: np.ndarray, window: int, least: int, what: str, around: int = 0) -> np.ndarray:
    if window < least:
        raise BadInput(f"window is {window}; expected {least} tokens or more, so that there is one to predict")
    width = window - around
    number = len(tokens) // width
    if not number:
        fits = len(tokens) + around
        cure = f"--window {fits} is the longest that fits" if fits >= least else "give a longer text"
        raise BadInput(f"{what} has {len(tokens)} tokens, which are no window of {window}; {cure}")
    return tokens[: number * width].reshape(number, width)


def _hidden(number: int, width: int, seed: int) -> np.ndarray:
    """Which positions are masked, (N, T): those of a window do not depend on how many windows follow."""
    count = max(1, round(MASKED * width))
    draws, hidden = np.random.default_rng(seed), np.zeros((number, width), dtype=bool)
    for row in hidden:
        row[draws.random(width).argsort(kind="stable")[:count]] = True
    return hidden


def _compact(vocabulary: int, count: int, what: str) -> torch.dtype:
    """The smallest type of tokens and the void; there must be memory for so many."""
    dtype = torch.int16 if vocabulary < 2**15 else torch.int32
    guard_memory(count * (2 * dtype.itemsize + 8), f"the tokens of {what}")  # as they are, and as int64
    return dtype


def _numpy(dtype: torch.dtype) -> type:
    return np.int16 if dtype == torch.int16 else np.int32


def _taken(inputs: Nested, index: Tensor) -> Nested:
    return inputs[index] if isinstance(inputs, Tensor) else {name: each[index] for name, each in inputs.items()}


def _cut(said: str, window: int) -> str:
    return f"{said}, in windows of {window}, a shorter rest left out"
