#!/bin/sh
# Between two trainings: the barrier with and without shortcuts, by width, before and after units are aligned, and with
# BatchNorm's statistics measured anew on the line. Three pairs of trainings of each network, 8 layers, on digits; no
# network is in two pairs. Networks and lines go to build/align, barriers and the figure to results/findings. Twenty
# minutes on two cores; interrupted, it goes on where it stopped.
#
#     sh scripts/studies/findings/align.sh [FOLDER [RESULTS]]
set -eu
cd "$(dirname "$0")/../../.."
out=${1:-build/align}
to=${2:-results/findings}
mkdir -p "$out" "$to"
for width in 8 16 32; do
    for network in resnet plain; do
        for seed in 0 1 2 3 4 5; do
            [ -f "$out/$network-$width-$seed.pt" ] || python scripts/train.py "$out/$network-$width-$seed.pt" \
                --network "$network" --depth 8 --width "$width" --data digits --epochs 15 --seed "$seed" --quiet
        done
    done
done
python - "$out" "$to" <<'PYTHON'
import sys
from itertools import product
from pathlib import Path

import matplotlib
import numpy as np
from scipy import stats

from landscape.analysis.geometry import barrier_between
from landscape.drawing import save
from landscape.drawing.style import STYLE, Figure
from landscape.engine.run import run
from landscape.evaluation.evaluator import Evaluator
from landscape.planes.surface import surface

out, to = map(Path, sys.argv[1:])
NETWORKS, WIDTHS, PAIRS = ("resnet", "plain"), (8, 16, 32), ((0, 1), (2, 3), (4, 5))
LINES = {
    "not aligned": {},
    "not aligned, corrected": {"batchnorm": "recalibrated"},
    "aligned by weights": {"align": "weights"},
    "aligned by weights, corrected": {"align": "weights", "batchnorm": "recalibrated"},
    "aligned by activations": {"align": "activations"},
    "aligned by activations, corrected": {"align": "activations", "batchnorm": "recalibrated"},
}


def barriers(rows):
    for network, width, pair, line in rows:
        stem = f"{NETWORKS[network]}-{WIDTHS[width]}"
        one, other = PAIRS[pair]
        evaluate = Evaluator.from_checkpoint(out / f"{stem}-{one}.pt", examples=500)
        end, kept = out / f"{stem}-{other}.pt", out / f"{stem}-{one}-{line}.h5"
        measured = surface(evaluate, to=end, x=(0, 1, 11), out=kept, quiet=True, **[*LINES.values()][line])
        height, error = barrier_between(measured["loss"], measured["loss_se"], measured.coordinates["x"])
        moved = {name: float(measured.attributes.get(f"align_{name}", np.nan)) for name in ("units", "after")}
        yield {"barrier": height, "barrier_se": error} | moved


shape = [range(len(each)) for each in (NETWORKS, WIDTHS, PAIRS, LINES)]
numbers = {
    "barrier": ("f8", np.nan, {"long_name": "barrier over the line between the losses", "units": "nats"}),
    "barrier_se": ("f8", np.nan, {"long_name": "standard error of the barrier over examples", "units": "nats"}),
    "units": ("f8", np.nan, {"long_name": "number of units that can be permuted", "units": "1"}),
    "after": ("f8", np.nan, {"long_name": "distance of weights, or mean correlation, aligned", "units": "1"}),
}
results = run(
    barriers,
    [*product(*shape)],
    kind="barriers",
    dims=("network", "width", "pair", "line"),
    coordinates={"network": NETWORKS, "width": WIDTHS, "pair": range(len(PAIRS)), "line": [*LINES]},
    measured=numbers,
    attributes={"depth": 8, "data": "digits", "examples": 500},
    out=to / "align.h5",
    quiet=True,
)


def interval(values, axis=-1):
    """Mean over pairs, and half of its 95 % interval."""
    number = values.shape[axis]
    return values.mean(axis), stats.t.ppf(0.975, number - 1) * values.std(axis, ddof=1) / number**0.5


heights = results["barrier"]  # (network, width, pair, line)
for network, width, line in product(*(shape[i] for i in (0, 1, 3))):
    mean, half = interval(heights[network, width, :, line])
    print(f"{NETWORKS[network]:7} {WIDTHS[width]:3} {[*LINES][line]:34} {mean:6.3f} ± {half:.3f}")
left = heights[..., 5] / heights[..., 0]
logs, half = interval(np.log(left))
print("left, aligned by activations and corrected:", np.round(np.exp(logs), 3), np.round(np.exp([logs - half, logs + half]), 3))
apart, half = interval(np.log(left[0]) - np.log(left[1]))
print("residual over plain:", np.round(np.exp(apart), 2), np.round(np.exp([apart - half, apart + half]), 2))
apart, half = interval((np.log(left[0]) - np.log(left[1])).reshape(1, -1))
print("over all widths:", np.exp(apart).round(2), np.exp([apart - half, apart + half]).round(2).ravel())
with matplotlib.rc_context(STYLE):
    figure = Figure((5.5, 2.5), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    colours = {"resnet": "#0072b2", "plain": "#d55e00"}
    for axes, how in zip(panels, ("not aligned", "aligned by weights", "aligned by activations"), strict=True):
        for (n, network), corrected in product(enumerate(NETWORKS), (False, True)):
            line = [*LINES].index(how + ", corrected" * corrected)
            mean, half = interval(heights[n, :, :, line])
            label = {"resnet": "residual", "plain": "plain"}[network] + ", corrected" * corrected
            places = np.array(WIDTHS) * (0.96 if network == "resnet" else 1.04)
            look = {"color": colours[network], "linestyle": "-" if corrected else ":", "marker": "o", "markersize": 3}
            axes.errorbar(places, mean, half, label=label, capsize=2, linewidth=1, elinewidth=0.7, **look)
        axes.set(title=how, xlabel="width", xscale="log", ylim=(0, None))
        axes.set_xticks(WIDTHS, labels=map(str, WIDTHS))
        axes.minorticks_off()
    panels[0].set_ylabel("barrier (nats), 95 % over pairs")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    save(figure, to / "align.png", dpi=100)
PYTHON
