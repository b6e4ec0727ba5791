"""Every kind of lesion: what is planned, what results hold, and what is refused."""

import numpy as np
import pytest
import torch
from files import contents
from scipy.stats import kendalltau
from small import trained_like
from torch import nn

from ensemble.blocks.blocks import blocks
from ensemble.lesions import kinds
from ensemble.lesions.kinds import Change, Kind
from ensemble.lesions.study import study
from ensemble.lesions.trials import lesions
from landscape.engine.table import read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.evaluation.measure import measure
from landscape.networks import build


@pytest.fixture(scope="module")
def evaluate():
    """A network of nine blocks on random images."""
    torch.manual_seed(0)
    network = trained_like(build("resnet", depth=20, width=4, channels=1))
    batches = [(torch.randn(20, 1, 8, 8), torch.arange(20) % 10) for _ in range(3)]
    return Evaluator(network, batches)


def measured(evaluate, **options):
    return lesions(evaluate, quiet=True, **options)


def planned(network="resnet", **options):
    """The study that these arguments ask for."""
    torch.manual_seed(0)
    module = build(network, depth=20, width=2, channels=1).eval()
    return study(module, blocks(module), torch.randn(3, 1, 8, 8), **options)


@pytest.mark.slow
def test_swaps_are_counted_and_more_trials_change_no_other(evaluate, tmp_path):
    few = measured(evaluate, swap=[1, 3], trials=3, out=tmp_path / "a.h5")
    assert few.attributes["lesion"] == "swap" and few["swaps"].tolist() == [0] + [1] * 3 + [2] * 3 + [3] * 3
    expected = [kendalltau(range(9), order).statistic for order in few["order"]]
    np.testing.assert_allclose(few["kendall_tau"], expected, atol=1e-15)
    assert not few["deleted"].any() and few["done"].all()
    assert few["rise"][0] == few["rise_se"][0] == 0
    np.testing.assert_allclose(few["rise"], few["loss"] - few["loss"][0], atol=1e-12)
    np.testing.assert_array_equal(few["rise_se"] > 0, few["kendall_tau"] < 1)  # two swaps may undo each other
    more = measured(evaluate, swap=[1, 3], trials=4)
    kept = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11]
    for name in ("order", "loss", "rise_se"):
        np.testing.assert_array_equal(more[name][kept], few[name])
    with pytest.raises(BadInput, match="holds another measurement"):
        measured(evaluate, swap=[1, 3], trials=4, out=tmp_path / "a.h5")


@pytest.mark.slow
def test_two_gates_are_a_surface_whose_corners_are_the_deletions(evaluate):
    surface = measured(evaluate, gate=["stages.0.1", "stages.2.2"], alpha=(0, 1, 3))
    sets = measured(evaluate, sets=[["stages.0.1"], ["stages.2.2"], ["stages.2.2", "stages.0.1"]])
    assert surface.kind == "surface" and surface.dims["loss"] == ("y", "x")
    assert surface.attributes["gates"].tolist() == ["stages.0.1", "stages.2.2"]
    assert surface["loss"].shape == (3, 3) and surface["done"].all()
    assert sets["deleted"].sum(1).tolist() == [0, 1, 1, 2]
    for name in ("loss", "rise", "rise_se", "accuracy"):
        corners = [surface[name][y, x] for y, x in ((-1, -1), (-1, 0), (0, -1), (0, 0))]
        np.testing.assert_array_equal(corners, sets[name])
    line = measured(evaluate, gate="stages.2.2", alpha=(0, 1, 3))
    assert line.dims["loss"] == ("x",)
    np.testing.assert_array_equal(line["loss"], surface["loss"][:, -1])


def test_sets_come_from_a_file_or_from_python(tmp_path):
    (tmp_path / "sets").write_text("stages.0.1\nstages.2.2\n\nstages.2.2  stages.0.1\n")
    named = [("stages.0.1",), ["stages.2.2"], {"stages.0.1", "stages.2.2"}]
    for sets in (tmp_path / "sets", str(tmp_path / "sets"), named, (each for each in named)):
        np.testing.assert_array_equal(
            np.argwhere(planned(sets=sets).given["deleted"][1]).tolist(), [[1, 1], [2, 8], [3, 1], [3, 8]]
        )


@pytest.mark.slow
def test_statistics_are_measured_anew_in_every_trial(evaluate, tmp_path):
    anew = measured(evaluate, batchnorm="recalibrated")
    kept = measured(evaluate, out=tmp_path / "b.h5")
    assert anew.attributes["batchnorm"] == "recalibrated" and anew.attributes["calibration"] == 60
    assert anew["rise"][0] == 0 and not np.isclose(anew["loss"], kept["loss"], rtol=1e-3).any()
    with pytest.raises(BadInput, match="holds another measurement"):
        measured(evaluate, batchnorm="recalibrated", out=tmp_path / "b.h5")


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.act = nn.Linear(16, 16), nn.Tanh()

    def forward(self, x):
        return x + self.act(self.inner(x))


