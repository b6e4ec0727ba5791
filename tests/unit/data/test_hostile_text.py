"""Text and tokens that are none are refused in one line, before memory is given to them."""

import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hostile import Call, complaint, refused

from landscape.data import load
from landscape.evaluation.evaluator import Evaluator

TEXT = b"The quick brown fox jumps over the lazy dog.\n" * 9


@pytest.fixture
def place(tmp_path):
    """A folder for data, from which nothing must run."""
    yield tmp_path
    assert not (tmp_path / "canary").exists()


def payload(path):
    return Call(os.system, f"touch {path.parent / 'canary'}")


def sparse(size, head=b""):
    def make(path):
        path.write_bytes(head)
        os.truncate(path, len(head) + size)

    return make


def folder(**files):
    """A folder with files, each of bytes or of what is done to its path."""

    def make(path):
        path.mkdir()
        for name, content in files.items():
            file = path / name.replace("_", ".")
            content(file) if callable(content) else file.write_bytes(content)

    return make


NO_TEXT = {
    "Latin-1": ("not UTF-8 at byte 0", "über".encode("latin-1") * 99),
    "UTF-16": ("not UTF-8 at byte 0", ("a" * 999).encode("utf-16")),
    "UTF-16 without a mark": ("zeros in it", ("a" * 999).encode("utf-16-le")),
    "zeros": ("zeros in it", bytes(999)),
    "halves of characters": ("not UTF-8", "a\ud800".encode("utf-8", "surrogatepass") * 99),
    "pickle": ("not UTF-8", pickle.dumps(list(range(99)))),
    "nothing": ("has 0 tokens", b""),
    "a mark alone": ("has 0 tokens", b"\xef\xbb\xbf"),
    "short": ("window 2 is the longest", b"hi"),
    "a terabyte": ("GiB of memory", sparse(2**40)),
    "pipe": ("there is no text", os.mkfifo),
    "zeros without end": ("there is no text", lambda path: path.symlink_to("/dev/zero")),
    "link to nothing": ("there is no text", lambda path: path.symlink_to("nowhere")),
    "link to itself": ("cannot read", lambda path: path.symlink_to(path.name)),
    "memory of a process": ("cannot read", lambda path: path.symlink_to("/proc/self/mem")),
    "empty folder": ("has no files", folder()),
    "hidden files": ("has no files", lambda path: (path.mkdir(), (path / ".a").write_bytes(TEXT))),
    "picture in it": ("not UTF-8", folder(a_txt=TEXT, b_png=b"\x89PNG\xff")),
    "pipe in it": ("a pipe", folder(a_txt=TEXT, b=os.mkfifo)),
    "link out of it": ("leads out", folder(a_txt=TEXT, b=lambda file: file.symlink_to("/etc/passwd"))),
    "empty split": ("has 0 tokens", folder(train_txt=b"", test_txt=TEXT)),
    "no such split": ("name one train", folder(test_txt=TEXT)),
}


@pytest.mark.parametrize("case", NO_TEXT)
def test_what_is_no_text_is_refused(place, case):
    words, content = NO_TEXT[case]
    content(place / "x") if callable(content) else (place / "x").write_bytes(content)
    assert words in complaint(load, f"text:{place / 'x'}", "train", window=32)


def test_the_mark_of_utf_8_is_no_text(place):
    (place / "x").write_bytes(TEXT)
    before = load(f"text:{place / 'x'}", "train", window=32)
    (place / "x").write_bytes(b"\xef\xbb\xbf" + TEXT)
    assert load(f"text:{place / 'x'}", "train", window=32).digest == before.digest


@pytest.mark.parametrize(
    "name", ["a\0b", "x" * 300, "x" * 5000, "~nobody/x", "text:x", "http://a/b", "\x1b[31m", "a\nb"]
)
def test_a_name_of_no_text_is_refused(place, monkeypatch, name):
    monkeypatch.chdir(place)
    complaint(load, f"text:{name}", "train", window=32)


@pytest.mark.parametrize("window", [0, 1, -1, 1.5, "32", True, float("nan"), 10**30])
def test_a_window_of_no_length_is_refused(place, window):
    (place / "x").write_bytes(TEXT)
    assert "window" in complaint(load, f"text:{place / 'x'}", "train", window=window)


