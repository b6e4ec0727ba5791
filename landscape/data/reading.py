"""How a network reads text: by which tokenizer, for which task. A folder of save_pretrained() says both."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape.data.splits import blaming
from landscape.errors import BadInput

__all__ = ["BYTES", "Reading", "config_of", "quietly", "reading_of", "settings_of"]

BYTES = 256  # tokens there are
FEW = 512  # tokens of a network that takes bytes, and some words of its own
LONGEST_CONFIG = 2**24  # bytes
LONGEST_TOKENIZER = 2**28
MOST = 10**6  # of layers, heads, classes …

# What AutoTokenizer needs one of; without any it makes an empty tokenizer.
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model", "tokenizer_config.json")

# The end of an architecture's name: its task.
TASKS = {
    "WithLMHeadModel": "masked",
    "LMHeadModel": "causal",
    "ForCausalLM": "causal",
    "ForConditionalGeneration": "causal",  # with images beside the text; those with an encoder are told apart
    "ForMaskedLM": "masked",
    "ForSequenceClassification": "classes",
}
TWO_WAYS = ("XLNetLMHeadModel",)  # see what follows, whatever their name


@dataclass(frozen=True)
class Reading:
    """How a network reads text; by default as bytes, of which it predicts the next.

    Attributes
    ----------
    task : "causal" (the next token), "masked" (those behind a mask), "classes" (of a text), "seq2seq", or "" (another)
    name : of the network
    folder : where its tokenizer is; None for bytes
    vocabulary : how many tokens the network has, if that is known
    longest : tokens it is made for, if there is a limit
    labels : classes by their names
    """

    task: str = "causal"
    name: str = "the network"
    folder: Path | None = None
    vocabulary: int | None = None
    longest: int | None = None
    labels: Mapping[str, int] = field(default_factory=dict)

    def tokenizer(self) -> Any:
        """Its own tokenizer; None for bytes.

        Raises
        ------
        BadInput
            There is none, and it takes no bytes; or transformers cannot make it of the files.
        """
        if self.folder is None:
            if self.vocabulary is None or BYTES <= self.vocabulary <= FEW:
                return None
            raise BadInput(
                f"{self.name} has {self.vocabulary} tokens, which are no bytes, and no tokenizer; save that into its "
                "folder, with tokenizer.save_pretrained, or give arrays of tokens"
            )
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise BadInput(
                f"the tokenizer of {self.name} needs transformers, which is not installed; "
                "pip install 'skipscape[transformers]'"
            ) from error
        with (
            blaming(f"the tokenizer and config.json in {self.folder}", "save both there with save_pretrained"),
            quietly(),
        ):
            for name in TOKENIZERS:
                if (self.folder / name).is_file() and (self.folder / name).stat().st_size > LONGEST_TOKENIZER:
                    raise ValueError(f"{name} is longer than there can be to say")
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)


def reading_of(folder: Path | None) -> Reading:
    """How the network in a folder of save_pretrained() reads text; without a folder, as bytes."""
    config = {} if folder is None else config_of(folder)
    if folder is None:
        return Reading()
    has_tokenizer = any((folder / name).is_file() for name in TOKENIZERS)
    labels = config.get("label2id") or {}
    return Reading(
        _task(config),
        folder.resolve().name,
        folder if has_tokenizer else None,
        _positive(config, "vocab_size"),
        _positive(config, "max_position_embeddings", "n_positions"),
        {str(name): _label(folder, number) for name, number in labels.items()} if isinstance(labels, dict) else {},
    )


def config_of(folder: Path) -> dict:
    """What config.json in a folder says; empty where there is none.

    Raises
    ------
    BadInput
        It cannot be read.
    """
    file = folder / "config.json"
    if not file.is_file():
        return {}
    with blaming(file, "save the network again, with save_pretrained"):
        if file.stat().st_size > LONGEST_CONFIG:
            raise ValueError("it is longer than there can be to say")
        config = json.loads(file.read_bytes(), parse_constant=_finite)
        if not isinstance(config, dict):
            raise ValueError("it holds no settings by name")
        for name, value in settings_of(config):  # of which transformers makes lists as long before it makes anything
            if re.match("n_|num_", name) and isinstance(value, int | float) and not -MOST <= value <= MOST:
                raise ValueError(f"{name} is {value:.3g}, which no network has")
    return config


def settings_of(config: Mapping) -> Iterator[tuple[str, object]]:
    """All settings and their values, those of parts of the network too."""
    for name, value in config.items():
        yield str(name), value
        if isinstance(value, Mapping):
            yield from settings_of(value)


def _finite(word: str) -> float:
    """A number that JSON has no word for: of a setting that is a limit infinity is one, NaN of none."""
    if word == "NaN":
        raise ValueError("a setting is NaN")
    return float(word)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what transformers says as it loads things, which is told here if it matters."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _label(folder: Path, number: object) -> int:
    if not (str(number).isdecimal() and int(str(number)) < MOST):
        raise BadInput(
            f"label2id in {folder / 'config.json'} has {number!r}, which is no class; expected numbers from 0"
        )
    return int(str(number))


def _task(config: Mapping) -> str:
    if config.get("is_encoder_decoder"):
        return "seq2seq"
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else "ForCausalLM"
    return "" if name in TWO_WAYS else next((task for end, task in TASKS.items() if name.endswith(end)), "")


def _positive(config: Mapping, *names: str) -> int | None:
    """The first of some settings that is a number above 0, of the network or of its part for text."""
    return next((value for value in _values(config, names) if isinstance(value, int) and value > 0), None)


def _values(config: Mapping, names: tuple[str, ...]) -> Iterator[object]:
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            yield from (part.get(name) for name in names)
