"""The demo of language models, with smaller ones: every step is a command that works, one after the other."""

import runpy

import numpy as np
import pytest
from files import ROOT

from landscape.engine.ranks import SerialComm
from landscape.engine.table import read

SCRIPTS = ROOT / "scripts"


def run(name, words):
    script = runpy.run_path(str(SCRIPTS / f"{name}.py"))
    script["main"](script["parser"]().parse_args([*map(str, words)]), SerialComm())


@pytest.mark.slow
def test_the_demo_of_text_goes_from_nothing_to_its_figures(tmp_path):
    steps = runpy.run_path(str(SCRIPTS / "demo.py"))["text_steps"](tmp_path, (1, 2), 64, 8)
    small = {"--width": 8, "--window": 24}
    for name, _, words in steps:
        run(name, [small.get(before, word) for before, word in zip([None, *words], words, strict=False)])
    for figure in ("degradation", "lesions", "agreement", "kinds"):
        assert (tmp_path / f"{figure}.pdf").stat().st_size and (tmp_path / f"{figure}.png").stat().st_size
    table = read(tmp_path / "degradation.h5")
    assert list(table.coordinates["variant"]) == ["transformer", "transformer:shortcut=None"]
    assert list(table.coordinates["depth"]) == [1, 2] and table["done"].all()
    single, plain, layers, neighbours = (
        read(tmp_path / f"lesion-{name}.h5")
        for name in ("transformer-single", "plain-single", "transformer-layers", "transformer-neighbours")
    )
    assert single["deleted"].shape == plain["deleted"].shape == (5, 4)
    assert layers["deleted"].shape == (3, 2) and neighbours["order"].tolist() == [[0, 1], [1, 0]]
    assert single["agreement"][0] == 1 and np.isfinite(single["kl"]).all()
    assert single["loss"][0] == pytest.approx(layers["loss"][0], rel=1e-6)
