"""A claim's file runs nothing, and one that is damaged or says what cannot be is refused before anything is trained."""

import os
import pickle
import shutil

import h5py
import pytest
import torch
from hostile import Call, complaint, listed, ran, refused

from ensemble.claims.measures import check_measure
from ensemble.claims.specification import claim_named
from ensemble.claims.trial import claim
from landscape.checkpoints.checkpoint import Checkpoint, save
from landscape.networks import build

HEAD = 'title = "T"\nstatement = "S"\nsource = "N 2026"\nseeds = 1\n'
NETWORK = '[networks]\na = { network = "resnet", depth = 8, width = 2, epochs = 0 }\n'
QUANTITY = '[quantities.q]\nlabel = "L"\nnetwork = "a"\nmeasure = "deletions"\n'
SETTINGS = 'settings = { statistic = "mean", of = "loss rise", examples = 20 }\n'
CRITERION = '[[criteria]]\nsays = "c"\nquantity = "q"\nbelow = 10\n'
CLAIM = HEAD + NETWORK + QUANTITY + SETTINGS + CRITERION


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a module that a claim must not have imported."""
    (tmp_path / "hostile_claim.py").write_text("open('canary', 'w')\ndef f(*_): pass\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "canary").exists()


def checked(file):
    check_measure(claim_named(file))


FILES = {
    "empty": b"",
    "no TOML": b"hello",
    "bytes": bytes(range(256)),
    "UTF-16": CLAIM.encode("utf-16"),
    "zeros": CLAIM.encode() + bytes(9),
    "pickle": pickle.dumps(Call(os.system, "touch canary")),
    "long": CLAIM.encode() + b"#" * 10**6,
    "lists in lists": b"a = " + b"[" * 40_000 + b"]" * 40_000,
    "tables in tables": b"[" + b".".join([b"a"] * 3_000) + b"]\n",
    "twice": (HEAD + HEAD).encode(),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_claim_is_refused(place, case):
    (place / "a.toml").write_bytes(FILES[case])
    assert "a.toml" in complaint(checked, "a.toml")


@pytest.mark.parametrize(
    "name", ["", ".", "nowhere.toml", "pipe.toml", "folder.toml", "../a", "a\0b", "\x1b[31m", "x" * 300]
)
def test_what_is_no_claim_is_refused(place, name):
    (place / "folder.toml").mkdir()
    os.mkfifo(place / "pipe.toml")
    complaint(checked, name)


# What stands in a claim, what stands in its place, and words of the refusal.
SAYS = r"""
title = "T"             | title = 3                          | needs a title
title = "T"             | title = " "                        | needs a title
title = "T"             | titel = "T"                        | no titel; did you mean title
seeds = 1               | seeds = 0                          | seeds is 0
seeds = 1               | seeds = -1                         | seeds is -1
seeds = 1               | seeds = "1"                        | seeds is '1'
seeds = 1               | seeds = true                       | seeds is True
seeds = 1               | seeds = nan                        | seeds is nan
seeds = 1               | seeds = 1001                       | from 1 to 1000
seeds = 1               | differs = 2020-01-01               | is a date
[networks]              | [network]                          | a claim has no network
network = "resnet"      | network = "os:system"              | none of resnet
network = "resnet"      | network = "hostile_claim:f"        | none of resnet
network = "resnet"      | network = "timm:resnet18"          | none of resnet
network = "resnet"      | network = ["resnet"]               | needs a network
network = "resnet"      | like = "nothing"                   | no network 'nothing'
network = "resnet"      | like = [1]                         | no network [1]
network = "resnet"      | kind = "seeds"                     | no settings for
depth = 8               | depth = "8"                        | a whole number
depth = 8               | depth = 8.0                        | a whole number
depth = 8               | depth = nan                        | a whole number
depth = 8               | depth = true                       | a whole number
depth = 8               | depth = 6000000002                 | a whole number
depth = 8               | depht = 8                          | did you mean depth
depth = 8               | out = "/tmp/x"                     | has no out
depth = 8               | seed = 3                           | has no seed
depth = 8               | arguments = [1]                    | a table
depth = 8               | data = "hostile_claim:f"           | code is named
depth = 8               | data = 3                           | a text
depth = 8               | data = ["digits"]                  | a text
depth = 8               | root = 3                           | a text
depth = 8               | snapshots = "/tmp/x"               | true or false
depth = 8               | download = "yes"                   | true or false
depth = 8               | learning_rate = "a"                | a number
depth = 8               | learning_rate = nan                | a number
depth = 8               | examples = "a"                     | a whole number
depth = 8               | warm_up = "a"                      | a whole number
depth = 8               | optimizer = 3                      | a text
width = 2               | width = 1000000000                 | a whole number
epochs = 0              | epochs = 10000000000000000000      | a whole number
epochs = 0              | epochs = "0"                       | a whole number
label = "L"             | label = 3                          | needs a label
label = "L"             | lable = "L"                        | did you mean label
network = "a"           | network = "b"                      | none of a
network = "a"           | network = ["a"]                    | none of a
network = "a"           | other = "b"                        | none of a
measure = "deletions"   | measure = "os:system"              | no measure os:system
measure = "deletions"   | measure = "__class__"              | no measure __class__
measure = "deletions"   | measure = 3                        | needs a measure
statistic = "mean"      | case = 3                           | deletions
quantity = "q"          | quantity = "z"                     | none of q
quantity = "q"          | quantity = ["q"]                   | none of q
quantity = "q"          | quantity = "q"\nminus = "q"        | with itself
quantity = "q"          | quantity = "q"\nover = "q"         | with itself
quantity = "q"          | quantity = "q"\nminus = {}         | none of q
says = "c"              | says = 3                           | says in words
below = 10              | below = "10"                       | takes a number
below = 10              | below = nan                        | takes a number
below = 10              | below = inf                        | takes a number
below = 10              | below = true                       | takes a number
below = 10              | below = [10]                       | takes a number
below = 10              | below = 1e999                      | takes a number
below = 10              | beloww = 10                        | did you mean below
below = 10              | below = 10\nabove = 1              | it has 2
below = 10              | within = [nan, 1]                  | takes two numbers
below = 10              | within = [-inf, inf]               | takes two numbers
below = 10              | within = [1, 1]                    | is the smaller one
below = 10              | within = [1, 2, 3]                 | takes two numbers
below = 10              | within = "ab"                      | takes two numbers
"""


@pytest.mark.parametrize("case", [line for line in SAYS.splitlines() if line])
def test_a_claim_that_says_what_cannot_be_is_refused(place, case):
    there, instead, words = (part.strip().replace("\\n", "\n") for part in case.split(" | "))
    assert there in CLAIM
    (place / "a.toml").write_text(CLAIM.replace(there, instead, 1))
    assert words in complaint(checked, "a.toml")


def test_a_bound_of_any_number_of_digits_is_refused(place):
    (place / "a.toml").write_text(CLAIM.replace("below = 10", f"below = {'9' * 999}"))
    assert "takes a number" in complaint(checked, "a.toml")


# What shows only as it is tried

TRIED = {
    "no depth": ("depth = 8", "depth = 0", "depth is 0"),
    "no such depth": ("depth = 8", "depth = 9", "depth is 9"),
    "wider than can be": ("width = 2", "width = 900000", "memory"),
    "no such argument": ("depth = 8", "arguments = { self = 1 }", "no argument self"),
    "no such data": ("depth = 8", 'depth = 8, data = "nothing"', "no data 'nothing'"),
    "not so many examples": ("examples = 20", "examples = -1", "examples is -1"),
    "no such statistic": ('"mean"', '"../x"', "no statistic"),
    "no such part": ('"loss rise"', '"../x"', "../x"),
    "no such lesion": ("examples = 20", "of_what = 3", "of_what"),
    "a network that its measure needs": ('network = "a"\n', "", "needs one; add network"),
}


@pytest.mark.parametrize("case", TRIED)
def test_a_claim_that_cannot_be_tried_leaves_no_verdict(place, case):
    there, instead, words = TRIED[case]
    (place / "a.toml").write_text(CLAIM.replace(there, instead, 1))
    assert words in complaint(claim, "a.toml", out=place / "out", quiet=True)
    assert not list((place / "out").glob("*.h5"))


# A folder of an earlier trial, and checkpoints in the place of networks


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A folder in which a claim has been tried, and a checkpoint of another network."""
    path = tmp_path_factory.mktemp("earlier")
    (path / "a.toml").write_text(CLAIM)
    claim(path / "a.toml", out=path / "out", quiet=True)
    small = {"depth": 8, "width": 2, "channels": 1}
    torch.manual_seed(0)
    made = build("plain", **small).state_dict()
    save(Checkpoint("plain", small, made, data={"name": "digits"}), path / "plain.pt")
    torch.save(made, path / "weights.pt")
    torch.save(Call(os.system, f"touch {path / 'canary'}"), path / "payload.pt")
    yield path
    assert not (path / "canary").exists()


