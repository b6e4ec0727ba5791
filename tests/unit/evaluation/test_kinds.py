"""Kinds × examples of what people bring: each row is measured right (1e-6, by plain PyTorch), or refused in one line.

A row that may be refused says so; every other one in `RIGHT` must be measured. Accuracy is there where it is defined,
and nowhere else.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from measured import lesions, surface
from plain import line, mean, parts, without
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from landscape.errors import BadInput

N = 12
SIZES = (7, 5)  # batches are not of one size
XS = (-1, 1, 3)
ABSENT = None


def possible(accuracy):
    """Accuracy that may be absent; where there is one, it is this."""
    return accuracy, False


def draws(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def classes(*shape, of, seed=1):
    return torch.randint(0, of, shape, generator=torch.Generator().manual_seed(seed))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


class Net(nn.Module):
    """A small perceptron, and what becomes of its outputs, or of its inputs before."""

    def __init__(self, inputs=5, outputs=4, after=None, before=None):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))
        self.before, self.after = before, after

    def forward(self, *args, **kwargs):
        x = self.before(*args, **kwargs) if self.before else args[0]
        out = self.layers(x)
        return self.after(out) if self.after else out


def net(*args, **kwargs) -> nn.Module:
    return seeded(lambda: Net(*args, **kwargs))


def scores(outputs):
    """The tensor among the outputs: all rows but those that say otherwise give one."""
    return outputs


@dataclass(frozen=True)
class Row:
    """A network, its data and loss as people bring them; and what is meant, in plain PyTorch.

    Attributes
    ----------
    loss : as given; None for no loss
    each : of scores and targets, the meant loss of each example, shape (N,); NaN where an example has none
    accuracy : the same for accuracy; ABSENT; or `possible`
    scores : takes from the outputs the tensor that counts
    refusable : whether one line will do as well
    meant : what inputs and targets mean, where the call gets something else
    forward : how the network is meant to be called
    """

    network: nn.Module
    inputs: object
    targets: object
    loss: object = None
    each: Callable | None = None
    accuracy: object = ABSENT
    scores: Callable = scores
    refusable: bool = False
    meant: tuple | None = None
    forward: Callable | None = None
    sizes: tuple = SIZES
    x: tuple = XS
    rtol: float = 1e-6

    def batches(self, meant: bool = False):
        data = self.meant if meant and self.meant else (self.inputs, self.targets)
        return list(zip(*(parts(each, *self.sizes) for each in data), strict=True))


def given(loss) -> dict:
    return {} if loss is None else {"loss": loss}


def one_line(error: BaseException) -> bool:
    """In words for one who calls the library: no option of a command is named."""
    text = str(error)
    return bool(text.strip()) and "\n" not in text and "--" not in text


# Losses of each example, as they are meant


def nll(out, y):
    return F.cross_entropy(out, y, reduction="none")


def right(out, y):
    return (out.argmax(1) == y).double()


def positions(out, y, void=-100):
    """Outputs (N, C, …), targets (N, …): the mean over an example's positions that are not void."""
    losses, counts = F.cross_entropy(out, y, reduction="none", ignore_index=void).flatten(1), (y != void).flatten(1)
    return losses.where(counts, torch.nan).nanmean(1)


def positions_right(out, y, void=-100):
    return (out.argmax(1) == y).double().where(y != void, torch.nan).flatten(1).nanmean(1)


def last(function):
    """The same for outputs (N, …, C)."""
    return lambda out, y, **more: function(out.movedim(-1, 1), y, **more)


def squares(out, y):
    return (out.reshape(len(y), -1) - y.reshape(len(y), -1)).abs().square().mean(1)


def binary(out, y):
    out = out.reshape(len(y), -1)
    return F.binary_cross_entropy_with_logits(out, y.reshape(len(y), -1).to(out), reduction="none").mean(1)


def sides(out, y):
    return ((out.flatten() > 0) == (y.flatten() > 0)).double()


X = draws(N, 5)
Y = classes(N, of=4)
REAL, REALS = draws(N, seed=2), draws(N, 3, seed=3)
YES = classes(N, of=2)
LABELS = classes(N, 4, of=2)
TOKENS, NEXT = classes(N, 6, of=9), classes(N, 6, of=9, seed=2)
IMAGES, MAP = draws(N, 2, 4, 3), classes(N, 4, 3, of=5)


def flat(out):
    return out.flatten()


def shaped(*shape):
    return lambda out: out.reshape(-1, *shape)


def hot(ids):
    return F.one_hot(ids, 9).float()


def voided(targets, void=-100, seed=5):
    """About a third of the positions void, but the first of each example."""
    targets = targets.clone()
    gone = torch.rand(targets.shape, generator=torch.Generator().manual_seed(seed)) < 0.35
    gone.flatten(1)[:, 0] = False
    return targets.masked_fill(gone, void)


def voided_example(targets):
    targets = targets.clone()
    targets[3] = -100
    return targets


def language(after=None):
    return net(9, 9, before=hot, after=after)  # (N, T, 9)


def pixels(channels=5):
    return seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, channels, 1)))


RIGHT: dict[str, Row] = {}
REFUSED: dict[str, Row] = {}

