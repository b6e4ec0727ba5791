#!/usr/bin/env python3
"""Draw results files as a figure for a paper, or as a page to explore.

    python scripts/figure.py surfaces.pdf resnet.h5 plain.h5
    python scripts/figure.py surfaces.png resnet.h5 plain.h5 --vmax 100 --titles "with" "without shortcuts"
    python scripts/figure.py lesions.pdf resnet-single.h5 plain-single.h5 resnet-random.h5
    python scripts/figure.py path.pdf path.plane.h5 path.h5
    python scripts/figure.py surfaces.html resnet.h5 plain.h5
    python scripts/figure.py lesions.html resnet-single.h5 resnet-random.h5

Surfaces over a plane become contours and reliefs on one scale, surfaces along a line become curves.
Lesions become the error by deleted block and the error by number of blocks deleted, all pairs a matrix of
interactions, orders of deletion the blocks' Shapley values, trainings the error by depth or by kind of network.
Paths of trainings are drawn over the surfaces in their planes. Curvatures over a plane become maps; densities and
eigenvalues of Hessians become lines in one panel.
A page is one file that any browser opens, without a network: reliefs that turn together, with the paths on them, and
tell their numbers under the pointer; lines; or a network whose blocks are deleted by a click.
"""

import argparse
from pathlib import Path

from ensemble.drawing import lesions
from ensemble.drawing_attribution import interactions, values
from ensemble.drawing_claims import identity, reuse
from ensemble.drawing_depth import resilience
from ensemble.drawing_flow import SHOWN, flows
from ensemble.drawing_paths import paths
from ensemble.drawing_redundancy import redundancies
from ensemble.drawing_surviving import survivors
from ensemble.html import lesion_page
from landscape.commands.cli import Parser, run
from landscape.drawing import (
    PARTS,
    check_output,
    curvature,
    densities,
    eigenvalues,
    planes,
    profiles,
    repeats,
    save,
    sharpnesses,
    spaces,
    trainings,
    trajectories,
)
from landscape.drawing.document import check_page, save_page
from landscape.drawing.html import line_page, surface_page
from landscape.errors import BadInput
from landscape.log import note
from landscape.table import read

WIDTHS = {"neurips": 5.5, "icml": 3.25, "icml-wide": 6.75}  # inches: of a text, a column, both columns


def inches(word: str) -> float:
    """A width, as a number or as a publisher's."""
    return WIDTHS[word] if word in WIDTHS else float(word)


def parser() -> Parser:
    # What is not given is not passed on: the defaults are the drawing functions' own.
    p = Parser(prog="figure.py", description=__doc__, argument_default=argparse.SUPPRESS)
    p.add_argument("out", metavar="OUT.{pdf,png,svg,html}", type=Path, help="the figure; its suffix is the format")
    p.add_argument("files", metavar="IN.h5", type=Path, nargs="+", help="results files of one kind")
    g = p.add_argument_group("every figure")
    g.add_argument("--titles", nargs="+", metavar="TITLE", help="one a file, or a variant (default: their names)")
    g.add_argument(
        "--width",
        type=inches,
        metavar="INCHES",
        help=f"of the figure, or {', '.join(f'{name} ({width:g})' for name, width in WIDTHS.items())} (default: 5.5)",
    )
    g.add_argument("--dpi", type=float, metavar="PIXELS", help="an inch; not of lines in .pdf and .svg (default: 300)")
    g = p.add_argument_group("surfaces and lesions")
    g.add_argument(
        "--variable",
        metavar="NAME",
        help="test_loss, mse, objective, kl, … where measured (default: loss; of lesions the error)",
    )
    g = p.add_argument_group("lesions")
    g.add_argument("--by-depth", action="store_true", help="single deletions of many networks, by size")
    g = p.add_argument_group("flows")
    g.add_argument("--show", choices=SHOWN, help="what is drawn from block to block (default: gradient)")
    g = p.add_argument_group("surfaces")
    g.add_argument("--vmin", type=float, metavar="LOSS", help="lower end of the scale (default: from the losses)")
    g.add_argument("--vmax", type=float, metavar="LOSS", help="upper end of the scale (default: from the losses)")
    g.add_argument("--linear", action="store_true", help="a linear scale (default: logarithmic)")
    g = p.add_argument_group("surfaces over a plane")
    g.add_argument(
        "--levels", nargs="+", type=float, metavar="LOSS", help="contours (default: 1, 2, 5, 10 … or decades)"
    )
    g.add_argument("--only", choices=PARTS, help="leave out the other")
    g.add_argument("--cmap", help="any of matplotlib's colour maps (default: viridis)")
    g.add_argument(
        "--view", nargs=2, type=float, metavar=("ELEV", "AZIM"), help="the eye, in degrees (default: 35 -55)"
    )
    return p


