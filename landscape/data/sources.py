"""Where data come from: a name, a folder, a file or a function becomes pixels and labels.

Conventions. A source is a function of "train" or "test" that returns ``(pixels, labels)``: labels at
once, int64 (N,) or float32 (N, K); pixels as a function of an index (n,) that decodes only what is
asked, uint8 or float32 (n, C, H, W), not normalised. Files are not trusted: nothing in them is
executed, what they claim is compared with what is there before memory is given to it, and whatever
goes wrong in reading them is a ``BadInput`` that names the file.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from landscape.errors import BadInput, meant
from landscape.imported import imported

__all__ = ["Source", "guard_memory", "source"]

Split = tuple[Callable[[Tensor], Tensor], Tensor]
Source = Callable[[str], Split]

# name: torchvision's class
TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashionmnist": "FashionMNIST"}
KNOWN = ("digits", *TORCHVISION)
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
SUFFIXES = {".jpg", ".jpeg", ".png"}
FORMATS = ("JPEG", "PNG")  # a file of another kind may have such a name; to decode PostScript is to run it
MOST_PIXELS = 2**26  # of an image; one of some bytes can claim any number

# What packs itself a hundredfold is no set of images, but can fill the memory from a file of some kB.
RATIO, PACKED = 100, 2**26


def source(
    name: str, *, root: str | Path | None = None, download: bool = False, size: int | None = None
) -> tuple[str, Source]:
    """Find the data that ``name`` means; parameters are those of ``landscape.data.load``.

    Returns
    -------
    str
        What to call the data: the name, or the base name of a folder or file.
    Source
        See the conventions above.

    Raises
    ------
    BadInput
        If there are no such data, or they are not what they should be.
    """
    path = Path(name).expanduser()
    if name not in KNOWN and path.is_dir():
        return path.resolve().name, _folder(path, size)
    if size is not None and (name in KNOWN or ":" in name or path.exists()):
        raise BadInput(f"size {size} was given, but {name} is no folder of images; only these are resized")
    if name == "digits":
        return name, _digits
    if name in TORCHVISION:
        return name, _torchvision(name, root, download)
    if path.suffix == ".npz":
        return path.stem, _npz(path)
    module, colon, function = name.partition(":")
    if colon and all(map(str.isidentifier, [*module.split("."), function])):
        return name, _function(name)
    raise BadInput(
        f"no data {name!r}: expected {', '.join(KNOWN)}, an existing folder with train/ and test/, "
        f"an .npz file, or package.module:function{meant(name, KNOWN)}"
    )


def guard_memory(size: int, what: str) -> None:
    """Refuse what cannot fit, rather than have the system kill us halfway; ``size`` in bytes."""
    free = _free_memory()
    if size > free:
        raise BadInput(f"{what} needs {size / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are free; take less")


def _free_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # only Linux tells
        return sys.maxsize


def _digits(split: str) -> Split:
    """scikit-learn's 8×8 digits; of each class, every third image is for testing."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    place = np.empty(len(labels), dtype=int)  # within the class
    for digit in range(10):
        place[labels == digit] = np.arange((labels == digit).sum())
    mine = (place % 3 == 2) == (split == "test")
    images = (pixels[mine] / 16).reshape(-1, 1, 8, 8)  # stored as 0..16
    return _checked(images, labels[mine], f"the {split} split of digits")


def _torchvision(name: str, root: str | Path | None, download: bool) -> Source:
    root = Path(root or os.environ.get("SKIPSCAPE_DATA") or "~/.cache/skipscape").expanduser()

    def read(split: str) -> Split:
        cache = root / TORCHVISION[name] / "processed"
        if cache.exists():  # which torchvision before 0.19 unpickles
            raise BadInput(f"{cache} was made by an old torchvision, and can hold anything; remove it")
        from torchvision import datasets

        try:  # torchvision compares checksums before it unpickles CIFAR
            found = getattr(datasets, TORCHVISION[name])(root, train=split == "train", download=download)
        except Exception as error:  # of all kinds, when a file is cut short
            if download:
                raise BadInput(f"cannot fetch {name} into {root} ({_line(error)}); pass --root where it is") from error
            raise BadInput(
                f"{name} is not in {root}, or is damaged; pass --download to fetch it, or --root where it is"
            ) from error
        return _checked(found.data, found.targets, f"the {split} split of {name}")

    return read