# Classes, in all integer types; several of what is given is not quite a class number
RIGHT |= {
    "classes": Row(net(), X, Y, None, nll, right),
    "classes, int32": Row(net(), X, Y.int(), None, nll, right, meant=(X, Y)),
    "classes, uint8": Row(net(), X, Y.byte(), None, nll, right, meant=(X, Y)),
    "classes, int16": Row(net(), X, Y.short(), None, nll, right, meant=(X, Y)),
    "two classes, bool": Row(net(5, 2), X, YES.bool(), None, nll, right, meant=(X, YES), refusable=True),
    "classes, squared error": Row(net(), X, Y, "mse", lambda out, y: squares(out, F.one_hot(y, 4)), right),
    "classes as a column": Row(
        net(), X, Y[:, None], None, lambda out, y: nll(out, y[:, 0]), possible(lambda out, y: right(out, y[:, 0])),
        refusable=True,
    ),
    "soft classes": Row(net(), X, draws(N, 4).softmax(1), "cross_entropy", nll, possible(ABSENT), refusable=True),
    "one-hot classes, float": Row(
        net(), X, F.one_hot(Y, 4).float(), "cross_entropy", nll,
        possible(lambda out, y: right(out, y.argmax(1))), refusable=True,
    ),
    "one-hot classes, integers": Row(
        net(), X, F.one_hot(Y, 4), None, lambda out, y: nll(out, y.argmax(1)),
        possible(lambda out, y: right(out, y.argmax(1))), refusable=True,
    ),
    "an example without a class": Row(
        net(), X, voided_example(Y), None, lambda out, y: nll(out, y).where(y >= 0, torch.nan),
        lambda out, y: right(out, y).where(y >= 0, torch.nan), refusable=True,
    ),
    "one class": Row(net(5, 1), X, Y * 0, None, nll, possible(right), refusable=True),
    "a batch of one example": Row(net(), X, Y, None, nll, right, sizes=(11, 1)),
    "batches of one example": Row(net(), X, Y, None, nll, right, sizes=(1,) * N),
}  # fmt: skip
REFUSED |= {
    "class 4 of 0…3": Row(net(), X, Y + 1),
    "class −1": Row(net(), X, Y - 1),
    "class 4 in the second batch alone": Row(net(), X, torch.cat([Y[:-1], torch.tensor([4])])),
    "class 4, squared error": Row(net(), X, Y + 1, "mse"),
    "class −1, squared error": Row(net(), X, Y - 1, "mse"),
    "real targets as classes": Row(net(), X, REAL, "cross_entropy"),
    "whole real numbers as classes": Row(net(), X, Y.float(), "cross_entropy"),
    "real targets, as many as outputs, as classes": Row(net(5, 3), X, REALS, "cross_entropy"),
    "complex targets as classes": Row(net(), X, Y.to(torch.complex64), "cross_entropy"),
    "more targets than examples": Row(net(), X, torch.cat([Y, Y]), sizes=(N,), meant=(X, Y)),
}

# Regression
RIGHT |= {
    "regression (N, 1), (N,)": Row(net(5, 1), X, REAL, "mse", squares),
    "regression (N, 1), (N, 1)": Row(net(5, 1), X, REAL[:, None], "mse", squares),
    "regression (N,), (N,)": Row(net(5, 1, flat), X, REAL, "mse", squares),
    "regression (N,), (N, 1)": Row(net(5, 1, flat), X, REAL[:, None], "mse", squares),
    "regression (N, 3), (N, 3)": Row(net(5, 3), X, REALS, "mse", squares),
    "regression (N, 2, 3)": Row(net(5, 6, shaped(2, 3)), X, draws(N, 2, 3, seed=4), "mse", squares),
    "regression (N, 3, 1), (N, 3)": Row(net(5, 3, shaped(3, 1)), X, REALS, "mse", squares),
    "regression, targets float64": Row(net(5, 1), X, REAL.double(), "mse", squares),
    "regression, whole numbers": Row(net(5, 1), X, Y, "mse", squares),
    "regression, as many outputs as examples": Row(net(5, N), X, draws(N, N, seed=4), "mse", squares, sizes=(N,)),
    "regression, batches of one": Row(net(5, 1), X, REAL, "mse", squares, sizes=(1,) * N),
    "regression, whole numbers (N, 3)": Row(net(5, 3), X, classes(N, 3, of=3), "mse", squares, refusable=True),
    "images from images": Row(pixels(2), IMAGES, IMAGES, "mse", squares),
    "a loss of one's own, (N,)": Row(net(5, 3), X, REALS, squares, squares),
    "a loss of one's own, (N, 1)": Row(net(5, 1), X, REAL[:, None], lambda out, y: (out - y) ** 2, squares),
    "a loss of one's own, (N, 3)": Row(net(5, 3), X, REALS, nn.MSELoss(reduction="none"), squares, refusable=True),
    "an absolute error": Row(net(5, 1), X, REAL, lambda o, y: (o[:, 0] - y).abs(), lambda o, y: (o[:, 0] - y).abs()),
    "a smooth error": Row(
        net(5, 3), X, REALS, partial(F.smooth_l1_loss, reduction="none"),
        lambda out, y: F.smooth_l1_loss(out, y, reduction="none").mean(1), refusable=True,
    ),
    "a Gaussian's mean and width": Row(
        net(5, 2), X, REAL,
        lambda o, y: F.gaussian_nll_loss(o[:, 0], y, o[:, 1].exp(), reduction="none"),
        lambda o, y: 0.5 * (o[:, 1] + (o[:, 0] - y) ** 2 / o[:, 1].exp()),
    ),
    "two targets in a tuple": Row(
        net(5, 4), X, (REAL, Y),
        lambda out, y: (out[:, 0] - y[0]) ** 2 + F.cross_entropy(out, y[1], reduction="none"),
        lambda out, y: (out[:, 0] - y[0]) ** 2 + nll(out, y[1]),
    ),
    "two targets in a dict": Row(
        net(5, 4), X, {"real": REAL, "class": Y},
        lambda out, y: (out[:, 0] - y["real"]) ** 2 + F.cross_entropy(out, y["class"], reduction="none"),
        lambda out, y: (out[:, 0] - y["real"]) ** 2 + nll(out, y["class"]),
    ),
}  # fmt: skip
REFUSED |= {
    "regression (N, 1), (N,), no loss": Row(net(5, 1), X, REAL),
    "regression (N,), (N,), no loss": Row(net(5, 1, flat), X, REAL),
    "regression (N, 1), (N, 1), no loss": Row(net(5, 1), X, REAL[:, None]),
    "regression (N, 3), no loss": Row(net(5, 3), X, REALS),
    "images from images, no loss": Row(pixels(2), IMAGES, IMAGES),
    "complex targets, no loss": Row(net(5, 1), X, REAL.to(torch.complex64)),
    "(N, 3) against (N,)": Row(net(5, 3), X, REAL, "mse"),
    "(N, 3) against (N, 1)": Row(net(5, 3), X, REAL[:, None], "mse"),
    "(N, 1) against (N, 3)": Row(net(5, 1), X, REALS, "mse"),
    "(N, N) against (N,)": Row(net(5, N), X, REAL, "mse", sizes=(N,)),
    "(N, 2, 3) against (N, 3)": Row(net(5, 6, shaped(2, 3)), X, REALS, "mse"),
    "(N, 2, 3) against (N, 3, 2)": Row(net(5, 6, shaped(2, 3)), X, draws(N, 3, 2), "mse"),
    "a loss of one's own that broadcasts": Row(net(5, 1), X, REAL, lambda out, y: (out - y) ** 2),
    "a loss that broadcasts and takes the mean": Row(net(5, 1), X, REAL, lambda out, y: ((out - y) ** 2).mean(1)),
    "a loss that broadcasts the other way": Row(
        net(5, 1, flat), X, REAL[:, None], lambda out, y: ((out - y) ** 2).mean(1)
    ),
    "a loss that broadcasts whole numbers": Row(net(5, 1), X, Y, lambda out, y: (out - y).abs().sum(1)),
    "a module that broadcasts": Row(net(5, 1), X, REAL, nn.MSELoss(reduction="none")),
    "a loss that reduces": Row(net(5, 3), X, REALS, nn.MSELoss()),
    "a loss that sums": Row(net(5, 3), X, REALS, nn.MSELoss(reduction="sum")),
    "a loss that gives a pair": Row(net(5, 3), X, REALS, lambda out, y: (out, y)),
    "a loss that gives a number": Row(net(5, 3), X, REALS, lambda out, y: 1.5),
    "a loss that gives nothing": Row(net(5, 3), X, REALS, lambda out, y: None),
}

