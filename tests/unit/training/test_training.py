"""Training is what the recipes say, resumes to the bit, and stops when it diverges."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape.data import load
from landscape.errors import BadInput
from landscape.evaluation.measure import measure
from landscape.networks import build
from landscape.training import loop as training
from landscape.training.loop import RECIPES, one_cycle, steps, train_epochs
from landscape.weights import digest


@pytest.fixture(scope="module")
def digits():
    return load("digits", "train", examples=300), load("digits", "test", examples=100)


def small(**arguments):
    torch.manual_seed(0)
    return build("resnet", depth=8, width=4, channels=1, **arguments)


def run(digits, network=None, state=None, epochs=3, **options):
    network = network or small()
    records = list(train_epochs(network, *digits, epochs=epochs, seed=1, batch_size=64, state=state, **options))
    return network, records


def test_a_resumed_run_ends_with_the_bits_of_a_whole_one(digits, tmp_path):
    options = {"pad": 1, "flip": True}
    whole, records = run(digits, small(survival=0.7), **options)
    begun = small(survival=0.7)
    for record, state in train_epochs(begun, *digits, epochs=3, seed=1, batch_size=64, **options):
        if record["epoch"] == 2:
            torch.save({"weights": begun.state_dict(), "state": state}, tmp_path / "a.pt")
            break
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    resumed = small(survival=0.7)
    resumed.load_state_dict(saved["weights"])
    _, rest = run(digits, resumed, saved["state"], **options)
    assert digest(dict(resumed.state_dict())) == digest(dict(whole.state_dict()))
    assert [r["test_loss"] for r, _ in rest] == [records[2][0]["test_loss"]]


def test_a_step_is_nesterovs_as_written_by_hand(digits):
    """v ← 0.9 v + g + λθ; θ ← θ − η (g + λθ + 0.9 v), by torch's convention, over four batches of one epoch."""
    rate, decay = 0.05, 1e-3
    trained, _ = run(digits, epochs=1, schedule=lambda part: 1.0, learning_rate=rate, weight_decay=decay)
    network = small().train()
    draws = torch.Generator().manual_seed(epoch_seed(1, 0))
    velocity = {}
    for chosen in torch.randperm(300, generator=draws).split(64):
        loss = F.cross_entropy(network(digits[0].images[chosen]), digits[0].labels[chosen])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for p, g in zip(network.parameters(), gradients, strict=True):
                g = g + decay * p
                velocity[p] = 0.9 * velocity[p] + g if p in velocity else g.clone()
                p -= rate * (g + 0.9 * velocity[p])
    for p, q in zip(network.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def epoch_seed(seed, epoch):
    from landscape.training.loop import _epoch_seed

    return _epoch_seed(seed, epoch)


class TheirBlock(nn.Module):
    """As torchvision's BasicBlock, with the shortcut of option A (He et al. 2015, 1512.03385 §4.1)."""

    def __init__(self, inplanes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.stride, self.more = stride, planes - inplanes

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        n, _, height, width = out.shape
        identity = x[:, :, :: self.stride, :: self.stride]
        return F.relu(out + torch.cat([identity, x.new_zeros(n, self.more, height, width)], 1))


class TheirResNet(nn.Module):
    def __init__(self, n, width):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        planes = [width] * (n + 1) + [2 * width] * n + [4 * width] * n
        strides = [2 if i in (n, 2 * n) else 1 for i in range(3 * n)]
        self.layers = nn.Sequential(*map(TheirBlock, planes[:-1], planes[1:], strides))
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x):
        return self.fc(self.layers(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


@pytest.mark.slow
def test_200_steps_are_those_of_torchs_own_parts():
    """The loss curve of a resnet-8, against another network, another loop and torch.optim.SGD."""
    data = load("digits", "train", examples=640)
    epochs, per_epoch = 10, 20
    torch.manual_seed(0)
    network = build("resnet", depth=8, width=4, channels=1)
    theirs = TheirResNet(1, 4)
    with torch.no_grad():  # parameters come in the order of the forward pass in both
        for p, q in zip(theirs.parameters(), network.parameters(), strict=True):
            p.copy_(q)

    expected, orders = [], []
    theirs.train()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150])
    for epoch in range(epochs):
        orders += torch.randperm(640, generator=torch.Generator().manual_seed(epoch_seed(1, epoch))).split(32)
    for chosen in orders:
        optimizer.zero_grad()
        loss = F.cross_entropy(theirs(data.images[chosen]), data.labels[chosen])
        loss.backward()
        optimizer.step()
        schedule.step()
        expected.append(loss.item())

    outputs = []
    network.register_forward_hook(lambda module, _, out: outputs.append(out.detach()) if module.training else None)
    he = RECIPES["he"] | {"epochs": epochs}
    records = [record for record, _ in train_epochs(network, data, data, seed=1, batch_size=32, **he)]
    losses = [F.cross_entropy(out, data.labels[c]).item() for out, c in zip(outputs, orders, strict=True)]
    assert len(losses) == 200
    assert losses == pytest.approx(expected, rel=1e-5, abs=1e-5)
    means = np.reshape(expected, (epochs, per_epoch)).mean(1)
    assert [record["train_loss"] for record in records] == pytest.approx(means, rel=1e-5, abs=1e-5)
    assert losses[-1] < 0.1 * losses[0]


def test_a_large_batch_is_accumulated(digits):
    """Without BatchNorm, parts of a batch add up to the batch."""

    def trained(micro):
        torch.manual_seed(0)
        network = build("plain", depth=8, width=4, channels=1, norm="none")
        return run(digits, network, epochs=1, micro_batch=micro, learning_rate=0.01)[0]

    for p, q in zip(trained(64).parameters(), trained(16).parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_schedules_are_the_published_ones():
    li = RECIPES["li"]["schedule"]
    assert [li(epoch / 300) for epoch in (0, 149, 150, 224, 225, 275)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.001])
    veit = RECIPES["veit"]["schedule"]
    assert [veit(epoch / 164) for epoch in (80, 81, 121, 122)] == pytest.approx([1, 0.1, 0.1, 0.01])
    he = RECIPES["he"]["schedule"]
    assert [he(step / 64_000) for step in (31_999, 32_000, 48_000)] == pytest.approx([1, 0.1, 0.01])
    assert [one_cycle(part) for part in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert steps()(0.9) == 1


def test_warm_up_starts_at_a_tenth(digits):
    _, records = run(digits, epochs=2, schedule=lambda part: 1.0, warm_up=5)
    assert [record["learning_rate"] for record, _ in records] == pytest.approx([0.01, 0.1])


def test_a_diverged_run_stops_and_says_when(digits):
    with pytest.raises(BadInput, match=r"not finite at batch \d+ of epoch \d+ of 3"):
        run(digits, learning_rate=1e20)


@pytest.mark.slow
def test_adamw_and_mixed_precision_learn(digits):
    for options in ({"optimizer": "adamw", "learning_rate": 0.01}, {"bfloat16": True}):
        _, records = run(digits, epochs=6, **options)
        assert records[-1][0]["train_loss"] < 0.7 * records[0][0]["train_loss"]
    with pytest.raises(BadInput, match="sgd or adamw"):
        run(digits, optimizer="adam")


def test_each_batch_is_ticked(digits):
    ticks = []
    run(digits, epochs=2, tick=ticks.append)
    assert sum(ticks) == 2 * 5


def test_a_step_is_recorded_on_a_gpu_only_and_not_compiled_too(digits):
    with pytest.raises(BadInput, match="on a GPU only"):
        run(digits, epochs=1, recorded=True)
    with pytest.raises(BadInput, match="not both"):
        run(digits, epochs=1, recorded=True, compiled=True, device="cuda")


def test_a_step_that_cannot_be_recorded_ends_with_one_line(digits, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("operation not permitted when stream is capturing\nand a trace")

    monkeypatch.setattr(training, "CudaGraphStep", fails)
    with pytest.raises(BadInput, match=r"\(operation not permitted when stream is capturing\); leave out record"):
        training._recorded(None, None, None, None)


@pytest.mark.parametrize("arguments", [{"survival": 0.5}, {"keep": 2}])
def test_a_network_that_draws_its_blocks_is_not_recorded(digits, arguments):
    network = build("resnet", depth=8, channels=1, **arguments)
    with pytest.raises(BadInput, match="drawn anew"):
        next(train_epochs(network, *digits, epochs=1, seed=0, recorded=True, device="cuda"))


def test_each_epoch_takes_every_example_once_in_an_order_of_its_own_and_of_the_seed(digits):
    class Watched(nn.Sequential):
        def forward(self, x):
            if self.training:
                orders[-1] += [hash(image.numpy().tobytes()) for image in x]
            return super().forward(x)

    orders: list[list[int]] = []
    for seed in (0, 1):
        orders.append([])
        for _ in train_epochs(
            Watched(nn.Flatten(), nn.Linear(64, 10)), *digits, epochs=2, seed=seed, batch_size=64, learning_rate=0.01
        ):
            orders.append([])
        orders.pop()
    assert len(orders) == 4 and all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_what_is_told_of_an_epoch_without_steps_is_what_the_network_measures(digits):
    """At a learning rate of 0; 300 examples are four batches of 64 and a part, which counts by its examples."""
    network, options = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), {"seed": 0, "batch_size": 64, "micro_batch": 50}
    ((record, _),) = train_epochs(network, *digits, epochs=1, learning_rate=0.0, **options)
    for name, data in zip(("train", "test"), digits, strict=True):
        measured = measure(network, [(data.images, data.labels)])
        assert record[f"{name}_loss"] == pytest.approx(measured["loss"], rel=1e-6)
        assert record[f"{name}_error"] == pytest.approx(1 - measured["accuracy"])
