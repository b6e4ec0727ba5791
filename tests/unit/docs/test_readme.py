"""What the README and the documentation say can be typed, and what they point to is there."""

import re
import runpy
import shlex

import pytest
from files import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(ROOT / "results").glob("**/README.md")]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
SOURCES = {
    **TEXT,
    **{path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "scripts").rglob("*.py"))},
    **{path.relative_to(ROOT).as_posix(): path.read_text() for path in sorted((ROOT / "scripts").rglob("*.sh"))},
}
TYPED = re.compile(
    r"^ *(?:mpiexec -n \d+ |srun (?:--mpi=\w+ )?)?(?:python (?:-m mpi4py )?scripts/([\w/]+)\.py|"
    r"(?:python (?:-m mpi4py )?-m )?skipscape (\w+)) (.*)$",
    re.MULTILINE,
)
COMMANDS = [
    (page, script or installed, re.split(r" {2,}", words)[0])  # what follows is said of it
    for page, text in SOURCES.items()
    for script, installed, words in TYPED.findall(text)
    if not re.search(r"[$\\|]|…|\.\.\.|\{", words)
]


def test_there_are_commands_and_examples():
    assert len(COMMANDS) > 40 and TEXT["README.md"].count("```python") >= 2


@pytest.mark.parametrize(("page", "script", "words"), COMMANDS, ids=[f"{c[0]}-{n}" for n, c in enumerate(COMMANDS)])
def test_every_command_is_one_that_its_script_takes(page, script, words):
    runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))["parser"]().parse_args(shlex.split(words, comments=True))


@pytest.mark.parametrize("page", TEXT)
def test_links_lead_to_files_that_are_there(page):
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)#]+)", TEXT[page]):
        assert link.startswith("http") or (folder / link).exists(), link


def test_the_gallery_has_every_figure_that_its_script_draws():
    gallery, script = ROOT / "results" / "gallery", SOURCES["scripts/studies/gallery.sh"]
    drawn = {
        name.replace("$show", show)
        for name in re.findall(r"^ *draw ([\w$-]+) ", script, re.MULTILINE)
        for show in (("gradient", "cosine", "residual") if "$show" in name else ("",))
    } | set(re.findall(r"figure\.py \"\$out/(page-\w+)\.html", script))
    assert drawn == {path.stem for path in gallery.glob("*.png")}
    assert drawn == set(re.findall(r"\]\(([\w-]+)\.png\)", (gallery / "README.md").read_text()))
    films = set(re.findall(r"figure\.py \"\$out/(\w+)\.gif", script))
    assert films == {path.stem for path in gallery.glob("*.gif")}
    assert films == set(re.findall(r"\]\((\w+)\.gif\)", (gallery / "README.md").read_text()))
