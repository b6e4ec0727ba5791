"""A lesion takes out exactly what it says, and the network comes back unchanged."""

from functools import partial
from math import comb

import numpy as np
import pytest
import torch

from ensemble.blocks.blocks import blocks, stages
from ensemble.lesions import kinds
from ensemble.lesions.context import Replacement, arranged, derangement, every, lesion, means, sampled
from ensemble.lesions.plans import MEAN, OTHER, gates, intact, orders, pairs, repetitions, replacements
from ensemble.lesions.trials import lesions
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import evaluating
from landscape.networks import build
from landscape.weights import digest


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


# Other lesions, against forwards written by hand


def by_hand(network, x, stream=None, branch=lambda name, f: f):
    """The forward of a network of ours; `stream` runs a stage's blocks, `branch` changes what a branch gives."""

    def run(name, block, x):
        f = branch(name, block.branch(x))
        return block.after(block.shortcut(x) + f)

    x = network.stem(x)
    for number, stage in enumerate(network.stages):
        named = [(f"stages.{number}.{name}", block) for name, block in stage.named_children()]
        pieces = [lambda x, name=name, block=block: run(name, block, x) for name, block in named]
        for piece in stream(number, pieces, stage) if stream else pieces:
            x = piece(x)
    return network.head(x)


@pytest.fixture
def three():
    """A network of three stages of three blocks, its blocks, and images."""
    network = trained_like("resnet", depth=20, width=4).eval()
    torch.manual_seed(1)
    return network, blocks(network), torch.randn(5, 1, 8, 8)


def lesioned(network, by_name, trial, x, **how):
    with torch.no_grad(), arranged(network, by_name, trial, **how):
        return network(x)


def test_blocks_that_keep_the_shape_trade_places_but_the_first_of_a_stage(three):
    network, by_name, _ = three
    assert stages(network, by_name) == [[1, 2], [4, 5], [7, 8]]
    plain = trained_like("plain", depth=20, width=4)
    names = list(blocks(plain))
    assert [[names[n] for n in stage] for stage in stages(plain, blocks(plain))] == [
        [f"stages.{stage}.{block}" for block in (1, 2)] for stage in range(3)
    ]
    dense = trained_like("densenet", depth=10, growth=4)
    with pytest.raises(BadInput, match="no two blocks"):
        stages(dense, blocks(dense))


def test_an_order_is_the_forward_in_that_order(three):
    network, by_name, x = three
    order = np.array([0, 2, 1, 3, 4, 5, 6, 8, 7])

    def stream(number, pieces, stage):
        return [pieces[i] for i in ((0, 1, 2) if number == 1 else (0, 2, 1))]

    out = lesioned(network, by_name, orders(order[None])[0], x)
    with torch.no_grad():
        assert torch.equal(out, by_hand(network, x, stream))
        assert not torch.allclose(out, network(x))


def test_what_is_swapped_twice_is_as_it_was(three):
    network, by_name, x = three
    (swap,) = orders(np.array([[0, 2, 1, 3, 4, 5, 6, 7, 8]]))
    with torch.no_grad():
        whole = network(x)
        with arranged(network, by_name, swap), arranged(network, by_name, swap):
            assert torch.equal(network(x), whole)
    assert swap["block"][swap["block"]].tolist() == list(range(9))


def test_a_block_that_runs_twice_takes_its_own_output(three):
    network, by_name, x = three
    chosen = np.isin(np.arange(9), [1, 8])
    out = lesioned(network, by_name, repetitions(chosen[None])[0], x)

    def stream(number, pieces, stage):
        again = {0: 1, 2: 2}.get(number)
        return [piece for i, piece in enumerate(pieces) for _ in range(2 if i == again else 1)]

    with torch.no_grad():
        assert torch.equal(out, by_hand(network, x, stream))


@pytest.mark.parametrize("survival", [1.0, 0.5])
def test_blocks_side_by_side_add_both_branches_to_one_input(survival):
    network = trained_like("resnet", depth=20, width=4, survival=survival).eval()
    by_name, x = blocks(network), torch.randn(5, 1, 8, 8)
    chosen = np.arange(9) == 4
    out = lesioned(network, by_name, pairs(chosen[None])[0], x)

    def scaled(block, x):
        return block.survival * block.branch(x)

    def stream(number, pieces, stage):
        if number != 1:
            return [lambda x, block=block: block(x) for block in stage]
        return [stage[0], lambda x: torch.relu(x + scaled(stage[1], x) + scaled(stage[2], x))]

    with torch.no_grad():
        torch.testing.assert_close(out, by_hand(network, x, stream), rtol=1e-6, atol=1e-6 * float(out.abs().max()))
        assert not torch.allclose(out, network(x))


