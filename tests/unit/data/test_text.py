"""Text as data: files in order, splits by their names, read as a folder's network reads; what is no text is named."""

import json
import os
import platform
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape.data import VOID, load, load_for_training
from landscape.errors import BadInput

pytest.importorskip("transformers")

from folders import TEXT, causal, classifier, masked


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a causal and a masked language model, and of a classifier."""
    home = tmp_path_factory.mktemp("models")
    for make in (causal, masked, classifier):
        make(home / make.__name__)
    return home


@pytest.fixture
def file(tmp_path):
    (tmp_path / "fox.txt").write_text(TEXT, encoding="utf-8")
    return f"text:{tmp_path / 'fox.txt'}"


def as_bytes(data):
    return data.images.to(torch.uint8).numpy().tobytes()


def test_the_standard_library_is_text_that_needs_no_download():
    data = load("stdlib", "train", window=128)
    assert data.classes == 256 and data.images.dtype == data.labels.dtype == torch.int64
    assert platform.python_version() in data.inputs and "128" in data.inputs


def test_every_tenth_file_of_the_standard_library_is_for_testing():
    parts = {split: as_bytes(load("stdlib", split, window=16)) for split in ("train", "test")}
    assert 0.05 < len(parts["test"]) / sum(map(len, parts.values())) < 0.2
    for name in ("os.py", "ast.py", "argparse.py", "tokenize.py", "typing.py"):
        source = (Path(os.__file__).parent / name).read_bytes()
        assert sum(source[:-32] in part for part in parts.values()) == 1


def test_some_windows_are_those_among_all():
    whole, some = load("stdlib", "test", window=64), load("stdlib", "test", window=64, examples=5, seed=3)
    more = load("stdlib", "test", window=64, examples=9, seed=3)
    assert torch.equal(more.images[:5], some.images)
    assert all((whole.images == window).all(1).any() for window in some.images)


def test_a_file_is_bytes_without_a_model(file):
    data = load(file, "train", window=50)
    assert as_bytes(data) == TEXT.encode()[: len(TEXT.encode()) // 50 * 50]
    assert data.name == "fox.txt" and data.split == "all"  # whichever is asked for


def test_a_file_is_tokens_of_a_models_own_tokenizer(file, models):
    from transformers import AutoTokenizer

    data = load(file, "test", window=32, model=models / "causal")
    own = AutoTokenizer.from_pretrained(models / "causal")(TEXT, add_special_tokens=False)["input_ids"]
    assert data.images.flatten().tolist() == own[: len(own) // 32 * 32]
    assert torch.equal(data.labels[:, :-1], data.images[:, 1:]) and (data.labels[:, -1] == VOID).all()


def test_a_window_is_by_default_as_long_as_the_model_takes(file, models):
    assert load(file, "train", model=models / "causal").images.shape[1] == 64
    assert load(file, "train").images.shape[1] == 256


def test_files_of_a_folder_are_joined_in_order_by_the_token_that_ends_a_text(tmp_path, models):
    from transformers import AutoTokenizer

    for name, text in {"b.md": "two words", "a.txt": "one", "sub/c.py": "three = 3"}.items():
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_text(text)
    (tmp_path / "texts" / ".hidden").write_bytes(b"\xff")
    tokenizer = AutoTokenizer.from_pretrained(models / "causal")
    one, two, three = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("one", "two words", "three = 3"))
    expected = [*one, tokenizer.eos_token_id, *two, tokenizer.eos_token_id, *three]
    data = load(f"text:{tmp_path / 'texts'}", "train", window=len(expected), model=models / "causal")
    assert data.images.tolist() == [expected] and data.split == "all"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.txt", "test.txt"),
        ("train/a.txt", "valid/b.txt"),
        ("wiki.train.tokens", "wiki.val.tokens"),
        ("train-00000-of-00002.txt", "dev.md"),
    ],
)
def test_splits_are_found_by_their_names(tmp_path, train, test):
    for name, text in {train: "a" * 40, test: "b" * 40, "README.md": "c" * 40}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    read = [load(f"text:{tmp_path}", split, window=20) for split in ("train", "test")]
    assert [as_bytes(data) for data in read] == [b"a" * 40, b"b" * 40]
    assert [data.split for data in read] == ["train", "test"]


def test_text_without_splits_is_not_trained_on_and_tested_on_the_same(file):
    with pytest.raises(BadInput, match="has no test split; give a folder with"):
        load_for_training(file, window=32)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_a_table_is_texts_and_their_classes(tmp_path, models, ending):
    rows = [("a fine, long, day and more of them", "good"), ("no", "bad"), ("hm", "1")]
    path = tmp_path / f"reviews.{ending}"
    if ending == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    else:
        comma = {"csv": ",", "tsv": "\t"}[ending]
        path.write_text("\n".join([f"label{comma}text", *(f'{label}{comma}"{text}"' for text, label in rows)]))
    data = load(f"text:{path}", "train", model=models / "classifier")
    assert data.labels.tolist() == [2, 0, 1] and data.classes == 3
    longest = data.images["attention_mask"].sum(1)
    assert longest.max() == data.images["input_ids"].shape[1] and longest[1] < longest[0]
    assert (data.images["input_ids"][data.images["attention_mask"] == 0] == 1).all()  # the token for padding


def refused(tmp_path, models, case):
    """The name of data that cannot be read, and how they are loaded."""
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "a.txt"
    file.write_text("some words " * 40)
    if case == "no such":
        return tmp_path / "none.txt", {}
    if case == "empty":
        file.write_text("")
    elif case == "empty folder":
        file.unlink()
        return folder, {}
    elif case == "not UTF-8":
        file.write_bytes("häuser".encode("latin-1"))
    elif case == "pipe":
        os.mkfifo(folder / "b.txt")
        return folder, {}
    elif case == "pipe alone":
        os.mkfifo(tmp_path / "b.txt")
        return tmp_path / "b.txt", {}
    elif case == "link":
        (tmp_path / "secret").write_text("x" * 400)
        (folder / "b.txt").symlink_to(tmp_path / "secret")
        return folder, {}
    elif case == "no test":
        file.rename(folder / "train.txt")
        return folder, {"split": "test"}
    elif case == "a size":
        return file, {"size": 3}
    elif case == "text for a classifier":
        return file, {"model": models / "classifier"}
    elif case == "another label":
        (folder / "a.csv").write_text("text,label\nfine,god\n")
        return folder / "a.csv", {"model": models / "classifier"}
    elif case == "no label":
        (folder / "a.csv").write_text("text,class\nfine,good\n")
        return folder / "a.csv", {"model": models / "classifier"}
    elif case == "too long":
        return file, {"model": models / "causal", "window": 65}
    elif case == "seq2seq":
        (folder / "config.json").write_text('{"architectures": ["T5Model"], "is_encoder_decoder": true}')
        return file, {"model": folder}
    elif case == "no tokenizer":
        (folder / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "vocab_size": 50257}')
        return file, {"model": folder}
    elif case == "broken config":
        (folder / "config.json").write_text('{"architectures": [')
        return file, {"model": folder}
    return file, {}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no such", "there is no text"),
        ("empty", "has 0 tokens, which are no window of 256; give a longer text"),
        ("empty folder", "has no files"),
        ("not UTF-8", "is not UTF-8 at byte 1"),
        ("pipe", "is no file of text"),
        ("pipe alone", "there is no text"),
        ("link", "a link that leads out"),
        ("no test", "has no file or folder for the test split"),
        ("a size", "only images are resized"),
        ("text for a classifier", r"give a \.csv, \.tsv, \.jsonl"),
        ("another label", "did you mean good"),
        ("no label", "give a table with the columns text and label"),
        ("too long", "is made for 64 tokens"),
        ("seq2seq", "reads one text and writes another; give its data as package.module:function"),
        ("no tokenizer", "has 50257 tokens, which are no bytes, and no tokenizer"),
        ("broken config", "config.json"),
    ],
)
def test_what_is_no_text_is_one_line(tmp_path, models, case, message):
    path, how = refused(tmp_path, models, case)
    with pytest.raises(BadInput, match=message) as error:
        load(f"text:{path}", how.pop("split", "train"), **how)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("stdlib", {"window": 10**9}, "are no window of 1000000000; window [0-9]+ is the longest that fits"),
        ("stdlib", {"window": 1}, "expected 2 tokens or more"),
        ("stdlib", {"size": 8}, "only images are resized"),
        ("stdlib", {"standardize": True}, "cannot be standardised"),
        ("digits", {"window": 8}, "digits is no text"),
    ],
)
def test_what_does_not_fit_text_is_one_line(name, how, message):
    with pytest.raises(BadInput, match=message) as error:
        load(name, "test", **how)
    assert "\n" not in str(error.value)


def test_masked_text_begins_and_ends_as_the_model_was_trained(file, models):
    data = load(file, "train", window=32, model=models / "masked")
    assert (data.images[:, 0] == 3).all() and (data.images[:, -1] == 4).all()
    counted = data.labels != VOID
    assert (counted.sum(1) == round(0.15 * 30)).all()
    assert (data.images[counted] == 2).all() and not (data.images[~counted] == 2).any()
    whole = torch.where(counted, data.labels, data.images)[:, 1:-1]
    plain = load(file, "train", window=30, model=models / "causal").images
    assert torch.equal(whole, plain)


def test_which_positions_are_masked_depends_on_seed_and_window_alone(file, models):
    how = {"window": 16, "model": models / "masked"}
    whole, other = load(file, "train", **how), load(file, "train", seed=1, **how)
    some = load(file, "train", examples=4, **how)
    assert not torch.equal(whole.labels, other.labels)
    for inputs, targets in zip(some.images, some.labels, strict=True):
        (at,) = np.flatnonzero((whole.images == inputs).all(1))
        assert torch.equal(whole.labels[at], targets)


def test_which_positions_are_masked_does_not_depend_on_the_windows_that_follow(tmp_path, models):
    how = {"window": 16, "model": models / "masked"}
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.txt").write_text(TEXT + TEXT, encoding="utf-8")
    short, long = (load(f"text:{tmp_path / name}", "train", **how).labels for name in ("a.txt", "b.txt"))
    assert len(short) > 10 and torch.equal(short[:-1], long[: len(short) - 1])
