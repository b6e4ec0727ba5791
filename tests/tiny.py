"""A network small enough for a dense Hessian, trained for a second, in memory and in a file."""

import copy
from functools import cache

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from landscape.checkpoints import checkpoint as checkpoints
from landscape.checkpoints.checkpoint import Checkpoint
from landscape.data import batches, load
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build

__all__ = ["checkpoint", "dense", "digits", "network", "snapshots", "with_digits"]


def digits(examples=30):
    """Standardised, as commands have them."""
    return load("digits", "train", examples=examples, standardize=True)


def network(seed=0, width=1, steps=40):
    """resnet-8 after some steps of gradient descent."""
    return copy.deepcopy(_trained(seed, width, steps))


@cache
def _trained(seed, width, steps):
    return list(snapshots(seed, width, steps, every=steps))[-1]


def snapshots(seed=0, width=1, steps=40, every=10):
    """The network of a short training, each time that some of the steps are taken; it is one and the same."""
    data = digits(300)
    torch.manual_seed(seed)
    made = build("resnet", depth=8, width=width, channels=1)
    optimiser = torch.optim.SGD(made.parameters(), lr=0.1, momentum=0.9)
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        cross_entropy(made.train()(data.images), data.labels).backward()
        optimiser.step()
        if step % every == 0:
            optimiser.zero_grad()
            yield made.eval()


def with_digits(network, examples=30, **how):
    """An evaluator whose numbers are those of a command with ``--examples``."""
    data = digits(examples)
    return Evaluator(network, batches(data, examples), **how)


def checkpoint(network, path, width=1, epoch=0):
    """The network in a file, as if trained."""
    data = digits()
    about = {"name": "digits", "classes": 10, "mean": data.mean, "std": data.std}
    arguments, history = {"depth": 8, "width": width, "channels": 1}, {"epoch": [*range(epoch + 1)]}
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    checkpoints.save(Checkpoint("resnet", arguments, weights, about, history=history), path)
    return path


def dense(network, examples=30, which=lambda name, p: p.ndim >= 2):
    """The Hessian of the mean loss, by torch.func in float64, and the names of the parameters that it is of."""
    data, weights = digits(examples), {name: p.detach().double() for name, p in network.named_parameters()}
    statistics = {name: b.double() if b.is_floating_point() else b for name, b in network.named_buffers()}
    moved = {name: p for name, p in weights.items() if which(name, p)}

    def loss(vector):
        parts = vector.split([p.numel() for p in moved.values()])
        here = {name: part.view_as(moved[name]) for name, part in zip(moved, parts, strict=True)}
        outputs = functional_call(network, weights | statistics | here, (data.images.double(),))
        return cross_entropy(outputs, data.labels)

    training = network.training
    network.eval()
    hessian = torch.func.hessian(loss)(torch.cat([p.flatten() for p in moved.values()]))
    network.train(training)
    return hessian.numpy(), list(moved)
