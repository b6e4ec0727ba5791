"""What skipscape offers is shown by an example that runs: in its docstring, or on the library's page."""

import doctest
import importlib
import inspect
import re

import pytest
import skipscape
from files import ROOT

PAGE = (ROOT / "docs" / "library.md").read_text()
MODULES = sorted({getattr(skipscape, name).__module__ for name in skipscape.HOMES if not name.startswith("_")})
NOT_CALLED = {"Checkpoint", "Plane", "Results", "__version__"}  # what calls give back


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.slow
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert not failed


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_pages_name_what_the_library_has(page):
    assert {*re.findall(r"\bss\.([a-zA-Z]\w*)", page.read_text())} <= {*skipscape.HOMES}


@pytest.mark.parametrize("name", sorted({*skipscape.HOMES} - NOT_CALLED))
def test_every_name_is_shown_at_work(name):
    said = inspect.getdoc(getattr(skipscape, name))
    assert said and (">>>" in said or re.search(rf"\bss\.{name}\b", PAGE))
