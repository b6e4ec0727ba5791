"""What a release says of itself agrees: one version, and a file for each thing that is shipped."""

import configparser
import re

from files import ROOT

import landscape


def test_the_version_is_the_same_wherever_it_stands():
    setup = configparser.ConfigParser(inline_comment_prefixes="#")
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: landscape.__version__"
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == landscape.__version__
    assert re.search(r"version = \{(.*)\}", (ROOT / "docs" / "about.md").read_text())[1] == landscape.__version__


def test_the_changes_begin_with_what_is_not_released_and_then_the_newest_version():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = [tuple(map(int, heading.split()[0].split("."))) for heading in headings if heading != "Unreleased"]
    assert "Unreleased" not in headings[1:] and versions == sorted(versions, reverse=True)
    assert ".".join(map(str, versions[0])) == landscape.__version__


def data(package):
    """Files in folders of a package that are no packages; scripts beside the commands are not for users."""
    if package in (ROOT / "scripts", ROOT / "skipscape"):
        return []
    folders = [each for each in package.iterdir() if each.is_dir() and each.name != "__pycache__"]
    return [path for each in folders if not (each / "__init__.py").exists() for path in each.iterdir()]


def test_every_file_of_the_packages_that_is_no_module_is_shipped():
    setup = configparser.ConfigParser(inline_comment_prefixes="#")
    setup.read(ROOT / "setup.cfg")
    for package, patterns in setup["options.package_data"].items():
        folder = ROOT / ("scripts" if package == "skipscape" else package.replace(".", "/"))
        shipped = {path for pattern in patterns.split(",") for path in folder.glob(pattern.strip())}
        there = {path for path in [*folder.iterdir(), *data(folder)] if path.is_file() and path.suffix != ".py"}
        assert shipped == there, package
    others = {
        path.parent for wing in ("landscape", "ensemble") for path in (ROOT / wing).rglob("*.[!p]*") if path.is_file()
    }
    packages = {ROOT / package.replace(".", "/") for package in setup["options.package_data"]}
    within = {path.parent for package in packages for path in data(package)}
    assert {folder for folder in others if folder.name != "__pycache__"} <= packages | within | {ROOT / "scripts"}


def test_the_paper_cites_what_its_bibliography_has():
    cited = set(re.findall(r"@(\w+)", (ROOT / "paper.md").read_text().split("---", 2)[2]))
    assert cited == set(re.findall(r"^@\w+\{(\w+),", (ROOT / "paper.bib").read_text(), re.MULTILINE))
