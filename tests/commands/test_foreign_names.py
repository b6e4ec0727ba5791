"""State dicts of other people's CIFAR networks compute with us what they compute at home."""

import numpy as np
import pytest
import torch
from processes import command
from theirs import theirs
from torch.nn import functional as F

from landscape.engine.table import read


def test_their_network_has_a_surface_and_lesions(tmp_path):
    original = theirs(n=1)
    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (40, 16, 16, 3), np.uint8)
    arrays = {f"{s}_images": pixels for s in ("train", "test")} | {
        f"{s}_labels": np.arange(40) % 10 for s in ("train", "test")
    }
    np.savez(tmp_path / "images.npz", **arrays)
    torch.save({"state_dict": {f"module.{n}": t for n, t in original.state_dict().items()}}, tmp_path / "a.pt")
    own = ("--network", "resnet", "--depth", 8, "--data", tmp_path / "images.npz")
    said = command("surface", tmp_path / "a.pt", tmp_path / "a.h5", *own, "--x", -1, 1, 3).stdout
    assert "taken for resnet with depth 8, width 4, shortcut zero-pad; zeros taken to be padded half before" in said
    x = torch.from_numpy(pixels).float().permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        loss = F.cross_entropy(original(x), torch.arange(40) % 10).item()
    surface = read(tmp_path / "a.h5")
    assert surface["loss"][1] == pytest.approx(loss, 1e-5)
    assert surface.attributes["network"] == "resnet-8:width=4"
    assert surface.attributes["arguments"] == "channels=3 classes=10 depth=8 shortcut='zero-pad' width=4"
    command("lesion", tmp_path / "a.pt", tmp_path / "b.h5", *own)
    assert read(tmp_path / "b.h5")["loss"][0] == pytest.approx(loss, 1e-5)
    refused = command("surface", tmp_path / "a.pt", tmp_path / "c.h5", *own[:3], 14, *own[4:], check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "the weights are not those of resnet-14" in refused.stderr
