#!/usr/bin/env python3
"""Draw results files as a figure for a paper.

    python scripts/figure.py surfaces.pdf resnet.h5 plain.h5
    python scripts/figure.py surfaces.png resnet.h5 plain.h5 --vmax 100 --titles "with" "without shortcuts"
    python scripts/figure.py lesions.pdf resnet-single.h5 plain-single.h5 resnet-random.h5

Surfaces over a plane become contours and reliefs on one scale, surfaces along a line become curves.
Lesions become the error by deleted block and the error by number of blocks deleted, trainings the error
by depth or by kind of network.
"""

import argparse
import sys
from pathlib import Path

from ensemble.drawing import lesions
from landscape.command import Parser, run
from landscape.drawing import check_output, curvature, planes, profiles, save, trainings
from landscape.errors import BadInput
from landscape.table import read


def parser() -> Parser:
    # What is not given is not passed on: the defaults are the drawing functions' own.
    p = Parser(prog="figure.py", description=__doc__, argument_default=argparse.SUPPRESS)
    p.add_argument("out", metavar="OUT.{pdf,png,svg}", type=Path, help="the figure; its suffix is the format")
    p.add_argument("files", metavar="IN.h5", type=Path, nargs="+", help="results files of one kind")
    g = p.add_argument_group("every figure")
    g.add_argument("--titles", nargs="+", metavar="TITLE", help="one a file, or a variant (default: their names)")
    g.add_argument("--width", type=float, metavar="INCHES", help="of the figure (default: 5.5, a text's width)")
    g = p.add_argument_group("surfaces")
    g.add_argument("--vmin", type=float, metavar="LOSS", help="lower end of the scale (default: from the losses)")
    g.add_argument("--vmax", type=float, metavar="LOSS", help="upper end of the scale (default: from the losses)")
    g.add_argument("--linear", action="store_true", help="a linear scale (default: logarithmic)")
    g = p.add_argument_group("surfaces over a plane")
    g.add_argument(
        "--levels", nargs="+", type=float, metavar="LOSS", help="contours (default: 1, 2, 5, 10 … or decades)"
    )
    g.add_argument("--cmap", help="any of matplotlib's colour maps (default: viridis)")
    g.add_argument(
        "--view", nargs=2, type=float, metavar=("ELEV", "AZIM"), help="the eye, in degrees (default: 35 -55)"
    )
    return p


def main(arguments, comm) -> None:
    options = vars(arguments)
    out = check_output(options.pop("out"))
    files = [read(path) for path in options.pop("files")]
    draw, known = drawing(files)
    if unknown := options.keys() - known:
        raise BadInput(f"--{min(unknown)} does not apply to {draw.__name__}; leave it out")
    for file in files:
        if left := (~file.known).sum():
            sys.stderr.write(f"{file.path}: {left} of {file['done'].size} points are not measured yet\n")
    save(draw(files, **options), out)


def drawing(files) -> tuple:
    """The function that draws such files, and its options."""
    kinds = {file.kind: file.path for file in files}
    if len(kinds) > 1:
        told = ", ".join(f"{path} is a {kind}" for kind, path in kinds.items())
        raise BadInput(f"one figure shows one kind of results, but {told}; draw them apart")
    if "lesion" in kinds:
        return lesions, {"titles", "width"}
    if "trainings" in kinds:
        return trainings, {"titles", "width"}
    if "curvature" in kinds:
        return curvature, {"titles", "width"}
    if "surface" not in kinds:
        raise BadInput(f"no drawing of kind {min(kinds)} is known; there are surface, curvature, lesion, trainings")
    dims = {file.dims["loss"]: file.path for file in files}
    if len(dims) > 1:
        told = ", ".join(f"{path} is over ({', '.join(d)})" for d, path in dims.items())
        raise BadInput(f"one figure shows surfaces over the same dimensions, but {told}; draw them apart")
    if ("x",) in dims:
        return profiles, {"titles", "width", "vmin", "vmax", "linear"}
    if ("y", "x") in dims:
        return planes, {"titles", "width", "vmin", "vmax", "linear", "levels", "cmap", "view"}
    raise BadInput(f"{files[0].path} is over ({', '.join(min(dims))}); surfaces are drawn over (x) or (y, x)")


if __name__ == "__main__":
    run(main, parser())
