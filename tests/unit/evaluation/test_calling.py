"""A network that is called with other weights is its own again afterwards, and no output is no prediction."""

import numpy as np
import pytest
import skipscape as ss
import torch
import torch.nn.functional as F
from torch import nn

from landscape.evaluation.calling import functional, predictions
from landscape.weights import digest


class Twice(nn.Module):
    """A module under three names, whose weight a fourth has too."""

    def __init__(self):
        super().__init__()
        layer = nn.Linear(4, 4)
        self.layers, self.again = nn.ModuleList([layer, layer]), layer
        self.tied, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.tied.weight = layer.weight

    def forward(self, x):
        for layer in (*self.layers, self.again, self.tied):
            x = torch.tanh(layer(x))
        return self.head(x)


def test_other_weights_stand_wherever_a_module_or_a_weight_is_used():
    torch.manual_seed(0)
    network, other, x = Twice(), Twice(), torch.randn(5, 4)
    given = functional(network, dict(other.named_parameters()), x)
    torch.testing.assert_close(given, other(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "measure",
    [
        lambda e: ss.sharpness(e, rho=0.1, trials=1, steps=2, quiet=True),
        lambda e: ss.trace(e, 2),
        lambda e: ss.eigenpairs(e, 1),
        lambda e: ss.curvature(e, x=(-1, 1, 3), quiet=True),
        lambda e: ss.surface(e, x=(-1, 1, 3), quiet=True),
    ],
    ids=["sharpness", "trace", "eigenpairs", "curvature", "surface"],
)
def test_a_network_with_shared_modules_is_itself_after_a_measurement(measure):
    torch.manual_seed(0)
    network = Twice()
    before = {name: id(p) for name, p in network.named_parameters(remove_duplicate=False)}
    state = digest(dict(network.state_dict()))
    measure(ss.Evaluator(network, [(torch.randn(12, 4), torch.arange(12) % 3)]))
    assert {name: id(p) for name, p in network.named_parameters(remove_duplicate=False)} == before
    assert digest(dict(network.state_dict())) == state


def test_the_trace_of_a_network_with_shared_modules_is_that_of_its_hessian():
    torch.manual_seed(0)
    network, x, y = Twice(), torch.randn(12, 4), torch.arange(12) % 3
    names = [name for name, _ in network.named_parameters()]

    def loss(*weights):
        return F.cross_entropy(functional(network, dict(zip(names, weights, strict=True)), x), y)

    blocks = torch.autograd.functional.hessian(loss, tuple(p.detach() for p in network.parameters()))
    weights = [(n, p.numel()) for n, p in enumerate(network.parameters()) if p.ndim > 1]
    exact = sum(float(blocks[n][n].reshape(size, size).trace()) for n, size in weights)
    measured = ss.trace(ss.Evaluator(network, [(x, y)]), 400)
    assert measured.value == pytest.approx(exact, rel=1e-5)
    assert ss.trace(ss.Evaluator(network, [(x, y)]), 400) == measured


def test_what_is_no_number_is_no_prediction():
    scores = torch.tensor([[0.1, 0.7], [float("nan"), 0.2], [0.3, float("nan")], [float("inf"), 0.0]])
    assert predictions(scores).tolist() == [1, -1, -1, 0]
    assert predictions(scores.T, 0).tolist() == [1, -1, -1, 0]


@pytest.mark.parametrize("targets", [torch.zeros(12, dtype=torch.long), torch.zeros(12, 5, dtype=torch.long)])
def test_a_network_that_gives_no_numbers_is_never_right(targets):
    class Lost(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x * self.weight.view(3, *[1] * (x.ndim - 2)) * torch.nan

    inputs = torch.ones(12, 3) if targets.ndim == 1 else torch.ones(12, 3, 5)
    numbers = ss.Evaluator(Lost(), [(inputs, targets)], metrics=["agreement"])()
    assert np.isnan(numbers["loss"]) and numbers["accuracy"] == 0 and numbers["agreement"] == 0
