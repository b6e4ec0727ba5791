"""Nothing is done to inputs that was not asked for; what is done is said, recorded, and compared."""

import sys

import h5py
import numpy as np
import pytest
import torch
from files import resealed
from input_kinds import kinds, own
from measured import surface
from processes import command
from torch.nn import functional as F

from landscape import data as datasets
from landscape.checkpoints import checkpoint
from landscape.engine.table import read

own = pytest.fixture(own)
kinds = pytest.fixture(kinds)

ELSEWHERE = '''
"""Digits in [0, 1], and scaled by constants: a network trained on them without this package."""
from sklearn.datasets import load_digits
from torch import nn

X, Y = load_digits(return_X_y=True)
X, Y = (X / 16).reshape(-1, 1, 8, 8).astype("float32"), Y.astype("int64")

def data(split):
    return (X[:1200], Y[:1200]) if split == "train" else (X[1200:], Y[1200:])

def scaled(split):
    x, y = data(split)
    return (x - 0.1307) / 0.3081, y

def only_test(split):
    return {"test": data("test")}[split]

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
'''
SOURCES = ("data", "scaled")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with elsewhere.py, and data.pt and scaled.pt, each trained on what has its name."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "elsewhere.py").write_text(ELSEWHERE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        sys.modules.pop("elsewhere", None)
        import elsewhere as module

        for name in SOURCES:
            torch.manual_seed(0)
            network, (x, y) = module.network(), map(torch.tensor, getattr(module, name)("train"))
            optimizer = torch.optim.Adam(network.parameters(), 1e-2)
            for _ in range(60):
                optimizer.zero_grad()
                F.cross_entropy(network(x), y).backward()
                optimizer.step()
            torch.save(network.state_dict(), folder / f"{name}.pt")
        yield folder, module


def truth(elsewhere, weights, source, split):
    """Loss and accuracy by plain PyTorch."""
    folder, module = elsewhere
    network = module.network()
    network.load_state_dict(torch.load(folder / f"{weights}.pt", weights_only=True))
    x, y = map(torch.tensor, getattr(module, source)(split))
    with torch.no_grad():
        out = network(x)
    return F.cross_entropy(out.double(), y).item(), (out.argmax(1) == y).double().mean().item()


