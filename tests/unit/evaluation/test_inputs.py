"""Nothing is done to inputs that was not asked for; what is done is said, recorded, and compared."""

import pickle
import sys

import numpy as np
import pytest
import torch
from input_kinds import kinds, own

from landscape import data as datasets
from landscape.errors import BadInput
from landscape.evaluation.evaluator import _data
from landscape.nested import mapped

own = pytest.fixture(own)
kinds = pytest.fixture(kinds)


# Training


def test_known_data_are_standardised_for_a_training_unless_that_is_not_wanted():
    ours, left = (datasets.load_for_training("digits", standardize=asked) for asked in (None, False))
    assert ours[0].mean == ours[1].mean and ours[0].images.mean().abs() < 1e-6
    assert not left[0].mean and left[0].images.min() == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_labels": np.zeros(24, int), "test_labels": np.zeros(12, int)}, "all training labels are 0"),
        ({"test_labels": np.arange(12) % 5}, "a test label is 4; expected 0 to 2 as in training"),
        ({"train_labels": np.ones(24)}, "the train split has no class for each example"),
        ({"test_labels": np.zeros((12, 2), int)}, "the test split has no class for each example"),
        ({"train_labels": np.full(24, -100)}, "no class for each example"),
        ({"train_labels": np.where(np.arange(24) == 3, -100, np.arange(24) % 3)}, "class -100, void"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(own, tmp_path, changes, words):
    np.savez(tmp_path / "own.npz", **{**own, **changes})
    with pytest.raises(BadInput, match=words):
        datasets.load_for_training(str(tmp_path / "own.npz"))


# Of other kinds than images: as a function or a file gives them, so they are measured


def equal(there, expected):
    """The same structure of the same numbers, in float32, int64, bool or complex64."""
    if isinstance(expected, dict):
        assert isinstance(there, dict) and there.keys() == expected.keys()
        return all(equal(there[name], expected[name]) for name in expected)
    if isinstance(expected, tuple | list):
        assert type(there) is type(expected) and len(there) == len(expected)
        return all(map(equal, there, expected))
    if expected is None:
        return there is None
    array = np.asarray(expected)
    dtype = {"f": np.float32, "i": np.int64, "b": np.bool_, "c": np.complex64}[array.dtype.kind]
    return there.numpy().dtype == dtype and np.array_equal(there.numpy(), array.astype(dtype))


@pytest.mark.parametrize("order", [None, 5])
@pytest.mark.parametrize(
    ("name", "inputs", "targets", "classes"),
    [
        ("signals", lambda k: k.SIGNALS, lambda k: k.LABELS, 3),
        ("table", lambda k: k.TABLE, lambda k: k.LABELS, 3),
        ("tokens", lambda k: k.TOKENS, lambda k: k.LABELS, 3),
        ("small_tokens", lambda k: k.TOKENS, lambda k: k.LABELS, 3),
        ("next_tokens", lambda k: k.TOKENS, lambda k: np.roll(k.TOKENS, -1, 1), 9),
        ("masks", lambda k: {"input_ids": k.TOKENS, "attention_mask": k.MASK, "labels": None}, lambda k: k.LABELS, 3),
        ("two", lambda k: (k.TABLE, k.SIGNALS), lambda k: k.LABELS, 3),
        ("lists", lambda k: [k.TABLE, k.SIGNALS], lambda k: k.LABELS, 3),
        ("named", lambda k: k.Pair(k.TOKENS, k.TABLE), lambda k: k.LABELS, 3),
        ("listed_examples", lambda k: k.SIGNALS, lambda k: k.LABELS, 3),
        ("listed_targets", lambda k: k.SIGNALS, lambda k: k.TABLE, None),
        ("tensors", lambda k: torch.tensor(k.SIGNALS).bfloat16().float().numpy(), lambda k: k.LABELS, 3),
        ("channels_first", lambda k: k.IMAGES.transpose(0, 3, 1, 2).astype(np.float32) / 255, lambda k: k.LABELS, 3),
        (
            "label_maps",
            lambda k: k.IMAGES.transpose(0, 3, 1, 2).astype(np.float32) / 255,
            lambda k: np.where(k.MASK[:, :6, None], k.LABELS[:, None, None], 255),
            3,
        ),
        ("void", lambda k: k.TABLE, lambda k: np.where(k.LABELS == 1, -100, k.LABELS), 3),
        ("values", lambda k: k.TABLE, lambda k: k.TABLE.sum(1), None),
        ("sequences", lambda k: k.SIGNALS, lambda k: k.SIGNALS.transpose(0, 2, 1), None),
        (
            "several_targets",
            lambda k: k.IMAGES.transpose(0, 3, 1, 2).astype(np.float32) / 255,
            lambda k: {"class": k.LABELS, "box": k.TABLE[:, :4]},
            None,
        ),
        ("waves", lambda k: k.SIGNALS[:, 0] * 1j, lambda k: k.LABELS, 3),
        ("flags", lambda k: k.TABLE, lambda k: (k.LABELS == 1).astype(int), 2),
        ("dataset", lambda k: k.SIGNALS, lambda k: k.LABELS, 3),
        ("pairs", lambda k: {"a": k.TABLE, "b": k.TOKENS}, lambda k: k.LABELS, 3),
        ("loader", lambda k: k.SIGNALS, lambda k: k.LABELS, 3),
        ("shuffled", lambda k: k.SIGNALS, lambda k: k.LABELS, 3),
    ],
)
def test_data_of_every_kind_are_what_the_function_gave(kinds, name, inputs, targets, classes, order):
    data = datasets.load(f"kinds:{name}", "test", examples=order)
    index = (
        datasets.stratified_order(datasets.load(f"kinds:{name}", "test").labels, 0)[:order] if order else slice(None)
    )

    def chosen(value):
        if isinstance(value, dict):
            return {key: chosen(part) for key, part in value.items()}
        if isinstance(value, tuple | list):
            return type(value)(*map(chosen, value)) if hasattr(value, "_fields") else type(value)(map(chosen, value))
        return None if value is None else value[index]

    assert equal(data.images, chosen(inputs(kinds))) and equal(data.labels, chosen(targets(kinds)))
    assert data.classes == classes
    rows = sum(len(part if not isinstance(part, dict) else part["class"]) for _, part in datasets.batches(data, 5))
    assert rows == (order or 12)
    assert data.digest == datasets.load(f"kinds:{name}", "test", examples=order).digest


def test_rounding_is_said(kinds):
    assert datasets.load("kinds:table", "test").inputs == "as they are, rounded to float32"
    assert datasets.load("kinds:signals", "test").inputs == "as they are"
    assert datasets.load("kinds:label_maps", "test").inputs == "8-bit images as [0, 1]"
    assert datasets.load("kinds:pairs", "test").inputs == "as they are, rounded to float32"


def test_signals_and_tables_are_standardised_by_channel_and_column_if_asked(kinds):
    for name, array, axes in (("signals", kinds.SIGNALS, (0, 2)), ("table", kinds.TABLE, (0,))):
        data = datasets.load(f"kinds:{name}", "test", standardize=True)
        mean, std = (f(axes, keepdims=True) for f in (array.astype(np.float64).mean, array.astype(np.float64).std))
        np.testing.assert_allclose(data.images, (array - mean) / std, atol=1e-5)
    assert data.inputs.startswith("rounded to float32, standardised by mean ") and data.inputs.endswith(" …")


@pytest.mark.parametrize("name", ["tokens", "masks", "two", "named"])
def test_what_has_no_channels_is_not_standardised(kinds, name):
    with pytest.raises(BadInput, match=f"kinds:{name} has (several )?inputs"):
        datasets.load(f"kinds:{name}", "test", standardize=True)


def test_several_inputs_and_targets_come_from_a_file(kinds, tmp_path):
    arrays = {"test_inputs.ids": kinds.TOKENS, "test_inputs.mask": kinds.MASK, "test_targets": kinds.TOKENS}
    np.savez(tmp_path / "a.npz", **arrays)
    data = datasets.load(str(tmp_path / "a.npz"), "test")
    assert equal(data.images, {"ids": kinds.TOKENS, "mask": kinds.MASK}) and equal(data.labels, kinds.TOKENS)
    np.savez(tmp_path / "b.npz", **{name.replace("ids", "idz"): array for name, array in arrays.items()})
    assert datasets.load(str(tmp_path / "b.npz"), "test").digest != data.digest
    with pytest.raises(BadInput, match=r"no array train_inputs or train_images; it has test_inputs.ids"):
        datasets.load(str(tmp_path / "a.npz"), "train")
    np.savez(tmp_path / "a.npz", **{**arrays, "test_inputs.mask": kinds.MASK[:3]})
    with pytest.raises(BadInput, match=r"12 test_inputs.ids and 3 test_inputs.mask"):
        datasets.load(str(tmp_path / "a.npz"), "test")


BROKEN = """
import numpy as np, torch
from torch.utils.data import DataLoader, TensorDataset

X, Y = np.zeros((6, 4), np.float32), np.arange(6) % 2
def nothing(split): return None
def one(split): return X
def three(split): return X, Y, Y
def words(split): return np.array(["a"] * 6), Y
def objects(split): return X, np.array([object()] * 6)
def none(split): return X, None
def uneven(split): return (X, X[:3]), Y
def fewer(split): return X, {"a": Y, "b": Y[:2]}
def ragged(split): return [[1, 2], [3]], [0, 1]
def bytes_of_films(split): return np.zeros((6, 2, 3, 4, 4), np.uint8), Y
def one_number(split): return X, 3
def triples(split): return TensorDataset(*map(torch.tensor, (X, Y, Y)))
def dicts(split): return DataLoader([{"x": 1.0, "y": 2}] * 6)
def of_no_length(split): return DataLoader(TensorDataset(torch.zeros(0, 3), torch.zeros(0)))
def raises(split): raise RuntimeError("two\\nlines")
"""


@pytest.mark.parametrize("name", [line[4:].split("(")[0] for line in BROKEN.splitlines() if line.startswith("def")])
def test_what_is_no_data_is_refused_in_one_line(tmp_path, monkeypatch, name):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("broken", None)
    with pytest.raises(BadInput) as caught:
        datasets.load(f"broken:{name}", "test")
    assert "\n" not in str(caught.value) and f"broken:{name}" in str(caught.value)
    sys.modules.pop("broken", None)


@pytest.mark.parametrize("name", ["masks", "two", "named", "several_targets", "tokens"])
def test_structures_survive_being_shared_between_ranks(kinds, name, monkeypatch):
    """Ranks share arrays; their structure travels beside them."""
    monkeypatch.setattr(
        "landscape.evaluation.evaluator.load_once_per_node", lambda _, make: pickle.loads(pickle.dumps(make()))
    )
    shared = _data(f"kinds:{name}", "test", {"seed": 3}, in_order=True, comm=None)
    alone = datasets.load(f"kinds:{name}", "test")
    order = datasets.stratified_order(alone.labels, 3)
    for result, expected in ((shared.images, alone.images), (shared.labels, alone.labels)):
        expected = mapped(lambda tensor: tensor[order], expected)
        assert equal(result, mapped(lambda tensor: tensor.numpy(), expected))