def last_of(network):
    return {f"{i}": f"{i}.act" for i in range(1, 4)}


def test_a_network_of_ones_own_is_lesioned_by_a_description():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), Layer(), Layer(), Layer(), nn.Linear(16, 10))
    evaluate = Evaluator(network, [(torch.randn(12, 8), torch.arange(12) % 10)])
    single = measured(evaluate, blocks=last_of)
    np.testing.assert_array_equal(measured(evaluate)["loss"], single["loss"])  # found without it
    assert single.coordinates["block"].tolist() == ["1", "2", "3"]
    assert single["deleted"].tolist() == [[False] * 3, *np.eye(3, dtype=bool).tolist()]
    assert single.attributes["forward"] == "as it is"
    np.testing.assert_array_equal(measured(evaluate, blocks=f"{__name__}:last_of")["loss"], single["loss"])
    for options in ({"replace": "mean"}, {"replace": "other"}, {"repeat": 1}):
        file = measured(evaluate, blocks=last_of, **options)
        variable = "repeated" if "repeat" in options else "replaced"
        np.testing.assert_array_equal(file[variable], single["deleted"])
        assert not file["deleted"].any() and (file["loss"][1:] != single["loss"][1:]).all()
        assert file["loss"][0] == single["loss"][0]
    assert measured(evaluate, blocks=last_of, parallel=True)["parallel"].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert measured(evaluate, blocks=last_of, reverse=True)["order"].tolist() == [[0, 1, 2], [2, 1, 0]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delete": 1, "swap": 1}, "delete and swap are two kinds"),
        ({"crush": 1}, "there is no lesion of kind 'crush'"),
        ({"delet": 1}, "did you mean delete?"),
        ({"swap": 1}, "say how often with trials"),
        ({"permute": True}, "say how often with trials"),
        ({"swap": 0, "trials": 2}, "give 1 or more"),
        ({"swap": [3, 1], "trials": 2}, "ascending pair"),
        ({"swap": 1, "trials": 2, "replace": "mean"}, "replace goes with delete, sets, not with swap"),
        ({"alpha": (0, 1, 3)}, "alpha goes with gate"),
        ({"contiguous": True, "trials": 3}, "leave out trials"),
        ({"reverse": 7}, "2 to 2 blocks"),
        ({"repeat": [7]}, "repeat takes numbers from 1 to 6"),
        ({"gate": "stages.9.9"}, "no removable block is called stages.9.9"),
        ({"gate": ["stages.0.1", "stages.0.1"]}, "two different ones"),
        ({"gate": ["stages.0.1"], "alpha": (1, 0, 3)}, "does not ascend"),
        ({"sets": "/nowhere/sets"}, "cannot read the sets"),
        ({"sets": []}, "list of sets is empty"),
        ({"sets": 3}, "give sets of the names of blocks"),
        ({"delete": 0}, "takes numbers from 1 to 9"),
        ({"delete": "1"}, "give a whole number"),
        ({"trials": 0}, "give 1 or more"),
        ({"replace": "median"}, "use mean, other"),
        ({"shapley": 20, "precision": 2}, "give a part of 1"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(options, said):
    with pytest.raises(BadInput) as caught:
        planned(**options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"gate": "stages.0.1"}, {"replace": "mean"}])
def test_a_plain_network_has_no_branch_to_change(options):
    with pytest.raises(BadInput, match="without a shortcut"):
        planned("plain", **options)


