#!/usr/bin/env python3
"""Tell what the layers of a language model are worth, as tables in Markdown, from the results files of language.sh.

python scripts/studies/language_numbers.py results/language
"""

import argparse
from pathlib import Path

import numpy as np

from ensemble.flow.redundancy import association
from landscape.commands.cli import Parser, run
from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.table import Results, read


def parser() -> Parser:
    p = Parser(prog="language_numbers.py", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path, help="what scripts/studies/language.sh has filled")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        if not comm.rank:
            tell(arguments.folder)


def tell(folder: Path) -> None:
    """Print the tables."""
    layers, neighbours, parts = (read(folder / f"{name}.h5") for name in ("layers", "neighbours", "parts"))
    whole, halves = (read(folder / f"redundancy-{name}.h5") for name in ("layers", "parts"))
    number = len(layers.coordinates["block"])
    print(f"{layers.network}: {_of(layers, 0)} intact, over {int(layers['examples'][0])} windows of the test split.")
    print("\n| layer | without it | without its attention | without its MLP | swapped with the next | influence |")
    print("|---|---|---|---|---|---|")
    for layer in range(number):
        swapped = _of(neighbours, layer + 1) if layer + 1 < number else ""
        cells = [_of(layers, layer + 1), *(_of(parts, 2 * layer + part + 1) for part in (0, 1)), swapped]
        print(f"| {layer + 1} | {' | '.join(cells)} | {whole['influence'][layer]:.3f} |")
    print("\nPerplexity, and the share of the intact network's predictions that stay.\n")
    print("| rank correlation of the rise of the loss with … | over | Spearman's ρ | 95 % interval |")
    print("|---|---|---|---|")
    attention = np.array([str(name).endswith("attention") for name in halves.coordinates["block"]])
    some: dict[str, tuple[Results, np.ndarray]] = {
        "layers": (whole, np.full(number, True)),
        "parts": (halves, np.full(2 * number, True)),
        "attentions": (halves, attention),
        "MLPs": (halves, ~attention),
    }
    for what, (file, which) in some.items():
        for score in ("influence", "angle", "relative"):
            rho, _, blocks = association(file[score][which], file["rise"][which])
            low, high = interval(rho, blocks)
            print(f"| {score} | {blocks} {what} | {rho:.2f} | {low:.2f} to {high:.2f} |".replace("-", "−"))


def _of(file: Results, trial: int) -> str:
    return f"{np.exp(file['loss'][trial]):.2f}, {100 * file['agreement'][trial]:.0f} %"


def interval(rho: float, number: int, z: float = 1.96) -> tuple[float, float]:
    """A 95 % interval of Spearman's ρ (Bonett & Wright 2000, *Psychometrika* 65)."""
    half = z * np.sqrt((1 + rho**2 / 2) / (number - 3))
    return float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


if __name__ == "__main__":
    run(main, parser())
