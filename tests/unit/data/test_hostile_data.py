"""Data run nothing, and what is damaged, cut off or no data at all is refused in one line."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from hostile import Call, bounded, complaint, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.data import load
from landscape.errors import BadInput
from landscape.networks import build


@pytest.fixture
def canary(tmp_path):
    """A file that payloads would make; it must not be there in the end."""
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def arrays(**changes):
    """What is in a sound .npz file of six and four images in two classes, but for these changes."""
    sound = {
        "train_images": np.arange(6 * 25, dtype=np.uint8).reshape(6, 5, 5),
        "train_labels": np.arange(6) % 2,
        "test_images": np.arange(4 * 25, dtype=np.uint8).reshape(4, 5, 5),
        "test_labels": np.arange(4) % 2,
    }
    return {name: value for name, value in {**sound, **changes}.items() if value is not None}


def bytes_of(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=True)
    return stream.getvalue()


def npz(path, kind=zipfile.ZIP_STORED, more=None, **changes):
    """An .npz file; a value of bytes is written as it is."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, value in {**arrays(**changes)}.items():
            archive.writestr(f"{name}.npy", value if isinstance(value, bytes) else bytes_of(value))
        for name, value in (more or {}).items():
            archive.writestr(name, value)
    return path


def header(shape, dtype="'|u1'", order=False, version=(1, 0), tail=b""):
    """The beginning of an array's file, whatever it claims."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + tail


PIXELS = bytes(6 * 25)
IMAGES = {
    "objects": lambda canary: np.array([Call(os.system, f"touch {canary}")] * 6),
    "words": lambda canary: np.full((6, 5, 5), "a"),
    "five dimensions": lambda canary: np.zeros((6, 1, 5, 5, 1), np.uint8),
    "no dimension": lambda canary: np.uint8(3),
    "channels": lambda canary: np.zeros((6, 5, 5, 4), np.uint8),
    "one nan": lambda canary: np.where(np.arange(150).reshape(6, 1, 5, 5) == 77, np.nan, 0.5),
    "infinite": lambda canary: np.full((6, 1, 5, 5), -np.inf),
    "too large for float32": lambda canary: np.full((6, 1, 5, 5), 1e300),
    "no images": lambda canary: np.zeros((0, 5, 5), np.uint8),
    "no pixels": lambda canary: np.zeros((6, 0, 5), np.uint8),
    "fewer": lambda canary: np.zeros((5, 5, 5), np.uint8),
    "more": lambda canary: np.zeros((7, 5, 5), np.uint8),
    "pickle": lambda canary: pickle.dumps(Call(os.system, f"touch {canary}")),
    "empty": lambda canary: b"",
    "text": lambda canary: b"hello",
    "claims more": lambda canary: header((6, 10**6, 10**6), tail=PIXELS),
    "claims less": lambda canary: header((6, 2, 2), tail=PIXELS),
    "missing": lambda canary: None,
}


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_are_none_are_refused(canary, tmp_path, case):
    path = npz(tmp_path / "a.npz", train_images=IMAGES[case](canary))
    complaint(load, str(path), "train")
    complaint(load, str(path), "test", standardize=True)
    assert len(load(str(path), "test").images) == 4  # it has nothing to do with the other split


LABELS = {
    "objects": lambda canary: np.array([Call(os.system, f"touch {canary}")] * 6),
    "negative": lambda canary: np.array([0, 1, 0, 1, 0, -1]),
    "words": lambda canary: np.array(["cat"] * 6),
    "nan": lambda canary: np.full(6, np.nan),
    "fewer": lambda canary: np.arange(5) % 2,
    "more": lambda canary: np.arange(7) % 2,
    "none": lambda canary: np.zeros(0, int),
    "missing": lambda canary: None,
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_none_are_refused(canary, tmp_path, case, split):
    labels = LABELS[case](canary)
    if split == "test" and labels is not None and labels.ndim:
        labels = labels[2:]
    complaint(load, str(npz(tmp_path / "a.npz", **{f"{split}_labels": labels})), split)


FILES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Call(os.system, "true"))),
    "one array": lambda path: path.write_bytes(bytes_of(np.zeros(3))),
    "no arrays": lambda path: zipfile.ZipFile(path, "w").close(),
    "truncated": lambda path: path.write_bytes(npz(path).read_bytes()[:-30]),
    "half": lambda path: path.write_bytes(npz(path).read_bytes()[:700]),
    "folder": lambda path: path.mkdir(),
    "nothing": lambda path: None,
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_npz_is_refused(tmp_path, case):
    FILES[case](path := tmp_path / "a.npz")
    complaint(load, str(path), "train")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_compress_are_read(tmp_path, kind):
    assert len(load(str(npz(tmp_path / "a.npz", kind)), "train").labels) == 6


# Folders


def picture(kind, size=(5, 5), **options):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


PICTURES = {
    "empty": b"",
    "text": b"hello\n",
    "pickle": pickle.dumps([1]),
    "gif": picture("GIF"),
    "tiff": picture("TIFF"),
    "truncated jpeg": picture("JPEG", (50, 50))[:300],
    "truncated png": picture("PNG", (50, 50))[:300],
    "jpeg alone": b"\xff\xd8\xff",
    "png of another size": picture("PNG", (7, 5)),
}


@pytest.fixture
def folder(tmp_path):
    """A folder of six images in two classes."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "data" / split / name
            place.mkdir(parents=True)
            for number in range(2):
                (place / f"{number}.png").write_bytes(picture("PNG"))
    return tmp_path / "data"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", [".png", ".JPG"])
