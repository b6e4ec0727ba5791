"""Which checkpoints are on the way of a training."""

from pathlib import Path

import pytest
import torch

from landscape.checkpoints import checkpoint as checkpoints
from landscape.errors import BadInput
from landscape.networks import build
from landscape.planes.waypoints import snapshots, waypoints_of
from landscape.weights import digest


def test_a_folder_is_read_in_the_order_of_its_numbers_without_what_is_not_of_the_path(tmp_path):
    for name in ("e-10.pt", "e-9.pt", "final.pt", "path.directions.pt", ".e-11.pt.123", "notes.txt", "x.safetensors"):
        (tmp_path / name).touch()
    paths = snapshots([tmp_path], tmp_path / "final.pt")
    assert [path.name for path in paths] == ["e-9.pt", "e-10.pt", "x.safetensors"]
    given = [tmp_path / "e-10.pt", tmp_path / "e-9.pt"]
    assert snapshots(given, tmp_path / "final.pt") == given
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="named twice"):
        snapshots([tmp_path, tmp_path / "e-9.pt"], tmp_path / "final.pt")
    for missing in ("empty", "none"):
        with pytest.raises(BadInput, match="snapshots"):
            snapshots([tmp_path / missing], tmp_path / "final.pt")


@pytest.mark.parametrize("archive", [True, False])
def test_lazily_loaded_weights_are_the_same(tmp_path, archive):
    state = build("resnet", depth=8, width=4).to(memory_format=torch.channels_last).state_dict()
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    lazy = checkpoints.load(tmp_path / "a.pt", "resnet", lazy=True)
    assert digest(lazy.weights) == digest(state)
    assert lazy.sha256 == "" and checkpoints.load(tmp_path / "a.pt", "resnet").sha256


def test_checkpoints_in_memory_have_numbers_or_the_names_that_they_are_given(tmp_path):
    network = build("resnet", depth=8, width=1)
    states = [network.state_dict(), network]
    assert [w.name for w in waypoints_of(states, Path("a.pt"))] == ["0", "1"]
    named = waypoints_of({"first": states[0], "then": tmp_path / "net.pt"}, Path("a.pt"))
    assert [w.name for w in named] == ["first", "then"] and named[1].label == "checkpoint then"
    for wrong in (3, [3], network.state_dict()):
        with pytest.raises(BadInput, match="checkpoints takes files, or dicts from parameter names to tensors"):
            waypoints_of(wrong, Path("a.pt"))
