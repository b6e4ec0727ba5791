"""Where data come from: a name, a folder, a file or a function becomes inputs and targets.

Conventions. A source is a function of "train" or "test" that returns a `Split`. Files are not trusted: nothing in
them is executed, what they claim is compared with what is there before memory is given to it, and whatever goes wrong
in reading them is a ``BadInput`` that names the file.
"""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from landscape.data import archives, text, tokens
from landscape.data.splits import VOID, Source, Split, blaming, one_line
from landscape.errors import BadInput, did_you_mean, raised
from landscape.import_path import import_object
from landscape.memory import guard_memory
from landscape.nested import Nested, cat, length, take
from landscape.validate import whole

__all__ = ["IMAGES", "KNOWN", "VOID", "Source", "Split", "is_text", "source"]


# name: torchvision's class
TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "fashionmnist": "FashionMNIST"}
IMAGES = ("digits", *TORCHVISION)
KNOWN = (*IMAGES, "stdlib")
ARRAYS = {"inputs": ("images", "inputs"), "targets": ("labels", "targets")}  # in an .npz file, behind train_ or test_
VOID_BYTE = 255  # one in label maps of 8 bits, which the loss has to leave out
SUFFIXES = {".jpg", ".jpeg", ".png"}
FORMATS = ("JPEG", "PNG")  # a file of another kind may have such a name; to decode PostScript is to run it
MOST_CLASSES = 2**24  # a network with more outputs does not exist
MOST_PIXELS = 2**26  # of an image; one of some bytes can claim any number


def source(
    name: str,
    *,
    root: str | Path | None = None,
    download: bool = False,
    size: int | None = None,
    window: int | None = None,
    model: str | Path | None = None,
    seed: int = 0,
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
    window = None if window is None else whole("window", window)
    size = None if size is None else whole("size", size, 0)
    path = Path(name).expanduser()
    if is_text(name):
        if size is not None:
            raise BadInput(f"size {size} was given, but {name} is text; only images are resized")
        return text.source(
            f"{text.PREFIX}{path}" if _tokens_of(name, path) else name, window, Path(model) if model else None, seed
        )
    if window is not None:
        raise BadInput(f"window {window} was given, but {name} is no text; only this is cut into windows")
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
        f"an .npz file, text:PATH, or package.module:function{did_you_mean(name, KNOWN)}"
    )


def is_text(name: str) -> bool:
    """Whether data of this name are text, or tokens, that are cut into windows."""
    return name == "stdlib" or name.startswith(text.PREFIX) or _tokens_of(name, Path(name).expanduser())


def _tokens_of(name: str, path: Path) -> bool:
    """Whether it is a file with arrays of tokens."""
    if path.suffix == ".npy" and path.is_file():
        return True
    if name in KNOWN or path.suffix != ".npz" or not path.is_file():
        return False
    return any(each.removeprefix("train_").removeprefix("test_") in tokens.NAMES for each in archives.members(path))


def _digits(split: str) -> Split:
    """scikit-learn's 8×8 digits; of each class, every third image is for testing."""
    pixels, labels = _table_of_digits()
    place = np.empty(len(labels), dtype=int)  # within the class
    for digit in range(10):
        place[labels == digit] = np.arange((labels == digit).sum())
    mine = (place % 3 == 2) == (split == "test")
    images = (pixels[mine] / 16).reshape(-1, 1, 8, 8).astype(np.float32)  # stored as 0..16
    return _checked(images, labels[mine], f"the {split} split of digits")


