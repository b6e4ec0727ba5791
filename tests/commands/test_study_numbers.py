"""The numbers of the study are those that its files give."""

from files import ROOT
from processes import command

STUDY = ROOT / "results" / "study"


def test_the_numbers_that_are_kept_are_those_of_the_files():
    assert command("studies/study_numbers", STUDY).stdout == (STUDY / "numbers.md").read_text()


def test_a_folder_without_results_is_refused_in_one_line(tmp_path):
    done = command("studies/study_numbers", tmp_path, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "scripts/studies/study.sh" in done.stderr
