"""The rules that make lint checks: floors, words, argparse, prints. The house keeps them, and a breach is named."""

import runpy
from pathlib import Path

import pytest

SCRIPT = next(p for p in Path(__file__).parents if (p / "setup.cfg").exists()) / "scripts" / "development" / "rules.py"


def complaints_of(root):
    rules = runpy.run_path(str(SCRIPT))
    rules["complaints"].__globals__["ROOT"] = root
    return [*rules["complaints"]()]


@pytest.mark.slow
def test_the_house_keeps_its_rules():
    assert complaints_of(SCRIPT.parents[2]) == []


@pytest.mark.parametrize(
    ("path", "line", "said"),
    [
        ("landscape/engine/run.py", "from landscape.planes.plane import Plane", "engine imports planes"),
        ("landscape/planes/plane.py", "import ensemble.identity", "landscape imports ensemble"),
        ("landscape/planes/plane.py", "import argparse", "imports argparse"),
        ("ensemble/lesions/plans.py", "from argparse import Namespace", "imports argparse"),
        ("landscape/linalg/lanczos.py", "import torch", "linalg knows no torch"),
        ("landscape/attic/old.py", "x = 1", "attic has no floor"),
        ("ensemble/lesions/plans.py", "print(1)", "prints; libraries log"),
        ("ensemble/lesions/plans.py", "found = 1", "found is an old word"),
        ("landscape/engine/run.py", "def run(told): ...", "told is an old word"),
        ("tests/unit/test_run.py", "class Odd: ...", "Odd is an old word"),
    ],
)
def test_a_breach_is_named_with_its_line(tmp_path, path, line, said):
    for wing in ("landscape", "ensemble"):
        (tmp_path / wing).mkdir()
    (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / path).write_text(f"import math\n{line}\n")
    (complaint,) = complaints_of(tmp_path)
    assert complaint.startswith(path) and said in complaint


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("landscape/commands/cli.py", "import argparse; print(1)"),
        ("landscape/engine/run.py", "def late():\n    import torch"),
        ("landscape/planes/plane.py", "from landscape.engine.grid import axis"),
        ("ensemble/lesions/plans.py", "from landscape.planes.plane import Plane"),
    ],
)
def test_what_is_allowed_is_not_complained_of(tmp_path, path, line):
    for wing in ("landscape", "ensemble"):
        (tmp_path / wing).mkdir()
    (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / path).write_text(f"{line}\n")
    assert complaints_of(tmp_path) == []
