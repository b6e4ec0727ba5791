"""A measurement is the mean over examples, with its error, whatever the batches and the threads."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.evaluation.measure import LOSSES, evaluating, measure
from landscape.networks import build


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build("resnet", depth=8, width=4, channels=1)


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(1)
    return torch.randn(100, 1, 8, 8), torch.randint(10, (100,))


def test_loss_error_and_accuracy_are_those_of_float64(network, data):
    network.eval()
    with torch.no_grad():
        outputs = build_double(network)(data[0].double())
    each = F.cross_entropy(outputs, data[1], reduction="none").numpy()
    m = measure(network, [data])
    assert m["loss"] == pytest.approx(each.mean(), rel=1e-6)
    assert m["loss_se"] == pytest.approx(each.std(ddof=1) / 10, rel=1e-5)
    assert m["accuracy"] == (outputs.argmax(1) == data[1]).double().mean().item()
    assert m["examples"] == 100


def build_double(network):
    copy = build("resnet", depth=8, width=4, channels=1).double().eval()
    copy.load_state_dict(network.state_dict())
    return copy


def test_a_short_last_batch_counts_by_its_examples(network, data):
    whole = measure(network, [data])
    parts = measure(network, list(zip(data[0].split(33), data[1].split(33), strict=True)))
    assert parts == pytest.approx(whole, rel=1e-6)
    copies = measure(network, [(data[0][:1], data[1][:1])] * 3)
    assert copies["loss_se"] == 0


def test_the_stated_error_is_that_of_a_sample():
    """Over many samples of one population, the loss scatters as much as loss_se says."""
    torch.manual_seed(2)
    population = torch.randn(20000, 3), torch.randint(3, (20000,))
    samples = [torch.randint(20000, (200,)) for _ in range(300)]
    measured = [measure(nn.Identity(), [(population[0][s], population[1][s])]) for s in samples]
    scatter = np.std([m["loss"] for m in measured])
    assert np.mean([m["loss_se"] for m in measured]) == pytest.approx(scatter, rel=0.15)


def test_threads_do_not_change_a_bit(network):
    inputs = torch.randn(40000, 1, 4, 4)  # long enough that torch would sum it in parallel
    batches = list(zip(inputs.split(4000), torch.randint(10, (40000,)).split(4000), strict=True))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    before = torch.get_num_threads()
    each = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        each.append((measure(linear, batches), measure(network, [[part[:200] for part in batches[0]]])))
    torch.set_num_threads(before)
    assert each[0] == each[1]


def test_infinite_and_undefined_losses_are_measured_as_such():
    targets = torch.tensor([0, 1])
    infinite = measure(nn.Identity(), [(torch.tensor([[0.0, torch.inf], [0.0, 0.0]]), targets)])
    assert not np.isfinite(infinite["loss"])
    assert np.isnan(measure(nn.Identity(), [(torch.full((2, 2), torch.nan), targets)])["loss"])


def test_squared_error_counts_classes_as_one_hot_and_takes_targets_as_they_are():
    outputs = torch.tensor([[1.0, 2.0], [0.0, 0.5]])
    assert LOSSES["mse"](outputs, torch.tensor([1, 0])).tolist() == [(1 + 1) / 2, (1 + 0.25) / 2]
    m = measure(nn.Identity(), [(outputs, torch.zeros(2, 2))], LOSSES["mse"])
    assert m["loss"] == pytest.approx((2.5 + 0.125) / 2)
    assert "accuracy" not in m


def test_measuring_leaves_statistics_and_modes_alone(network, data):
    network.train()
    network.stem.eval()
    modes = [module.training for module in network.modules()]
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure(network, [data])
    assert modes == [module.training for module in network.modules()]
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())
    with pytest.raises(RuntimeError), evaluating(network):
        raise RuntimeError
    assert modes == [module.training for module in network.modules()]


def test_as_many_examples_are_taken_as_another_measurement_took(network, data):
    """And not a batch more, even where the number ends a batch."""
    batches = list(zip(data[0].split(25), data[1].split(25), strict=True))
    for number, batch_count in ((25, 1), (50, 2), (60, 3), (100, 4)):
        whole = measure(network, batches[:batch_count])
        assert measure(network, batches, examples=number) == whole