# One logit, several labels
BCE = "binary_cross_entropy"
RIGHT |= {
    "one logit (N, 1), (N,)": Row(net(5, 1), X, YES, BCE, binary, sides),
    "one logit (N,), (N,)": Row(net(5, 1, flat), X, YES, BCE, binary, sides),
    "one logit (N, 1), (N, 1)": Row(net(5, 1), X, YES[:, None], BCE, binary, possible(sides)),
    "one logit, float targets (N,)": Row(net(5, 1), X, YES.float(), BCE, binary, possible(sides)),
    "one logit, float targets (N, 1)": Row(net(5, 1), X, YES[:, None].float(), BCE, binary, possible(sides)),
    "one logit, bool targets": Row(net(5, 1), X, YES.bool(), BCE, binary, possible(sides), meant=(X, YES)),
    "one logit, probabilities": Row(net(5, 1), X, draws(N).sigmoid(), BCE, binary),
    "one logit, a loss of one's own": Row(
        net(5, 1), X, YES,
        lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y.float(), reduction="none"), binary,
        possible(sides),
    ),
    "a probability, a loss of one's own": Row(
        net(5, 1, torch.sigmoid), X, YES, lambda out, y: F.binary_cross_entropy(out[:, 0], y.float(), reduction="none"),
        lambda out, y: -(y * out[:, 0].log() + (1 - y) * (1 - out[:, 0]).log()),
        possible(lambda out, y: ((out[:, 0] > 0.5) == (y > 0)).double()),
    ),
    "a side, hinge": Row(
        net(5, 1), X, YES * 2 - 1, lambda out, y: (1 - y * out[:, 0]).clamp(min=0),
        lambda out, y: (1 - y * out[:, 0]).clamp(min=0), possible(sides),
    ),
    "several labels": Row(net(), X, LABELS, BCE, binary),
    "several labels, float": Row(net(), X, LABELS.float(), BCE, binary),
    "several labels, bool": Row(net(), X, LABELS.bool(), BCE, binary),
    "several labels, as many as examples": Row(net(5, N), X, classes(N, N, of=2), BCE, binary, sizes=(N,)),
    "several labels, a loss of one's own": Row(net(), X, LABELS, lambda out, y: binary(out, y), binary),
    "several labels, unreduced": Row(
        net(), X, LABELS.float(), nn.BCEWithLogitsLoss(reduction="none"), binary, refusable=True
    ),
    "a mask (N, 1, H, W)": Row(
        pixels(1), IMAGES, classes(N, 1, 4, 3, of=2), BCE, binary,
        possible(lambda out, y: ((out > 0) == (y > 0)).double().flatten(1).mean(1)),
    ),
    "a mask (N, H, W)": Row(
        pixels(1), IMAGES, classes(N, 4, 3, of=2), BCE, binary,
        possible(lambda out, y: ((out[:, 0] > 0) == (y > 0)).double().flatten(1).mean(1)),
    ),
}  # fmt: skip
REFUSED |= {
    "one logit, no loss": Row(net(5, 1), X, YES),
    "one logit (N,), no loss": Row(net(5, 1, flat), X, YES),
    "one logit, sides −1 and 1": Row(net(5, 1), X, YES * 2 - 1, BCE),
    "one logit, class 2": Row(net(5, 1), X, classes(N, of=3), BCE),
    "one logit, float, no loss": Row(net(5, 1), X, YES.float()),
    "several labels, no loss": Row(net(), X, LABELS),
    "several labels, float, no loss": Row(net(), X, (LABELS + 1).float()),
    "four logits for one label": Row(net(), X, YES, BCE),
    "as many logits as examples for one label": Row(net(5, N), X, YES, BCE, sizes=(N,)),
}