@pytest.mark.parametrize("size", ["8", 1.5, float("nan"), -1, 10**9])
def test_a_size_of_no_pixels_is_refused(place, size):
    assert "size" in complaint(load, str(place), "train", size=size)


# Tables of texts and classes

ROWS = {
    "no label": ("'label'", "x.csv", "text\na\n"),
    "short row": ("None", "x.csv", "label,text\n1\n"),
    "long row": ("behind its columns", "x.csv", "text,label\na,1,b,c\n"),
    "unknown class": ("expected bad", "x.csv", "text,label\na,strange\n"),
    "negative class": ("expected bad", "x.csv", "text,label\na,-1\n"),
    "class of a float": ("expected bad", "x.csv", "text,label\na,1.0\n"),
    "class of any size": ("expected bad", "x.csv", f"text,label\na,{'9' * 30}\n"),
    "no rows": ("is empty", "x.csv", "text,label\n"),
    "long cell": ("field larger", "x.csv", f"text,label\n{'a' * 200_000},1\n"),
    "list": ("cannot read", "x.jsonl", "[1]\n"),
    "number": ("cannot read", "x.jsonl", "3\n"),
    "deep": ("recursion", "x.jsonl", "[" * 100_000),
    "no text": ("a text is None", "x.jsonl", '{"text": null, "label": 1}\n'),
    "text of a dict": ("a text is {", "x.jsonl", '{"text": {"a": 1}, "label": 1}\n'),
    "class of a truth value": ("expected bad", "x.jsonl", '{"text": "a", "label": true}\n'),
    "large class": ("expected bad", "x.jsonl", '{"text": "a", "label": 99999999999999999999}\n'),
    "another file": ("give a .csv", "x.txt", "a\n"),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    pytest.importorskip("transformers")
    from folders import classifier

    path = tmp_path_factory.mktemp("reader") / "bert"
    classifier(path)
    return path


@pytest.mark.parametrize("case", ROWS)
def test_a_table_without_texts_and_classes_is_refused(reader, place, case):
    words, name, content = ROWS[case]
    (place / name).write_text(content)
    assert words in complaint(load, f"text:{place / name}", "train", model=reader)


def test_lines_of_json_end_where_json_says(reader, place):
    (place / "x.jsonl").write_text('{"text": "a\u2028b", "label": 1}\n', encoding="utf-8")
    assert len(load(f"text:{place / 'x.jsonl'}", "train", model=reader).labels) == 1


# Tokens

IDS = np.arange(96).reshape(6, 16)
ONES = np.ones_like(IDS)


BYTES = IDS.tobytes()


def header(shape, dtype="'<i8'", tail=BYTES):
    """An array's file, whatever its header claims."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + tail


ARRAYS = {
    "negative": ("from 0", lambda path: IDS - 1),
    "void": ("from 0", lambda path: np.where(IDS == 3, -100, IDS)),
    "beyond all vocabularies": ("below 2^31", lambda path: IDS + 2**40),
    "beyond int64": ("below 2^31", lambda path: np.full((6, 16), 2**64 - 1, np.uint64)),
    "floats": ("expected integers", lambda path: IDS * 1.0),
    "complex": ("expected integers", lambda path: IDS * 1j),
    "truth values": ("expected integers", lambda path: IDS > 3),
    "words": ("expected integers", lambda path: IDS.astype(str)),
    "dates": ("expected integers", lambda path: IDS.astype("M8[s]")),
    "records": ("expected integers", lambda path: np.zeros(6, [("a", "<i8")])),
    "one number": ("expected tokens (n,)", lambda path: np.int64(3)),
    "three axes": ("expected tokens (n,)", lambda path: IDS.reshape(2, 3, 16)),
    "no rows": ("expected integers", lambda path: IDS[:0]),
    "objects": ("cannot read", lambda path: np.array([payload(path)] * 6)),
    "empty": ("cannot read", lambda path: b""),
    "pickle": ("cannot read", lambda path: pickle.dumps(payload(path))),
    "claims more": ("cannot read", lambda path: header((10**6, 10**6))),
    "claims less": ("more bytes", lambda path: header((2, 16))),
    "claims any number": ("cannot read", lambda path: header((2**62, 4))),
    "negative shape": ("cannot read", lambda path: header((-6, 16))),
    "code for a type": ("cannot read", lambda path: header((6, 16), "__import__('os').system('true')")),
    "objects by its header": ("cannot read", lambda path: header((6, 16), "'|O'")),
    "as large as it says": ("GiB of memory", lambda path: sparse(2**37, header((2**37,), "'|u1'", b""))),
    "zeros without end": ("no data", lambda path: lambda path: path.symlink_to("/dev/zero")),
    "pipe": ("no data", lambda path: os.mkfifo),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_what_are_no_tokens_is_refused(place, case):
    words, make = ARRAYS[case]
    made = make(path := place / "x.npy")
    if callable(made):
        made(path)
    elif isinstance(made, bytes):
        path.write_bytes(made)
    else:
        np.save(path, made)
    assert words in complaint(load, str(path), "train")


BESIDE = {
    "mask of an axis": ("attention_mask", {"attention_mask": ONES[:, 0]}),
    "mask of other tokens": ("attention_mask", {"attention_mask": ONES[:, :8]}),
    "mask of three axes": ("attention_mask", {"attention_mask": ONES[:, :, None]}),
    "mask of minus one": ("attention_mask", {"attention_mask": -ONES}),
    "mask of floats": ("expected integers", {"attention_mask": ONES * 1.0}),
    "fewer rows": ("of N rows", {"attention_mask": ONES[:4]}),
    "one label": ("of N rows", {"labels": np.int64(3)}),
    "labels of other tokens": ("labels (6, 8)", {"labels": IDS[:, :8]}),
    "labels beyond int64": ("below 2^31", {"labels": np.full((6, 16), 2**64 - 100, np.uint64)}),
    "two kinds of tokens": ("both tokens and input_ids", {"tokens": IDS.ravel()}),
    "splits in part": ("beside arrays of splits", {"train_input_ids": IDS}),
    "objects": ("Python objects", {"labels": np.array([None] * 6)}),
}


@pytest.mark.parametrize("case", BESIDE)
def test_what_does_not_go_with_tokens_is_refused(place, case):
    words, more = BESIDE[case]
    np.savez(place / "x.npz", input_ids=IDS, **more)
    assert words in complaint(load, str(place / "x.npz"), "train")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_arrays_of_one_name_is_refused(place):
    np.savez(place / "x.npz", input_ids=IDS)
    with zipfile.ZipFile(place / "x.npz", "a") as archive:
        archive.writestr("input_ids.npy", archive.read("input_ids.npy"))
    assert "two arrays of one name" in complaint(load, str(place / "x.npz"), "train")


# Of which it shows only beside a network that it is none of its tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("transformers")
    from folders import causal

    path = tmp_path_factory.mktemp("model") / "gpt2"
    causal(path)
    return path


UNLIKE = {
    "one token too high, late": ("index out of range", {"input_ids": np.where(IDS == 80, 300, IDS)}),
    "longer than it takes": ("index out of range", {"input_ids": np.arange(130).reshape(2, 65)}),
    "windows of one token": ("no target but -100", {"input_ids": IDS[:, :1]}),
    "all padding": ("no target but -100", {"input_ids": IDS, "attention_mask": 0 * ONES}),
    "misspelt": ("did you mean attention_mask", {"input_ids": IDS, "attention_masks": ONES}),
    "position beyond": ("index out of range", {"input_ids": IDS, "position_ids": 1000 * ONES}),
    "labels beyond": ("out of range", {"input_ids": IDS, "labels": IDS + 1000}),
}


@pytest.mark.parametrize("case", UNLIKE)
def test_tokens_that_a_network_does_not_have_are_refused(model, place, case):
    words, stored = UNLIKE[case]
    np.savez(place / "x.npz", **stored)
    assert words in complaint(lambda: Evaluator.from_checkpoint(model, data=str(place / "x.npz"))())


def test_a_command_refuses_them_and_leaves_nothing(model, place):
    (place / "x.txt").write_bytes(bytes(999))
    np.savez(place / "x.npz", input_ids=IDS, attention_masks=ONES)
    os.mkfifo(place / "pipe")
    for data in ("text:x.txt", "x.npz", "text:pipe", "text:/dev/zero"):
        refused("surface", model, "out.h5", "--data", data, "--x", 0, 1, 2, folder=place)
