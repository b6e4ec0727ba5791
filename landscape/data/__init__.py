"""Data as tensors, ready to be measured: decoded once, resident, and not changed unless asked.

Conventions. Inputs are a tensor, or a tuple, list or dict of tensors, with examples along the first axis: float32 as
given, images of 8 bits (N, C, H, W) in [0, 1], integers (tokens) as int64, truth values (masks) as they are. They
are standardised, per channel (the second axis) as (x - mean) / std, only where constants are given, or those of the
training split are asked for. Targets are what the loss gets: int64 of any shape, where -100 is void, or float32 of any
shape, or several of these. Everything random comes from a CPU generator, so that the same seed means the same bits on
every device.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from landscape.data.sources import IMAGES, KNOWN, TEXTS, VOID, source
from landscape.errors import BadInput, did_you_mean
from landscape.memory import guard_memory
from landscape.nested import Nested, leaves, length, mapped, take
from landscape.nested import split as split_up

__all__ = [
    "CONSTANTS",
    "IMAGES",
    "KNOWN",
    "TEXTS",
    "VOID",
    "Data",
    "augment",
    "batches",
    "load",
    "load_for_training",
    "stratified_order",
]

# Means and standard deviations per channel of images in [0, 1], as published with the networks that everyone uses.
CONSTANTS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "fashionmnist": ((0.2860,), (0.3530,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # of timm's networks, many of which want them
    "mnist": ((0.1307,), (0.3081,)),
}
PUBLISHED = ("cifar10", "cifar100")  # training splits whose constants are not recomputed

LEAST_ACTIVATIONS = 8 * 16 * 4  # bytes a pixel: 8 images at once, 16 channels, float32
COMPACT = (torch.int16, torch.int32)  # of targets that are many, until some are chosen
SHOWN = 4  # constants in a line of text; the digest of the data tells the rest apart


@dataclass(frozen=True, eq=False)
class Data:
    """One split, or a subset of it, with all that says what it is.

    Attributes
    ----------
    name : str
        What it was loaded as; of a folder or an .npz file, the base name.
    split : "train" or "test"; or "all", of text that knows no splits
    images : Tensor, or tuple, list or dict of Tensors
        The inputs; of images, float32 (N, C, H, W).
    labels : Tensor, or tuple, list or dict of Tensors
        The targets: class numbers (N,), or any others.
    classes : int or None
        Where targets are integers, one more than the largest that occurs, void ones aside; else None.
    mean, std : tuple of C floats
        What the inputs were standardised with; empty where they were not.
    digest : str
        SHA-256, in hexadecimal, of inputs and targets as they stand here.
    inputs : str
        What was done to the inputs, in words.
    """

    name: str
    split: str
    images: Nested = field(repr=False)
    labels: Nested = field(repr=False)
    classes: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    inputs: str = "as they are"

    @property
    def of_tokens(self) -> bool:
        """Whether examples are windows of tokens, each with a target of its own."""
        both = (self.images, self.labels)
        return all(isinstance(t, Tensor) and t.dtype == torch.int64 and t.ndim == 2 for t in both) and (
            self.images.shape == self.labels.shape
        )


def load(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    examples: int | None = None,
    seed: int = 0,
    mean: Sequence[float] | str | None = None,
    std: Sequence[float] | None = None,
    standardize: bool = False,
    download: bool = False,
    size: int | None = None,
    window: int | None = None,
    model: str | Path | None = None,
) -> Data:
    """Load one split into memory.

    Parameters
    ----------
    name : str
        ``digits`` (comes with scikit-learn), ``cifar10``, ``cifar100``, ``fashionmnist``;
        ``stdlib``, the sources of Python's own standard library as text, see `landscape.data.text`;
        a folder ``ROOT/{train,test}/<class>/*.jpg`` (or png; ``val`` may stand for ``test``), read as RGB;
        an ``.npz`` file of ``train_inputs``, ``train_targets``, ``test_inputs``, ``test_targets`` (or ``…_images``,
        ``…_labels``), where ``train_inputs.NAME`` is one of several; or ``package.module:function``, called as
        ``function(split)``, returning ``(inputs, targets)``, a Dataset or a DataLoader.
        ``text:PATH``, a file or folder of text, see `landscape.data.text`; an ``.npy`` file of tokens, or an ``.npz``
        file that has ``input_ids`` or ``tokens``, see `landscape.data.tokens`.
        Arrays of uint8, (N, H, W), (N, H, W, C) or (N, C, H, W), are images; other inputs are taken as they are.
    split : "train" or "test"
    root : path, optional
        Where torchvision's data lie; by default $SKIPSCAPE_DATA, else ~/.cache/skipscape.
    examples : int, optional
        Take only so many, the first of ``stratified_order``; by default all, in stored order.
    seed : int
        Of that order, and of which tokens are masked for a masked language model; nothing else depends on it.
    mean, std : C floats each, optional
        Constants to standardise inputs with, both or neither; or `mean` alone is a name in ``CONSTANTS``. By default,
        and where they are empty, inputs are not standardised.
    standardize : bool
        Standardise inputs with the constants of the training split; those of CIFAR are the published ones.
    download : bool
        Let torchvision fetch what is missing.
    size : int, optional
        Side, in pixels, that the images of a folder are resized to.
    window : int, optional
        Tokens of an example of text; by default 256, or fewer where the model is made for fewer.
    model : path, optional
        A folder of save_pretrained(), whose tokenizer and task text is read for; by default it is read as bytes, of
        which the next is predicted.

    Raises
    ------
    BadInput
        For whatever is wrong with the arguments or the data; no data file is ever executed.
    """
    if split not in ("train", "test"):
        raise BadInput(f"split is {split!r}; expected 'train' or 'test'")
    mean, std = _given(mean, std, standardize)
    label, read = source(name, root=root, download=download, size=size, window=window, model=model, seed=seed)
    part = read(split)
    index = _choose(part.targets, examples, seed, f"the {split} split of {label}")
    if standardize and name in PUBLISHED:
        mean, std = CONSTANTS[name]
    if standardize and name not in PUBLISHED:
        training = part if split == "train" else read("train")
        whole = training.inputs(torch.arange(length(training.targets)))
        mean, std = _constants(_scalable(whole, label))
        inputs = take(whole, index) if split == "train" else part.inputs(index)
    else:
        inputs = part.inputs(index)
    for images in leaves(inputs):
        if images.ndim == 4:
            height, width = images.shape[2:]
            what = f"a network on images of {width}×{height} pixels, as in {label},"
            guard_memory(LEAST_ACTIVATIONS * height * width, what)
    said = part.said or _said(inputs, part.rounded, mean, std)
    inputs = _prepared(inputs, mean, std, label)
    targets = mapped(lambda tensor: tensor.long() if tensor.dtype in COMPACT else tensor, take(part.targets, index))
    return Data(
        label, "all" if part.whole else split, inputs, targets, part.classes, mean, std, _digest(inputs, targets), said
    )


def load_for_training(
    name: str, *, examples: int | None = None, seed: int = 0, standardize: bool | None = None, **options: Any
) -> tuple[Data, Data]:
    """Both splits, to train a classifier or a language model on the first; parameters are those of `load`.

    Parameters
    ----------
    examples : int, optional
        Take only so many of the first; and of the test split of text, a tenth as many.
    standardize : bool, optional
        By default where the data are images that this package knows by name and no constants are given.

    Returns
    -------
    training, test : Data
        With the same constants, and of tokens with the same number of classes.

    Raises
    ------
    BadInput
        As `load` does, or there are no classes to tell apart, or the test split has others.
    """
    constants = {n: options.pop(n) for n in ("mean", "std") if n in options}
    if constants.get("mean") is None and constants.get("std") is None:
        standardize = name in IMAGES if standardize is None else standardize
    training = load(name, "train", examples=examples, seed=seed, standardize=bool(standardize), **constants, **options)
    test = load(name, "test", mean=training.mean, std=training.std, **options)
    if training.split == test.split:
        raise BadInput(f"{training.name} has no test split; give a folder with train.txt and test.txt")
    if training.of_tokens and test.of_tokens:
        return _of_tokens(training, test, examples, seed)
    for data in (training, test):
        if not (isinstance(data.labels, Tensor) and data.labels.ndim == 1 and data.classes):
            raise BadInput(f"{data.name}: the {data.split} split has no class for each example; training needs one")
        if bool((data.labels == VOID).any()):
            raise BadInput(f"{data.name}: the {data.split} split has examples of class {VOID}, void; leave them out")
        if not isinstance(data.images, Tensor):
            raise BadInput(f"{data.name}: the {data.split} split has several inputs; training takes one")
    if training.classes == 1:
        raise BadInput(
            f"{training.name}: all training labels are 0; expected two classes or more, or there is nothing to tell"
        )
    if test.classes and training.classes and test.classes > training.classes:
        raise BadInput(
            f"{test.name}: a test label is {test.classes - 1}; expected 0 to {training.classes - 1} as in training"
        )
    return training, test


def _of_tokens(training: Data, test: Data, examples: int | None, seed: int) -> tuple[Data, Data]:
    """Both with as many classes as there are tokens in either; the test split may be a tenth of `examples`."""
    if examples is not None and len(test.labels) > (few := max(1, examples // 10)):
        index = stratified_order(test.labels, seed)[:few]
        images, labels = take((test.images, test.labels), index)
        test = replace(test, images=images, labels=labels, digest=_digest(images, labels))
    for data in (training, test):
        if bool((data.labels == VOID).all(1).any()):
            raise BadInput(f"{data.name}: the {data.split} split has windows without any target; leave them out")
    classes = max(max(data.classes or 0, 1 + int(data.images.max())) for data in (training, test))
    return replace(training, classes=classes), replace(test, classes=classes)


def stratified_order(labels: Nested, seed: int) -> Tensor:
    """Seeded order of examples in which every prefix holds the classes in proportion.

    A smaller subset is thus the beginning of every larger one. Classes of equal size never differ by
    more than one in any prefix. Targets that are not one class an example are merely shuffled.

    Parameters
    ----------
    labels : integer Tensor, shape (N,), or other targets
    seed : int

    Returns
    -------
    int64 Tensor, shape (N,), on the CPU
        A permutation.
    """
    shuffle = torch.randperm(length(labels, "the targets"), generator=torch.Generator().manual_seed(seed))
    if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        return shuffle
    _, group, count = labels.cpu()[shuffle].unique(return_inverse=True, return_counts=True)
    rank = torch.empty_like(group)  # place of an example within its class
    rank[group.argsort(stable=True)] = torch.cat([torch.arange(n) for n in count.tolist()])
    # Spread each class evenly over (0, 1) and read from left to right (Sainte-Laguë's seats in
    # parliament); equal places keep their shuffled order.
    place = (rank + 0.5).double() / count[group]
    return shuffle[place.argsort(stable=True)]


def batches(
    data: Data, size: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> list[tuple[Nested, Nested]]:
    """Slice the data, moved to the device once, into (inputs, targets) of ``size``; the last may be short."""
    if size < 1:
        raise BadInput(f"batch size is {size}; expected 1 or more")

    def moved(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    return list(zip(*(split_up(mapped(moved, part), size) for part in (data.images, data.labels)), strict=True))


def augment(images: Tensor, generator: torch.Generator, pad: int = 4, flip: bool = True) -> Tensor:
    """Shift each image by up to ``pad`` pixels and mirror half of them at random (He et al. 2016 §4.2).

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W), on any device
        Normalised: what moves in from outside is 0, the mean colour.
    generator : Generator on the CPU
        Whatever the device, so that all devices see the same crops.
    pad : int
        Largest shift, in pixels.
    flip : bool
        Mirror left and right with probability 1/2.

    Returns
    -------
    Tensor, shape (N, C, H, W)
        New images; the given ones are unchanged.
    """
    n, _, height, width = images.shape
    # A GPU is not waited for: it may be a batch behind.
    down, right = torch.randint(2 * pad + 1, (2, n), generator=generator).to(images.device, non_blocking=True)
    windows = functional.pad(images, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
    # windows: (N, C, 2·pad+1, 2·pad+1, H, W), a view; one window is copied out per image
    images = windows[torch.arange(n, device=images.device), :, down, right]  # (N, C, H, W)
    if flip:
        mirrored = (torch.rand(n, generator=generator) < 0.5).to(images.device, non_blocking=True)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _given(
    mean: Sequence[float] | str | None, std: Sequence[float] | None, standardize: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The constants that a caller gives, empty if none."""
    if standardize and (mean is not None or std is not None):
        raise BadInput("constants were given, and those of the training split asked for; choose one of the two")
    if isinstance(mean, str):
        if mean not in CONSTANTS:
            raise BadInput(
                f"no constants {mean!r}: expected numbers, or {', '.join(CONSTANTS)}{did_you_mean(mean, CONSTANTS)}"
            )
        if std is not None:
            raise BadInput(f"mean {mean} sets std too; leave std out, or give the numbers of both")
        mean, std = CONSTANTS[mean]
    if (mean is None) != (std is None):
        raise BadInput("only one of mean and std was given; give both or neither")
    return tuple(map(float, mean or ())), tuple(map(float, std or ()))


def _choose(targets: Nested, examples: int | None, seed: int, what: str) -> Tensor:
    count = length(targets)
    if examples is None:
        return torch.arange(count)
    if not 1 <= examples <= count:
        raise BadInput(f"{examples} examples were asked of {what}; expected 1 to the {count} there are")
    return stratified_order(targets, seed)[:examples]


def _scalable(inputs: Nested, name: str) -> Tensor:
    """The inputs, if they are something that can be standardised."""
    if not isinstance(inputs, Tensor):
        raise BadInput(f"{name} has several inputs; standardise them where they are made, not here")
    if inputs.dtype not in (torch.uint8, torch.float32) or inputs.ndim < 2:
        kind = f"{inputs.dtype} {tuple(inputs.shape)}".removeprefix("torch.")
        raise BadInput(f"{name} has inputs {kind}, which cannot be standardised; expected floats (N, C, …) or images")
    return inputs


def _constants(inputs: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of inputs as ``_prepared`` sees them."""
    scale = 1.0 if inputs.is_floating_point() else 255.0
    mean, std = [], []
    for channel in inputs.unbind(1):  # one at a time: the sums are in float64
        spread, centre = torch.std_mean(channel.double(), correction=0)
        flat = channel.min() == channel.max()  # nothing to scale; rounding noise is no spread
        # Eight digits: as many as float32 can use, too few to show in what order a machine sums.
        mean.append(float(f"{centre.item() / scale:.8g}"))
        std.append(1.0 if flat else float(f"{spread.item() / scale:.8g}"))
    return tuple(mean), tuple(std)


def _prepared(inputs: Nested, mean: tuple[float, ...], std: tuple[float, ...], name: str) -> Nested:
    if not (mean or std):
        return mapped(
            lambda tensor: _unit(tensor, name) if tensor.dtype == torch.uint8 else tensor.contiguous(), inputs
        )
    channels = _scalable(inputs, name).shape[1]
    if not len(mean) == len(std) == channels:
        raise BadInput(
            f"{name} has {channels} channel(s), but there are {len(mean)} means and {len(std)} standard "
            f"deviations; give one of each per channel"
        )
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise BadInput(f"mean {mean} and std {std} cannot standardise; expected finite means and std above 0")
    shape = (channels, *[1] * (inputs.ndim - 2))
    centre, spread = (torch.tensor(x, dtype=torch.float32).reshape(shape) for x in (mean, std))
    return _unit(inputs, name).sub_(centre).div_(spread)


def _unit(inputs: Tensor, name: str) -> Tensor:
    """A contiguous copy in float32; images of 8 bits in [0, 1]."""
    guard_memory(4 * inputs.numel(), f"{name} as float32")
    scaled = torch.empty(inputs.shape, dtype=torch.float32).copy_(inputs)
    return scaled if inputs.is_floating_point() else scaled.div_(255)


def _said(inputs: Nested, rounded: bool, mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """What is done to the inputs, in words; what decides nothing, such as who gave the constants, is left out."""
    parts = ["8-bit images as [0, 1]"] if any(tensor.dtype == torch.uint8 for tensor in leaves(inputs)) else []
    if rounded:
        parts.append("rounded to float32")
    if mean or std:
        parts.append(f"standardised by mean {_few(mean)}, std {_few(std)}")
    elif not parts or rounded:
        parts.insert(0, "as they are")
    return ", ".join(parts)


def _few(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{x:.8g}" for x in numbers[:SHOWN]) + (" …" if len(numbers) > SHOWN else "")


def _digest(inputs: Nested, targets: Nested) -> str:
    digest = hashlib.sha256()
    for nested in (inputs, targets):
        if not isinstance(nested, Tensor):  # which of several is which
            digest.update(f"{mapped(lambda tensor: tensor.new_empty(0), nested)}\n".encode())
        for tensor in leaves(nested):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().flatten().numpy().data)
    return digest.hexdigest()
