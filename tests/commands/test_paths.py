"""Paths: their number, the gradient that comes by each length, and what a sample of them says."""

import numpy as np
import pytest
import torch
import xarray
from files import same
from processes import command

from ensemble.paths.path_spectrum import PATHS, path_spectrum
from landscape import data as datasets
from landscape.engine.table import prepare, read
from landscape.errors import BadInput
from landscape.evaluation.evaluator import Evaluator


def value(outputs, targets):
    return outputs.flatten(1).sum(1)


HOW = {"examples": 6, "draws": 2, "quiet": True}
WORDS = ("--examples", 6, "--draws", 2)


def evaluator(path):
    return Evaluator.from_checkpoint(path, split="test", examples=6)


@pytest.fixture(scope="module")
def file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("paths") / "a.h5"
    printed = command("paths", trained / "resnet.pt", path, *WORDS).stdout
    assert "6 products" in printed and "2 backward passes" in printed
    return path


def test_a_file_holds_every_length_with_the_exact_and_the_sampled_gradient(trained, file):
    with xarray.open_dataset(file, engine="h5netcdf") as results:
        assert results.length.values.tolist() == [0, 1, 2, 3]
        assert results.paths.values.tolist() == [1, 3, 3, 1]
        for name in ("norm", "share", "sampled_norm", "sampled_se"):
            assert results[name].dims == ("length",) and np.isfinite(results[name]).all()
        assert results.share_each.dims == results.norm_each.dims == ("length", "example")
        np.testing.assert_allclose(results.share_each.sum("length"), 1, rtol=1e-10)
        np.testing.assert_allclose(results.norm_each.mean("example"), results.norm, rtol=1e-12)
        np.testing.assert_allclose(results.share_each.mean("example"), results.share, rtol=1e-12)
        # one path: both are its norm, but for float32
        np.testing.assert_allclose(results.sampled_norm[[0, 3]], results.norm[[0, 3]], rtol=1e-4)
        np.testing.assert_array_equal(results.sampled_se == 0, [True, False, False, True])


def test_the_call_takes_the_subset_that_the_command_does(trained, file, tmp_path):
    """From the whole split, in whatever batches; in memory examples are counted."""
    evaluate = Evaluator.from_checkpoint(trained / "resnet.pt", split="test")
    results = path_spectrum(evaluate, **HOW, out=tmp_path / "a.h5")
    same(file, tmp_path / "a.h5")
    network = evaluate.network
    for pieces in (1, 2):
        (inputs, targets), *_ = evaluate.sources[0].batches
        images, labels = inputs[results.coordinates["example"]], targets[results.coordinates["example"]]
        batches = list(zip(images.split(6 // pieces), labels.split(6 // pieces), strict=True))
        held = path_spectrum(Evaluator(network, batches), **HOW)
        assert held.coordinates["example"].tolist() == list(range(6))
        np.testing.assert_allclose(held["norm_each"], results["norm_each"], rtol=1e-10)


def test_examples_are_numbered_as_they_stand_in_the_split_and_older_files_are_gone_on_with(trained, file, tmp_path):
    whole, part = (datasets.load("digits", "test", examples=examples) for examples in (None, 6))
    example = read(file).coordinates["example"]
    assert torch.equal(whole.images[example], part.images) and sorted(example) != list(range(6))
    there = read(file)
    prepare(  # as version 0.1 numbered them
        tmp_path / "old.h5",
        np.arange(4)[:, None],
        kind="paths",
        dims=("length",),
        coordinates={"length": np.arange(4), "example": np.arange(6)},
        given={"paths": (("length",), there["paths"])},
        measured=PATHS,
        attributes={name: value for name, value in there.attributes.items() if name not in ("kind", "format", "seal")},
    )
    again = path_spectrum(evaluator(trained / "resnet.pt"), **HOW, out=tmp_path / "old.h5")
    assert again["done"].all() and again.coordinates["example"].tolist() == list(range(6))


@pytest.mark.mpi
def test_any_number_of_ranks_gives_the_same_spectrum_and_a_finished_one_is_left_alone(trained, file, tmp_path):
    command("paths", trained / "resnet.pt", tmp_path / "a.h5", *WORDS, ranks=2)
    same(file, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    path_spectrum(evaluator(trained / "resnet.pt"), **HOW, out=tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before
    with pytest.raises(BadInput, match="its gradient_at is first block, this command's is image"):
        path_spectrum(evaluator(trained / "resnet.pt"), **HOW, image=True, out=tmp_path / "a.h5")
    with pytest.raises(BadInput, match="its seed is 0, this command's is 1"):
        path_spectrum(evaluator(trained / "resnet.pt"), **HOW, seed=1, out=tmp_path / "a.h5")


def test_a_plain_network_has_one_path_that_carries_everything(trained, file, tmp_path):
    results = path_spectrum(evaluator(trained / "plain.pt"), **HOW, out=tmp_path / "plain.h5")
    assert results["paths"].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(results["share"], [0, 0, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(results["sampled_norm"], results["norm"], rtol=1e-4)
    command("figure", tmp_path / "a.png", file, tmp_path / "plain.h5")
    assert (tmp_path / "a.png").stat().st_size > 20_000
