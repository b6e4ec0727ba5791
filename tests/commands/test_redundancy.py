"""Redundancy: scores of blocks from activations, in networks of ours and of others, and the damage beside them."""

import numpy as np
import pytest
import torch
import xarray
from files import same
from processes import command
from scipy.stats import spearmanr

from ensemble.drawing.redundancy import against, redundancies
from ensemble.flow.scores import SCORES
from landscape.drawing import save
from landscape.engine.table import prepare, read


def angle(x, y):
    x, y = x.double().flatten(1), y.double().flatten(1)
    x, y = x / x.norm(dim=1, keepdim=True), y / y.norm(dim=1, keepdim=True)
    # the angle at the centre of a triangle, which has no cosine in it
    return (2 * torch.atan2((x - y).norm(dim=1), (x + y).norm(dim=1)) / torch.pi).numpy()


def relative(more, carried):
    return (more.double().flatten(1).norm(dim=1) / carried.double().flatten(1).norm(dim=1)).numpy()


# The command and its figure

HOW = ("--examples", 40)


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("redundancy") / "a.h5"
    done = command("redundancy", trained / "resnet.pt", path, *HOW)
    assert done.stdout.count("with the rise of the loss") == 3
    assert "2 without this score left out" in done.stdout
    return path


def test_one_file_has_scores_and_the_damage_that_lesion_measures(trained, file, tmp_path):
    command("lesion", trained / "resnet.pt", tmp_path / "single.h5", "--delete", 1, *HOW)
    with xarray.open_dataset(file, engine="h5netcdf") as results:
        assert results.attrs["kind"] == "redundancy" and results.done.all()
        assert results.block.values.tolist() == ["stages.0.0", "stages.1.0", "stages.2.0"]
        assert np.isnan(results.angle).values.tolist() == [False, True, True]
        assert (results.relative > 0).all() and (results.relative_se > 0).all()
        lesions = read(tmp_path / "single.h5")
        for name in ("rise", "rise_se", "loss", "loss_se", "accuracy", "examples"):
            np.testing.assert_array_equal(results[name], lesions[name][1:], err_msg=name)


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_and_a_finished_file_is_left_alone(trained, file, tmp_path):
    command("redundancy", trained / "resnet.pt", tmp_path / "a.h5", *HOW, ranks=2)
    same(file, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    assert "complete already" in command("redundancy", trained / "resnet.pt", tmp_path / "a.h5", *HOW).stdout
    assert (tmp_path / "a.h5").read_bytes() == before


def test_several_networks_stand_below_each_other(trained, file, tmp_path):
    command("redundancy", trained / "plain.pt", tmp_path / "plain.h5", *HOW, "--dtype", "bfloat16", "--tolerance", 0.5)
    results = read(tmp_path / "plain.h5")
    assert "loss_float32" in results.variables and np.isnan(results["relative"]).all()
    command("figure", tmp_path / "a.png", file, tmp_path / "plain.h5", "--titles", "with", "without")
    assert (tmp_path / "a.png").stat().st_size > 20_000


def table(path, scores, rises):
    rows, _ = prepare(
        path,
        np.zeros((len(rises), 1)),
        kind="redundancy",
        dims=("block",),
        coordinates={"block": np.array([f"stages.0.{i}" for i in range(len(rises))])},
        measured={name: ("f8", np.nan, {}) for name in (*SCORES, "rise", "rise_se")},
        attributes={"network": "resnet-20", "split": "test", "seed": 0},
    )
    for row, (score, rise) in enumerate(zip(scores, rises, strict=True)):
        if rise is not None:
            rows.record(row, {**dict.fromkeys(SCORES, score), "rise": rise, "rise_se": 0.01})
    rows.flush()
    return read(path)


def test_a_mark_is_a_block_and_above_stands_the_rank_correlation(tmp_path):
    file = table(tmp_path / "a.h5", [0.1, 0.2, 0.3, 0.4, np.nan, 0.6], [0, 0.5, 1, -0.1, 3, None])
    axes = redundancies([file]).axes[0]
    (marks,) = (c for c in axes.collections if c.get_offsets().shape == (4, 2) and len(c.get_sizes()))
    np.testing.assert_allclose(marks.get_offsets(), [[0.1, 0], [0.2, 0.5], [0.3, 1], [0.4, -0.1]])
    rho = spearmanr([1, 2, 3, 4], [0, 0.5, 1, -0.1]).statistic
    (above,) = (text.get_text() for text in axes.texts if "ρ" in text.get_text())
    assert above.startswith(f"ρ = {rho:.2f}".replace("-", "−")) and above.endswith("n = 4")
    low, high = axes.get_ylim()
    assert {low, 0, high} <= set(axes.get_yticks()) and low < -0.1 and high > 3
    assert "linear" in redundancies([file]).get_supxlabel()
    assert axes.get_yscale() == "symlog" and len(np.unique(marks.get_facecolors(), axis=0)) == 4
    assert against(axes, file, "angle") is axes
    save(redundancies([file, file]), tmp_path / "a.png")