# Tokens and pixels
RIGHT |= {
    "tokens (N, T, V)": Row(language(), TOKENS, NEXT, None, last(positions), last(positions_right)),
    "tokens (N, V, T)": Row(
        language(lambda out: out.movedim(-1, 1)), TOKENS, NEXT, None, positions, positions_right
    ),
    "tokens, void": Row(language(), TOKENS, voided(NEXT), None, last(positions), last(positions_right)),
    "tokens, named": Row(language(), TOKENS, voided(NEXT), "cross_entropy", last(positions), last(positions_right)),
    "tokens (N, V, T), void": Row(
        language(lambda out: out.movedim(-1, 1)), TOKENS, voided(NEXT), None, positions, positions_right
    ),
    "tokens, int32": Row(
        language(), TOKENS, NEXT.int(), None, last(positions), last(positions_right), meant=(TOKENS, NEXT)
    ),
    "tokens, an example void": Row(
        language(), TOKENS, voided_example(NEXT), None, last(positions), last(positions_right), refusable=True
    ),
    "tokens, batches of one": Row(
        language(), TOKENS, voided(NEXT), None, last(positions), last(positions_right), sizes=(1,) * N
    ),
    "tokens, a loss of one's own (N, T)": Row(
        language(), TOKENS, NEXT, lambda out, y: F.cross_entropy(out.movedim(-1, 1), y, reduction="none"),
        last(positions), possible(last(positions_right)),
    ),
    "tokens, a loss of one's own (N, T), void": Row(
        language(), TOKENS, voided(NEXT), lambda out, y: F.cross_entropy(out.movedim(-1, 1), y, reduction="none"),
        last(positions), possible(last(positions_right)),
    ),
    "tokens, a loss of one's own (N·T,)": Row(
        language(), TOKENS, NEXT, lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="none"),
        last(positions), possible(last(positions_right)), refusable=True,
    ),
    "tokens, a loss of one's own (N·T,), void": Row(
        language(), TOKENS, voided(NEXT),
        lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten(), reduction="none"),
        last(positions), possible(last(positions_right)), refusable=True,
    ),
    "tokens, a loss of one's own (N,)": Row(
        language(), TOKENS, NEXT, last(positions), last(positions), possible(last(positions_right))
    ),
    "the next token, shifted by the loss": Row(
        language(), TOKENS, TOKENS, lambda out, y: last(positions)(out[:, :-1], y[:, 1:]),
        lambda out, y: last(positions)(out[:, :-1], y[:, 1:]),
        possible(lambda out, y: last(positions_right)(out[:, :-1], y[:, 1:])),
    ),
    "as many tokens as positions, a loss of one's own": Row(
        language(), classes(N, 9, of=9), classes(N, 9, of=9, seed=2), last(positions), last(positions),
        possible(last(positions_right)),
    ),
    "the last token": Row(language(lambda out: out[:, -1]), TOKENS, NEXT[:, 0], None, nll, right),
    "a class of each pair of positions": Row(
        net(9, 5, before=lambda ids: (hot(ids)[:, :, None] + hot(ids)[:, None]) / 2), TOKENS,
        classes(N, 6, 6, of=5), None, last(positions), last(positions_right), refusable=True,
    ),
    "pixels": Row(pixels(), IMAGES, MAP, None, positions, positions_right),
    "pixels, void": Row(pixels(), IMAGES, voided(MAP), None, positions, positions_right),
    "pixels, uint8": Row(pixels(), IMAGES, MAP.byte(), None, positions, positions_right, meant=(IMAGES, MAP)),
    "pixels, channels last": Row(
        seeded(lambda: nn.Sequential(pixels(), nn.Unflatten(2, (4, 1)), nn.Flatten(2, 3))), IMAGES, MAP, None,
        positions, positions_right,
    ),
    "pixels (N, H, W, C)": Row(
        net(2, 5, before=lambda x: x.movedim(1, -1)), IMAGES, MAP, None, last(positions), last(positions_right),
        refusable=True,
    ),
    "pixels, void 255, a loss of one's own (N,)": Row(
        pixels(), IMAGES, voided(MAP, 255), partial(positions, void=255), partial(positions, void=255),
        possible(partial(positions_right, void=255)),
    ),
    "pixels, void 255, a loss of one's own (N, H, W)": Row(
        pixels(), IMAGES, voided(MAP, 255), partial(F.cross_entropy, reduction="none", ignore_index=255),
        partial(positions, void=255), possible(partial(positions_right, void=255)), refusable=True,
    ),
    "voxels": Row(
        seeded(lambda: nn.Conv3d(2, 5, 1)), draws(N, 2, 2, 4, 3), classes(N, 2, 4, 3, of=5), None,
        positions, positions_right,
    ),
    "a sequence of classes (N, C, T)": Row(
        seeded(lambda: nn.Conv1d(2, 5, 1)), draws(N, 2, 7), voided(classes(N, 7, of=5)), None,
        positions, positions_right,
    ),
}  # fmt: skip
REFUSED |= {
    "as many tokens as positions": Row(language(), classes(N, 9, of=9), classes(N, 9, of=9, seed=2)),
    "a token of 9 is 9": Row(language(), TOKENS, NEXT + 1),
    "a token is −1": Row(language(), TOKENS, NEXT - 1),
    "pixels, void 255": Row(pixels(), IMAGES, voided(MAP, 255)),
    "fewer targets than tokens": Row(language(), TOKENS, NEXT[:, :-1]),
    "a map of another size": Row(pixels(), IMAGES, classes(N, 2, 2, of=5)),
    "real targets of tokens, no loss": Row(language(), TOKENS, NEXT.float()),
    "tokens, a loss that reduces": Row(
        language(), TOKENS, NEXT, lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten())
    ),
    "tokens, a loss that sums over examples": Row(
        language(), TOKENS, NEXT, lambda out, y: F.cross_entropy(out.movedim(-1, 1), y, reduction="none").sum(0)
    ),
}

# What comes out
Pair = namedtuple("Pair", "state logits")
Two = namedtuple("Two", "mean width")


@dataclass
class Answer:
    logits: torch.Tensor
    state: torch.Tensor


class ModelOutput(OrderedDict):
    """As of transformers: a mapping with attributes, which leaves out what is None."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


def key(name):
    return lambda out: out[name]


OUTPUTS = {
    "a tuple": (lambda out: (out, out * 2), key(0), False),
    "a list": (lambda out: [out, out * 2], key(0), False),
    "a tuple of one": (lambda out: (out,), key(0), False),
    "a named tuple": (lambda out: Two(out, out * 2), key(0), False),
    "a named tuple with logits": (lambda out: Pair(out * 2, out), key(1), False),
    "a dict of logits": (lambda out: {"state": out * 2, "logits": out}, key("logits"), False),
    "a dict of torchvision": (lambda out: OrderedDict(aux=out * 2, out=out), key("out"), False),
    "a dict of one": (lambda out: {"scores": out}, key("scores"), False),
    "a ModelOutput": (lambda out: ModelOutput(state=out * 2, logits=out), key("logits"), False),
    "a ModelOutput without logits": (lambda out: ModelOutput(first=out, second=out * 2), key("first"), True),
    "a dict of unknown names": (lambda out: {"a": out, "b": out * 2}, key("a"), True),
    "a dataclass": (lambda out: Answer(out, out * 2), lambda out: out.logits, True),
    "a tuple in a tuple": (lambda out: ((out, out * 2), out * 3), lambda out: out[0][0], True),
    "a tuple that begins with None": (lambda out: (None, out), key(1), True),
}
RIGHT |= {
    f"outputs: {name}": Row(net(5, 4, after), X, Y, None, nll, right, scores=of, refusable=refusable)
    for name, (after, of, refusable) in OUTPUTS.items()
}
RIGHT |= {
    f"outputs: {name}, tokens": Row(
        language(after), TOKENS, voided(NEXT), None, last(positions), last(positions_right), scores=of,
        refusable=refusable,
    )
    for name, (after, of, refusable) in OUTPUTS.items()
    if name in ("a tuple", "a dict of logits", "a ModelOutput")
}  # fmt: skip
REFUSED |= {
    "outputs: None": Row(net(after=lambda out: None), X, Y),
    "outputs: a string": Row(net(after=lambda out: "four"), X, Y),
    "outputs: an empty dict": Row(net(after=lambda out: {}), X, Y),
    "outputs: an empty tuple": Row(net(after=lambda out: ()), X, Y),
    "outputs: a number": Row(net(after=lambda out: out.sum()), X, Y),
    "outputs: twice as many rows": Row(net(after=lambda out: torch.cat([out, out])), X, Y),
    "outputs: one row of several": Row(net(after=lambda out: out[:1]), X, REAL, "mse"),
}


# What goes in
class Several(nn.Module):
    """A network of two tensors and a flag."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(3, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, a, b=None, mask=None):
        hidden = self.a(a) if b is None else self.a(a) + self.b(b)
        return self.last(torch.tanh(hidden if mask is None else hidden * mask[:, None]))


