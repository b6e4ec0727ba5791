"""Shortcuts since 2020 by name, which carry more than one stream around a branch.

What they are is in the modules that are imported here; each says what comes before the first block, what leads around and
through each, and what comes behind the last one.
"""

from landscape.errors import BadInput
from landscape.networks.checks import whole
from landscape.networks.hyper_connections import HYPER, Connections

__all__ = ["CONNECTIONS", "connections_of"]

CONNECTIONS = HYPER


def connections_of(
    shortcut: object, join: object, streams: int, dynamic: bool, images: bool = True
) -> Connections | None:
    """The connections of a network with such a shortcut; None if it is another one.

    Raises
    ------
    BadInput
        There cannot be such connections.
    """
    if shortcut not in CONNECTIONS:
        if dynamic:
            raise BadInput(f"dynamic is of hyper-connections, and shortcut is {shortcut!r}; leave it out")
        return None
    whole("streams", streams, 2 if shortcut == "mhc" else 1)
    if join != "add":
        raise BadInput(f"hyper-connections say themselves what is added to what; leave out join={join!r}")
    return Connections(str(shortcut), streams, dynamic, images)
