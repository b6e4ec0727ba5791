"""Convolutions go channels-last, except where their gradient would be written past its memory."""

import pytest
import torch
from torch import nn

from landscape.evaluation.borrowing import borrowed
from landscape.networks.layout import channels_last, suits_channels_last


def strided(channels, **how):
    return nn.Sequential(nn.Conv2d(channels, 8, **{"kernel_size": 1, "stride": 2, "bias": False} | how))


def is_channels_last(network):
    return network[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture(params=["AVX2", "AVX512"])
def processor(request, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: request.param)
    return request.param


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
def test_a_narrow_strided_1x1_convolution_goes_without_channels_last_where_there_is_no_avx512(
    processor, channels, stride
):
    assert suits_channels_last(strided(channels, stride=stride)) == (processor != "AVX2")


@pytest.mark.parametrize("how", [{"stride": 1}, {"kernel_size": 3}, {"padding": 1, "kernel_size": 2}])
def test_other_narrow_convolutions_are_channels_last_on_every_processor(processor, how):
    assert suits_channels_last(strided(4, **how))


def test_a_convolution_of_eight_channels_is_channels_last_on_every_processor(processor):
    network = strided(8, kernel_size=1)
    channels_last(network)
    assert suits_channels_last(network)
    assert is_channels_last(network)


def test_of_a_grouped_convolution_the_channels_of_a_group_count(processor):
    assert suits_channels_last(strided(16, groups=4)) == (processor != "AVX2")


def test_a_callers_network_that_came_channels_last_is_measured_without_it_and_given_back_so(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    network = strided(4).to(memory_format=torch.channels_last)
    strides = network[0].weight.stride()
    with borrowed(network):
        # is_contiguous() is true of a 1×1 kernel in both layouts; oneDNN goes by the strides
        assert network[0].weight.stride() == (4, 1, 1, 1) != strides
    assert network[0].weight.stride() == strides


def test_gradients_of_a_narrow_strided_convolution_are_those_in_float64():
    """On this processor, whichever it is, again and again: memory that was overwritten shows sooner or later."""
    network = strided(4)
    channels_last(network)
    exact = strided(4).double()
    exact.load_state_dict(network.state_dict())
    for _ in range(20):
        x = torch.randn(100, 4, 8, 8)
        if suits_channels_last(network):
            x = x.contiguous(memory_format=torch.channels_last)
        ours, theirs = (each.requires_grad_() for each in (x, x.detach().double()))
        network(ours).square().sum().backward()
        exact(theirs).square().sum().backward()
        torch.testing.assert_close(ours.grad, theirs.grad.float(), rtol=1e-5, atol=1e-5)
