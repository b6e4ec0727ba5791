"""Data as tensors, ready to be measured: decoded once, normalised, resident.

Conventions. Images are float32, (N, C, H, W), normalised per channel as (x - mean) / std, where x is
in [0, 1] for images stored as integers. The constants are those of the training split, whichever
split is loaded, and are recorded; those of CIFAR are the published ones. Labels are int64 class numbers
from 0, or float32 targets (N, K) for regression. Everything random comes from a CPU generator, so
that the same seed means the same bits on every device.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from landscape.data.sources import KNOWN, guard_memory, source
from landscape.errors import BadInput

__all__ = ["KNOWN", "Data", "augment", "batches", "load", "stratified_order"]

# As published with the networks that everyone compares to, hence not recomputed.
PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}

LEAST_ACTIVATIONS = 8 * 16 * 4  # bytes a pixel: 8 images at once, 16 channels, float32


@dataclass(frozen=True, eq=False)
class Data:
    """One split, or a subset of it, with all that says what it is.

    Attributes
    ----------
    name : str
        What it was loaded as; of a folder or an .npz file, the base name.
    split : "train" or "test"
    images : float32 Tensor, shape (N, C, H, W)
        Normalised.
    labels : int64 Tensor, shape (N,), or float32 Tensor, shape (N, K)
        Class numbers from 0, or the targets of a regression.
    classes : int
        Outputs that a network for these data has: classes, or K.
    mean, std : tuple of C floats
        What the images were normalised with.
    digest : str
        SHA-256, in hexadecimal, of images and labels as they stand here.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str


def load(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    examples: int | None = None,
    seed: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    download: bool = False,
    size: int | None = None,
) -> Data:
    """Load one split into memory.

    Parameters
    ----------
    name : str
        ``digits`` (comes with scikit-learn), ``cifar10``, ``cifar100``, ``fashionmnist``;
        a folder ``ROOT/{train,test}/<class>/*.jpg`` (or png; ``val`` may stand for ``test``), read as RGB;
        an ``.npz`` file of ``train_images``, ``train_labels``, ``test_images``, ``test_labels``; or
        ``package.module:function``, called as ``function(split)``, returning ``(images, labels)``.
        Arrays of images are uint8 (N, H, W) or (N, H, W, C), or float (N, C, H, W) in any unit.
    split : "train" or "test"
    root : path, optional
        Where torchvision's data lie; by default $SKIPSCAPE_DATA, else ~/.cache/skipscape.
    examples : int, optional
        Take only so many, the first of ``stratified_order``; by default all, in stored order.
    seed : int
        Of that order; nothing else depends on it.
    mean, std : C floats each, optional
        Constants to use as they are (a checkpoint passes its own); give both or neither.
    download : bool
        Let torchvision fetch what is missing.
    size : int, optional
        Side, in pixels, that the images of a folder are resized to.

    Raises
    ------
    BadInput
        For whatever is wrong with the arguments or the data; no data file is ever executed.
    """
    if split not in ("train", "test"):
        raise BadInput(f"split is {split!r}; expected 'train' or 'test'")
    if (mean is None) != (std is None):
        raise BadInput("only one of mean and std was given; give both or neither")
    label, read = source(name, root=root, download=download, size=size)
    pixels, labels = read(split)
    train_pixels, train_labels = (pixels, labels) if split == "train" else read("train")
    classes = _outputs(train_labels, labels, label)
    index = _choose(labels, examples, seed, f"the {split} split of {label}")

    if mean is not None:
        mean, std = tuple(map(float, mean)), tuple(map(float, std))
        images = pixels(index)
    elif name in PUBLISHED:
        mean, std = PUBLISHED[name]
        images = pixels(index)
    else:
        train = train_pixels(torch.arange(len(train_labels)))
        mean, std = _constants(train)
        images = train[index] if split == "train" else pixels(index)
    height, width = images.shape[2:]
    guard_memory(LEAST_ACTIVATIONS * height * width, f"a network on images of {width}×{height} pixels, as in {label},")
    images = _normalise(images, mean, std, label)
    labels = labels[index]
    return Data(label, split, images, labels, classes, mean, std, _digest(images, labels))


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """Seeded order of examples in which every prefix holds the classes in proportion.

    A smaller subset is thus the beginning of every larger one. Classes of equal size never differ by
    more than one in any prefix. Targets that are no classes are merely shuffled.

    Parameters
    ----------
    labels : integer Tensor, shape (N,), or float Tensor, shape (N, K)
    seed : int

    Returns
    -------
    int64 Tensor, shape (N,), on the CPU
        A permutation.
    """
    shuffle = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    if labels.is_floating_point():
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
) -> list[tuple[Tensor, Tensor]]:
    """Slice the data, moved to the device once, into (images, labels) of ``size``; the last may be short."""
    if size < 1:
        raise BadInput(f"batch size is {size}; expected 1 or more")
    images = data.images.to(device, dtype)
    labels = data.labels.to(device, dtype if data.labels.is_floating_point() else None)
    return list(zip(images.split(size), labels.split(size), strict=True))


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


