"""Tokens as examples: windows of a text, rows of arrays, and what is to be predicted of them."""

import numpy as np
import pytest
import torch

from landscape.data import VOID, load
from landscape.data.tokens import windows
from landscape.errors import BadInput

IDS = np.arange(24).reshape(4, 6) + 1


def test_targets_are_the_next_tokens_and_the_last_one_is_void():
    split = windows(np.arange(10, 21), 5, 30, "x", "numbers")
    assert split.inputs(torch.arange(2)).tolist() == [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]  # the rest left out
    assert split.targets.tolist() == [[11, 12, 13, 14, VOID], [16, 17, 18, 19, VOID]]


@pytest.mark.parametrize("vocabulary", [256, 40_000, 200_000])  # bytes, and what needs more than 16 bits
def test_tokens_of_a_large_vocabulary_are_kept(vocabulary):
    tokens = np.linspace(0, vocabulary - 1, 64).astype(np.int64)
    split = windows(tokens, 32, vocabulary, "x", "numbers")
    assert split.inputs(torch.arange(2)).flatten().tolist() == tokens.tolist()
    assert split.targets[0, 0] == tokens[1]


@pytest.mark.parametrize("prefix", ["", "text:"])
def test_arrays_are_cut_or_taken_as_they_are(tmp_path, prefix):
    np.save(tmp_path / "flat.npy", np.arange(25, dtype=np.uint16))
    np.save(tmp_path / "rows.npy", IDS.astype(np.int32))
    np.savez(tmp_path / "flat.npz", tokens=np.arange(25))
    np.savez(tmp_path / "rows.npz", input_ids=IDS)
    for name in ("flat.npy", "flat.npz"):
        assert load(f"{prefix}{tmp_path / name}", "train", window=6).images.tolist() == (IDS - 1).tolist()
    for name in ("rows.npy", "rows.npz"):
        data = load(f"{prefix}{tmp_path / name}", "test")
        assert data.images.tolist() == IDS.tolist() and data.split == "all"
        assert data.labels[0].tolist() == [2, 3, 4, 5, 6, VOID]


def test_an_archive_may_have_splits(tmp_path):
    np.savez(tmp_path / "x.npz", train_input_ids=IDS, test_input_ids=IDS[:2] + 1)
    assert load(str(tmp_path / "x.npz"), "test").images.tolist() == (IDS[:2] + 1).tolist()


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_is_void_and_passed_on(tmp_path, side):
    mask = np.ones_like(IDS)
    mask[0, 4:] = mask[3, 2:] = 0
    mask = mask if side == "right" else mask[:, ::-1]
    np.savez(tmp_path / "x.npz", input_ids=IDS, attention_mask=mask)
    data = load(str(tmp_path / "x.npz"), "train")
    assert data.images["attention_mask"].tolist() == mask.tolist()
    for row in range(4):
        for place in range(6):
            both = place < 5 and mask[row, place] and mask[row, place + 1]
            assert data.labels[row, place] == (IDS[row, place + 1] if both else VOID)


def test_labels_are_each_tokens_own_or_classes(tmp_path):
    labels = np.where(IDS % 3, IDS, VOID)
    np.savez(tmp_path / "x.npz", input_ids=IDS, labels=labels)
    np.savez(tmp_path / "y.npz", input_ids=IDS, labels=np.array([0, 1, 2, 1]))
    assert load(str(tmp_path / "x.npz"), "train").labels[:, :-1].tolist() == labels[:, 1:].tolist()
    data = load(str(tmp_path / "y.npz"), "train", examples=3)
    assert sorted(data.labels.tolist()) == [0, 1, 2] and data.classes == 3


def broken(path, case):
    if case == "objects":
        np.save(path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif case == "cut short":
        np.save(path / "x.npy", IDS)
        (path / "x.npy").write_bytes((path / "x.npy").read_bytes()[:-8])
    elif case == "floats":
        np.save(path / "x.npy", IDS * 0.5)
    elif case == "negative":
        np.save(path / "x.npy", IDS - 5)
    elif case == "three axes":
        np.save(path / "x.npy", IDS.reshape(2, 2, 6))
    elif case in ("another window", "short"):
        np.save(path / "x.npy", IDS if case == "another window" else np.arange(5))
    elif case == "other rows":
        np.savez(path / "x.npz", input_ids=IDS, attention_mask=np.ones((3, 6), int))
        return path / "x.npz"
    return path / "x.npy"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("objects", "cannot read"),
        ("cut short", "cannot read"),
        ("floats", "expected integers"),
        ("negative", "expected numbers from 0"),
        ("three axes", r"expected tokens \(n,\) alone, or input_ids \(N, T\)"),
        ("another window", "has examples of 6 tokens; leave it out"),
        ("short", "has 5 tokens, which are no window of 8; window 5 is the longest that fits"),
        ("other rows", "and others of N rows"),
    ],
)
def test_what_are_no_tokens_is_one_line(tmp_path, case, message):
    with pytest.raises(BadInput, match=message) as error:
        load(str(broken(tmp_path, case)), "train", window=8 if case in ("another window", "short") else None)
    assert "\n" not in str(error.value)