def test_an_example_alone_in_its_batch_has_no_other(tmp_path):
    network = build("resnet", depth=8, width=2, channels=1)
    evaluate = Evaluator(network, [(torch.randn(n, 1, 8, 8), torch.arange(n)) for n in (3, 1)])
    with pytest.raises(BadInput, match="batch_size"):
        measured(evaluate, replace="other", out=tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_a_second_split_is_refused():
    network, batches = build("resnet", depth=8, width=2, channels=1), [(torch.randn(3, 1, 8, 8), torch.arange(3))]
    with pytest.raises(BadInput, match="one split"):
        measured(Evaluator(network, batches, test=batches))


def test_a_plain_network_is_a_control():
    for options, trials in (({"swap": 2, "trials": 3}, 4), ({"repeat": 1}, 7), ({"reverse": True}, 5)):
        assert len(planned("plain", **options).plan) == trials


def test_runs_of_blocks_are_contiguous():
    deleted = planned(delete=[2, 3], contiguous=True).given["deleted"][1]
    assert deleted.sum(1).tolist() == [0] + [2] * 8 + [3] * 7


def test_deletions_are_the_default_and_one_number_is_a_list_of_one():
    for options in ({}, {"delete": 1}, {"delete": [1]}, {"delete": np.array([1, 1])}):
        asked = planned(**options)
        assert asked.settings == {"lesion": "delete"} and list(asked.given) == ["deleted"]
        np.testing.assert_array_equal(asked.given["deleted"][1][1:], np.eye(9, dtype=bool))


def test_a_file_holds_what_it_held(evaluate, tmp_path):
    measured(evaluate, out=tmp_path / "a.h5")
    assert contents(tmp_path / "a.h5").keys() == {
        *("trial", "block", "deleted", "loss", "loss_se", "accuracy", "examples", "done", "crc"),
        *("rise", "rise_se"),
    }


@pytest.mark.slow
def test_the_seed_of_lesions_may_differ_from_that_of_the_evaluator(evaluate):
    one, other = (measured(evaluate, delete=3, trials=4, seed=seed) for seed in (0, 1))
    assert (one.attributes["seed"], other.attributes["seed"]) == (0, 1)
    assert (one["deleted"] != other["deleted"]).any()
    np.testing.assert_array_equal(measured(evaluate, delete=3, trials=4)["deleted"], one["deleted"])


@pytest.mark.slow
def test_a_kind_that_is_entered_in_the_table_is_measured_drawn_and_counted(evaluate, monkeypatch):
    from ensemble.drawing.lesions import lesions as drawn
    from ensemble.lesions.plans import every, intact
    from landscape.analysis.numbers import Levels, lesion

    def scale(request):
        chosen = every(request.number, [1])
        plan = intact(request.number, len(chosen))
        plan["gate"][chosen] = request.value
        return request.study(plan, {"scaled": chosen})

    entry = Kind(scale, "multiply each branch by C", {"type": float}, {"scale": Change("scaled", "scaled")})
    monkeypatch.setitem(kinds.KINDS, "scale", entry)
    file = measured(evaluate, scale=0.5)
    gates = [measured(evaluate, gate=name, alpha=(0.5, 1, 2))["loss"][0] for name in file.coordinates["block"]]
    np.testing.assert_array_equal(file["loss"][1:], gates)
    assert [row.name for row in lesion(file, Levels())] == ["error, intact", "median error, 1 scaled"]
    assert [label.get_text() for label in drawn([file]).axes[0].get_yticklabels()] == ["scaled"]


@pytest.mark.slow
def test_a_dry_run_keeps_nothing(evaluate, tmp_path):
    said = measured(evaluate, dry_run=True, out=tmp_path / "a.h5")
    assert "10 trials" in said and not (tmp_path / "a.h5").exists()


@pytest.mark.slow
def test_results_in_memory_are_those_of_a_file(evaluate, tmp_path):
    measured(evaluate, shapley=8, out=tmp_path / "a.h5")
    kept, memory = read(tmp_path / "a.h5"), measured(evaluate, shapley=8)
    assert memory.path is None and kept.variables.keys() == memory.variables.keys()
    for name in memory.variables:
        np.testing.assert_array_equal(kept[name], memory[name], err_msg=name)


@pytest.mark.slow
def test_middle_layers_run_in_a_loop_or_side_by_side_so_often_as_asked(evaluate):
    def by_hand(stage, forward):
        """The loss with another forward of two blocks of one stage."""
        _, a, b = stage
        stage[1], stage[2] = nn.Identity(), Function(lambda h: forward(a, b, h))
        with evaluate.ready() as evaluation:
            loss = measure(evaluate.network, evaluation.batches)["loss"]
        stage[1], stage[2] = a, b
        return loss

    stage = evaluate.network.stages[1]
    loop = measured(evaluate, loop=[2, 3], within=(4, 7))  # the fourth is the first of its stage, the seventh too
    assert loop["times"].tolist() == [1, 2, 3] and loop.attributes["lesion"] == "loop"
    np.testing.assert_array_equal(loop["looped"], [[False] * 9] + [[n in (4, 5) for n in range(9)]] * 2)
    assert loop["loss"][1] == pytest.approx(by_hand(stage, lambda a, b, h: b(a(b(a(h))))), rel=1e-5)
    assert loop["loss"][2] == pytest.approx(by_hand(stage, lambda a, b, h: b(a(b(a(b(a(h))))))), rel=1e-5)
    average = measured(evaluate, average=1)
    assert average["averaged"].sum(axis=1).tolist() == [0, 2, 2, 2]  # a stage at a time
    assert average["loss"][2] == pytest.approx(by_hand(stage, lambda a, b, h: (a(h) + b(h)) / 2), rel=1e-5)
    assert measured(evaluate, swap=2, trials=6, within=(8, 9))["order"][:, :7].tolist() == [[*range(7)]] * 7


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"loop": 1}, "numbers from 2 on"),
        ({"average": 0}, "numbers from 1 on"),
        ({"permute": True, "trials": 2, "within": (1, 2)}, "these can: 2, 3, 5, 6, 8, 9"),
        ({"delete": 1, "within": (1, 2)}, "within goes with"),
    ],
)
def test_what_cannot_run_together_is_refused(asked, line):
    with pytest.raises(BadInput, match=line):
        planned(**asked)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)
