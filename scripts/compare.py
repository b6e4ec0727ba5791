#!/usr/bin/env python3
"""Print what surfaces and lesion tables say, one column a network.

    python scripts/compare.py plain.h5 resnet.h5 plain-single.h5 resnet-single.h5

Files of one checkpoint make one column.
"""

from pathlib import Path

import numpy as np

from landscape.command import Parser, run, say
from landscape.errors import BadInput
from landscape.geometry import centre, convex_fraction, loss_range
from landscape.persistence import minima
from landscape.reduced import differences
from landscape.table import Results, read


def parser() -> Parser:
    p = Parser(prog="compare.py", description=__doc__)
    p.add_argument("files", metavar="FILE.h5", nargs="+", type=Path)
    return p


def main(arguments, comm) -> None:
    networks: dict[str, dict[str, str]] = {}
    for results in map(read, arguments.files):
        if results.kind not in ("surface", "lesion"):
            raise BadInput(f"{results.path} is of kind {results.kind}; give surfaces and lesion tables")
        column = networks.setdefault(results.attributes["checkpoint"], {"": results.attributes["network"]})
        column |= surface(results) if results.kind == "surface" else lesions(results)
    rows = list(dict.fromkeys(name for column in networks.values() for name in column))
    width = max(map(len, rows))
    for name in rows:
        say(comm, f"{name:<{width}}" + "".join(f"{column.get(name, '–'):>18}" for column in networks.values()))


def surface(results: Results) -> dict[str, str]:
    x, y = results.coordinates["x"], results.coordinates.get("y")
    split = "training" if results.attributes["split"] == "train" else "test"
    least, most = loss_range(results["loss"][results.known])
    loss = np.where(results.known, results["loss"], np.nan)
    numbers = {
        f"{split} error": f"{100 * (1 - centre(results['accuracy'], x, y)):.2f} %",
        f"{split} loss at the centre": f"{centre(results['loss'], x, y):.4g}",
        f"{split} loss, range": f"{least:.3g} … {most:.3g}",
    }
    if "interpolated" in results.variables:
        numbers["points measured"] = f"{results['done'].sum()} of {results['done'].size}"
    if "loss_float32" in results.variables:
        numbers["off float32, at most"] = f"{100 * differences(results['loss'], results['loss_float32']).max():.2g} %"
    numbers["minima above the noise"] = f"{minima(loss, noise(results)).number}"
    if y is not None:
        numbers["convex part of the slice"] = f"{100 * convex_fraction(loss, x, y):.1f} %"
    return numbers


def noise(results: Results) -> np.ndarray:
    """Standard errors of the loss; rounding where all examples were used and nothing else is uncertain."""
    return np.maximum(results["loss_se"], 1e-6 * np.abs(results["loss"]))


def lesions(results: Results) -> dict[str, str]:
    error = 100 * (1 - results["accuracy"])
    number = results["deleted"].sum(axis=1)
    split = "training" if results.attributes["split"] == "train" else "test"
    column = {f"{split} error, intact": f"{error[0]:.2f} %"}
    for k in sorted({*number[results["done"]]} - {0}):
        name = f"median {split} error, {k} deleted"
        column[name] = f"{np.median(error[(number == k) & results['done']]):.2f} %"
    return column


if __name__ == "__main__":
    run(main, parser())
