"""Claims from the command line: listed, told, tried on any number of ranks with the same bits, and gone on with."""

import numpy as np
import pytest
from files import same
from folders import TEXT, causal, saved_tokenizer
from processes import command

from ensemble.claims.report import overall_of
from ensemble.claims.trial import claim
from landscape.engine import results
from landscape.training.train import train

CLAIM = """
title = "Deletions cost"
statement = "Without a block the error is higher."
source = "Nobody 2020"
seeds = 2

[networks]
net = { network = "resnet", depth = 8, width = 4, examples = 100, epochs = 1 }
new = { network = "plain", depth = 8, width = 4, examples = 100, epochs = 0 }

[quantities.after]
label = "error after a deletion, mean"
network = "net"
measure = "deletions"
settings = { statistic = "mean", examples = 60 }
unit = "%"

[quantities.gradient]
label = "gradient at the first block"
network = "new"
measure = "relative_gradient"

[[criteria]]
says = "it is above 0"
quantity = "after"
above = 0

[[criteria]]
says = "the gradient grows"
quantity = "gradient"
above = 1
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(CLAIM, encoding="utf-8")
    return path


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_a_claim_is_tried_alike_on_any_number_of_ranks(mine, tmp_path, ranks):
    (alone,) = claim(mine, out=tmp_path / "alone", quiet=True)
    done = command("claim", mine, "--out", tmp_path / "many", "--markdown", tmp_path / "table.md", ranks=ranks)
    same(tmp_path / "alone" / "mine.h5", tmp_path / "many" / "mine.h5")
    for folder in ("networks", "measurements"):
        names = [sorted(path.name for path in (tmp_path / which / folder).iterdir()) for which in ("alone", "many")]
        assert names[0] == names[1]
    assert "Deletions cost: " + overall_of(alone) in done.stdout
    assert (tmp_path / "table.md").read_text().count("\n") == 4
    command("figure", tmp_path / "verdicts.pdf", tmp_path / "many" / "mine.h5")


@pytest.mark.mpi
@pytest.mark.parametrize("ranks", [1, 2])
def test_of_several_claims_one_that_does_not_fit_its_network_does_not_stop_the_others(mine, tmp_path, ranks):
    """A claim on deletions of four blocks, of a network that has three."""
    (tmp_path / "four.toml").write_text(CLAIM.replace('"mean", ', '"mean", delete = 4, '), encoding="utf-8")
    typed = ("claim", tmp_path / "four.toml", mine, "--out", tmp_path / "out", "--markdown", tmp_path / "table.md")
    for _ in range(2):
        done = command(*typed, ranks=ranks, check=False)
        assert done.returncode == 2 and done.stdout.count("Deletions cost: could not be tried") == 1
        assert "takes numbers from 1 to 3" in done.stdout and "2 claims: " in done.stdout
        assert "1 could not be tried" in done.stdout and "could not be tried, as told above: four" in done.stderr
        *_, last = (tmp_path / "table.md").read_text().splitlines()
        assert last.startswith("| **four**: could not be tried |") and "1 to 3" in last
        assert not (tmp_path / "out" / "four.h5").exists() and (tmp_path / "out" / "mine.h5").exists()
    tried = claim([mine, tmp_path / "four.toml"], out=tmp_path / "out", quiet=True)
    assert len(tried) == 1 and list(tried.untried) == ["four"] and "four: could not be tried" in repr(tried)


def test_what_was_interrupted_goes_on_and_what_is_finished_is_told_again(mine, tmp_path):
    first = command("claim", mine, "--out", tmp_path / "out")
    for path in (tmp_path / "out" / "measurements").iterdir():
        path.unlink()
    (tmp_path / "out" / "mine.h5").unlink()
    networks = {path: path.read_bytes() for path in (tmp_path / "out" / "networks").iterdir()}
    again = command("claim", mine, "--out", tmp_path / "out")
    assert "networks trained" in first.stdout and "networks trained" not in again.stdout
    table = "Deletions cost"
    assert first.stdout[first.stdout.index(table) :] == again.stdout[again.stdout.index(table) :]
    assert networks == {path: path.read_bytes() for path in (tmp_path / "out" / "networks").iterdir()}


def test_claims_are_listed_and_told_without_training_anything(tmp_path):
    listed = command("claim", cwd=tmp_path).stdout
    assert "one-block-can-go" in listed and len(listed.splitlines()) > 45
    shown = command("claim", "one-block-can-go", "--scale", "published", cwd=tmp_path).stdout
    assert "Veit et al. 2016" in shown and "depth 110" in shown and "it holds if" in shown
    assert not list(tmp_path.iterdir())


def test_a_network_of_ones_own_is_tried(mine, tmp_path):
    train(tmp_path / "own.pt", depth=14, width=4, epochs=1, examples=100, quiet=True)
    words = ("--out", tmp_path / "out", "--seeds", 1, "--checkpoint", f"net={tmp_path / 'own.pt'}")
    assert "networks given: net: own.pt" in command("claim", mine, *words).stdout
    assert [path.name.partition("-")[0] for path in (tmp_path / "out" / "networks").iterdir()] == ["plain"]


def test_a_model_folder_is_tried(tmp_path):
    pytest.importorskip("transformers")
    causal(tmp_path / "gpt", n_layer=4)
    saved_tokenizer(tmp_path / "gpt")
    (tmp_path / "book.txt").write_text(TEXT, encoding="utf-8")
    words = ("--out", tmp_path / "out", "--seeds", 1, "--checkpoint", f"model={tmp_path / 'gpt'}")
    data = ("--data", f"text:{tmp_path / 'book.txt'}")
    done = command("claim", "layers-of-language-models-can-go", *words, *data)
    assert "networks given: model: gpt" in done.stdout and "at least 72 %" in done.stdout
    kept = results.read(tmp_path / "out" / "layers-of-language-models-can-go.h5")["first"][0, 0]
    (study,) = (tmp_path / "out" / "measurements").iterdir()
    assert kept == pytest.approx(100 * results.read(study)["agreement"][2:4].mean())  # of layers 2 and 3 of 4
    where = command(
        "claim",
        "changes-of-resolution-matter-most",
        "--out",
        tmp_path / "c",
        "--seeds",
        1,
        "--checkpoint",
        f"residual={tmp_path / 'gpt'}",
        *data,
        check=False,
    )
    assert where.returncode == 2 and "own networks" in where.stderr and "Traceback" not in where.stderr
    refused = command("claim", "layers-of-language-models-can-go", "--out", tmp_path / "b", *words[2:], check=False)
    assert refused.returncode == 2 and "--data" in refused.stderr and refused.stderr.count("error:") == 1


WRONG = {
    "no claim of that name": (["one-blok-can-go"], "did you mean one-block-can-go"),
    "nothing to try": (["--out", "{}/out"], "which claim"),
    "a table without a trial": (["one-block-can-go", "--markdown", "{}/t.md"], "give --out"),
    "a table of another kind": (["one-block-can-go", "--out", "{}/out", "--markdown", "{}/t.txt"], "name it .md"),
    "a table in no folder": (["one-block-can-go", "--out", "{}/out", "--markdown", "{}/no/t.md"], "mkdir -p"),
    "a checkpoint without a role": (["{}/mine.toml", "--out", "{}/out", "--checkpoint", "a.pt"], "ROLE=FILE"),
    "a role that is none": (["{}/mine.toml", "--out", "{}/out", "--checkpoint", "nev=a.pt"], "did you mean new"),
    "an output that is a file": (["{}/mine.toml", "--out", "{}/mine.toml"], "is a file; name a folder"),
    "a scale that is none": (["one-block-can-go", "--scale", "cifar"], "did you mean cifar10"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_in_a_line(mine, tmp_path, what):
    words, said = WRONG[what]
    before = sorted(tmp_path.iterdir())
    done = command("claim", *(word.format(tmp_path) for word in words), check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.mpi
def test_what_is_wrong_is_said_once_on_several_ranks(mine, tmp_path):
    mine.write_text(CLAIM.replace('statistic = "mean"', 'statistic = "modus"'), encoding="utf-8")
    done = command("claim", mine, "--out", tmp_path / "out", ranks=2, check=False)
    assert done.returncode == 2 and done.stderr.count("modus") == 1 and "Traceback" not in done.stderr


def test_numbers_are_read_by_anyone(mine, tmp_path):
    xarray = pytest.importorskip("xarray")
    command("claim", mine, "--out", tmp_path / "out", "--quiet")
    with xarray.open_dataset(tmp_path / "out" / "mine.h5", engine="h5netcdf") as data:
        assert data["first"].dims == ("criterion", "training") and np.isfinite(data["estimate"]).all()
