#!/usr/bin/env python3
"""Check that results files are complete, undamaged and plausible.

    python scripts/check.py surface.h5 lesions.h5
    python scripts/check.py surface.h5 --checkpoint resnet.pt --repair

Says what is wrong, a line for each thing. Status 0: all files are whole; 1: something is wrong with one, rows not yet
measured included; 2: one cannot be read at all. NaN and infinity are results. With --repair, rows whose values are
not those that were written are marked as not measured; the command that made the file then measures them again.
"""

import argparse
import sys
from pathlib import Path

from landscape.commands.cli import Parser, run
from landscape.engine.check import check, repair
from landscape.engine.ranks import Communicator, collective_errors
from landscape.log import note, say


def parser() -> Parser:
    p = Parser(prog="check.py", description=__doc__)
    p.add_argument("files", metavar="FILE.h5", nargs="+", type=Path, help="results files")
    p.add_argument("--checkpoint", metavar="NET.pt", type=Path, help="the checkpoint that the results should be of")
    p.add_argument(
        "--repair", action="store_true", help="mark damaged rows as not measured, so that they are measured again"
    )
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    status = 0
    with collective_errors(comm):
        if comm.rank:
            return
        sha = None
        if arguments.checkpoint:
            from landscape.checkpoints.checkpoint import sha256_of  # which brings torch: not for each look at a file

            sha = sha256_of(arguments.checkpoint)
        for path in arguments.files:
            verdict = check(path, sha)
            status = max(status, verdict.status)
            for line in verdict.lines:
                if verdict.status < 2:
                    say(comm, line)
                else:
                    note(f"check.py: error: {line}")
            if arguments.repair and verdict.rows is not None and verdict.rows.any():
                repair(path, verdict.rows)
                say(comm, f"{path}: {verdict.rows.sum()} rows are marked as not measured")
    if status:
        sys.exit(status)


if __name__ == "__main__":
    run(main, parser())
