"""Data of every kind that a function of a user may return."""

import sys

import numpy as np


def own(tmp_path):
    """An .npz file of float images far from mean 0 and deviation 1."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 24), ("test", 12)):
        arrays[f"{split}_images"] = (3 + 5 * rng.standard_normal((n, 1, 8, 8))).astype(np.float32)
        arrays[f"{split}_labels"] = np.arange(n) % 3
    np.savez(tmp_path / "own.npz", **arrays)
    return arrays


KINDS = """
import numpy as np, torch
from collections import namedtuple
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
LABELS = np.arange(12) % 3
SIGNALS = rng.standard_normal((12, 2, 20)).astype(np.float32)
TABLE = rng.standard_normal((12, 5))
TOKENS = rng.integers(0, 9, (12, 7))
IMAGES = rng.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
MASK = rng.random((12, 7)) < 0.8
Pair = namedtuple("Pair", "left right")

def signals(split): return SIGNALS, LABELS
def table(split): return TABLE, LABELS
def tokens(split): return TOKENS, LABELS
def small_tokens(split): return TOKENS.astype(np.uint8), LABELS
def next_tokens(split): return TOKENS, np.roll(TOKENS, -1, 1)
def masks(split): return {"input_ids": TOKENS, "attention_mask": MASK, "labels": None}, LABELS
def two(split): return (TABLE.astype(np.float32), SIGNALS), LABELS
def lists(split): return [torch.tensor(TABLE), torch.tensor(SIGNALS)], LABELS
def named(split): return Pair(TOKENS, TABLE), LABELS
def listed_examples(split): return [x for x in SIGNALS], [int(y) for y in LABELS]
def listed_targets(split): return SIGNALS, [y for y in TABLE]
def tensors(split): return torch.tensor(SIGNALS).bfloat16(), torch.tensor(LABELS, dtype=torch.int32)
def channels_first(split): return torch.tensor(IMAGES).permute(0, 3, 1, 2), LABELS
def label_maps(split): return IMAGES, np.where(MASK[:, :6, None], LABELS[:, None, None], 255).astype(np.uint8)
def void(split): return TABLE, np.where(LABELS == 1, -100, LABELS)
def values(split): return TABLE, TABLE.sum(1)
def sequences(split): return SIGNALS, SIGNALS.transpose(0, 2, 1)
def several_targets(split): return IMAGES, {"class": LABELS, "box": TABLE[:, :4]}
def waves(split): return SIGNALS[:, 0] * 1j, LABELS
def flags(split): return TABLE, LABELS == 1
def dataset(split): return TensorDataset(torch.tensor(SIGNALS), torch.tensor(LABELS))
def pairs(split):
    class Pairs(torch.utils.data.Dataset):
        def __len__(self): return 12
        def __getitem__(self, i): return {"a": TABLE[i], "b": TOKENS[i]}, int(LABELS[i])
    return Pairs()
def loader(split): return DataLoader(dataset(split), 5)
def shuffled(split): return DataLoader(dataset(split), 5, shuffle=True, drop_last=True)
"""


def kinds(tmp_path, monkeypatch):
    (tmp_path / "kinds.py").write_text(KINDS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("kinds", None)
    import kinds as module

    yield module
    sys.modules.pop("kinds", None)
