"""A hook of mkdocs: pages and pictures that stand elsewhere in the repository join the site where they are.

The pages in docs/ link to them as ``../results/…``, which GitHub follows too, and nothing is kept twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
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
    return markdown.replace("](docs/", "](")
