"""Every kind of lesion as it is typed: what is in the file, and what is refused."""

import runpy

import numpy as np
import pytest
import torch
from conftest import ROOT, command, contents, same
from landscape.command import Parser
from scipy.stats import kendalltau

from ensemble.blocks import blocks
from ensemble.study import options, study
from landscape.errors import BadInput
from landscape.networks import build
from landscape.ranks import Alone
from landscape.table import read

FEW = ("--examples", 60)
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "lesion.py"))


def lesions(*typed):
    """The command, in this process."""
    SCRIPT["main"](SCRIPT["parser"]().parse_args(list(map(str, typed))), Alone())


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A network of nine blocks, hardly trained."""
    path = tmp_path_factory.mktemp("deep") / "a.pt"
    small = ("--depth", 20, "--width", 4, "--epochs", 1, "--examples", 200, "--quiet")
    command("train", path, "--network", "resnet", *small)
    return path


def planned(*arguments, network="resnet"):
    """The study that these arguments ask for."""
    parser = Parser()
    parser.add_argument("--seed", type=int, default=0)
    options(parser)
    torch.manual_seed(0)
    it = build(network, depth=20, width=2, channels=1).eval()
    return study(parser.parse_args(list(map(str, arguments))), it, blocks(it), torch.randn(3, 1, 8, 8))


@pytest.mark.mpi
def test_swaps_are_the_same_from_two_ranks_and_go_on_where_they_stopped(deep, tmp_path):
    typed = (deep, "--swap", 1, 3, "--trials", 3, *FEW)
    one = tmp_path / "one.h5"
    command("lesion", typed[0], one, *typed[1:])
    command("lesion", typed[0], tmp_path / "two.h5", *typed[1:], ranks=2)
    same(one, tmp_path / "two.h5")
    file = read(one)
    assert file.attributes["lesion"] == "swap" and file["swaps"].tolist() == [0] + [1] * 3 + [2] * 3 + [3] * 3
    expected = [kendalltau(range(9), order).statistic for order in file["order"]]
    np.testing.assert_allclose(file["kendall_tau"], expected, atol=1e-15)
    assert not file["deleted"].any() and file["done"].all()
    assert file["rise"][0] == file["rise_se"][0] == 0
    np.testing.assert_allclose(file["rise"], file["loss"] - file["loss"][0], atol=1e-12)
    np.testing.assert_array_equal(file["rise_se"] > 0, file["kendall_tau"] < 1)  # two swaps may undo each other
    more = ("--swap", 1, 3, "--trials", 4, *FEW)
    lesions(deep, tmp_path / "more.h5", *more)
    other = read(tmp_path / "more.h5")
    kept = [0, 1, 2, 3, 5, 6, 7, 9, 10, 11]
    for name in ("order", "loss", "rise_se"):
        np.testing.assert_array_equal(other[name][kept], file[name])
    with pytest.raises(BadInput, match="holds another measurement"):
        lesions(deep, one, *more)
    assert "complete already" in command("lesion", typed[0], one, *typed[1:]).stdout


def test_two_gates_are_a_surface_whose_corners_are_the_deletions(deep, tmp_path, capsys):
    for _ in range(2):
        lesions(deep, tmp_path / "g.h5", "--gate", "stages.0.1", "stages.2.2", "--alpha", 0, 1, 3, *FEW)
    assert "complete already: 9 points" in capsys.readouterr().out
    (tmp_path / "sets").write_text("stages.0.1\nstages.2.2\n\nstages.2.2 stages.0.1\n")
    lesions(deep, tmp_path / "s.h5", "--sets", tmp_path / "sets", *FEW)
    surface, sets = read(tmp_path / "g.h5"), read(tmp_path / "s.h5")
    assert surface.kind == "surface" and surface.dims["loss"] == ("y", "x")
    assert surface.attributes["gates"].tolist() == ["stages.0.1", "stages.2.2"]
    assert surface["loss"].shape == (3, 3) and surface["done"].all()
    assert sets["deleted"].sum(1).tolist() == [0, 1, 1, 2]
    for name in ("loss", "rise", "rise_se", "accuracy"):
        corners = [surface[name][y, x] for y, x in ((-1, -1), (-1, 0), (0, -1), (0, 0))]
        np.testing.assert_array_equal(corners, sets[name])
    command("figure", tmp_path / "g.png", tmp_path / "g.h5")
    assert (tmp_path / "g.png").stat().st_size > 10_000
    lesions(deep, tmp_path / "line.h5", "--gate", "stages.2.2", "--alpha", 0, 1, 3, *FEW)
    line = read(tmp_path / "line.h5")
    assert line.dims["loss"] == ("x",)
    np.testing.assert_array_equal(line["loss"], surface["loss"][:, -1])


def test_statistics_are_measured_anew_in_every_trial(deep, tmp_path):
    how = ("--delete", 1, *FEW)
    lesions(deep, tmp_path / "a.h5", *how, "--batchnorm", "recalibrated")
    lesions(deep, tmp_path / "b.h5", *how)
    anew, kept = read(tmp_path / "a.h5"), read(tmp_path / "b.h5")
    assert anew.attributes["batchnorm"] == "recalibrated" and anew.attributes["calibration"] == 60
    assert anew["rise"][0] == 0 and not np.isclose(anew["loss"], kept["loss"], rtol=1e-3).any()
    with pytest.raises(BadInput, match="holds another measurement"):
        lesions(deep, tmp_path / "b.h5", *how, "--batchnorm", "recalibrated")


MINE = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.body = nn.Sequential(*(Layer() for _ in range(3)))
        self.last = nn.Linear(16, 10)

    def forward(self, x):
        return self.last(self.body(self.first(x.flatten(1))))

class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)
        self.act = nn.Tanh()

    def forward(self, x):
        return x + self.act(self.inner(x))

def ends(network):
    return {f"body.{i}": f"body.{i}.act" for i in range(3)}
"""


