#!/usr/bin/env python3
"""The report: findings, a sentence and a picture each, and all claims, on digits and on deep networks of CIFAR-10.

    python scripts/studies/report.py results

Every number is read from a results file, or is in a table that `claim.py --markdown` has written. What is not measured
yet is left out.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ensemble.attribution.interaction import LEVEL, interactions
from landscape.analysis.geometry import Interval, difference, interval
from landscape.analysis.numbers import Levels, surface
from landscape.commands.cli import Parser, run
from landscape.engine.ranks import Communicator, collective_errors
from landscape.engine.table import Results, read
from landscape.errors import BadInput

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Finding(NamedTuple):
    """A title that says it, the numbers, and the picture of them, a path in the folder of all results."""

    title: str
    numbers: str
    picture: str


def parser() -> Parser:
    p = Parser(prog="report.py", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path, help="the results of all studies")
    return p


def main(arguments: argparse.Namespace, comm: Communicator) -> None:
    with collective_errors(comm):
        if comm.rank:
            return
        folder = arguments.folder
        if not folder.is_dir():
            raise BadInput(f"there is no folder {folder}; give the results of all studies")
        findings = list(found(folder))
        print(f"# Why do skip connections work? {len(findings)} findings, and the claims of others\n")
        print(
            "`make study` writes this page from the results files; brackets are 95 % intervals. How each was "
            "measured, and what is "
            "doubtful, is told by the studies: [CIFAR-10](../study/README.md), [claims](../claims/README.md), "
            "[small networks](../findings/README.md), [a language model](../language/README.md)."
        )
        for number, finding in enumerate(findings, 1):
            print(f"\n## {number}. {finding.title}\n\n{finding.numbers}\n\n![{finding.title}](../{finding.picture})")
        print(claims(folder))


def found(folder: Path) -> Iterable[Finding]:
    """What is measured of the findings, in order."""
    for tell, names in FINDINGS.items():
        files = [folder / f"{name}.h5" for name in names]
        if all(file.exists() for file in files):
            yield tell(*map(read, files))


def jagged(plain: Results, residual: Results, plain_line: Results, residual_line: Results) -> Finding:
    files = (plain, residual, plain_line, residual_line)
    both = [{row.name: list(row.values) for row in surface(file, Levels())} for file in files]
    error, lakes, rough = (
        [each[name] for each in both]
        for name in (
            "error at the centre",
            "minima of the loss on these examples",
            "roughness of the loss on these examples",
        )
    )
    basin = [each["basin area around the centre, error < 50 %"] for each in both[:2]]
    return Finding(
        "The surface around a deep plain network is uneven, but not jagged",
        f"After 60 epochs a plain network of {_depth(plain)} layers has a training error of {error[0][0]:.0f} %, a "
        f"residual one of {error[1][0]:.0f} %. From one point of a 51×51 grid to the next the loss departs from a "
        f"smooth surface by {_told(rough[0])} % of itself without shortcuts and by {_told(rough[1])} % with them; in "
        f"steps a quarter as long, on lines, by {_told(rough[2])} and {_told(rough[3])} %. There are {_told(lakes[0])} "
        f"minima without shortcuts and {_told(lakes[1])} with them, and the error stays below 50 % on an area of "
        f"{_told(basin[0])} and {_told(basin[1])} ({_told(difference(basin[1], basin[0]))} more with shortcuts). Three "
        f"pairs of directions, no point interpolated.",
        "pair/surfaces-wide.png",
    )


def one_block_can_go(residual: Results, plain: Results) -> Finding:
    (before, after), (intact, without) = map(_deletions, (residual, plain))
    return Finding(
        "One block of a residual network can go; no layer of a plain one can",
        f"Deleting any one of {len(after)} blocks of a pre-activation ResNet-56 takes its test error from "
        f"{before:.1f} to {after.mean():.1f} % in the mean and {np.median(after):.1f} % in the median. Of a VGG of 15 "
        f"layers ({intact:.1f} %) every deletion leaves at least {without.min():.0f} %.",
        "study/single.png",
    )


def resilience(*files: Results) -> Finding:
    rises = [float((after - before).mean()) for before, after in map(_deletions, files)]
    return Finding(
        "The deeper a residual network, the less a block is missed",
        f"The mean deletion costs {_told(rises[:3])} points of test error with 20 layers (three trainings), "
        f"{rises[3]:.1f} with 56 and {rises[4]:.1f} with 110.",
        "study/depth.png",
    )


def blocks_do_not_act_alone(pairs: Results) -> Finding:
    matrix = interactions(pairs)
    upper = np.triu_indices(len(matrix.value), 1)
    known = np.isfinite(matrix.value[upper])
    beyond = 100 * np.abs(matrix.value[upper][known])
    alone = np.diag(matrix.value)
    both = 100 * (matrix.value + np.add.outer(alone, alone))[upper][known]
    return Finding(
        "Blocks do not act alone",
        f"{(matrix.significant[upper] & known).sum()} of {known.sum()} pairs of blocks of a pre-activation ResNet-56 "
        f"cost more, or less, than the sum of both deletions ({100 * LEVEL:.0f} % false discoveries): "
        f"{np.median(beyond):.1f} points in the median, where both cost {np.median(both):.1f}.",
        "study/pairs.png",
    )


def short_paths(paths: Results) -> Finding:
    share, over = paths["share"], paths["sampled_norm"] / paths["norm"]
    part = np.cumsum(np.abs(share)) / np.abs(share).sum()
    low, high = np.searchsorted(part, [0.025, 0.975])
    return Finding(
        "Gradients come by short paths, and by fewer than sampled paths say",
        f"Exactly summed over all 2²⁷ paths of a pre-activation ResNet-56, the largest share of the gradient, "
        f"{100 * share.max():.0f} %, comes by paths through {share.argmax()} of {len(share) - 1} blocks, 95 % of all "
        f"by {low} to {high}. The published estimate, number times mean norm of sampled paths, is up to "
        f"{np.nanmax(over):.0f} times the exact norm (at length {np.nanargmax(over)}): paths cancel.",
        "study/paths.png",
    )


def gradients_explode(flow: Results) -> Finding:
    middle = len(flow.coordinates["quantile"]) // 2
    depths = sorted({*flow["depth"].tolist()})
    told = {}
    for kind in ("plain", "resnet"):
        chosen = [(flow["variant"] == kind) & (flow["depth"] == depth) for depth in depths]
        means = [float(np.exp(np.log(flow["gradient"][each, middle, 0]).mean())) for each in chosen]
        told[kind] = ", ".join(_power(mean) for mean in means)
    return Finding(
        "Without shortcuts gradients do not vanish: they explode",
        f"Before training, with BatchNorm, the gradient at the first block is {told['plain']} times that at the head "
        f"in plain networks of {', '.join(map(str, depths))} layers, and {told['resnet']} times in residual ones "
        f"(three seeds).",
        "study/flow-new.png",
    )


def worst_directions(plain: Results, residual: Results) -> Finding:
    kinds = list(plain.coordinates["kind"])
    worst, random = (
        [file["rise"][kinds.index(kind), 0] for file in (plain, residual)] for kind in ("ascent", "random")
    )
    return Finding(
        "Random directions miss what the worst ones see",
        f"In a ball of 1 % of the weights' norm the loss of a plain network of 20 layers rises by {_told(worst[0])} "
        f"nats at worst, that of ResNet-20 by {_told(worst[1])}. In random directions, which slices are made of, both "
        f"rise by less than {1e-3 * np.ceil(1e3 * max(map(np.max, random))):.3f}.",
        "study/sharpness.png",
    )


def basins(radii: Results) -> Finding:
    depths = radii.coordinates["depth"]
    plain, residual = ([interval(each).mean for each in file] for file in radii["radius"])
    apart = difference(radii["radius"][1, -1], radii["radius"][0, -1])
    return Finding(
        "With shortcuts, depth does not shrink the basin that most directions see; without, it goes",
        f"With 95 % confidence, 90 % of filter-normalised directions keep the error within 5 points up to "
        f"{_list(residual)} in residual networks of {_list(depths)} layers on digits, and up to {_list(plain)} in "
        f"plain ones ({_told(apart)} more at {depths[-1]} layers; three trainings).",
        "findings/basins.png",
    )


def language(blocks: Results) -> Finding:
    upper = np.triu_indices(len(blocks.coordinates["block"]), 1)
    share = 100 * (blocks["q"][0][:, *upper] <= LEVEL).mean(axis=1)
    busiest = []
    for file in blocks["interaction"]:
        size = np.abs(file)
        size[:, *np.diag_indices(size.shape[-1])] = 0
        busiest.append(100 * size.sum(axis=2).max(axis=1) / size[:, *upper].sum(axis=1))
    return Finding(
        "In a small language model, blocks interact through the first MLP",
        f"{_told(share, 100)} % of all pairs of its 12 blocks interact, and pairs with the first MLP hold "
        f"{_told(busiest[0], 100)} % of all interaction. In residual networks of as many blocks the busiest one holds "
        f"{_told(busiest[1], 100)} % (three trainings).",
        "findings/interacting-blocks.png",
    )


def contours_of_a_path(path: Results, again: Results) -> Finding:
    at = int(np.nanargmax(np.abs(np.log(path["plane_loss"] / path["loss"]))))
    return Finding(
        "The contours under a training's path are not what the training passed",
        f"At epoch {path['epoch'][at]:g} a ResNet-20 had a loss of {path['loss'][at]:.2g}; the plane that is drawn "
        f"under its path has {_power(path['plane_loss'][at])} there. The reason is BatchNorm, whose last statistics "
        f"do not fit earlier weights: measured anew at each point they give {again['plane_loss'][at]:.2g}.",
        "study/trajectory.png",
    )


FINDINGS: dict[Callable[..., Finding], list[str]] = {
    jagged: [f"pair/{kind}-{name}" for kind in ("surface", "line") for name in ("plain", "resnet")],
    one_block_can_go: ["study/single-preact-56-0", "study/single-vgg-16-0"],
    resilience: [f"study/single-resnet-{name}" for name in ("20-0", "20-1", "20-2", "56-0", "110-0")],
    blocks_do_not_act_alone: ["study/pairs-preact-56-0"],
    short_paths: ["study/paths-preact-56-0"],
    gradients_explode: ["study/flow-new"],
    worst_directions: ["study/sharpness-plain-20-0", "study/sharpness-resnet-20-0"],
    basins: ["findings/basins"],
    language: ["findings/interacting-blocks"],
    contours_of_a_path: ["study/path", "study/path-recalibrated"],
}


def claims(folder: Path) -> str:
    """All criteria on digits, and where it was tried on the deep pair what that says, as a table."""
    digits, pair = (_verdicts(folder / name / "claims.md") for name in ("claims", "pair"))
    if not digits:
        return ""
    head = ["claim", "criterion", "published", "digits, three trainings", "verdict"]
    head += ["plain and residual, 56 layers, CIFAR-10", "verdict"] if pair else []
    rows = [head, ["---"] * len(head)]
    for named, numbers in digits.items():
        rows.append([*named, *numbers, *(pair.get(named, ("", "", ""))[1:] if pair else ())])
    return "\n".join(["\n## All claims\n", *(f"| {' | '.join(row)} |" for row in rows)])


def _verdicts(path: Path) -> dict[tuple[str, str], tuple[str, str, str]]:
    """By claim and criterion: published, here, verdict."""
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    title = ""
    for line in path.read_text(encoding="utf-8").splitlines()[2:] if path.exists() else []:
        claim, _, criterion, *numbers = (cell.strip() for cell in line.strip("|").split(" | "))
        if named := re.match(r"\*\*(.+)\*\*", claim):
            title = named[1]
        published, here, verdict = numbers
        found[title, criterion] = published, here, verdict
    return found


def _deletions(file: Results) -> tuple[float, np.ndarray]:
    """The test error of the whole network, and with each one block deleted, in percent."""
    error, deleted = 100 * (1 - file["accuracy"]), file["deleted"].sum(axis=1)
    return float(error[deleted == 0][0]), error[deleted == 1]


def _depth(file: Results) -> str:
    return re.findall(r"\d+", str(file.attributes["network"]))[-1]


def _told(of: Interval | Iterable[float], most: float = np.inf) -> str:
    mean, low, high, number = of if isinstance(of, Interval) else interval(of)
    return f"{mean:.3g}" + (f" [{low:.3g}, {min(high, most):.3g}]" if number > 1 else "")


def _list(numbers: Iterable[float]) -> str:
    *first, last = (f"{number:.3g}" for number in numbers)
    return f"{', '.join(first)} and {last}"


def _power(number: float) -> str:
    """Of a number that may be in the millions."""
    if number < 1e4:
        return f"{float(f'{number:.2g}'):,.0f}"
    power = int(np.log10(number))
    return f"{number / 10**power:.0f}·10{str(power).translate(SUPERSCRIPTS)}"


if __name__ == "__main__":
    run(main, parser())
