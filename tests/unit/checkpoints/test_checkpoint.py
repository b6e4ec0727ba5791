"""A checkpoint describes itself, is written whole, and runs nothing when it is read."""

import os
import pickle

import pytest
import torch

from landscape.checkpoints import checkpoint
from landscape.checkpoints.checkpoint import Checkpoint, load, save
from landscape.errors import BadInput
from landscape.networks import build
from landscape.weights import digest

SMALL = {"depth": 8, "width": 4}


def saved(path, network="resnet", **changes):
    content = Checkpoint(network, SMALL, build("resnet", **SMALL).state_dict())
    for name, value in changes.items():
        setattr(content, name, value)
    save(content, path)
    return path


def test_what_was_saved_is_restored_to_the_bit(tmp_path):
    torch.manual_seed(3)
    network = build("resnet", **SMALL)
    save(Checkpoint("resnet", SMALL, network.state_dict(), history={"epoch": [1]}), tmp_path / "a.pt")
    loaded = load(tmp_path / "a.pt")
    restored = loaded.restore()
    assert loaded.history == {"epoch": [1]}
    assert loaded.title == "resnet-8:width=4"
    assert len(loaded.sha256) == 64
    assert digest(dict(restored.state_dict())) == digest(dict(network.state_dict()))


@pytest.mark.parametrize(
    ("network", "arguments", "title"),
    [
        ("resnet", {"depth": 56}, "resnet-56"),
        ("resnet", {"depth": 56, "order": "post", "width": 16, "classes": 100, "channels": 1}, "resnet-56"),
        ("resnet", {"depth": 56, "order": "pre"}, "preact-resnet-56"),
        ("resnet", {"depth": 56, "order": "relu-only-pre"}, "resnet-56:order=relu-only-pre"),
        ("plain", {"depth": 20, "order": "pre", "norm": "none"}, "preact-plain-20:norm=none"),
        ("resnet", {"depth": 20, "join": "pooled-gate", "gate_bias": 0}, "resnet-20:join=pooled-gate"),
        ("resnet", {"depth": 20, "join": "scale", "scales": [1, 0.5]}, "resnet-20:join=scale,scales=(1,0.5)"),
        ("resnet", {"depth": 20, "scales": [0.5, 0.5], "zero_init": True}, "resnet-20"),
        ("resnet", {"depth": 110, "survival": 0.5}, "resnet-110:survival=0.5"),
        ("resnet", {"depth": 29, "block": "bottleneck", "width": 8}, "resnet-29:width=8,block=bottleneck"),
        ("vgg", {"depth": 16, "constant": True}, "vgg-16:constant=True"),
        ("densenet", {}, "densenet"),
        ("torchvision.models:resnet18", {"num_classes": 10}, "resnet18"),
        ("mine:net", {"depth": 8, "order": "pre"}, "net-8"),
    ],
)
def test_a_title_tells_networks_apart_and_no_more(network, arguments, title):
    assert Checkpoint(network, arguments, {}).title == title


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_nothing_in_a_file_is_executed(tmp_path):
    trap = tmp_path / "trap"
    with open(tmp_path / "a.pt", "wb") as file:
        pickle.dump(Payload(trap), file)
    torch.save({"network": Payload(trap)}, tmp_path / "b.pt")
    for name in ("a.pt", "b.pt"):
        with pytest.raises(BadInput, match="is not a checkpoint") as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not trap.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 truncated"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_a_foreign_dictionary_is_refused(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(1)}}, tmp_path / "a.pt")
    with pytest.raises(BadInput, match="not a checkpoint of skipscape"):
        load(tmp_path / "a.pt")


def test_a_factory_in_a_file_is_imported_only_if_the_caller_names_it(tmp_path):
    path = saved(tmp_path / "a.pt", network="torchvision.models:resnet18", arguments={})
    with pytest.raises(BadInput, match=r"add network torchvision\.models:resnet18"):
        load(path).restore()
    with pytest.raises(BadInput, match="not a os:mkdir"):
        load(path).restore("os:mkdir")


def test_another_networks_weights_are_refused(tmp_path):
    path = saved(tmp_path / "a.pt", arguments={**SMALL, "width": 8})
    with pytest.raises(BadInput, match="weights are not those of resnet-8") as caught:
        load(path).restore()
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.pt")
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        saved(path, history={"epoch": [1]})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
