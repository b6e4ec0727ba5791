"""The numbers of the study and of the report are those that their files give."""

import re

from files import ROOT
from processes import command

STUDY = ROOT / "results" / "study"


def test_the_numbers_that_are_kept_are_those_of_the_files():
    assert command("studies/study_numbers", STUDY).stdout == (STUDY / "numbers.md").read_text()


def test_the_report_that_is_kept_is_that_of_the_files():
    said = command("studies/report", ROOT / "results").stdout
    assert said == (ROOT / "results" / "report" / "README.md").read_text()
    pictures = re.findall(r"\]\(\.\./(.+\.png)\)", said)
    assert len(pictures) > 5 and all((ROOT / "results" / picture).exists() for picture in pictures)


def test_a_report_of_nothing_is_refused_in_one_line(tmp_path):
    done = command("studies/report", tmp_path / "none", check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "there is no folder" in done.stderr


def test_a_folder_without_results_is_refused_in_one_line(tmp_path):
    done = command("studies/study_numbers", tmp_path, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "scripts/studies/study.sh" in done.stderr