@pytest.mark.parametrize("case", PICTURES)
def test_an_image_that_is_none_is_named(folder, monkeypatch, case, suffix):
    monkeypatch.chdir(folder)
    broken = folder / "train" / "dog" / f"z{suffix}"
    broken.write_bytes(PICTURES[case])
    assert str(broken) in complaint(load, str(folder), "train")
    if case != "png of another size":
        assert str(broken) in complaint(load, str(folder), "train", size=8)


def test_an_image_that_may_not_be_read_is_named(folder, monkeypatch):
    def forbidden(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("PIL.Image.open", forbidden)
    assert "Permission denied" in complaint(load, str(folder), "train")


def moved(folder, old, new):
    (folder / old).rename(folder / new)


FOLDERS = {
    "no train": lambda f: moved(f, "train", "training"),
    "train is a file": lambda f: (moved(f, "train", "old"), (f / "train").touch()),
    "no classes": lambda f: [moved(f, f"{s}/{c}", f"{s}-{c}") for s in ("train", "test") for c in ("cat", "dog")],
    "other classes": lambda f: moved(f, "test/dog", "test/cow"),
    "more classes": lambda f: (f / "test" / "cow").mkdir(),
    "an empty class": lambda f: [(f / s / "cow").mkdir() for s in ("train", "test")],
    "a line end": lambda f: (f / "test" / "a\n\x1b[31mb").mkdir(),
    "no UTF-8": lambda f: (f / "test" / os.fsdecode(b"\xff\xfe")).mkdir(),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_no_data_set_is_refused(folder, case):
    FOLDERS[case](folder)
    complaint(load, str(folder), "train")


@pytest.mark.parametrize("name", ["a\nb.png", "\x1b]0;title\x07.png", "\u202egnp.png"])
def test_a_name_does_not_reach_the_terminal_raw(folder, tmp_path, name):
    (folder / "train" / "cat" / name).write_text("no image")
    torch.manual_seed(0)
    small = {"depth": 8, "width": 2}
    save(Checkpoint("resnet", small, build("resnet", **small, classes=2).state_dict()), tmp_path / "net.pt")
    arguments = ("net.pt", "out.h5", "--data", "data", "--split", "train")
    assert "cannot read data/train/cat" in refused("surface", *arguments, folder=tmp_path)


def test_a_link_to_an_outer_folder_is_followed_once(folder):
    """Classes are one level: whatever they link to, nobody walks on from there."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (folder / split / name / "up").symlink_to(folder)
    assert len(load(str(folder), "train").labels) == 4


def test_a_cache_that_old_torchvisions_unpickle_is_not_opened(tmp_path):
    cache = tmp_path / "FashionMNIST" / "processed"
    cache.mkdir(parents=True)
    for name in ("training.pt", "test.pt"):
        torch.save(Call(os.system, f"touch {tmp_path}/canary"), cache / name)
    assert "old torchvision" in complaint(load, "fashionmnist", "train", root=tmp_path)
    assert not (tmp_path / "canary").exists()


NAMES = ["", "\x00", "a\x00b", "\udcff", "/", ".", "/dev/zero", "/dev/null", "os", "os:", ":system", "é☃"]
NAMES += ["\x1b[31m", "a\nb", "nan", "digits ", "../digits", "~", "~nobody/x", "a:b:c", "__main__:nothing", "x.npz:y"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_no_data_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    complaint(load, name, "train")


# Damage


@pytest.mark.parametrize("kind", ["png", "jpg", "npz"])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
@pytest.mark.slow
def test_a_damaged_file_is_read_or_refused_but_never_a_crash(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("damaged")
    if kind == "npz":
        target = npz(path / "a.npz", data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])))
    else:
        for split in ("train", "test"):
            for name in ("cat", "dog"):
                (path / split / name).mkdir(parents=True)
                (path / split / name / "a.png").write_bytes(picture("PNG"))
        target = path / "train" / "cat" / f"b.{kind}"
        target.write_bytes(picture({"png": "PNG", "jpg": "JPEG"}[kind]))
    raw = bytearray(target.read_bytes())
    for _ in range(data.draw(st.integers(0, 4), "bytes")):
        raw[data.draw(st.integers(0, len(raw) - 1), "place")] = data.draw(st.integers(0, 255), "value")
    target.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.none(), "length")])
    try:
        with bounded():
            assert load(str(target if kind == "npz" else path), "train").images.isfinite().all()
    except BadInput:
        pass
