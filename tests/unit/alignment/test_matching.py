"""Networks are matched as by brute force, or as by a few lines of somebody else, and never worse than they were."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn

from landscape.alignment import aligned as module
from landscape.alignment.aligned import aligned
from landscape.alignment.families import Family, symmetry
from landscape.alignment.matching import correlations_of, matched, nearest_by_weights
from landscape.errors import BadInput
from landscape.networks import build

INPUTS = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))


def mlp(seed, hidden=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def weights(network):
    return {name: tensor.detach().double().numpy() for name, tensor in network.state_dict().items()}


def products(one, other):
    """The inner product of two MLPs for any order of the other's units, written by hand."""
    a, b = weights(one), weights(other)

    def of(first, second):
        first, second = list(first), list(second)
        moved = {
            **{"0.weight": b["0.weight"][first], "0.bias": b["0.bias"][first], "2.bias": b["2.bias"][second]},
            **{"2.weight": b["2.weight"][np.ix_(second, first)], "4.weight": b["4.weight"][:, second]},
            "4.bias": b["4.bias"],
        }
        return sum(float((a[name] * moved[name]).sum()) for name in a)

    return of


@pytest.mark.parametrize("seed", range(6))
def test_no_single_layer_of_a_small_network_can_be_matched_better(seed):
    """All 4! · 4! orders: what is reached is the best of them, or none of the 2 · 4! next to it is better."""
    one, other = mlp(seed), mlp(seed + 100)
    of = products(one, other)
    made = aligned(one, other.state_dict(), [INPUTS])
    squares = sum(float((each**2).sum()) for network in (one, other) for each in weights(network).values())
    product = (squares - made.after**2) / 2  # of what is nearest
    orders = list(itertools.permutations(range(4)))
    reached = [pair for pair in itertools.product(orders, orders) if of(*pair) == pytest.approx(product, rel=1e-4)]
    assert reached
    first, second = reached[0]
    assert max(max(of(each, second), of(first, each)) for each in orders) <= of(first, second) + 1e-9
    assert of(first, second) >= 0.8 * max(of(*pair) for pair in itertools.product(orders, orders))


def test_a_network_of_one_hidden_layer_is_matched_as_by_a_few_lines():
    one, other = (nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(2))
    a, b = weights(one), weights(other)
    similarity = a["0.weight"] @ b["0.weight"].T + np.outer(a["0.bias"], b["0.bias"]) + a["2.weight"].T @ b["2.weight"]
    _, order = linear_sum_assignment(similarity, maximize=True)
    made = aligned(one, other.state_dict(), [INPUTS])
    np.testing.assert_array_equal(made.weights["0.weight"], other[0].weight.detach()[order])
    np.testing.assert_array_equal(made.weights["2.weight"], other[2].weight.detach()[:, order])
    moved = {name: made.weights[name].double().numpy() for name in a}
    distance = np.sqrt(sum(((a[name] - moved[name]) ** 2).sum() for name in a))
    assert made.after == pytest.approx(distance, rel=1e-5) and made.after < made.before
    assert made.units == 16 and made.moved == (order != np.arange(16)).sum()


def test_correlations_are_numpys():
    one, other = mlp(0), mlp(1)
    can = symmetry(one, INPUTS)
    similarity = correlations_of(one, can, [one.state_dict(), other.state_dict()], list(INPUTS.split(16)))
    family = next(f for f in can.families if f.units[0] in can.axes["2.weight", 0].where)
    hidden = [network[:4](INPUTS).detach().double().numpy().T for network in (one, other)]
    exact = np.nan_to_num(np.corrcoef(*hidden)[:4, 4:])
    rows = [can.axes["2.weight", 0].where[unit][0] for unit in family.units]
    np.testing.assert_allclose(similarity(family.units, family.units), exact[np.ix_(rows, rows)], atol=1e-6)


