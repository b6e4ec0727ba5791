"""Pages are photographed as a browser shows them, or it is said in a line why not."""

import shutil

import pytest
from PIL import Image
from processes import command

PAGE = "<!doctype html><title>a</title><body style='background: rgb(0, 114, 178)'>"


def test_a_page_is_shown_in_the_size_asked_for(tmp_path):
    pytest.importorskip("playwright")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium is installed")
    (tmp_path / "a.html").write_text(PAGE)
    command("development/photograph", tmp_path / "a.html", "--size", 320, 200, "--wait", 0.1)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (320, 200) and image.convert("RGB").getpixel((5, 5)) == (0, 114, 178)


def test_a_page_longer_than_the_window_is_taken_whole(tmp_path):
    pytest.importorskip("playwright")
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium is installed")
    (tmp_path / "a.html").write_text(PAGE.replace("style='", "style='margin: 0; height: 500px; "))
    said = command("development/photograph", tmp_path / "a.html", "--size", 320, 200, "--wait", 0.1).stdout
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (320, 500) and "320 × 500 pixels" in said


def test_what_is_no_page_is_refused_in_one_line(tmp_path):
    for name in ("none.html", "a.txt"):
        (tmp_path / "a.txt").write_text("a")
        done = command("development/photograph", tmp_path / name, check=False)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not (tmp_path / "none.png").exists()
