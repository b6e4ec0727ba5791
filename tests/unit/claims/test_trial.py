"""Trying claims: what is trained, measured and judged is what the library's own calls give."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import scripts
from ensemble.claims import workbench
from ensemble.claims.measures import MEASURES, measured
from ensemble.claims.measures.paths import binomial_share
from ensemble.claims.report import Verdicts, described, listed, report
from ensemble.claims.specification import Network, claim_named
from ensemble.claims.trial import _judged, claim, claims
from ensemble.claims.verdict import VERDICTS, Number
from ensemble.claims.workbench import Workbench
from ensemble.drawing.verdicts import sides, verdicts
from ensemble.flow.stream import stream
from ensemble.identity import identity
from ensemble.lesions.trials import lesions
from landscape.analysis.basins import certified_radius
from landscape.checkpoints.checkpoint import Checkpoint, load
from landscape.curvature.basin import basin_radius
from landscape.engine.ranks import SerialComm
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface
from landscape.training.train import train

SMALL = {"network": "resnet", "depth": 8, "width": 4, "data": "digits", "examples": 100, "epochs": 1}
CLAIM = """
title = "Deletions cost"
statement = "Without a block the error is higher."
source = "Nobody 2020"
seeds = 2

[networks]
net = { network = "resnet", depth = 8, width = 4, examples = 100, epochs = 1 }

[quantities.after]
label = "error after a deletion, mean"
network = "net"
measure = "deletions"
settings = { statistic = "mean", examples = 60 }
unit = "%"
published = "12.3"

[quantities.before]
label = "error, intact"
network = "net"
measure = "deletions"
settings = { statistic = "intact", examples = 60 }
unit = "%"

[[criteria]]
says = "it is higher after"
quantity = "after"
minus = "before"
above = 0

[[criteria]]
says = "it is at most 100 %"
quantity = "after"
below = 100.5
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="module")
def bench(folder):
    bench = Workbench(folder / "bench", SerialComm(), quiet=True)
    bench.train([(Network(SMALL), 0), (Network({**SMALL, "epochs": 0}), 0)])
    return bench


@pytest.fixture(scope="module")
def mine(folder):
    path = folder / "mine.toml"
    path.write_text(CLAIM, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tried(mine, folder):
    (results,) = claim(mine, out=folder / "tried", quiet=True)
    return results


def test_a_network_is_that_of_the_same_training_by_hand(bench, tmp_path):
    by_hand = train(tmp_path / "a.pt", **SMALL, seed=0, quiet=True)
    there = bench.case(Network(SMALL), 0).checkpoint()
    assert all(np.array_equal(there.weights[name], by_hand.weights[name]) for name in by_hand.weights)


def test_a_network_of_no_epochs_is_one_at_initialisation(bench, tmp_path):
    train(tmp_path / "a.pt", **SMALL, seed=0, snapshots=tmp_path / "all", quiet=True)
    there, first = bench.case(Network({**SMALL, "epochs": 0}), 0).checkpoint(), load(tmp_path / "all" / "epoch-0000.pt")
    assert all(np.array_equal(there.weights[name], first.weights[name]) for name in first.weights)


def test_errors_after_deletions_are_those_of_the_librarys_call(bench):
    case = bench.case(Network(SMALL), 0)
    study = lesions(Evaluator.from_checkpoint(case.path, split="test", examples=60), delete=1, quiet=True)
    error = 100 * (1 - study["accuracy"])
    for statistic, function in {"mean": np.mean, "median": np.median, "least": np.min, "most": np.max}.items():
        assert MEASURES["deletions"](case, statistic=statistic, examples=60).value == pytest.approx(function(error[1:]))
    intact = MEASURES["deletions"](case, statistic="intact", examples=60)
    p = error[0] / 100
    assert intact.value == pytest.approx(error[0]) and intact.se == pytest.approx(100 * math.sqrt(p * (1 - p) / 60))
    rise = MEASURES["deletions"](case, statistic="mean", of="error rise", examples=60)
    assert rise.value == pytest.approx(error[1:].mean() - error[0])


def test_measurements_of_one_network_with_and_without_metrics_have_files_of_their_own(bench):
    case = bench.case(Network(SMALL), 0)
    kept = MEASURES["deletions"](case, of="agreement", statistic="mean", examples=60)
    error = MEASURES["deletions"](case, of="error", statistic="mean", examples=60)
    assert 0 <= kept.value <= 100 and math.isfinite(error.value)


def test_deletions_are_chosen_by_place(bench):
    case = bench.case(Network(SMALL), 0)  # of three blocks the second and the third change the resolution
    study = lesions(Evaluator.from_checkpoint(case.path, split="test", examples=60), delete=1, quiet=True)
    error = 100 * (1 - study["accuracy"][1:])
    places = {"first": error[:1], "last": error[2:], "ends": error[[0, 2]], "middle": error[1:2]}
    places |= {"transitions": error[1:], "others": error[:1]}
    for where, each in places.items():
        number = MEASURES["deletions"](case, statistic="mean", where=where, examples=60)
        assert number.value == pytest.approx(each.mean())


def test_the_share_of_paths_is_counted():
    paths = [bin(which).count("1") for which in range(2**10)]
    assert binomial_share(None, 3, 6, blocks=10).value == pytest.approx(100 * np.mean([3 <= n <= 6 for n in paths]))


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["relative_gradient", "responses", "refinement", "path_share", "trend"])
def test_every_number_is_finite_on_a_trained_network(bench, measure):
    more = {"delete": [1, 2], "trials": 5, "examples": 60} if measure == "trend" else {}
    assert math.isfinite(MEASURES[measure](bench.case(Network(SMALL), 0), **more).value)