@pytest.mark.parametrize("by", ["weights", "activations"])
def test_a_permuted_network_comes_back_by_either(by):
    one = mlp(3, hidden=6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    other = one.state_dict()
    other |= {name: other[name][order] for name in ("0.weight", "0.bias")} | {"2.weight": other["2.weight"][:, order]}
    made = aligned(one, other, [INPUTS], by)
    assert all(torch.equal(made.weights[name], tensor) for name, tensor in one.state_dict().items())
    read = [network(INPUTS).detach() for network in (one[:2], one[:4])]  # a unit that is always 0 has no correlation
    alive = torch.cat([each.std(0) for each in read]) > 0
    assert made.after == pytest.approx(0 if by == "weights" else float(alive.float().mean()), abs=1e-5)


def test_matching_is_the_same_for_any_number_of_threads_and_of_one_seed():
    one, other = (build("resnet", depth=8, width=8, channels=1).eval() for _ in range(2))
    images = [torch.randn(16, 1, 8, 8)]
    can = symmetry(one, images[0])
    names = [name for name, _ in one.named_parameters()]
    pair = [{name: network.state_dict()[name].double().numpy() for name in names} for network in (one, other)]
    before = torch.get_num_threads()
    made = []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        made.append((nearest_by_weights(can, *pair, seed=5), aligned(one, other.state_dict(), images).after))
    torch.set_num_threads(before)
    assert made[0] == made[1] == made[2]


def test_a_network_that_would_compute_something_else_is_refused(monkeypatch):
    """A permutation that forgets what reads the hidden units."""
    right = module.permuted

    def wrong(state, can, moved):
        return right(state, can, moved) | {"2.weight": state["2.weight"]}

    monkeypatch.setattr(module, "permuted", wrong)
    with pytest.raises(BadInput, match=r"would compute something else .* off by .* leave out align"):
        aligned(mlp(0), mlp(1).state_dict(), [INPUTS])


def test_statistics_of_batchnorm_are_enough_to_be_refused(monkeypatch):
    one, other = (build("resnet", depth=8, width=4, channels=1).eval() for _ in range(2))
    with torch.no_grad():
        for tensor in other.buffers():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape))
    images, right = [torch.randn(8, 1, 8, 8)], module.permuted
    assert aligned(one, other.state_dict(), images).moved
    kept = {name: tensor for name, tensor in other.state_dict().items() if "running" in name}
    monkeypatch.setattr(module, "permuted", lambda *how: right(*how) | kept)
    with pytest.raises(BadInput, match="something else"):
        aligned(one, other.state_dict(), images)


@pytest.mark.parametrize(
    ("network", "because"),
    [
        (nn.Linear(5, 3), "none of its units are interchangeable"),
        (nn.Sequential(nn.Linear(5, 4), nn.Softmax(1), nn.Threshold(0.1, 0), nn.Linear(4, 3)), None),
    ],
)
def test_where_nothing_can_be_permuted_it_says_why(network, because):
    if because is None:
        assert aligned(network, network.state_dict(), [INPUTS]).units == 4
        return
    with pytest.raises(BadInput, match=because) as refusal:
        aligned(network, network.state_dict(), [INPUTS])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("seed", range(4))
def test_units_with_families_within_them_are_matched_as_by_trying_all_orders(seed):
    """Three heads of three dimensions: 3! orders of heads, and 3! of the dimensions of each."""
    value = np.random.default_rng(seed).standard_normal((12, 12))
    inner = [tuple(range(3 + 3 * head, 6 + 3 * head)) for head in range(3)]
    family = Family((0, 1, 2), tuple((Family(units, ((), (), ()), 1),) for units in inner), 0)
    total, moved = matched(family, family, lambda units, others: value[np.ix_(units, others)])
    orders = list(itertools.permutations(range(3)))

    def best(head, other):
        return max(sum(value[inner[head][i], inner[other][j]] for i, j in enumerate(order)) for order in orders)

    most = max(sum(value[i, j] + best(i, j) for i, j in enumerate(order)) for order in orders)
    assert total == pytest.approx(most) == pytest.approx(sum(value[unit, other] for unit, other in moved.items()))
    assert sorted(moved) == sorted(moved.values()) == list(range(12))
