"""What survives deletions: paths, and the gradient by them; against sums over all sets of blocks."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from matplotlib.figure import Figure
from shares import BINOMIAL, SHARES, N, spectrum

from ensemble.drawing.surviving import survivors, what_is_left
from ensemble.paths.surviving import chances, of_file, surviving
from landscape.drawing import save
from landscape.engine.table import MEASURED, prepare, read
from landscape.errors import BadInput


def subsets(number):
    return [set(some) for size in range(number + 1) for some in combinations(range(number), size)]


@pytest.mark.parametrize("deleted", range(N + 1))
def test_the_chance_of_a_length_is_that_over_all_sets_of_blocks(deleted):
    paths, gone = subsets(N), [set(some) for some in combinations(range(N), deleted)]
    for length in range(N + 1):
        of_it = [path for path in paths if len(path) == length]
        alive = sum(not path & lost for path in of_it for lost in gone)
        assert Fraction(chances(N, deleted)[length]).limit_denominator(1000) == Fraction(alive, len(of_it) * len(gone))
        one = {*range(length)}  # any of them: the chance is that of each path by itself
        assert chances(N, deleted)[length] == pytest.approx(sum(not one & lost for lost in gone) / len(gone))


def test_the_gradient_that_survives_is_the_mean_over_all_draws_whatever_single_paths_carry():
    rng = np.random.default_rng(0)
    paths, examples = subsets(N), 3
    carries = rng.normal(size=(len(paths), examples))  # signed, each path its own
    carries /= carries.sum(axis=0)
    shares = np.array([carries[[len(p) == length for p in paths]].sum(axis=0) for length in range(N + 1)])
    survivors = surviving(shares)
    for k in range(N + 1):
        gone = [set(some) for some in combinations(range(N), k)]
        alive = [[not path & lost for path in paths] for lost in gone]
        assert all(np.mean(row) == survivors.paths[k] for row in alive)  # in every draw
        each = np.mean([carries[row].sum(axis=0) for row in alive], axis=0)
        assert survivors.gradient[k] == pytest.approx(each.mean(), abs=1e-12)
        assert survivors.gradient_se[k] == pytest.approx(each.std(ddof=1) / examples**0.5, abs=1e-12)
    size = abs(shares.mean(axis=1))
    assert survivors.magnitude[2] == pytest.approx(size @ chances(N, 2) / size.sum())


def test_each_deletion_halves_the_paths_and_also_a_gradient_that_all_paths_carry_alike():
    number = 54
    same_shares = np.array([[comb(number, length) / 2**number] for length in range(number + 1)])
    survivors = surviving(same_shares)
    np.testing.assert_array_equal(survivors.paths, [2.0**-k for k in range(number + 1)])
    np.testing.assert_allclose(survivors.gradient, survivors.paths, rtol=1e-12)
    np.testing.assert_allclose(survivors.magnitude, survivors.paths, rtol=1e-12)
    assert np.isnan(survivors.gradient_se).all()  # of one example


def test_what_comes_by_the_shortcuts_alone_survives_everything_and_what_takes_all_blocks_nothing():
    shares = np.zeros((N + 1, 1))
    shares[0], shares[N] = 0.75, 0.25
    np.testing.assert_allclose(surviving(shares).gradient, [1] + N * [0.75])
    single = np.eye(N + 1)[:, 1:2]
    np.testing.assert_allclose(surviving(single).gradient, 1 - np.arange(N + 1) / N)  # short paths are hit less often


def test_cancelling_shares_may_leave_more_than_there_was():
    survivors = surviving(np.array([[2.0, 4.0], [-1.0, -3.0]]))
    np.testing.assert_allclose(survivors.gradient, [1, 3])
    np.testing.assert_allclose(survivors.magnitude, [1, 3 / 5])


def test_a_thousand_blocks_are_no_trouble():
    chance = chances(1000, 500)
    assert chance[0] == 1 and chance[1] == 0.5 and chance[501] == 0
    assert chance[10] == float(Fraction(comb(500, 10), comb(1000, 10)))
    for wrong in (-1, 1001):
        with pytest.raises(BadInput, match="1000 blocks"):
            chances(1000, wrong)


def test_an_example_without_a_gradient_is_left_out():
    shares = np.array([[0.5, np.nan, 0.7], [0.5, np.nan, 0.3]])
    np.testing.assert_array_equal(surviving(shares), surviving(shares[:, [0, 2]]))
    assert np.isnan(surviving(shares[:, [1]]).gradient).all()


# Files


def deletions(path, blocks, counts, checkpoint="a" * 64, lesion="delete", accuracy=0.5, network="resnet-14"):
    rng = np.random.default_rng(0)
    deleted = np.array([rng.permutation(blocks) < k for k in counts for _ in range(5)])
    rows, _ = prepare(
        path,
        deleted,
        kind="lesion",
        dims=("trial",),
        coordinates={"trial": np.arange(len(deleted)), "block": np.array([f"stages.0.{i}" for i in range(blocks)])},
        given={"deleted": (("trial", "block"), deleted)},
        measured=MEASURED,
        attributes={"network": network, "checkpoint": checkpoint, "split": "test", "lesion": lesion},
    )
    for row in range(len(deleted)):
        rows.record(row, {"loss": 1.0, "loss_se": 0.1, "accuracy": accuracy, "examples": 400})
    rows.flush()
    return read(path)


def test_the_lines_are_what_survives_beside_the_errors(tmp_path):
    one, other = spectrum(tmp_path / "p.h5", BINOMIAL, SHARES), deletions(tmp_path / "d.h5", N, (0, 1, 2, 3))
    beside = what_is_left(Figure().subplots(), one, [other])
    paths, gradient = beside.lines
    assert paths.get_xdata().tolist() == [0, 1, 2, 3] and paths.get_ydata().tolist() == [100, 50, 25, 12.5]
    np.testing.assert_allclose(gradient.get_ydata(), [100 * (chances(N, k) @ SHARES).mean() for k in range(4)])
    figure = survivors([other, one, deletions(tmp_path / "e.h5", N, (1,))])
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() == (0, 100)
    assert "test error" in figure.axes[0].get_ylabel() and "surviving" in figure.axes[1].get_ylabel()
    save(figure, tmp_path / "a.png")


def test_each_network_has_a_panel_with_its_own_lesions(tmp_path):
    files = [
        spectrum(tmp_path / "p.h5", BINOMIAL, SHARES),
        deletions(tmp_path / "b.h5", 3, (0, 1, 2), "b" * 64, network="resnet-8", accuracy=0.8),
        deletions(tmp_path / "a.h5", N, (0, 1)),
        spectrum(tmp_path / "q.h5", [1, 3, 3, 1], SHARES[:4], "b" * 64, network="resnet-8"),
    ]
    figure = survivors(files)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["ResNet-14", "ResNet-8"]
    assert [axes.lines[1].get_ydata()[0] for axes in figure.axes[:2]] == [50, pytest.approx(20)]
    save(survivors(files, width=3, titles=["deep", "shallow"]), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"checkpoint": "b" * 64}, "resnet-14 .bbbbbbbb.*file of paths"),
        ({"lesion": "repeat"}, "give deletions"),
        ({"blocks": 5}, "5 blocks, the paths are of 6"),
    ],
)
def test_lesions_that_do_not_belong_to_the_paths_are_refused(tmp_path, wrong, said):
    one = spectrum(tmp_path / "p.h5", BINOMIAL, SHARES)
    good = deletions(tmp_path / "good.h5", N, (0, 1))
    bad = deletions(tmp_path / "bad.h5", **{"blocks": N, "counts": (0, 1)} | wrong)
    with pytest.raises(BadInput, match=rf"bad\.h5.*{said}"):
        survivors([one, good, bad])


def test_paths_of_which_nothing_can_be_told_are_refused(tmp_path):
    plain = [0, 0, 1, 4, 6, 4, 1]  # two blocks that all paths take
    for name, arguments, said in (
        ("plain", (plain, SHARES), "plain blocks"),
        ("begun", (BINOMIAL, SHARES, "a", False), "1 lengths are missing"),
        ("flat", (BINOMIAL, np.full_like(SHARES, np.nan)), "no finite gradient"),
    ):
        with pytest.raises(BadInput, match=rf"{name}\.h5.*{said}"):
            of_file(spectrum(tmp_path / f"{name}.h5", *arguments))
