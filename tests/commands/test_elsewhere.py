"""On Windows and macOS, as far as it can be known without them, whole commands do what they do on Linux."""

import os
import subprocess
import sys

import pytest
from files import ROOT, same
from processes import ENVIRONMENT, command

# In letters of ASCII alone: a file that is opened without a word of its encoding, or a sign that is printed, shows.
BARE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONOPTIMIZE": "2"}
STOPPING = """
import os, signal

calls = 0

def total(outputs, targets):
    global calls
    calls += 1
    if calls == 8 and os.path.exists("measured-half"):
        os.remove("measured-half")
        signal.raise_signal(signal.SIGINT)
    return outputs.sum(1)
"""
POINTS = "--x -1 1 4 --y -1 1 3 --examples 50"
PLANE = f"{POINTS} --metric mine:total"
COMMANDS = f"""
import
train net.pt --network resnet --depth 8 --width 2 --epochs 1
surface net.pt net.h5 {POINTS} --dry-run
surface net.pt net.h5 {PLANE}
surface net.pt net.h5 {PLANE}
lesion net.pt lesion.h5 --delete 1 --examples 50
lesion net.pt lesion.h5 --delete 2 --examples 50
figure net.png net.h5
figure lesion.pdf lesion.h5
figure net.html net.h5
""".strip()


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_what_is_trained_measured_interrupted_gone_on_with_and_drawn_is_the_same(system, tmp_path):
    folder = tmp_path / "a b é # '"
    folder.mkdir()
    (folder / "mine.py").write_text(STOPPING)
    (folder / "measured-half").touch()
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "elsewhere.py", system],
        input=COMMANDS,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, **BARE},
    )
    statuses = [line for line in done.stdout.splitlines() if ": status " in line]
    assert statuses == [
        *("train: status 0", "surface: status 0", "surface: status 130", "surface: status 0", "lesion: status 0"),
        *("lesion: status 2", "figure: status 0", "figure: status 0", "figure: status 0"),
    ], done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "the same command goes on from here" in done.stderr
    command("surface", folder / "net.pt", "here.h5", *PLANE.split(), cwd=folder)
    same(folder / "net.h5", folder / "here.h5")
    names = os.listdir(folder)
    assert not [name for name in names if name.startswith(".") or {*name} & {*'<>:"|?*'}]
