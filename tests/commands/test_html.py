"""Pages to explore: what is in them, and what they do in a browser.

Those at the end need the extra `browser` and a Chromium, and skip without.
"""

import os
import subprocess
import sys

from pages import BOWL, SCRIPT, figure, lesions, surface
from processes import command

from ensemble.drawing.page import lesion_page
from landscape.drawing.html import line_page

# The command


def test_the_command_makes_pages_of_surfaces_lines_and_lesions(tmp_path):
    surface(tmp_path / "a.h5", BOWL)
    done = command(
        "figure", tmp_path / "a.html", tmp_path / "a.h5", "--titles", "ours", "--vmax", 1, "--cmap", "cividis"
    )
    assert "<h2>ours</h2>" in (tmp_path / "a.html").read_text("utf-8") and done.stderr == ""
    files = lesions(tmp_path)
    figure(tmp_path / "b.html", *(file.path for file in files))
    assert (tmp_path / "b.html").read_text("utf-8") == lesion_page(files)
    file = surface(tmp_path / "c.h5", BOWL[3])
    figure(tmp_path / "c.html", file.path, "--linear")
    assert (tmp_path / "c.html").read_text("utf-8") == line_page([file], linear=True)


def test_without_plotly_one_line_says_what_to_install(tmp_path):
    surface(tmp_path / "a.h5", BOWL)
    (tmp_path / "plotly.py").write_text("raise ImportError('no plotly here')")
    arguments = [sys.executable, SCRIPT]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path, SCRIPT.parents[1])))}
    run = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    done = subprocess.run([*arguments, "a.html", "a.h5"], **run)
    assert done.returncode == 2 and "pip install 'skipscape[html]'" in done.stderr and done.stderr.count("\n") == 1
