"""State dicts of other people's CIFAR ResNets, under our names.

Most repositories name a residual network of three stages alike: ``conv1``, ``bn1``, ``layerK.J.convM`` and ``.bnM``,
``layerK.J.shortcut.N`` or ``.downsample.N``, ``linear`` or ``fc``; so do pytorch_resnet_cifar10, descendants of
pytorch-cifar, and the code of Li et al. 2018 (whose networks without shortcuts are `plain` here). The same weights then
compute the same function, with one exception: shortcuts that pad with zeros.

Such shortcuts have no weights, so a state dict does not tell how they pad. We put the zeros behind the channels;
pytorch_resnet_cifar10 puts one half before them and one behind. Which channel is which means nothing to a network, so
they are put into another order, here and wherever they are read. The sums are then the same but for their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from landscape.checkpoints.entries import Entry, entry_under
from landscape.errors import BadInput

__all__ = ["arguments_of", "describe_architecture", "entry_of", "padded", "renamed", "reordered"]

OURS = ("resnet", "plain")
NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
NAME = re.compile(
    rf"conv1\.weight|bn1\.{NORM}|layer\d+\.\d+\.(conv\d\.weight|bn\d\.{NORM}"
    rf"|(shortcut|downsample)\.(0\.weight|1\.{NORM}))|(linear|fc)\.(weight|bias)"
)
BLOCK = re.compile(r"layer(\d+)\.(\d+)\.(conv|bn|shortcut|downsample)\.?(\d)\.(\w+)")
CURE = "give its own class with --network package.module:factory"


def renamed(weights: Mapping[str, Tensor], network: str) -> tuple[dict[str, Tensor], dict]:
    """Weights under our names, in their order, and the arguments that our network is built with.

    Parameters
    ----------
    weights : of one network, without a prefix before the names
    network : what the user says that they belong to

    Returns
    -------
    The weights as they are, and no arguments, if they do not bear such names or belong to another network.

    Raises
    ------
    BadInput
        They bear such names but are of another architecture than ours.
    """
    if network not in OURS or not all(isinstance(name, str) and NAME.fullmatch(name) for name in weights):
        return dict(weights), {}
    arguments = arguments_of(weights, network)
    ours = {_ours(name): tensor for name, tensor in weights.items()}
    try:
        return (reordered(ours) if padded(arguments) else ours), arguments
    except IndexError as error:
        raise BadInput(f"the weights are of a network whose stages do not double their channels; {CURE}") from error


def entry_of(parts: Mapping[str, Mapping[str, Tensor]], network: str, name: str | None, path: Path) -> Entry | None:
    """The one set of weights with such names in a file; None if there is none, or for other networks than ours.

    Parameters
    ----------
    parts, name, path : as in `landscape.checkpoints.entries.entry_for`

    Raises
    ------
    BadInput
        There are several, averages among them, and `name` does not say which.
    """
    return entry_under(parts, NAME, "conv1.weight", name, path) if network in OURS else None


def arguments_of(weights: Mapping[str, Tensor], network: str) -> dict:
    """What `landscape.networks.residual.resnet` is told to make a network of weights with such names.

    Raises
    ------
    BadInput
        There is no such network of ours.
    """
    blocks = sorted({(int(match[1]), int(match[2])) for name in weights if (match := BLOCK.fullmatch(name))})
    stages = [[place for stage, place in blocks if stage == number] for number in sorted({s for s, _ in blocks})]
    n = len(blocks) // 3
    if not n or blocks != [(s + 1, j) for s in range(3) for j in range(n)]:
        raise BadInput(
            f"the weights are of a network with stages of {', '.join(str(len(stage)) for stage in stages) or 'no'} "
            f"blocks, {network} has 3 stages of equal length; {CURE}"
        )
    pairs = ("conv1.weight", "bn1.weight"), ("layer2.0.conv1.weight", "layer2.0.bn1.weight")
    if not all(
        one in weights and other in weights and len(weights[one]) == len(weights[other]) for one, other in pairs
    ):
        raise BadInput(f"the weights are of a network whose BatchNorm does not follow its convolutions; {CURE}")
    bottleneck = "layer1.0.conv3.weight" in weights
    width = len(weights["conv1.weight"])
    around = {name.rsplit(".", 3)[0] for name in weights if "shortcut" in name or "downsample" in name}
    arguments: dict[str, int | str] = {"depth": (9 if bottleneck else 6) * n + 2, "width": width}
    if bottleneck:
        arguments["block"] = "bottleneck"
    if network == "plain":
        if around:
            raise BadInput("the weights have projections on their shortcuts, plain has no shortcuts; use resnet")
        return arguments
    if bottleneck and not around:
        raise BadInput(f"the weights are of bottlenecks whose shortcuts, if any, have no weights; use plain, or {CURE}")
    everywhere = len(around) == len(blocks)
    arguments["shortcut"] = "projection-everywhere" if everywhere else "projection" if around else "zero-pad"
    return arguments


def padded(arguments: Mapping) -> bool:
    """Whether weights with these arguments, from `renamed`, have their channels in another order than in their file."""
    return arguments.get("shortcut") == "zero-pad"


def reordered(weights: Mapping[str, Tensor], back: bool = False) -> dict[str, Tensor]:
    """Weights, or a direction, with the channels in the order of zeros behind instead of half before and half behind.

    Parameters
    ----------
    weights : under our names; of basic blocks that double the channels from stage to stage
    back : the other way round
    """
    # Our channel p is the other network's channel order[p]; its shortcuts lead channel c to c + (new channels) / 2.
    orders = [torch.arange(len(weights["stem.0.weight"]))]
    for _ in range(2):
        half = len(orders[-1]) // 2
        inside = half + orders[-1]
        outside = [c for c in range(2 * len(orders[-1])) if c < half or c >= half + len(orders[-1])]
        orders.append(torch.cat([inside, torch.tensor(outside)]))
    if back:
        orders = [order.argsort() for order in orders]

    def moved(name: str, tensor: Tensor) -> Tensor:
        if name == "head.2.weight":
            return tensor[:, orders[-1]]
        _, _, rest = name.partition("stages.")
        if not rest or not tensor.ndim:
            return tensor
        stage, place, _, layer, _ = rest.split(".")
        if layer == "0":  # the first convolution reads the stream
            return tensor[:, orders[max(int(stage) - (place == "0"), 0)]]
        return tensor[orders[int(stage)]] if layer in ("3", "4") else tensor  # the last one and its BatchNorm add to it

    return {name: moved(name, tensor) for name, tensor in weights.items()}


def describe_architecture(network: str, arguments: Mapping) -> str:
    """One line on what was taken for granted."""
    given = ", ".join(f"{name} {value}" for name, value in arguments.items())
    zeros = "; zeros taken to be padded half before the channels and half behind, as in pytorch_resnet_cifar10"
    return f"weights under other names, taken for {network} with {given}{zeros * padded(arguments)}"


def _ours(name: str) -> str:
    """Our name for one of theirs."""
    match = BLOCK.fullmatch(name)
    if match is None:
        layer, _, what = name.rpartition(".")
        return f"{ {'conv1': 'stem.0', 'bn1': 'stem.1', 'linear': 'head.2', 'fc': 'head.2'}[layer] }.{what}"
    stage, place, part, number, what = match.groups()
    block = f"stages.{int(stage) - 1}.{place}"
    if part in ("shortcut", "downsample"):
        return f"{block}.shortcut.{number}.{what}"
    return f"{block}.branch.{3 * (int(number) - 1) + (part == 'bn')}.{what}"