def main(arguments, comm) -> None:
    options = vars(arguments)
    out = options.pop("out")
    web = out.suffix == ".html"
    out = check_page(out) if web else check_output(out)
    files = [read(path) for path in options.pop("files")]
    dpi = {} if web or "dpi" not in options else {"dpi": options.pop("dpi")}
    draw, known = (page if web else drawing)(files, options.pop("by_depth", False))
    if unknown := options.keys() - known:
        raise BadInput(f"--{min(unknown)} does not apply to {draw.__name__}; leave it out")
    for file in files:
        if left := (~file.known).sum():
            note(f"{file.path}: {left} of {file['done'].size} points are not measured yet")
    (save_page if web else save)(draw(files, **options), out, **dpi)


def page(files, by_depth: bool = False) -> tuple:
    """The function that makes a page of such files, and its options."""
    kinds = {file.kind: file.path for file in files}
    dims = {file.dims["loss"] for file in files if file.kind == "surface"}
    scale = {"titles", "vmin", "vmax", "linear", "variable"}
    if by_depth:
        raise BadInput("--by-depth is for figures; leave it out, or let the name end in .pdf, .png or .svg")
    if kinds.keys() == {"lesion"}:
        return lesion_page, {"titles"}
    if (
        dims
        and dims <= {("y", "x"), ("repeat", "y", "x"), ("z", "y", "x")}
        and kinds.keys() <= {"surface", "trajectory"}
    ):
        return surface_page, {*scale, "cmap"}
    if dims and dims <= {("x",), ("repeat", "x")} and kinds.keys() == {"surface"}:
        return line_page, scale
    told = ", ".join(f"{path} is a {kind}" for kind, path in kinds.items())
    raise BadInput(
        "a page shows surfaces over planes, with the paths in them, or surfaces along lines, or lesions, "
        f"but {told}; let the name end in .pdf, .png or .svg, or make several pages"
    )


def drawing(files, by_depth: bool = False) -> tuple:
    """The function that draws such files, and its options."""
    kinds = {file.kind: file.path for file in files}
    if by_depth and kinds.keys() != {"lesion"}:
        raise BadInput(f"--by-depth is for lesions, {files[0].path} is a {files[0].kind}; leave it out")
    if "trajectory" in kinds and kinds.keys() <= {"trajectory", "surface"}:
        return trajectories, {"titles", "width", "vmin", "vmax", "linear", "levels", "cmap"}
    if kinds.keys() == {"paths", "lesion"}:
        return survivors, {"titles", "width"}
    if len(kinds) > 1:
        told = ", ".join(f"{path} is a {kind}" for kind, path in kinds.items())
        raise BadInput(f"one figure shows one kind of results, but {told}; draw them apart")
    if "lesion" in kinds:
        pairs, in_orders = ([name in file.variables for file in files] for name in ("interaction", "turn"))
        draw = resilience if by_depth else interactions if all(pairs) else values if any(in_orders) else lesions
        return draw, {"titles", "width", "variable"} if draw is lesions else {"titles", "width"}
    if "trainings" in kinds:
        return trainings, {"titles", "width"}
    if "curvature" in kinds:
        return curvature, {"titles", "width"}
    if "density" in kinds:
        return densities, {"titles", "width"}
    if "eigenvalues" in kinds:
        return eigenvalues, {"titles", "width"}
    if "trace" in kinds:
        raise BadInput(f"{kinds['trace']} holds a trace, which is a number and no figure; curvature.py prints it")
    if "sharpness" in kinds:
        return sharpnesses, {"titles", "width"}
    if "flow" in kinds:
        return flows, {"titles", "width", "show"}
    if "identity" in kinds:
        return identity, {"titles", "width"}
    if "reuse" in kinds:
        return reuse, {"width"}
    if "paths" in kinds:
        return paths, {"titles", "width"}
    if "redundancy" in kinds:
        return redundancies, {"titles", "width"}
    if "surface" not in kinds:
        raise BadInput(f"no drawing of kind {min(kinds)} is known; update skipscape, or give another file")
    dims = {file.dims["loss"]: file.path for file in files}
    if len(dims) > 1:
        told = ", ".join(f"{path} is over ({', '.join(d)})" for d, path in dims.items())
        raise BadInput(f"one figure shows surfaces over the same dimensions, but {told}; draw them apart")
    line = {"titles", "width", "vmin", "vmax", "linear", "variable"}
    plane = {*line, "levels", "cmap"}
    known = {
        ("x",): (profiles, line),
        ("repeat", "x"): (profiles, line),
        ("y", "x"): (planes, {*plane, "view", "only"}),
        ("repeat", "y", "x"): (repeats, plane),
        ("z", "y", "x"): (spaces, plane),
    }
    (over,) = dims
    if over not in known:
        told = ", ".join(f"({', '.join(d)})" for d in known)
        raise BadInput(f"{files[0].path} is over ({', '.join(over)}); surfaces are drawn over {told}")
    return known[over]


if __name__ == "__main__":
    run(main, parser())