Inputs = namedtuple("Inputs", "a b")
Z, MASK = draws(N, 3, seed=7), classes(N, of=2)


def several():
    return seeded(Several)


class OneDict(nn.Module):
    """A network whose one argument is a dict, as those of graphs and of detection."""

    def __init__(self):
        super().__init__()
        self.inner = Several()

    def forward(self, batch):
        return self.inner(batch["a"], batch["b"])


class OneTuple(OneDict):
    def forward(self, batch):
        return self.inner(*batch)


RIGHT |= {
    "inputs: a tuple": Row(several(), (X, Z), Y, None, nll, right),
    "inputs: a list": Row(several(), [X, Z], Y, None, nll, right),
    "inputs: a tuple of one": Row(several(), (X,), Y, None, nll, right),
    "inputs: a named tuple": Row(several(), Inputs(X, Z), Y, None, nll, right),
    "inputs: a dict": Row(several(), {"a": X, "b": Z}, Y, None, nll, right),
    "inputs: a dict in another order": Row(several(), {"mask": MASK, "b": Z, "a": X}, Y, None, nll, right),
    "inputs: an OrderedDict": Row(several(), OrderedDict(b=Z, a=X), Y, None, nll, right),
    "inputs: a dict with None": Row(several(), {"a": X, "b": None, "mask": MASK}, Y, None, nll, right),
    "inputs: a tuple with None": Row(several(), (X, None, MASK), Y, None, nll, right),
    "inputs: a dict of one argument": Row(
        seeded(OneDict), {"a": X, "b": Z}, Y, None, nll, right, forward=lambda network, x: network(x)
    ),
    "inputs: a tuple of one argument": Row(
        seeded(OneTuple), (X, Z), Y, None, nll, right, forward=lambda network, x: network(x)
    ),
    "inputs: tokens and a mask": Row(
        net(9, 9, before=lambda ids, attention: hot(ids) * attention[..., None]),
        {"ids": TOKENS, "attention": classes(N, 6, of=2)}, voided(NEXT), None, last(positions), last(positions_right),
    ),
    "inputs: float64": Row(net().double(), X.double(), Y, None, nll, right),
    "inputs: integers": Row(net(before=lambda x: x.float() / 9), classes(N, 5, of=9), Y, None, nll, right),
    "inputs: uint8 images": Row(
        net(24, 4, before=lambda x: x.flatten(1).float() / 255), classes(N, 2, 4, 3, of=256).byte(), Y, None, nll, right
    ),
    "inputs: NumPy arrays": Row(net(), X.numpy(), Y.numpy(), None, nll, right, meant=(X, Y), refusable=True),
    "inputs: not contiguous": Row(net(), X.T.contiguous().T, Y, None, nll, right),
    "inputs: with a gradient": Row(net(), X.clone().requires_grad_(True), Y, None, nll, right),
}  # fmt: skip
REFUSED |= {
    "inputs: of other numbers of examples": Row(several(), (X, Z[:-1]), Y, sizes=(N,)),
    "inputs: a name that the network lacks": Row(several(), {"a": X, "c": Z}, Y),
    "inputs: one too many": Row(net(before=lambda x: x), (X, Z), Y),
    "inputs: of another width": Row(net(), Z, Y),
    "inputs: of another type": Row(net(), X.double(), Y),
    "inputs: numbers without an axis": Row(net(), torch.tensor(1.0), torch.tensor(1), sizes=(0,), meant=(X, Y)),
}


# Forwards and losses that take derivatives
class Residual(nn.Module):
    """u″ + sin x, where derivatives may be asked for inside or left to the caller."""

    def __init__(self, asks):
        super().__init__()
        self.u, self.asks = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)), asks

    def forward(self, x):
        with torch.enable_grad() if self.asks else torch.set_grad_enabled(torch.is_grad_enabled()):
            x = x.detach().requires_grad_(True)
            (first,) = torch.autograd.grad(self.u(x).sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
        return second + torch.sin(x)


class Forces(Residual):
    """−dE/dx of atoms."""

    def __init__(self, asks):
        super().__init__(asks)
        self.u = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x):
        with torch.enable_grad() if self.asks else torch.set_grad_enabled(torch.is_grad_enabled()):
            x = x.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.u(x).square().sum(), x)
        return -slope


class EnergyAndForces(Forces):
    def forward(self, x):
        return {"out": super().forward(x), "energy": self.u(x).sum((1, 2))}


class InPlace(Forces):
    """The caller's inputs are asked for their gradient."""

    def forward(self, x):
        x.requires_grad_(True)
        (slope,) = torch.autograd.grad(self.u(x).square().sum(), x, create_graph=True)
        return -slope


class Functional(Forces):
    def forward(self, x):
        def energy(one):
            return self.u(one).square().sum()

        return -torch.func.vmap(torch.func.grad(energy))(x)


class Jacobian(Forces):
    def forward(self, x):
        return torch.func.vmap(torch.func.jacrev(lambda one: torch.tanh(self.u(one))[:, 0].cumsum(0)))(x)[:, -1]


class Checkpointed(Net):
    def forward(self, x):
        return torch.utils.checkpoint.checkpoint(self.layers, x, use_reentrant=False)


def curvature(out, y):
    """A loss that differentiates by the outputs, and asks for it."""
    with torch.enable_grad():
        out = out.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad((out - y).pow(4).sum(), out)
    return slope.abs().mean(1)


def curvature_unasked(out, y):
    out = out.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad((out - y).pow(4).sum(), out)
    return slope.abs().mean(1)


def quartic_slope(out, y):
    return (4 * (out - y).pow(3)).abs().mean(1)


