"""A hook of mkdocs: pages and pictures that stand elsewhere in the repository join the site where they are.

The pages in docs/ link to them as ``../results/…``, which GitHub follows too, and nothing is kept twice. What
docs/api.md calls by the name by which it is imported, ``skipscape.surface``, is looked up where it lives.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
HOMES = runpy.run_path(str(Path(__file__).with_name("docstrings.py")))["homes"]()
ELSEWHERE = ("CHANGELOG.md", "CONTRIBUTING.md", "results/**/README.md", "results/**/*.png")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add them to the files of the site."""
    for pattern in ELSEWHERE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links between docs/ and the rest of the repository, as they are on the site."""
    for name in ("results/", "CHANGELOG.md", "CONTRIBUTING.md"):
        markdown = markdown.replace(f"](../{name}", f"]({name}")
    markdown = re.sub(r"^::: skipscape\.(\w+)$", _living, markdown, flags=re.MULTILINE)
    return markdown.replace("](docs/", "](")


def _living(directive: re.Match) -> str:
    """The directive of mkdocstrings for a name of the face, under that name."""
    shown = f"skipscape.{directive[1]}"
    return f"::: {HOMES[directive[1]]}\n    options:\n      heading: {shown}\n      toc_label: {shown}"
