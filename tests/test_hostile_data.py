"""Data from a stranger run nothing, fill no memory, and are taken or refused in one line."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
import torch
from conftest import ENVIRONMENT, ROOT
from hostile import Call, bounded, complaint, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from landscape.checkpoint import Checkpoint, save
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
    "objects of one number": lambda canary: np.array([1, "a", None, 2, 3, 4], object),
    "structured": lambda canary: np.zeros((6, 5, 5), [("a", "u1"), ("b", "f4")]),
    "words": lambda canary: np.full((6, 5, 5), "a"),
    "raw": lambda canary: np.zeros((6, 5, 5), "V4"),
    "dates": lambda canary: np.zeros((6, 1, 5, 5), "M8[s]"),
    "beyond int64": lambda canary: np.full((6, 5), 2**64 - 1, np.uint64),
    "five dimensions": lambda canary: np.zeros((6, 1, 5, 5, 1), np.uint8),
    "no dimension": lambda canary: np.uint8(3),
    "channels": lambda canary: np.zeros((6, 5, 5, 4), np.uint8),
    "nan": lambda canary: np.full((6, 1, 5, 5), np.nan),
    "one nan": lambda canary: np.where(np.arange(150).reshape(6, 1, 5, 5) == 77, np.nan, 0.5),
    "infinite": lambda canary: np.full((6, 1, 5, 5), -np.inf),
    "too large for float32": lambda canary: np.full((6, 1, 5, 5), 1e300),
    "no images": lambda canary: np.zeros((0, 5, 5), np.uint8),
    "no pixels": lambda canary: np.zeros((6, 0, 5), np.uint8),
    "no channels": lambda canary: np.zeros((6, 0, 5, 5), np.float32),
    "fewer": lambda canary: np.zeros((5, 5, 5), np.uint8),
    "more": lambda canary: np.zeros((7, 5, 5), np.uint8),
    "pickle": lambda canary: pickle.dumps(Call(os.system, f"touch {canary}")),
    "empty": lambda canary: b"",
    "text": lambda canary: b"hello",
    "magic alone": lambda canary: b"\x93NUMPY",
    "version 3": lambda canary: header((6, 5, 5), version=(3, 0), tail=PIXELS),
    "version 9": lambda canary: header((6, 5, 5), version=(9, 9), tail=PIXELS),
    "claims more": lambda canary: header((6, 10**6, 10**6), tail=PIXELS),
    "claims less": lambda canary: header((6, 2, 2), tail=PIXELS),
    "claims a trillion": lambda canary: header((10**12, 5, 5), tail=PIXELS),
    "claims what overflows": lambda canary: header((2**62, 2**62), tail=PIXELS),
    "negative": lambda canary: header((-6, -5, 5), tail=PIXELS),
    "negative number": lambda canary: header((-6, 5, 5), tail=PIXELS),
    "fraction": lambda canary: header((6.0, 5, 5), tail=PIXELS),
    "words in a shape": lambda canary: header(("'a'",), tail=PIXELS),
    "shape of a number": lambda canary: header(150, tail=PIXELS),
    "many dimensions": lambda canary: header((6,) + (1,) * 100, tail=bytes(6)),
    "items of nothing": lambda canary: header((10**15,), dtype="'|V0'"),
    "items of 2 GB": lambda canary: header((6,), dtype="'|V2000000000'", tail=PIXELS),
    "subarrays": lambda canary: header((6,), dtype="[('a', '<f4', (1000000, 1000000))]", tail=PIXELS),
    "unknown type": lambda canary: header((6, 5, 5), dtype="'q99'", tail=PIXELS),
    "code for a type": lambda canary: header(
        (6, 5, 5), dtype=f"__import__('os').system('touch {canary}')", tail=PIXELS
    ),
    "long header": lambda canary: header((6, 5, 5), dtype="'" + "a" * 60_000 + "'", tail=PIXELS),
    "header of 4 GB": lambda canary: b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + PIXELS,
    "nested header": lambda canary: header("(" * 20_000 + ")" * 20_000, tail=PIXELS),
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
    "huge": lambda canary: np.array([0, 1, 0, 1, 0, 2**62]),
    "beyond int64": lambda canary: np.array([0, 1, 0, 1, 0, 2**64 - 1], np.uint64),
    "words": lambda canary: np.array(["cat"] * 6),
    "nan": lambda canary: np.full(6, np.nan),
    "infinite targets": lambda canary: np.full((6, 2), np.inf),
    "no targets": lambda canary: np.zeros((6, 0)),
    "no dimension": lambda canary: np.int64(1),
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


def zeros(path, size):
    """An .npz file of zeros, a thousandfold smaller than what it holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, value in arrays(train_images=None).items():
            archive.writestr(f"{name}.npy", bytes_of(value))
        with archive.open("train_images.npy", "w", force_zip64=True) as member:
            member.write(header((6, size // 60, 10), tail=b""))
            for _ in range(6 * (size // 60) * 10 // 10**6):
                member.write(bytes(10**6))
            member.write(bytes(6 * (size // 60) * 10 % 10**6))
    return path


def patched(path, sizes):
    """The directory of an archive with another size of each entry."""
    raw, place = bytearray(npz(path).read_bytes()), 0
    while (place := raw.find(b"PK\x01\x02", place)) >= 0:
        raw[place + 20 : place + 28] = struct.pack("<II", *sizes)
        place += 4
    path.write_bytes(raw)


FILES = {
    "zeros": lambda path: zeros(path, 10**8),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello"),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Call(os.system, "true"))),
    "one array": lambda path: path.write_bytes(bytes_of(np.zeros(3))),
    "no arrays": lambda path: zipfile.ZipFile(path, "w").close(),
    "truncated": lambda path: path.write_bytes(npz(path).read_bytes()[:-30]),
    "half": lambda path: path.write_bytes(npz(path).read_bytes()[:700]),
    "sizes": lambda path: patched(path, (2**31, 2**31)),
    "sizes of nothing": lambda path: patched(path, (0, 0)),
    "inflating sizes": lambda path: patched(path, (100, 2**32 - 2)),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "nothing": lambda path: None,
    "sparse": lambda path: (path.touch(), os.truncate(path, 2**43)),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_npz_is_refused(tmp_path, case):
    FILES[case](path := tmp_path / "a.npz")
    complaint(load, str(path), "train")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_to_compress_are_read(tmp_path, kind):
    assert len(load(str(npz(tmp_path / "a.npz", kind)), "train").labels) == 6


def test_another_array_of_the_name_is_not_mixed_with_the_first(tmp_path):
    """A zip file may have two entries of one name; whichever is taken, it is taken whole."""
    with pytest.warns(UserWarning, match="Duplicate"):
        path = npz(tmp_path / "a.npz", more={"train_images.npy": header((10**9, 5, 5))})
    complaint(load, str(path), "train")


def test_images_that_no_network_could_look_at_are_refused(tmp_path):
    """Two images of a few bytes each, over so many pixels that their activations fill the memory."""
    wide = np.zeros((6, 1, 10**7 + 7), np.uint8)
    path = npz(tmp_path / "a.npz", train_images=wide)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("landscape.data.sources._free_memory", lambda: 2**31)
        assert "a network on images of 10000007×1 pixels" in complaint(load, str(path), "train")


def test_zeros_are_refused_in_little_memory(tmp_path):
    """In a process of its own, for what it takes at most."""
    zeros(tmp_path / "a.npz", 3 * 10**8)
    assert (tmp_path / "a.npz").stat().st_size < 2 * 10**6
    program = (
        "import resource, sys; from landscape.data import load; from landscape.errors import BadInput\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load(sys.argv[1], 'train'); sys.exit('taken')\n"
        "except BadInput: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    call = [sys.executable, "-c", program, str(tmp_path / "a.npz")]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000  # kB


# Folders


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, *chunks, bits=8, color=2, data=bytes(100)):
    """A PNG that claims any size."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def picture(kind, size=(5, 5), **options):
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind, **options)
    return stream.getvalue()


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 5\n(canary) (w) file closefile\nshowpage\n"
PICTURES = {
    "empty": b"",
    "text": b"hello\n",
    "script": b"#!/bin/sh\ntouch canary\n",
    "pickle": pickle.dumps([1]),
    "postscript": POSTSCRIPT,
    "gif": picture("GIF"),
    "tiff": picture("TIFF"),
    "bmp": picture("BMP"),
    "truncated jpeg": picture("JPEG", (50, 50))[:300],
    "truncated png": picture("PNG", (50, 50))[:300],
    "png of 10^10 pixels": png(10**5, 10**5),
    "png of 10^8 pixels": png(10**4, 10**4),
    "png of 10^18 pixels": png(2**31 - 1, 2**31 - 1),
    "wide png": png(2**31 - 1, 1),
    "png of no pixels": png(0, 5),
    "png of 3 bits": png(5, 5, bits=3),
    "png of color 9": png(5, 5, color=9),
    "png with a bomb in its text": png(5, 5, chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(10**8), 9))),
    "png with a bomb in its profile": png(5, 5, chunk(b"iCCP", b"a\x00\x00" + zlib.compress(bytes(10**8), 9))),
    "png without data": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 5, 8, 2, 0, 0, 0)),
    "png with a chunk of 2 GB": b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 2**31 - 1) + b"IHDR",
    "jpeg of 2^32 pixels": bytes.fromhex("ffd8ffc0001108ffffffff03012200021101031101ffd9"),
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
    assert not (folder / "canary").exists()


PLACES = {
    "pipe": os.mkfifo,
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path),
    "nowhere": lambda path: path.symlink_to("nowhere"),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "memory": lambda path: path.symlink_to("/proc/self/mem"),
    "sparse": lambda path: (path.touch(), os.truncate(path, 2**43)),
    "socket": lambda path: os.mknod(path, 0o140644),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_only_has_the_name_of_an_image_is_named(folder, case):
    PLACES[case](broken := folder / "train" / "dog" / "0a.png")
    assert str(broken) in complaint(load, str(folder), "train")


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
    "train is a loop": lambda f: (moved(f, "train", "old"), (f / "train").symlink_to(f / "train")),
    "no classes": lambda f: [moved(f, f"{s}/{c}", f"{s}-{c}") for s in ("train", "test") for c in ("cat", "dog")],
    "other classes": lambda f: moved(f, "test/dog", "test/cow"),
    "more classes": lambda f: (f / "test" / "cow").mkdir(),
    "an empty class": lambda f: [(f / s / "cow").mkdir() for s in ("train", "test")],
    "a class of other files": lambda f: [(p.mkdir(), (p / "a.txt").touch()) for p in (f / "train/cow", f / "test/cow")],
    "a class that is the folder": lambda f: [(f / s / "cow").symlink_to(f) for s in ("train", "test")],
    "a line end": lambda f: (f / "test" / "a\n\x1b[31mb").mkdir(),
    "no UTF-8": lambda f: (f / "test" / os.fsdecode(b"\xff\xfe")).mkdir(),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_no_data_set_is_refused(folder, case):
    FOLDERS[case](folder)
    complaint(load, str(folder), "train")


@pytest.mark.parametrize("name", ["a\nb.png", "\x1b]0;title\x07.png", "\x1b[2J.jpg", "\u202egnp.png", "\x00b.png"[1:]])
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
