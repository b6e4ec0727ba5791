"""A network with several streams goes the whole way: trained, surfaced, lesioned, its paths and its mixing, drawn."""

import numpy as np
import pytest
from processes import command

from landscape.engine.table import read

SMALL = ("--depth", 8, "--width", 4, "--data", "digits", "--examples", 200, "--epochs", 1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "net.pt"
    words = ("--network", "resnet", "--argument", "shortcut=mhc", "order=pre", *SMALL)
    assert "on shortcuts 72 " in command("train", path, *words).stdout  # 3 blocks of 4 + 16 + 4
    return path


def test_it_has_a_surface_that_mixing_does_not_move(network, tmp_path):
    command("surface", network, tmp_path / "s.h5", "--x", -1, 1, 3, "--examples", 50, "--quiet")
    assert np.isfinite(read(tmp_path / "s.h5")["loss"]).all()
    command("figure", tmp_path / "s.png", tmp_path / "s.h5")


def test_it_has_lesions_and_exact_paths(network, tmp_path):
    command("lesion", network, tmp_path / "l.h5", "--delete", 1, "--examples", 50, "--quiet")
    assert read(tmp_path / "l.h5")["deleted"].sum(axis=1).tolist() == [0, 1, 1, 1]
    command("paths", network, tmp_path / "p.h5", "--examples", 8, "--draws", 2, "--quiet")
    np.testing.assert_allclose(read(tmp_path / "p.h5")["share_each"].sum(axis=0), 1, atol=1e-9)
    command("figure", tmp_path / "p.png", tmp_path / "p.h5")


def test_the_gain_of_its_mixing_is_drawn_beside_that_of_a_free_one(network, tmp_path):
    words = ("--batches", 1, "--batch-size", 32, "--depth", 8, "--width", 4, "--seeds", 1, "--data", "digits")
    command("stream", tmp_path / "a.h5", "resnet:shortcut=hyper", "--checkpoints", network, *words, "--quiet")
    file = read(tmp_path / "a.h5")
    np.testing.assert_allclose(file["forward_mixing"][:, 0, :4], 1, atol=1e-5)
    command("figure", tmp_path / "a.png", tmp_path / "a.h5", "--show", "forward_mixing", "--width", 3.25)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_cannot_be_is_refused_in_one_line(tmp_path):
    words = ("--network", "resnet", "--argument", "shortcut=mhc", "streams=1", *SMALL)
    done = command("train", tmp_path / "a.pt", *words, "--quiet", check=False)
    assert done.returncode == 2 and "streams is 1" in done.stderr and done.stderr.count("\n") == 1
