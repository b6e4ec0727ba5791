"""How long to wait for what should end: seconds of an idle machine, as many more as this one has to do."""

import os

MARGIN = 4.0  # what may come in the meantime


def patient(seconds: float) -> float:
    """These seconds on a machine whose cores are this one's and have nothing else to do, and a margin."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return MARGIN * seconds * (1 + load / (os.cpu_count() or 1))
