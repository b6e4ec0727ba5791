"""Planes are objects: made once from networks or directions, they are what the options of a surface would have made."""

import pytest
import torch
from torch import nn

from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.networks import build
from landscape.planes.directions import cosine
from landscape.planes.make_plane import plane_along, plane_to, random_plane
from landscape.planes.plane import Plane
from landscape.planes.surface import surface

LINE, GRID = {"x": (-1, 1, 3), "quiet": True}, {"x": (-1, 1, 3), "y": (0, 1, 2), "quiet": True}


def network_of(seed):
    """A network whose BatchNorm has statistics of its own."""
    torch.manual_seed(seed)
    network = build("resnet", depth=8, width=2, channels=1, classes=3)
    network(torch.randn(32, 1, 8, 8) + seed)
    return network.eval()


@pytest.fixture(scope="module")
def three():
    return [network_of(seed) for seed in range(3)]


@pytest.fixture
def evaluate(three):
    torch.manual_seed(5)
    return Evaluator(three[0], [(torch.randn(12, 1, 8, 8), torch.arange(12) % 3)])


def same(one, other):
    """Assert that two measurements have the same numbers and say the same of them."""
    assert (one["loss"] == other["loss"]).all() and one["loss"].shape == other["loss"].shape
    assert {n: str(v) for n, v in one.attributes.items()} == {n: str(v) for n, v in other.attributes.items()}


def test_a_random_plane_is_that_of_its_seed(evaluate, three):
    for how in ({}, {"normalize": "layer"}, {"move_biases": True}, {"orthogonal": True}, {"parameters": "head*"}):
        same(surface(evaluate, random_plane(three[0], seed=3, **how), **GRID), surface(evaluate, seed=3, **how, **GRID))


def test_a_line_to_another_network_ends_there(evaluate, three):
    line = surface(evaluate, plane_to(three[0], three[1]), x=(0, 1, 2), quiet=True)
    assert line.attributes["batchnorm"] == "interpolated"
    batches = evaluate.sources[0].batches
    ends = [Evaluator(network, batches)()["loss"] for network in three[:2]]
    assert line["loss"] == pytest.approx(ends, rel=1e-5)
    same(line, surface(evaluate, to=three[1], x=(0, 1, 2), quiet=True))
    same(line, surface(evaluate, to=[three[1].state_dict()], x=(0, 1, 2), quiet=True))


def test_a_plane_to_two_networks_goes_through_all_three(evaluate, three):
    plane = surface(evaluate, plane_to(*three), x=(0, 1, 2), y=(0, 1, 2), quiet=True)
    corners = [plane["loss"][0, 0], plane["loss"][0, 1], plane["loss"][1, 0]]
    batches = evaluate.sources[0].batches
    assert corners == pytest.approx([Evaluator(network, batches)()["loss"] for network in three], rel=1e-5)
    apart = surface(evaluate, plane_to(*three, orthogonal=True), x=(0, 1, 2), y=(0, 1, 2), quiet=True)
    assert apart.attributes["batchnorm"] == "frozen"  # its axes lead elsewhere


def test_statistics_that_do_not_follow_do_not_arrive(evaluate, three):
    frozen = surface(evaluate, plane_to(three[0], three[1]), batchnorm="frozen", x=(0, 1, 2), quiet=True)["loss"]
    ends = [Evaluator(network, evaluate.sources[0].batches)()["loss"] for network in three[:2]]
    assert frozen[0] == pytest.approx(ends[0], rel=1e-6) and abs(frozen[1] / ends[1] - 1) > 0.001


def test_directions_lead_where_they_say(evaluate, three):
    plane = random_plane(three[0], seed=1)
    along = surface(evaluate, plane_along(*plane.directions), **GRID)
    assert (along["loss"] == surface(evaluate, seed=1, **GRID)["loss"]).all()
    same(along, surface(evaluate, along=[*plane.directions], **GRID))
    longer = [{name: 3 * d for name, d in direction.items()} for direction in plane.directions]
    again = surface(evaluate, plane_along(*longer, normalize="filter"), **GRID)
    assert again["loss"] == pytest.approx(along["loss"], rel=1e-4)
    only = surface(evaluate, plane_along({"head.2.bias": torch.tensor([1.0, 0, 0])}), x=(0, 1000, 2), quiet=True)
    assert only["accuracy"][1] == pytest.approx(1 / 3)  # all are taken for the first class


def test_a_line_takes_the_first_direction_of_a_plane(evaluate, three):
    assert (surface(evaluate, random_plane(three[0]), **LINE)["loss"] == surface(evaluate, **LINE)["loss"]).all()


def test_orthogonal_directions_are(three):
    plane = random_plane(three[0], orthogonal=True)
    assert abs(cosine(*plane.directions)) < 1e-6 < abs(cosine(*random_plane(three[0]).directions))


def test_ones_own_plane_is_measured(evaluate, three):
    origin = {name: p.detach().clone() for name, p in three[0].named_parameters()}
    direction = {name: torch.zeros_like(w) for name, w in origin.items()} | {"head.2.bias": torch.ones(3)}
    line = surface(evaluate, Plane(origin, (direction,)), **LINE)
    assert line["loss"] == pytest.approx([line["loss"][1]] * 3, rel=1e-5)  # all logits rise alike
    assert line.attributes["directions"] == "given"


@pytest.mark.parametrize(
    ("plane", "how", "said"),
    [
        (lambda n: random_plane(n[1]), {}, "starts at other weights than the network has now: they differ in stem"),
        (lambda n: random_plane(nn.Linear(2, 2)), {}, "of another network, which differs in"),
        (lambda n: random_plane(n[0], 1), {"y": (0, 1, 2)}, r"has 1 direction\(s\) for 2 axis/axes"),
        (lambda n: random_plane(n[0]), {"normalize": "layer"}, "leave out normalize"),
        (lambda n: random_plane(n[0]), {"repeats": 2}, "leave it out with to and along, or with a plane"),
        (lambda n: plane_along({"elsewhere": torch.ones(1)}), {}, "moves elsewhere, which the network has not"),
        (lambda n: plane_along({"head.2.bias": torch.ones(4)}), {}, r"has shape \(4,\) at head.2.bias"),
        (lambda n: 3, {}, "plane is a int; give one of random_plane"),
        (lambda n: None, {"to": nn.Linear(2, 2)}, "another network"),
        (lambda n: None, {"to": 1, "along": 1}, "both say where the axes lead"),
        (lambda n: None, {"to": 1, "y": (0, 1, 2)}, "one other checkpoint gives a line"),
        (lambda n: None, {"to": 1, "normalize": "layer"}, "are for random directions"),
        (lambda n: None, {"to": 3}, "to takes files, or dicts"),
        (lambda n: None, {"normalize": "filters"}, "there is no normalize 'filters'.*did you mean filter"),
        (lambda n: None, {"batchnorm": "interpolated"}, "give others with to"),
        (lambda n: None, {"batchnorm": "recalibrated", "calibration": 1}, "calibration is 1; give 2 to 12"),
    ],
)
@pytest.mark.slow
def test_what_does_not_go_together_is_refused(evaluate, three, plane, how, said):
    how = {name: three[1] if value == 1 and name in ("to", "along") else value for name, value in how.items()}
    with pytest.raises(BadInput, match=said):
        surface(evaluate, plane(three), **{**LINE, **how})


def test_a_network_of_another_kind_is_refused_when_the_plane_is_made(three):
    with pytest.raises(BadInput, match="another network than the network: they differ in"):
        plane_to(three[0], build("plain", depth=8, width=4, channels=1, classes=3))