def test_the_first_gradient_is_a_power_of_what_a_layer_makes_of_it(bench):
    case = bench.case(Network({**SMALL, "epochs": 0}), 0)
    whole, layer = (MEASURES["relative_gradient"](case, per_layer=each).value for each in (False, True))
    assert layer**6 == pytest.approx(whole)


def test_numbers_of_the_stream_are_those_of_the_librarys_call(bench):
    case = bench.case(Network(SMALL), 0)
    evaluate = Evaluator.from_checkpoint(case.path, split="train", examples=128)
    results = stream(evaluate, batches=1, batch_size=128, quiet=True)
    growth = MEASURES["variance_growth"](case)
    assert growth.value == pytest.approx(results["variance"][0, 3] / results["variance"][0, 0])
    effect = results["effect"][0, list(results.coordinates["quantile"]).index(0.5)]
    first, second = (MEASURES["later_effect"](case, half=half, layers=False).value for half in ("first", "second"))
    assert first == pytest.approx(np.nanmean(effect[0])) and second == pytest.approx(np.nanmean(effect[1:3]))
    shattered = MEASURES["autocorrelation"](case)
    assert (shattered.value, shattered.se) == (results["autocorrelation"][0, 0], results["autocorrelation_se"][0, 0])


def test_the_gain_of_mixing_is_that_of_the_product_of_all_matrices(bench):
    network = Network({**SMALL, "batch_size": 25, "arguments": {"shortcut": "hyper"}})
    bench.train([(network, 0)])
    case, product = bench.case(network, 0), np.eye(4)
    for block in case.module().parts()[1:-1]:
        product = block.shortcut.weight.detach().double().numpy() @ product
    assert abs(product - np.eye(4)).max() > 1e-4
    for way, axis in {"forward": 1, "backward": 0}.items():
        expected = abs(product).sum(axis=axis).max()
        assert MEASURES["mixing_gain"](case, way=way).value == pytest.approx(expected, rel=1e-5)


def test_the_reach_of_a_basin_is_the_librarys_certified_radius(bench):
    case, how = bench.case(Network(SMALL), 0), {"directions": 29, "level": "+20%"}
    evaluate = Evaluator.from_checkpoint(case.path, split="train", examples=60)
    results = basin_radius(evaluate, ball="weights", radius=(0, 0.4, 5), **how, quiet=True)
    number = MEASURES["basin_reach"](case, reach=0.4, points=5, examples=60, **how)
    assert number.value == certified_radius(results).radius