def test_side_by_side_is_for_blocks_that_add():
    network = trained_like("resnet", depth=20, width=4, join="channel-gate")
    by_name, chosen = blocks(network), np.arange(9) == 4
    with pytest.raises(BadInput, match="more than add"), arranged(network, by_name, pairs(chosen[None])[0]):
        pass


@pytest.mark.parametrize(
    "arguments", [{}, {"join": "exclusive-gate"}, {"join": "pooled-gate"}, {"survival": 0.5}, {"order": "pre"}]
)
def test_a_gate_of_1_is_the_network_and_of_0_the_lesion_to_the_bit(arguments):
    network = trained_like("resnet", depth=20, width=4, **arguments).eval()
    by_name, x = blocks(network), torch.randn(5, 1, 8, 8)
    names = list(by_name)
    one, zero, half = gates(9, [2, 5], np.array([[1, 1], [0, 0], [0.5, 2]]))
    with torch.no_grad():
        assert torch.equal(lesioned(network, by_name, one, x), network(x))
        with lesion(network, [names[2], names[5]]):
            assert torch.equal(lesioned(network, by_name, zero, x), network(x))
        with arranged(network, by_name, half):
            out = network(x)
        other = trained_like("resnet", depth=20, width=4, **arguments).eval()
        for block, gate in ((2, 0.5), (5, 2)):
            end = other.get_submodule(names[block]).branch
            end[-1].weight *= gate
            if end[-1].bias is not None:
                end[-1].bias *= gate
        torch.testing.assert_close(out, other(x), rtol=1e-5, atol=1e-5 * float(out.abs().max()))


def test_a_mean_over_the_data_replaces_a_branch(three):
    network, by_name, x = three
    outs = {}

    def note(name, f):
        outs[name] = f
        return f

    with torch.no_grad():
        by_hand(network, x, branch=note)
    batches = [x[:3], x[3:]]
    replacement = Replacement(means(network, by_name, [1, 4], batches))
    assert [len(mean) for mean in replacement.means] == [0, 1, 0, 0, 1, 0, 0, 0, 0]
    torch.testing.assert_close(replacement.means[4][0][0], outs["stages.1.1"].mean(0))
    chosen = np.isin(np.arange(9), [1, 4])
    out = lesioned(network, by_name, replacements(chosen[None], MEAN)[0], x, replacement=replacement)

    def replaced(name, f):
        return outs[name].mean(0).expand_as(f) if name in ("stages.0.1", "stages.1.1") else f

    with torch.no_grad():
        torch.testing.assert_close(out, by_hand(network, x, branch=replaced))


def test_another_examples_output_replaces_a_branch(three):
    network, by_name, x = three
    other = derangement(5, 7)
    chosen = np.arange(9) == 4
    out = lesioned(network, by_name, replacements(chosen[None], OTHER)[0], x, replacement=Replacement(seed=7))
    with torch.no_grad():
        expected = by_hand(network, x, branch=lambda name, f: f[other] if name == "stages.1.1" else f)
    assert torch.equal(out, expected)


