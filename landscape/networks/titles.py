"""One name for a network, in files, tables and figures."""

import inspect
from collections.abc import Mapping

from landscape.networks.families import NETWORKS

__all__ = ["depth_of", "titled"]

# Arguments that do not make another network: the depth is in the title already, the next five follow from the data, and
# the rest matters to the training alone.
UNSAID = (
    *("depth", "classes", "channels", "vocabulary", "context", "size"),
    *("checkpointing", "zero_init", "gate_bias", "dropout"),
)
LONGEST = 24  # letters of a value; a file may hold any


def titled(network: str, arguments: Mapping[str, object]) -> str:
    """The name of a network that `landscape.networks.build` makes of these.

    It is the family and the depth, with "preact-" before it for pre-activation. Behind a colon stand the arguments
    that make it another network, as in the variants of ``trainings.py``. Those of a user's own factory are not known.

    Examples
    --------
    >>> titled("resnet", {"depth": 56, "order": "pre", "join": "pooled-gate"})
    'preact-resnet-56:join=pooled-gate'
    >>> titled("torchvision.models:resnet18", {"num_classes": 10})
    'resnet18'
    """
    name = network.rpartition(":")[2]
    title = f"{name}-{arguments['depth']}" if "depth" in arguments else name
    if network not in NETWORKS:
        return title
    defaults = {p.name: p.default for p in inspect.signature(NETWORKS[network]).parameters.values()}
    other = {
        argument: arguments[argument]
        for argument, default in defaults.items()
        if argument not in UNSAID and argument in arguments and _text(arguments[argument]) != _text(default)
    }
    if other.get("order") == "pre":
        title = f"preact-{title}"
        del other["order"]
    return title + ":" * bool(other) + ",".join(f"{argument}={_text(value)}" for argument, value in other.items())


def depth_of(network: str, arguments: Mapping[str, object]) -> int:
    """The depth of a network that `landscape.networks.build` makes of these; 0 where it is not known.

    Examples
    --------
    >>> depth_of("resnet", {"width": 4}), depth_of("resnet", {"depth": 56}), depth_of("mine:make", {})
    (20, 56, 0)
    """
    depth = arguments.get("depth")
    if depth is None and network in NETWORKS:
        depth = inspect.signature(NETWORKS[network]).parameters["depth"].default
    return depth if isinstance(depth, int) else 0


def _text(value: object) -> str:
    if isinstance(value, list):  # what was a tuple
        value = tuple(value)
    return "".join(str(value).split())[:LONGEST]
