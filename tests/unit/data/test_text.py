"""Text as data: an example is a window, scored as transformers scores it; what is no text is named."""

import os
import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from landscape.data import VOID, load
from landscape.data.text import windows
from landscape.errors import BadInput


def test_the_standard_library_is_text_that_needs_no_download():
    data = load("stdlib", "train", window=128)
    text = data.images.flatten().to(torch.uint8).numpy().tobytes()
    assert Path(os.__file__).read_bytes() in text
    assert data.classes == 256 and data.images.dtype == data.labels.dtype == torch.int64
    assert platform.python_version() in data.inputs and "128" in data.inputs
    assert text.decode(errors="strict")[:1]  # UTF-8 throughout


def test_every_tenth_file_of_the_standard_library_is_for_testing():
    parts = {
        split: load("stdlib", split, window=16).images.numpy().astype(np.uint8).tobytes() for split in ("train", "test")
    }
    total = sum(map(len, parts.values()))
    assert 0.05 < len(parts["test"]) / total < 0.2
    for file in (
        Path(os.__file__).parent / name for name in ("os.py", "ast.py", "argparse.py", "pathlib.py", "typing.py")
    ):
        if file.is_file():
            assert sum(file.read_bytes()[:-32] in part for part in parts.values()) == 1


def test_targets_are_the_next_tokens_and_the_last_one_is_void():
    tokens = np.arange(10, 21)
    split = windows(tokens, 5, 30, "x", "numbers")
    assert split.inputs(torch.arange(2)).tolist() == [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]  # the rest left out
    assert split.targets.tolist() == [[11, 12, 13, 14, VOID], [16, 17, 18, 19, VOID]]


@pytest.mark.parametrize("vocabulary", [256, 40_000, 200_000])  # bytes, and what needs more than 16 bits
def test_tokens_of_a_large_vocabulary_are_kept(vocabulary):
    tokens = np.linspace(0, vocabulary - 1, 64).astype(np.int64)
    split = windows(tokens, 32, vocabulary, "x", "numbers")
    assert split.inputs(torch.arange(2)).flatten().tolist() == tokens.tolist()


def test_some_windows_are_those_among_all(monkeypatch):
    whole, some = load("stdlib", "test", window=64), load("stdlib", "test", window=64, examples=5, seed=3)
    more = load("stdlib", "test", window=64, examples=9, seed=3)
    assert torch.equal(more.images[:5], some.images)
    assert all((whole.images == window).all(1).any() for window in some.images)


def test_the_loss_of_a_window_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=256, n_layer=2, n_embd=32, n_head=2, n_positions=64)
    network = transformers.GPT2LMHeadModel(config).eval()
    data = load("stdlib", "test", window=64, examples=6)
    from landscape.evaluation.evaluator import Evaluator

    losses = [network(input_ids=w[None], labels=w[None]).loss.item() for w in data.images]
    measured = Evaluator(network, [(data.images, data.labels)])()
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert measured["loss"] == pytest.approx(
        float(cross_entropy(network(data.images).logits.flatten(0, 1), data.labels.flatten())), rel=1e-6
    )


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("stdlib", {"window": 10**9}, "none of its windows 1000000000; window [0-9]+ is the longest that fits"),
        ("stdlib", {"window": 1}, "expected 2 tokens or more"),
        ("stdlib", {"size": 8}, "is no folder of images"),
        ("stdlib", {"standardize": True}, "cannot be standardised"),
        ("digits", {"window": 8}, "digits is no text"),
    ],
)
def test_what_does_not_fit_text_is_one_line(name, how, message):
    with pytest.raises(BadInput, match=message) as error:
        load(name, "test", **how)
    assert "\n" not in str(error.value)