def test_the_course_of_a_training_needs_snapshots(bench):
    with pytest.raises(BadInput, match="give its network snapshots = true"):
        MEASURES["critical_rank"](bench.case(Network(SMALL), 0))


def test_the_identity_is_learnt_at_the_rate_that_is_best_over_all_trainings(bench):
    options = {"kind": "residual", "depth": 2, "steps": 20}
    each = [MEASURES["identity_error"](bench.case(None, seed, 2), **options).value for seed in (0, 1)]
    results = identity(kinds=["residual"], depth=2, steps=20, seeds=2, learning_rate=[1e-3, 1e-2], quiet=True)
    assert each == results["error"][0, 0, results["error"][0, 0].mean(axis=1).argmin()].tolist()


def test_a_basin_on_the_line_between_two_is_as_wide_as_the_library_says(bench):
    one, other = bench.case(Network(SMALL), 0), bench.case(Network({**SMALL, "epochs": 0}), 0)
    ratio = MEASURES["interpolation"](one, other, points=9, rise=0.2)
    evaluate = Evaluator.from_checkpoint(one.path, split="train")
    line = surface(evaluate, x=(-0.5, 1.5, 9), to=str(other.path), quiet=True)
    loss = line["loss"]
    assert loss[2] == pytest.approx(one.evaluator(split="train")()["loss"])
    fine = np.linspace(-0.5, 1.5, 100_001)
    high = np.interp(fine, line.coordinates["x"], loss)
    widths = []
    for end in (0, 1):
        above = fine[high >= np.interp(end, fine, high) + 0.2]
        low, top = above[above < end].max(initial=-0.5), above[above > end].min(initial=1.5)
        widths.append(top - low)
    assert ratio.value == pytest.approx(widths[0] / widths[1], rel=1e-3)


def test_a_barrier_is_that_of_the_librarys_line_to_the_next_training(bench):
    bench.train([(Network(SMALL), 1)])
    one, other = (bench.case(Network(SMALL), seed, 2) for seed in (0, 1))
    options = {"align": "weights", "batchnorm": "recalibrated"}
    number = MEASURES["barrier_height"](one, points=5, examples=100, **options)
    evaluate = Evaluator.from_checkpoint(one.path, split="train", examples=100)
    loss = surface(evaluate, to=other.path, x=(0, 1, 5), quiet=True, **options)["loss"]
    assert number.value == pytest.approx((loss - np.linspace(loss[0], loss[-1], 5)).max())
    assert number.se > 0
    with pytest.raises(BadInput, match="give seeds 2 or more"):
        MEASURES["barrier_height"](bench.case(Network(SMALL), 0, 1))


def test_a_training_that_diverges_has_the_error_of_guessing(folder):
    wild = Network({**SMALL, "epochs": 2, "learning_rate": 1e30})
    bench = Workbench(folder / "wild", SerialComm(), quiet=True)
    bench.train([(wild, 0)])
    case = bench.case(wild, 0)
    assert case.diverged and not case.path.exists()
    assert measured("error", case, None, {}).value == pytest.approx(90)
    assert math.isnan(measured("deletions", case, None, {}).value)
    assert bench._finished(wild, 0)  # and is not trained again


def test_the_verdict_is_that_of_a_test_by_hand(tried):
    first, second = tried["first"][0], tried["second"][0]
    theirs = stats.ttest_rel(first, second).confidence_interval()
    assert (tried["low"][0], tried["high"][0]) == pytest.approx((theirs.low, theirs.high))
    assert tried["estimate"][0] == pytest.approx(np.mean(first - second))
    assert VERDICTS[int(tried["verdict"][0])] == ("holds" if theirs.low > 0 else "cannot tell")


def test_what_is_there_is_neither_trained_nor_measured_again(tried, mine, folder, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("something is trained again")

    monkeypatch.setattr(workbench, "train", refuse)
    before = {path: path.stat().st_mtime_ns for path in (folder / "tried").rglob("*") if path.is_file()}
    (again,) = claim(mine, out=folder / "tried", quiet=True)
    assert np.array_equal(again["estimate"], tried["estimate"])
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "tried").rglob("*") if path.is_file()}


