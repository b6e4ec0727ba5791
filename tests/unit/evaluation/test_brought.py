"""What people bring, by command: networks, data and losses in a module of theirs give the numbers of plain PyTorch."""

import numpy as np
import pytest
import torch
from brought_networks import binary, brought, made
from measured import surface

from landscape.errors import BadInput

brought = pytest.fixture(brought)


def test_a_loss_that_holds_the_network_sees_it_move(brought):
    """As one with a penalty of the weights does, or one that evaluates the network again."""
    network, batches = made("four", "labels")

    def penalty(out, y):
        return binary(out, y) + network.weight.square().sum()

    xs = np.linspace(-1, 1, 3)
    results = surface(network, batches, "a.h5", x=(-1, 1, 3), loss=penalty, quiet=True)
    assert np.ptp(results["loss"]) > 0.1
    moved = [(s, p) for s, p in zip(xs, results["loss"], strict=True) if s]
    size = network.weight.detach().square().sum().item()
    apart = surface(network, batches, "b.h5", x=(-1, 1, 3), loss=binary, quiet=True)["loss"]
    assert all(loss - apart[int(x + 1)] > size for x, loss in moved)


def test_a_network_is_given_back_to_the_bit_when_a_loss_fails(brought):
    network, batches = made("four", "labels")
    before, calls = network.weight.detach().clone(), []

    def failing(out, y):
        calls.append(1)
        if len(calls) > 4:
            raise BadInput("enough")
        return binary(out, y)

    with pytest.raises(BadInput):
        surface(network, batches, "a.h5", x=(-1, 1, 5), loss=failing, quiet=True)
    assert torch.equal(network.weight, before) and network.training
