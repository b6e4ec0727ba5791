#!/usr/bin/env python3
"""What critical.sh, beside it, makes of its files: one results file, a figure, and the numbers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np

from landscape.analysis.geometry import difference
from landscape.analysis.numbers import Levels, surface
from landscape.drawing.style import COLORS, NOTE, STYLE, Figure, save
from landscape.engine.run import run
from landscape.engine.table import Results, read

NETWORKS, SEEDS, LEVELS = ("plain", "resnet"), (0, 1, 2), (1.0, 0.5, 0.3, 0.2, 0.1)
LOOKS = {"plain": (COLORS[0], "plain, 26 layers"), "resnet": (COLORS[1], "ResNet-26")}
LEVEL = 0.3


def near(file: Results) -> str:
    """The checkpoint whose loss is nearest to the level, on a logarithmic scale."""
    return str(file.coordinates["checkpoint"][np.abs(np.log(file["loss"] / LEVEL)).argmin()])


def at(file: Results, level: float) -> float:
    """ln λ_c where the loss first falls below a level, on straight lines between logarithms."""
    x, y = np.log(file["loss"]), np.log(file["lambda_c"])
    k = int(np.argmax(x <= np.log(level)))
    part = (np.log(level) - x[k - 1]) / (x[k] - x[k - 1])
    return float(y[k - 1] + part * (y[k] - y[k - 1]))


def compared(what: str, values: np.ndarray, logarithms: bool = True) -> None:
    """Without shortcuts over, or minus, with them: Welch's interval of 95 %."""
    gap = difference(*values)
    numbers = np.exp(gap[:3]) if logarithms else gap[:3]
    print(f"{what}: {numbers[0]:.3g} [{numbers[1]:.3g}, {numbers[2]:.3g}]")


def main(folder: Path, out: Path, picture: Path) -> None:
    files = {(net, seed): read(folder / f"{net}-26-{seed}.h5") for net in NETWORKS for seed in SEEDS}
    slices = {(net, seed): read(folder / f"slice-{net}-{seed}.h5") for net in NETWORKS for seed in SEEDS}
    rows = {key: {row.name: np.mean(row.values) for row in surface(file, Levels())} for key, file in slices.items()}
    names = ("loss", "lambda_c", "lambda_c_low", "lambda_c_high", "eta_c")
    points = [(i, j) for i in range(len(NETWORKS)) for j in range(len(SEEDS))]

    def together(chosen: np.ndarray) -> Iterator[dict]:
        for i, j in chosen:
            key = NETWORKS[int(i)], SEEDS[int(j)]
            yield {name: files[key][name] for name in names} | {"convex": rows[key]["convex part of the slice"]}

    measured: dict[str, tuple] = {name: ("f8", np.nan, files["plain", 0].metadata[name], ("epoch",)) for name in names}
    measured["convex"] = ("f8", np.nan, {"long_name": f"convex part of the slice at a loss of {LEVEL:g}", "units": "%"})
    about = ("data", "data_digest", "split", "loss", "batchnorm", "along", "step", "confidence")
    run(
        together,
        np.array(points),
        kind="experiment",
        dims=("network", "seed"),
        coordinates={"network": NETWORKS, "seed": SEEDS, "epoch": files["plain", 0]["epoch"]},
        measured=measured,
        attributes={name: files["plain", 0].attributes[name] for name in about},
        out=out,
        quiet=True,
    )
    for epoch in (2, 6, 12, 15):
        sharp = [[np.log(files[net, seed]["lambda_c"][epoch]) for seed in SEEDS] for net in NETWORKS]
        compared(f"critical sharpness after epoch {epoch}, plain over residual", np.array(sharp))
    for level in LEVELS:
        sharp = [[at(files[net, seed], level) for seed in SEEDS] for net in NETWORKS]
        compared(f"critical sharpness at a loss of {level:g}, plain over residual", np.array(sharp))
    convex = np.array([[rows[net, seed]["convex part of the slice"] for seed in SEEDS] for net in NETWORKS])
    compared("convex part of the slice, points, plain minus residual", convex, logarithms=False)
    with matplotlib.rc_context(STYLE):
        figure = Figure((5.5, 2.5), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for (net, seed), file in files.items():
            color, label = LOOKS[net]
            how = {"color": color, "marker": "o", "markersize": 2, "label": label if seed == 0 else None}
            left.plot(file["epoch"], file["lambda_c"], **how)
            right.plot(file["loss"], file["lambda_c"], **how)
        left.set(yscale="log", xlabel="epoch", xticks=range(0, 16, 5), ylabel="critical sharpness (nats per weight²)")
        right.set(xscale="log", xlabel="training loss (nats per example)")
        right.invert_xaxis()  # as a training goes
        right.axvspan(0.2, 1.0, color="0.9", linewidth=0)
        left.legend(loc="lower left")
        note = "Three trainings each. Grey: losses at which 95 % intervals of the ratio of both kinds hold 1."
        figure.supxlabel(note, fontsize=NOTE)
        save(figure, picture, dpi=110)


if __name__ == "__main__":
    if sys.argv[1] == "near":
        print(near(read(sys.argv[2])))
    else:
        main(*map(Path, sys.argv[2:]))