def test_another_trial_in_the_same_folder_is_refused(tried, mine, folder):
    with pytest.raises(BadInput, match=r"mine\.h5"):
        claim(mine, out=folder / "tried", seeds=1, quiet=True)


def test_networks_of_ones_own_take_the_place_of_those_that_would_be_trained(mine, folder, monkeypatch):
    own = train(folder / "own.pt", **{**SMALL, "depth": 14}, quiet=True)

    def refuse(*_, **__):
        raise AssertionError("something is trained")

    monkeypatch.setattr(workbench, "train", refuse)
    (results,) = claim(mine, out=folder / "own", seeds=1, checkpoints={"net": folder / "own.pt"}, quiet=True)
    wrong = 1 - Evaluator.from_checkpoint(folder / "own.pt", split="test", examples=60)()["accuracy"]
    assert results["second"][0, 0] == pytest.approx(100 * wrong) and "own.pt" in results.attributes["networks"]
    assert results.attributes["checkpoint"] == own.sha256


def test_a_training_that_diverges_in_its_last_step_is_none_to_measure(folder, monkeypatch):
    def last_step(out, threads, **_):
        assert threads == 1  # so that networks are those of any number of ranks and cores
        out.write_text("")
        return Checkpoint("resnet", {}, {}, final={"train": {"loss": math.nan}})

    monkeypatch.setattr(workbench, "train", last_step)
    other, bench = Network({**SMALL, "epochs": 3}), Workbench(folder / "wild", SerialComm(), quiet=True)
    bench.train([(other, 0)])
    assert bench.case(other, 0).diverged


def test_networks_of_ones_own_are_measured_on_their_data_and_at_their_depth(tmp_path):
    draws = np.random.default_rng(0)
    split = {"images": draws.random((60, 1, 8, 8), np.float32), "labels": np.arange(60) % 3}
    data = tmp_path / "own.npz"
    np.savez(data, **{f"{part}_{name}": each for part in ("train", "test") for name, each in split.items()})
    train(tmp_path / "own.pt", depth=14, width=4, epochs=1, data=str(data), quiet=True)
    given = {(Network(SMALL).key, 0): tmp_path / "own.pt"}
    case = Workbench(tmp_path, SerialComm(), quiet=True, given=given, data=str(data)).case(Network(SMALL), 0)
    assert case.depth == 14 and case.data == str(data)
    evaluate = Evaluator.from_checkpoint(tmp_path / "own.pt", data=str(data), examples=60)
    assert MEASURES["deletions"](case, statistic="intact").value == pytest.approx(100 * (1 - evaluate()["accuracy"]))
    elsewhere = Workbench(tmp_path, SerialComm(), quiet=True, given=given).case(Network(SMALL), 0)
    with pytest.raises(BadInput, match="data"):  # and not on those of the claim, without a word
        MEASURES["deletions"](elsewhere)


def test_the_factor_of_a_layer_is_one_of_the_layers_that_are_there(bench, tmp_path):
    train(tmp_path / "own.pt", **{**SMALL, "depth": 14}, quiet=True)
    own = Workbench(tmp_path, SerialComm(), quiet=True, given={(Network(SMALL).key, 0): tmp_path / "own.pt"})
    whole, layer = (
        MEASURES["relative_gradient"](own.case(Network(SMALL), 0), per_layer=each).value for each in (False, True)
    )
    assert layer**12 == pytest.approx(whole)  # of 14 layers, and not of the claim's 8


def test_networks_of_ones_own_need_a_role_and_a_training_each(mine, folder, tmp_path):
    path = folder / "own.pt"
    train(path, **{**SMALL, "depth": 14}, quiet=True)
    with pytest.raises(BadInput, match=r"there is no network 'ned'.*did you mean net"):
        claim(mine, out=tmp_path, checkpoints={"ned": path}, quiet=True)
    with pytest.raises(BadInput, match=r"1 checkpoints for net.*2 trainings"):
        claim(mine, out=tmp_path, checkpoints={"net": path}, quiet=True)
    with pytest.raises(BadInput, match="there is no file"):
        claim(mine, out=tmp_path, seeds=1, checkpoints={"net": tmp_path / "no.pt"}, quiet=True)


