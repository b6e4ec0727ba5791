"""Networks with and without shortcuts, made by name.

Conventions: inputs are float images (N, C, H, W) of any size, outputs are logits (N, classes). Weights
come from torch's global generator, so seed it first. Blocks are ``stages.0.0``, ``stages.0.1``, … in
every network. But a transformer takes int64 tokens (N, T) and gives logits (N, T, vocabulary), and a vit takes images
of one size; their blocks are ``layers.0.attention``, ``layers.0.mlp``, ….
"""

import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from landscape.errors import BadInput, did_you_mean, raised
from landscape.import_path import import_object
from landscape.networks.block import Block
from landscape.networks.families import NETWORKS
from landscape.networks.size_limit import MOST, at_most
from landscape.networks.summary import Summary, summary
from landscape.networks.titles import titled

TIMM = "timm:"

__all__ = ["NETWORKS", "Block", "Summary", "build", "summary", "titled"]


def build(name: str, **arguments: object) -> nn.Module:
    """Make a network.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`, ``timm:NAME`` for a model of timm, or ``package.module:factory`` for any callable that can
        be imported.
    **arguments
        The factory's own.

    Examples
    --------
    >>> build("resnet", depth=56, shortcut="projection")
    >>> build("torchvision.models:resnet18", num_classes=10)
    """
    if name.startswith(TIMM) and name != f"{TIMM}create_model":
        factory = _of_timm(name.removeprefix(TIMM), arguments)
    elif ":" in name:
        factory = import_object(name)
    elif name in NETWORKS:
        factory = NETWORKS[name]
    else:
        known = f"use one of {', '.join(NETWORKS)}, or package.module:factory"
        raise BadInput(f"there is no network {name!r}; {known}{did_you_mean(name, NETWORKS)}")
    _check_arguments(name, factory, arguments)
    try:
        with at_most(MOST):
            network = factory(**arguments)
    except TypeError as error:  # a factory that passes **arguments on knows only now
        if any(f"keyword argument '{argument}'" in str(error) for argument in arguments):  # unexpected, or given twice
            raise BadInput(f"{name}: {error}; leave it out or spell it as the factory does") from error
        if name in NETWORKS:
            raise
        raise BadInput(f"{name} fails ({raised(error)}); mend it, or give it other arguments") from error
    except (Exception, SystemExit) as error:  # of a factory of the user's, of any kind
        if name in NETWORKS or isinstance(error, BadInput | MemoryError) or "memory" in str(error):
            raise
        raise BadInput(f"{name} fails ({raised(error)}); mend it, or give it other arguments") from error
    if not isinstance(network, nn.Module):
        raise BadInput(f"{name} made a {type(network).__name__}; it must return a torch.nn.Module")
    return network


def _of_timm(name: str, arguments: dict[str, object]) -> Callable:
    """What makes a network of timm, with random weights."""
    if odd := sorted({"checkpoint_path", "pretrained"} & arguments.keys()):
        raise BadInput(f"timm:{name} gets the weights of the checkpoint; leave out {odd[0]}")
    create, is_model = (import_object(f"timm:{function}") for function in ("create_model", "is_model"))
    if not is_model(name):
        known = import_object("timm:list_models")()
        raise BadInput(f"timm has no model {name!r}; timm.list_models() has all{did_you_mean(name, known)}")
    return partial(create, name, pretrained=False)


def _check_arguments(name: str, factory: Callable, arguments: dict[str, object]) -> None:
    try:
        signature = inspect.signature(factory)
    except ValueError:  # some compiled callables do not tell
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return
    # What a partial has settled is settled: "plain" takes no shortcut.
    known = [p for p in signature.parameters if p not in getattr(factory, "keywords", {})]
    unknown = [argument for argument in arguments if argument not in known]
    if unknown:
        raise BadInput(f"{name} has no argument {', '.join(unknown)}; it has {', '.join(known)}")
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise BadInput(f"{name}: {error}; give it") from error