POINTS, ATOMS = torch.linspace(0, 3.14, N)[:, None], draws(N, 4, 3)
ZERO = torch.zeros(N, 1)
PULLS = draws(N, 4, 3, seed=9)
RIGHT |= {
    "a residual of an equation, asking": Row(seeded(lambda: Residual(True)), POINTS, ZERO, "mse", squares),
    "a residual of an equation": Row(seeded(lambda: Residual(False)), POINTS, ZERO, "mse", squares),
    "forces, asking": Row(seeded(lambda: Forces(True)), ATOMS, PULLS, "mse", squares),
    "forces": Row(seeded(lambda: Forces(False)), ATOMS, PULLS, "mse", squares),
    "forces among others": Row(seeded(lambda: EnergyAndForces(False)), ATOMS, PULLS, "mse", squares, scores=key("out")),
    "forces, inputs in place": Row(seeded(lambda: InPlace(False)), ATOMS, PULLS, "mse", squares),
    "forces by torch.func": Row(seeded(lambda: Functional(False)), ATOMS, PULLS, "mse", squares),
    "a Jacobian by torch.func": Row(seeded(lambda: Jacobian(False)), ATOMS, PULLS[:, 0].repeat(1, 4).reshape(N, 4, 3),
                                    "mse", squares),
    "forces, a loss of one's own": Row(seeded(lambda: Forces(False)), ATOMS, PULLS, squares, squares),
    "a checkpointed forward": Row(seeded(lambda: Checkpointed()), X, Y, None, nll, right),
    "a loss that differentiates, asking": Row(net(5, 3), X, REALS, curvature, quartic_slope),
    "a loss that differentiates": Row(net(5, 3), X, REALS, curvature_unasked, quartic_slope),
    "both differentiate": Row(
        seeded(lambda: Residual(False)), POINTS, ZERO, curvature_unasked, quartic_slope
    ),
}  # fmt: skip


# Networks that cannot be copied
class Holding(Net):
    """With something that `copy.deepcopy` refuses."""

    def __init__(self, held):
        super().__init__()
        self.held = held() if held else self.layers[0].weight * 2


class Remembering(Net):
    """It keeps what it saw last, as those do whose features are looked at."""

    def forward(self, x):
        self.seen = self.layers[0](x)
        return self.layers(x)


def remembering():
    network = seeded(Remembering)
    network(X)
    return network


def weight_normed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = seeded(lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 4))))
    network(X)
    return network


class Ungiving(Net):
    def __deepcopy__(self, memo):
        raise TypeError("not to be copied")


HELD = {
    "a tensor with a graph": None,
    "a lock": threading.Lock,
    "a generator": lambda: (i for i in range(3)),
    "an open file": lambda: open(os.devnull),  # noqa: SIM115
    "a module": lambda: os,
    "a random generator": torch.Generator,
}
RIGHT |= {
    f"holding {name}": Row(seeded(lambda held=held: Holding(held)), X, Y, None, nll, right)
    for name, held in HELD.items()
}
RIGHT |= {
    "holding what it saw": Row(remembering(), X, Y, None, nll, right),
    "holding a weight that a hook computes": Row(weight_normed(), X, Y, None, nll, right, x=(0, 0, 1)),
    "not to be copied": Row(seeded(Ungiving), X, Y, None, nll, right),
}


# Types of weights
class ComplexLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 5, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(self.weight) @ self.weight.T).abs()


RIGHT |= {
    "weights complex": Row(seeded(ComplexLinear), X, Y, None, nll, right, x=(0, 0, 1)),
    "weights float64": Row(net().double(), X.double(), Y, None, nll, right),
    "weights bfloat16": Row(net().bfloat16(), X.bfloat16(), Y, None, lambda o, y: nll(o.float(), y), right,
                            x=(0, 0, 1)),
    "weights float16": Row(net().half(), X.half(), Y, None, lambda o, y: nll(o.float(), y), right, x=(0, 0, 1)),
    "weights bfloat16, real targets": Row(
        net(5, 3).bfloat16(), X.bfloat16(), REALS, "mse", lambda o, y: squares(o.float(), y), x=(0, 0, 1)
    ),
    "weights bfloat16 in part": Row(
        net(after=lambda out: out.float(), before=lambda x: x.bfloat16()).bfloat16(), X, Y, None, nll, right,
        x=(0, 0, 1),
    ),
}  # fmt: skip

# Losses as they are named
RIGHT |= {
    "loss: cross_entropy": Row(net(), X, Y, "cross_entropy", nll, right),
    "loss: a module": Row(net(), X, Y, nn.CrossEntropyLoss(reduction="none"), nll, possible(right)),
    "loss: a partial": Row(net(), X, Y, partial(F.cross_entropy, reduction="none"), nll, possible(right)),
    "loss: smoothed labels": Row(
        net(), X, Y, nn.CrossEntropyLoss(reduction="none", label_smoothing=0.1),
        lambda out, y: 0.9 * nll(out, y) - 0.1 * out.log_softmax(1).mean(1), possible(right),
    ),
    "loss: an import path": Row(
        net(5, 3), X, REALS, "torch.nn.functional:cosine_similarity",
        lambda out, y: (F.normalize(out) * F.normalize(y)).sum(1),
    ),
}  # fmt: skip
REFUSED |= {
    "loss: of no such name": Row(net(), X, Y, "cross_entropi"),
    "loss: an empty name": Row(net(), X, Y, ""),
    "loss: a number": Row(net(), X, Y, 3),
    "loss: no such module": Row(net(), X, Y, "nowhere:loss"),
    "loss: a path that reduces": Row(net(), X, Y, "torch.nn.functional:cross_entropy"),
    "loss: a module that reduces": Row(net(), X, Y, nn.CrossEntropyLoss()),
}


def checked(results, row, xs):
    how = {"forward": row.forward} if row.forward else {}
    batches = row.batches(meant=True)
    expected = line(row.network, batches, lambda out, y: row.each(row.scores(out), y), xs, **how)
    np.testing.assert_allclose(results["loss"], expected, rtol=row.rtol)
    accuracy, needed = row.accuracy if isinstance(row.accuracy, tuple) else (row.accuracy, row.accuracy is not None)
    if "accuracy" not in results.variables:
        assert not needed, "accuracy is defined"
        return
    assert accuracy is not None, "accuracy is not defined"
    expected = line(row.network, batches, lambda out, y: accuracy(row.scores(out), y), xs, **how)
    np.testing.assert_allclose(results["accuracy"], expected, rtol=1e-6)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.slow
def test_it_is_measured_as_meant(name, tmp_path):
    row = RIGHT[name]
    before = {key: value.clone() for key, value in row.network.state_dict().items()}
    row.network.train()
    try:
        results = surface(row.network, row.batches(), tmp_path / "a.h5", x=row.x, quiet=True, **given(row.loss))
    except BadInput as error:
        assert row.refusable and one_line(error), error
        return
    assert row.network.training, "the network is in another mode"
    after = row.network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[key], value) for key, value in before.items())
    checked(results, row, np.linspace(*row.x))


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line_and_nothing_is_written(name, tmp_path):
    row = REFUSED[name]
    with pytest.raises(BadInput) as caught:
        # With a meaning of its own it cannot be cut into batches.
        batches = row.batches() if row.meant is None else [(row.inputs, row.targets)]
        surface(row.network, batches, tmp_path / "a.h5", x=XS, quiet=True, **given(row.loss))
    assert one_line(caught.value), str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in REFUSED if name.endswith("no loss")])