def test_what_cannot_be_tried_is_refused(mine, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file; name a folder"):
        claim(mine, out=tmp_path / "file", quiet=True)
    with pytest.raises(BadInput, match="twice"):
        claim([mine, mine], out=tmp_path, quiet=True)
    odd = tmp_path / "odd.toml"
    odd.write_text(CLAIM.replace('"deletions"', '"deletion"'), encoding="utf-8")
    with pytest.raises(BadInput, match="did you mean deletions"):
        claim(odd, out=tmp_path, quiet=True)
    assert not list(tmp_path.glob("*/*.pt"))  # it is said before anything is trained
    odd.write_text(CLAIM.replace('statistic = "mean"', 'statistics = "mean"'), encoding="utf-8")
    with pytest.raises(BadInput, match="statistics"):
        claim(odd, out=tmp_path, quiet=True)
    odd.write_text(CLAIM.replace('statistic = "mean"', 'statistic = "modus"'), encoding="utf-8")
    with pytest.raises(BadInput, match="there is no statistic 'modus'"):
        claim(odd, out=tmp_path, quiet=True)


def test_the_report_sets_published_and_measured_side_by_side(tried):
    text = report(tried)
    assert "Deletions cost: " in text and "Nobody 2020" in text and "12.3" in text
    assert f"{tried['first'][0].mean():.1f}"[:4] in text and "2 trainings" in text
    rows = Verdicts([tried]).to_markdown().splitlines()
    assert repr(Verdicts([tried])) == text
    assert len(rows) == 4 and all(row.count("|") == 7 for row in rows)


def test_a_claim_is_told_before_it_is_tried():
    one = claim_named("one-block-can-go")
    text = described(one)
    assert one.statement in text and one.source in text and "it holds if" in text and "at least 80 (VGG)" in text
    assert listed(claims()).count("\n") == len(claims())


def test_a_number_on_the_claimed_side_is_drawn_there(tried):
    side = sides(tried)
    assert side[0] == pytest.approx(tried["estimate"][0] / (tried["estimate"][0] - tried["low"][0]))
    figure = verdicts([tried], width=6)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["Deletions cost"]
    with pytest.raises(BadInput, match="2 titles for 1 claims"):
        verdicts([tried], titles=["a", "b"])
    with pytest.raises(BadInput, match="does not hold this figure"):
        verdicts([tried], width=2)


def test_the_face_has_both_calls():
    assert scripts.claim is claim and scripts.claims is claims


def test_a_criterion_is_judged_by_the_ratio_or_the_difference_that_it_names():
    """Logarithms of a ratio; of one network the trainings are paired, which leaves it exact here."""
    numbers = {"a": [Number(2.0), Number(6.0)], "b": [Number(1.0), Number(3.0)]}
    quantities = {"a": SimpleNamespace(name="a", network="net"), "b": SimpleNamespace(name="b", network="net")}
    of, how = SimpleNamespace(quantities=quantities), {"quantity": "a", "region": (1.5, 3.0)}

    def judged(**second):
        return _judged(of, SimpleNamespace(**how, **{"over": None, "minus": None, **second}), numbers)

    ratio, minus = judged(over="b"), judged(minus="b")
    assert [ratio[name] for name in ("estimate", "low", "high")] == pytest.approx([2, 2, 2])
    assert VERDICTS[ratio["verdict"]] == "holds" and VERDICTS[minus["verdict"]] == "cannot tell"
    assert (minus["estimate"], judged()["estimate"]) == (2, 4)
    quantities["b"].network = "other"
    apart = judged(over="b")
    assert apart["estimate"] == pytest.approx(2) and apart["low"] < 0.5 and apart["high"] > 8
