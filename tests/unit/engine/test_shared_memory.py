"""Large arrays are once in a machine's memory, and every rank sees them."""

import numpy as np

from landscape.engine.ranks import SerialComm
from landscape.engine.shared_memory import load_once_per_node


def test_a_single_process_needs_no_mpi():
    assert load_once_per_node(SerialComm(), lambda: ("a", [np.ones(2)]))[0] == "a"
