"""What is odd about a surface is told, and nothing odd about one that is as it should be."""

import numpy as np
import pytest
import torch
from torch import nn

from landscape.planes.diagnose import drift
from landscape.weights import digest


def test_drift_is_the_distance_of_stored_statistics_from_those_of_the_activations():
    torch.manual_seed(0)
    inputs = torch.randn(512, 3, 4, 4)
    norm = nn.BatchNorm2d(3, eps=1e-12)
    norm.running_mean.copy_(inputs.mean((0, 2, 3)) - 2 * 3)
    norm.running_var.copy_(9 * torch.ones(3))
    network = nn.Sequential(norm).eval()
    before = digest(dict(network.state_dict()))
    ((shift, scale),) = drift(network, [inputs]).values()
    assert shift == pytest.approx(2, rel=1e-5)
    assert scale == pytest.approx(np.median(inputs.std((0, 2, 3)).numpy()) / 3, rel=1e-3)
    assert digest(dict(network.state_dict())) == before and not norm.training