def measured(elsewhere, out, weights, *options, check=True):
    folder, _ = elsewhere
    typed = ("--network", "elsewhere:network", *options, "--x", 0, 0, 1)
    return command("surface", folder / f"{weights}.pt", out, *typed, cwd=folder, check=check)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_network_trained_elsewhere_has_its_loss_by_command_and_by_call(elsewhere, tmp_path, source, split):
    loss, accuracy = truth(elsewhere, source, source, split)
    done = measured(elsewhere, tmp_path / "a.h5", source, "--data", f"elsewhere:{source}", "--split", split)
    results = read(tmp_path / "a.h5")
    assert results["loss"] == pytest.approx(loss, rel=1e-6) and results["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert results.attributes["inputs"] == "as they are"
    assert f"inputs of elsewhere:{source}: as they are" in done.stdout
    folder, module = elsewhere
    network = module.network()
    network.load_state_dict(torch.load(folder / f"{source}.pt", weights_only=True))
    batches = [tuple(map(torch.tensor, getattr(module, source)(split)))]
    assert surface(network, batches, tmp_path / "b.h5", x=(0, 0, 1), quiet=True)["loss"] == pytest.approx(
        loss, rel=1e-6
    )


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_arrays_in_a_file_are_the_same_numbers(elsewhere, tmp_path, source):
    _, module = elsewhere
    arrays = {}
    for split in ("train", "test"):
        arrays[f"{split}_inputs"], arrays[f"{split}_targets"] = getattr(module, source)(split)
    np.savez(tmp_path / "arrays.npz", **arrays)
    measured(elsewhere, tmp_path / "a.h5", source, "--data", tmp_path / "arrays.npz", "--split", "both")
    results = read(tmp_path / "a.h5")
    assert results["loss"] == pytest.approx(truth(elsewhere, source, source, "train")[0], rel=1e-6)
    assert results["test_loss"] == pytest.approx(truth(elsewhere, source, source, "test")[0], rel=1e-6)


@pytest.mark.parametrize("how", [("--mean", 0.1307, "--std", 0.3081), ("--mean", "mnist")])
def test_constants_that_are_asked_for_are_used_and_named(elsewhere, tmp_path, how):
    loss, _ = truth(elsewhere, "scaled", "scaled", "test")
    done = measured(elsewhere, tmp_path / "a.h5", "scaled", "--data", "elsewhere:data", "--split", "test", *how)
    assert read(tmp_path / "a.h5")["loss"] == pytest.approx(loss, rel=1e-6)
    assert "inputs of elsewhere:data: standardised by mean 0.1307, std 0.3081" in done.stdout
    assert read(tmp_path / "a.h5").attributes["inputs"] == "standardised by mean 0.1307, std 0.3081"


def test_data_of_known_names_are_left_alone_too_and_that_is_said(elsewhere, tmp_path, monkeypatch):
    folder, module = elsewhere
    done = measured(elsewhere, tmp_path / "a.h5", "data", "--data", "digits", "--split", "test")
    assert (
        "inputs of digits: as they are; if the network was trained on standardised ones, add --standard" in done.stdout
    )
    data = datasets.load("digits", "test")
    network = module.network()
    network.load_state_dict(torch.load(folder / "data.pt", weights_only=True))
    loss = F.cross_entropy(network(data.images), data.labels).item()
    assert read(tmp_path / "a.h5")["loss"] == pytest.approx(loss, rel=1e-6)
    assert data.images.min() == 0 and data.images.max() == 1


def test_a_split_is_measured_where_there_is_no_other(elsewhere, tmp_path):
    measured(elsewhere, tmp_path / "a.h5", "data", "--data", "elsewhere:only_test", "--split", "test")
    loss, _ = truth(elsewhere, "data", "data", "test")
    assert read(tmp_path / "a.h5")["loss"] == pytest.approx(loss, rel=1e-6)
    for how in (("--split", "train"), ("--split", "test", "--standardize")):
        refused = measured(elsewhere, tmp_path / "b.h5", "data", "--data", "elsewhere:only_test", *how, check=False)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert "elsewhere:only_test('train') fails (KeyError: 'train', in line" in refused.stderr


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (("--mean", 0.5), "--mean is there without --std"),
        (("--std", 0.5), "--std is there without --mean"),
        (("--mean", "imagenet", "--std", 0.5), "sets --std too"),
        (("--mean", "imagenot"), "did you mean imagenet?"),
        (("--mean", "imagenet"), "1 channel(s), but there are 3 means"),
        (("--mean", 0.5, "x", "--std", 1, 1), "got 'x'"),
        (("--mean", 0.5, "--std", 0), "std above 0"),
        (("--mean", "nan", "--std", 1), "a number that float32 can hold"),
        (("--mean", "mnist", "--standardize"), "choose one of the two"),
    ],
)
def test_constants_that_make_no_sense_are_refused_in_one_line(elsewhere, tmp_path, how, words):
    refused = measured(elsewhere, tmp_path / "a.h5", "data", "--data", "elsewhere:data", *how, check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1 and words in refused.stderr
    assert not (tmp_path / "a.h5").exists()


# Going on


def test_inputs_treated_otherwise_are_another_measurement(elsewhere, tmp_path):
    typed = ("--data", "elsewhere:data", "--split", "test")
    measured(elsewhere, tmp_path / "a.h5", "data", *typed)
    assert "complete already" in measured(elsewhere, tmp_path / "a.h5", "data", *typed).stdout
    refused = measured(elsewhere, tmp_path / "a.h5", "data", *typed, "--mean", "mnist", check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "its inputs is as they are, this command's is standardised by mean 0.1307" in refused.stderr


def test_the_same_inputs_by_another_way_are_the_same_measurement(elsewhere, tmp_path):
    name = "elsewhere:data"
    loaded = datasets.load(name, "test", standardize=True)
    measured(elsewhere, tmp_path / "a.h5", "data", "--data", name, "--split", "test", "--standardize")
    same = ("--mean", *loaded.mean, "--std", *loaded.std)
    done = measured(elsewhere, tmp_path / "a.h5", "data", "--data", name, "--split", "test", *same)
    assert "complete already" in done.stdout


def earlier(path):
    """Make a file one of 0.1, which did not record what was done to inputs."""
    with h5py.File(path, "r+") as file:
        del file.attrs["inputs"]
    resealed(path)


def test_a_file_of_0_1_is_gone_on_with_where_its_inputs_mean_the_same(elsewhere, trained, tmp_path):
    ours = (trained / "resnet.pt", tmp_path / "ours.h5", "--x", 0, 0, 1, "--examples", 50)
    assert "inputs of digits: standardised by mean" in command("surface", *ours).stdout
    earlier(tmp_path / "ours.h5")
    assert "complete already" in command("surface", *ours).stdout
    typed = ("--data", "elsewhere:data", "--split", "test")
    measured(elsewhere, tmp_path / "a.h5", "data", *typed, "--standardize")  # as 0.1 did unasked
    earlier(tmp_path / "a.h5")
    refused = measured(elsewhere, tmp_path / "a.h5", "data", *typed, check=False)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "earlier version, which standardised inputs" in refused.stderr and "add --standardize" in refused.stderr
    assert "complete already" in measured(elsewhere, tmp_path / "a.h5", "data", *typed, "--standardize").stdout


# Training


@pytest.mark.parametrize("asked", [(), ("--standardize",), ("--mean", 3, "--std", 5)])
def test_a_training_does_to_data_of_ones_own_what_is_asked_and_measuring_repeats_it(own, tmp_path, asked):
    small = ("--depth", 8, "--width", 2, "--epochs", 1, "--augment")
    typed = ("net.pt", "--data", "own.npz", *small, *asked)
    done = command("train", *typed, cwd=tmp_path)
    assert "is trained already" in command("train", *typed, cwd=tmp_path).stdout
    recorded = checkpoint.load(tmp_path / "net.pt")
    x = own["train_images"].astype(np.float64)
    mean, std = {0: ((), ()), 1: ((x.mean(),), (x.std(),)), 4: ((3,), (5,))}[len(asked)]
    assert recorded.data["mean"] == pytest.approx(mean) and recorded.data["std"] == pytest.approx(std)
    assert f"inputs of own: {'standardised by mean' if asked else 'as they are'}" in done.stdout
    command("surface", "net.pt", "a.h5", "--data", "own.npz", "--x", 0, 0, 1, "--quiet", cwd=tmp_path)
    scaled = (x - mean[0]) / std[0] if asked else x
    network = recorded.restore().eval().double()
    loss = F.cross_entropy(network(torch.tensor(scaled)), torch.tensor(own["train_labels"])).item()
    assert read(tmp_path / "a.h5")["loss"] == pytest.approx(loss, rel=1e-4)
    assert recorded.final["train"]["loss"] == pytest.approx(loss, rel=1e-4)


def test_a_training_goes_on_with_the_constants_that_it_has_recorded(own, tmp_path):
    """As one that was begun by a version that standardised everything."""
    typed = ("net.pt", "--data", "own.npz", "--depth", 8, "--width", 2, "--epochs", 1)
    command("train", *typed, "--standardize", cwd=tmp_path)
    assert "is trained already" in command("train", *typed, cwd=tmp_path).stdout
    refused = command("train", *typed, "--no-standardize", cwd=tmp_path, check=False)
    assert refused.returncode == 2 and "its mean is" in refused.stderr and refused.stderr.count("\n") == 1


# Of other kinds than images: as a function or a file gives them, so they are measured


# By command

NETWORKS = """
from torch import nn

def signals(): return nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
def table(): return nn.Linear(5, 3)
def tokens(): return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(28, 3))
def channels_first(): return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(24, 3))
def void(): return nn.Linear(5, 3)
def loader(): return signals()
def listed_examples(): return signals()
"""


@pytest.mark.parametrize("name", ["signals", "table", "tokens", "channels_first", "loader", "listed_examples"])
def test_every_kind_is_measured_by_command_as_by_plain_pytorch(kinds, tmp_path, name):
    (tmp_path / "networks.py").write_text(NETWORKS)
    scope = {}
    exec(NETWORKS, scope)
    torch.manual_seed(0)
    network = scope[name]()
    torch.save(network.state_dict(), tmp_path / "a.pt")
    typed = ("--network", f"networks:{name}", "--data", f"kinds:{name}", "--x", 0, 0, 1)
    command("surface", "a.pt", "a.h5", *typed, cwd=tmp_path)
    inputs = {"table": kinds.TABLE.astype(np.float32), "tokens": kinds.TOKENS}.get(name, kinds.SIGNALS)
    if name == "channels_first":
        inputs = kinds.IMAGES.transpose(0, 3, 1, 2).astype(np.float32) / 255
    loss = F.cross_entropy(network(torch.tensor(inputs)), torch.tensor(kinds.LABELS)).item()
    assert read(tmp_path / "a.h5")["loss"] == pytest.approx(loss, rel=1e-6)
