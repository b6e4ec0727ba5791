"""What the README and the documentation say can be typed, and what they point to is there."""

import re

from files import ROOT
from processes import command

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(ROOT / "results").glob("**/README.md")]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}


def test_the_examples_of_the_readme_run(trained, tmp_path, monkeypatch):
    command("surface", trained / "resnet.pt", tmp_path / "surface.h5", "--x", -1, 1, 3, "--y", -1, 1, 3)
    command("lesion", trained / "resnet.pt", tmp_path / "random.h5", "--delete", 1, 2, "--trials", 2)
    monkeypatch.chdir(tmp_path)
    for example in re.findall(r"```python\n(.*?)```", TEXT["README.md"], re.DOTALL):
        exec(compile(example, "README.md", "exec"), {"__name__": "__main__"})
    assert (tmp_path / "own.pdf").read_bytes().startswith(b"%PDF")