def _folder(root: Path, size: int | None) -> Source:
    """ROOT/{train,test}/<class>/*.jpg, as torchvision's ImageFolder reads one split of it."""
    if size is not None and not 1 <= size**2 <= MOST_PIXELS:
        raise BadInput(f"size is {size}; expected 1 to {math.isqrt(MOST_PIXELS)} pixels")
    places = {"train": root / "train", "test": root / "test"}
    if not places["test"].is_dir() and (root / "val").is_dir():
        places["test"] = root / "val"
    for split, place in places.items():
        if not place.is_dir():
            raise BadInput(f"{root} has no {split}/; expected {root}/{{train,test}}/<class>/*.jpg or *.png")
    classes = {split: {p.name for p in place.iterdir() if p.is_dir()} for split, place in places.items()}
    for split, other in (("train", "test"), ("test", "train")):
        if lacking := sorted(classes[other] - classes[split]):
            raise BadInput(
                f"class {lacking[0]!r} is in {places[other]} but not in {places[split]}; "
                f"both need the same class folders"
            )
    if not classes["train"]:
        raise BadInput(f"{places['train']} is empty; expected a folder of images per class")

    def read(split: str) -> Split:
        files, labels = [], []
        for label, name in enumerate(sorted(classes[split])):
            place = places[split] / name
            mine = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
            if not mine:
                raise BadInput(f"{place} is empty; expected .jpg, .jpeg or .png images")
            files += mine
            labels += [label] * len(mine)
        return lambda index: _decode([files[i] for i in index.tolist()], size), torch.tensor(labels)

    return read


