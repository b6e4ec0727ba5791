"""The simulated scheduling agrees with what can be worked out by hand."""

import importlib.util

from files import ROOT
from processes import command

spec = importlib.util.spec_from_file_location("scaling", ROOT / "scripts" / "development" / "scaling.py")
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)


def test_the_command_says_the_same_again_and_why_there_is_no_more_to_gain():
    few = ["--ranks", 1, 64, 4000, "--sides", 51, "--means", 0.01, 1, "--costs", 2e-5, 0, 1e-5, 1e-6, 0.01, 1e-5]
    first, again = (command("development/scaling", *few).stdout for _ in range(2))
    assert first == again
    assert "not enough rows" in first
    assert first != command("development/scaling", *few, "--seed", 1).stdout
