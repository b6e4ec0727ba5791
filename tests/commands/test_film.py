"""Films as commands write them, and .mp4 with programs that stand for ffmpeg, or with ffmpeg itself."""

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from files import ROOT
from pages import figure
from PIL import Image

from landscape.drawing import film, save_film
from landscape.drawing.animation import images
from landscape.engine.table import read
from landscape.errors import COMMAND, BadInput

SURFACES = ROOT / "results" / "landscape"
FILES = SURFACES / "path-resnet-56.h5", SURFACES / "plane-resnet-56.h5"


@pytest.fixture(scope="module")
def short():
    """A film of four frames, of an odd number of pixels each way at 41 an inch."""
    made = film([read(file) for file in FILES], width=5.05)
    return made._replace(frames=4)


def program(folder, monkeypatch, text):
    """A program of that name, alone on PATH before those of the system."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_the_command_writes_the_film_of_its_files(tmp_path):
    figure(tmp_path / "a.gif", *FILES, "--dpi", 30, "--seconds", 6.2)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == len(read(FILES[0])["alpha"]) == 31
        assert image.info["duration"] == 200


def test_ffmpeg_is_given_every_frame_in_even_pixels_and_the_last_one_longer(short, tmp_path, monkeypatch):
    program(tmp_path / "bin", monkeypatch, f'echo "$@" > {tmp_path}/said\nfor out; do :; done\ncat > "$out"')
    save_film(short, tmp_path / "a.mp4", fps=4, dpi=41)
    said = (tmp_path / "said").read_text()
    across, up = map(int, re.search(r"-s (\d+)x(\d+)", said).groups())
    assert "-framerate 4.0" in said and "-pix_fmt yuv420p" in said and not across % 2 and not up % 2
    frames = np.frombuffer((tmp_path / "a.mp4").read_bytes(), np.uint8).reshape(-1, up, across, 3)
    shown = [*images(short, 41)]
    assert shown[0].shape[1] % 2 == 1  # or there was nothing to make even
    assert len(frames) == 4 + 6  # a second and a half
    for frame, image in zip(frames, [*shown, *[shown[-1]] * 6], strict=True):
        np.testing.assert_array_equal(frame[: image.shape[0], : image.shape[1]], image)


@pytest.mark.parametrize("reads", [True, False])
def test_what_ffmpeg_complains_of_is_told_in_one_line(reads, short, tmp_path, monkeypatch):
    complaint = "echo 'a line before' >&2; echo 'no encoder here' >&2; exit 1"
    program(tmp_path / "bin", monkeypatch, "cat > /dev/null; " * reads + complaint)
    (tmp_path / "a.mp4").write_bytes(b"before")
    with pytest.raises(BadInput, match=r"cannot make an .mp4: no encoder here; let the name end in .gif") as error:
        save_film(short, tmp_path / "a.mp4", dpi=41)
    assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "bin"]
    assert (tmp_path / "a.mp4").read_bytes() == b"before"


def test_an_mp4_plays(short, tmp_path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    save_film(short, tmp_path / "a.mp4", fps=2, dpi=60)
    said = subprocess.run([ffmpeg, "-i", tmp_path / "a.mp4"], capture_output=True, text=True).stderr
    assert "yuv420p" in said
    minutes, seconds = re.search(r"Duration: 00:(\d+):([\d.]+)", said).groups()
    assert int(minutes) * 60 + float(seconds) == pytest.approx(4 / 2 + 1.5, abs=0.3)
    last_frame = ["-sseof", "-0.2", "-i", tmp_path / "a.mp4", "-frames:v", "1", tmp_path / "a.png"]
    subprocess.run([ffmpeg, "-v", "error", *last_frame])
    *_, last = images(short, 60)
    with Image.open(tmp_path / "a.png") as image:
        shown = np.asarray(image.convert("RGB"), float)[: last.shape[0], : last.shape[1]]
    assert np.abs(shown - last).mean() < 4


def test_options_that_do_not_apply_are_refused_in_one_line(tmp_path):
    COMMAND.set(True)
    for message, out, arguments in (
        ("--view does not apply to film; leave it out", "a.gif", [*FILES, "--view", 1, 2]),
        ("--variable does not apply to film", "a.gif", [*FILES, "--variable", "mse"]),
        ("--fps does not apply to trajectories; leave it out", "a.png", [*FILES, "--fps", 3]),
        ("--seconds does not apply to planes", "a.pdf", [FILES[1], "--seconds", 3]),
        ("--fps and --seconds are of paths of trainings", "a.html", [FILES[1], "--fps", 3]),
        ("--fps and --seconds both say", "a.html", [*FILES, "--fps", 3, "--seconds", 3]),
        ("a film shows paths of trainings", "a.gif", [FILES[1]]),
        ("in .gif or .mp4 for a film of a training", "a.webm", FILES),
    ):
        with pytest.raises(BadInput, match=message) as error:
            figure(tmp_path / out, *arguments)
        assert "\n" not in str(error.value) and not [*tmp_path.iterdir()]