def _decode(files: list[Path], size: int | None) -> Tensor:
    """Decode images to uint8 (N, 3, H, W)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what can be read all the same
        first = _image(files[0], size)
        # As they are, and as float32.
        guard_memory(5 * len(files) * first.size, f"decoding {len(files)} images like {files[0]}")
        images = np.empty((len(files), *first.shape), np.uint8)

        def work(begin: int) -> None:
            for i in range(begin, min(begin + 256, len(files))):
                image = _image(files[i], size)
                if image.shape != first.shape:
                    raise BadInput(
                        f"{files[i]} has {image.shape[2]}×{image.shape[1]} pixels, {files[0]} "
                        f"{first.shape[2]}×{first.shape[1]}; give a size to resize all of them to"
                    )
                images[i] = image

        # PIL decodes without Python's lock, but in small images there is less to decode than to lock.
        threads = min(8, os.cpu_count() or 1) if first.size > 3 * 64 * 64 else 1
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(0, len(files), 256)))
    return torch.from_numpy(images)


def _image(file: Path, size: int | None) -> np.ndarray:
    if not file.is_file():  # a pipe would be waited for
        raise BadInput(f"{file} is not a file; replace or remove it")
    with _blaming(file), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise BadInput(
                f"{file} has {image.width}×{image.height} pixels, more than {MOST_PIXELS:,}; make it smaller"
            )
        pixels = image.convert("RGB")
    if size is not None and pixels.size != (size, size):
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).transpose(2, 0, 1)  # (3, H, W)


def _npz(path: Path) -> Source:
    """Arrays in a zip file; the headers are checked at once, the arrays are read when asked for."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise BadInput(f"{path} is not a file; name an .npz file, or a folder with train/ and test/")
    with _blaming(path), zipfile.ZipFile(path) as archive:
        if lacking := [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]:
            raise BadInput(f"{path} has no array {lacking[0]}; expected {', '.join(ARRAYS)}")
        shapes = {name: _header(archive, name)[0] for name in ARRAYS}
    for split in ("train", "test"):
        images, labels = ((shapes[f"{split}_{what}"] or (0,))[0] for what in ("images", "labels"))
        if images != labels:
            raise BadInput(f"{path} has {images} {split}_images and {labels} {split}_labels; expected as many")

    def array(name: str) -> np.ndarray:
        with _blaming(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            shape, dtype = _header(archive, name)
            # As it is, and as float32.
            guard_memory(math.prod(shape) * (dtype.itemsize + 4), f"{name} of {path}")
            return np.lib.format.read_array(member, allow_pickle=False)

    def read(split: str) -> Split:
        images, labels = f"{split}_images", f"{split}_labels"
        return (
            lambda index: _images(array(images), f"{images} of {path}")[index],
            _labels(array(labels), f"{labels} of {path}"),
        )

    return read


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in an .npz file, whose header is compared with the bytes there are."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = headers[np.lib.format.read_magic(member)](member)
        if dtype.hasobject:
            raise BadInput(f"{name} of {archive.filename} holds Python objects; save it as plain numbers")
        claimed = member.tell() + math.prod(shape) * dtype.itemsize
    if claimed != entry.file_size:
        raise BadInput(
            f"{name} of {archive.filename} claims shape {shape}, that is {claimed} bytes, but has "
            f"{entry.file_size}; the file is damaged, save it again"
        )
    if claimed > max(PACKED, RATIO * entry.compress_size):
        raise BadInput(
            f"{name} of {archive.filename} is packed {claimed // max(1, entry.compress_size)}-fold, as in a file that "
            "is made to fill the memory; if it is not, save it with np.savez, which does not compress"
        )
    return shape, dtype


def _function(name: str) -> Source:
    function = imported(name)

    def read(split: str) -> Split:
        result = function(split)
        with _blaming(f"what {name} returned", "return arrays (images, labels)"):
            images, labels = map(np.asarray, result)
        return _checked(images, labels, f"the {split} split of {name}")

    return read


def _checked(images: np.ndarray, labels: np.ndarray, what: str) -> Split:
    images, labels = _images(images, f"images of {what}"), _labels(labels, f"labels of {what}")
    if len(images) != len(labels):
        raise BadInput(f"{what} has {len(images)} images and {len(labels)} labels; expected as many")
    return images.__getitem__, labels


def _images(array: np.ndarray, what: str) -> Tensor:
    """Bring images to (N, C, H, W), uint8 or float32."""
    array = np.asarray(array)
    if array.dtype == np.uint8 and array.ndim == 3:
        array = array[:, None]
    elif array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    elif not (array.dtype.kind == "f" and array.ndim == 4):
        raise BadInput(
            f"{what} are {array.dtype} {array.shape}; expected uint8 (N, H, W) or (N, H, W, C) with C = 1 or "
            f"3, or float (N, C, H, W)"
        )
    return _tensor(array, what)


def _labels(array: np.ndarray, what: str) -> Tensor:
    """Bring labels to int64 (N,), targets to float32 (N, K)."""
    array = np.asarray(array)
    if array.dtype.kind == "f" and array.ndim == 1:
        array = array[:, None]
    if (array.dtype.kind, array.ndim) not in (("i", 1), ("u", 1), ("f", 2)):
        raise BadInput(
            f"{what} are {array.dtype} {array.shape}; expected integers (N,), or floats (N, K) for regression"
        )
    return _tensor(array if array.dtype.kind == "f" else array.astype(np.int64), what)


def _tensor(array: np.ndarray, what: str) -> Tensor:
    if array.size == 0:
        raise BadInput(f"{what} are empty, {array.shape}; expected at least one example")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
        array = np.require(array, np.float32 if array.dtype.kind == "f" else None, ["C", "W"])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadInput(f"{what} have {(~np.isfinite(array)).sum()} values that are not finite; remove them")
    return torch.from_numpy(array)


@contextlib.contextmanager
def _blaming(what: Path | str, cure: str = "replace or remove it") -> Iterator[None]:
    """Blame a file for whatever goes wrong in reading it: decoders raise all kinds on broken bytes."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"cannot read {what} ({_line(error)}); {cure}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