def _outputs(train: Tensor, labels: Tensor, name: str) -> int:
    """Count classes, or targets, in the training labels and check that the split's own labels agree."""
    if train.is_floating_point() or labels.is_floating_point():
        if train.dtype != labels.dtype or train.shape[1:] != labels.shape[1:]:
            raise BadInput(f"{name}: the two splits' targets differ in kind or width; make them alike")
        return train.shape[1]
    present = len(train.unique())
    low, high = int(train.min()), int(train.max())
    if low < 0 or present != high + 1:
        raise BadInput(
            f"{name}: training labels take {present} values from {low} to {high}; "
            f"expected every class from 0 on to occur. Renumber the classes"
        )
    if present == 1:
        raise BadInput(f"{name}: all training labels are 0; expected two classes or more, or there is nothing to tell")
    wrong = labels[(labels < 0) | (labels > high)]
    if len(wrong):
        raise BadInput(f"{name}: a test label is {int(wrong[0])}; expected 0 to {high} as in training")
    return present


def _choose(labels: Tensor, examples: int | None, seed: int, what: str) -> Tensor:
    if examples is None:
        return torch.arange(len(labels))
    if not 1 <= examples <= len(labels):
        raise BadInput(f"{examples} examples were asked of {what}; expected 1 to the {len(labels)} there are")
    return stratified_order(labels, seed)[:examples]


def _constants(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, of images as ``_normalise`` sees them."""
    scale = 1.0 if images.is_floating_point() else 255.0
    mean, std = [], []
    for channel in images.unbind(1):  # one at a time: the sums are in float64
        spread, centre = torch.std_mean(channel.double(), correction=0)
        flat = channel.min() == channel.max()  # nothing to scale; rounding noise is no spread
        # Eight digits: as many as float32 can use, too few to show in what order a machine sums.
        mean.append(float(f"{centre.item() / scale:.8g}"))
        std.append(1.0 if flat else float(f"{spread.item() / scale:.8g}"))
    return tuple(mean), tuple(std)


def _normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], name: str) -> Tensor:
    channels = images.shape[1]
    if not len(mean) == len(std) == channels:
        raise BadInput(
            f"{name} has {channels} channel(s), but there are {len(mean)} means and {len(std)} standard "
            f"deviations; give one of each per channel"
        )
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise BadInput(f"mean {mean} and std {std} cannot normalise; expected finite means and std above 0")
    guard_memory(4 * images.numel(), f"{name} as float32")
    # A copy, and contiguous, whatever the layout of the source.
    scaled = torch.empty(images.shape, dtype=torch.float32).copy_(images)
    if not images.is_floating_point():
        scaled /= 255
    centre, spread = (torch.tensor(x, dtype=torch.float32)[:, None, None] for x in (mean, std))
    return scaled.sub_(centre).div_(spread)


def _digest(images: Tensor, labels: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in (images, labels):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().numpy())
    return digest.hexdigest()
