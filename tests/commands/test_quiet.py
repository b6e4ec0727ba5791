"""Quiet is quiet: nothing but errors is printed, by command and by call."""

from processes import command

FEW = ("--examples", 20, "--device", "cpu")
LINE = ("--x", -1, 1, 3)


def test_a_quiet_command_prints_nothing_the_first_time_or_again(trained, tmp_path):
    runs = {
        "surface": (trained / "resnet.pt", tmp_path / "a.h5", *LINE, *FEW),
        "lesion": (trained / "resnet.pt", tmp_path / "b.h5", "--delete", 1, 2, *FEW),
        "paths": (trained / "resnet.pt", tmp_path / "c.h5", "--examples", 4, "--draws", 2, "--device", "cpu"),
        "train": (tmp_path / "d.pt", "--depth", 8, "--width", 2, "--epochs", 1, "--examples", 40),
    }
    for name, typed in runs.items():
        for _ in range(2):
            done = command(name, *typed, "--quiet")
            assert (done.stdout, done.stderr) == ("", ""), name


def test_what_was_asked_for_and_errors_are_printed_in_any_case(trained, tmp_path):
    typed = (trained / "resnet.pt", tmp_path / "a.h5", *LINE, *FEW, "--quiet")
    assert "3 points" in command("surface", *typed, "--dry-run").stdout
    command("surface", *typed)
    other = command("surface", *typed, "--seed", 1, check=False)
    assert other.returncode == 2 and other.stderr.count("\n") == 1 and not other.stdout