@cache
def _table_of_digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (1797, 64) and labels as scikit-learn's `load_digits` has them, read once in a process.

    From its file: importing scikit-learn takes longer than most commands.
    """
    installed = find_spec("sklearn")
    for folder in (installed and installed.submodule_search_locations) or ():
        if (path := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1].astype(int)
    from sklearn.datasets import load_digits  # whose file is elsewhere by now

    return load_digits(return_X_y=True)


def _torchvision(name: str, root: str | Path | None, download: bool) -> Source:
    root = Path(root or os.environ.get("SKIPSCAPE_DATA") or "~/.cache/skipscape").expanduser()

    def read(split: str) -> Split:
        cache = root / TORCHVISION[name] / "processed"
        if cache.exists():  # which torchvision before 0.19 unpickles
            raise BadInput(f"{cache} was made by an old torchvision, and can hold anything; remove it")
        from torchvision import datasets

        try:  # torchvision compares checksums before it unpickles CIFAR
            dataset = getattr(datasets, TORCHVISION[name])(root, train=split == "train", download=download)
        except Exception as error:  # of all kinds, when a file is cut short
            if download:
                raise BadInput(
                    f"cannot fetch {name} into {root} ({one_line(error)}); pass --root where it is"
                ) from error
            raise BadInput(
                f"{name} is not in {root}, or is damaged; pass --download to fetch it, or --root where it is"
            ) from error
        return _checked(dataset.data, dataset.targets, f"the {split} split of {name}")

    return read


def _folder(root: Path, size: int | None) -> Source:
    """ROOT/{train,test}/<class>/*.jpg, as torchvision's ImageFolder reads one split of it."""
    if size is not None and not 1 <= size**2 <= MOST_PIXELS:
        raise BadInput(f"size is {size}; expected 1 to {math.isqrt(MOST_PIXELS)} pixels")
    places = {"train": root / "train", "test": root / "test"}
    if not places["test"].is_dir() and (root / "val").is_dir():
        places["test"] = root / "val"
    classes = {
        split: {p.name for p in place.iterdir() if p.is_dir()} for split, place in places.items() if place.is_dir()
    }
    if classes.get("train") == set():
        raise BadInput(f"{places['train']} is empty; expected a folder of images per class")
    if "train" in classes and (lacking := sorted(classes.get("test", set()) - classes["train"])):
        raise BadInput(
            f"class {lacking[0]!r} is in {places['test']} but not in {places['train']}, whose folders number the "
            "classes; make a folder of that name there, or remove this one"
        )
    numbered = sorted(classes.get("train") or classes.get("test", set()))

    def read(split: str) -> Split:
        if split not in classes:
            raise BadInput(f"{root} has no {split}/; expected {root}/{{train,test}}/<class>/*.jpg or *.png")
        files, labels = [], []
        for label, name in enumerate(numbered):
            if name not in classes[split]:  # a class of which there are no test images
                continue
            place = places[split] / name
            mine = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
            if not mine:
                raise BadInput(f"{place} is empty; expected .jpg, .jpeg or .png images")
            files += mine
            labels += [label] * len(mine)
        if not files:
            raise BadInput(f"{places[split]} is empty; expected a folder of images per class")
        decode = lambda index: _decode([files[i] for i in index.tolist()], size)  # noqa: E731
        return Split(decode, torch.tensor(labels), len(numbered))

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
    with blaming(file), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise BadInput(
                f"{file} has {image.width}×{image.height} pixels, more than {MOST_PIXELS:,}; make it smaller"
            )
        pixels = image.convert("RGB")
    if size is not None and pixels.size != (size, size):
        pixels = pixels.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(pixels).transpose(2, 0, 1)  # (3, H, W)


def _npz(path: Path) -> Source:
    """Arrays in a zip file; headers are checked first, and inputs are read when they are asked for."""
    members = archives.members(path)

    def named(split: str, what: str) -> str | dict[str, str] | None:
        """The array, or the arrays by what follows their common name."""
        for word in ARRAYS[what]:
            whole = f"{split}_{word}"
            if whole in members:
                return whole
            if parts := {m.removeprefix(f"{whole}."): m for m in members if m.startswith(f"{whole}.")}:
                return parts
        return None

    def tensors(names: str | dict[str, str], convert: Callable[[np.ndarray, str], Tensor]) -> Nested:
        if isinstance(names, dict):
            return {name: tensors(member, convert) for name, member in names.items()}
        return convert(archives.array(path, names), f"{names} of {path}")

    def read(split: str) -> Split:
        names: dict[str, Any] = {what: named(split, what) for what in ARRAYS}
        if lacking := [what for what, name in names.items() if name is None]:
            expected = " or ".join(f"{split}_{word}" for word in reversed(ARRAYS[lacking[0]]))
            raise BadInput(f"{path} has no array {expected}; it has {', '.join(sorted(members)[:10]) or 'none'}")
        each = [n for name in names.values() for n in (name.values() if isinstance(name, dict) else [name])]
        with blaming(path), zipfile.ZipFile(path) as archive:
            headers = {name: archives.header(archive, name) for name in each}
        counts = {name: (shape or (0,))[0] for name, (shape, _) in headers.items()}
        for name in each[1:]:
            if counts[name] != counts[each[0]]:
                raise BadInput(f"{path} has {counts[each[0]]} {each[0]} and {counts[name]} {name}; expected as many")
        targets = tensors(names["targets"], _target)
        classes = _classes(targets, f"{split} targets of {path}")
        if split != "train" and isinstance(labels := named("train", "targets"), str) and classes is not None:
            # A class may be absent from the test split.
            training = _classes(
                _target(archives.array(path, labels), f"{labels} of {path}"), f"train targets of {path}"
            )
            classes = max(classes, training or 0)
        inputs = names["inputs"]
        wide = any(_wide(headers[name][1]) for name in (inputs.values() if isinstance(inputs, dict) else [inputs]))
        return Split(lambda index: take(tensors(inputs, _input), index), targets, classes, wide)

    return read


def _function(name: str) -> Source:
    function = import_object(name)

    def read(split: str) -> Split:
        what = f"the {split} split of {name}"
        try:
            result = function(split)
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            raise BadInput(
                f"{name}({split!r}) fails ({raised(error)}); mend it, or choose a split that it has"
            ) from error
        with blaming(f"what {name} returned", "return (inputs, targets), a Dataset or a DataLoader"):
            if isinstance(result, Dataset):
                result = DataLoader(result, 256)
            if isinstance(result, DataLoader):
                result = cat([_pair(batch) for batch in _in_order(result)])
            inputs, targets = _pair(result)
            return _checked(inputs, targets, what)

    return read


def _pair(value: Any) -> tuple:
    if not isinstance(value, tuple | list) or len(value) != 2:
        parts = f" of {len(value)}" if isinstance(value, tuple | list | Mapping) else ""
        raise ValueError(f"a {type(value).__name__}{parts} is not inputs and targets")
    return tuple(value)


def _in_order(loader: DataLoader) -> DataLoader:
    """A loader that does not shuffle, so that the same data are the same numbers every time."""
    sampler, dataset = loader.sampler, cast("Any", loader.dataset)  # torch does not say that it may have a length
    if isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == len(dataset):
        return DataLoader(dataset, loader.batch_size or 256, collate_fn=loader.collate_fn)
    return loader


def _checked(inputs: Any, targets: Any, what: str) -> Split:
    count = None if _many(targets) else len(targets)
    tensors = _each(_input, _stacked(inputs, count), f"inputs of {what}")
    if not _many(inputs):
        count = length(tensors, f"inputs of {what}")
    targets = _each(_target, _stacked(targets, count), f"targets of {what}")
    one, other = length(tensors, f"inputs of {what}"), length(targets, f"targets of {what}")
    if one != other:
        raise BadInput(f"{what} has {one} inputs and {other} targets; expected as many")
    classes = _classes(targets, f"targets of {what}")
    return Split(lambda index: take(tensors, index), targets, classes, _any_wide(inputs))


def _many(value: Any) -> bool:
    """Whether it is several arrays and not one; a list of numbers is one."""
    if isinstance(value, list):
        return bool(value) and all(
            isinstance(part, Mapping | tuple) or (isinstance(part, np.ndarray | Tensor) and part.ndim) for part in value
        )
    return isinstance(value, Mapping | tuple)


def _stacked(value: Any, count: int | None) -> Any:
    """A list of as many arrays as there are examples as one array; several inputs as they are."""
    if isinstance(value, list) and _many(value) and len(value) == count and {*map(len, value)} != {count}:
        return np.stack([np.asarray(part) for part in value])
    return value


def _each(convert: Callable[[np.ndarray, str], Tensor], value: Any, what: str) -> Nested:
    """Every array in a structure as a tensor; what is no array stays as it is."""
    if isinstance(value, Mapping):
        return {name: _each(convert, part, f"{name} of {what}") for name, part in value.items()}
    if _many(value):
        parts = [_each(convert, part, what) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if value is None or isinstance(value, bool | str):
        return value
    return convert(_array(value), what)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).resolve_conj().numpy()
    return np.asarray(value)


def _any_wide(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_any_wide, value.values()))
    if isinstance(value, tuple | list):
        return any(map(_any_wide, value))
    return isinstance(value, np.ndarray | Tensor) and _wide(_array(value).dtype)


def _wide(dtype: np.dtype) -> bool:
    """Whether float32, or complex64, is fewer digits."""
    return dtype.itemsize > {"f": 4, "c": 8}.get(dtype.kind, dtype.itemsize)


def _input(array: np.ndarray, what: str) -> Tensor:
    """Images to uint8 (N, C, H, W), floats to float32, integers to int64."""
    if array.dtype == np.uint8 and array.ndim > 2:
        if array.ndim == 3:
            array = array[:, None]
        elif array.ndim == 4 and array.shape[3] in (1, 3):
            array = array.transpose(0, 3, 1, 2)
        elif array.ndim != 4 or array.shape[1] not in (1, 3):
            raise BadInput(
                f"{what} are {array.dtype} {array.shape}; expected of images (N, H, W), (N, H, W, C) or (N, C, H, W) "
                "with C = 1 or 3; make floats of anything else"
            )
    elif array.dtype.kind in "iu":
        array = _integers(array, what)
    elif array.dtype.kind not in "fcb":
        raise BadInput(f"{what} are {array.dtype} {array.shape}; expected numbers: floats, integers or truth values")
    return _tensor(array, what)


def _target(array: np.ndarray, what: str) -> Tensor:
    """Integers and truth values to int64, floats to float32, in their shape."""
    if array.dtype.kind not in "fciub":
        raise BadInput(f"{what} are {array.dtype} {array.shape}; expected integers, or floats")
    return _tensor(_integers(array, what) if array.dtype.kind in "iub" else array, what)


def _integers(array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise BadInput(f"{what} go up to {array.max()}; expected integers of 64 bits with a sign")
    return array.astype(np.int64)


def _tensor(array: np.ndarray, what: str) -> Tensor:
    if array.ndim == 0:
        raise BadInput(f"{what} are a single number; expected one or more numbers for each example")
    if array.size == 0:
        raise BadInput(f"{what} are empty, {array.shape}; expected at least one example")
    kept = {"f": np.float32, "c": np.complex64}.get(array.dtype.kind)
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as such
        array = np.require(array, kept, ["C", "W"])
    if kept is not None and not np.isfinite(array).all():
        raise BadInput(f"{what} have {(~np.isfinite(array)).sum()} values that are not finite; remove them")
    return torch.from_numpy(array)


def _classes(targets: Nested, what: str) -> int | None:
    """How many classes integer targets show, void ones aside.

    Raises
    ------
    BadInput
        They have one number an example, and this is no class.
    """
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64:
        return None
    counted = targets[targets >= 0]
    if targets.ndim == 1 and len(wrong := targets[(targets < 0) & (targets != VOID)]):
        raise BadInput(
            f"{what} go down to {int(wrong.min())}; expected class numbers from 0, or {VOID} where there is none; "
            "make floats of what are no classes"
        )
    if not len(counted):
        return None
    high = int(counted.max())
    if targets.ndim > 2 and high == VOID_BYTE and not bool((counted == VOID_BYTE - 1).any()):
        counted = counted[counted < VOID_BYTE]
        high = int(counted.max()) if len(counted) else -1
    if targets.ndim == 1 and high > MOST_CLASSES:
        raise BadInput(f"{what} go up to {high}; expected class numbers from 0. Renumber the classes")
    return high + 1 if high >= 0 else None
