#!/usr/bin/env python3
"""Compare networks in a table of what results files say, one column for each network.

    python scripts/compare.py plain.h5 resnet.h5 plain-single.h5 resnet-single.h5 --csv table.csv --latex table.tex

Files of one checkpoint make one column. Several pairs of directions (surface.py --repeats), or files that differ in
their seeds, are repeats: of them there are means and 95 % intervals, and two networks are told apart by them.
"""

import argparse
import contextlib
from pathlib import Path

from landscape.analysis.comparison import compare
from landscape.analysis.numbers import KINDS
from landscape.commands.cli import Parser, chosen, run
from landscape.engine.atomic import write_atomically
from landscape.engine.ranks import Communicator, collective_errors
from landscape.errors import BadInput
from landscape.log import say


def parser() -> Parser:
    p = Parser(prog="compare.py", description=__doc__)
    p.add_argument("results", metavar="FILE.h5", nargs="+", type=Path, help=f"results files: {', '.join(KINDS)}")
    g = p.add_argument_group("basins")
    guessing = "default: ln(classes), the loss of guessing"
    g.add_argument(
        "--loss-level", type=float, metavar="LOSS", help=f"the basin is where the loss is below this ({guessing})"
    )
    g.add_argument(
        "--error-level", type=float, metavar="PERCENT", default=50, help="the basin is where the error is below this"
    )
    g = p.add_argument_group("the table as a file")
    g.add_argument("--csv", type=Path, metavar="OUT.csv", help="one row for each number of each network")
    g.add_argument("--latex", type=Path, metavar="OUT.tex", help="a LaTeX tabular, which needs the package booktabs")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        if comm.rank:
            return
        for path, suffix in ((arguments.csv, ".csv"), (arguments.latex, ".tex")):
            if path and path.suffix != suffix:
                raise BadInput(f"{path} would become a {suffix} file; name it so")
        table = compare(**chosen(arguments, compare))
        forms = {arguments.csv: table.to_csv, arguments.latex: table.to_latex}
        with contextlib.ExitStack() as both:  # or none
            for path, form in forms.items():
                if path:
                    both.enter_context(write_atomically(path)).write_text(form(), encoding="utf-8")
        say(comm, repr(table))


if __name__ == "__main__":
    run(main, parser())