def test_a_network_of_ones_own_is_lesioned_by_a_description(tmp_path, monkeypatch):
    (tmp_path / "described.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    command("train", "a.pt", "--network", "described:Net", "--epochs", 1, "--quiet")
    own = ("--network", "described:Net", "--quiet")
    said = command("lesion", "a.pt", "a.h5", *own, check=False)
    assert said.returncode == 2 and "--blocks" in said.stderr and said.stderr.count("\n") == 1
    assert not (tmp_path / "a.h5").exists()
    own = (*own, "--blocks", "described:ends")
    for name, typed in {
        "single": (),
        "mean": ("--replace", "mean"),
        "other": ("--replace", "other"),
        "twice": ("--repeat", 1),
        "pairs": ("--parallel",),
        "back": ("--reverse",),
        "any": ("--permute", "--trials", 3),
    }.items():
        lesions("a.pt", f"{name}.h5", *own, *typed)
    single = read("single.h5")
    assert single.coordinates["block"].tolist() == [f"body.{i}" for i in range(3)]
    assert single["deleted"].tolist() == [[False] * 3, *np.eye(3, dtype=bool).tolist()]
    assert single.attributes["forward"] == "as it is"
    for name, variable in {"mean": "replaced", "other": "replaced", "twice": "repeated"}.items():
        file = read(f"{name}.h5")
        np.testing.assert_array_equal(file[variable], single["deleted"])
        assert not file["deleted"].any() and (file["loss"][1:] != single["loss"][1:]).all()
    assert read("pairs.h5")["parallel"].tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 1]]
    assert read("back.h5")["order"].tolist() == [[0, 1, 2], [2, 1, 0]]
    assert {read(f"{name}.h5")["loss"][0] for name in ("mean", "twice", "pairs", "back", "any")} == {single["loss"][0]}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--delete", 1, "--swap", 1], "not allowed with"),
        (["--swap", 1], "say how often with --trials"),
        (["--permute"], "say how often with --trials"),
        (["--swap", 0, "--trials", 2], "give 1 or more"),
        (["--swap", 3, 1, "--trials", 2], "ascending pair"),
        (["--swap", 1, "--trials", 2, "--replace", "mean"], "--replace goes with --delete, --sets, not with --swap"),
        (["--alpha", 0, 1, 3], "--alpha goes with --gate"),
        (["--contiguous", "--trials", 3], "leave out --trials"),
        (["--reverse", 7], "2 to 2 blocks"),
        (["--repeat", 7], "--repeat takes numbers from 1 to 6"),
        (["--gate", "stages.9.9"], "no removable block is called stages.9.9"),
        (["--gate", "stages.0.1", "stages.0.1"], "two different ones"),
        (["--sets", "/nowhere/sets"], "cannot read the sets"),
        (["--gate", "stages.0.1", "--alpha", 1, 0, 3], "does not ascend"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(typed, said):
    with pytest.raises(BadInput) as caught:
        planned(*typed)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("typed", [["--gate", "stages.0.1"], ["--replace", "mean"]])
def test_a_plain_network_has_no_branch_to_change(typed):
    with pytest.raises(BadInput, match="without a shortcut"):
        planned(*typed, network="plain")


def test_an_example_alone_in_its_batch_has_no_other(deep, tmp_path):
    with pytest.raises(BadInput, match="--batch-size"):
        lesions(deep, tmp_path / "a.h5", "--replace", "other", *FEW, "--batch-size", 59)
    assert not (tmp_path / "a.h5").exists()


def test_a_plain_network_is_a_control():
    for typed, trials in ((["--swap", 2, "--trials", 3], 4), (["--repeat", 1], 7), (["--reverse"], 5)):
        assert len(planned(*typed, network="plain").plan) == trials


def test_runs_of_blocks_are_contiguous():
    deleted = planned("--delete", 2, 3, "--contiguous").given["deleted"][1]
    assert deleted.sum(1).tolist() == [0] + [2] * 8 + [3] * 7


def test_deletions_are_the_default_and_what_they_were():
    plan = planned()
    assert plan.settings == {"lesion": "delete"} and list(plan.given) == ["deleted"]
    np.testing.assert_array_equal(plan.given["deleted"][1][1:], np.eye(9, dtype=bool))


def test_a_file_holds_what_it_held(deep, tmp_path):
    lesions(deep, tmp_path / "a.h5", *FEW)
    assert contents(tmp_path / "a.h5").keys() == {
        *("trial", "block", "deleted", "loss", "loss_se", "accuracy", "examples", "done", "crc"),
        *("rise", "rise_se"),
    }
