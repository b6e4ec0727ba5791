"""Every example of the library's page runs as it stands, on one rank and on two."""

import re

import pytest
from files import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text()
CODE = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))


@pytest.mark.slow
def test_every_example_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    exec(compile(CODE, "docs/library.md", "exec"), names)
    assert names["surface"]["loss"].shape == (9, 9) and len(names["mine"]["depth"]) == 11
    assert {"net.pt", "surface.h5", "mine.h5"} <= {path.name for path in tmp_path.iterdir()}