@pytest.fixture
def tried(earlier, tmp_path):
    shutil.copytree(earlier, tmp_path / "tried")
    return tmp_path / "tried"


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def edited(path):
    with h5py.File(path, "r+") as file:
        file["estimate"][0] = 99


DAMAGE = {
    "verdict cut": ("a.h5", cut),
    "verdict edited": ("a.h5", edited),
    "verdict of text": ("a.h5", lambda path: path.write_text("hello")),
    "verdict a folder": ("a.h5", lambda path: (path.unlink(), path.mkdir())),
    "verdict a pipe": ("a.h5", lambda path: (path.unlink(), os.mkfifo(path))),
    "verdict of another kind": ("a.h5", lambda path: shutil.copy(next(path.parent.glob("measurements/*.h5")), path)),
    "network cut": ("networks/*.pt", cut),
    "network of text": ("networks/*.pt", lambda path: path.write_text("hello")),
    "network of another kind": ("networks/*.pt", lambda path: shutil.copy(path.parents[2] / "payload.pt", path)),
    "network another one": ("networks/*.pt", lambda path: shutil.copy(path.parents[2] / "plain.pt", path)),
    "networks a file": ("networks", lambda path: (shutil.rmtree(path), path.touch())),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_folder_with_damaged_files_in_it_is_refused(tried, case):
    name, change = DAMAGE[case]
    (damaged,) = (tried / "out").glob(name)
    change(damaged)
    before = listed(tried)
    refused("claim", "a.toml", "--out", "out", "--quiet", folder=tried)
    assert listed(tried) == before


def test_a_damaged_measurement_is_refused_or_measured_again(tried):
    (tried / "out" / "a.h5").unlink()
    (damaged,) = (tried / "out" / "measurements").glob("*.h5")
    cut(damaged)
    refused("claim", "a.toml", "--out", "out", "--quiet", folder=tried)


GIVEN = ["b=plain.pt", "a", "a=", "=plain.pt", "a=nothing.pt", "a=payload.pt", "a=weights.pt", "a=a.toml", "a=out"]


@pytest.mark.parametrize("word", GIVEN)
def test_what_is_no_checkpoint_of_a_role_is_refused(tried, word):
    refused("claim", "a.toml", "--out", "out", "--quiet", "--checkpoint", word, folder=tried)


def test_more_checkpoints_than_trainings_are_refused(tried):
    refused("claim", "a.toml", "--out", "out", "--checkpoint", "a=plain.pt", "a=plain.pt", folder=tried)


@pytest.mark.parametrize(
    "words", [["a.toml", "a.toml"], ["all", "a.toml"], ["nothing"], ["pipe.toml"], ["a.toml", "--seeds", 0]]
)
def test_a_command_refuses_what_is_no_claim(tried, words):
    os.mkfifo(tried / "pipe.toml")
    refused("claim", *words, "--out", "new", folder=tried)


def test_a_finished_claim_is_told_again(tried):
    before = listed(tried)
    assert ran("claim", "a.toml", "--out", "out", "--quiet", folder=tried) == (0, "")
    assert listed(tried) == before