def test_who_names_no_loss_is_asked_for_one(name, tmp_path):
    row = REFUSED[name]
    with pytest.raises(BadInput, match=r"loss|_entropy"):
        surface(row.network, row.batches(), tmp_path / "a.h5", x=XS, quiet=True)


class Own(nn.Module):
    """Whose outputs are its weights, (N, weights)."""

    def __init__(self, dtype):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 5, dtype=dtype))

    def forward(self, x):
        real = torch.view_as_real(self.weight) if self.weight.is_complex() else self.weight
        return real.reshape(1, -1).expand(len(x), -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bfloat16])
def test_weights_of_any_type_move_by_their_own_norm(dtype, tmp_path):
    """|w + xd|² is |w|² + x²|d|² + 2x⟨w, d⟩, and |d| = |w|: the second difference is 2|w|²."""
    network, rtol = seeded(lambda: Own(dtype)), 2e-2 if dtype == torch.bfloat16 else 1e-5
    batches = [(X, torch.zeros(N, 120 if dtype.is_complex else 60))]
    loss = surface(network, batches, tmp_path / "a.h5", x=(-1, 1, 3), loss="mse", quiet=True)["loss"]
    size = network.weight.detach().abs().double().square().mean().item() / (2 if dtype.is_complex else 1)
    assert loss[1] == pytest.approx(size, rel=1e-3 if dtype == torch.bfloat16 else 1e-6)
    assert loss[0] + loss[2] - 2 * loss[1] == pytest.approx(2 * size, rel=rtol)


def test_weights_of_half_the_precision_move_as_those_of_the_whole(tmp_path):
    """As closely as three digits of each weight allow."""
    network = net().bfloat16()
    loss = surface(network, [(X.bfloat16(), Y)], tmp_path / "a.h5", x=XS, quiet=True)["loss"]
    np.testing.assert_allclose(loss, line(net(), [(X, Y)], nll, np.linspace(*XS)), rtol=3e-2)


# Axes as people write them
AXES = {
    "a list": [-1, 1, 3],
    "a float number of points": (-1, 1, 3.0),
    "an array": np.array([-1.0, 1.0, 3.0]),
    "a tensor": torch.tensor([-1.0, 1.0, 3.0]),
    "words": ("-1", "1", "3"),
    "a string": "-1 1 3",
    "a string with commas": "-1,1,3",
}


@pytest.mark.parametrize("name", AXES)
def test_an_axis_is_read_as_meant_or_refused_in_one_line(name, tmp_path):
    try:
        results = surface(net(), [(X, Y)], tmp_path / "a.h5", x=AXES[name], quiet=True)
    except BadInput as error:
        assert name not in ("a list", "a float number of points", "an array") and one_line(error)
        return
    ends = np.linspace(-1, 1, 3)
    np.testing.assert_allclose(results.coordinates["x"], ends)
    np.testing.assert_allclose(results["loss"], line(net(), [(X, Y)], nll, ends), rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"x": "abc"},
        {"x": (-1, 1)},
        {"x": (-1, 1, 3, 4)},
        {"x": 5},
        {"x": (-1, 1, 0)},
        {"x": (-1, 1, 2.5)},
        {"x": (-1, float("nan"), 3)},
        {"x": (-1, float("inf"), 3)},
        {"x": ("a", "b", "c")},
        {"x": XS, "y": "abc"},
        {"x": XS, "z": (-1, 1, 3)},
        {"x": XS, "normalize": "nonsense"},
        {"x": XS, "seed": -1},
        {"x": XS, "seed": "one"},
        {"x": XS, "repeats": 1.5},
        {"x": XS, "repeats": [2]},
        {"x": XS, "tolerance": 2},
        {"x": XS, "examples": 0},
        {"x": XS, "examples": 10**6},
        {"x": XS, "batch_size": 0},
        {"x": XS, "dtype": "float8"},
        {"x": XS, "weight_decay": "much"},
        {"x": XS, "auto_range": "far"},
        {"x": XS, "adaptive": "yes"},
        {"x": XS, "repeats": 0},
        {"x": XS, "batchnorm": "nonsense"},
    ],
    ids=str,
)
def test_options_that_are_none_are_refused_in_one_line(options, tmp_path):
    with pytest.raises(BadInput) as caught:
        surface(net(), [(X, Y)], tmp_path / "a.h5", quiet=True, **options)
    assert one_line(caught.value), str(caught.value)
    assert not list(tmp_path.iterdir())


# Data as people hand them over


def test_a_shuffled_loader_is_said_in_one_line(tmp_path):
    loader = DataLoader(TensorDataset(X, Y), 4, shuffle=True)
    results = surface(net(), loader, tmp_path / "a.h5", x=XS, quiet=True)
    np.testing.assert_allclose(results["loss"], line(net(), [(X, Y)], nll, np.linspace(*XS)), rtol=1e-6)
    with pytest.raises(BadInput, match=r"shuffl|order") as caught:
        for _ in range(3):  # an order may come twice
            surface(net(), loader, tmp_path / "a.h5", x=XS, quiet=True)
    assert one_line(caught.value)


@pytest.mark.parametrize(
    "batches",
    [
        lambda: DataLoader(TensorDataset(X, Y), 4),
        lambda: iter([(X[:7], Y[:7]), (X[7:], Y[7:])]),
        lambda: ([x, y] for x, y in zip(X.split(5), Y.split(5), strict=True)),
    ],
    ids=["a loader", "an iterator", "a generator of lists"],
)
def test_batches_may_come_in_any_iterable(batches, tmp_path, caplog):
    caplog.set_level("INFO", logger="skipscape")
    for _ in range(2):
        results = surface(net(), batches(), tmp_path / "a.h5", x=XS)
        np.testing.assert_allclose(results["loss"], line(net(), [(X, Y)], nll, np.linspace(*XS)), rtol=1e-6)
    assert "complete already" in caplog.text


@pytest.mark.parametrize(
    "batches",
    [
        [],
        [(X, Y, MASK)],
        [X],
        [{"x": X, "labels": Y}],
        [(X, "yes")],
        [(X[:0], Y[:0])],
        [(X, Y), (X[:, :3], Y)],
    ],
    ids=["none", "three", "no targets", "a dict", "words", "no examples", "of two widths"],
)
def test_batches_that_are_none_are_refused_in_one_line(batches, tmp_path):
    with pytest.raises(BadInput) as caught:
        surface(net(), batches, tmp_path / "a.h5", x=XS, quiet=True)
    assert one_line(caught.value), str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "unit"),
    [("classes", "nats"), ("regression (N, 3), (N, 3)", "as the loss"), ("an absolute error", "as the loss")],
)
def test_a_loss_has_its_own_unit(name, unit, tmp_path):
    row = RIGHT[name]
    surface(row.network, row.batches(), tmp_path / "a.h5", x=XS, quiet=True, **given(row.loss))
    with h5py.File(tmp_path / "a.h5") as file:
        assert {file[each].attrs["units"] for each in ("loss", "loss_se")} == {unit}


