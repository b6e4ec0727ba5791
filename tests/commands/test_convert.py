"""A network in half of the bytes is the network to eleven bits; a folder in one file is the same data."""

import numpy as np
import pytest
import torch
from PIL import Image
from processes import command

from landscape import data as datasets
from landscape.checkpoints import checkpoint
from landscape.engine.table import read


def test_a_network_is_kept_in_half_of_the_bytes(trained, tmp_path):
    command("convert", trained / "resnet.pt", tmp_path / "half.pt", "--half")
    whole, half = checkpoint.load(trained / "resnet.pt"), checkpoint.load(tmp_path / "half.pt")
    for name, weight in whole.weights.items():
        assert half.weights[name].dtype == (torch.float16 if weight.ndim > 1 else weight.dtype)
        torch.testing.assert_close(half.weights[name].to(weight.dtype), weight, rtol=2**-11, atol=2**-25)
    assert (half.final, half.history, half.training, half.data) == (
        whole.final,
        whole.history,
        whole.training,
        whole.data,
    )
    losses = []
    for name in (trained / "resnet.pt", tmp_path / "half.pt"):
        command("surface", name, tmp_path / f"{name.stem}.h5", "--x", -1, 1, 3, "--examples", 100, "--quiet")
        losses.append(read(tmp_path / f"{name.stem}.h5")["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-2)


def test_statistics_of_batchnorm_are_kept_whatever_their_size(trained, tmp_path):
    wide = checkpoint.load(trained / "resnet.pt")
    factors = {n: 1e9 if n.startswith("stem") else 1e-9 for n in wide.weights if n.endswith("running_var")}
    wide.weights = {n: t * factors.get(n, 1) for n, t in wide.weights.items()}
    checkpoint.save(wide, tmp_path / "wide.pt")
    command("convert", tmp_path / "wide.pt", tmp_path / "half.pt", "--half")
    half = checkpoint.load(tmp_path / "half.pt")
    assert {*factors.values()} == {1e9, 1e-9} and all(torch.equal(half.weights[n], wide.weights[n]) for n in factors)


def test_what_half_of_the_bytes_cannot_hold_is_refused(trained, tmp_path):
    large = checkpoint.load(trained / "resnet.pt")
    large.weights = {n: t * 1e7 if t.ndim > 1 else t for n, t in large.weights.items()}
    checkpoint.save(large, tmp_path / "large.pt")
    begun = checkpoint.load(trained / "resnet.pt")
    begun.state = {"epoch": 1, "optimizer": {}}
    checkpoint.save(begun, tmp_path / "begun.pt")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "foreign.pt")
    for source, out, reason in (
        ("large.pt", "half.pt", "cannot hold"),
        ("begun.pt", "half.pt", "finished"),
        ("foreign.pt", "half.pt", "weights alone"),
        ("large.pt", "half.csv", "finished"),
    ):
        done = command("convert", tmp_path / source, tmp_path / out, "--half", check=False)
        assert done.returncode == 2 and reason in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / out).exists()


@pytest.mark.parametrize("size", [None, 5])
def test_a_folder_of_images_in_one_file_is_the_same_data(tmp_path, size):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = tmp_path / "pets" / split / name
            place.mkdir(parents=True)
            for number in range(3):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place / f"{number}.jpg")
    command("convert", tmp_path / "pets", tmp_path / "pets.npz", *(("--size", size) if size else ()))
    for split in ("train", "test"):
        folder = datasets.load(str(tmp_path / "pets"), split, size=size)
        one = datasets.load(str(tmp_path / "pets.npz"), split)
        assert (one.digest, one.name, one.mean, one.std) == (folder.digest, folder.name, folder.mean, folder.std)


def test_what_is_no_folder_of_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for out, reason in (("a.npz", "no train/"), ("a.csv", "can become .npz")):
        done = command("convert", tmp_path / "empty", tmp_path / out, check=False)
        assert done.returncode == 2 and reason in done.stderr and not (tmp_path / out).exists()
