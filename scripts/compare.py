#!/usr/bin/env python3
"""Put what results files say of networks in a table, one column a network.

    python scripts/compare.py plain.h5 resnet.h5 plain-single.h5 resnet-single.h5 --csv table.csv --latex table.tex

Files of one checkpoint make one column. Several pairs of directions (surface.py --repeats), or files that differ in
their seeds, are repeats: of them there are means and 95 % intervals, and two networks are told apart by them.
"""

import contextlib
import math
from pathlib import Path

from landscape.commands.cli import Parser, run
from landscape.comparison import compare
from landscape.errors import BadInput
from landscape.log import note, say
from landscape.numbers import KINDS, Levels, noiseless
from landscape.ranks import agreed
from landscape.table import Results, read
from landscape.tables import as_csv, as_latex, as_text
from landscape.whole import written


def parser() -> Parser:
    p = Parser(prog="compare.py", description=__doc__)
    p.add_argument("files", metavar="FILE.h5", nargs="+", type=Path, help=f"results files: {', '.join(KINDS)}")
    g = p.add_argument_group("basins")
    guessing = "by default ln(classes), that of guessing"
    g.add_argument("--loss-level", type=float, metavar="LOSS", help=f"are where the loss is less ({guessing})")
    g.add_argument("--error-level", type=float, metavar="PERCENT", default=50, help="are where the error is less")
    g = p.add_argument_group("the table, besides on the terminal")
    g.add_argument("--csv", type=Path, metavar="OUT.csv", help="one line for each number of each network")
    g.add_argument("--latex", type=Path, metavar="OUT.tex", help="a tabular; it needs the package booktabs")
    return p


def main(arguments, comm) -> None:
    with agreed(comm):
        if comm.rank:
            return
        levels = Levels(arguments.loss_level, arguments.error_level)
        if not (math.isfinite(levels.loss or 0) and 0 < levels.error <= 100):
            raise BadInput("--loss-level is a finite loss, --error-level more than 0 and at most 100 percent")
        for path, suffix in ((arguments.csv, ".csv"), (arguments.latex, ".tex")):
            if path and path.suffix != suffix:
                raise BadInput(f"{path} would become a {suffix} file; name it so")
        table = compare(usable([read(path) for path in arguments.files]), levels)
        wanted = {arguments.csv: as_csv, arguments.latex: as_latex}
        with contextlib.ExitStack() as both:  # or none
            for path, form in wanted.items():
                if path:
                    both.enter_context(written(path)).write_text(form(table), encoding="utf-8")
        say(comm, *as_text(table))


def usable(files: list[Results]) -> list[Results]:
    """Files of known kinds; of the others, of points that are missing and of noise that is unknown, a line tells."""
    known = [file for file in files if file.kind in KINDS]
    for file in files:
        said = f"{file.path} is of kind {file.kind}; there are numbers of {', '.join(KINDS)}"
        if not known:
            raise BadInput(said)
        if file.kind not in KINDS:
            note(f"{said}: left out")
            continue
        if file.kind == "surface" and noiseless(file):
            note(f"{file.path}: the noise of its losses is unknown, so minima and roughness above it are left out")
        if left := (~file.known).sum():
            note(f"{file.path}: {left} of {file['done'].size} points are not measured yet")
    return known


if __name__ == "__main__":
    run(main, parser())
