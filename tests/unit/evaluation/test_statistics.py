"""BatchNorm's statistics are what the policy says, and the network's own again afterwards."""

import pytest
import torch
from small import trained_like
from torch import nn

from landscape.errors import BadInput
from landscape.evaluation.batchnorm import interpolated, of_each_batch, recalibrated
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.fused import fuse
from landscape.networks import build
from landscape.weights import digest


@pytest.fixture
def network():
    torch.manual_seed(0)
    return trained_like(build("resnet", depth=8, width=4, channels=1))


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def other(network):
    """Another checkpoint of the network: other statistics, the same weights."""
    torch.manual_seed(5)
    end = state(network)
    for name in end:
        if name.endswith("running_mean"):
            end[name].normal_()
        if name.endswith("running_var"):
            end[name].uniform_(0.1, 5)
    return end


@pytest.mark.parametrize("policy", [interpolated, recalibrated, of_each_batch])
@pytest.mark.parametrize("fail", [False, True])
def test_afterwards_all_is_as_before(network, policy, fail):
    arguments = {interpolated: ([other(network)], [0.4]), recalibrated: ([torch.randn(8, 1, 8, 8)],), of_each_batch: ()}
    before, modes = digest(state(network)), [(m.training, getattr(m, "momentum", 0)) for m in network.modules()]
    buffers = {id(buffer) for buffer in network.buffers()}
    try:
        with policy(network, *arguments[policy]):
            inside = digest(state(network))
            if fail:
                raise RuntimeError
    except RuntimeError:
        pass
    assert inside != before
    assert digest(state(network)) == before
    assert [(m.training, getattr(m, "momentum", 0)) for m in network.modules()] == modes
    assert {id(buffer) for buffer in network.buffers()} == buffers


def test_interpolation_ends_at_both_checkpoints_and_stays_positive_beyond(network):
    end, own = other(network), state(network)
    with interpolated(network, [end], [0.0]):
        assert digest(state(network)) == digest(own)
    with interpolated(network, [end], [1.0]):
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, end[name])
    with interpolated(network, [end, own], [0.5, 0.3]):  # the second end is the origin: its coordinate changes nothing
        for name, tensor in network.state_dict().items():
            if name.endswith("running_mean"):
                torch.testing.assert_close(tensor, (own[name] + end[name]) / 2)
            if name.endswith("running_var"):
                torch.testing.assert_close(tensor, (own[name] * end[name]).sqrt())
    for coordinate in (-20.0, 20.0):
        with interpolated(network, [end], [coordinate]):
            assert all((b > 0).all() for name, b in network.named_buffers() if name.endswith("running_var"))


def test_recalibrated_statistics_are_those_of_the_layers_inputs(network):
    """Against hooks that see what goes into each BatchNorm, of the first of which the numbers are simple."""
    batches = torch.randn(3, 16, 1, 8, 8)
    seen = []
    norm = network.stem[1]
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    with recalibrated(network, batches):
        assert len(seen) == 3
        means = torch.stack([x.mean((0, 2, 3)) for x in seen])
        variances = torch.stack([x.transpose(0, 1).flatten(1).var(1) for x in seen])
        torch.testing.assert_close(norm.running_mean, means.mean(0))
        torch.testing.assert_close(norm.running_var, variances.mean(0))
        assert not norm.training


def test_recalibration_on_one_batch_is_that_batchs_statistics(network):
    """In evaluation, with the batch's own statistics but for the factor n/(n − 1) of the stored variance."""
    x = torch.randn(64, 1, 8, 8)
    with torch.no_grad():
        with recalibrated(network, [x]):
            stored = network(x)
        with of_each_batch(network):
            own = network(x)
    torch.testing.assert_close(stored, own, rtol=0.02, atol=0.02)
    assert not torch.equal(stored, own)


def test_statistics_of_a_batch_are_those_of_training_mode(network):
    x = torch.randn(16, 1, 8, 8)
    trained = build("resnet", depth=8, width=4, channels=1)
    trained.load_state_dict(network.state_dict())
    with torch.no_grad(), of_each_batch(network):
        torch.testing.assert_close(network(x), trained.train()(x))


def test_a_fused_forward_follows(network):
    quick, _ = fuse(network, torch.randn(2, 1, 8, 8))
    x = torch.randn(16, 1, 8, 8)
    for context in (interpolated(network, [other(network)], [0.7]), recalibrated(network, [x])):
        with context, torch.inference_mode():
            torch.testing.assert_close(quick(x), network(x), rtol=1e-4, atol=1e-4)


def test_a_network_without_batchnorm_has_no_statistics():
    with pytest.raises(BadInput, match="leave out batchnorm"), of_each_batch(nn.Linear(2, 2)):
        pass


def test_calibration_takes_each_example_once_whatever_the_batches():
    inputs, targets = torch.arange(30.0)[:, None], torch.arange(30) % 3
    network = nn.Linear(1, 3)
    for sizes in ([30], [10, 10, 10], [7, 11, 12]):
        batches = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))
        with Evaluator(network, batches).ready() as evaluation:
            assert sorted(torch.cat(evaluation.calibration(30)).flatten().tolist()) == list(range(30))
            some = torch.cat(evaluation.calibration(6)).flatten().long()
        assert (some % 3).bincount().tolist() == [2, 2, 2]  # stratified
