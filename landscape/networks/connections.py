"""Shortcuts since 2020 by name, which carry more than one stream around a branch.

What they are is in the modules that are imported here. Each says what comes before the first block, what leads around
and through each, and what comes behind the last one.
"""

from landscape.errors import BadInput
from landscape.networks.checks import pick, whole
from landscape.networks.delta import Delta
from landscape.networks.depth_attention import DepthAttention
from landscape.networks.hyper_connections import HYPER, Connections
from landscape.networks.value_residual import Values

__all__ = ["CONNECTIONS", "VALUES", "Around", "connections_of"]

CONNECTIONS = (*HYPER, "delta", "depth-attention")
VALUES = (None, "residual")

Around = Connections | Delta | DepthAttention | Values


def connections_of(
    shortcut: object,
    join: object,
    streams: int,
    dynamic: bool,
    zeroed: bool,
    normed: bool,
    values: str | None = None,
    images: bool = True,
) -> Around | None:
    """What is around the blocks of a network with such shortcuts or values; None if nothing but one stream.

    Parameters
    ----------
    shortcut, join, streams, dynamic : as in `landscape.networks.residual.resnet`
    zeroed : whether its branches start as 0
    normed : whether a norm comes after the join
    values : as in `landscape.networks.transformer.transformer`
    images : whether it takes them, else tokens

    Raises
    ------
    BadInput
        There is no such thing.
    """
    pick("values", values, VALUES)
    if dynamic and shortcut not in HYPER:
        raise BadInput(f"dynamic is of hyper-connections, and shortcut is {shortcut!r}; leave it out")
    if values is not None:
        if shortcut != "identity" or join != "add":
            raise BadInput("values='residual' takes shortcut='identity' and join='add' around attention and MLP")
        return Values()
    if shortcut not in CONNECTIONS:
        return None
    if join != "add":
        raise BadInput(f"shortcut={shortcut!r} says itself what is added to what; leave out join={join!r}")
    if shortcut == "depth-attention":
        if normed:
            raise BadInput(
                "with shortcut='depth-attention' a norm after the join would be taken of all outputs again and again; "
                "choose an order without one"
            )
        return DepthAttention(images)
    whole("streams", streams, 2 if shortcut == "mhc" else 1)
    if shortcut in HYPER:
        return Connections(str(shortcut), streams, dynamic, images)
    if zeroed:
        raise BadInput(
            "a branch that starts as 0 has no direction for shortcut='delta'; leave out zero_init and norm='none'"
        )
    return Delta(streams, images)
