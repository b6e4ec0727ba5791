"""Text as data: files become tokens, by a network's own tokenizer or as bytes, and these become examples.

Conventions. Files are UTF-8 and are taken in the order of their paths. What an example is, is said in
`landscape.data.tokens`. A folder has splits where its files or folders say so in their names (``train.txt``,
``wiki.test.tokens``, ``valid/``); other text is one whole, which is measured whichever split is asked for.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape.data import tokens
from landscape.data.reading import BYTES, Reading, reading_of
from landscape.data.splits import Source, Split, blaming
from landscape.data.tokens import window_for
from landscape.errors import BadInput, did_you_mean
from landscape.memory import guard_memory
from landscape.nested import take

__all__ = ["PREFIX", "source"]

PREFIX = "text:"
WHOLE = "all"  # the split where there is one alone

# Of Python's standard library: what is not of it, or not the same on every platform.
LEFT_OUT = {"test", "tests", "idlelib", "turtledemo", "site-packages", "dist-packages", "__pycache__"}
GENERATED = "_sysconfigdata"

SPLITS = {"train": "train", "test": "test", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"}
NAMED = re.compile(rf"(?:^|[._-])({'|'.join(SPLITS)})(?:$|[._\-\d])", re.IGNORECASE)
TABLES = (".csv", ".tsv", ".jsonl")
ENDLESS = 10**9  # tokens; a tokenizer that knows no limit has a larger one
MEMORY = 16  # bytes, at most, that a byte of text takes as it becomes tokens; with a tokenizer of transformers:
TOKENIZED = 240

Files = dict[str, list[Path]]  # of each split


def source(name: str, window: int | None, model: Path | None, seed: int) -> tuple[str, Source]:
    """The data of ``stdlib`` or ``text:PATH``; parameters are those of ``landscape.data.load``.

    Returns
    -------
    str
        What to call the data.
    Source
        See `landscape.data.splits`.

    Raises
    ------
    BadInput
        There is no such text, or the network has no way to read it.
    """
    reading = reading_of(model)
    if name == "stdlib":
        label, files, said = name, _standard_library(), f" of the library of Python {platform.python_version()}"
    else:
        path = Path(name.removeprefix(PREFIX)).expanduser()
        with blaming(path):
            label, said = path.resolve().name, ""
            files = {} if path.suffix in (".npy", ".npz") else _files(path)
        if not files:
            return label, tokens.arrays(path, window, reading)

    def read(split: str) -> Split:
        whole = WHOLE in files
        if not whole and split not in files:
            raise BadInput(
                f"{label} has no file or folder for the {split} split; name one {split}, such as {split}.txt"
            )
        mine, what = files[WHOLE if whole else split], label if whole else f"the {split} split of {label}"
        if reading.task == "classes":
            return _labelled(mine, window, reading, what)._replace(whole=whole)
        return _unlabelled(mine, window, reading, what, said, seed)._replace(whole=whole)

    return label, read


def _unlabelled(files: Sequence[Path], window: int | None, reading: Reading, what: str, said: str, seed: int) -> Split:
    """Text for a language model."""
    if reading.task not in ("causal", "masked"):
        kind = "reads one text and writes another" if reading.task == "seq2seq" else "is no language model"
        raise BadInput(
            f"{reading.name} {kind}; give its data as package.module:function, which returns inputs as a dict and "
            "targets"
        )
    tokenizer, window = reading.tokenizer(), window_for(window, reading)
    if reading.task == "masked":
        ids, vocabulary, said = _tokens(files, tokenizer, what, said)
        return tokens.masked_windows(ids, window, vocabulary, what, said, tokenizer=tokenizer, seed=seed)
    ids, vocabulary, said = _tokens(files, tokenizer, what, said)
    return tokens.windows(ids, window, vocabulary, what, said)


def _tokens(files: Sequence[Path], tokenizer: Any, what: str, said: str) -> tuple[np.ndarray, int, str]:
    """All tokens of some files, (n,), how many there can be, and what to say of them."""
    with blaming(what):  # of which a file may vanish
        size = sum(file.stat().st_size for file in files)
    guard_memory((MEMORY if tokenizer is None else TOKENIZED) * size, f"the text of {what}")
    texts = [_text(file) for file in files]
    if tokenizer is None:
        return np.frombuffer("".join(texts).encode(), np.uint8), BYTES, f"bytes{said}"
    with blaming(what, "the tokenizer of the network cannot read it"):
        parts = tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for part in parts[:-1]:
        part += end
    return np.concatenate([np.asarray(part, np.int64) for part in parts]), len(tokenizer), f"tokens{said}"


def _labelled(files: Sequence[Path], window: int | None, reading: Reading, what: str) -> Split:
    """Texts and their classes, padded to the longest, of tables with the columns text and label."""
    pairs = [row for file in files for row in _table(file, reading)]
    if not pairs:
        raise BadInput(f"{what} is empty; give a table with the columns text and label, and a row or more")
    texts, labels = zip(*pairs, strict=True)
    tokenizer = reading.tokenizer()
    if tokenizer is None or tokenizer.pad_token_id is None:
        raise BadInput(f"{reading.name} has no tokenizer with a token for padding; set pad_token, and save it there")
    limits = [window_for(window, reading)] if window else [reading.longest, tokenizer.model_max_length]
    longest = min((limit for limit in limits if limit and limit < ENDLESS), default=None)
    with blaming(what, "the tokenizer of the network cannot read it"):
        rows = tokenizer(
            list(texts),
            padding=True,
            truncation=longest is not None,
            max_length=longest,
            return_token_type_ids=False,
            return_attention_mask=True,
            return_tensors="pt",
        )
    inputs = {name: rows[name] for name in ("input_ids", "attention_mask")}
    said = "tokens, padded to the longest" + ("" if longest is None else f", cut at {longest}")
    classes = max([*labels, *reading.labels.values()]) + 1
    return Split(lambda index: take(inputs, index), torch.tensor(labels), classes, said=said)


def _table(file: Path, reading: Reading) -> list[tuple[str, int]]:
    """The rows of a table, text and class."""
    if file.suffix not in TABLES:
        raise BadInput(f"{reading.name} tells classes of text apart, and {file} has none; give a {', '.join(TABLES)}")
    lines = io.StringIO(_text(file), newline="")  # which JSON and tables end by \n and \r alone
    with blaming(file, "give a table with the columns text and label"):
        rows: Iterable[dict]
        if file.suffix == ".jsonl":
            rows = [json.loads(line) for line in lines if line.strip()]
        else:
            rows = list(csv.DictReader(lines, delimiter="\t" if file.suffix == ".tsv" else ","))
        return [(_words(row), _class(row["label"], reading, file)) for row in rows]


def _words(row: dict) -> str:
    if not isinstance(row["text"], str):
        raise ValueError(f"a text is {row['text']!r}")
    if None in row:
        raise ValueError(f"a row has {row[None]} behind its columns")
    return row["text"]


def _class(label: object, reading: Reading, file: Path) -> int:
    if str(label) in reading.labels:
        return reading.labels[str(label)]
    if str(label).isdecimal() and len(str(label)) < 9:
        return int(str(label))
    known = ", ".join(reading.labels) or "numbers from 0"
    raise BadInput(f"{file} has the label {label!r}; expected {known}{did_you_mean(str(label), reading.labels)}")


def _files(path: Path) -> Files:
    """The files of each split, or of the whole."""
    if path.is_file():
        return {WHOLE: [path]}
    if not path.is_dir():
        raise BadInput(f"there is no text {path}; name a file, or a folder of files")
    parts: Files = {}
    for entry in sorted(path.iterdir()):
        if (name := NAMED.search(entry.name)) is not None:
            parts.setdefault(SPLITS[name[1].lower()], []).extend(_below(entry, path))
    valid = parts.pop("valid", None)
    if valid is not None and "test" not in parts:
        parts["test"] = valid
    parts = {split: files for split, files in (parts or {WHOLE: _below(path, path)}).items() if files}
    if not parts:
        raise BadInput(f"{path} has no files; put text in it")
    return parts


def _below(place: Path, home: Path) -> list[Path]:
    """All files at a place in a folder, in order of their paths, but for hidden ones.

    Raises
    ------
    BadInput
        One is no regular file, or a link that leads out of the folder.
    """
    entries = [place] if not place.is_dir() else sorted(place.rglob("*"), key=lambda each: each.as_posix())
    files = [e for e in entries if not e.is_dir() and not any(p.startswith(".") for p in e.relative_to(home).parts)]
    for file in files:
        if not (file.is_file() and file.resolve().is_relative_to(home.resolve())):
            raise BadInput(f"{file} is no file of text in {home}, but a pipe, or a link that leads out; remove it")
    return files


def _text(file: Path) -> str:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is not UTF-8 at byte {error.start}; convert it, or leave it out") from error
    except OSError as error:
        raise BadInput(f"cannot read {file} ({error.strerror}); replace or remove it") from error
    if "\0" in text:  # as in UTF-16 of English words
        raise BadInput(f"{file} is no text, but has zeros in it; convert it to UTF-8, or leave it out")
    return text


def _standard_library() -> Files:
    """The sources of Python's own standard library; every tenth file, in order of their paths, is for testing."""
    folder = Path(os.__file__).parent
    files: dict[str, Path] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            file = Path(place, name)
            # A distribution may link to settings of its own.
            if name.endswith(".py") and not name.startswith(GENERATED) and file.is_file() and not file.is_symlink():
                files[file.relative_to(folder).as_posix()] = file
    if len(files) < 10:
        raise BadInput(f"{folder} has no sources of the standard library; give a text of your own")
    ordered = [files[name] for name in sorted(files)]
    parts: Files = {"train": [], "test": []}
    for number, file in enumerate(ordered):
        parts["test" if number % 10 == 9 else "train"].append(file)
    return parts
