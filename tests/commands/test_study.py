"""Every kind of lesion: what is planned, what results hold, and what is refused."""

import re

import pytest
from files import same
from processes import command

from ensemble.lesions.kinds import KINDS


@pytest.mark.mpi
def test_the_command_gives_the_same_from_two_ranks_and_a_finished_file_is_left_alone(trained, tmp_path):
    typed = (trained / "resnet.pt", "--permute", "--trials", 3, "--examples", 60)
    refused = command("lesion", typed[0], tmp_path / "no.h5", *typed[1:], check=False)
    assert refused.returncode == 2 and "no two blocks" in refused.stderr and refused.stderr.count("\n") == 1
    typed = (trained / "plain.pt", "--delete", 1, "--metric", "kl", "--examples", 60)
    one = tmp_path / "one.h5"
    command("lesion", typed[0], one, *typed[1:])
    command("lesion", typed[0], tmp_path / "two.h5", *typed[1:], ranks=2)
    same(one, tmp_path / "two.h5")
    assert "complete already" in command("lesion", typed[0], one, *typed[1:]).stdout
    other = command("lesion", typed[0], one, *typed[1:], "--delete", 2, check=False)
    assert other.returncode == 2


def test_the_command_has_an_option_for_every_kind():
    shown = command("lesion", "--help").stdout
    for name, kind in KINDS.items():
        assert re.search(rf"--{name}\b", shown) and kind.help.split()[0] in shown
