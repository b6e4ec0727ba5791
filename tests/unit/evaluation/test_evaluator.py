"""One way to put a network on data: what it measures is what plain PyTorch says, now and after every change."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from landscape import data as datasets
from landscape.checkpoints.checkpoint import load
from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build
from landscape.planes.surface import surface


class Gated(nn.Module):
    """A network whose path depends on a flag that is no parameter."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.skip = nn.Linear(5, 5), nn.Linear(5, 3), True

    def forward(self, x):
        y = self.first(x).relu()
        return self.second(x + y if self.skip else y)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return Gated(), [(torch.randn(n, 5), torch.randint(0, 3, (n,))) for n in (16, 7)]


def by_hand(network, batches):
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        each = torch.cat([F.cross_entropy(network(x).double(), y, reduction="none") for x, y in batches])
    return each.mean().item(), each.std().item() / len(each) ** 0.5


def test_it_measures_what_plain_pytorch_says(pair):
    network, batches = pair
    measured = Evaluator(network, batches)()
    loss, error = by_hand(network, batches)
    assert measured["loss"] == pytest.approx(loss, rel=1e-6) and measured["loss_se"] == pytest.approx(error, rel=1e-6)
    assert measured["examples"] == 23
    hits = [(network(x).argmax(1) == y).sum().item() for x, y in batches]
    assert measured["accuracy"] == pytest.approx(sum(hits) / 23)


@pytest.mark.parametrize("change", ["weights", "a flag", "a module", "a hook", "the type"])
def test_a_network_that_has_changed_is_measured_as_it_is_now(pair, change):
    network, batches = pair
    evaluate = Evaluator(network, batches)
    before = evaluate()["loss"]
    if change == "weights":
        with torch.no_grad():
            network.first.weight.add_(1)
    elif change == "a flag":
        network.skip = False
    elif change == "a module":
        network.second = nn.Linear(5, 3)
    elif change == "a hook":
        network.first.register_forward_hook(lambda module, args, out: 2 * out)
    else:
        network.first.weight.data = network.first.weight.data.round()
    assert evaluate()["loss"] == pytest.approx(by_hand(network, batches)[0], rel=1e-5) != pytest.approx(before)
    assert surface(evaluate, x=(0, 0, 1), quiet=True)["loss"][0] == evaluate()["loss"]


def test_the_network_is_given_back_as_it_was():
    network = build("resnet", depth=8, width=2, channels=1, classes=3)
    network.train()
    network[1].eval() if isinstance(network, nn.Sequential) else None
    modes = [module.training for module in network.modules()]
    strides = [p.stride() for p in network.parameters()]
    before = copy.deepcopy(network.state_dict())
    evaluate = Evaluator(network, [(torch.randn(8, 1, 8, 8), torch.arange(8) % 3)])
    surface(evaluate, x=(-1, 1, 3), quiet=True)
    assert [module.training for module in network.modules()] == modes
    assert [p.stride() for p in network.parameters()] == strides
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_a_second_split_is_measured_at_the_same_points(pair):
    network, batches = pair
    other = [(torch.randn(9, 5), torch.randint(0, 3, (9,)))]
    both = Evaluator(network, batches, test=other)()
    assert both["loss"] == Evaluator(network, batches)()["loss"]
    assert both["test_loss"] == Evaluator(network, other)()["loss"] and both["test_examples"] == 9


def test_examples_are_a_stratified_subset(pair):
    network, batches = pair
    inputs, targets = (torch.cat(each) for each in zip(*batches, strict=True))
    order = datasets.stratified_order(targets, 4)[:10]
    few = Evaluator(network, batches, examples=10, seed=4)()
    assert few["examples"] == 10
    assert few["loss"] == pytest.approx(by_hand(network, [(inputs[order], targets[order])])[0], rel=1e-6)
    with pytest.raises(BadInput, match="examples is 24; there are 23"):
        Evaluator(network, batches, examples=24)


def test_a_checkpoint_and_its_objects_are_the_same_measurement(trained):
    stored = load(trained / "resnet.pt")
    data = datasets.load("digits", "test", mean=stored.data["mean"], std=stored.data["std"])
    evaluate = Evaluator.from_checkpoint(trained / "resnet.pt", split="test", examples=100, comm=SerialComm())
    order = datasets.stratified_order(data.labels, 0)[:100]
    batches = [(data.images[order], data.labels[order])]
    same = Evaluator(stored.restore(), batches)
    assert evaluate() == pytest.approx(same(), rel=1e-6)
    line = {"x": (-1, 1, 3), "quiet": True}
    np.testing.assert_allclose(surface(evaluate, **line)["loss"], surface(same, **line)["loss"], rtol=1e-6)


def top2(outputs, targets):
    return (outputs.topk(2).indices == targets[:, None]).any(1)


def test_a_metric_is_a_function_with_a_value_for_each_example(pair):
    network, batches = pair
    measured = Evaluator(network, batches, metrics={"second": top2})()
    with torch.no_grad():
        each = torch.cat([top2(network(x), y) for x, y in batches]).double()
    assert measured["second"] == pytest.approx(each.mean().item())
    assert measured["second_se"] == pytest.approx(each.std().item() / 23**0.5)
    line = surface(Evaluator(network, batches, metrics=[top2]), x=(-1, 1, 3), quiet=True)
    assert line["top2"][1] == measured["second"] and line.dims["top2_se"] == ("x",)
    assert list(line.attributes["metrics"]) == ["top2"]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ("nonsense", "there is no metric 'nonsense'; use agreement, kl or package.module:function"),
        ("agreemnt", "did you mean agreement"),
        ({"loss": top2}, "a metric is called loss, as something else is"),
        ({"a b": top2}, "give it a name of letters"),
        ([top2, top2], "two metrics are called top2"),
        ([3], "a metric is a int"),
        ({"mean": lambda outputs, targets: outputs.mean()}, r"the metric mean gives a tensor of shape \(\)"),
    ],
)
def test_what_is_no_metric_is_refused(pair, metrics, said):
    network, batches = pair
    with pytest.raises(BadInput, match=said), Evaluator(network, batches, metrics=metrics).ready():
        pass


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"seed": -1}, "seed is -1; give 0 or more"),
        ({"seed": 0.5}, "seed is 0.5; give a whole number"),
        ({"dtype": "float16"}, "there is no type 'float16'; use auto, float32, bfloat16"),
        ({"batch_size": 0}, "batch_size is 0; give 1 or more"),
        ({"loss": "crossentropy"}, "did you mean cross_entropy"),
        ({"test": []}, "there are no batches"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_put_together(pair, how, said):
    with pytest.raises(BadInput, match=said):
        Evaluator(*pair, **how)


def test_an_evaluator_says_what_it_is_of(pair):
    assert repr(Evaluator(*pair, name="ours")) == "<Evaluator of ours on 23 examples of data in memory>"
