#!/usr/bin/env python3
"""List claims of papers, tell one, or try it: train, measure, and judge by what was settled before.

    python scripts/claim.py
    python scripts/claim.py one-block-can-go
    python scripts/claim.py one-block-can-go --out claims --ranks 2
    python scripts/claim.py all --out claims --markdown claims.md
    python scripts/claim.py one-block-can-go --out mine --seeds 1 --checkpoint residual=resnet.pt plain=vgg.pt
    python scripts/figure.py claims.pdf claims/*.h5

Without --out nothing is trained. With it the networks that a claim needs are trained into a folder, where all claims
share them, its quantities are measured there into results files, and a table is printed: published, here with a 95 %
interval, and whether the claim holds, holds in part, does not hold, or cannot be told. Interrupted, the same command
goes on where it stopped; finished, it prints the table again. A claim of your own is a .toml file, see docs/claims.md.
"""

import argparse
from pathlib import Path

from ensemble.claims.report import described, listed
from ensemble.claims.specification import SCALES, claim_named
from ensemble.claims.trial import claim, claims
from landscape.commands.cli import Parser, chosen, run
from landscape.commands.launch import ranks_option
from landscape.commands.options import device_option
from landscape.engine.atomic import write_atomically
from landscape.engine.ranks import Communicator, collective_errors
from landscape.errors import BadInput
from landscape.log import ANSWER, say


def parser() -> Parser:
    p = Parser(prog="claim.py", description=__doc__)
    p.add_argument(
        "name", metavar="NAME", nargs="*", help="a claim, several, a .toml file, or all; without one, a list"
    )
    p.add_argument("--out", metavar="FOLDER", help="try the claim; networks and measurements are kept there")
    p.add_argument(
        "--scale",
        choices=SCALES,
        default="digits",
        help="networks, data and trainings: minutes on two cores, hours, or as published",
    )
    g = p.add_argument_group("in place of what the scale has")
    g.add_argument("--data", help="the images, as in train: cifar10, a folder, an .npz file, package.module:function")
    g.add_argument("--seeds", type=int, help="number of trainings of each network")
    g.add_argument("--epochs", type=int, help="passes over the training data, of networks of images")
    g.add_argument(
        "--checkpoint",
        dest="checkpoints",
        nargs="+",
        metavar="ROLE=FILE",
        help="measure networks of your own in place of one that would be trained; several of one role, several times",
    )
    p.add_argument("--markdown", metavar="OUT.md", type=Path, help="also write the verdicts as a table")
    device_option(p)
    ranks_option(p)
    p.add_argument("--quiet", action="store_true", help="print only verdicts and errors")
    return p


def by_role(words: list[str]) -> dict[str, list[str]]:
    """Paths by role, from ROLE=FILE words."""
    paths: dict[str, list[str]] = {}
    for word in words:
        role, equals, path = word.partition("=")
        if not (role and equals and path):
            raise BadInput(f"--checkpoint takes ROLE=FILE, got {word!r}")
        paths.setdefault(role, []).append(path)
    return paths


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        arguments.checkpoints = by_role(arguments.checkpoints or [])
        table = arguments.markdown
        if table is not None and (table.suffix != ".md" or arguments.out is None):
            raise BadInput(
                f"{table} is to be a table of verdicts; name it .md, and give --out, a folder to try claims in"
            )
        if table is not None and not table.parent.is_dir():
            raise BadInput(f"output folder {table.parent} does not exist; create it: mkdir -p {table.parent}")
        if arguments.out is None:
            if not arguments.name or arguments.name == ["all"]:
                say(comm, listed(claims(arguments.scale)), level=ANSWER)
            else:
                said = [described(claim_named(name, arguments.scale)) for name in arguments.name]
                say(comm, "\n\n".join(said), level=ANSWER)
            return
        if not arguments.name:
            raise BadInput("which claim? Give its name, or all; without --out they are listed")
    tried = claim(**chosen(arguments, claim), comm=comm)
    with collective_errors(comm):
        if table is not None and comm.rank == 0:
            with write_atomically(table) as file:
                file.write_text(tried.to_markdown(), encoding="utf-8")
        if tried.untried:
            raise BadInput(f"could not be tried, as told above: {', '.join(tried.untried)}; the others were")


if __name__ == "__main__":
    run(main, parser())
