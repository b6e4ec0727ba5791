"""Shortcuts since 2020 by name, which carry more than one stream around a branch.

What they are is in the modules that are imported here. Each says what comes before the first block, what leads around
and through each, and what comes behind the last one.
"""

from landscape.errors import BadInput
from landscape.networks.checks import whole
from landscape.networks.delta import Delta
from landscape.networks.hyper_connections import HYPER, Connections

__all__ = ["CONNECTIONS", "connections_of"]

CONNECTIONS = (*HYPER, "delta")


def connections_of(
    shortcut: object, join: object, streams: int, dynamic: bool, zeroed: bool, images: bool = True
) -> Connections | Delta | None:
    """The connections of a network with such a shortcut; None if it is another one.

    Parameters
    ----------
    shortcut, join, streams, dynamic : as in `landscape.networks.residual.resnet`
    zeroed : whether its branches start as 0
    images : whether it takes them, else tokens

    Raises
    ------
    BadInput
        There cannot be such connections.
    """
    if shortcut not in CONNECTIONS:
        if dynamic:
            raise BadInput(f"dynamic is of hyper-connections, and shortcut is {shortcut!r}; leave it out")
        return None
    if join != "add":
        raise BadInput(f"shortcut={shortcut!r} says itself what is added to what; leave out join={join!r}")
    whole("streams", streams, 2 if shortcut == "mhc" else 1)
    if shortcut in HYPER:
        return Connections(str(shortcut), streams, dynamic, images)
    if dynamic:
        raise BadInput(f"shortcut={shortcut!r} always depends on the streams; leave out dynamic")
    if zeroed:
        raise BadInput(
            "a branch that starts as 0 has no direction for shortcut='delta'; leave out zero_init and norm='none'"
        )
    return Delta(streams, images)
