"""The benchmark runs, with and without a checkpoint, and says what it leaves out."""

import numpy as np
from PIL import Image
from processes import command

FEW = ("--rounds", 1, "--images", 16, "--points", 1, "--seeds", 2)


def test_without_a_checkpoint_what_depends_on_losses_is_left_out():
    said = command("development/benchmark", "--only", "training", "coverage", *FEW).stdout
    assert "bfloat16, channels-last" in said
    assert "coverage: left out; it needs --checkpoint and --data" in said


def test_with_a_checkpoint_speeds_and_losses_are_compared(tmp_path):
    draws = np.random.default_rng(0)
    for split, number in (("train", 1100), ("test", 4)):
        for i in range(number):
            folder = tmp_path / "images" / split / f"class{i % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draws.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    small = ("--depth", 8, "--width", 2, "--epochs", 1, "--quiet")
    command("train", tmp_path / "a.pt", "--data", tmp_path / "images", *small)
    its = ("--checkpoint", tmp_path / "a.pt", "--data", tmp_path / "images")
    said = command(
        "development/benchmark", *its, "--only", "speed", "tolerance", "coverage", "lesions", "curvature", *FEW
    ).stdout
    assert "float32: " in said and "× baseline" in said and "of the matrix peak" in said
    assert "a point to 2 %" in said
    assert "coverage of 95 % intervals" in said
    assert said.count("to the bit the same") == 3


def test_a_checkpoint_without_data_is_refused(tmp_path):
    done = command("development/benchmark", "--checkpoint", tmp_path / "a.pt", check=False)
    assert done.returncode == 2
    assert "belong together" in done.stderr