def test_every_example_gets_the_output_of_another_one():
    for n in (2, 3, 10, 257):
        other = derangement(n, 0)
        assert sorted(other.tolist()) == list(range(n))
        assert (other != torch.arange(n)).all()
        assert torch.equal(other, derangement(n, 0))
    assert not torch.equal(derangement(257, 0), derangement(257, 1))
    with pytest.raises(BadInput, match="batch_size"):
        derangement(1, 0)


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("kind", ["order", "twice", "pair", "mean"])
def test_the_network_comes_back_from_every_lesion(three, kind, failing):
    network, by_name, x = three
    replacement = Replacement(means(network, by_name, [4], [x]))
    chosen = np.arange(9)[None] == 4
    trial = {
        "order": orders(np.array([[0, 2, 1, 3, 5, 4, 6, 7, 8]])),
        "twice": repetitions(chosen),
        "pair": pairs(chosen),
        "mean": replacements(chosen, MEAN),
    }[kind][0]
    trial["runs"][0] = 0
    network.train()
    modules, state = list(network.named_modules()), digest(dict(network.state_dict()))
    try:
        with arranged(network, by_name, trial, replacement):
            network.eval()(x)
            network.train()
            if failing:
                raise RuntimeError
    except RuntimeError:
        assert failing
    assert modules == list(network.named_modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert digest(dict(network.state_dict())) == state


def test_the_intact_row_changes_nothing(three):
    network, by_name, x = three
    modules = list(network.named_modules())
    with torch.no_grad(), arranged(network, by_name, intact(9)):
        assert modules == list(network.named_modules())
        assert torch.equal(network(x), by_hand(network, x))


def test_every_set_is_there_once_after_the_intact_network():
    plan = every(6, [1, 2])
    assert plan.shape == (1 + 6 + comb(6, 2), 6)
    assert plan.sum(1).tolist() == [0] + [1] * 6 + [2] * 15
    assert len({tuple(row) for row in plan}) == len(plan)
    np.testing.assert_array_equal(plan[1:7], np.eye(6, dtype=bool))


def test_random_sets_are_seeded_each_by_itself():
    plan = sampled(27, range(2, 11), 30, seed=0)
    assert plan.sum(1).tolist() == [0] + [k for k in range(2, 11) for _ in range(30)]
    np.testing.assert_array_equal(sampled(27, range(2, 11), 30, seed=0), plan)
    np.testing.assert_array_equal(sampled(27, [4], 10, seed=0)[1:], plan[61:71])
    assert not np.array_equal(sampled(27, range(2, 11), 30, seed=1), plan)
    assert len({tuple(row) for row in plan[plan.sum(1) == 10]}) > 25  # repeats differ


def test_random_sets_are_those_of_their_seed_for_good():
    """Files that are there are gone on with."""
    drawn = [np.flatnonzero(row).tolist() for row in sampled(27, [2, 3], 3, seed=5)]
    assert drawn == [[], [6, 20], [17, 21], [17, 23], [7, 18, 24], [6, 20, 23], [0, 8, 18]]


def test_random_sets_are_uniform_over_blocks():
    plan = sampled(18, [6], 3000, seed=5)[1:]
    expected, spread = 1000, np.sqrt(3000 / 3 * 2 / 3)
    assert (abs(plan.sum(0) - expected) < 5 * spread).all()


def test_where_there_are_no_more_sets_than_trials_each_is_there_once():
    plan = sampled(6, range(1, 7), 15, seed=0)
    counts = plan.sum(1)
    assert counts.tolist() == [0] + [1] * 6 + [2] * 15 + [3] * 15 + [4] * 15 + [5] * 6 + [6]
    np.testing.assert_array_equal(plan[counts != 3], every(6, [1, 2, 4, 5, 6]))
    np.testing.assert_array_equal(plan[counts == 3], sampled(6, [3], 15, seed=0)[1:])


@pytest.mark.parametrize("how", [{"delete": [1, 2]}, {"delete": [1, 2], "replace": "other"}, {"repeat": [1, 2]}])
@pytest.mark.slow
def test_a_file_whose_few_sets_were_drawn_again_and_again_is_gone_on_with(tmp_path, monkeypatch, how):
    network = trained_like("resnet", depth=20, width=2)
    evaluate = Evaluator(network, [(torch.randn(8, 1, 8, 8), torch.arange(8) % 10)])
    arguments = {**how, "trials": 16, "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr(kinds, "sampled", partial(sampled, again=True))
        earlier = lesions(evaluate, out=tmp_path / "a.h5", **arguments)
    now = lesions(evaluate, out=tmp_path / "a.h5", **arguments)
    assert len(now["done"]) == len(earlier["done"]) == 1 + 2 * 16
    np.testing.assert_array_equal(now["loss"], earlier["loss"])
    assert len(lesions(evaluate, out=tmp_path / "b.h5", **arguments)["done"]) < len(now["done"])
    with pytest.raises(BadInput, match="holds another measurement"):
        lesions(evaluate, out=tmp_path / "a.h5", seed=1, **arguments)


@pytest.mark.parametrize(("counts", "trials"), [([0], 5), ([10], 5), ([], 5), ([1], 0), ([1], 10**9)])
def test_impossible_plans_are_refused(counts, trials):
    with pytest.raises(BadInput):
        sampled(9, counts, trials, seed=0)


def test_a_plan_too_large_to_write_down_is_refused():
    with pytest.raises(BadInput, match="with trials"):
        every(54, [10])
