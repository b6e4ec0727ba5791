"""The quickstart runs as it stands: its examples in order, then its commands."""

import re
import shlex

from files import ROOT
from processes import command

PAGE = (ROOT / "docs" / "quickstart.md").read_text()


def test_every_example_and_command_runs_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for example in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(example, "docs/quickstart.md", "exec"), names)
    assert names["study"]["agreement"][0] == 1 and names["surface"]["loss"].shape == (5, 5)
    for script, *words in map(shlex.split, re.findall(r"^skipscape (.*)$", PAGE, re.MULTILINE)):
        command(script, *words)
    made = [path.name for path in tmp_path.glob("*.pdf") if path.read_bytes().startswith(b"%PDF")]
    assert sorted(made) == ["blocks.pdf", "lesions.pdf", "net.pdf", "surface.pdf"]
