#!/usr/bin/env python3
"""Draw results files as a figure for a paper, a film for a talk, or a page to explore.

    python scripts/figure.py surfaces.pdf resnet.h5 plain.h5
    python scripts/figure.py surfaces.png resnet.h5 plain.h5 --vmax 100 --titles "with" "without shortcuts"
    python scripts/figure.py trees.pdf resnet.h5 plain.h5 --show topology
    python scripts/figure.py lesions.pdf resnet-single.h5 plain-single.h5 resnet-random.h5
    python scripts/figure.py path.pdf path.plane.h5 path.h5
    python scripts/figure.py path.mp4 path.plane.h5 path.h5 --seconds 10
    python scripts/figure.py surfaces.html resnet.h5 plain.h5
    python scripts/figure.py lesions.html resnet-single.h5 resnet-random.h5

Surfaces over a plane become contours and reliefs on one scale, surfaces along a line become curves.
With --show topology they become merge trees (which minima there are, and over which saddles they join) and barcodes.
Lesions become the error by deleted block and the error by number of blocks deleted, all pairs a matrix of
interactions, orders of deletion the blocks' Shapley values, trainings the error by depth or by kind of network.
Paths of trainings are drawn over the surfaces in their planes. Curvatures over a plane become maps; densities and
eigenvalues of Hessians become lines in one panel.
A film, .gif or .mp4, is of trainings: their paths grow, checkpoint by checkpoint, over the surface in their plane; each
plane has a panel of its own, and paths measured in one plane share it. At every moment it tells the losses and how far
the weights are off the plane. An .mp4 needs ffmpeg.
A page is one file that any browser opens, without a network: reliefs that turn together, with the paths on them, and
tell their numbers under the pointer, and a player that moves along the paths; lines; or a network whose blocks are
deleted by a click.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ensemble.drawing.draw import draw, page
from ensemble.drawing.flow import SHOWN
from ensemble.drawing.stream import SHOWN as OF_STREAMS
from landscape.commands.cli import Parser, run
from landscape.drawing import FILMS, PARTS, Film, check_film, check_output, film, save, save_film
from landscape.drawing.document import check_page, save_page
from landscape.drawing.drawings import check_options
from landscape.drawing.topology import SHOWN as OF_SURFACES
from landscape.engine.ranks import Communicator
from landscape.engine.table import Results, read
from landscape.log import note

WIDTHS = {"neurips": 5.5, "icml": 3.25, "icml-wide": 6.75}  # inches: of a text, a column, both columns


def inches(word: str) -> float:
    """A width, as a number or as a publisher's."""
    return WIDTHS[word] if word in WIDTHS else float(word)


def parser() -> Parser:
    # What is not given is not passed on: the defaults are the drawing functions' own.
    p = Parser(prog="figure.py", description=__doc__, argument_default=argparse.SUPPRESS)
    p.add_argument(
        "out", metavar="OUT.{pdf,png,svg,gif,mp4,html}", type=Path, help="the figure, film or page, by its suffix"
    )
    p.add_argument("files", metavar="IN.h5", type=Path, nargs="+", help="results files of one kind")
    g = p.add_argument_group("every figure")
    g.add_argument(
        "--titles", nargs="+", metavar="TITLE", help="one for each file or variant (default: the names of the networks)"
    )
    g.add_argument(
        "--width",
        type=inches,
        metavar="INCHES",
        help=f"width of the figure, or the name of one: "
        f"{', '.join(f'{name} ({width:g})' for name, width in WIDTHS.items())} (default: 5.5)",
    )
    g.add_argument(
        "--dpi",
        type=float,
        metavar="PIXELS",
        help="pixels per inch, of .png, films, and what is rasterised in .pdf and .svg (default: 300, films 150)",
    )
    g = p.add_argument_group("surfaces and lesions")
    g.add_argument(
        "--variable",
        metavar="NAME",
        help="what to draw: test_loss, mse, objective, kl, … if it was measured; perplexity, if the loss is a "
        "cross-entropy (default: the loss; for lesions, the error)",
    )
    g = p.add_argument_group("lesions")
    g.add_argument("--by-depth", action="store_true", help="draw single deletions of many networks against their depth")
    g = p.add_argument_group("films of trainings, and pages with their paths")
    g.add_argument(
        "--fps",
        type=float,
        metavar="FRAMES",
        help="checkpoints shown per second (default: 5, or more where the film would last longer than 20 seconds)",
    )
    g.add_argument("--seconds", type=float, help="instead of --fps, how long the whole training takes")
    g = p.add_argument_group("flows, streams, surfaces, and pairs of blocks")
    g.add_argument(
        "--show",
        choices=[*dict.fromkeys(["gradient", "report", *SHOWN, *OF_STREAMS, *OF_SURFACES, "network"])],
        metavar="WHAT",
        help=f"what to draw from block to block: of flows {', '.join(SHOWN)} (default: gradient); of streams report, "
        f"{', '.join(OF_STREAMS)} (default: report); of surfaces, in place of contours or curves, their merge tree and "
        f"persistence barcode: {', '.join(OF_SURFACES)}; of pairs of blocks network, arcs between those that interact",
    )
    g = p.add_argument_group("surfaces")
    g.add_argument("--vmin", type=float, metavar="LOSS", help="lower end of the scale (default: from the losses)")
    g.add_argument("--vmax", type=float, metavar="LOSS", help="upper end of the scale (default: from the losses)")
    g.add_argument("--linear", action="store_true", help="a linear scale (default: logarithmic)")
    g.add_argument(
        "--repeat",
        type=int,
        metavar="NUMBER",
        help="of several directions, or pairs of them, only these, counted from 0 (default: their mean and spread)",
    )
    g = p.add_argument_group("surfaces over a plane")
    g.add_argument(
        "--levels",
        nargs="+",
        type=float,
        metavar="LOSS",
        help="losses to draw contours at (default: 1, 2, 5, 10 … or decades)",
    )
    g.add_argument("--only", choices=PARTS, help="draw only these")
    g.add_argument("--cmap", help="name of a matplotlib colour map (default: viridis)")
    g.add_argument(
        "--view",
        nargs=2,
        type=float,
        metavar=("ELEV", "AZIM"),
        help="viewpoint of the reliefs, in degrees (default: 35 -55)",
    )
    return p


def _film(files: list[Results], **options: Any) -> Film:
    check_options(film, options)
    return film(files, **options)


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    options = vars(arguments)
    out = options.pop("out")
    check: Callable = check_output
    make: Callable = draw
    save_as: Callable = save
    saving: tuple[str, ...] = ("dpi",)
    if out.suffix == ".html":
        check, make, save_as, saving = check_page, page, save_page, ()
    elif out.suffix in FILMS:
        check, make, save_as, saving = check_film, _film, save_film, ("dpi", "fps", "seconds")
    out = check(out)
    files = [read(path) for path in options.pop("files")]
    if "repeat" in options:
        number = options.pop("repeat")
        files = [file.isel(repeat=number) for file in files]
    how = {name: options.pop(name) for name in saving if name in options}
    drawn: Any = make(files, **options)
    for file in files:
        if left := (~file.known).sum():
            note(f"{file.source}: {left} of {file['done'].size} points are not measured yet")
    save_as(drawn, out, **how)


if __name__ == "__main__":
    run(main, parser())
