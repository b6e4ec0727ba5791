"""A lesion takes out exactly what it says, and the network comes back unchanged."""

from math import comb

import numpy as np
import pytest
import torch

from ensemble.blocks import blocks
from ensemble.lesions import every, lesion, sampled
from landscape.directions import digest
from landscape.errors import BadInput
from landscape.measure import evaluating
from landscape.networks import build


def trained_like(name, **arguments):
    """A network whose BatchNorms are not at their initial values."""
    torch.manual_seed(0)
    network = build(name, channels=1, **arguments)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_()
                module.running_var.uniform_(0.5, 2)
    return network


def outputs(network):
    torch.manual_seed(1)
    with evaluating(network), torch.no_grad():
        return network(torch.randn(5, 1, 8, 8))


@pytest.mark.parametrize("shortcut", ["zero-pad", "projection"])
def test_deleting_a_block_is_zeroing_its_last_batchnorm(shortcut):
    network = trained_like("resnet", depth=20, width=4, shortcut=shortcut)
    names = list(blocks(network))
    assert len(names) == 9
    for chosen in [names[:1], names[3:4], names[6:], names]:
        with lesion(network, chosen):
            deleted = outputs(network)
        zeroed = trained_like("resnet", depth=20, width=4, shortcut=shortcut)
        with torch.no_grad():
            for name in chosen:
                norm = zeroed.get_submodule(name).branch[-1]
                assert isinstance(norm, torch.nn.BatchNorm2d)
                norm.weight.zero_()
                norm.bias.zero_()
        assert torch.equal(deleted, outputs(zeroed))
        assert not torch.equal(deleted, outputs(network))


def test_a_plain_block_is_really_removed():
    network = trained_like("plain", depth=20, width=4)
    names = list(blocks(network))
    assert names == ["stages.0.0", *(f"stages.{stage}.{block}" for stage in range(3) for block in (1, 2))]
    without = trained_like("plain", depth=20, width=4)
    del without.stages[1][2], without.stages[0][0]
    with lesion(network, ["stages.0.0", "stages.1.2"]):
        assert torch.equal(outputs(network), outputs(without))


def test_a_deleted_branch_is_not_run():
    network = trained_like("resnet", depth=8, width=4)
    ran = []
    for name, block in blocks(network).items():
        block.branch.register_forward_hook(lambda *_, name=name: ran.append(name))
    with lesion(network, ["stages.1.0"]):
        outputs(network)
    assert ran == ["stages.0.0", "stages.2.0"]


@pytest.mark.parametrize("failing", [False, True])
def test_the_network_comes_back_unchanged(failing):
    network = trained_like("resnet", depth=8, width=4)
    network.train()
    modules, state, before = list(network.modules()), digest(dict(network.state_dict())), outputs(network)
    try:
        with lesion(network, ["stages.0.0", "stages.2.0"]):
            outputs(network)
            if failing:
                raise RuntimeError
    except RuntimeError:
        assert failing
    assert all(a is b for a, b in zip(modules, network.modules(), strict=True))
    assert all(module.training for module in network.modules())
    assert digest(dict(network.state_dict())) == state
    assert torch.equal(outputs(network), before)


def test_an_unknown_block_is_refused_and_the_network_whole():
    network = trained_like("plain", depth=8, width=4)
    with pytest.raises(BadInput, match=r"no removable block is called stages\.1\.0"), lesion(network, ["stages.1.0"]):
        pass
    with pytest.raises(BadInput, match="no block"):
        blocks(torch.nn.Linear(2, 2))


def test_every_set_is_there_once_after_the_intact_network():
    plan = every(6, [1, 2])
    assert plan.shape == (1 + 6 + comb(6, 2), 6)
    assert plan.sum(1).tolist() == [0] + [1] * 6 + [2] * 15
    assert len({tuple(row) for row in plan}) == len(plan)
    np.testing.assert_array_equal(plan[1:7], np.eye(6, dtype=bool))


def test_random_sets_are_seeded_each_by_itself():
    plan = sampled(27, range(1, 11), 30, seed=0)
    assert plan.sum(1).tolist() == [0] + [k for k in range(1, 11) for _ in range(30)]
    np.testing.assert_array_equal(sampled(27, range(1, 11), 30, seed=0), plan)
    np.testing.assert_array_equal(sampled(27, [4], 10, seed=0)[1:], plan[91:101])
    assert not np.array_equal(sampled(27, range(1, 11), 30, seed=1), plan)
    assert len({tuple(row) for row in plan[plan.sum(1) == 10]}) > 25  # repeats differ


def test_random_sets_are_uniform_over_blocks():
    plan = sampled(9, [3], 3000, seed=5)[1:]
    expected, spread = 1000, np.sqrt(3000 / 3 * 2 / 3)
    assert (abs(plan.sum(0) - expected) < 5 * spread).all()


@pytest.mark.parametrize(("counts", "trials"), [([0], 5), ([10], 5), ([], 5), ([1], 0), ([1], 10**9)])
def test_impossible_plans_are_refused(counts, trials):
    with pytest.raises(BadInput):
        sampled(9, counts, trials, seed=0)


def test_a_plan_too_large_to_write_down_is_refused():
    with pytest.raises(BadInput, match="--trials"):
        every(54, [10])
