"""A figure that changes, frame by frame, and the one way to save it: as .gif with Pillow, as .mp4 with ffmpeg."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from landscape.drawing.style import STYLE, Figure
from landscape.engine.atomic import write_atomically
from landscape.errors import BadInput

__all__ = ["FILMS", "Film", "check_film", "images", "pace", "save_film"]

FILMS = (".gif", ".mp4")
USUAL, LONGEST = 5.0, 20.0  # frames a second, and seconds, unless asked otherwise
FASTEST = 50.0  # frames a second: browsers slow down a GIF that has more
REST = 1.5  # seconds for which the last frame stays
SMOOTH = 25  # frames a second of an .mp4 at least; some players stumble over fewer
COLOURS = 254  # of a GIF, which has 256: white is one more, and Pillow marks with another what has not changed
PAPER = (255, 255, 255)


class Film(NamedTuple):
    """A figure that changes.

    Attributes
    ----------
    figure : Figure
    frames : number of them
    show : ``show(i)`` makes the figure that of frame i
    """

    figure: Figure
    frames: int
    show: Callable[[int], None]


def pace(frames: int, fps: float | None = None, seconds: float | None = None) -> float:
    """How many frames a second a film has.

    Parameters
    ----------
    frames : number of them
    fps : as many; by default 5, or more for a film that would else last longer than 20 s
    seconds : instead of these, how long all frames take, without the rest on the last one

    Raises
    ------
    BadInput
        Both are given, or there would be more than 50.

    Examples
    --------
    >>> pace(31), pace(200), pace(31, seconds=10)
    (5.0, 10.0, 3.1)
    """
    if fps is not None and seconds is not None:
        raise BadInput("--fps and --seconds both say how long a film takes; give one of them")
    if seconds is not None:
        if not 0 < seconds < np.inf:
            raise BadInput(f"a film cannot take {seconds:g} seconds; give more than 0")
        fps = frames / seconds
    elif fps is None:
        fps = min(max(USUAL, frames / LONGEST), FASTEST)
    if not 0 < fps <= FASTEST:
        raise BadInput(
            f"{fps:.4g} frames a second are not shown; {frames} frames take {frames / FASTEST:.3g} seconds or more, "
            f"at up to {FASTEST:g} a second"
        )
    return fps


def check_film(path: str | os.PathLike) -> Path:
    """The path, if a film can be saved there; `BadInput` if not."""
    path = Path(path)
    if path.suffix not in FILMS:
        raise BadInput(
            f"a film cannot be saved as {path.name}; let its name end in {', '.join(FILMS)}, "
            "or in .html for a page with a player"
        )
    if not path.parent.is_dir():
        raise BadInput(f"output folder {path.parent} does not exist; create it: mkdir -p {path.parent}")
    if path.suffix == ".mp4":
        _ffmpeg()  # rather now than after the work
    return path


def save_film(
    film: Film, path: str | os.PathLike, *, fps: float | None = None, seconds: float | None = None, dpi: float = 150
) -> None:
    """Save a film, whole or not at all; the same film is saved as the same bytes, as .gif on one machine.

    The last frame stays for a second and a half more. An .mp4 is H.264 in yuv420p, which plays everywhere, where
    ffmpeg has that.

    Parameters
    ----------
    film : Film
        What `landscape.drawing.film.film` gives.
    path : path
        Its suffix is the format, .gif or .mp4.
    fps : float, optional
        Frames a second, at most 50; by default 5, or as many as a film of 20 seconds takes.
    seconds : float, optional
        How long the film takes, in place of `fps`.
    dpi : float
        Pixels an inch.

    Raises
    ------
    BadInput
        The folder does not exist or cannot be written in, the suffix is unknown, ffmpeg is missing, or there would be
        far too many pixels or frames a second.

    Examples
    --------
    >>> from landscape.drawing.style import Figure
    >>> figure = Figure((1, 1))
    >>> clock = figure.text(0.5, 0.5, "")
    >>> save_film(Film(figure, 3, lambda i: clock.set_text(f"epoch {i}")), "clock.gif", fps=2)
    """
    path, rate = check_film(path), pace(film.frames, fps, seconds)
    if not 10 <= dpi <= 1200:
        raise BadInput(f"{dpi:g} pixels an inch make no film; give 10 to 1200")
    save = _save_gif if path.suffix == ".gif" else _save_mp4
    with write_atomically(path) as draft:
        save(film, draft, rate, dpi)


def images(film: Film, dpi: float = 150) -> Iterator[np.ndarray]:
    """The frames of a film as pixels, shape (height, width, 3), uint8."""
    for i in range(film.frames):
        yield _image(film, i, dpi)


def _image(film: Film, i: int, dpi: float) -> np.ndarray:
    film.show(i)
    with matplotlib.rc_context({**STYLE, "savefig.dpi": dpi}):
        before = film.figure.dpi
        film.figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(film.figure)
        canvas.draw()
        film.figure.set_dpi(before)
    return np.array(canvas.buffer_rgba())[:, :, :3]


def _save_gif(film: Film, draft: Path, rate: float, dpi: float) -> None:
    """One palette for all frames, so that no colour flickers: that of the last frame, which has all that is drawn."""
    palette = Image.fromarray(_image(film, film.frames - 1, dpi)).quantize(COLOURS, Image.Quantize.MEDIANCUT)
    means = np.reshape(palette.getpalette() or [], (-1, 3))[:COLOURS]
    colours = np.concatenate([means, [PAPER]]).astype(np.uint8)  # among the means white may be tinted
    palette.putpalette(colours.tobytes())

    def frames() -> Iterator[Image.Image]:
        for image in images(film, dpi):
            near = np.array(Image.fromarray(image).quantize(palette=palette, dither=Image.Dither.NONE))
            near[(image == PAPER).all(axis=2)] = len(colours) - 1
            frame = Image.fromarray(near)
            frame.putpalette(colours.tobytes())
            yield frame

    # A GIF counts in hundredths of a second: each frame ends at the nearest one.
    ends = np.round(100 / rate * np.arange(1, film.frames + 1)).astype(int)
    ends[-1] += round(100 * REST)
    durations = (10 * np.diff(ends, prepend=0)).tolist()
    first, *others = frames()
    first.save(draft, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1)


def _save_mp4(film: Film, draft: Path, rate: float, dpi: float) -> None:
    shapes: list[tuple[int, ...]] = []

    def frames() -> Iterator[bytes]:
        for image in images(film, dpi):
            height, width, _ = image.shape
            even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")  # as yuv420p needs it
            shapes.append(even.shape)
            yield even.tobytes()
        yield from repeat(even.tobytes(), round(REST * rate))

    stream = frames()
    first = next(stream)
    height, width, _ = shapes[0]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-framerate", f"{rate:.6f}", "-i", "-"]
    how = ["-r", f"{max(SMOOTH, rate):.6f}", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    command = [_ffmpeg(), "-y", "-loglevel", "error", *raw, *how, "-f", "mp4", str(draft)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # why it ended is read below
            for frame in chain([first], stream):
                process.stdin.write(frame)
        _, errors = process.communicate()
    if process.returncode:
        last = (errors.decode(errors="replace").strip().splitlines() or ["it does not say why"])[-1]
        raise BadInput(
            f"ffmpeg cannot make an .mp4: {last}; let the name end in .gif or .html, or install another ffmpeg"
        )


def _ffmpeg() -> str:
    """The program of that name, on PATH or in the package imageio-ffmpeg."""
    if on_path := shutil.which("ffmpeg"):
        return on_path
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise BadInput(
            "an .mp4 is made by ffmpeg, which is not on PATH here; install it (apt install ffmpeg, or pip install "
            "imageio-ffmpeg), or let the name end in .gif or .html"
        ) from error