def test_it_is_as_silent_as_it_is_asked_to_be(tmp_path, capfd):
    surface(net(), [(X, Y)], tmp_path / "a.h5", x=XS, quiet=True)
    assert capfd.readouterr() == ("", "")


# The same kinds in lesions: three residual blocks in a row, between an entrance and an exit


class Blocks(nn.Module):
    """A residual network; `before` and `after` shape what goes in and comes out."""

    def __init__(self, inputs=5, outputs=4, before=None, after=None):
        super().__init__()
        self.enter = nn.Linear(inputs, 6)
        self.layers = nn.ModuleList(nn.Sequential(nn.Tanh(), nn.Linear(6, 6)) for _ in range(3))
        self.leave = nn.Linear(6, outputs)
        self.before, self.after = before, after

    def stream(self, x):
        x = self.enter(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.leave(x)

    def forward(self, *args, **kwargs):
        out = self.stream(self.before(*args, **kwargs) if self.before else args[0])
        return self.after(out) if self.after else out


class Slope(Blocks):
    """A force: the energy runs through the blocks."""

    def forward(self, x):
        x = x.detach().requires_grad_(True)
        return -torch.autograd.grad(self.stream(x).square().sum(), x, create_graph=True)[0]


class Locked(Blocks):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def residual(*args, kind=Blocks, **kwargs):
    return seeded(lambda: kind(*args, **kwargs))


LESIONS = {
    "classes": Row(residual(), X, Y, None, nll, right),
    "regression (N, 1), (N,)": Row(residual(5, 1), X, REAL, "mse", squares),
    "one logit": Row(residual(5, 1), X, YES, BCE, binary, sides),
    "several labels": Row(residual(), X, LABELS, BCE, binary),
    "tokens": Row(residual(9, 9, hot), TOKENS, NEXT, None, last(positions), last(positions_right)),
    "tokens, void": Row(residual(9, 9, hot), TOKENS, voided(NEXT), None, last(positions), last(positions_right)),
    "tokens, a loss of one's own": Row(
        residual(9, 9, hot), TOKENS, NEXT, lambda o, y: F.cross_entropy(o.movedim(-1, 1), y, reduction="none"),
        last(positions), possible(last(positions_right)),
    ),
    "pixels, void": Row(
        residual(2, 5, lambda x: x.movedim(1, -1), lambda out: out.movedim(-1, 1)), IMAGES, voided(MAP), None,
        positions, positions_right,
    ),
    "two inputs": Row(residual(8, 4, lambda a, b: torch.cat([a, b], 1)), (X, Z), Y, None, nll, right),
    "inputs by name": Row(residual(8, 4, lambda a, b: torch.cat([a, b], 1)), {"b": Z, "a": X}, Y, None, nll, right),
    "a dict out": Row(residual(after=lambda out: {"state": out * 2, "logits": out}), X, Y, None, nll, right,
                      scores=key("logits")),
    "a tuple out": Row(residual(after=lambda out: (out, out * 2)), X, Y, None, nll, right, scores=key(0)),
    "by name in, a ModelOutput out, tokens": Row(
        residual(9, 9, lambda ids, attention: hot(ids) * attention[..., None], lambda out: ModelOutput(logits=out)),
        {"ids": TOKENS, "attention": classes(N, 6, of=2)}, voided(NEXT), None, last(positions), last(positions_right),
        scores=key("logits"),
    ),
    "forces": Row(residual(3, 1, kind=Slope), ATOMS, PULLS, "mse", squares),
    "a loss that differentiates": Row(residual(5, 3), X, REALS, curvature_unasked, quartic_slope),
    "a lock": Row(residual(kind=Locked), X, Y, None, nll, right),
    "float64": Row(residual().double(), X.double(), Y, None, nll, right),
    "bfloat16": Row(residual().bfloat16(), X.bfloat16(), Y, None, lambda o, y: nll(o.float(), y), right),
}  # fmt: skip


def where(network):
    return {f"layers.{i}": f"layers.{i}" for i in range(3)}


@pytest.mark.parametrize("name", LESIONS)
@pytest.mark.slow
def test_a_deletion_is_measured_as_meant(name, tmp_path):
    row = LESIONS[name]
    results = lesions(
        row.network, row.batches(), tmp_path / "a.h5", blocks=where, delete=[1], quiet=True, **given(row.loss)
    )
    row.network.eval()
    losses, accuracies = [], []
    accuracy = row.accuracy[0] if isinstance(row.accuracy, tuple) else row.accuracy
    for gone in ((), *((f"layers.{i}",) for i in range(3))):
        with without(row.network, *gone):
            losses.append(mean(row.network, row.batches(), lambda out, y: row.each(row.scores(out), y)))
            if accuracy is not None:
                accuracies.append(mean(row.network, row.batches(), lambda out, y: accuracy(row.scores(out), y)))
    np.testing.assert_allclose(results["loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(results["rise"], np.subtract(losses, losses[0]), rtol=1e-5, atol=1e-7)
    if "accuracy" in results.variables:
        np.testing.assert_allclose(results["accuracy"], accuracies, rtol=1e-6)
    else:
        assert row.accuracy is None or isinstance(row.accuracy, tuple)


@pytest.mark.parametrize("name", ["regression (N, 1), (N,), no loss", "class 4 of 0…3", "one logit, no loss"])
def test_what_a_surface_refuses_a_lesion_refuses(name, tmp_path):
    row = REFUSED[name]
    outputs = row.network.layers[-1].out_features
    with pytest.raises(BadInput) as caught:
        lesions(residual(5, outputs), row.batches(), tmp_path / "a.h5", blocks=where, delete=[1], quiet=True)
    assert one_line(caught.value)
    assert not list(tmp_path.iterdir())


def test_one_number_is_as_good_as_a_list_of_one(tmp_path):
    how = {"blocks": where, "quiet": True}
    one = lesions(residual(), [(X, Y)], tmp_path / "a.h5", delete=1, **how)
    several = lesions(residual(), [(X, Y)], tmp_path / "b.h5", delete=[1], **how)
    np.testing.assert_array_equal(one["loss"], several["loss"])
