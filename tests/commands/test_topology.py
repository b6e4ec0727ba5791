"""A surface that was measured by the command has a tree, a barcode and numbers, each by one command."""

import numpy as np
import pytest
from processes import command

from landscape.analysis.topology import barcode, merge_tree
from landscape.engine.table import read


@pytest.fixture(scope="module")
def surfaces(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("topology")
    for name in ("plain", "resnet"):
        axes = ("--x", -1, 1, 7, "--y", -1, 1, 7)
        command("surface", trained / f"{name}.pt", folder / f"{name}.h5", *axes, "--examples", 200)
    return [folder / "plain.h5", folder / "resnet.h5"]


@pytest.mark.parametrize("show", ["topology", "tree", "barcode"])
def test_a_figure_is_one_command(surfaces, tmp_path, show):
    command("figure", tmp_path / "a.png", *surfaces, "--show", show, "--titles", "without", "with")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_what_is_measured_has_a_tree_whose_least_minimum_is_that_of_the_table(surfaces):
    said = command("compare", *surfaces).stdout
    assert "saddle–minimum distance, minima above the noise (units of x and y)" in said
    for path in surfaces:
        results = read(path)
        tree, bars = merge_tree(results), barcode(results)
        assert tree.birth.min() == np.nanmin(results["loss"])
        assert (bars.dimension == 0).sum() == tree.birth.size


def test_a_mistake_is_refused_in_one_line(surfaces, tmp_path):
    done = command("figure", tmp_path / "a.png", surfaces[0], "--show", "norm", check=False)
    assert done.returncode == 2 and "does not apply to planes" in done.stderr and done.stderr.count("\n") == 1
