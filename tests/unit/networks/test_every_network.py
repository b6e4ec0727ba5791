"""Every network of the families trains, and has a surface and, where blocks can be left out, lesions."""

import numpy as np
import pytest
import torch
from small import NETWORKS

from ensemble.blocks.blocks import blocks
from ensemble.lesions.context import every, lesion
from landscape.data import batches, load
from landscape.engine.grid import axis, grid
from landscape.engine.sweep import sweep
from landscape.engine.table import prepare, read
from landscape.evaluation.measure import measure
from landscape.networks import build
from landscape.planes.directions import filter_normalize, random_direction
from landscape.planes.plane import Plane, shift
from landscape.training.loop import train_epochs
from landscape.weights import weights_of

# Attention over depth of the first block, before which there is one output
NOTHING_TO_CHOOSE = {"stages.0.0.branch.read.query", "layers.0.attention.branch.read.query"}


@pytest.fixture(scope="module")
def digits():
    return load("digits", "train", examples=80), load("digits", "test", examples=20)


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.slow
def test_it_trains_and_is_measured(digits, tmp_path, case):
    name, arguments = NETWORKS[case]
    torch.manual_seed(0)
    network = build(name, channels=1, **arguments)
    before = weights_of(network)
    records = [
        record for record, _ in train_epochs(network, *digits, epochs=2, seed=0, batch_size=20, learning_rate=0.02)
    ]
    assert np.isfinite([record["train_loss"] for record in records]).all()
    still = [name for name, weight in weights_of(network).items() if torch.equal(weight, before[name])]
    assert {*still} <= NOTHING_TO_CHOOSE

    data = batches(digits[0], 50)
    measured = measure(network, data)
    assert measured["loss"] == pytest.approx(loss_by_hand(network, digits[0]), rel=1e-5)

    surface = surface_of(network, data, tmp_path / "surface.h5")
    assert surface["done"].all() and np.isfinite(surface["loss"]).all()
    assert surface["loss"][1] == measured["loss"]
    assert len({*surface["loss"]}) == 3

    removable = [module for module in network.modules() if getattr(module, "removable", False)]
    if removable:
        table = lesions_of(network, data, tmp_path / "lesions.h5")
        assert table["done"].all() and np.isfinite(table["loss"]).all()
        assert table["deleted"].sum(1).tolist() == [0] + [1] * len(removable)
        assert table["loss"][0] == measured["loss"]
    assert measure(network, data) == measured


def loss_by_hand(network, data):
    network.eval()
    with torch.no_grad():
        scores = network(data.images).double()
    return (scores.logsumexp(1) - scores.gather(1, data.labels[:, None])[:, 0]).mean().item()


def surface_of(network, data, path):
    origin = weights_of(network)
    plane = Plane(origin, (filter_normalize(random_direction(origin, 0), origin),))

    def losses(points):
        for point in points:
            with shift(network, plane, point):
                yield measure(network, data)

    x = axis(-0.5, 0.5, 3)
    table, _ = prepare(path, grid(x), kind="surface", dims=("x",), coordinates={"x": x})
    sweep(losses, table, quiet=True)
    return read(path)


def lesions_of(network, data, path):
    names = np.array(list(blocks(network)))
    plan = every(len(names), [1])

    def damages(trials):
        for deleted in trials:
            with lesion(network, names[deleted]):
                yield measure(network, data)

    table, _ = prepare(
        path,
        plan,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(plan)), "block": names},
        given={"deleted": (("trial", "block"), plan)},
    )
    sweep(damages, table, quiet=True)
    return read(path)


@pytest.mark.slow
def test_1202_layers_take_a_step_and_are_measured_and_lesioned(digits):
    torch.manual_seed(0)
    network = build("resnet", depth=1202, width=2, channels=1, zero_init=True, checkpointing=True)
    before = weights_of(network)
    few = load("digits", "train", examples=16)
    ((record, _),) = train_epochs(network, few, few, epochs=1, seed=0, batch_size=16, schedule=lambda part: 1.0)
    assert np.isfinite(record["train_loss"])
    last = {name: weight for name, weight in weights_of(network).items() if name.endswith("branch.4.weight")}
    assert len(last) == 600  # gradients came to every block: its last BatchNorm has left 0
    assert all(not torch.equal(before[name], weight) for name, weight in last.items())
    data = batches(few, 16)
    names = list(blocks(network))
    intact = measure(network, data)
    with lesion(network, names[100:500]):
        assert measure(network, data)["loss"] != intact["loss"]
    assert measure(network, data) == intact
